"""What all readers of images share: the parts they return, the error they raise, how much they unpack."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

MAX_BYTES = 2**32  # files that promise more are taken for decompression bombs, not for image sets
_ALWAYS_FINE = 2**28
_MOST_PACKED = 100  # MNIST is packed to a fifth; a deflated bomb to a thousandth

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
    "t10k": "test",
}


class ImageError(ValueError):
    """Images that cannot be used. One line: what, of which file, what was expected and found, the remedy."""


class ImageWarning(UserWarning):
    """Images that can be used, but not all of them, or not as one may think. One line, with the remedy."""


class Part(NamedTuple):
    """One split of an image set as its files have it, unchecked; the names say where each array is from."""

    pixels: np.ndarray
    pixels_name: str
    labels: np.ndarray
    labels_name: str


def refusal(what: str, file: str | Path, expected: str, found: str, remedy: str) -> ImageError:
    """The error for `what` of `file`; the caller raises it."""
    line = f"{what} of {file}: expected {expected}, found {found}; {remedy}"
    return ImageError(" ".join(line.splitlines()))


def scaled_in_python(height: int, width: int) -> str:
    """How pictures are scaled where there is no configuration: what an environment takes as `images`."""
    return f'images=load_images(FOLDER, size=({height}, {width})) with "from envs.images import load_images"'


def most_bytes(path: Path) -> int:
    """How much a file may unpack to before it is taken for a decompression bomb."""
    return min(MAX_BYTES, max(_ALWAYS_FINE, _MOST_PACKED * path.stat().st_size))
