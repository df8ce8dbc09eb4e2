"""Runs that are stopped and resumed, and what is left of two runs laid side by side, to the last bit.

Composer's `test_resumption` is the pattern: train once without a stop, train again with one, compare the final files.
"""

import csv
import itertools
import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.summary.writer import event_file_writer

from ram_agent import board as boards
from ram_agent import experiment, monitoring
from ram_agent.agents import train_agent
from ram_agent.board import Board
from ram_agent.checkpoint import read_checkpoint
from ram_agent.config import Config
from ram_agent.experiment import run_experiment
from ram_agent.interruption import Interruption
from ram_agent.learner import Learner
from ram_agent.run_files import CHECKPOINT
from tests.making import make_config, make_world, unchecked

# 10 updates of 8 episodes: evaluations after 3, 6, 9 and 10; checkpoints after 4, 8 and 10; a row every 2.
QUICK = {"episodes": 80, "batch": 8, "learning_rate": 0.01, "window_std": 0.3}
UPDATES = 10
METHODS = {"crop": "reinforce", "gaussian": "pathwise", "stn": "pathwise"}
TIMED = {"seconds", "since", "episodes_per_second", "learning_curve_seconds"}
"""What a stop may change: how long it took."""


class PowerCut(Exception):
    """The machine goes dark: nothing more is written."""


def configure(kind: str = "crop", core: str = "lstm", seed: int = 4, **sections: dict[str, Any]) -> Config:
    """A run whose every kind of file has something to lose."""
    laid_over: dict[str, dict[str, Any]] = {
        "scene": {"kind": "plain", "height": 10, "width": 12},
        "sensor": {"kind": kind, "size": 8, "scales": 1},
        "policy": {"core": core, "detach_location": False},
        "training": QUICK | {"method": METHODS[kind]},
        "evaluation": {"signal": 0},
        "run": {"tensorboard": True, "pictures": 2, "seed": seed},
    }
    for section, fields in sections.items():
        laid_over[section] = laid_over.get(section, {}) | fields
    return make_config(**laid_over)


# -------------------------------------------------------------------- running and stopping


@contextmanager
def drawn_fast() -> Iterator[None]:
    """Pictures are digests of what they would have shown, shapes go unchecked, and event files have names in order.

    TensorBoard reads them in the order of their names, of which a second is part: two sessions here share one.
    """

    def digest(*shown: Any) -> bytes:
        sha = sha256()
        for leaf in leaves(shown):
            of_numbers = isinstance(leaf, torch.Tensor | np.ndarray)
            sha.update(np.asarray(leaf).tobytes() if of_numbers else repr(leaf).encode())
        return sha.digest()

    def figure(board: Board, tag: str, shown: bytes, step: int) -> None:
        board.picture(tag, shown, (1, 1), step)

    with pytest.MonkeyPatch.context() as patch, unchecked():
        for name in ("confusion_matrix", "error_by_glimpse", "fixation_map", "glimpse_paths", "glimpse_strip"):
            patch.setattr(monitoring, name, digest)
        patch.setattr(monitoring, "gaze_frames", lambda gaze: [gaze.canvas[0, 0]])
        patch.setattr(monitoring, "encode_gif", digest)
        patch.setattr(Board, "figure", figure)
        patch.setattr(experiment, "write_pictures", lambda *_: None)
        patch.setattr(event_file_writer, "time", SimpleNamespace(time=itertools.count(1_000_000_000).__next__))
        yield


def train(config: Config, folder: Path, *, role: str = "learned", resume: bool = False) -> None:
    """One session of one agent, without the experiment around it."""
    interruption = Interruption()
    folder.mkdir(parents=True, exist_ok=True)  # as the experiment would have
    with interruption.watching():
        agents = train_agent(config, make_world(config), folder, role, resume=resume, interruption=interruption)
    agents[0].board.close()


def run(config: Config, folder: Path, *, resume: bool = False) -> tuple[dict[str, Any], int]:
    """One session of a whole experiment: its results, and the signal that ended it."""
    folder.mkdir(exist_ok=True)
    return run_experiment(config, make_world(config), folder, resume=resume)


