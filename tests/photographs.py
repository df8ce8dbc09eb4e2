"""What tests of a user's own images share: folders of coloured pictures, and IDX files like Fashion-MNIST's."""

import gzip
import struct
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"fox": (230, 90, 20), "owl": (120, 120, 140), "frog": (40, 200, 60)}
GARMENTS = ("T-shirt/top", "Trouser", "Ankle boot")


def make_photographs(folder: Path, count: int = 12, largest: int = 48) -> Path:
    """A folder a class, each picture with a spot in the colour of its class; no two of one size."""
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            height, width = rng.integers(largest // 2, largest, 2)
            pixels = rng.integers(0, 90, (height, width, 3), dtype=np.uint8)
            row, column = rng.integers(0, (height - 10, width - 10))
            pixels[row : row + 10, column : column + 10] = colour
            Image.fromarray(pixels).save(folder / name / f"{number:03}.{('png', 'jpg')[number % 2]}")
    return folder


def make_garments(folder: Path, train: int = 60, test: int = 30, side: int = 28) -> Path:
    """Four gzipped IDX files under Fashion-MNIST's names: a bright bar whose place is the class."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    for prefix, count in (("train", train), ("t10k", test)):
        labels = (np.arange(count) % len(GARMENTS)).astype(np.uint8)
        pixels = rng.integers(0, 60, (count, side, side), dtype=np.uint8)
        for image, label in zip(pixels, labels, strict=True):
            image[side * (label + 1) // 5 :][:4] = 220
        for name, array in (("images-idx3", pixels), ("labels-idx1", labels)):
            header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
            (folder / f"{prefix}-{name}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes(), mtime=0))
    return folder
