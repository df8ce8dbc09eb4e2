"""Candidates take turns, and what is reported of them follows from the clock alone."""

import pytest

from ram_agent import timing
from ram_agent.timing import Spread, Timing, compare


class Clock:
    """Time passes only where somebody works."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def __call__(self) -> float:
        return self.now

    def work(self, name: str, *seconds: float):
        """A function that takes so long, each call the next duration, the last one for ever."""
        durations = list(seconds)

        def run() -> None:
            self.calls.append(name)
            self.now += durations.pop(0) if len(durations) > 1 else durations[0]

        return run


def test_candidates_take_turns_round_after_round() -> None:
    clock = Clock()
    compare({name: (clock.work(name, 1.0), 1) for name in "abc"}, rounds=3, clock=clock, limit=100.0)
    assert "".join(clock.calls) == "aabbcc" + 3 * "abc"  # two calls of each to warm up


def test_rates_and_quartiles_are_those_of_the_clock() -> None:
    clock = Clock()
    timings = compare({"a": (clock.work("a", 9.0, 9.0, 1.0, 2.0, 4.0), 8)}, rounds=3, clock=clock, limit=100.0)
    assert timings["a"].seconds == (0.125, 0.25, 0.5)  # per unit, the warm-up left out
    assert timings["a"].rate == Spread(median=4.0, low=3.0, high=6.0)
    assert timings["a"].cost(1e3) == Spread(median=250.0, low=187.5, high=375.0)


def test_ratios_survive_a_machine_that_slows_down() -> None:
    clock = Clock()
    slowing = [1.0, 1.0, 1.0, 2.0, 40.0]
    candidates = {
        "a": (clock.work("a", *slowing), 1),
        "b": (clock.work("b", *(seconds / 4 for seconds in slowing)), 1),
    }
    timings = compare(candidates, rounds=3, clock=clock, limit=100.0)
    assert timings["b"].ratio(timings["a"]) == 4
    assert timings["a"].ratio(timings["b"]) == 0.25
    assert Timing((1.0, 1.0, 9.0)).ratio(Timing((2.0, 3.0, 9.0))) == 2  # of the quotients 2, 3 and 1


def test_shared_work_is_added_round_by_round() -> None:
    assert Timing((1.0, 2.0)).plus(Timing((6.0, 12.0)), 1 / 6).seconds == (2.0, 4.0)


def test_short_work_is_called_often_enough_to_be_read_off_a_clock_and_counted_once() -> None:
    clock = Clock()
    short = timing.SHORTEST / 64
    timings = compare({"a": (clock.work("a", short), 2)}, rounds=4, clock=clock, limit=100.0)
    assert len(clock.calls) == 2 + 4 * 64
    assert timings["a"].seconds == pytest.approx([short / 2] * 4)


def test_work_that_is_slow_the_first_time_alone_is_called_as_often_as_any_other_short_work() -> None:
    clock = Clock()
    short = timing.SHORTEST / 64
    timings = compare({"a": (clock.work("a", 3 * timing.SHORTEST, short), 1)}, rounds=4, clock=clock, limit=100.0)
    assert len(clock.calls) == 2 + 4 * 64
    assert timings["a"].seconds == pytest.approx([short] * 4)


@pytest.mark.parametrize(("limit", "rounds"), [(1.0, timing.FEWEST), (45.0, 5), (1000.0, 9)])
def test_no_round_begins_after_the_limit_but_the_fewest_are_done(limit: float, rounds: int) -> None:
    clock = Clock()
    timings = compare({"a": (clock.work("a", 10.0), 1)}, rounds=9, clock=clock, limit=limit)
    assert len(timings["a"].seconds) == rounds