def in_update(number: int, act: Callable[[], object], patch: pytest.MonkeyPatch) -> None:
    """Something happens at the end of the `number`-th update from now on, of whatever learner."""
    original, count = Learner.update, itertools.count(1)

    def update(self: Learner, on_step: Any = None) -> dict[str, torch.Tensor]:
        facts = original(self, on_step)
        if next(count) == number:
            act()
        return facts

    patch.setattr(Learner, "update", update)


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def stop(session: Callable[..., object], number: int, how: str, **settings: Any) -> None:
    """A session that ends in its `number`-th update: by a signal in order, by a power cut in none."""
    with pytest.MonkeyPatch.context() as patch:
        if how == "signal":
            in_update(number, press_ctrl_c, patch)
            session(**settings)
            return
        events: list[Any] = []

        def watch(writer: Any) -> Any:
            events.append(original(writer))
            return events[-1]

        def cut() -> None:
            for file in events:  # what waits in memory is lost, and no thread writes it later
                file.path = Path(os.devnull)
            raise PowerCut

        original = boards.watch_events
        patch.setattr(boards, "watch_events", watch)
        in_update(number, cut, patch)
        with pytest.raises(PowerCut):
            session(**settings)


def train_stopped_and_resumed(
    config: Config, folder: Path, *stops: int, how: str = "signal", role: str = "learned"
) -> None:
    """Each session is stopped in the so-manieth update of its own; the last one goes to the end."""

    def session(resume: bool) -> None:
        train(config, folder, role=role, resume=resume)

    for number, update in enumerate(stops):
        stop(session, update, how, resume=number > 0)
    session(resume=True)


# -------------------------------------------------------------------- laying side by side


def leaves(tree: Any) -> Iterator[Any]:
    """The values of a tree, in order."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield key
            yield from leaves(value)
    elif isinstance(tree, list | tuple):
        for value in tree:
            yield from leaves(value)
    else:
        yield tree


def differences(left: Any, right: Any, where: str = "") -> list[str]:
    """Paths at which two trees of tensors and plain values are not the same to the last bit."""
    if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        return [] if left.dtype == right.dtype and torch.equal(left, right) else [where]
    if isinstance(left, dict) and isinstance(right, dict) and left.keys() == right.keys():
        return [found for key in left for found in differences(left[key], right[key], f"{where}/{key}")]
    if isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        return [
            found
            for i, pair in enumerate(zip(left, right, strict=True))
            for found in differences(*pair, f"{where}/{i}")
        ]
    return [] if type(left) is type(right) and left == right else [where]


def without_times(tree: Any) -> Any:
    """Everything but how long it took."""
    if isinstance(tree, dict):
        return {key: without_times(value) for key, value in tree.items() if key not in TIMED}
    return [without_times(value) for value in tree] if isinstance(tree, list | tuple) else tree


def table(folder: Path) -> list[dict[str, str]]:
    """`metrics.csv`, its columns in order, but for the times."""
    with (folder / "metrics.csv").open(newline="") as file:
        return [
            {key: value for key, value in row.items() if not key.startswith("time/") or key == "time/episodes"}
            for row in csv.DictReader(file)
        ]


def curves(folder: Path) -> dict[str, list[tuple[int, bytes]]]:
    """What TensorBoard shows of a run: for every tag its steps and encoded values, pictures, texts."""
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})  # the one of TensorBoard's own server
    events.Reload()
    return {
        tag: [(event.step, event.tensor_proto.SerializeToString()) for event in events.Tensors(tag)]
        for tag in events.Tags()["tensors"]
        if not tag.startswith("time/") or tag == "time/episodes"
    }


def results(folder: Path) -> Any:
    """`results.json`, but for the times."""
    return without_times(json.loads((folder / "results.json").read_text()))


def assert_same_runs(one: Path, other: Path) -> None:
    """The final files of two runs: checkpoint, metrics.csv and what TensorBoard shows, at zero tolerance."""
    saved, expected = (without_times(read_checkpoint(folder / CHECKPOINT)) for folder in (one, other))
    assert differences(saved, expected) == []
    assert list(map(list, table(one))) == list(map(list, table(other)))
    assert table(one) == table(other)
    shown = curves(one)
    for tag, events in shown.items():
        steps = [step for step, _ in events]
        assert steps == sorted(set(steps)), f"{tag}: a fold in the curve, {steps}"
    assert shown == curves(other)
