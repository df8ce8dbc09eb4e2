"""SIGINT, SIGTERM and SIGHUP: who hears them, and how a training stops for them."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from ram_agent.algorithm import Algorithm
from ram_agent.parallel import Ranks

STOPPING = "stopping: ends the update or validation at hand, then saves; once more ends now, and what was saved stays"

ASKING = tuple(each for each in signal.Signals if each.name in ("SIGINT", "SIGTERM", "SIGHUP"))
"""Signals that ask a training to save and end: Ctrl-C, `kill`, a terminal that is closed (not on Windows)."""


@contextmanager
def heard_by(receive: Callable[[int], object]) -> Iterator[None]:
    """Within the block the signals that ask a process to end go to `receive`, by number; afterwards to whom they went
    before.
    """
    previous = {number: signal.signal(number, lambda number, frame: receive(number)) for number in _asking()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _asking() -> list[signal.Signals]:
    """Those of `ASKING`, a closed terminal only unless `nohup` has this process ignore that."""
    return [each for each in ASKING if each.name != "SIGHUP" or signal.getsignal(each) is not signal.SIG_IGN]


@dataclass
class Interruption:
    """The first signal asks the learner at hand to stop after its update, and is answered; the second acts at once."""

    answer: str = ""
    """What is said to it, on standard error."""
    then: Any = signal.SIG_DFL
    """Who hears the second; as usual nobody, so that the process ends."""
    received: int = 0
    unwritten: str = ""
    """Why a run gives up that cannot write its files."""
    learner: Algorithm | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        with heard_by(self._receive):
            yield

    @property
    def asked(self) -> bool:
        """Whether to stop, for whatever reason."""
        return bool(self.received or self.unwritten)

    def give_up(self, reason: str) -> None:
        """Stop in order, as for a signal."""
        self.unwritten = self.unwritten or reason
        if self.learner:
            self.learner.stop_requested = True

    def agree(self, ranks: Ranks) -> None:
        """A signal that any rank has received, and trouble of the first's, who writes, are those of all."""
        self.received = ranks.largest(self.received)
        self.unwritten = ranks.share(self.unwritten)

    def _receive(self, number: int) -> None:
        self.received = number
        if self.learner:
            self.learner.stop_requested = True
        for each in _asking():
            signal.signal(each, self.then)
        if self.answer:
            with suppress(OSError):  # a terminal that is gone
                # Not to `sys.stderr`: the signal may fall into a line that is written there, which forbids another.
                os.write(2, f"\n{self.answer}\n".encode())
