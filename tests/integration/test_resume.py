"""A run that was stopped and resumed is, bit for bit, the run that was never stopped."""

import csv
import itertools
import json
import os
import signal
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from ram_agent.agents import CHECKPOINT, train_agent
from ram_agent.checkpoint import keep_checkpoint, read_checkpoint
from ram_agent.config import Config, ControlKind
from ram_agent.experiment import run_experiment
from ram_agent.interruption import Interruption
from ram_agent.learner import Learner
from tests.making import make_config, make_world

# 10 updates of 8 episodes: evaluations after 3, 6, 9 and 10; checkpoints after 4, 8 and 10; a row every 2.
QUICK = {"episodes": 80, "batch": 8, "learning_rate": 0.01, "window_std": 0.3}
KINDS = ("crop", "gaussian", "stn")
CORES = ("rnn", "gru", "lstm")


class PowerCut(Exception):
    """The machine goes dark: nothing more is written."""


def configure(kind: str = "crop", core: str = "lstm", seed: int = 4, **sections: dict[str, Any]) -> Config:
    method = "reinforce" if kind == "crop" else "pathwise"
    return make_config(
        scene={"kind": "plain", "height": 10, "width": 12},
        sensor={"kind": kind, "size": 8, "scales": 1},
        policy={"core": core, "detach_location": False},
        training=QUICK | {"method": method},
        run={"tensorboard": False, "seed": seed},
        **sections,
    )


def train(config: Config, folder: Path, *, look: str = "learned", resume: bool = False) -> None:
    interruption = Interruption()
    with interruption.watching():
        train_agent(config, make_world(config), folder, look, resume=resume, interruption=interruption)


def stop_in_update(monkeypatch: pytest.MonkeyPatch, number: int, how: str) -> None:
    """Ctrl-C, or a power cut, in the `number`-th update from now on, of whatever learner."""
    original, count = Learner.update, itertools.count(1)

    def update(self: Learner, on_step: Any = None) -> dict[str, torch.Tensor]:
        facts = original(self, on_step)
        if next(count) == number:
            if how == "power cut":
                raise PowerCut
            os.kill(os.getpid(), signal.SIGINT)
        return facts

    monkeypatch.setattr(Learner, "update", update)


def train_stopped_and_resumed(
    config: Config,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *stops: int,
    how: str = "signal",
    look: str = "learned",
) -> None:
    for session, stop in enumerate(stops):
        with monkeypatch.context() as patch:
            stop_in_update(patch, stop, how)
            if how == "power cut":
                with pytest.raises(PowerCut):
                    train(config, folder, look=look, resume=session > 0)
            else:
                train(config, folder, look=look, resume=session > 0)
    train(config, folder, look=look, resume=True)


def without_times(tree: Any) -> Any:
    """Everything in a checkpoint but how long it took."""
    if isinstance(tree, dict):
        return {key: without_times(value) for key, value in tree.items() if key not in ("seconds", "since")}
    return [without_times(value) for value in tree] if isinstance(tree, list | tuple) else tree


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [
            {key: value for key, value in row.items() if value and not key.startswith("time/")}
            for row in csv.DictReader(file)
        ]


def differences(left: Any, right: Any, where: str = "") -> list[str]:
    """Paths at which two trees of tensors and plain values are not the same to the last bit."""
    if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        return [] if torch.equal(left, right) else [where]
    if isinstance(left, dict) and isinstance(right, dict) and left.keys() == right.keys():
        return [found for key in left for found in differences(left[key], right[key], f"{where}/{key}")]
    if isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        return [
            found
            for i, pair in enumerate(zip(left, right, strict=True))
            for found in differences(*pair, f"{where}/{i}")
        ]
    return [] if type(left) is type(right) and left == right else [where]


def assert_same_runs(one: Path, other: Path) -> None:
    saved, expected = (without_times(read_checkpoint(folder / CHECKPOINT)) for folder in (one, other))
    assert {"policy", "optimizer", "updates"} <= expected["learner"].keys()
    assert expected["best"]["weights"].keys() == expected["learner"]["policy"].keys()
    assert differences(saved, expected) == []
    assert rows(one) == rows(other)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    train(configure(), folder)
    return folder


def test_the_run_to_compare_with_has_something_to_lose(uninterrupted: Path) -> None:
    saved = read_checkpoint(uninterrupted / CHECKPOINT)
    assert saved["learner"]["updates"] == 10
    table = rows(uninterrupted)
    assert [int(row["step"]) for row in table if "eval/error" in row] == [24, 48, 72, 80]
    assert [int(row["step"]) for row in table if "train/loss" in row] == [16, 32, 48, 64, 80]
    assert len({row["eval/error"] for row in table if "eval/error" in row}) > 1
    assert saved["best"]["episodes"] < 80  # the best weights are not the last
    assert differences(saved["best"]["weights"], saved["learner"]["policy"])


def test_two_runs_of_one_seed_are_bit_equal_and_of_two_seeds_are_not(uninterrupted: Path, tmp_path: Path) -> None:
    for name, seed in (("same", 4), ("other", 2)):
        train(configure(seed=seed), tmp_path / name)
    assert_same_runs(tmp_path / "same", uninterrupted)
    with pytest.raises(AssertionError):
        assert_same_runs(tmp_path / "other", uninterrupted)


