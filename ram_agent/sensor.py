"""The eye: three ways of reading a small foveated glimpse from a large canvas.

Convention (the only one in this project)
    Locations are `(x, y)` in [-1, 1]: ±1 is the outer border of the canvas, 0 its centre, so that the pixel with
    index `i` of `n` has its middle at `(2 i + 1) / n - 1` (`align_corners=False`). Sizes are `(height, width)`.
    Canvases are `(N, C, H, W)` with background 0, and everything outside the canvas is background. Their values are
    floats in [0, 1], or bytes (`uint8`) in 255ths: exact, and a quarter of the memory to walk through. Glimpses are
    floats.

A glimpse holds K concentric scales of G × G samples. Neighbouring samples of scale k lie `stride · 2^k` pixels apart.

    kernel      window parameters                                  gradient to the window
    crop        x, y                                               straight-through (it is snapped to whole pixels)
    gaussian    x, y, stride_x, stride_y, sigma_x, sigma_y         exact
    stn         x, y, stride_x, stride_y                           exact almost everywhere

`crop` and `stn` average 2^k × 2^k pixels into a sample of scale k, so that a coarse scale never aliases; `gaussian`
widens its sigma with the stride. As an action every parameter is normalised to [-1, 1]; `Sensor.window` maps it.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from math import ceil, log
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor
from torch.autograd.function import once_differentiable

Canvas = Shaped[Tensor, "lanes channels height width"]
"""Float in [0, 1], or bytes in 255ths."""

FAR = 1e9
"""Pixels. What lies farther out, or wider apart, reads the same nothing; infinities would meet beyond, and be NaN."""
NARROW = 1e-3
"""Pixels. A Gaussian narrower than that sees no more of a pixel, and its slope would overflow."""


class Window(NamedTuple):
    """Where and how widely the eye looks, for N lanes. All but the centre are in pixels of the canvas, as (x, y)."""

    centre: Float[Tensor, "lanes 2"]
    """In [-1, 1]."""
    stride: Float[Tensor, "lanes 2"]
    """Pixels between neighbouring samples of the finest scale."""
    sigma: Float[Tensor, "lanes 2"]
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

    Raises `ValueError` for a grid below 2: a single cell would leave the eye nowhere to go.
    """
    if grid < 2:
        raise ValueError(f"grid: got {grid}, expected at least 2 cells a side (9 is the default)")
    middles = (2 * torch.arange(grid, dtype=torch.float64) + 1) / grid - 1
    return torch.cartesian_prod(middles, middles).flip(-1).float()


