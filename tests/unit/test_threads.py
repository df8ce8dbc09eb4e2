"""Which numbers of threads are tried."""

import pytest
import torch

from ram_agent import threads
from ram_agent.threads import fastest_threads
from tests.making import torch_as_it_was


def test_all_threads_are_tried_however_few_an_earlier_call_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def seconds(number: int) -> float:
        tried.append(number)
        torch.set_num_threads(number)
        return (1.0, 2.0, 2.0, 1.0)[len(tried) - 1]  # one thread is the faster, then both are

    monkeypatch.setattr(threads, "AVAILABLE", 2)
    monkeypatch.setattr(threads, "_product_seconds", seconds)
    with torch_as_it_was():
        assert fastest_threads() == 1
        torch.set_num_threads(1)
        assert fastest_threads() == 2
    assert tried == [1, 2, 1, 2]
