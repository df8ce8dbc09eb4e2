"""SIGINT and SIGTERM: who hears them, and how a training stops for them."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ram_agent.algorithm import Algorithm


@contextmanager
def heard_by(receive: Callable[[int], object]) -> Iterator[None]:
    """Within the block SIGINT and SIGTERM go to `receive`, by number; afterwards to whom they went before."""
    both = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.signal(number, lambda number, frame: receive(number)) for number in both}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@dataclass
class Interruption:
    """The first SIGINT or SIGTERM asks the learner at hand to stop after its update; the second acts at once."""

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

    def _receive(self, number: int) -> None:
        self.received = number
        if self.learner:
            self.learner.stop_requested = True
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)