@pytest.mark.parametrize(
    "stops",
    [(1,), (2,), (3,), (4,), (5,), (9,), (10,), (2, 3, 1)],
    ids=[
        "before anything was logged",
        "before the first evaluation",
        "at an evaluation",
        "right after a save",
        "in the middle",
        "at the last evaluation but one",
        "in the last update",
        "three times",
    ],
)
def test_ctrl_c_at_any_point_changes_nothing(
    stops: tuple[int, ...], uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_stopped_and_resumed(configure(), tmp_path, monkeypatch, *stops)
    assert_same_runs(tmp_path, uninterrupted)


@pytest.mark.parametrize("stops", [(3,), (5,), (7,), (8,), (6, 3)])
def test_a_power_cut_costs_only_the_time_since_the_last_checkpoint(
    stops: tuple[int, ...], uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_stopped_and_resumed(configure(), tmp_path, monkeypatch, *stops, how="power cut")
    assert_same_runs(tmp_path, uninterrupted)


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_eye_and_every_core_resumes_bit_equal(
    kind: str, core: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(kind, core, evaluation={"every": 56})
    train(config, tmp_path / "whole")
    train_stopped_and_resumed(config, tmp_path / "parts", monkeypatch, 5)
    assert_same_runs(tmp_path / "parts", tmp_path / "whole")


@pytest.mark.parametrize("kind", ["crop", "gaussian"])
@pytest.mark.parametrize("look", get_args(ControlKind))
def test_every_control_resumes_bit_equal(look: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configure(kind, evaluation={"every": 56})
    train(config, tmp_path / "whole", look=look)
    train_stopped_and_resumed(config, tmp_path / "parts", monkeypatch, 5, look=look)
    assert_same_runs(*(tmp_path / name / "controls" / look for name in ("parts", "whole")))


def fresh_optimizer(saved: dict[str, Any]) -> None:
    saved["learner"]["optimizer"]["state"] = {}


def forgotten_means(saved: dict[str, Any]) -> None:
    saved["learner"]["running"] |= {"sums": {}, "updates": 0}


def forgotten_scenes(saved: dict[str, Any]) -> None:
    saved["learner"]["updates"] -= 1


def forgotten_best(saved: dict[str, Any]) -> None:
    saved["best"] = None


@pytest.mark.parametrize("forget", [fresh_optimizer, forgotten_means, forgotten_scenes, forgotten_best])
def test_a_checkpoint_that_forgets_anything_is_found_out(
    forget: Any, uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_in_update(patch, 9, "signal")
        train(configure(), tmp_path)
    saved = read_checkpoint(tmp_path / CHECKPOINT)
    forget(saved)
    keep_checkpoint(tmp_path / CHECKPOINT, {key: value for key, value in saved.items() if key != "format"}, 3)
    train(configure(), tmp_path, resume=True)
    with pytest.raises(AssertionError):
        assert_same_runs(tmp_path, uninterrupted)


def experiment(config: Config, folder: Path, *, resume: bool = False) -> tuple[dict[str, Any], int]:
    folder.mkdir(exist_ok=True)
    return run_experiment(config, make_world(config), folder, resume=resume)


@pytest.mark.parametrize("look", ["random", "modern_cnn"])
@pytest.mark.parametrize("stop", [3, 10, 13, 20], ids=["agent", "agent's end", "control", "control's end"])
def test_a_whole_experiment_stopped_in_agent_or_control_ends_with_the_same_results(
    stop: int, look: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(evaluation={"controls": [look], "every": 40})
    results, signalled = experiment(config, tmp_path / "whole")
    assert signalled == 0
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with monkeypatch.context() as patch:
        stop_in_update(patch, stop, "signal")
        halted, signalled = experiment(config, tmp_path / "parts")
    assert signalled == signal.SIGINT
    assert halted["interrupted"]
    assert "test_error" not in halted
    assert halted == json.loads((tmp_path / "parts" / "results.json").read_text())
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    resumed, signalled = experiment(config, tmp_path / "parts", resume=True)
    assert signalled == 0
    timed = {"seconds", "episodes_per_second"}
    assert {key: resumed[key] for key in resumed.keys() - timed} == {
        key: results[key] for key in results.keys() - timed
    }
    assert_same_runs(tmp_path / "parts", tmp_path / "whole")
    control = Path("controls") / look
    assert_same_runs(tmp_path / "parts" / control, tmp_path / "whole" / control)


def test_ctrl_c_between_two_agents_does_not_wait_for_the_next_one_to_finish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(evaluation={"controls": ["random"], "signal": 0})  # which has a training environment of its own
    world = make_world(config)
    original, looked = type(world).environment, []

    def environment(self: Any, split: str, lanes: int) -> Any:
        looked.append(split)
        if looked.count("train") == 2 and split == "train":  # the control is being built
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, split, lanes)

    monkeypatch.setattr(type(world), "environment", environment)
    _, signalled = run_experiment(config, world, tmp_path)
    assert signalled == signal.SIGINT
    assert read_checkpoint(tmp_path / "controls" / "random" / CHECKPOINT)["learner"]["updates"] == 0
