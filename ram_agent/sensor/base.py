"""What every eye is: bounds of its window, what it prepares of a canvas, and a way to read it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Integral
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from ram_agent.sensor.window import FAR, Window, log_position, to_pixels

Canvas = Shaped[Tensor, "lanes channels height width"]
"""Float in [0, 1], or bytes in 255ths."""


@dataclass(frozen=True)
class Sensor(ABC):
    """A read kernel with the bounds of its window.

    Raises `ValueError`, naming the field, where a field makes no sense; `check`, where the glimpse exceeds the canvas.
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
    """Whether the gradient from the glimpse to the window is that of the reading itself; of a hard crop it is a
    straight-through one."""
    whole_pixels: ClassVar[bool] = True
    """Whether coarse scales are boxes of whole pixels."""

    def __post_init__(self) -> None:
        for name in ("size", "scales"):
            _require(isinstance(getattr(self, name), Integral), name, getattr(self, name), "a whole number")
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

    @property
    def smallest_sigma(self) -> float | None:
        """In pixels; None for a kernel that has none."""
        return None

    def check(self, canvas_size: tuple[int, int]) -> None:
        """Raise `ValueError` if the finest scale does not fit on a canvas of `(height, width)` pixels."""
        _require(
            self.size <= min(canvas_size),
            "size",
            self.size,
            f"at most the shorter side of the {canvas_size[0]}x{canvas_size[1]} canvas",
        )

    # ---------------------------------------------------------------- actions and windows

    def window(self, action: Float[Tensor, "*batch parameters"]) -> Window:
        """Map an action in [-1, 1] to a window: centre linearly, stride and sigma log-linearly in their bounds."""
        centre = action[..., :2] * self.reach
        one = torch.ones_like(centre)
        return Window(centre, one, torch.zeros_like(centre))

    def rest(self, canvas_size: tuple[int, int]) -> tuple[float, ...]:
        """The action of the eye at rest: centred, the coarsest scale covering the canvas as nearly as bounds allow.

        Soft attention that starts badly does not learn; it starts here (DRAW and STN start from the whole image too).
        """
        height, width = canvas_size
        widest = self.size * 2 ** (self.scales - 1)
        strides = [log_position(side / widest, self.strides) for side in (width, height)]
        sigmas = [log_position(side / widest / 2, self.sigmas) for side in (width, height)]
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


def _require(holds: bool, field: str, value: object, expected: str) -> None:
    if not holds:
        raise ValueError(f"sensor {field}: got {value!r}, expected {expected}")
