"""SIGKILL, many times, at random moments and inside saves: `make torture`, or `python -m tests.torture --kills 200`.

A small training on the embedded digits is started, killed, looked at, resumed, killed again. After each kill the newest
checkpoint must be whole (none is ever called damaged), at most the stated interval may be lost, and every other file
must be whole or absent. Every training that gets to its end must end with the weights of one that was never killed.
"""

import argparse
import json
import mmap
import os
import random
import signal
import struct
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from ram_agent.agents import CHECKPOINT
from ram_agent.checkpoint import CheckpointError, is_checkpointed, read_newest
from ram_agent.cli import main
from ram_agent.config import load_config
from ram_agent.learner import Learner
from ram_agent.monitoring import MetricsFile

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
    "run.tensorboard": "false",
}
PATIENCE = 300.0


class Torn(AssertionError):
    """A promise that was not kept."""


class Trial:
    """One run folder after the other, each under fire until it is finished."""

    def __init__(self, place: Path, seed: int) -> None:
        self.place, self.random = place, random.Random(seed)
        self.progress = mmap.mmap(-1, 8)  # shared with the children: updates done
        self.log, self.run = place / "log", place / "run-1"
        self.stale: set[str] = set()
        """Half-written files that earlier kills have left."""
        self.kills = self.inside = self.before_first = self.finished = 0
        self.worst = 0
        """Most episodes that a kill has cost."""

    # ---------------------------------------------------------------- processes

    def start(self, run: Path) -> int:
        """Fork a training, or the rest of it; returns its process."""
        resume = (run / "config.yaml").is_file()
        options = [text for name, value in SETTINGS.items() for text in (f"--{name}", str(value))]
        order = ["train", "--resume", str(run)] if resume else ["train", "smoke", "--run.folder", str(run), *options]
        if run.is_dir() and not resume:  # killed before its first file
            for file in run.iterdir():
                file.unlink()
        self.progress[:] = bytes(8)
        if child := os.fork():
            return child
        log = os.open(self.log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(log, 1), os.dup2(log, 2)
        original = Learner.update

        def update(learner: Learner, on_step: Any = None) -> Any:
            facts = original(learner, on_step)
            self.progress[:] = struct.pack("q", learner.updates)
            return facts

        Learner.update = update  # type: ignore[method-assign]
        try:
            status = main(order)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            status = 1
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(status)

    def wait(self, child: int) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def ended(self, child: int) -> int | None:
        done, status = os.waitpid(child, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if done else None

    # ---------------------------------------------------------------- shooting

    def shoot(self) -> None:
        """Let it live for a while; kill it; see what is left."""
        self.stale = self.partials()
        child, began = self.start(self.run), time.monotonic()
        inside = self.random.random() < 0.5
        moment = self.random.uniform(0, 0.4)
        since = None
        while (status := self.ended(child)) is None:
            if time.monotonic() - began > PATIENCE:
                os.kill(child, signal.SIGKILL), self.wait(child)
                raise Torn(f"{self.run}: did nothing for {PATIENCE:.0f} s: {self.log.read_text()[-500:]}")
            if since is None:
                # A few die before they have begun; most live until updates are going on.
                if self.updates or (self.random.random() < 0.001 and (self.run / "config.yaml").exists()):
                    since = time.monotonic()
            elif inside and self.saving():
                time.sleep(self.random.uniform(0, 0.004))
                break
            elif not inside and time.monotonic() - since > moment:
                break
            if not inside or since is None:
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

    def saving(self) -> bool:
        """Whether one is being written, or was when the kill came."""
        return bool(self.partials() - self.stale)

    # ---------------------------------------------------------------- looking

    def examine(self) -> None:
        """What a kill has left."""
        done = self.updates
        self.inside += self.saving()

        def damaged(line: str) -> None:
            raise Torn(line)

        saved = 0
        if is_checkpointed(self.run / CHECKPOINT):
            saved = int(read_newest(self.run / CHECKPOINT, damaged)["learner"]["updates"])
        elif done:
            self.before_first += 1
        if done:
            self.worst = max(self.worst, (done - saved) * BATCH)
        if (done - saved) * BATCH > EVERY:
            raise Torn(f"{self.run}: {done} updates done, {saved} saved: more than {EVERY} episodes lost")
        if (self.run / "config.yaml").exists():
            load_config(self.run / "config.yaml")
        if (self.run / "results.json").exists():
            json.loads((self.run / "results.json").read_text())
        if (self.run / "metrics.csv").exists():
            copy = self.place / "metrics.csv"
            copy.write_bytes((self.run / "metrics.csv").read_bytes())
            MetricsFile(copy, "digits", resume_at=EPISODES)

    def judge(self, status: int) -> None:
        """What a training has come to that was let live to its end."""
        if status:
            raise Torn(f"{self.run}: exit status {status}: {self.log.read_text()[-500:]}")
        self.finished += 1
        weights = self.weights(self.run)
        for name, expected in self.weights(self.place / "reference").items():
            if not torch.equal(weights[name], expected):
                raise Torn(f"{self.run}: {name} is not what it would have been without the kills")
        self.run = self.place / f"run-{self.finished + 1}"

    def weights(self, run: Path) -> dict[str, torch.Tensor]:
        def damaged(line: str) -> None:
            raise Torn(line)

        return read_newest(run / CHECKPOINT, damaged)["learner"]["policy"]


def torture(kills: int, seed: int, minutes: float) -> Trial:
    """Kill so often, or for so long. Raises `Torn`."""
    began = time.monotonic()
    with TemporaryDirectory() as folder:
        place = Path(folder)
        trial = Trial(place, seed)
        if trial.wait(trial.start(place / "reference")):
            raise Torn(trial.log.read_text())
        while trial.kills < kills and time.monotonic() - began < 60 * minutes:
            trial.shoot()
            if sys.stderr.isatty():
                print(f"\r{trial.kills} kills", end="", file=sys.stderr, flush=True)
        while not trial.finished:  # the last one is let live
            trial.judge(trial.wait(trial.start(trial.run)))
    return trial


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="SIGKILL a small training many times and see what is left of it.")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60.0, help="stop after so long, however many kills that were")
    given = parser.parse_args()
    started = time.monotonic()
    try:
        result = torture(given.kills, given.seed, given.minutes)
    except (Torn, CheckpointError) as error:
        sys.exit(f"torture: {error}")
    print(
        f"{result.kills} kills in {time.monotonic() - started:.0f} s, {result.inside} of them inside a save, "
        f"{result.before_first} before the first; {result.finished} trainings ended, each with the weights of one "
        f"never killed; at most {result.worst} episodes lost (stated: {EVERY}); nothing half-written was read"
    )
