"""A run that was stopped and resumed is, bit for bit, the run that was never stopped."""

import itertools
import json
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import pytest
import torch

from ram_agent.checkpoint import read_checkpoint
from ram_agent.config import Config, ControlKind
from ram_agent.learner import Learner
from ram_agent.run_files import CHECKPOINT
from tests.making import make_world
from tests.resuming import (
    UPDATES,
    assert_same_runs,
    configure,
    curves,
    differences,
    drawn_fast,
    press_ctrl_c,
    results,
    run,
    stop,
    table,
    train,
    train_stopped_and_resumed,
)


@pytest.fixture(autouse=True, scope="module")
def _fast() -> Iterator[None]:
    with drawn_fast():
        yield


@pytest.fixture(scope="module")
def config() -> Config:
    """With all that is measured and drawn beside an evaluation."""
    return configure(evaluation={"signal": 2})


@pytest.fixture(scope="module")
def uninterrupted(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    train(config, folder)
    return folder


def test_the_run_to_compare_with_has_something_to_lose(uninterrupted: Path) -> None:
    saved = read_checkpoint(uninterrupted / CHECKPOINT)
    assert saved["learner"]["updates"] == UPDATES
    rows = table(uninterrupted)
    assert [int(row["step"]) for row in rows if row["eval/error"]] == [24, 48, 72, 80]
    assert [int(row["step"]) for row in rows if row["train/loss"]] == [16, 32, 48, 64, 80]
    assert len({row["eval/error"] for row in rows if row["eval/error"]}) > 1
    assert saved["best"]["episodes"] < 80  # the best weights are not the last
    assert differences(saved["best"]["weights"], saved["learner"]["policy"])
    shown = curves(uninterrupted)
    assert [step for step, _ in shown["train/loss"]] == [16, 32, 48, 64, 80]
    for tag in ("eval/error", "gradient/snr_learned", "gaze/paths", "gaze/fixations"):
        assert [step for step, _ in shown[tag]] == [24, 48, 72, 80], tag
    assert len({picture for _, picture in shown["gaze/paths"]}) == 4
    assert "config/text_summary" in shown


@pytest.mark.parametrize(
    "stops",
    [(1,), (3,), (4,), (5,), (9,), (10,), (2, 3, 1)],
    ids=[
        "before anything was logged",
        "at an evaluation",
        "right after a save",
        "between evaluations",
        "at the last evaluation but one",
        "in the last update",
        "three times",
    ],
)
def test_ctrl_c_at_any_point_changes_nothing(
    stops: tuple[int, ...], config: Config, uninterrupted: Path, tmp_path: Path
) -> None:
    train_stopped_and_resumed(config, tmp_path, *stops)
    assert_same_runs(tmp_path, uninterrupted)


@pytest.mark.parametrize(
    "stops",
    [(4,), (5,), (7,), (9,), (6, 3)],
    ids=[
        "before the first save",
        "right after a save",
        "after an evaluation that was not saved",
        "after one that was",
        "twice, the second time before another save",
    ],
)
def test_a_power_cut_costs_only_the_time_since_the_last_checkpoint(
    stops: tuple[int, ...], config: Config, uninterrupted: Path, tmp_path: Path
) -> None:
    train_stopped_and_resumed(config, tmp_path, *stops, how="power cut")
    assert_same_runs(tmp_path, uninterrupted)


def test_what_a_checkpoint_follows_is_on_the_disk_before_it(tmp_path: Path) -> None:
    """A picture is drawn in the update that is saved, and no row of the log comes after it."""
    saved_at_once = configure(evaluation={"every": 32}, run={"log_every": 80})
    train(saved_at_once, tmp_path / "whole")
    train_stopped_and_resumed(saved_at_once, tmp_path / "parts", 5, how="power cut")
    assert [step for step, _ in curves(tmp_path / "whole")["gaze/animation"]] == [32, 64, 80]
    assert_same_runs(tmp_path / "parts", tmp_path / "whole")


# -------------------------------------------------------------------- every kind of agent


class Design(NamedTuple):
    kind: str
    method: str
    core: str
    optimizer: str
    at: str
    baseline: str
    episodes_per_image: int


CORES, OPTIMIZERS = ("rnn", "gru", "lstm"), ("adam", "muon", "sgd")
WHERE = {"between evaluations": 5, "at an evaluation": 3, "right after a save": 4}
BASELINES = (("none", 1), ("learned", 2), ("leave_one_out", 2))
"""With episodes at each image; where the gradient has no score function, the usual ones."""
EYES = (("crop", "reinforce"), ("crop", "straight_through"), ("gaussian", "pathwise"), ("stn", "pathwise"))
DESIGNS = [
    Design(
        kind,
        method,
        CORES[c],
        OPTIMIZERS[(c + e) % 3],
        list(WHERE)[(c + 2 * e) % 3],
        *(BASELINES[c] if method == "reinforce" else ("learned", 1)),
    )
    for (e, (kind, method)), c in itertools.product(enumerate(EYES), range(3))
]
"""A covering array: every two of these choices meet in one of the twelve."""


def test_the_designs_cover_every_pair_of_choices() -> None:
    choices = [[eye[1] + eye[0] for eye in EYES], CORES, OPTIMIZERS, list(WHERE)]
    rows = [(design.method + design.kind, design.core, design.optimizer, design.at) for design in DESIGNS]
    for one, other in itertools.combinations(range(4), 2):
        assert {(row[one], row[other]) for row in rows} == set(itertools.product(choices[one], choices[other]))
    reinforced = [(design.baseline, design.episodes_per_image) for design in DESIGNS if design.method == "reinforce"]
    assert sorted(reinforced) == sorted(BASELINES)


@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: "-".join(map(str, design)))
def test_every_kind_of_agent_resumes_bit_equal(design: Design, tmp_path: Path) -> None:
    training: dict[str, Any] = {"method": design.method, "optimizer": design.optimizer, "window_std_end": 0.1}
    training |= {
        "batch": 8 // design.episodes_per_image,
        "episodes_per_image": design.episodes_per_image,
        "baseline": design.baseline,
    }
    kind = configure(
        design.kind, design.core, training=training, evaluation={"every": 24}, run={"tensorboard": False, "pictures": 0}
    )
    train(kind, tmp_path / "whole")
    train_stopped_and_resumed(kind, tmp_path / "parts", WHERE[design.at])
    saved, expected = (read_checkpoint(tmp_path / name / CHECKPOINT)["learner"] for name in ("parts", "whole"))
    assert differences(saved["policy"], expected["policy"]) == []
    assert_same_runs(tmp_path / "parts", tmp_path / "whole")


