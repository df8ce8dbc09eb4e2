"""The validated description of an experiment. One YAML file is one row of a results table.

Every field has a type, a default and a sentence; `describe()` lists them for `--help`. An unknown key or a bad value
is a `ConfigError`: one line that names the field, the value that came and what was expected.
"""

import os
import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ram_agent.combinations import check_together
from ram_agent.config_layers import ConfigError, nearest, read_layers
from ram_agent.lists import OF_THE_LIST, expected_list, field_at

FullImageKind = Literal["cnn", "fc", "modern_cnn"]
"""Controls that see the whole canvas at once."""
MOST_PICTURES = 160
"""Images in a picture of glimpse paths: 40 rows, some 14,000 pixels; many viewers end at 16,384."""
ControlKind = Literal["random", "centre", "raster", "oracle", FullImageKind]
SB3Method = Literal["a2c", "ppo", "recurrent_ppo"]
"""Algorithms of Stable-Baselines3 and, recurrent_ppo, of sb3-contrib."""


THEIRS = "default: Stable-Baselines3's"


PLAIN_NAME = "[A-Za-z0-9_-][A-Za-z0-9._-]*"
"""What may name a folder anywhere."""
PAIRS = (tuple[int, int] | None, tuple[float, float], tuple[float, float] | None)


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _numbers(cls, given: Any) -> Any:
        """YAML takes 1e3 for a text: asked for, it is a whole number. And `yes` for a truth, which is no number."""
        if not isinstance(given, dict):
            return given
        kinds = {name: field.annotation for name, field in cls.model_fields.items()}
        whole = {name for name, kind in kinds.items() if kind in (int, int | None)}
        numbers = whole | {name for name, kind in kinds.items() if kind in (float, float | None, *PAIRS)}
        told = given | {name: _truths_as_texts(value) for name, value in given.items() if name in numbers}
        return {name: _as_whole(value) if name in whole else value for name, value in told.items()}


def _truths_as_texts(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_truths_as_texts(each) for each in value]
    return str(value) if isinstance(value, bool) else value


def _from_home(path: str | None) -> str | None:
    """A shell writes out `~`, YAML does not."""
    return os.path.expanduser(path) if path else path


def _as_whole(value: Any) -> Any:
    if not isinstance(value, str) or not re.fullmatch(r"\d+(\.\d*)?[eE]\+?\d+", value):
        return value
    number = float(value)
    return int(number) if number.is_integer() else value


class ImagesConfig(Section):
    source: str = Field(
        default="auto", description="auto, mnist, digits, or the path of IDX files, an .npz or class folders"
    )
    folder: str | None = Field(
        default=None, description="where the MNIST files lie, if not in $RAM_AGENT_DATA or the user cache"
    )
    size: tuple[int, int] | None = Field(
        default=None,
        description="height,width that pictures of class folders, and they alone, are scaled to; default: as they are",
    )

    @field_validator("size", mode="before")
    @classmethod
    def _height_and_width(cls, given: Any) -> Any:
        if given is not None and not (isinstance(given, list | tuple) and len(given) == 2):
            side = given if isinstance(given, int) else 64
            raise ValueError(
                f"images.size: got {_SHORT.repr(given)}, expected two numbers, height,width: {side},{side}"
            )
        return given

    @model_validator(mode="after")
    def _positive(self) -> "ImagesConfig":
        if self.size and min(self.size) < 1:
            raise ValueError(f"size: expected a height and a width of 1 or more, got {self.size[0]}, {self.size[1]}")
        return self


class SceneConfig(Section):
    kind: Literal["plain", "translated", "cluttered"] = Field(
        default="cluttered", description="how images lie on canvases"
    )
    height: int = Field(default=60, ge=1, description="canvas height in pixels")
    width: int = Field(default=60, ge=1, description="canvas width in pixels")
    clutter: int = Field(default=4, ge=0, le=1000, description="patches of clutter per canvas (cluttered only)")
    clutter_size: int = Field(default=8, ge=1, description="side of a clutter patch in pixels")
    affine: float = Field(
        default=0.0, ge=0, le=0.5, description="random rotation, scale and shear of training images (0.15: 8 degrees)"
    )
    elastic: float = Field(
        default=0.0, ge=0, le=64, description="random elastic distortion of training images, in pixels at most"
    )


