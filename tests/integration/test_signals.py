"""SIGINT and SIGTERM, to a training in a process of its own: the first asks, the second is obeyed at once."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ram_agent.building import best_policy
from ram_agent.checkpoint import read_newest
from ram_agent.cli import main
from ram_agent.cli.world import ConfiguredWorld
from ram_agent.config import load_config
from ram_agent.evaluation import evaluate
from ram_agent.interruption import STOPPING
from ram_agent.run_files import CHECKPOINT, CONFIG, RESULTS
from ram_agent.world import whole_split
from tests.resuming import differences, without_times

ROOT = Path(__file__).parents[2]
SETTINGS = {
    "images.source": "digits",
    "training.episodes": 400,
    "training.batch": 50,
    "evaluation.every": 500,
    "evaluation.controls": "[]",
    "evaluation.signal": 0,
    "run.checkpoint_every": 100,
    "run.threads": 1,
    "run.pictures": 0,
    "run.progress": "false",
    "run.tensorboard": "false",
}
AT, SAVED = 5, 4
"""The update that the first signal falls into, and the one that was saved last before."""

# Says when it is ready for the first signal and when for the second, and stands still there. A shell may have had it
# ignore SIGINT.
CHILD = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from ram_agent import experiment
from ram_agent.cli import main
from ram_agent.learner import Learner

at, where = int(sys.argv[1]), sys.argv[2]
original, fsync = Learner.update, os.fsync
asked = False

def stand_still():
    print("asked", flush=True)
    time.sleep(600)

def update(self, on_step=None):
    global asked
    facts = original(self, on_step)
    if self.updates == at and where != "measure":
        print("ready", flush=True)
        while not self.stop_requested:
            time.sleep(0.01)
        asked = True
        if where == "update":
            stand_still()
    return facts

def save(descriptor):
    if asked and where == "save":
        stand_still()
    fsync(descriptor)

def measure(*given):
    print("ready", flush=True)
    time.sleep(600)

if where == "measure":
    experiment.measure = measure
Learner.update, os.fsync = update, save
sys.exit(main(sys.argv[3:]))
"""


def order(run: Path) -> list[str]:
    options = [text for name, value in SETTINGS.items() for text in (f"--{name}", str(value))]
    return ["train", "smoke", "--run.folder", str(run), *options]


@contextmanager
def training(run: Path, where: str) -> Iterator[subprocess.Popen[str]]:
    """A training that has come to update `AT`."""
    command = [sys.executable, "-c", CHILD, str(AT), where, *order(run)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env=environment, **pipes) as process:
        try:
            until(process, "ready")
            yield process
        finally:
            process.kill()


def until(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == word:
            return
    pytest.fail(f"it ended before it was {word}: {process.stderr.read() if process.stderr else ''}")


def saved(run: Path) -> Any:
    """The newest checkpoint, which nobody may call damaged."""
    return without_times(read_newest(run / CHECKPOINT, pytest.fail))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("uninterrupted") / "run"
    assert main(order(run)) == 0
    return run


def assert_goes_on(run: Path, uninterrupted: Path) -> None:
    assert main(["train", "--resume", str(run)]) == 0
    assert differences(saved(run)["learner"], saved(uninterrupted)["learner"]) == []


def validation_error(run: Path) -> float:
    """Of the weights that `evaluate` and `render` show."""
    world = ConfiguredWorld(load_config(run / CONFIG))
    return evaluate(best_policy(read_newest(run / CHECKPOINT), world.device), *whole_split(world, "validation")).error


def test_sigterm_ends_in_order_with_143(
    uninterrupted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the table says of a run that was never validated is of the weights that are saved."""
    run = tmp_path / "run"
    with training(run, "nowhere") as process:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGTERM == 143
    assert "interrupted; best error on the validation split so far" in out
    assert "Traceback" not in err
    assert err.index(STOPPING) < err.index(f"saved in {run}; measuring its error on the validation split")
    assert saved(run)["learner"]["updates"] == AT
    told = re.search(r"learned +([\d.]+)", out)
    assert told
    assert validation_error(run) == pytest.approx(float(told[1]), abs=0.006)
    assert main(["evaluate", str(run)]) == 0
    unfinished = f"the weights as they were saved after {AT * 50} of 400 episodes, before the first validation"
    assert f"  not finished: {unfinished}\n" in capsys.readouterr().out
    assert_goes_on(run, uninterrupted)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_signal_while_the_test_set_is_measured_ends_at_once_and_resume_measures(
    number: signal.Signals, status: int, uninterrupted: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with training(run, "measure") as process:
        process.send_signal(number)
        process.wait(timeout=60)
    assert process.returncode == status
    assert not (run / RESULTS).exists()
    assert main(["train", "--resume", str(run)]) == 0
    ours, theirs = (json.loads((each / RESULTS).read_text()) for each in (run, uninterrupted))
    for name in ("test_error", "test_error_sampled", "test_error_voted", "error_by_glimpse", "validation_error"):
        assert ours[name] == theirs[name]


@pytest.mark.parametrize(("first", "where"), [(signal.SIGINT, "update"), (signal.SIGTERM, "save")])
def test_a_second_ctrl_c_leaves_at_once_with_the_last_checkpoint_whole(
    first: signal.Signals, where: str, uninterrupted: Path, tmp_path: Path
) -> None:
    """In an update that does not end, and in a save: of that there is a piece on the disk, which nobody reads."""
    run = tmp_path / "run"
    with training(run, where) as process:
        process.send_signal(first)
        until(process, "asked")
        process.send_signal(signal.SIGINT)
        process.wait(timeout=300)
    assert process.returncode == -signal.SIGINT  # killed by it, which a shell reports as 130
    assert bool(list((run / CHECKPOINT).parent.glob(".*"))) == (where == "save")
    assert saved(run)["learner"]["updates"] == SAVED
    assert_goes_on(run, uninterrupted)