@pytest.mark.parametrize(
    "settings",
    [
        {"scene": {"kind": "cluttered", "height": 60, "width": 70, "clutter_size": 4}, "sensor": {"kind": "stn"}},
        {"policy": {"encoder": "conv"}, "training": {"classify_every_look": True, "learning_rate_schedule": "linear"}},
        {"policy": {"encoder": "shared"}, "training": {"optimizer": "muon", "window_rate": 0.3}},
        {"training": {"precision": "bfloat16", "reward": "success"}, "environment": {"first_window": "centre"}},
        {"scene": {"affine": 0.2, "elastic": 2.0}},
        {"policy": {"detach_location": True}, "training": {"reward": "log_likelihood", "window_std_end": 0.1}},
        {"training": {"weight_average": 40}},
        {"training": {"lookahead": 3}, "policy": {"scan": 2}},
    ],
    ids=[
        "stn on a large canvas",
        "filters",
        "a rate for the head",
        "bfloat16",
        "bent images",
        "a detached head",
        "averaged weights",
        "looking ahead",
    ],
)
def test_other_settings_resume_bit_equal(settings: dict[str, Any], tmp_path: Path) -> None:
    kind = settings.get("sensor", {}).get("kind", "crop")
    other = configure(kind, **settings, run={"tensorboard": False, "pictures": 0})
    train(other, tmp_path / "whole")
    train_stopped_and_resumed(other, tmp_path / "parts", 5)
    assert_same_runs(tmp_path / "parts", tmp_path / "whole")


