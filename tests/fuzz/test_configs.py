"""Any configuration that is taken builds an agent that learns; any other is refused by the name of the field.

Fields are drawn within their own bounds, as `ram_agent.config` declares them: a new field is drawn like the others.
"""

import math
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import pytest
from annotated_types import Ge, Gt, Le, Lt
from hypothesis import assume, event
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ram_agent.agents import make_learner
from ram_agent.combinations import NOT_THEIRS, OF_A_SCORE_FUNCTION
from ram_agent.config import Config, ConfigError, TrainingConfig, dump_config, field_names, parse_config
from ram_agent.finite import NumbersGoneBad
from ram_agent.interruption import Interruption
from ram_agent.parallel import ALONE
from tests.extras import HAS_SB3_CONTRIB
from tests.fuzzing import fuzz
from tests.making import make_images, make_world

SMALL = {"height": 40, "width": 40, "clutter": 9, "clutter_size": 5, "size": 6, "scales": 4, "glimpses": 4, "grid": 5}
SMALL |= {
    "hidden": 9,
    "what": 9,
    "where": 9,
    "features": 9,
    "location": 9,
    "filters": 3,
    "batch": 3,
    "episodes_per_image": 3,
    "n_epochs": 2,
    "lookahead": 3,
    "scan": 3,
}
"""Whole numbers that cost memory or time; others are drawn as large as they come."""
SANE = {"learning_rate": 0.1, "window_std": 1.0, "window_std_end": 1.0, "window_gradient": 1.0, "clip": 100.0}
SANE |= {"classification_weight": 10.0, "reinforce_weight": 10.0, "baseline_weight": 10.0, "lookahead_weight": 10.0}
SANE |= {"window_rate": 10.0}
SANE |= {"ent_coef": 1.0, "vf_coef": 1.0, "clip_range": 1.0}
"""Floats with which two updates must stay finite; others have bounds of their own."""
IMAGES = [make_images(size=(6, 8)), make_images(size=(7, 5), channels=3, classes=2)]
SIDE, CANVAS = 5, 8
"""Of the images: the shortest and the longest."""
FIXED: dict[str, Any] = {
    "images": {}, "name": "fuzzed",
    "training": {"trained_agent": None},
    "run": {"device": "cpu", "threads": 1, "cuda_graph": False, "progress": False, "track": False},
}  # fmt: skip


def sections() -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in Config.model_fields.items():
        if isinstance(field.default, BaseModel):
            yield name, type(field.default)


def values(name: str, field: FieldInfo, wild: bool) -> st.SearchStrategy[Any]:
    """All that a field takes, by its annotation and its bounds."""
    kinds = [kind for kind in get_args(field.annotation) if get_origin(field.annotation) is not Literal]
    if NoneType in kinds:
        (inner,) = (kind for kind in kinds if kind is not NoneType)
        return st.none() | of_kind(name, inner, field, wild)
    return of_kind(name, field.annotation, field, wild)


def of_kind(name: str, kind: Any, field: FieldInfo, wild: bool) -> st.SearchStrategy[Any]:
    if name == "first_window":  # as many numbers as the eye has parameters: `trees` mends it
        return st.sampled_from(["random", "centre"]) | st.lists(st.floats(-1, 1), min_size=6, max_size=6)
    if name in ("strides", "sigmas"):
        return st.lists(st.floats(1e-6, 1e6) if wild else st.floats(0.1, 10), min_size=2, max_size=2).map(sorted)
    bounds = list(field.metadata)
    if kind is int:
        bounds.append(Le(SMALL.get(name, 2**62)))
    elif kind is float:
        # A float32 that is a number: what is smaller or larger becomes 0 or infinity on its way.
        bounds += [Le(1e30 if wild else SANE.get(name, 1e30)), Ge(-1e30)]
        if not wild and any(isinstance(bound, Gt) for bound in bounds):
            bounds.append(Ge(1e-3))
    return st.from_type(Annotated[kind, *bounds] if bounds else kind)


