"""DRAW's eye: a grid of Gaussian filters."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from ram_agent.sensor.base import Retina, Sensor
from ram_agent.sensor.patches import as_float
from ram_agent.sensor.window import FAR, Window, log_map

NARROW = 1e-3
"""Pixels. A Gaussian narrower than that sees no more of a pixel, and its slope would overflow."""


@dataclass(frozen=True)
class Gaussian(Sensor):
    """A grid of Gaussian filters (DRAW, Gregor et al. 2015, section 3.2): glimpse = A_y · canvas · A_xᵀ per scale."""

    kind: ClassVar[str] = "gaussian"
    window_parameters: ClassVar[int] = 6
    whole_pixels: ClassVar[bool] = False

    @property
    def smallest_sigma(self) -> float:
        return self.sigmas[0]

    def window(self, action: Float[Tensor, "*batch parameters"]) -> Window:
        return Window(
            super().window(action).centre,
            log_map(action[..., 2:4], self.strides),
            log_map(action[..., 4:6], self.sigmas),
        )

    def _focus(self, bordered: Tensor, canvas_size: tuple[int, int]) -> Tensor:
        return as_float(bordered)

    def read(self, retina: Retina, window: Window) -> Float[Tensor, "lanes scales channels side side"]:
        canvas, (height, width), unit = retina
        centre, stride = self._in_pixels(window, (height, width))
        sigma, spacing = window.sigma.clamp(NARROW, FAR), self._spacings(centre)
        across, down = (
            gaussian_mask(
                centre[:, None, axis],
                stride[:, None, axis] * spacing,
                sigma[:, None, axis] * spacing,
                self.size,
                extent,
            )
            for axis, extent in ((0, width), (1, height))
        )
        # All scales share the product over rows: (N, 1, K·G, H) · (N, C, H, W), then each its own over columns.
        with torch.autocast(canvas.device.type, enabled=False):  # which would leave 8 bits of what the eye sees
            rows = down.flatten(1, 2)[:, None] @ canvas
            rows = rows.unflatten(2, (self.scales, self.size)).transpose(1, 2)
            glimpse = rows @ across.transpose(-1, -2)[:, :, None]
        return (glimpse * unit).clamp(max=1)  # weights sum to 1 but for rounding


def gaussian_mask(
    centre: Float[Tensor, "*#batch"],
    stride: Float[Tensor, "*#batch"],
    sigma: Float[Tensor, "*#batch"],
    rows: int,
    columns: int,
) -> Float[Tensor, "*batch rows columns"]:
    """One axis of DRAW's filter bank (Gregor et al. 2015, eqs. 19–20 and 25–26).

    `mask[…, i, a] = exp(-(a + 1/2 - mu_i)² / 2 sigma²) / Z_i` with `mu_i = centre + (i - (rows - 1) / 2) · stride`:
    row i weighs the `columns` pixels of a canvas side by their distance from sample i. Arguments are in pixels, the
    centre in pixel-edge coordinates. `Z_i` makes each row sum to 1; a row whose Gaussian lies so far outside that less
    than 1e-8 of it is left reads (nearly) nothing rather than the border magnified.
    """
    steps = torch.arange(rows, dtype=centre.dtype, device=centre.device) - (rows - 1) / 2
    mean = centre[..., None] + steps * stride[..., None]
    return _GaussianMask.apply(mean, sigma[..., None].expand_as(mean), columns)  # type: ignore[return-value]


class _GaussianMask(torch.autograd.Function):
    """Rows `exp(-u² / 2) / Z` with `u = (a + 1/2 - mean) / sigma`, and their gradient in closed form.

    With `L = log mask`: ∂L/∂mean = (u - E[u]) / sigma and ∂L/∂sigma = (u² - E[u²]) / sigma, expectations over the row.
    """

    @staticmethod
    def forward(ctx: Any, mean: Tensor, sigma: Tensor, columns: int) -> Tensor:
        pixels = torch.arange(columns, dtype=mean.dtype, device=mean.device) + 0.5
        # Far tails would be denormal numbers, with which processors are ten times slower: e^-60 is the least.
        distance = ((pixels - mean[..., None]) / sigma[..., None]).clamp_(-(120**0.5), 120**0.5)
        mask = distance.square().mul_(-0.5).exp_()
        total = mask.sum(dim=-1, keepdim=True)
        mask /= total.clamp_min(1e-8)
        ctx.save_for_backward(distance, mask, sigma, total)
        return mask

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        distance, mask, sigma, total = ctx.saved_tensors
        weighed = gradient * mask
        along = weighed.sum(dim=-1, keepdim=True) * (total > 1e-8)  # below, Z is a constant
        weighed -= mask * along
        weighed *= distance
        to_mean = weighed.sum(dim=-1) / sigma
        weighed *= distance
        return to_mean, weighed.sum(dim=-1) / sigma, None