@dataclass(frozen=True)
class Sensor(ABC):
    """A read kernel with the bounds of its window.

    Raises `ValueError`, naming the field, where a field makes no sense or the glimpse exceeds the canvas.
    """

    size: int = 12
    """G, samples along each side of a glimpse."""
    scales: int = 3
    """K, concentric scales; each doubles the field of view of the one before."""
    reach: float = 0.9
    """Farthest centre that an action can name: |x|, |y| <= reach. Digits lie fully inside, so corners are empty."""
    strides: tuple[float, float] = (0.5, 2.0)
    """Smallest and largest stride, in pixels (`gaussian`, `stn`)."""
    sigmas: tuple[float, float] = (0.25, 2.0)
    """Smallest and largest sigma, in pixels (`gaussian`)."""

    kind: ClassVar[str]
    window_parameters: ClassVar[int]
    """P, the length of an action."""
    differentiable: ClassVar[bool] = True
    """Whether a gradient flows from the glimpse to the window."""
    whole_pixels: ClassVar[bool] = True
    """Whether coarse scales are boxes of whole pixels."""

    def __post_init__(self) -> None:
        _require(self.size >= 1, "size", self.size, "at least 1 sample a side")
        _require(1 <= self.scales <= 8, "scales", self.scales, "between 1 and 8")
        _require(0 < self.reach <= 10, "reach", self.reach, "above 0 and at most 10 (1 reaches the border)")
        for name, (low, high) in (("strides", self.strides), ("sigmas", self.sigmas)):
            sane = 1e-6 <= low <= high <= 1e6
            _require(sane, name, (low, high), "two numbers from 1e-6 to 1e6, the smaller first")
        if self.whole_pixels:
            _require(
                self.size % 2 == 0 or self.scales == 1,
                "size",
                self.size,
                "even when scales > 1: only then do all scales share one centre on whole pixels",
            )

    def check(self, canvas_size: tuple[int, int]) -> None:
        """Raise `ValueError` if the finest scale does not fit on a canvas of `(height, width)` pixels."""
        _require(
            self.size <= min(canvas_size),
            "size",
            self.size,
            f"at most the shorter side of the {canvas_size[0]}x{canvas_size[1]} canvas",
        )

    # ---------------------------------------------------------------- actions and windows

    def window(self, action: Float[Tensor, "lanes parameters"]) -> Window:
        """Map an action in [-1, 1] to a window: centre linearly, stride and sigma log-linearly in their bounds."""
        centre = action[:, :2] * self.reach
        one = torch.ones_like(centre)
        return Window(centre, one, torch.zeros_like(centre))

    def rest(self, canvas_size: tuple[int, int]) -> tuple[float, ...]:
        """The action of the eye at rest: centred, the coarsest scale covering the canvas as nearly as bounds allow.

        Soft attention that starts badly does not learn; it starts here (DRAW and STN start from the whole image too).
        """
        height, width = canvas_size
        widest = self.size * 2 ** (self.scales - 1)
        strides = [_log_position(side / widest, self.strides) for side in (width, height)]
        sigmas = [_log_position(side / widest / 2, self.sigmas) for side in (width, height)]
        return (0.0, 0.0, *strides, *sigmas)[: self.window_parameters]

    def boxes(self, window: Window, canvas_size: tuple[int, int]) -> Float[Tensor, "lanes scales 4"]:
        """The pixel-edge rectangles (x0, y0, x1, y1) that the K scales of each window cover."""
        centre = self._centre_pixels(window, canvas_size)[:, None]
        half = 0.5 * self.size * window.stride[:, None] * self._spacings(window.stride)[:, None]
        return torch.cat([centre - half, centre + half], dim=-1)

    # ---------------------------------------------------------------- reading

    def border(self, canvas_size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of background that the kernel wants on each side of a canvas; see `prepare`."""
        return 0, 0

    def prepare(self, canvas: Canvas, border: tuple[int, int] = (0, 0)) -> "Retina":
        """Do once per canvas what every glimpse at it shares.

        `border` says how many rows and columns of background `canvas` has on each side already: whoever paints
        canvases with the `border` that the sensor wants saves it a copy of each.
        """
        height, width = canvas.shape[-2] - 2 * border[0], canvas.shape[-1] - 2 * border[1]
        wanted = self.border((height, width))
        rows, columns = wanted[0] - border[0], wanted[1] - border[1]
        if rows or columns:
            canvas = F.pad(canvas, (columns, columns, rows, rows))
        unit = 1.0 if canvas.is_floating_point() else 1 / 255
        return Retina(self._focus(canvas.contiguous(), (height, width)), (height, width), unit)

    def _focus(self, bordered: Tensor, canvas_size: tuple[int, int]) -> Tensor:
        """The form of a canvas with its border that `read` takes."""
        return bordered

    @abstractmethod
    def read(self, retina: "Retina", window: Window) -> Float[Tensor, "lanes scales channels side side"]:
        """Read one glimpse per lane from prepared canvases."""

    def __call__(self, canvas: Canvas, window: Window) -> Float[Tensor, "lanes scales channels side side"]:
        return self.read(self.prepare(canvas), window)

    def _centre_pixels(self, window: Window, canvas_size: tuple[int, int]) -> Float[Tensor, "lanes 2"]:
        return to_pixels(window.centre, canvas_size)

    @staticmethod
    def _in_pixels(window: Window, canvas_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Centre, in pixel-edge coordinates, and stride of a soft window, whatever numbers it was given."""
        return to_pixels(window.centre, canvas_size).clamp(-FAR, FAR), window.stride.clamp(-FAR, FAR)

    def _spacings(self, like: Tensor) -> Float[Tensor, " scales"]:
        """2^k for the K scales."""
        return 2.0 ** torch.arange(self.scales, dtype=like.dtype, device=like.device)

    def _steps(self, like: Tensor) -> Float[Tensor, " side"]:
        """Sample positions relative to the centre, in strides: -(G-1)/2 … (G-1)/2."""
        return torch.arange(self.size, dtype=like.dtype, device=like.device) - (self.size - 1) / 2


class Retina(NamedTuple):
    """Canvases made ready for reading, in whatever form the kernel likes best."""

    data: Tensor
    canvas_size: tuple[int, int]
    unit: float
    """What one of `data` is worth: 1, or 1/255 where it came from bytes."""


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
            return _foveate(_as_float(patch), self.scales, retina.unit)
        patch = _as_float(_lift_patch(retina, corner - 1, self._side + 2))
        back, here, on = slice(None, -2), slice(1, -1), slice(2, None)
        across = (patch[..., here, on] - patch[..., here, back]) * 0.5
        down = (patch[..., on, here] - patch[..., back, here]) * 0.5
        foveated = _foveate(torch.cat([patch[..., here, here], across, down]), self.scales, retina.unit)
        return _WithSlope.apply(to_pixels(window.centre, retina.canvas_size), *foveated.chunk(3))  # type: ignore[return-value]

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


@dataclass(frozen=True)
class Bilinear(Sensor):
    """Spatial-transformer sampling without shear (Jaderberg et al. 2015, eqs. 1, 2 and 5), foveated.

    Scale k samples, bilinearly, the canvas averaged over boxes of 2^k × 2^k pixels at every position; at stride 1 and a
    whole-pixel centre that is exactly `Crop`. The box-filtered maps are made once per canvas by shifted additions. On a
    canvas far larger than the farthest window, samples are put together from its rows and columns instead: either way
    the cost of a glimpse does not grow with the canvas.
    """

    kind: ClassVar[str] = "stn"
    window_parameters: ClassVar[int] = 4

    def window(self, action: Float[Tensor, "lanes parameters"]) -> Window:
        return super().window(action)._replace(stride=_log_map(action[:, 2:4], self.strides))

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
        centre = centre + border
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
        return mean.transpose(0, 1)


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
        strip = _as_float(lift_patches(canvas, lane, row, left[:, None], (box + 1, width)))
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
        return sums[:, 0].transpose(1, 2) * ctx.scale  # (N, G, C, G) → (N, C, G, G)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None, None, None]:  # type: ignore[override]
        rightwards, downwards = ctx.saved_tensors
        gradient = gradient.transpose(1, 2) * ctx.scale
        to_column = (gradient * rightwards).sum(dim=(1, 2))
        to_row = (gradient * downwards).sum(dim=(2, 3))
        return None, torch.stack([to_column, to_row], dim=-1), None, None, None


@dataclass(frozen=True)
class Gaussian(Sensor):
    """A grid of Gaussian filters (DRAW, Gregor et al. 2015, section 3.2): glimpse = A_y · canvas · A_xᵀ per scale."""

    kind: ClassVar[str] = "gaussian"
    window_parameters: ClassVar[int] = 6
    whole_pixels: ClassVar[bool] = False

    def window(self, action: Float[Tensor, "lanes parameters"]) -> Window:
        return Window(
            super().window(action).centre,
            _log_map(action[:, 2:4], self.strides),
            _log_map(action[:, 4:6], self.sigmas),
        )

    def _focus(self, bordered: Tensor, canvas_size: tuple[int, int]) -> Tensor:
        return _as_float(bordered)

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


SENSORS: dict[str, type[Sensor]] = {kernel.kind: kernel for kernel in (Crop, Gaussian, Bilinear)}


def make_sensor(kind: str, **settings: object) -> Sensor:
    """Build a sensor by name: `crop`, `gaussian` or `stn`; settings are the fields of `Sensor`."""
    if kind not in SENSORS:
        raise ValueError(f"sensor kind: got {kind!r}, expected one of {', '.join(SENSORS)}")
    return SENSORS[kind](**settings)  # type: ignore[arg-type]


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


def lift_patches(
    images: Shaped[Tensor, "images channels height width"],
    index: Int[Tensor, "*#batch"],
    row: Int[Tensor, "*#batch"],
    column: Int[Tensor, "*#batch"],
    size: tuple[int, int],
) -> Shaped[Tensor, "*batch channels tall wide"]:
    """Copy rectangles of `size` (height, width) out of contiguous images, each from its image at its upper left corner.

    Every rectangle of the batch is a row of one strided view, so that this is a selection of rows: each pixel is
    touched once, in order, and nothing is computed per pixel. Four times faster than indexing by image, row and column.
    """
    (tall, wide), (channels, height, width) = size, images.shape[1:]
    places = images.numel() - ((channels - 1) * height + tall - 1) * width - wide + 1
    view = images.as_strided((places, channels, tall, wide), (1, height * width, width, 1))
    first = (index * (channels * height) + row) * width + column
    return view.index_select(0, first.flatten()).unflatten(0, first.shape)


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


def _as_float(values: Tensor) -> Tensor:
    return values if values.is_floating_point() else values.float()


def _log_map(action: Tensor, bounds: tuple[float, float]) -> Tensor:
    """[-1, 1] → [low, high], linear in the logarithm."""
    low, high = log(bounds[0]), log(bounds[1])
    return torch.exp(0.5 * (high + low) + 0.5 * (high - low) * action)


def _log_position(value: float, bounds: tuple[float, float]) -> float:
    """Inverse of `_log_map`, kept inside [-1, 1]."""
    low, high = log(bounds[0]), log(bounds[1])
    if high == low:
        return 0.0
    return max(-1.0, min(1.0, (2 * log(value) - high - low) / (high - low)))


def _require(holds: bool, field: str, value: object, expected: str) -> None:
    if not holds:
        raise ValueError(f"sensor {field}: got {value!r}, expected {expected}")
