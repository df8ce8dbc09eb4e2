"""Which runs are one method, and what it is called."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ram_agent.building import build_learner
from ram_agent.compare.gather import Run
from ram_agent.compare.methods import (
    BOOKKEEPING,
    IDLE,
    IDLE_BESIDE,
    OF_A_LEARNED_GAZE,
    OF_GLIMPSES,
    Method,
    differing,
    group,
    of_other_names,
    settings_of,
)
from ram_agent.compare.report import _gaps
from ram_agent.compare.subjects import Subject
from ram_agent.config import Config, ConfigError, Described, describe, load_config, parse_config
from ram_agent.stored import read_errors
from tests.extras import needs_sb3_contrib
from tests.making import make_config, make_measured, make_world


def run(
    name: str = "hard", *, role: str = "learned", sha256: str = "a" * 64, done: bool = True, **settings: Any
) -> Run:
    """A run with the default settings but for those given as section__field."""
    changed = {field.replace("__", "."): value for field, value in settings.items()}
    measured = read_errors(make_measured(10.0))
    return Run(
        folder=Path("runs") / name,
        role=role,
        config=load_config(None, {"name": name} | changed),
        dataset="mnist",
        sha256=sha256,
        measured=measured if done else None,
        validation_error=9.0,
        episodes=100,
        seconds=1.0,
        threads=1,
        device="cpu",
        processes=1,
        parameters=10,
        pixels=100,
        curve=(),
        gaps=(),
    )


def named(*runs: Run) -> dict[str, list[int]]:
    return {method.name: [each.config.run.seed for each in method.runs] for method in group(runs)}


def test_seeds_are_one_method():
    assert named(run(run__seed=3), run(run__seed=1), run(run__seed=2)) == {"hard": [1, 2, 3]}


@pytest.mark.parametrize(
    "bookkeeping",
    [
        {"run__folder": "elsewhere"},
        {"run__threads": 2},
        {"run__device": "cuda"},
        {"images__folder": "/data"},
        {"evaluation__controls": []},
        {"evaluation__control_episodes": 500},
        {"evaluation__signal": 0},
    ],
)
def test_bookkeeping_makes_no_method(bookkeeping: dict[str, Any]):
    assert named(run(run__seed=1), run(run__seed=2, **bookkeeping)) == {"hard": [1, 2]}


def test_seeds_of_two_rows_that_were_begun_with_are_no_seeds_of_one():
    """Every run of a sweep is called `seed1` or the like."""
    began = ["runs/t/row_a/seed1", "runs/t/row_a/seed1", "runs/t/row_b/seed1"]
    runs = [run(run__seed=seed, training__trained_agent=path) for seed, path in enumerate(began, start=1)]
    assert sorted(map(len, named(*runs).values())) == [1, 2]
    # An export keeps the last part of the path alone: beside one, that is what they are told by.
    export = replace(run(run__seed=4, training__trained_agent="seed1"), kind="export")
    assert named(*runs, export) == {"hard": [1, 2, 3, 4]}


def test_two_that_share_a_name_both_name_what_differs():
    assert set(named(run(), run(environment__glimpses=8))) == {"hard (glimpses 6)", "hard (glimpses 8)"}


def test_a_majority_keeps_the_bare_name_and_is_told():
    runs = run(), run(environment__glimpses=8), run(training__reward="success")
    methods = group(runs)
    assert [method.name for method in methods] == ["hard", "hard (glimpses 8)", "hard (training.reward success)"]
    fields, settings = differing(methods)
    assert fields == ("environment.glimpses", "training.reward")
    assert [[mine[field] for field in fields] for mine in settings] == [
        ["6", "probability"],
        ["8", "probability"],
        ["6", "success"],
    ]


def test_a_field_that_two_sections_have_is_named_in_full():
    soft = run(sensor__kind="stn", training__method="pathwise")
    assert "hard (sensor.kind stn, method pathwise)" in named(run(), soft)


def test_names_are_unique_whatever_differs():
    grid = [run(environment__glimpses=t, training__batch=b) for t in (4, 6, 8) for b in (32, 64)]
    assert len(named(*grid)) == len(grid)


def test_other_images_are_another_method():
    assert set(named(run(), run(sha256="b" * 64))) == {"hard (sha256 aaaaaaaaaaaa)", "hard (sha256 bbbbbbbbbbbb)"}


def test_the_same_images_are_the_same_wherever_they_lay():
    here, there = run(run__seed=1, images__source="/here/set.npz"), run(run__seed=2, images__source="/there/set.npz")
    assert named(here, there) == {"hard": [1, 2]}
    fields, _ = differing(group([here, run("soft", images__source="/there/set.npz", training__batch=7)]))
    assert fields == ("training.batch",)
    unknown = {"sha256": "", "run__seed": 3}
    assert named(here, run(**unknown, images__source="/here/set.npz")) == {"hard": [1, 3]}
    assert len(named(here, run(**unknown, images__source="/elsewhere/set.npz"))) == 2


def test_a_run_that_does_not_know_its_images_goes_with_its_like():
    assert named(run(), run(sha256="", run__seed=2)) == {"hard": [1, 2]}


def test_a_run_that_does_not_know_its_images_makes_no_difference():
    methods = group([run(sha256="", run__seed=1), run(run__seed=2), run(environment__glimpses=8)])
    assert differing(methods)[0] == ("environment.glimpses",)


def test_it_stays_apart_where_its_like_stand_on_different_images():
    assert len(named(run(), run(sha256="b" * 64), run(sha256="", run__seed=2))) == 3


def test_controls_are_methods_of_their_own():
    assert named(run(), run(role="random"), run(role="centre")) == {
        "hard": [1],
        "hard (control random)": [1],
        "hard (control centre)": [1],
    }


def test_controls_trained_for_longer_are_another_method():
    short, long = run(role="random", evaluation__control_episodes=100), run(role="random")
    assert set(named(short, long)) == {"hard (control random, episodes 100)", "hard (control random, episodes 1200000)"}


def test_how_a_gaze_is_learned_makes_no_other_control():
    settings: list[dict[str, Any]] = [
        {"training__method": "straight_through", "training__window_std": 0.2, "policy__window_gradient": 1.0},
        {"training__baseline": "none", "training__lookahead": 8, "training__reward": "success"},
        {"training__trained_agent": "runs/other"},
        {"training__method": "ppo", "policy__grid": 5, "sb3__gamma": 0.9},
    ]
    alike = [run(role="random", run__seed=1 + seed, **each) for seed, each in enumerate(settings)]
    assert named(*alike) == {"hard (control random)": [1, 2, 3, 4]}
    assert len(group([run(**each) for each in settings])) == 4
    assert len(named(*alike, run(role="random", training__batch=32))) == 2


def test_a_control_of_several_episodes_an_image_is_one_of_as_many_images():
    several = {"training__baseline": "leave_one_out", "training__episodes_per_image": 4, "training__batch": 16}
    assert named(run(role="random", **several), run(role="random", run__seed=2, training__batch=64)) == {
        "hard (control random)": [1, 2]
    }


def test_settings_of_glimpses_make_no_other_control_that_takes_none():
    settings: list[dict[str, Any]] = [{}, {"environment__glimpses": 8, "sensor__size": 8, "policy__encoder": "conv"}]
    assert named(*(run(role="cnn", run__seed=seed, **each) for seed, each in enumerate(settings))) == {
        "hard (control cnn)": [0, 1]
    }
    assert len(group([run(role="centre", **each) for each in settings])) == 2


def test_what_has_no_part_in_a_method_is_no_difference():
    methods = group([run(), run(role="cnn"), run(role="random", environment__glimpses=8)])
    fields, settings = differing(methods)
    assert fields == ("environment.glimpses",)
    assert [mine["environment.glimpses"] for mine in settings] == ["6", "–", "8"]


def test_what_comes_to_the_same_makes_no_other_method():
    assert named(run(run__seed=1), run(run__seed=2, training__window_std_end=0.1)) == {"hard": [1, 2]}
    assert set(named(run(), run(training__window_std_end=0.05))) == {
        "hard (window_std_end none)", "hard (window_std_end 0.05)",
    }  # fmt: skip
    every_look = run(role="cnn", run__seed=2, training__classify_every_look=True)
    assert named(run(role="cnn", run__seed=1), every_look) == {"hard (control cnn)": [1, 2]}


def test_settings_of_another_method_of_training_are_no_difference():
    soft: dict[str, Any] = {"sensor__kind": "stn", "training__method": "pathwise"}
    methods = group(
        [
            run("hard"),
            run("grid", policy__grid=5),
            run("soft", **soft, training__window_std=0.2),
        ]
    )
    fields, settings = differing(methods)
    assert fields == ("sensor.kind", "training.method")
    assert [mine["training.baseline"] for mine in settings] == ["learned", "learned", "–"]
    assert [mine["training.window_std"] for mine in settings] == ["0.1", "0.1", "–"]
    assert named(run(run__seed=1), run(run__seed=2, policy__grid=5)) == {"hard": [1, 2]}
    assert set(named(run(), run(training__baseline="none"), run(**soft, training__window_std=0.2))) == {
        "hard (sensor.kind stn, method pathwise)", "hard (baseline learned)", "hard (baseline none)",
    }  # fmt: skip


def other_than(field: Any) -> Any:
    """A value that it does not have by default."""
    if isinstance(field.default, bool):
        return not field.default
    if isinstance(field.default, str):
        return next(choice for choice in field.type.split(" | ") if choice not in (field.default, "leave_one_out"))
    return 2 * field.default + 1 if field.default is not None else 2 if "int" in field.type else 0.5


@pytest.mark.parametrize(
    "prefix",
    sorted({*BOOKKEEPING, *OF_A_LEARNED_GAZE, *OF_GLIMPSES}.union(*IDLE.values(), *IDLE_BESIDE.values())),
)
def test_every_beginning_of_settings_is_that_of_some(prefix: str):
    assert any(field.name.startswith(prefix) for field in describe())


PLAYED_BY_A_CONTROL = "training.episodes_per_image"
"""As so many images more an update."""
OTHERS = {"training.trained_agent": "runs/other", "sb3.normalize_advantage": True}


@pytest.mark.parametrize(
    "field",
    [field for field in describe() if field.name.startswith(OF_A_LEARNED_GAZE) and field.name != PLAYED_BY_A_CONTROL],
    ids=lambda field: field.name,
)
def test_what_a_control_does_not_learn_makes_no_method_of_it(field: Described):
    """Built past what is refused: what matters is what two controls' settings come to."""
    section, _, name = field.name.partition(".")
    usual, value = run(role="random"), OTHERS.get(field.name) or other_than(field)
    changed = getattr(usual.config, section).model_copy(update={name: value})
    other = replace(usual, config=usual.config.model_copy(update={section: changed}))
    assert other.config != usual.config
    assert settings_of(other) == settings_of(usual)