class SensorConfig(Section):
    kind: Literal["crop", "gaussian", "stn"] = Field(
        default="crop", description="how the eye reads: hard crop, DRAW, or STN"
    )
    size: int = Field(default=12, ge=1, description="G, samples along a side of a glimpse")
    scales: int = Field(default=3, ge=1, le=8, description="K, concentric scales, each twice as wide as the one before")
    reach: float = Field(
        default=0.9, gt=0, le=10, description="farthest centre an action can name; 1 is the border of the canvas"
    )
    strides: tuple[float, float] = Field(default=(0.5, 2.0), description="bounds of a soft window's stride, in pixels")
    sigmas: tuple[float, float] = Field(
        default=(0.25, 2.0), description="bounds of a Gaussian window's sigma, in pixels"
    )

    @model_validator(mode="after")
    def _bounds(self) -> "SensorConfig":
        for name in ("strides", "sigmas"):
            low, high = getattr(self, name)
            if not 1e-6 <= low <= high <= 1e6:
                raise ValueError(f"{name}: expected two numbers from 1e-6 to 1e6, the smaller first, got {low}, {high}")
        if self.kind != "gaussian" and self.size % 2 and self.scales > 1:
            raise ValueError(
                f"size: expected an even number where scales > 1 (scales share one centre), got {self.size}"
            )
        return self


class EnvironmentConfig(Section):
    glimpses: int = Field(default=6, ge=1, description="T, looks per episode")
    first_window: Literal["random", "centre"] | tuple[float, ...] = Field(
        default="random", description="random, centre, or P numbers in [-1, 1]"
    )

    @field_validator("first_window", mode="before")
    @classmethod
    def _a_place(cls, given: Any) -> Any:
        numbers = isinstance(given, list | tuple) and all(
            isinstance(each, int | float) and not isinstance(each, bool) for each in given
        )
        if given not in ("random", "centre") and not numbers:
            raise ValueError(
                f"environment.first_window: got {_SHORT.repr(given)}, expected random, centre, or the P numbers in "
                "[-1, 1] of a window (of a crop two, such as 0,0)"
            )
        return given


class PolicyConfig(Section):
    core: Literal["rnn", "gru", "lstm"] = Field(
        default="lstm", description="recurrent core (the paper's is a ReLU rnn)"
    )
    encoder: Literal["dense", "conv", "shared"] = Field(
        default="dense",
        description="what takes in the glimpse: a layer of units (the paper's), or two of filters first: over all "
        "scales at once (conv), or the same ones over each scale (shared)",
    )
    filters: int = Field(
        default=16,
        ge=1,
        description="filters of the first layer of an encoder of filters; the second has twice as many",
    )
    hidden: int = Field(default=256, ge=1, description="D, hidden units of the core")
    what: int = Field(default=256, ge=1, description="units that take in the glimpse")
    where: int = Field(default=128, ge=1, description="units that take in the window")
    features: int = Field(default=256, ge=1, description="units of the glimpse feature g_t")
    location: int = Field(
        default=128, ge=0, description="hidden units of the window head; 0: none, it is linear (the paper's)"
    )
    scan: int = Field(
        default=0,
        ge=0,
        description="moves, the first ones, that begin as a raster scan of what an eye can reach, each with a place of "
        "its own to learn; the agent then knows how many looks it has had; 0: all begin at the first window, and it "
        "does not",
    )
    detach_location: bool = Field(
        default=False, description="stop the window head's gradient before it reaches the core"
    )
    window_gradient: float = Field(
        default=0.05, ge=0, description="scale of the gradient into a window (straight_through, pathwise)"
    )
    grid: int = Field(
        default=9, ge=2, description="cells along each side of the grid of locations (a2c, ppo, recurrent_ppo)"
    )

    @property
    def known(self) -> int:
        """Length of h_t, which heads go by: what the core says and, with `scan`, which move comes next."""
        return self.hidden + self.scan


