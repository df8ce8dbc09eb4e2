"""The floor is made of exactly the products that a step calls."""

import pytest
import torch
from torch import nn

from ram_agent.bench.floor import record, replay
from tests.making import make_learner


def small_network_step() -> None:
    """5 → 7 → 3 units on 4 rows; the input needs no gradient."""
    network = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))
    network(torch.rand(4, 5)).sum().backward()


def test_the_products_of_a_small_network_are_those_counted_by_hand() -> None:
    products = record(small_network_step)
    first, second = 2 * 4 * 5 * 7, 2 * 4 * 7 * 3
    # Forward both layers; backward the weights of the second, its input, and the weights of the first.
    assert sorted(product.flops for product in products) == sorted([first, second, second, second, first])


def test_batched_products_count_every_matrix_and_a_bias_costs_nothing() -> None:
    def step() -> None:
        torch.bmm(torch.rand(2, 3, 4), torch.rand(2, 4, 5))
        torch.baddbmm(torch.rand(2, 3, 5), torch.rand(2, 3, 4), torch.rand(2, 4, 5))
        torch.rand(3, 4) * torch.rand(3, 4)

    assert [product.flops for product in record(step)] == [2 * 2 * 3 * 4 * 5] * 2


def test_a_replay_calls_the_same_products_on_tensors_laid_out_alike() -> None:
    def step() -> None:
        wide = torch.rand(6, 10)[:, ::2]
        torch.mm(wide, wide.t())
        torch.addmm(torch.rand(1).expand(6, 6), wide, wide.t(), beta=0.5)

    products = record(step)
    again = record(replay(products))

    def layout(recorded: list) -> list:
        return [
            (p.function, [(a.shape, a.stride) for a in p.arguments if hasattr(a, "stride")], p.options)
            for p in recorded
        ]

    assert layout(again) == layout(products)
    assert products[0].arguments[0].stride == (10, 2)
    left, right = again[0].arguments
    assert left.address == right.address == again[1].arguments[1].address  # one tensor stays one tensor


@pytest.mark.parametrize("method", ["reinforce", "pathwise"])
def test_recording_an_update_leaves_it_as_it_was(method: str) -> None:
    watched, plain = make_learner(method), make_learner(method)
    products = record(watched.update)
    plain.update()
    for ours, theirs in zip(watched.policy.parameters(), plain.policy.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    forward = record(lambda: _forward(plain))
    assert sum(p.flops for p in products) > 1.5 * sum(p.flops for p in forward) > 0  # backward is there too


@torch.no_grad()
def _forward(learner) -> None:
    from ram_agent.rollout import rollout

    rollout(learner.policy, learner.env)