@pytest.mark.parametrize(
    "method", [pytest.param(each, marks=needs_sb3_contrib if each == "recurrent_ppo" else ()) for each in IDLE]
)
def test_what_has_no_part_in_a_method_changes_nothing_in_it(method: str):
    """Whichever of these settings is changed, two updates end in the same weights; or it is refused."""

    def weights(**changed: Any) -> dict[str, torch.Tensor]:
        tree = make_config(sensor={"kind": "gaussian" if method == "pathwise" else "crop"}).model_dump()
        tree["training"]["method"] = method
        if method in ("ppo", "recurrent_ppo"):
            tree["sb3"]["batch_size"] = 12
        for name, value in changed.items():
            section, _, field = name.partition(".")
            tree[section][field] = value
        config = parse_config(tree)
        learner = build_learner(config, make_world(config))
        for _ in range(2):
            learner.update()
        return learner.policy.state_dict()

    usual = weights()
    changed = 0
    for field in describe():
        if not field.name.startswith(IDLE[method]):
            continue
        try:
            found = weights(**{field.name: other_than(field)})
        except ConfigError:
            continue
        changed += 1
        assert found.keys() == usual.keys(), field.name
        for name, value in usual.items():
            assert torch.equal(found[name], value), f"{field.name}: {name}"
    assert changed
    with_part = weights(**{"training.clip": 0.1})
    assert not all(torch.equal(with_part[name], value) for name, value in usual.items())


