"""Random distortions of training images: linear maps and elastic fields, in whole numbers (Simard et al. 2003).

Everything is fixed-point, so that a distorted scene, like any other, is the same on every device and in every batch.
"""

from dataclasses import dataclass
from functools import cache
from numbers import Real

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from envs.draws import random_high, scaled

KNOTS = 4
"""Knots of the elastic field along a side."""
FIRST_DRAW = 1 << 19
"""Numbers of the draws: far behind those of the clutter, before those that are free for others."""
_FINE = 24
"""Displacements are reckoned in 2^-24 pixels, and pixels are mixed by 2^-8 of their distance."""


class DistortionError(ValueError):
    """A distortion that cannot be: the message names the field, the value and the remedy."""


@dataclass(frozen=True)
class Distortion:
    """How far training images are bent.

    An image is read, bilinearly and with background around it, at A·p + u(p) for each pixel p from its middle. A is the
    identity with a uniform number of ± `affine` added to each entry: rotation, scale and shear at once (0.15: up to
    some 8 degrees, 15 %). u is piecewise bilinear between 4 × 4 knots over the image, each uniform within ± `elastic`
    pixels along x and y.
    """

    affine: float = 0.0
    elastic: float = 0.0

    def __post_init__(self) -> None:
        if not (isinstance(self.affine, Real) and 0 <= self.affine <= 0.5):
            raise DistortionError(f"scene.affine: got {self.affine!r}, expected 0 (none) to 0.5")
        if not (isinstance(self.elastic, Real) and 0 <= self.elastic <= 64):
            raise DistortionError(f"scene.elastic: got {self.elastic!r}, expected 0 (none) to 64 pixels")

    def __bool__(self) -> bool:
        return self.affine > 0 or self.elastic > 0

    def __call__(
        self, images: UInt8[Tensor, "lanes channels tall wide"], key: Int[Tensor, " lanes"]
    ) -> UInt8[Tensor, "lanes channels tall wide"]:
        """Distort each image by the stream `key` of its scene, all of its channels alike."""
        tall, wide = images.shape[-2:]
        down, across = (self._displacements(key, tall, wide) >> (_FINE - 8)).unbind(1)
        row = (torch.arange(tall, device=key.device)[:, None] << 8) + down
        column = (torch.arange(wide, device=key.device) << 8) + across
        return _read(images, row, column)

    def _displacements(self, key: Tensor, tall: int, wide: int) -> Int[Tensor, "lanes 2 tall wide"]:
        """(down, across) of every pixel, in 2^-24 pixels."""
        number = KNOTS * KNOTS + 2
        draw = random_high(key, FIRST_DRAW + torch.arange(2 * number, device=key.device)[:, None])
        bend, knots = draw.unflatten(0, (2, number)).split([2, number - 2], dim=1)
        amounts = torch.cat(
            [_between(bend, round(self.affine * 2**23)), _between(knots, round(self.elastic * 2**8))], dim=1
        )
        # Doubles hold these whole numbers exactly, in whatever order a device adds them up.
        sums = amounts.permute(2, 0, 1).double() @ _basis(tall, wide, key.device)
        return sums.long().unflatten(-1, (tall, wide))


AS_THEY_ARE = Distortion()


def _between(high: Tensor, bound: int) -> Tensor:
    """31 random bits as a whole number -bound … bound."""
    return scaled(high, 2 * bound + 1) - bound


@cache  # a recorded update goes on reading where it lay
def _basis(tall: int, wide: int, device: torch.device) -> Float[Tensor, "amounts pixels"]:
    """What one unit of each amount displaces every pixel by, in 2^-24 pixels.

    Two for the linear map, in 2^-23 of half pixels from the middle; then the knots, in 2^-8 pixels, whose weights are
    2^-8 along a side.
    """
    rows, columns = (2 * torch.arange(side) - (side - 1) for side in (tall, wide))
    linear = torch.stack([rows[:, None].expand(tall, wide), columns.expand(tall, wide)])
    weights = [_hats(side) for side in (tall, wide)]
    knots = torch.einsum("ki,lj->klij", *weights).flatten(0, 1)
    return torch.cat([linear, knots]).flatten(1).double().to(device)


def _hats(side: int) -> Int[Tensor, "knots side"]:
    """Weights of the knots along a side in 2^-8: linear interpolation, they sum to 2^8 at every pixel."""
    at = torch.arange(side) * ((KNOTS - 1) << 8) // max(side - 1, 1)
    return (256 - (at - (torch.arange(KNOTS) << 8)[:, None]).abs()).clamp(min=0)


def _read(images: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Bilinear samples of each image at (N, H, W) rows and columns in 2^-8 pixels, background 0 around it."""
    lanes, channels, tall, wide = images.shape
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1)).flatten(2)
    top, left = row >> 8, column >> 8
    down, right = row & 255, column & 255
    total = torch.zeros_like(images, dtype=torch.int32)
    for lower in (0, 1):
        for righter in (0, 1):
            weight = (down if lower else 256 - down) * (right if righter else 256 - right)
            y = (top + lower + 1).clamp(0, tall + 1)
            x = (left + righter + 1).clamp(0, wide + 1)
            place = (y * (wide + 2) + x).flatten(1)[:, None].expand(lanes, channels, -1)
            total += padded.gather(2, place).view(images.shape) * weight[:, None].to(torch.int32)
    return ((total + (1 << 15)) >> 16).to(torch.uint8)
