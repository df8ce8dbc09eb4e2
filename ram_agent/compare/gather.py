"""Run folders, and files of results → `Run`s. What one lacks is a sentence in `Run.gaps`; it is shown all the same."""

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Bool

from ram_agent.board import whole_rows
from ram_agent.checkpoint import CheckpointError, read_newest
from ram_agent.config import Config, ConfigError, ControlKind, load_config, override, parse_config
from ram_agent.config_layers import OF_THE_MACHINE, settings_of_results
from ram_agent.export import is_export
from ram_agent.full_image import NETWORKS
from ram_agent.gradient_signal import ESTIMATORS
from ram_agent.results import signals, validation_seconds, validations
from ram_agent.run_files import CHECKPOINT, CONFIG, CONTROLS, METRICS, RESULTS, agent_folder, check_run, is_run
from ram_agent.stored import UNWRITTEN, TestErrors, read_errors, read_results
from ram_agent.table import SWEEP, seed_folder
from ram_agent.words import listed

ROLES = ("learned", *get_args(ControlKind))
EVERY = "*"
"""In place of one of them."""
Kind = Literal["run", "export", "results"]
"""What is at hand: the folder of a run; an export, which has weights and results; the file of its results alone, as of
a published run. In the order of how much they know.
"""


@dataclass(frozen=True)
class Validated:
    """One validation during training."""

    episodes: int
    seconds: float | None
    """Of updates until then, interpolated: only training rows of `metrics.csv` have a time."""
    error: float


@dataclass(frozen=True)
class Run:
    """One trained agent: the learned policy of a run, or one of its controls. None: not known."""

    folder: Path
    """Where its metrics and its checkpoint are; of results alone, their file."""
    role: str
    """`learned`, or the kind of control."""
    config: Config
    dataset: str
    sha256: str
    """Of the images; empty where not known."""
    measured: TestErrors | None
    validation_error: float | None
    """The lowest."""
    episodes: int | None
    seconds: float | None
    threads: int | None
    device: str
    processes: int
    parameters: int | None
    pixels: int | None
    """Seen per image: those of all glimpses at all scales, as the network is given them, or the whole canvas once."""
    curve: tuple[Validated, ...]
    gaps: tuple[str, ...]
    """What is missing, a sentence each."""
    signal: Mapping[str, tuple[tuple[int, float], ...]] = field(default_factory=dict)
    """By estimator: (episodes, signal-to-noise of its gradient) at evaluations."""
    versions: Mapping[str, str] = field(default_factory=dict)
    given_up: bool = False
    """Whether its training came to no result, and none is to come."""
    kind: Kind = "run"
    best_at_episode: int | None = None
    """When it had the weights that were measured."""

    @property
    def seed(self) -> int:
        return self.config.run.seed

    @property
    def whole(self) -> Path:
        """The run that it is an agent of: its folder, or the file of its results."""
        return self.folder if self.kind == "results" or self.role == "learned" else self.folder.parents[1]

    @property
    def place(self) -> str:
        """Where it lies; in a file of several agents by its role, as it can be asked for."""
        return f"{self.folder}:{self.role}" if self.kind == "results" and self.role != "learned" else str(self.folder)

    @property
    def wrong(self) -> Bool[np.ndarray, " images"] | None:
        """Which test images it took for another class at mean locations; None where it did not store that."""
        if not self.measured or self.measured.wrong_images is None:
            return None
        wrong = np.zeros(self.measured.test_images, dtype=bool)
        wrong[list(self.measured.wrong_images)] = True
        return wrong

    @property
    def pixels_trained(self) -> int | None:
        """Read per training episode: by its T glimpses and, in a learned agent, by what `training.lookahead` tried."""
        if self.pixels is None or self.role != "learned":
            return self.pixels
        glimpses = self.config.environment.glimpses
        return self.pixels * (glimpses + self.config.training.lookahead) // glimpses


@dataclass(frozen=True)
class Gathered:
    """What is to be compared."""

    runs: tuple[Run, ...]
    left_out: tuple[str, ...]
    """A sentence for each sweep with runs that have not begun, for each folder that is no run's, as a search's among
    `runs/*`, and for each whose configuration cannot be read, by which nothing of it can be understood."""