def test_a_training_that_began_with_another_resumes_bit_equal(tmp_path: Path) -> None:
    """With its own weights, not with those that it began with."""
    quiet = {"tensorboard": False, "pictures": 0}
    train(configure("crop", run=quiet), tmp_path / "first")
    other = configure("crop", training={"trained_agent": str(tmp_path / "first")}, run=quiet)
    train(other, tmp_path / "whole")
    train_stopped_and_resumed(other, tmp_path / "parts", 5)
    assert_same_runs(tmp_path / "parts", tmp_path / "whole")


CONTROLLED = list(zip(get_args(ControlKind), itertools.cycle(["crop", "gaussian"]), strict=False))


@pytest.mark.parametrize(("role", "kind"), CONTROLLED)
def test_every_control_resumes_bit_equal(role: str, kind: str, tmp_path: Path) -> None:
    control = configure(kind, evaluation={"every": 56}, run={"tensorboard": False})
    train(control, tmp_path / "whole", role=role)
    train_stopped_and_resumed(control, tmp_path / "parts", 5, role=role)
    assert_same_runs(*(tmp_path / name / "controls" / role for name in ("parts", "whole")))


# -------------------------------------------------------------------- what a run does not depend on


def test_generators_of_the_process_are_nobodys_business(config: Config, uninterrupted: Path, tmp_path: Path) -> None:
    """Torch's, NumPy's and Python's own: other code draws from them, and no checkpoint holds them."""

    def scramble() -> None:
        noise = int.from_bytes(os.urandom(4), "little")
        torch.manual_seed(noise), np.random.seed(noise), random.seed(noise)

    def session(resume: bool) -> None:
        with pytest.MonkeyPatch.context() as patch:
            original = Learner.update

            def update(self: Learner, on_step: Any = None) -> Any:
                scramble()
                return original(self, on_step)

            patch.setattr(Learner, "update", update)
            train(config, tmp_path, resume=resume)

    stop(session, 5, "signal", resume=False)
    scramble()
    session(resume=True)
    assert_same_runs(tmp_path, uninterrupted)


# -------------------------------------------------------------------- whole experiments


@pytest.fixture(scope="module")
def experiment() -> Config:
    return configure(
        evaluation={"controls": ["random", "modern_cnn"], "every": 40}, run={"tensorboard": True, "pictures": 0}
    )


@pytest.fixture(scope="module")
def whole(experiment: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("experiment") / "whole"
    _, signalled = run(experiment, folder)
    assert signalled == 0
    return folder


@pytest.mark.parametrize(
    ("at", "how"),
    [(3, "signal"), (10, "signal"), (13, "power cut"), (20, "signal"), (29, "power cut")],
    ids=["agent", "agent's end", "control", "control's end", "last control"],
)
def test_a_whole_experiment_stopped_in_agent_or_control_ends_with_the_same_files(
    at: int, how: str, experiment: Config, whole: Path, tmp_path: Path
) -> None:
    folder, halted = tmp_path / "parts", []

    def session(resume: bool) -> None:
        halted.append(run(experiment, folder, resume=resume))

    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    stop(session, at, how, resume=False)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    if how == "signal":
        ((found, signalled),) = halted
        assert signalled == signal.SIGINT
        assert found["interrupted"]
        assert "test_error" not in found
        assert found == json.loads((folder / "results.json").read_text())
    else:
        assert not (folder / "results.json").exists()
    _, signalled = run(experiment, folder, resume=True)
    assert signalled == 0
    assert "test_error" in results(whole)
    assert results(folder) == results(whole)
    for agent in ("", "controls/random", "controls/modern_cnn"):
        assert_same_runs(folder / agent, whole / agent)


def test_ctrl_c_between_two_agents_does_not_wait_for_the_next_one_to_finish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = configure(evaluation={"controls": ["random"]})
    original, looked = type(make_world(pair)).environment, []

    def environment(self: Any, split: str, lanes: int) -> Any:
        looked.append(split)
        if looked.count("train") == 2 and split == "train":  # the control is being built
            press_ctrl_c()
        return original(self, split, lanes)

    monkeypatch.setattr(type(make_world(pair)), "environment", environment)
    _, signalled = run(pair, tmp_path)
    assert signalled == signal.SIGINT
    assert read_checkpoint(tmp_path / "controls" / "random" / CHECKPOINT)["learner"]["updates"] == 0