class TrainingConfig(Section):
    method: Literal["reinforce", "straight_through", "pathwise", SB3Method] = Field(
        default="reinforce",
        description="gradient estimator of the window: score function (any sensor), backpropagation past the crop's "
        "rounding (crop), or backpropagation (gaussian, stn); or an algorithm of Stable-Baselines3 (crop)",
    )
    trained_agent: str | None = Field(
        default=None,
        min_length=1,
        description="a run or an export whose weights training begins with; default: fresh ones",
    )
    _expanded = field_validator("trained_agent")(_from_home)
    episodes: int = Field(
        default=1_200_000,
        ge=1,
        description="training episodes, rounded up to whole updates; each of M at one image counts",
    )
    batch: int = Field(default=64, ge=1, description="images per update, of each process under torchrun")
    episodes_per_image: int = Field(
        default=1, ge=1, description="M, episodes at each image of a batch; above 1 for leave_one_out"
    )
    learning_rate: float = Field(default=1e-3, gt=0, description="the optimizer's, at the start")
    window_rate: float = Field(
        default=1.0, ge=0, le=100, description="learning rate of the window head, as a multiple of learning_rate"
    )
    learning_rate_schedule: Literal["constant", "linear", "cosine"] = Field(
        default="cosine", description="to 0 at the end"
    )
    optimizer: Literal["adam", "muon", "sgd"] = Field(
        default="adam", description="muon: for hidden matrices, adam for the rest; sgd has momentum 0.9 (the paper's)"
    )
    clip: float = Field(default=5.0, gt=0, description="largest norm of the gradient")
    weight_average: int = Field(
        default=0,
        ge=0,
        description="time constant, in episodes, of an exponential average of the weights that is validated, kept and "
        "tested in their place (a tenth of the episodes so far while that is less); 0 or less than an update's: as "
        "they stand",
    )
    window_std: float = Field(default=0.10, gt=0, description="std of sampled windows at the start, in [-1, 1] units")
    window_std_end: float | None = Field(
        default=None, gt=0, description="and at the end (linear in between); default: the same"
    )
    baseline: Literal["none", "learned", "leave_one_out"] = Field(
        default="learned", description="what the return is held against"
    )
    reward: Literal["success", "probability", "log_likelihood"] = Field(
        default="probability", description="the return of a move"
    )
    lookahead: int = Field(
        default=0,
        ge=0,
        description="J, other windows that are tried at one move of every episode; the window head is pulled towards "
        "the best of them; 0: none",
    )
    precision: Literal["float32", "tf32", "bfloat16", "fastest"] = Field(
        default="float32",
        description="of products in training: bfloat16 for the glimpse network's, the core's and Muon's, all else "
        "stays float32; tf32, on a GPU, for all of them; fastest: bfloat16 where that is faster here, else float32, "
        "measured at the start",
    )
    classify_every_look: bool = Field(
        default=False, description="classification loss after every look, not only the last"
    )
    classification_weight: float = Field(default=1.0, ge=0, description="weight of the cross-entropy")
    reinforce_weight: float = Field(
        default=1.0, ge=0, description="weight of the score-function loss, summed over moves"
    )
    baseline_weight: float = Field(default=1.0, ge=0, description="weight of the baseline's squared error")
    lookahead_weight: float = Field(default=1.0, ge=0, description="weight of the distance to the best window tried")

    @property
    def by_sb3(self) -> bool:
        """Whether an algorithm of Stable-Baselines3 trains the agent."""
        return self.method in get_args(SB3Method)

    @property
    def lanes_per_process(self) -> int:
        """Episodes played side by side, all that an update has of each process."""
        return self.batch * self.episodes_per_image

    @property
    def last_window_std(self) -> float:
        """Exploration at the end of training."""
        return self.window_std_end or self.window_std

    @model_validator(mode="after")
    def _episodes_per_image(self) -> "TrainingConfig":
        if self.baseline == "leave_one_out" and self.episodes_per_image < 2:
            raise ValueError("episodes_per_image: expected 2 or more for baseline leave_one_out, got 1")
        return self