def gather(named: Sequence[Path], *, controls: bool = True) -> Gathered:
    """Every agent of every run, with its `controls` or without, one named twice once.

    Named are folders of runs, and the folder of a sweep stands for all of its runs, each by the name of its row; or
    files of results, as runs write them. `RUN:ROLE` is one agent of it alone, a control all the same.

    Raises `ConfigError` where there is no such folder, file or agent, or none holds a run whose configuration can be
    read.
    """
    left_out: dict[str, None] = {}
    errors: dict[str, ConfigError] = {}
    different: dict[Path, Path] = {}
    rows: dict[Path, str] = {}
    asked: dict[Path, set[str]] = {}  # of each run the roles, EVERY for all
    for name in named:
        path, role = _one_agent(name)
        try:
            begun, sentence = _runs(path)
        except ConfigError as error:
            if not path.exists():
                raise
            errors[str(path)] = error
            continue
        left_out |= {sentence: None} if sentence else {}
        for run, row in begun.items():
            place = run.resolve()
            different.setdefault(place, run)
            rows[place] = row or rows.get(place, "")
            asked.setdefault(place, set()).add(role or (EVERY if controls else "learned"))
    runs: list[Run] = []
    for place, run in different.items():
        try:
            agents = {agent.role: agent for agent in _agents(run, rows[place])}
        except ConfigError as error:
            errors[str(run)] = error
            continue
        runs += [agent for role, agent in agents.items() if asked[place] & {role, EVERY}]
        for role in sorted(asked[place] - {*agents, EVERY}):
            errors[f"{run}:{role}"] = ConfigError(f"run {run}: it has no agent {role}; it has {listed(list(agents))}")
    if not runs and errors:
        raise next(iter(errors.values()))
    return Gathered(tuple(runs), (*left_out, *(f"{what} is left out: {error}." for what, error in errors.items())))


def _one_agent(name: Path) -> tuple[Path, str]:
    """`RUN:ROLE` as both of it; the role is empty where none was named."""
    run, colon, role = str(name).rpartition(":")
    if not colon or name.exists() or not Path(run).exists():
        return name, ""
    if role not in ROLES:
        raise ConfigError(f"run {name}: no agent is called {role!r}; expected one of {', '.join(ROLES)}")
    return Path(run), role


def _runs(path: Path) -> tuple[dict[Path, str], str]:
    """The run itself, or the runs of a sweep that have begun, in the order of its table, each with its row's name;
    and a sentence about those that have not. Raises `ConfigError` where no run has begun.
    """
    if not path.exists():
        raise ConfigError(f"run {path}: no such folder or file; name a folder that a training has made, or results")
    if path.is_file():
        return {path: ""}, ""
    if not (path / SWEEP).is_file():
        check_run(path)
        return {path: ""}, ""
    try:
        jobs = json.loads((path / SWEEP).read_text(encoding="utf-8"))["jobs"]
        named = [(str(job["row"]), job["seed"]) for job in jobs]
        runs = {seed_folder(path, row, seed): (row, seed) for row, seed in named}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"sweep {path}: {SWEEP} cannot be read ({error}); name the runs instead") from None
    begun = {run: row for run, (row, _) in runs.items() if is_run(run)}
    if not begun:
        raise ConfigError(f"sweep {path}: none of its {len(runs)} runs has begun")
    waiting = [f"{row} seed {seed}" for run, (row, seed) in runs.items() if run not in begun]
    have = "has" if len(waiting) == 1 else "have"
    said = f"{len(waiting)} of {len(runs)} runs of sweep {path} {have} not begun: {', '.join(waiting)}."
    return begun, said if waiting else ""


# -------------------------------------------------------------------- one run


@dataclass(frozen=True)
class _Left:
    """What one run has left behind."""

    path: Path
    """Its folder, or the file of its results."""
    kind: Kind
    config: Config
    results: Mapping[str, Any]
    gap: str
    """What is wrong with them."""

    @property
    def unfinished(self) -> bool:
        return bool(self.gap or self.results.get("interrupted"))

    def folder(self, role: str) -> Path:
        return self.path if self.kind == "results" else agent_folder(self.path, role)

    def numbers(self, role: str) -> dict[str, Any]:
        """What the results have of one agent."""
        controls = _mapping(self.results.get("controls"))
        return dict(self.results) if role == "learned" else _mapping(controls.get(role))

    def roles(self) -> list[str]:
        """Of its controls those of which there is a trace."""
        begun = {path.name for path in (self.path / CONTROLS).glob("*") if path.is_dir()}
        there = begun | _mapping(self.results.get("controls")).keys()
        return [role for role in self.config.evaluation.controls if role in there and self.kind != "export"]


def _agents(path: Path, row: str) -> list[Run]:
    """The learned agent and its controls, as far as there is a trace of them; a `row` of a sweep is their name."""
    if path.is_file():
        if path.suffix != ".json":
            raise ConfigError(f"run {path}: neither the folder of a run nor the file of its results, {RESULTS}")
        kind, config = "results", parse_config(override(settings_of_results(path), OF_THE_MACHINE), str(path))
    else:
        kind, config = "export" if is_export(path) else "run", load_config(path / CONFIG)
    config = config.model_copy(update={"name": row}) if row else config
    left = _Left(path, kind, config, *_results(path))
    learned, roles = _agent(left, "learned"), left.roles()
    waiting = [role for role in config.evaluation.controls if role not in roles]
    if waiting and kind != "export":
        have = "control has" if len(waiting) == 1 else "controls have"
        learned = replace(learned, gaps=(*learned.gaps, f"Its {have} not begun: {', '.join(waiting)}."))
    return [learned, *(_agent(left, role) for role in roles)]


