"""Each core computes its equations, written out here in NumPy, and keeps one contract for its state."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ram_agent.core import Core

Array = NDArray[Any]
KINDS = ["rnn", "gru", "lstm"]
FEATURES, HIDDEN, LANES = 5, 4, 3


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def rnn(g: Array, state: list[Array], w: list[Array]) -> list[Array]:
    """h' = ReLU(W_i g + b_i + W_h h + b_h)."""
    return [np.maximum(0, g @ w[0].T + w[2] + state[0] @ w[1].T + w[3])]


def gru(g: Array, state: list[Array], w: list[Array]) -> list[Array]:
    """Reset r, update z, candidate n; h' = (1 - z) n + z h. The reset gate comes after the product with W_h."""
    h = state[0]
    i_r, i_z, i_n = np.split(g @ w[0].T + w[2], 3, axis=1)
    h_r, h_z, h_n = np.split(h @ w[1].T + w[3], 3, axis=1)
    r, z = sigmoid(i_r + h_r), sigmoid(i_z + h_z)
    return [(1 - z) * np.tanh(i_n + r * h_n) + z * h]


def lstm(g: Array, state: list[Array], w: list[Array]) -> list[Array]:
    """Input i, forget f, cell c~, output o; c' = f c + i c~, h' = o tanh c'."""
    h, c = state
    i, f, new, o = np.split(g @ w[0].T + w[2] + h @ w[1].T + w[3], 4, axis=1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(new)
    return [sigmoid(o) * np.tanh(c), c]


@pytest.mark.parametrize(("kind", "equations"), [("rnn", rnn), ("gru", gru), ("lstm", lstm)])
def test_three_steps_follow_the_equations(kind: str, equations: Callable[..., list[Array]]) -> None:
    torch.manual_seed(0)
    core = Core(kind, FEATURES, HIDDEN).double()
    cell = core.cell
    weights = [w.detach().numpy() for w in (cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh)]
    assert weights[0].shape[1] == FEATURES
    assert weights[1].shape[1] == HIDDEN
    state = core.initial_state(LANES)
    expected = [part.numpy() for part in state]
    for step in range(3):
        features = torch.randn(LANES, FEATURES, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
        output, state = core(features, state)
        expected = equations(features.numpy(), expected, weights)
        assert len(state) == len(expected)
        for part, by_hand in zip(state, expected, strict=True):
            np.testing.assert_allclose(part.detach(), by_hand, atol=1e-12)
        np.testing.assert_allclose(output.detach(), expected[0], atol=1e-12)
    assert np.abs(expected[0]).max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lanes", [1, 3])
def test_the_state_before_the_first_look_is_zeros_in_the_precision_of_the_weights(kind: str, lanes: int) -> None:
    for dtype in (torch.float32, torch.float64):
        core = Core(kind, FEATURES, HIDDEN).to(dtype)
        state = core.initial_state(lanes)
        assert len(state) == (2 if kind == "lstm" else 1)
        for part in state:
            assert part.shape == (lanes, HIDDEN)
            assert part.dtype == dtype
            assert not part.any()
            assert not part.requires_grad
        output, state = core(torch.randn(lanes, FEATURES, dtype=dtype), state)
        assert output.shape == (lanes, HIDDEN)
        assert all(part.shape == (lanes, HIDDEN) for part in state)


@pytest.mark.parametrize("kind", KINDS)
def test_lanes_do_not_touch(kind: str) -> None:
    torch.manual_seed(1)
    core = Core(kind, FEATURES, HIDDEN)
    features = torch.randn(LANES, FEATURES)
    state = tuple(torch.randn(LANES, HIDDEN) for _ in core.initial_state(LANES))
    together, after = core(features, state)
    for lane in range(LANES):
        one = slice(lane, lane + 1)
        alone, alone_after = core(features[one], tuple(part[one] for part in state))
        torch.testing.assert_close(alone, together[one])
        torch.testing.assert_close(alone_after, tuple(part[one] for part in after))


def test_the_lstm_begins_by_remembering() -> None:
    """Forget gates start at sigmoid(1): the bias is counted once, though the cell has two, and no other gate moves."""
    torch.manual_seed(2)
    hidden = 64
    cell = Core("lstm", FEATURES, hidden).cell
    total = (cell.bias_ih + cell.bias_hh).view(4, hidden)  # gates i, f, g, o
    assert torch.equal(total[1], torch.ones(hidden))
    assert (total[[0, 2, 3]].abs() <= 2 / hidden**0.5).all()
    assert cell.bias_ih.requires_grad


@pytest.mark.parametrize(("kind", "gates"), [("rnn", 1), ("gru", 3), ("lstm", 4)])
def test_every_gate_starts_orthogonal_in_the_state_and_xavier_in_the_input(kind: str, gates: int) -> None:
    """Gate by gate: over all gates at once the rows could not be orthogonal, and the input's bound would be smaller."""
    torch.manual_seed(4)
    features, hidden = 40, 50
    cell = Core(kind, features, hidden).cell
    bound = (6 / (features + hidden)) ** 0.5  # Glorot and Bengio 2010, eq. 16
    for recurrent, inner in zip(cell.weight_hh.split(hidden), cell.weight_ih.split(hidden), strict=True):
        torch.testing.assert_close(recurrent @ recurrent.T, torch.eye(hidden), atol=1e-5, rtol=0)
        assert 0.98 * bound < inner.abs().max() <= bound
    assert cell.weight_hh.shape[0] == gates * hidden


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_look_reaches_the_last_state(kind: str) -> None:
    torch.manual_seed(3)
    core = Core(kind, FEATURES, 16)
    first = torch.randn(2, FEATURES, requires_grad=True)
    output, state = core(first, core.initial_state(2))
    for _ in range(4):
        output, state = core(torch.zeros(2, FEATURES), state)
    (gradient,) = torch.autograd.grad(output.sum(), first)
    assert (gradient.abs().amax(dim=1) > 1e-6).all()