class SB3Config(Section):
    """What Stable-Baselines3's algorithms have of their own, by their own names.

    The rest is `training`'s: episodes, batch (lanes, each plays one episode per update), learning_rate with its
    schedule, clip (max_grad_norm).
    """

    reward: Literal["success", "each_look"] = Field(
        default="success", description="1 for the right label at the end, or 1/T at every look whose label is right"
    )
    gamma: float | None = Field(default=None, ge=0, le=1, description=f"discount; {THEIRS}")
    gae_lambda: float | None = Field(default=None, ge=0, le=1, description=f"of the advantage estimate; {THEIRS}")
    ent_coef: float | None = Field(default=None, ge=0, description=f"weight of the entropy bonus; {THEIRS}")
    vf_coef: float | None = Field(default=None, ge=0, description=f"weight of the value loss; {THEIRS}")
    normalize_advantage: bool | None = Field(default=None, description=f"in each minibatch; {THEIRS}")
    n_epochs: int | None = Field(default=None, ge=1, description=f"passes over a rollout (not a2c); {THEIRS}")
    batch_size: int | None = Field(
        default=None, ge=2, description=f"steps in a minibatch, a divisor of batch x glimpses (not a2c); {THEIRS}"
    )
    clip_range: float | None = Field(
        default=None, gt=0, description=f"largest change of a probability ratio (not a2c); {THEIRS}"
    )

    @property
    def given(self) -> dict[str, Any]:
        """The settings that are not left to Stable-Baselines3, but for the reward, which is the environment's."""
        return self.model_dump(exclude={"reward"}, exclude_none=True)


class EvaluationConfig(Section):
    every: int = Field(default=60_000, ge=1, description="episodes between evaluations on the validation split")
    votes: int = Field(
        default=10, ge=1, description="M sampled passes whose probabilities are averaged for the M-vote error"
    )
    controls: tuple[ControlKind, ...] = Field(
        default=("random", "centre"),
        description="what is trained alike, for comparison: other ways to look, or networks that see the whole canvas; "
        "none or []: nothing",
    )
    control_episodes: int | None = Field(
        default=None, ge=1, description="training episodes of a control; default: as many"
    )
    signal: int = Field(
        default=6,
        ge=0,
        description="batches from which each evaluation measures the signal-to-noise ratio of gradient estimators; "
        "0: none",
    )

    @field_validator("controls", mode="before")
    @classmethod
    def _one(cls, given: Any) -> Any:
        if given in ("none", ""):
            return []
        return [given] if isinstance(given, str) else given  # `--evaluation.controls random`

    @model_validator(mode="after")
    def _counts(self) -> "EvaluationConfig":
        if twice := next((name for name in self.controls if self.controls.count(name) > 1), None):
            raise ValueError(f"controls: expected each one once, got {twice} {self.controls.count(twice)} times")
        if self.signal == 1:
            raise ValueError("signal: expected 2 or more batches (one does not tell what is noise), or 0, got 1")
        return self