@st.composite
def trees(draw: st.DrawFn, wild: bool) -> dict[str, dict[str, Any]]:
    """A whole configuration as a person would write it: fields that only make sense together do."""
    tree = {
        name: {field: draw(values(field, detail, wild)) for field, detail in section.model_fields.items()}
        | FIXED.get(name, {})
        for name, section in sections()
        if name != "images"
    }
    scene, sensor, policy, training = (tree[name] for name in ("scene", "sensor", "policy", "training"))
    scene["height"], scene["width"] = (max(CANVAS, scene[side]) for side in ("height", "width"))
    scene["clutter_size"] = min(SIDE, scene["clutter_size"])
    if sensor["kind"] != "gaussian" and sensor["scales"] > 1:
        sensor["size"] += sensor["size"] % 2
    if policy["encoder"] != "dense":
        sensor["size"] = max(4, sensor["size"])
    if training["method"] == "recurrent_ppo" and not HAS_SB3_CONTRIB:
        training["method"] = "ppo"
    by_sb3 = training["method"] in ("a2c", "ppo", "recurrent_ppo")
    if by_sb3:
        sensor["kind"], policy["core"], sensor["size"] = "crop", "lstm", sensor["size"] + sensor["size"] % 2
        training |= {"precision": "float32", "batch": max(2, training["batch"])}
        every = dict(sections())
        for section, _, field in (name.partition(".") for name in NOT_THEIRS):
            tree[section][field] = every[section].model_fields[field].default
        tree["sb3"]["batch_size"] = None
        if training["method"] == "a2c":
            tree["sb3"] |= {"n_epochs": None, "clip_range": None}
    else:
        tree["sb3"] = {}
        training["method"] = draw(
            st.sampled_from(["reinforce", "straight_through" if sensor["kind"] == "crop" else "pathwise"])
        )
        if training["method"] != "reinforce":
            training |= {name: TrainingConfig.model_fields[name].default for name in OF_A_SCORE_FUNCTION}
    if tree["environment"]["glimpses"] == 1:
        training["lookahead"] = 0
    policy["scan"] = min(policy["scan"], tree["environment"]["glimpses"] - 1)
    if training["baseline"] == "leave_one_out":
        training["episodes_per_image"] = max(2, training["episodes_per_image"])
    lanes = training["batch"] * training["episodes_per_image"]
    training["episodes"] = max(lanes, training["episodes"])
    if tree["evaluation"]["control_episodes"]:
        tree["evaluation"]["control_episodes"] = max(lanes, tree["evaluation"]["control_episodes"])
    if min(scene["height"], scene["width"]) < 10:
        tree["evaluation"]["controls"] = [name for name in tree["evaluation"]["controls"] if name != "cnn"]
    tree["evaluation"]["controls"] = list(dict.fromkeys(tree["evaluation"]["controls"]))
    if tree["evaluation"]["signal"] == 1:
        tree["evaluation"]["signal"] = 2
    if isinstance(first := tree["environment"]["first_window"], list):
        tree["environment"]["first_window"] = first[: {"crop": 2, "stn": 4, "gaussian": 6}[sensor["kind"]]]
    return tree


def learn(config: Config, images: Any, role: str) -> None:
    """Build the agent, or a control, and have it learn twice."""
    world = make_world(config)
    world.images = images
    with warnings.catch_warnings():
        # Stable-Baselines3's: a rollout smaller than its minibatch, and the variance of returns of 1e30.
        warnings.filterwarnings("ignore", "You have specified a mini-batch size")
        warnings.filterwarnings("ignore", "(overflow|invalid value) encountered", RuntimeWarning)
        alone = {"resume": False, "interruption": Interruption(), "ranks": ALONE}
        learner, _, _ = make_learner(config, world, Path(), role, **alone)
        learner.learn(2 * learner.lanes * learner.env.glimpses, log_interval=1)
    assert learner.updates == 2
    assert all(value.isfinite().all() for value in learner.policy.state_dict().values())


