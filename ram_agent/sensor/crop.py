"""The hard eye: a foveated crop of whole pixels, with a straight-through slope."""

from dataclasses import dataclass
from functools import cache, cached_property
from math import ceil
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.autograd.function import once_differentiable

from ram_agent.sensor.base import Retina, Sensor
from ram_agent.sensor.patches import as_float, lift_patches
from ram_agent.sensor.window import Window, to_pixels


@dataclass(frozen=True)
class Crop(Sensor):
    """Hard foveated crop (Mnih et al. 2014, section 3.1): whole pixels, coarse scales are box averages.

    One patch of the coarsest field of view is lifted out of the canvas per glimpse; every scale is pooled from it. The
    cost of a glimpse does not depend on the canvas. The margin around a canvas is as wide as centres within `reach`
    need; centres farther out are moved in.

    What is read jumps from pixel to pixel: its derivative is 0 or does not exist. A window that carries a gradient is
    given a straight-through one (Bengio et al. 2013): half the difference of the glimpses a pixel further on and a
    pixel further back, along each axis.
    """

    kind: ClassVar[str] = "crop"
    window_parameters: ClassVar[int] = 2
    differentiable: ClassVar[bool] = False

    @cached_property
    def _side(self) -> int:
        return self.size * 2 ** (self.scales - 1)

    def border(self, canvas_size: tuple[int, int]) -> tuple[int, int]:
        return _border(canvas_size, self._side + 2, self.reach)  # with a pixel on each side, for the slope

    def read(self, retina: Retina, window: Window) -> Float[Tensor, "lanes scales channels side side"]:
        corner = self._centre_pixels(window, retina.canvas_size) - self._side / 2
        if not window.centre.requires_grad:
            patch = _lift_patch(retina, corner, self._side, margin=1)
            return _foveate(as_float(patch), self.scales, retina.unit)
        patch = as_float(_lift_patch(retina, corner - 1, self._side + 2))
        glimpse = _foveate(patch[..., 1:-1, 1:-1], self.scales, retina.unit)
        across, down = _slopes(patch, self.size, self.scales)
        return _WithSlope.apply(  # type: ignore[return-value]
            to_pixels(window.centre, retina.canvas_size), glimpse, across * retina.unit, down * retina.unit
        )

    def _centre_pixels(self, window: Window, canvas_size: tuple[int, int]) -> Float[Tensor, "lanes 2"]:
        """Snapped so that the window's edges fall on pixel edges; halves go up (`round` would go to even)."""
        with torch.no_grad():
            half = self._side / 2
            return torch.floor(to_pixels(window.centre, canvas_size) - half + 0.5) + half


class _WithSlope(torch.autograd.Function):
    """A glimpse whose derivative to the centre, in pixels, is said to be `across` and `down`."""

    @staticmethod
    def forward(ctx: Any, centre: Tensor, glimpse: Tensor, across: Tensor, down: Tensor) -> Tensor:
        ctx.save_for_backward(across, down)
        return glimpse.view_as(glimpse)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        along = [(gradient * slope).flatten(1).sum(dim=1) for slope in ctx.saved_tensors]
        return torch.stack(along, dim=-1), None, None, None


def _border(canvas_size: tuple[int, int], side: int, reach: float) -> tuple[int, int]:
    """So many rows and columns that a patch of `side` about any centre within ±reach lies inside."""
    rows, columns = (max(0, ceil(side / 2 + (reach - 1) * extent / 2) + 1) for extent in canvas_size)
    return rows, columns


def _lift_patch(
    retina: Retina, corner: Float[Tensor, "lanes 2"], side: int, margin: int = 0
) -> Shaped[Tensor, "lanes channels side side"]:
    """Copy one square per lane out of canvases with a border.

    Corners (whole pixels) too far out are moved inside, until `margin` pixels are left around the square. NaN becomes a
    corner like any other: as an index it would end the process on a GPU, and to ask for it would make every glimpse
    wait. The environment hands the NaN back beside the glimpse, and a learner finds it in its loss.
    """
    bordered, (height, width), _ = retina
    rows, columns = (bordered.shape[-2] - height) // 2, (bordered.shape[-1] - width) // 2
    x, y = corner.nan_to_num(0.0).unbind(-1)
    x = x.clamp(margin - columns, width + columns - side - margin)
    y = y.clamp(margin - rows, height + rows - side - margin)
    lane = torch.arange(len(bordered), device=bordered.device)
    return lift_patches(bordered, lane, (y + rows).long(), (x + columns).long(), (side, side))


def _foveate(patch: Float[Tensor, "lanes channels extent extent"], scales: int, unit: float) -> Tensor:
    """Pool the K concentric scales out of a patch of side G·2^(K-1): halve by 2 × 2 averages, then cut the middle G."""
    side = patch.shape[-1] >> (scales - 1)
    levels = [patch]
    for _ in range(scales - 1):
        rows = levels[-1][..., ::2, :] + levels[-1][..., 1::2, :]
        levels.append((rows[..., ::2] + rows[..., 1::2]) * 0.25)
    edges = [(level.shape[-1] - side) // 2 for level in levels]
    cut = [level[..., e : e + side, e : e + side] for level, e in zip(levels, edges, strict=True)]
    glimpse = torch.stack(cut, dim=1)
    return glimpse if unit == 1 else glimpse.mul_(unit)


def _slopes(
    patch: Float[Tensor, "lanes channels extent extent"], size: int, scales: int
) -> tuple[Float[Tensor, "lanes scales channels size size"], Float[Tensor, "lanes scales channels size size"]]:
    """Half the difference of the glimpses a pixel further on and one further back, along x and along y.

    `patch` has a pixel more on each side than the coarsest scale. A box moved on by a pixel wins an edge and loses the
    opposite one, all between cancels: two matrices for each scale say so. Differences of every pixel, pooled, take
    several times as long (docs/performance.md).
    """
    across, down = [], []
    with torch.autocast(patch.device.type, enabled=False):
        for edge, box, step in _boxes_and_steps(size, scales, patch.device, patch.dtype):
            seen = patch[..., edge : patch.shape[-2] - edge, edge : patch.shape[-1] - edge]
            across.append(box @ (seen @ step.mT))
            down.append(step @ (seen @ box.mT))
    return torch.stack(across, dim=1), torch.stack(down, dim=1)


@cache  # a recorded update goes on reading where they lay
def _boxes_and_steps(
    size: int, scales: int, device: torch.device, dtype: torch.dtype
) -> list[tuple[int, Float[Tensor, "size extent"], Float[Tensor, "size extent"]]]:
    """For each scale, the pixels to leave out on each side of a patch, and what takes averages of its boxes, and half
    the difference of those a pixel further on and a pixel further back, from a row or a column of what is left.
    """
    found = []
    for scale in range(scales):
        side = 2**scale
        box = torch.eye(size, device=device, dtype=dtype).repeat_interleave(side, dim=1) / side
        step = 0.5 * (F.pad(box, (2, 0)) - F.pad(box, (0, 2)))
        found.append((size * (2 ** (scales - 1) - side) // 2, F.pad(box, (1, 1)), step))
    return found