@pytest.mark.parametrize(("beside", "idle"), IDLE_BESIDE.items(), ids=lambda part: " ".join(part))
def test_what_has_no_part_beside_a_value_changes_nothing_and_is_no_difference(
    beside: tuple[str, str], idle: tuple[str, ...]
):
    """By the weights after two updates, and as a method."""
    sensor = beside[1] if beside[0] == "sensor.kind" else "crop"
    method = "pathwise" if sensor == "stn" else "reinforce"
    several = {"training.episodes_per_image": 2} if beside[1] == "leave_one_out" else {}

    def config(**changed: Any) -> Config:
        tree = make_config(sensor={"kind": sensor}).model_dump()
        values = {"training.method": method, **several, beside[0]: beside[1], **changed}
        for name, value in values.items():
            section, _, field = name.partition(".")
            tree[section][field] = value
        return parse_config(tree)

    def weights(made: Config) -> dict[str, torch.Tensor]:
        learner = build_learner(made, make_world(made))
        for _ in range(2):
            learner.update()
        return learner.policy.state_dict()

    usual = config()
    for field in describe():
        if not field.name.startswith(idle):
            continue
        default = getattr(getattr(usual, field.name.partition(".")[0]), field.name.partition(".")[2])
        other = tuple(2 * each for each in default) if isinstance(default, tuple) else other_than(field)
        changed = config(**{field.name: other})
        assert changed != usual
        for name, value in weights(usual).items():
            assert torch.equal(weights(changed)[name], value), f"{field.name}: {name}"
        assert settings_of(replace(run(), config=changed)) == settings_of(replace(run(), config=usual))


def test_what_differs_in_its_name_alone_is_told():
    """As runs that were named for their seeds are; their controls need no line of their own."""
    runs = [run(name, run__seed=1, role=role) for name in ("exp_s1", "exp_s2") for role in ("learned", "cnn")]
    methods = group([*runs, run("other", training__batch=7)])
    assert of_other_names(methods) == [["exp_s1", "exp_s2"]]
    (line, *_) = _gaps(map(Subject, methods))
    assert line.startswith("exp_s1 and exp_s2 differ in their name alone")
    assert of_other_names(group([run(), run(run__seed=2), run("b", role="cnn")])) == []


def test_a_seed_counts_once_the_finished_run_of_it_rather():
    first, second, third = run(done=False), run(), run()
    (method,) = group([first, second, third])
    assert isinstance(method, Method)
    assert method.runs == (second,)
    assert method.runs[0] is second
    assert len(method.doubles) == 2