def _agent(left: _Left, role: str) -> Run:
    learned, numbers, folder = role == "learned", left.numbers(role), left.folder(role)
    gaps = [left.gap] if left.gap and learned else []
    rows, trouble = _read_metrics(folder / METRICS)
    curve, signal = tuple(_validated(rows)), signals(rows)
    if trouble:
        points, lacking = _stored_curve(numbers)
        curve, signal = tuple(points), _stored_signal(left.results) if learned else []
        gaps += _without_metrics(left, trouble, lacking)
    measured, gone_bad, gap = _errors(left, role)
    gaps += [gap] if gap else []
    facts = left.results or _facts_of_checkpoint(folder / CHECKPOINT, left.config.environment.glimpses)
    dataset = _mapping(facts.get("dataset"))
    # Where results.json is that of an interruption, the run may have gone on since.
    final = measured is not None
    times = (row["time/seconds"] for row in rows if "time/seconds" in row)
    lowest = _number(_mapping(facts.get("validation_errors")).get(role))
    episodes = _of_both(max, _number(numbers.get("episodes")), (row["step"] for row in rows), final=final)
    pixels = left.results.get("glimpse_pixels") if role in NETWORKS else facts.get("glimpse_pixels")
    return Run(
        folder=folder,
        role=role,
        config=left.config,
        dataset=str(dataset.get("name", left.config.images.source)),
        sha256=str(dataset.get("sha256", "")),
        measured=measured,
        validation_error=_of_both(min, lowest, (point.error for point in curve), final=final),
        episodes=None if episodes is None else int(episodes),
        seconds=_of_both(max, _number(numbers.get("seconds")), times, final=final),
        threads=_whole(facts.get("threads")),
        device=str(facts.get("device", "")),
        processes=_whole(facts.get("processes")) or 1,
        parameters=_whole(numbers.get("parameters")),
        pixels=_pixels(role, left.config, _whole(pixels)),
        curve=curve,
        gaps=tuple(gaps),
        signal=_by_estimator(signal),
        versions=_texts(facts.get("versions")),
        given_up=gone_bad,
        kind=left.kind,
        best_at_episode=_whole(numbers.get("best_at_episode")),
    )


def _without_metrics(left: _Left, trouble: str, lacking: str) -> list[str]:
    """What is missing where results stand in for `metrics.csv`: `lacking` in their learning curve."""
    match left.kind:
        case "results":
            return [f"It is known by its results alone: {lacking}."] if lacking else []
        case "export" if left.results:
            return [f"It is an export: {f'{lacking}; ' if lacking else ''}its controls are not in it."]
        case "export":
            return []
    return [f"{trouble}: {lacking or f'the learning curve is that of {RESULTS}'}."]


def _errors(left: _Left, role: str) -> tuple[TestErrors | None, bool, str]:
    """What it did on the test set; whether it came to no result, and none is to come; why there are no errors."""
    numbers = left.numbers(role)
    if "test_error" in numbers:
        try:
            return read_errors(numbers), False, ""
        except ValueError as error:
            said = f"{RESULTS} lacks what a finished run stores ({error}); train it again to have its errors."
            return None, False, said
    if reason := _texts(left.results.get("controls_gone_bad")).get(role):
        return None, True, f"It has no result: {reason.removeprefix(f'{role}: ').rstrip('.')}."
    if not left.unfinished:
        return None, False, f"{RESULTS} has no test error for it."
    if left.gap or role != "learned":
        return None, False, ""
    goes_on = "; `--resume` goes on with it" if left.kind == "run" else ""
    return None, False, f"It was interrupted and has no test error{goes_on}."


def _of_both(best: Callable[..., Any], stored: float | None, rows: Iterable[float], *, final: bool) -> float | None:
    """The number that a run stored where that is final; else the largest or smallest of it and those of the rows."""
    if final and stored is not None:
        return stored
    return best([*rows, *([] if stored is None else [stored])], default=None)


def _pixels(role: str, config: Config, by_eye: int | None) -> int | None:
    """Pixels seen per image: by the looks of an eye, as stored, or the whole canvas once."""
    if role not in NETWORKS or by_eye is None:
        return by_eye
    channels = by_eye // (config.environment.glimpses * config.sensor.scales * config.sensor.size**2)
    return channels * config.scene.height * config.scene.width