class RunConfig(Section):
    folder: str | None = Field(
        default=None, description="run folder; default: runs/<name>, with a number behind it if that exists"
    )
    seed: int = Field(
        default=1, ge=0, lt=2**63, description="seed of weights, scenes and samples; the test set has its own"
    )
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:0, ...")
    threads: int = Field(default=0, ge=0, description="torch threads; 0: measured at the start")
    cuda_graph: bool | None = Field(
        default=None,
        description="replay updates as a CUDA graph: Adam or Muon, one process, a CUDA device; default: where that can "
        "be done and run.deterministic does not ask for bits that repeat",
    )
    deterministic: bool = Field(
        default=False, description="on a GPU, take only algorithms that repeat to the last bit; a CPU's do anyway"
    )
    overwrite: bool = Field(default=False, description="replace an existing run folder")
    tensorboard: bool = Field(default=True, description="write TensorBoard event files")
    track: bool = Field(default=False, description="follow the run in Weights & Biases as well (extra: track)")
    progress: bool = Field(default=True, description="show a progress bar")
    log_every: int = Field(default=10_000, ge=1, description="episodes between training scalars")
    checkpoint_every: int = Field(default=60_000, ge=1, description="episodes between checkpoints")
    on_write_error: Literal["continue", "stop"] = Field(
        default="continue", description="what a full disk or a vanished run folder means: train on and retry, or stop"
    )
    keep: int = Field(default=3, ge=1, description="checkpoints that are kept, the newest and those before it")
    pictures: int = Field(
        default=12, ge=0, le=MOST_PICTURES, description="test images in the pictures of glimpse paths; 0: no pictures"
    )

    _expanded = field_validator("folder")(_from_home)


class Config(Section):
    """A whole experiment."""

    name: str = Field(default="default", pattern=f"^{PLAIN_NAME}$", description="name of the experiment")
    images: ImagesConfig = ImagesConfig()
    scene: SceneConfig = SceneConfig()
    sensor: SensorConfig = SensorConfig()
    environment: EnvironmentConfig = EnvironmentConfig()
    policy: PolicyConfig = PolicyConfig()
    training: TrainingConfig = TrainingConfig()
    sb3: SB3Config = SB3Config()
    evaluation: EvaluationConfig = EvaluationConfig()
    run: RunConfig = RunConfig()

    @model_validator(mode="after")
    def _together(self) -> "Config":
        check_together(self)
        return self

    def training_of(self, role: str) -> TrainingConfig:
        """How the agent ("learned") or a control is trained. A control has nothing to estimate.

        Episodes at one image are alike where nothing is drawn: a control looks at an image of its own in each lane.
        """
        training = self.training
        if role == "learned":
            return training
        alone = {"method": "pathwise", "baseline": "learned", "episodes_per_image": 1}
        played = {
            "batch": training.lanes_per_process,
            "episodes": self.evaluation.control_episodes or training.episodes,
        }
        return training.model_copy(update=alone | played)


# -------------------------------------------------------------------- reading, overriding, writing


