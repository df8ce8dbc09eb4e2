"""Timing candidates against one another.

Candidates of a group are timed in turn, round after round, so that a machine that slows down slows them all. What is
reported are medians and quartiles over the rounds, and ratios, which travel better than seconds.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from time import perf_counter

import numpy as np

SHORTEST = 0.002
"""Seconds that one measurement lasts at least, by repeated calls: a thousand times what reading the clock takes."""
FEWEST = 3
"""Rounds that are done however long they take: below that there are no quartiles."""

Candidate = tuple[Callable[[], object], int]
"""What to time, and how many units of work one call does."""


@dataclass(frozen=True)
class Spread:
    """Median and quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: "np.ndarray | list[float]") -> "Spread":
        low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
        return cls(float(median), float(low), float(high))


Cell = str | int | float | Spread | None
"""Of a table."""


@dataclass(frozen=True)
class Timing:
    """How long one unit of a candidate's work took, in seconds, round by round."""

    seconds: tuple[float, ...]

    @property
    def rate(self) -> Spread:
        """Units per second."""
        return Spread.of(1 / np.array(self.seconds))

    def cost(self, scale: float = 1.0) -> Spread:
        """Seconds per unit times `scale` (1e6: microseconds)."""
        return Spread.of(scale * np.array(self.seconds))

    def ratio(self, reference: "Timing") -> float:
        """How many times as fast as `reference`: the median over the rounds of the quotient within a round.

        Within a round both met the same machine; a quotient of medians would mix its moods.
        """
        return float(np.median(np.array(reference.seconds) / np.array(self.seconds)))

    def plus(self, other: "Timing", share: float) -> "Timing":
        """This work and a share of another's, round by round."""
        return Timing(tuple(mine + share * its for mine, its in zip(self.seconds, other.seconds, strict=True)))


def compare(
    candidates: Mapping[str, Candidate],
    rounds: int,
    *,
    limit: float = 10.0,
    clock: Callable[[], float] = perf_counter,
) -> dict[str, Timing]:
    """Time candidates in turn, after two calls of each: one to warm up, one to see how long it takes.

    No round begins once `limit` seconds have gone by, but `FEWEST` are done in any case (or `rounds`, if fewer).
    """
    calls = {name: _calls(function, clock) for name, (function, _) in candidates.items()}
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    began = clock()
    for number in range(rounds):
        if number >= FEWEST and clock() - began > limit:
            break
        for name, (function, work) in candidates.items():
            started = clock()
            for _ in range(calls[name]):
                function()
            seconds[name].append((clock() - started) / (calls[name] * work))
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def _calls(function: Callable[[], object], clock: Callable[[], float]) -> int:
    """Warm up; how many calls make one measurement."""
    function()  # also pays for memory that the later calls find
    started = clock()
    function()
    return ceil(SHORTEST / max(clock() - started, 1e-6))


def show(cell: Cell) -> str:
    """A cell as text: three digits, thousands apart."""
    if cell is None:
        return ""
    if isinstance(cell, Spread):
        return f"{show(cell.median)} ({show(cell.low)} to {show(cell.high)})"
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:#.3g}".removesuffix(".")
    return f"{cell:,}" if isinstance(cell, int) else cell
