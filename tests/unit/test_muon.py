"""Muon's step, beside a singular value decomposition and PyTorch's own."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ram_agent.muon import COEFFICIENTS, ITERATIONS, Muon, orthogonalised


def matrix(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def one_by_one(g: np.ndarray) -> np.ndarray:
    """Newton-Schulz as it is written (Jordan et al. 2024), on the singular values, each by itself, in float64."""
    u, s, v = np.linalg.svd(g.astype(np.float64), full_matrices=False)
    a, b, c = COEFFICIENTS
    s = s / np.linalg.norm(s)
    for _ in range(ITERATIONS):
        s = a * s + b * s**3 + c * s**5
    return u @ np.diag(s) @ v


@pytest.mark.parametrize("shape", [(24, 24), (24, 30), (24, 96), (96, 24), (8, 200), (1, 7)], ids=str)
@pytest.mark.parametrize("decades", [0, 4])
def test_every_shape_comes_to_what_its_singular_values_come_to(shape: tuple[int, int], decades: int) -> None:
    """Gathered on the short side or multiplied one by one; with singular values of one size, and of 4 decades."""
    given = matrix(*shape) * torch.logspace(0, -decades, shape[1])
    expected = torch.from_numpy(one_by_one(given.numpy())).float()
    torch.testing.assert_close(orthogonalised(given), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("shape", [(16, 16), (16, 64), (64, 16)], ids=str)
def test_singular_values_come_near_one(shape: tuple[int, int]) -> None:
    singular = torch.linalg.svdvals(orthogonalised(matrix(*shape)))
    assert singular.min() > 0.5, singular
    assert singular.max() < 1.25, singular


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch has Muon from 2.9 on")
@pytest.mark.parametrize("shape", [(16, 16), (64, 16)], ids=str)
def test_torchs_muon_goes_the_same_way(shape: tuple[int, int]) -> None:
    """In bfloat16, hence only roughly: three steps, with momentum, at the rate that makes them as long as Adam's."""
    ours, theirs = nn.Parameter(matrix(*shape)), nn.Parameter(matrix(*shape))
    mine = Muon([ours], lr=0.1)
    other = torch.optim.Muon([theirs], lr=0.1, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    for number in range(1, 4):
        ours.grad, theirs.grad = matrix(*shape, seed=number), matrix(*shape, seed=number)
        mine.step(), other.step()
        moved = (ours - matrix(*shape)).norm()
        assert (ours - theirs).norm() < 0.03 * moved, number


def test_a_bank_of_filters_is_a_matrix_of_a_row_a_filter() -> None:
    filters, flat = nn.Parameter(matrix(8, 3, 2, 2)), nn.Parameter(matrix(8, 3, 2, 2).flatten(1))
    banks = nn.Parameter(filters.detach().clone().contiguous(memory_format=torch.channels_last))
    for parameter in (filters, flat, banks):
        parameter.grad = matrix(8, 3, 2, 2, seed=1).view_as(parameter)
        Muon([parameter], lr=0.1).step()
    torch.testing.assert_close(filters.flatten(1), flat)
    torch.testing.assert_close(banks, filters)


def test_what_has_no_gradient_stays() -> None:
    one, other = nn.Parameter(matrix(4, 4)), nn.Parameter(matrix(4, 4))
    one.grad = matrix(4, 4, seed=1)
    Muon([one, other], lr=0.1).step()
    assert not torch.equal(one, matrix(4, 4))
    assert torch.equal(other, matrix(4, 4))


def test_a_gradient_of_zeros_is_no_step() -> None:
    still = nn.Parameter(matrix(4, 12))
    still.grad = torch.zeros(4, 12)
    Muon([still], lr=0.1).step()
    assert torch.equal(still, matrix(4, 12))


def test_products_may_be_in_half_precision() -> None:
    whole, half = nn.Parameter(matrix(6, 24)), nn.Parameter(matrix(6, 24))
    for parameter, precision in ((whole, torch.float32), (half, torch.bfloat16)):
        parameter.grad = matrix(6, 24, seed=1)
        Muon([parameter], lr=0.1, precision=precision).step()
    moved = (whole - matrix(6, 24)).norm()
    assert 0 < (whole - half).norm() < 0.03 * moved
    assert half.dtype == torch.float32
