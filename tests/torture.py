"""SIGKILL, many times, at random moments and inside saves: `make torture`, or `python -m tests.torture --kills 200`.

A small training on the embedded digits is started, killed, looked at, resumed, killed again. After each kill every
checkpoint that is kept must be whole and none older than before, at most the stated interval may be lost, and every
other file must be whole or absent. Every training that gets to its end must leave, to the last bit, what one leaves
that was never killed: checkpoint, metrics.csv, results.json, TensorBoard's curves.

A session is forked from this process, which has imported what a training imports and has trained nothing.
"""

import argparse
import importlib
import json
import logging
import mmap
import os
import random
import shutil
import signal
import struct
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

from tensorboard.summary.writer import event_file_writer

from ram_agent.board import MetricsFile
from ram_agent.checkpoint import CheckpointError, is_checkpointed, numbered, read_checkpoint, read_newest
from ram_agent.cli import main
from ram_agent.config import load_config
from ram_agent.learner import Learner
from ram_agent.monitoring import Validation
from ram_agent.run_files import CHECKPOINT
from tests.resuming import assert_same_runs, results

BATCH, EVERY, EPISODES = 50, 100, 3000
SETTINGS = {
    "training.episodes": EPISODES,
    "training.batch": BATCH,
    "evaluation.every": 1000,
    "evaluation.controls": "[]",
    "run.checkpoint_every": EVERY,
    "run.log_every": EVERY,
    "run.threads": 1,
    "run.pictures": 0,
    "run.progress": "false",
}
PATIENCE = 300.0
LATE = ("torch._dynamo", "scipy.stats", "matplotlib.backends.backend_agg")
"""What a training imports when it gets there."""


class Torn(AssertionError):
    """A promise that was not kept."""