def _results(folder: Path) -> tuple[dict[str, Any], str]:
    """What is in `results.json`, or in a file of results, and what is wrong with it."""
    try:
        results = read_results(folder)
    except (OSError, ValueError) as error:
        remedy = (
            "export the run again" if is_export(folder) else "remove it, and `--resume` goes on from the checkpoint"
        )
        return {}, f"{RESULTS} cannot be read ({error}): {remedy}."
    if results is None:
        if is_export(folder):
            return {}, f"It is an export without {RESULTS}, as of a run that was not finished."
        return {}, f"{RESULTS} is missing: the run is not finished; `--resume` goes on with it."
    if reason := results.get(UNWRITTEN):  # its weights are older than its errors
        facts = {name: value for name, value in results.items() if name not in ("test_error", "controls")}
        return facts, f"What it learned is not on the disk ({reason}); `--resume` makes up for it where there is room."
    return results, ""


def _facts_of_checkpoint(path: Path, glimpses: int) -> dict[str, Any]:
    """What a checkpoint knows of what `results.json` would say: the images, the pixels seen, the processes."""
    try:
        saved = read_newest(path)
        planes, height, width = saved["blueprint"]["glimpse_shape"]
        dataset = {"name": saved["images"], "sha256": saved["sha256"]}
        processes = saved["learner"]["processes"]
    except (CheckpointError, KeyError, TypeError, ValueError):
        return {}
    return {"dataset": dataset, "glimpse_pixels": glimpses * planes * height * width, "processes": processes}


def _read_metrics(path: Path) -> tuple[list[dict[str, float]], str]:
    """The numbers of every row of `metrics.csv`, in the order of their steps, and what is wrong with the file."""
    try:
        rows = [_finite(row) for row in whole_rows(path)]
        return sorted(rows, key=lambda row: row["step"]), "" if rows else "metrics.csv cannot be read (no whole row)"
    except FileNotFoundError:
        return [], "metrics.csv is missing"
    except (OSError, ValueError, TypeError, AttributeError, KeyError, csv.Error) as error:
        return [], f"metrics.csv cannot be read ({type(error).__name__})"


def _finite(row: Mapping[str, str]) -> dict[str, float]:
    """The numbers of a row; what is none, or gone bad, is left out."""
    numbers = {key: float(value) for key, value in row.items() if value and key != "images"}
    return {key: number for key, number in numbers.items() if isfinite(number)}


def _validated(rows: Sequence[Mapping[str, float]]) -> list[Validated]:
    return [
        Validated(int(point["episodes"]), seconds, float(point["validation_error"]))
        for point, seconds in zip(validations(rows), validation_seconds(rows), strict=True)
    ]


def _stored_curve(numbers: Mapping[str, Any]) -> tuple[list[Validated], str]:
    """The learning curve that an agent's results hold, and what it lacks. Nothing of what is no curve.

    Times that were not stored are those of an even pace.
    """
    try:
        points = [(int(point["episodes"]), float(point["validation_error"])) for point in numbers["learning_curve"]]
    except (KeyError, TypeError, ValueError, OverflowError):
        points = []
    stored = numbers.get("learning_curve_seconds")
    episodes, whole = _number(numbers.get("episodes")), _number(numbers.get("seconds"))
    lacking = "" if points else "no learning curve"
    seconds: list[float | None] = [None] * len(points)
    if isinstance(stored, list) and len(stored) == len(points):
        seconds = list(map(_number, stored))
    elif episodes and whole:
        seconds = [whole * at / episodes for at, _ in points]
        lacking = lacking or "the times of its learning curve are those of an even pace"
    else:
        lacking = lacking or "the learning curve has no times"
    found = zip(points, seconds, strict=True)
    return [Validated(at, passed, error) for (at, error), passed in found if isfinite(error)], lacking


def _stored_signal(results: Mapping[str, Any]) -> list[dict[str, int | float]]:
    """The signal-to-noise ratios of `results.json`, likewise."""
    try:
        return [
            {name: ratio for name, ratio in point.items() if isfinite(ratio)} | {"episodes": int(point["episodes"])}
            for point in results["gradient_signal"]
        ]
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return []


def _by_estimator(points: Sequence[Mapping[str, int | float]]) -> dict[str, tuple[tuple[int, float], ...]]:
    """An estimator that never had a finite number is left out."""
    names = {name for point in points for name in point} - {"episodes"}
    return {
        name: tuple((int(point["episodes"]), float(point[name])) for point in points if name in point)
        for name in sorted(names, key=estimator_order)
    }


def estimator_order(name: str) -> tuple[int, str]:
    """As they are shown; unknown ones last, by name."""
    return (ESTIMATORS.index(name) if name in ESTIMATORS else len(ESTIMATORS), name)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _texts(value: Any) -> dict[str, str]:
    return {str(name): str(text) for name, text in _mapping(value).items()}


def _number(value: Any) -> float | None:
    there = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    return float(value) if there else None


def _whole(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else int(number)