def load_config(path: str | Path | None = None, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read a YAML file over its bases (or the defaults) and apply overrides given as `section.field` → value.

    Raises `ConfigError`.
    """
    tree: dict[str, Any] = {}
    if path is not None:
        path = Path(path)
        tree = read_layers(path)
        tree.setdefault("name", path.stem)
    override(tree, overrides or {})
    return parse_config(tree, str(path) if path and not overrides else "")


def override(tree: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Set `section.field` → value in a tree of plain values, and hand it back. Raises `ConfigError`."""
    for name, value in overrides.items():
        section, _, field = name.rpartition(".")
        branch = tree.setdefault(section, {}) if section else tree
        if not isinstance(branch, dict):
            raise ConfigError(_no_section(section, branch))
        branch[field] = value
    return tree


def changed_config(config: "Config", overrides: Mapping[str, Any]) -> "Config":
    """The configuration with `section.field` → value set, validated as a whole. Raises `ConfigError`."""
    return parse_config(override(config.model_dump(), overrides))


def parse_config(tree: Mapping[str, Any], origin: str = "") -> Config:
    """Validate a tree of plain values. Raises `ConfigError` with one line about the first thing wrong."""
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError((f"{origin}: " if origin else "") + _one_line(error, Config)) from None


def dump_config(config: Config) -> str:
    """YAML that `load_config` reads back equal."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


_SHORT = reprlib.Repr()
"""Aliases can make a page of YAML a value whose text fills the memory."""
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxdict, _SHORT.maxtuple = 2, 8, 4, 8
_SHORT.maxstring = _SHORT.maxother = 200

SectionType = TypeVar("SectionType", bound=Section)


def parse_section(
    section: type[SectionType], tree: Mapping[str, Any], names: Iterable[str] | None = None
) -> SectionType:
    """Validate one section by itself; `names` are its fields, and those below it. Raises `ConfigError`."""
    try:
        return section.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(_one_line(error, section, list(names or section.model_fields))) from None


class Described(NamedTuple):
    """One settable field, for `--help`."""

    name: str
    type: str
    default: Any
    help: str


def describe() -> Iterator[Described]:
    """Every field as `section.field`, in the order of the file."""
    for name, field in Config.model_fields.items():
        if isinstance(field.default, Section):
            for inner, detail in type(field.default).model_fields.items():
                yield _described(f"{name}.{inner}", detail)
        else:
            yield _described(name, field)


def field_names() -> list[str]:
    return [field.name for field in describe()]


def _described(name: str, field: Any) -> Described:
    annotation = field.annotation
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")
    text = re.sub(r"Literal\[(.*?)\]", lambda choice: choice[1].replace("'", "").replace(", ", " | "), text)
    return Described(name=name, type=text, default=field.default, help=field.description or "")


def check_value(name: str, value: Any) -> None:
    """Raise `ConfigError`, without the name, where the field `name` takes no such value, whatever stands beside it."""
    section, _, field = name.partition(".")
    model = type(Config.model_fields[section].default)
    try:
        model.model_validate({field: value})
    except ValidationError as error:
        if any(each["loc"][:1] == (field,) for each in error.errors()):  # and not the section for another's default
            told = _one_line(error, model, list(model.model_fields))
            raise ConfigError(told.removeprefix(f"{section}.").removeprefix(f"{field}: ")) from None


def _no_section(name: str, given: Any) -> str:
    settings = (each.name.partition(".")[2] for each in describe() if each.name.startswith(f"{name}."))
    got = "nothing" if given is None else _SHORT.repr(given)
    return f"{name}: expected a section of settings, such as {name}: {{{next(settings)}: ...}}, got {got}"


def _one_line(error: ValidationError, model: type[Section], names: list[str] | None = None) -> str:
    """The first thing wrong; `names` are the right ones, where it is not a whole configuration.

    Of a key that lacks and one that is unknown, side by side, the unknown one is told: it is the other, misspelt.
    """
    errors = error.errors()
    first = errors[0]
    if first["type"] == "missing":
        beside = (each for each in errors if each["loc"][:-1] == first["loc"][:-1])
        first = next((each for each in beside if each["type"] == "extra_forbidden"), first)
    path = [str(part) for part in first["loc"]]
    sections = [name for name, field in Config.model_fields.items() if isinstance(field.default, Section)]
    if names:
        name = ".".join(path)
    elif path and path[0] in sections:
        name = ".".join(path[:2])
    else:
        name = path[0] if path else ""
    if first["type"] == "extra_forbidden":
        if not names and name in field_names():
            section, _, field = name.partition(".")
            return f"{name}: expected the setting in its section, {section}: {{{field}: ...}}"
        guess = nearest(path[-1], names) if names else nearest(name, field_names() + sections)
        return f"{name}: unknown setting{guess}"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return f"{name}.{message}" if name in sections else message
    got = _SHORT.repr(first["input"])
    if first["type"] == "model_type" and name in sections and len(path) == 1:
        return _no_section(name, first["input"])
    a_list = expected_list(field_at(model, first["loc"]), typed=not names)
    if first["type"] == "missing" and not path[-1].isdigit():
        return f"{name}: missing, expected {a_list or f'{path[-1]!r} in {got}'}"
    if first["type"] in OF_THE_LIST and a_list:
        return f"{re.sub(r'[.][0-9]+$', '', name)}: got {got}, expected {a_list}"
    return f"{name}: got {got}: {message[0].lower()}{message[1:]}"