@fuzz(1.0, tree=trees(wild=False), images=st.integers(0, 1), which=st.integers(0, 7))
def test_any_sane_configuration_learns(tree: dict[str, Any], images: int, which: int) -> None:
    config = parse_config(tree)
    assert parse_config(config.model_dump(mode="json")) == config
    roles = ["learned", "learned", *config.evaluation.controls]
    role = roles[which % len(roles)]
    event(f"{role}, {config.training.method}")
    learn(config, IMAGES[images], role)


@fuzz(1.0, tree=trees(wild=True), images=st.integers(0, 1))
def test_any_configuration_learns_or_says_that_its_numbers_went_bad(tree: dict[str, Any], images: int) -> None:
    """A learning rate of 1e30 is allowed. Nothing worse may come of it than the line that says so."""
    config = parse_config(tree)
    assert dump_config(config)
    said = None
    try:
        learn(config, IMAGES[images], "learned")
    except NumbersGoneBad as bad:
        said = str(bad)
    event("numbers gone bad" if said else "learned")
    assert said is None or re.match(r"update [12]: .*Likely cause: ", said)


# -------------------------------------------------------------------- what is refused


def outside(field: FieldInfo) -> list[Any]:
    """What a field does not take."""
    kinds = get_args(field.annotation) or (field.annotation,)
    wrong: list[Any] = [{"a": 1}, object()]
    if get_origin(field.annotation) is Literal or Literal in map(get_origin, kinds):
        wrong += ["no such kind", ""]
    elif bool in kinds:
        wrong += ["perhaps", 7]
    elif int in kinds or float in kinds:
        wrong += ["many", [1], math.nan, math.inf, -math.inf]
    elif str in kinds:
        wrong += [7, [1]]
    if int in kinds:
        wrong += [1.5]
    if NoneType not in kinds:
        wrong.append(None)
    for bound in field.metadata:
        match bound:
            case Ge(limit):
                wrong += [limit - 1, limit - 1e-9, -(10**40)]
            case Gt(limit):
                wrong += [limit, limit - 1, -(10**40)]
            case Le(limit):
                wrong += [limit + 1, 10**40]
            case Lt(limit):
                wrong += [limit, limit + 1, 10**40]
    return wrong


WRONG = [
    (f"{section}.{name}", value)
    for section, kind in sections()
    for name, field in kind.model_fields.items()
    for value in outside(field)
    if (name, value) != ("controls", "")  # that is none
]


@fuzz(5.0, wrong=st.sampled_from(WRONG))
def test_any_wrong_value_is_refused_by_the_name_of_its_field(wrong: tuple[str, Any]) -> None:
    (section, _, name), value = wrong[0].partition("."), wrong[1]
    with pytest.raises(ConfigError) as caught:
        parse_config({section: {name: value}})
    message = str(caught.value)
    assert message.startswith(f"{section}.{name}"), message
    assert "\n" not in message
    assert len(message) < 600


@fuzz(2.0, one=trees(wild=False), other=trees(wild=False), fields=st.sets(st.integers(0, 99), max_size=9))
def test_any_two_configurations_laid_over_each_other_are_taken_or_refused_by_a_name(
    one: dict[str, Any], other: dict[str, Any], fields: set[int]
) -> None:
    """Without regard to which fields go together."""
    theirs = [(section, name) for section, values in other.items() if isinstance(values, dict) for name in values]
    tree = {section: dict(values) if isinstance(values, dict) else values for section, values in one.items()}
    for section, name in (theirs[number % len(theirs)] for number in fields):
        tree[section][name] = other[section][name]
    said = None
    try:
        parse_config(tree)
    except ConfigError as error:
        said = str(error)
    event("refused" if said else "taken")
    assert said is None or said.partition(": ")[0] in field_names(), said


keys = st.text(min_size=1, max_size=12)


@fuzz(2.0, section=st.sampled_from([name for name, _ in sections()]) | keys, key=keys, value=st.integers() | keys)
def test_any_unknown_name_is_refused_by_it(section: str, key: str, value: Any) -> None:
    assume(f"{section}.{key}" not in field_names())
    with pytest.raises(ConfigError) as caught:
        parse_config({section: {key: value}})
    known = section in dict(sections())
    assert str(caught.value).startswith(f"{section}.{key}: " if known else section)
