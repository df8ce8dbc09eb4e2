"""The spatial transformer's eye: bilinear samples of a canvas averaged over boxes."""

from dataclasses import dataclass
from math import ceil
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.autograd.function import once_differentiable

from ram_agent.sensor.base import Retina, Sensor
from ram_agent.sensor.patches import as_float, lift_patches
from ram_agent.sensor.window import Window, log_map


@dataclass(frozen=True)
class Bilinear(Sensor):
    """Spatial-transformer sampling without shear (Jaderberg et al. 2015, eqs. 1, 2 and 5), foveated.

    Scale k samples, bilinearly, the canvas averaged over boxes of 2^k × 2^k pixels at every position; at stride 1 and a
    whole-pixel centre that is exactly `Crop`. The box-filtered maps are made once per canvas by shifted additions. On a
    canvas far larger than the farthest window, samples are put together from its rows and columns instead: either way
    the cost of a glimpse does not grow with the canvas. A window with a stride beyond the largest of `strides`, as no
    action names, is read at that one.
    """

    kind: ClassVar[str] = "stn"
    window_parameters: ClassVar[int] = 4

    def window(self, action: Float[Tensor, "*batch parameters"]) -> Window:
        return super().window(action)._replace(stride=log_map(action[..., 2:4], self.strides))

    def _width(self, box: int) -> int:
        """Side of a square of whole pixels about a centre that holds all that a scale of `box` pixels can touch."""
        farthest = (self.size - 1) / 2 * box * self.strides[1] + box / 2
        return 2 * ceil(farthest + 1) + 1

    def _is_local(self, canvas_size: tuple[int, int], device: torch.device) -> bool:
        # On a GPU the gradient of `grid_sample` is refused by torch where all must repeat to the last bit.
        if device.type == "cuda" and torch.are_deterministic_algorithms_enabled():
            return True
        # Maps of the whole canvas serve all T glimpses, but are made of every pixel: measured in docs/performance.md.
        return canvas_size[0] * canvas_size[1] > self._width(2 ** (self.scales - 1)) ** 2

    def border(self, canvas_size: tuple[int, int]) -> tuple[int, int]:
        enough = 2 ** (self.scales - 1) + 1  # what begins this far outside does not touch the canvas
        return enough, enough

    def _focus(self, bordered: Tensor, canvas_size: tuple[int, int]) -> Tensor:
        return bordered if self._is_local(canvas_size, bordered.device) else _box_sums(bordered, self.scales)

    def read(self, retina: Retina, window: Window) -> Float[Tensor, "lanes scales channels side side"]:
        border, _ = self.border(retina.canvas_size)
        centre, stride = self._in_pixels(window, retina.canvas_size)
        centre, stride = centre + border, stride.clamp(max=self.strides[1])  # see `_width`
        boxes = self._spacings(centre)[:, None, None, None]
        # Where the box of each sample begins, (K, N, G, 2): its middle is the sample's place.
        begin = centre[:, None] + boxes * (self._steps(centre)[:, None] * stride[:, None] - 0.5)
        if self._is_local(retina.canvas_size, retina.data.device):
            scales = [
                _SampleBoxes.apply(retina.data, scale, 2**k, self._width(2**k), retina.unit)
                for k, scale in enumerate(begin)
            ]
            return torch.stack(scales, dim=1)
        sums, side = retina.data, self.size
        across, down = (begin + 0.5).flatten(0, 1).unbind(-1)  # entry i of a map lies at i + 1/2
        across, down = 2 / sums.shape[-1] * across - 1, 2 / sums.shape[-2] * down - 1
        grid = torch.stack([across[:, None].expand(-1, side, -1), down[:, :, None].expand(-1, -1, side)], dim=-1)
        glimpse = F.grid_sample(sums.flatten(0, 1), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        mean = glimpse.unflatten(0, begin.shape[:2]) * (retina.unit * boxes[..., None] ** -2)
        return mean.clamp(max=1).transpose(0, 1)  # weights sum to 1 but for rounding


def _box_sums(
    canvas: Shaped[Tensor, "lanes channels tall wide"], scales: int
) -> Float[Tensor, "scales lanes channels tall wide"]:
    """Sums over 2^k × 2^k pixels at every position, k = 0 … K-1: entry (y, x) of map k begins at pixel (y, x).

    What lies beyond the last row and column counts as background. Each map is four shifted copies of the one before, so
    that it costs two additions a pixel whatever the box.
    """
    dtype = canvas.dtype if canvas.is_floating_point() else torch.float32
    sums = canvas.new_empty((scales, *canvas.shape), dtype=dtype)
    sums[0] = canvas
    rows = torch.empty_like(sums[0])
    for k in range(1, scales):
        shift, finer, coarser = 2 ** (k - 1), sums[k - 1], sums[k]
        torch.add(finer[..., :-shift, :], finer[..., shift:, :], out=rows[..., :-shift, :])
        rows[..., -shift:, :] = finer[..., -shift:, :]
        torch.add(rows[..., :-shift], rows[..., shift:], out=coarser[..., :-shift])
        coarser[..., -shift:] = rows[..., -shift:]
    return sums


class _SampleBoxes(torch.autograd.Function):
    """Averages over `box` × `box` pixels, bilinear between whole pixels, at G × G places of each bordered canvas.

    `begin` (N, G, 2) says where boxes begin, columns and rows, in pixels. Without shear a bilinear sample is a sum of
    whole rows plus a fraction of their difference, then the same over columns: `S + f D`. `D` is also the derivative,
    exact almost everywhere, and all that is kept of the pixels: G × G numbers a glimpse instead of maps.
    """

    @staticmethod
    def forward(ctx: Any, canvas: Tensor, begin: Tensor, box: int, width: int, unit: float) -> Tensor:
        lanes, channels, tall, wide = canvas.shape
        side, width = begin.shape[1], min(width, wide)
        whole = begin.floor()
        fraction = begin - whole
        # Boxes far outside are moved into the border, where there is nothing to see either.
        column = whole[..., 0].long().clamp(0, wide - box - 1)
        row = whole[..., 1].long().clamp(0, tall - box - 1)
        middle = 0.5 * (begin[:, 0, 0] + begin[:, -1, 0] + box)
        left = (middle - (width - 1) / 2).floor().long().clamp(0, wide - width)
        column = (column - left[:, None]).clamp(0, width - box - 1)

        lane = torch.arange(lanes, device=canvas.device)[:, None]
        strip = as_float(lift_patches(canvas, lane, row, left[:, None], (box + 1, width)))
        rows = strip.new_empty((lanes, 2, side, channels, width))  # sums, and their derivative downwards
        torch.sub(strip[..., box, :], strip[..., 0, :], out=rows[:, 1])
        torch.addcmul(strip[..., 0, :], rows[:, 1], fraction[..., 1, None, None], out=rows[:, 0])
        for further in range(1, box):
            rows[:, 0] += strip[..., further, :]

        taps = (column[..., None] + torch.arange(box + 1, device=canvas.device)).flatten(1)
        taps = taps[:, None, None, None].expand(-1, 2, side, channels, -1)
        cut = rows.gather(-1, taps).unflatten(-1, (side, box + 1))
        right = cut[..., box] - cut[..., 0]
        sums = torch.addcmul(cut[..., 0], right, fraction[:, None, None, None, :, 0])
        for further in range(1, box):
            sums += cut[..., further]
        ctx.scale = unit / box**2
        ctx.save_for_backward(right[:, 0], sums[:, 1])
        mean = (sums[:, 0] * ctx.scale).clamp_(max=1)  # weights sum to 1 but for rounding
        return mean.transpose(1, 2)  # (N, G, C, G) → (N, C, G, G)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None, None, None]:  # type: ignore[override]
        rightwards, downwards = ctx.saved_tensors
        gradient = gradient.transpose(1, 2) * ctx.scale
        to_column = (gradient * rightwards).sum(dim=(1, 2))
        to_row = (gradient * downwards).sum(dim=(2, 3))
        return None, torch.stack([to_column, to_row], dim=-1), None, None, None
