"""How many cases of a fuzz test are run and for how long, and how many were.

Hypothesis knows the first, by its profiles (`tests/fuzz/conftest.py`), but neither the second nor, across processes,
the third.
"""

import functools
import time
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings


class Budget:
    """Of the test that is running."""

    def __init__(self) -> None:
        self.cases = 0
        """Run to their end so far."""
        self.until = float("inf")
        """The moment, by `time.monotonic`, after which no further case is begun."""

    def begin(self, seconds: float) -> None:
        self.cases, self.until = 0, time.monotonic() + seconds

    @property
    def spent(self) -> bool:
        return time.monotonic() > self.until


BUDGET = Budget()


def fuzz(share: float = 1.0, **strategies: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Hypothesis's `given`, with `share` times the examples of the profile, no longer than the budget lasts."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def case(*arguments: Any, **drawn: Any) -> None:
            if not BUDGET.spent:
                test(*arguments, **drawn)
                BUDGET.cases += 1

        examples = max(1, round(share * settings.default.max_examples))
        return settings(max_examples=examples)(given(**strategies)(case))

    return decorate
