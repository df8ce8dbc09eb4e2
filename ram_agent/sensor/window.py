"""The window of an eye, and the maps between actions, windows and pixels."""

from math import log
from numbers import Integral
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

FAR = 1e9
"""Pixels. What lies farther out, or wider apart, reads the same nothing; infinities would meet beyond, and be NaN."""


class Window(NamedTuple):
    """Where and how widely the eye looks, in any batch. All but the centre are in pixels of the canvas, as (x, y)."""

    centre: Float[Tensor, "*batch 2"]
    """In [-1, 1]."""
    stride: Float[Tensor, "*batch 2"]
    """Pixels between neighbouring samples of the finest scale."""
    sigma: Float[Tensor, "*batch 2"]
    """Standard deviation of each sample's Gaussian, in pixels at the finest scale; 0 for kernels without one."""


def to_pixels(centre: Float[Tensor, "*batch 2"], size: tuple[int, int]) -> Float[Tensor, "*batch 2"]:
    """Map (x, y) in [-1, 1] to pixel-edge coordinates: -1 → 0 and 1 → (width, height)."""
    height, width = size
    x, y = centre.unbind(-1)
    return torch.stack([(x + 1) * (width / 2), (y + 1) * (height / 2)], dim=-1)


def grid_locations(grid: int) -> Float[Tensor, "cells 2"]:
    """The (x, y) of every cell's middle, row-major.

    Convention:
        [-1, 1] × [-1, 1] is cut into g × g equal cells. Cell c lies in row c // g, counted from the top (y = -1), and
        in column c % g, counted from the left (x = -1). Its middle is x = (2 column + 1) / g - 1,
        y = (2 row + 1) / g - 1. So cell 0 is the left upper one, cell 1 lies to the right of it, cell g below it;
        g = 9 gives -8/9, -6/9 … 8/9.

    Raises `ValueError` for a grid of no whole number, or below 2: a single cell would leave the eye nowhere to go.
    """
    if not isinstance(grid, Integral) or grid < 2:
        raise ValueError(f"grid: got {grid}, expected a whole number, at least 2 cells a side (9 is the default)")
    middles = (2 * torch.arange(grid, dtype=torch.float64) + 1) / grid - 1
    return torch.cartesian_prod(middles, middles).flip(-1).float()


def log_map(action: Tensor, bounds: tuple[float, float]) -> Tensor:
    """[-1, 1] → [low, high], linear in the logarithm."""
    low, high = log(bounds[0]), log(bounds[1])
    return torch.exp(0.5 * (high + low) + 0.5 * (high - low) * action)


def log_position(value: float, bounds: tuple[float, float]) -> float:
    """Inverse of `log_map`, kept inside [-1, 1]."""
    low, high = log(bounds[0]), log(bounds[1])
    if high == low:
        return 0.0
    return max(-1.0, min(1.0, (2 * log(value) - high - low) / (high - low)))
