"""Parts of a step are told apart without counting twice, and nothing is left behind."""

from typing import Any

import pytest
import torch

from ram_agent.bench.profile import REST, WHOLE, Part, Stopwatch, parts, profile, watched
from ram_agent.bench.settings import Settings
from tests.making import make_learner

SETTINGS = Settings(torch.device("cpu"), rounds=2)


class Body:
    """Work that lasts as long as it says."""

    def __init__(self) -> None:
        self.now = 0.0

    def outer(self) -> str:
        self.now += 1
        self.inner()
        self.inner()
        self.now += 2
        return "done"

    def inner(self) -> None:
        self.now += 10

    def broken(self) -> None:
        self.now += 5
        raise KeyError


def test_what_a_part_spends_in_another_counts_there_only() -> None:
    body = Body()
    watch = Stopwatch(lambda: body.now)
    with watched(watch, [Part("outer", body, "outer"), Part("inner", body, "inner")]):
        assert body.outer() == "done"
    assert watch.seconds == {"outer": 3, "inner": 20}


def test_a_part_that_fails_is_timed_and_everything_is_put_back() -> None:
    body = Body()
    watch = Stopwatch(lambda: body.now)
    with pytest.raises(KeyError), watched(watch, [Part("broken", body, "broken"), Part("on the class", Body, "inner")]):
        body.broken()
    assert watch.seconds == {"broken": 5, "on the class": 0}
    assert "broken" not in vars(body)
    body.inner()
    assert watch.seconds["on the class"] == 0


def test_an_unknown_method_is_an_error_rather_than_a_part_of_nothing() -> None:
    body = Body()
    with (
        pytest.raises(AttributeError, match="renamed"),
        watched(Stopwatch(lambda: 0.0), [Part("inner", body, "inner"), Part("x", body, "renamed")]),
    ):
        pass
    assert "inner" not in vars(body)


@pytest.mark.parametrize("method", ["reinforce", "pathwise"])
def test_parts_sum_to_at_most_the_whole_and_all_of_them_take_time(method: str) -> None:
    learner = make_learner(method)
    for update in profile({"it": learner}, SETTINGS)["it"]:
        known = {name: seconds for name, seconds in update.items() if name not in (REST, WHOLE)}
        assert known.keys() == {part.label for part in parts(learner)}
        assert all(seconds > 0 for seconds in known.values())
        assert 0 < sum(known.values()) <= update[WHOLE]
        assert sum(known.values()) + update[REST] == pytest.approx(update[WHOLE])


def test_a_profile_changes_neither_the_product_nor_what_it_computes() -> None:
    measured, plain = make_learner(), make_learner()

    def own(owner: Any) -> set[str]:
        return set(vars(owner))

    profile({"it": measured}, SETTINGS)  # what is cached on first use is cached now
    owners = [(part.owner, part.method, own(part.owner), getattr(part.owner, part.method)) for part in parts(measured)]
    profile({"it": measured}, SETTINGS)
    for owner, method, names, function in owners:
        assert own(owner) == names
        assert getattr(owner, method) == function
    for _ in range(2 * (1 + SETTINGS.rounds)):
        plain.update()
    for ours, theirs in zip(measured.policy.parameters(), plain.policy.parameters(), strict=True):
        assert torch.equal(ours, theirs)