class Trial:
    """One training after the other, each under fire until it is finished; all in the folder `run`."""

    def __init__(self, place: Path, seed: int) -> None:
        self.run, self.reference, self.log = place / "run", place / "reference", place / "log"
        self.random = random.Random(seed)
        self.progress = mmap.mmap(-1, 8)  # shared with the children: updates done
        self.sessions = 0
        self.stale: set[str] = set()
        """Half-written files that earlier kills have left."""
        self.newest = 0
        """Number of the newest checkpoint after the last kill."""
        self.kills = self.inside = self.before_first = self.finished = 0
        self.worst = self.lost = 0
        """Episodes that a kill has cost: at most, in all."""
        self.whole = self.half = 0
        """Bytes: of checkpoints found whole after a kill, of files that it left half-written."""

    # ---------------------------------------------------------------- processes

    def start(self) -> int:
        """Fork a training, or the rest of it; returns its process."""
        resume = (self.run / "config.yaml").is_file()
        options = [text for name, value in SETTINGS.items() for text in (f"--{name}", str(value))]
        begin = ["train", "smoke", "--run.folder", str(self.run), *options]
        if self.run.is_dir() and not resume:  # killed before its first file
            shutil.rmtree(self.run)
        self.progress[:] = bytes(8)
        self.sessions += 1
        if child := os.fork():
            return child
        log = os.open(self.log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(log, 1), os.dup2(log, 2)
        self._arrange()
        try:
            status = main(["train", "--resume", str(self.run)] if resume else begin)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            status = 1
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(status)

    def _arrange(self) -> None:
        """In the child: tell of each update; draw nothing; name event files in order.

        TensorBoard reads them in the order of their names, of which a second is part: two sessions here share one.
        """
        original = Learner.update

        def update(learner: Learner, on_step: Any = None) -> Any:
            facts = original(learner, on_step)
            self.progress[:] = struct.pack("q", learner.updates)
            return facts

        Learner.update = update  # type: ignore[method-assign]
        Validation._draw = lambda *_: None  # type: ignore[method-assign]
        event_file_writer.time = SimpleNamespace(time=lambda: 1_000_000_000 + self.sessions)

    def wait(self, child: int) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def ended(self, child: int) -> int | None:
        done, status = os.waitpid(child, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if done else None

    # ---------------------------------------------------------------- shooting

    def shoot(self) -> None:
        """Let it live for some updates; kill it, inside a save or not; see what is left."""
        self.stale = self.partials()
        child, began = self.start(), time.monotonic()
        life, inside = self.random.randrange(12), self.random.random() < 0.5
        if self.random.random() < 0.1:  # before it has got to an update
            life, inside = -1, False
        first = None
        while (status := self.ended(child)) is None:
            if time.monotonic() - began > PATIENCE:
                os.kill(child, signal.SIGKILL), self.wait(child)
                raise Torn(f"{self.run}: did nothing for {PATIENCE:.0f} s: {self.log.read_text()[-500:]}")
            if first is None and self.updates:
                first = self.updates
            lived = life < 0 or (first is not None and self.updates >= first + life)
            if lived and (not inside or self.saving()):
                time.sleep(self.random.uniform(0, 0.4 if life < 0 else 0.004 if inside else 0.05))
                break
            if not (lived and inside):  # else look again at once: a save takes milliseconds
                time.sleep(0.001)
        if status is not None:
            self.judge(status)
            return
        os.kill(child, signal.SIGKILL)
        if self.wait(child) == -signal.SIGKILL:
            self.kills += 1
        self.examine()

    @property
    def updates(self) -> int:
        return struct.unpack("q", self.progress[:])[0]

    def partials(self) -> set[str]:
        """Files half-written."""
        try:
            return {name for name in os.listdir((self.run / CHECKPOINT).parent) if name.startswith(".")}
        except FileNotFoundError:
            return set()

    def saving(self) -> set[str]:
        """Which are being written, or were when the kill came."""
        return self.partials() - self.stale

    # ---------------------------------------------------------------- looking

    def examine(self) -> None:
        """What a kill has left."""
        done, cut = self.updates, self.saving()
        self.inside += bool(cut)
        self.half += sum((self.run / CHECKPOINT).with_name(name).stat().st_size for name in cut)
        saved = 0
        if is_checkpointed(self.run / CHECKPOINT):
            saved = int(read_newest(self.run / CHECKPOINT, damaged)["learner"]["updates"])
        elif done:
            self.before_first += 1
        kept = numbered(self.run / CHECKPOINT)
        for file in kept.values():
            read_checkpoint(file)
            self.whole += file.stat().st_size
        if max(kept, default=0) < self.newest:
            raise Torn(f"{self.run}: checkpoint {self.newest} was there before the kill and is gone")
        self.newest = max(kept, default=0)
        lost = max(0, done - saved) * BATCH
        self.worst, self.lost = max(self.worst, lost), self.lost + lost
        if lost > EVERY:
            raise Torn(f"{self.run}: {done} updates done, {saved} saved: more than {EVERY} episodes lost")
        if (self.run / "config.yaml").exists():
            load_config(self.run / "config.yaml")
        if (self.run / "results.json").exists():
            json.loads((self.run / "results.json").read_text())
        if (self.run / "metrics.csv").exists():
            copy = self.run.with_name("metrics.csv")
            copy.write_bytes((self.run / "metrics.csv").read_bytes())
            MetricsFile(copy, "digits", resume_at=EPISODES)

    def judge(self, status: int) -> None:
        """What a training has come to that was let live to its end."""
        if status:
            raise Torn(f"{self.run}: exit status {status}: {self.log.read_text()[-500:]}")
        if not self.reference.exists():  # the first, which nobody shot at
            self.run.rename(self.reference)
            return
        self.finished += 1
        read_newest(self.run / CHECKPOINT, damaged)
        assert_same_runs(self.run, self.reference)
        if results(self.run) != results(self.reference):
            raise Torn(f"{self.run}: results.json is not what it would have been without the kills")
        shutil.rmtree(self.run)
        self.newest = 0

    def report(self, seconds: float) -> str:
        average = self.lost / max(1, self.kills)
        rows = (
            f"kills survived: {self.kills} of {self.kills} in {seconds:.0f} s; {self.inside} inside a save, "
            f"{self.before_first} before the first",
            f"bytes lost: 0 of {self.whole:,} of finished checkpoints; {self.half:,} left half-written, never read",
            f"episodes lost: at most {self.worst} a kill (stated: {EVERY}), {average:.0f} on average",
            f"trainings that ended: {self.finished}, each to the last bit one that was never killed",
        )
        return "\n".join(rows)


def damaged(line: str) -> None:
    raise Torn(line)


def torture(kills: int, seed: int, minutes: float) -> Trial:
    """Kill so often, or for so long. Raises `AssertionError` where a promise was not kept."""
    began = time.monotonic()
    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it tells of every resumed run that it is one
    for name in LATE:
        importlib.import_module(name)
    with TemporaryDirectory() as folder:
        trial = Trial(Path(folder), seed)
        trial.judge(trial.wait(trial.start()))
        while trial.kills < kills and time.monotonic() - began < 60 * minutes:
            trial.shoot()
            if sys.stderr.isatty():
                print(f"\r{trial.kills} kills", end="", file=sys.stderr, flush=True)
        while not trial.finished or trial.run.exists():  # the last one is let live
            trial.judge(trial.wait(trial.start()))
    return trial


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="SIGKILL a small training many times and see what is left of it.")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=13.0, help="stop after so long, however many kills that were")
    given = parser.parse_args()
    started = time.monotonic()
    try:
        result = torture(given.kills, given.seed, given.minutes)
    except (AssertionError, CheckpointError) as error:
        sys.exit(f"torture: {error}")
    print(result.report(time.monotonic() - started))
