"""The oracle of `envs.scenes`: generator and protocol written again in plain Python integers, one pixel at a time."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.images import ImageSet

WRAP = (1 << 64) - 1
GAMMA = 0x9E3779B97F4A7C15


def mix_by_hand(z: int) -> int:
    """Steele, Lea and Flood 2014, figure 19 (`mix64variant13`), as in Vigna's splitmix64.c."""
    z &= WRAP
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & WRAP
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & WRAP
    return z ^ (z >> 31)


class Draws:
    """The random stream of one scene: draw d is output d + 1 of a SplitMix64 whose state starts at the scene's key."""

    def __init__(self, seed: int, split: str, index: int) -> None:
        stream = mix_by_hand(mix_by_hand(seed + GAMMA) + ["train", "validation", "test"].index(split) * GAMMA)
        self.key = mix_by_hand(stream ^ mix_by_hand(index + GAMMA))

    def bits(self, draw: int) -> int:
        return mix_by_hand(self.key + (draw + 1) * GAMMA)

    def below(self, draw: int, bound: int) -> int:
        return ((self.bits(draw) >> 33) * bound) >> 31


def scene_by_hand(
    images: ImageSet, seed: int, split: str, index: int, kind: str, size: tuple[int, int], clutter: int, side: int
) -> tuple[NDArray[Any], int, int, int]:
    """The canvas in 0 … 255, the number of the image, and the row and column of its upper left corner."""
    draws = Draws(seed, split, index)
    pixels = images.pixels.numpy().astype(int)
    count, channels, tall, wide = pixels.shape
    height, width = size
    canvas = np.zeros((channels, height, width), dtype=int)

    def add(patch: NDArray[Any], row: int, column: int) -> None:
        for c, i, j in np.ndindex(*patch.shape):
            canvas[c, row + i, column + j] = min(255, canvas[c, row + i, column + j] + patch[c, i, j])

    if kind == "cluttered":
        for p in range(clutter):
            first = 5 + 5 * p
            source = draws.below(first, count)
            top, left = draws.below(first + 1, tall - side + 1), draws.below(first + 2, wide - side + 1)
            row, column = draws.below(first + 3, height - side + 1), draws.below(first + 4, width - side + 1)
            add(pixels[source, :, top : top + side, left : left + side], row, column)
    image = draws.below(0, count) if split == "train" else index % count
    row, column = draws.below(1, height - tall + 1), draws.below(2, width - wide + 1)
    if kind == "plain":
        row, column = (height - tall) // 2, (width - wide) // 2
    add(pixels[image], row, column)
    return canvas, image, row, column
