"""Run folders, and files of results → `Run`s. What one lacks is a sentence in `Run.gaps`; it is shown all the same."""

import csv
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Any, get_args

import numpy as np
from jaxtyping import Bool

from ram_agent.board import whole_rows
from ram_agent.checkpoint import CheckpointError, read_newest
from ram_agent.config import Config, ConfigError, ControlKind, load_config
from ram_agent.export import is_export
from ram_agent.full_image import NETWORKS
from ram_agent.gradient_signal import ESTIMATORS
from ram_agent.results import signals, validation_seconds, validations
from ram_agent.run_files import CHECKPOINT, CONFIG, CONTROLS, METRICS, RESULTS, agent_folder, check_run, is_run
from ram_agent.stored import UNWRITTEN, TestErrors, read_errors, read_results
from ram_agent.table import SWEEP, seed_folder
from ram_agent.words import listed

ROLES = ("learned", *get_args(ControlKind))


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
    only_results: bool = False
    """Whether all that is at hand is the file of its results, as of a published run: no weights, no metrics."""

    @property
    def whole(self) -> Path:
        """The run that it is an agent of: its folder, or the file of its results."""
        return self.folder if self.only_results or self.role == "learned" else self.folder.parents[1]

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
    files of results, as runs write them. `RUN:ROLE` is one agent of it alone.

    Raises `ConfigError` where there is no such folder, file or agent, or none holds a run whose configuration can be
    read.
    """
    left_out: dict[str, None] = {}
    errors: dict[Path, ConfigError] = {}
    different: dict[Path, Path] = {}
    rows: dict[Path, str] = {}
    asked: dict[Path, set[str]] = {}
    for name in named:
        path, role = _one_agent(name)
        try:
            begun, sentence = _runs(path)
        except ConfigError as error:
            if not path.exists():
                raise
            errors[path] = error
            continue
        left_out |= {sentence: None} if sentence else {}
        for run, row in begun.items():
            place = run.resolve()
            different.setdefault(place, run)
            rows[place] = row or rows.get(place, "")
            asked.setdefault(place, set()).add(role)
    runs: list[Run] = []
    for place, run in different.items():
        try:
            agents = _agents(run, rows[place])
        except ConfigError as error:
            errors[run] = error
            continue
        runs += agents if "" in asked[place] else _chosen(run, agents, asked[place])
    if not runs and errors:
        raise next(iter(errors.values()))
    if not controls:
        runs = [run for run in runs if run.role == "learned"]
    return Gathered(tuple(runs), (*left_out, *(f"{path} is left out: {error}." for path, error in errors.items())))


def _one_agent(name: Path) -> tuple[Path, str]:
    """`RUN:ROLE` as both of it; the role is empty where all agents are meant."""
    run, colon, role = str(name).rpartition(":")
    if not colon or name.exists() or not Path(run).exists():
        return name, ""
    if role not in ROLES:
        raise ConfigError(f"run {name}: no agent is called {role!r}; expected one of {', '.join(ROLES)}")
    return Path(run), role


def _chosen(run: Path, agents: Sequence[Run], roles: Collection[str]) -> list[Run]:
    """Those agents of a run that were asked for. Raises `ConfigError` where one is not there."""
    there = [agent.role for agent in agents]
    if lacking := sorted(set(roles) - set(there)):
        raise ConfigError(f"run {run}: it has no agent {lacking[0]}; it has {listed(there)}")
    return [agent for agent in agents if agent.role in roles]


def _runs(path: Path) -> tuple[dict[Path, str], str]:
    """The run itself, or the runs of a sweep that have begun, in the order of its table, each with its row's name;
    and a sentence about those that have not. Raises `ConfigError` where no run has begun.
    """
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


def _agents(run: Path, row: str) -> list[Run]:
    """The learned agent and its controls, as far as there is a trace of them; a `row` of a sweep is their name."""
    alone = run.is_file()
    if alone and run.suffix != ".json":
        raise ConfigError(f"run {run}: neither the folder of a run nor the file of its results, {RESULTS}")
    config = load_config(run if alone else run / CONFIG)
    config = config.model_copy(update={"name": row}) if row else config
    results, gap = _results(run)
    measured = {role: _mapping(numbers) for role, numbers in _mapping(results.get("controls")).items()}
    begun = {path.name for path in (run / CONTROLS).glob("*") if path.is_dir()}
    roles = [role for role in config.evaluation.controls if role in measured or role in begun]
    waiting = [role for role in config.evaluation.controls if role not in roles]
    learned = _agent(run, "learned", config, results, results, gap)
    if is_export(run):  # the agent alone
        return [learned]
    if waiting:
        have = "control has" if len(waiting) == 1 else "controls have"
        learned = replace(learned, gaps=(*learned.gaps, f"Its {have} not begun: {', '.join(waiting)}."))
    return [learned] + [
        _agent(run if alone else agent_folder(run, role), role, config, results, measured.get(role, {}), gap)
        for role in roles
    ]


def _agent(
    folder: Path, role: str, config: Config, results: Mapping[str, Any], numbers: Mapping[str, Any], gap: str
) -> Run:
    """`results` are of the whole run, `numbers` those of this agent; `folder` may be the file of the results."""
    learned, alone = role == "learned", folder.is_file()
    unfinished = bool(gap or results.get("interrupted"))
    gaps = [gap] if gap and learned else []
    rows, trouble = _read_metrics(folder / METRICS)
    curve, signal = tuple(_validated(rows)), signals(rows)
    if trouble:
        curve, signal = tuple(_stored_curve(numbers)), _stored_signal(results) if learned else []
        timed = any(point.seconds is not None for point in curve)
        said = f"the learning curve is that of {RESULTS}" if timed else "the learning curve has no times"
        said = said if curve else "no learning curve"
        if alone:
            gaps += [] if timed else [f"It is known by its results alone: {said}."]
        elif not is_export(folder):
            gaps.append(f"{trouble}: {said}.")
        elif results:
            gaps.append(f"It is an export: {said}; its controls are not in it.")
    measured, given_up = None, False
    if "test_error" in numbers:
        try:
            measured = read_errors(numbers)
        except ValueError as error:
            gaps.append(f"results.json lacks what a finished run stores ({error}); train it again to have its errors.")
    elif reason := _texts(results.get("controls_gone_bad")).get(role):
        given_up = True
        gaps.append(f"It has no result: {reason.removeprefix(f'{role}: ').rstrip('.')}.")
    elif not unfinished:
        gaps.append("results.json has no test error for it.")
    elif not gap and learned:
        gaps.append("It was interrupted and has no test error; `--resume` goes on with it.")
    facts = results or _facts_of_checkpoint(folder / CHECKPOINT, config.environment.glimpses)
    dataset = _mapping(facts.get("dataset"))
    validation = _number(_mapping(facts.get("validation_errors")).get(role))
    # Where results.json is that of an interruption, the run may have gone on since.
    episodes = _of_both(max, _number(numbers.get("episodes")), (row["step"] for row in rows), final=bool(measured))
    seconds = _of_both(
        max,
        _number(facts.get("seconds")) if learned else None,
        (row["time/seconds"] for row in rows if "time/seconds" in row),
        final=bool(measured),
    )
    validation = _of_both(min, validation, (point.error for point in curve), final=bool(measured))
    return Run(
        folder=folder,
        role=role,
        config=config,
        dataset=str(dataset.get("name", config.images.source)),
        sha256=str(dataset.get("sha256", "")),
        measured=measured,
        validation_error=validation,
        episodes=None if episodes is None else int(episodes),
        seconds=seconds,
        threads=_whole(facts.get("threads")),
        device=str(facts.get("device", "")),
        processes=_whole(facts.get("processes")) or 1,
        parameters=_whole(facts.get("parameters")) if learned else None,
        pixels=_pixels(
            role, config, _whole(results.get("glimpse_pixels") if role in NETWORKS else facts.get("glimpse_pixels"))
        ),
        curve=curve,
        gaps=tuple(gaps),
        signal=_by_estimator(signal),
        versions=_texts(facts.get("versions")),
        given_up=given_up,
        only_results=alone,
    )


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
    """What is in `results.json`, and what is wrong with it."""
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


def _stored_curve(results: Mapping[str, Any]) -> list[Validated]:
    """The learning curve of `results.json`, of runs that stored one, with its times, of those that stored them; nothing
    of what is no curve.
    """
    try:
        points = [(int(point["episodes"]), float(point["validation_error"])) for point in results["learning_curve"]]
    except (KeyError, TypeError, ValueError):
        return []
    stored = results.get("learning_curve_seconds")
    seconds = list(map(_number, stored)) if isinstance(stored, list) and len(stored) == len(points) else []
    return [
        Validated(episodes, at, error)
        for (episodes, error), at in zip(points, seconds or [None] * len(points), strict=True)
        if isfinite(error)
    ]


def _stored_signal(results: Mapping[str, Any]) -> list[dict[str, int | float]]:
    """The signal-to-noise ratios of `results.json`, likewise."""
    try:
        return [
            {name: ratio for name, ratio in point.items() if isfinite(ratio)} | {"episodes": int(point["episodes"])}
            for point in results["gradient_signal"]
        ]
    except (AttributeError, KeyError, TypeError, ValueError):
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
