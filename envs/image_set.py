"""Parts as files have them → image sets: checked, of one size, 8 bits a channel, labels 0..Y-1."""

import warnings
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from envs.class_names import ClassNames, checked
from envs.parts import ImageWarning, Part, refusal

DARK = 64
"""Of 255: what ends below was likely counted otherwise, as in scikit-learn's digits of 0..16."""


@dataclass(frozen=True, eq=False)  # tensors have no single truth value, so a generated == could only raise
class ImageSet:
    """The images of one split and their labels.

    `pixels` stay at 8 bits a channel, 0 the background (MNIST takes 47 MB; as floats, 188); C is 1 or 3.
    `labels` are 0..Y-1. Raises `ImageError` where either is of another type or shape.
    """

    pixels: UInt8[Tensor, "images channels height width"]
    labels: Int64[Tensor, " images"]

    def __post_init__(self) -> None:
        pixels, labels = self.pixels, self.labels
        if pixels.dtype != torch.uint8 or pixels.dim() != 4:
            found = f"{pixels.dtype} of shape {tuple(pixels.shape)}"
            raise refusal("pixels", "ImageSet", "uint8 (images, channels, height, width)", found, "convert the tensor")
        if labels.dtype != torch.int64 or labels.shape != pixels.shape[:1]:
            found = f"{labels.dtype} of shape {tuple(labels.shape)}"
            raise refusal("labels", "ImageSet", f"int64 ({len(pixels)},)", found, "convert the tensor")
        object.__setattr__(self, "pixels", pixels.contiguous())  # scenes cut patches out of it by strides

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: str | torch.device) -> "ImageSet":
        """The same set on `device`."""
        return ImageSet(self.pixels.to(device), self.labels.to(device))


def image_sets(
    parts: dict[str, Part], called: ClassNames | None = None, *, to_learn: bool = True
) -> tuple[dict[str, ImageSet], tuple[str, ...]]:
    """Sets by split, and the class names: the sorted labels of all splits together become 0..Y-1.

    `called` says what labels that are numbers are called; without it they are called by their number. Of one class
    alone there is nothing `to_learn`.
    """
    pixels = {split: _layout(part.pixels, part.pixels_name) for split, part in parts.items()}
    labels = {split: _label_values(part) for split, part in parts.items()}
    first = next(iter(parts))
    _, images_name, _, labels_name = parts[first]
    highest: dict[str, float] = {}
    for split, part in parts.items():
        highest[split] = _check_range(part.pixels, part.pixels_name)
        expected, found = pixels[first].shape[1:], pixels[split].shape[1:]
        if found != expected:
            like = f"(channels, height, width) {expected} as in {images_name}"
            remedy = "bring all splits to one size" if found[1:] != expected[1:] else "make all grey, or all RGB"
            raise refusal("image shape", part.pixels_name, like, f"{found}", remedy)
    if len({array.dtype.kind for array in labels.values()}) > 1:
        kinds = "numbers in one, text in another"
        raise refusal("labels", labels_name, "one kind in all splits", kinds, "store all as numbers")
    values = np.unique(np.concatenate(list(labels.values())))
    if to_learn and len(values) < 2:
        only = f"only {str(values[0])!r}"
        raise refusal("labels", labels_name, "two classes or more", only, "add images of another class")
    # One scale for all splits: a dark split of a set in 0..255 must not be taken for one in 0..1. Whole numbers, all of
    # them 0 or 1, are binarised images.
    in_unit = all(highest[split] <= 1 for split, part in parts.items() if part.pixels.dtype.kind != "b")
    for split, part in parts.items():
        if part.pixels.dtype.kind == "f" and highest[split] <= 1 and not in_unit:
            bright = max(parts, key=lambda other: highest[other])
            if parts[bright].pixels.dtype.kind in "ui":  # one was divided by 255, and the other was forgotten
                found = f"0..{highest[split]:g} here, 0..{highest[bright]:g} in {parts[bright].pixels_name}"
                raise refusal(
                    "pixels", part.pixels_name, "one scale in all splits", found, "divide both by 255, or none"
                )
    if not in_unit and max(highest.values()) < DARK:
        warnings.warn(
            f"pixels of {images_name}: all are below {DARK} of 255, nearly black: taken as they are; if "
            f"{max(highest.values()):g} is to be white, scale them to 0..255 (or to floats in 0..1)",
            ImageWarning,
            stacklevel=2,
        )
    _check_classes(labels, parts)
    sets: dict[str, ImageSet] = {}
    for split in parts:
        indices = np.searchsorted(values, labels[split]).astype(np.int64)
        sets[split] = ImageSet(torch.from_numpy(_eight_bit(pixels[split], in_unit)), torch.from_numpy(indices))
    has_numbers = values.dtype.kind != "U"
    return sets, called.of(values) if called and has_numbers else tuple(str(value) for value in values)


def _check_classes(labels: dict[str, np.ndarray], parts: dict[str, Part]) -> None:
    """Refuses a class that no training image has: whatever is answered to it is wrong."""
    if "train" not in labels:
        return
    learned = np.unique(labels["train"])
    for split, values in labels.items():
        if len(unknown := np.setdiff1d(values, learned)):
            nearest = get_close_matches(str(unknown[0]), [str(value) for value in learned], n=1)
            meant = f" (is it {nearest[0]!r}?)" if nearest else ""
            found = f"{str(unknown[0])!r} in {split} alone{meant}"
            remedy = "correct the label, or add training images of it"
            raise refusal("labels", parts[split].labels_name, "classes that training images have", found, remedy)


def _layout(pixels: np.ndarray, name: str) -> np.ndarray:
    """A view (n, C, H, W) of images (n, H·W) that are square, (n, H, W), (n, H, W, C) or (n, C, H, W)."""
    shape = pixels.shape
    if 0 in shape:
        raise refusal("images", name, "one or more", f"shape {shape}", "give a set that is not empty")
    if len(shape) == 2 and (side := round(shape[1] ** 0.5)) ** 2 == shape[1]:
        return pixels.reshape(-1, 1, side, side)
    if len(shape) == 3:
        return pixels[:, None]
    if len(shape) == 4 and (shape[1] in (1, 3)) != (shape[3] in (1, 3)):
        return pixels if shape[1] in (1, 3) else pixels.transpose(0, 3, 1, 2)
    expected = "(n, H, W), (n, H, W, C), (n, C, H, W) with 1 or 3 channels, or square images (n, H·W)"
    raise refusal("images", name, expected, f"shape {shape}", "reshape the array")


def _check_range(pixels: np.ndarray, name: str) -> float:
    """The highest value. Refuses what is no brightness: other types, NaN, values below 0 or above 255."""
    kind = pixels.dtype.kind
    if kind not in "buif":
        found = f"dtype {pixels.dtype}"
        raise refusal("pixels", name, "integers, floats or bool", found, "convert the array")
    if kind == "f" and not np.isfinite(pixels).all():
        image = int(np.argwhere(~np.isfinite(pixels))[0, 0])
        found = f"NaN or infinity in image {image}"
        raise refusal("pixels", name, "finite values", found, "repair or remove that image")
    low, high = pixels.min(), pixels.max()
    # Floats that barely exceed 1 are 0..1 that overshot: taken for 0..255 they would all be black.
    if low < 0 or high > 255 or (kind == "f" and 1 < high < 2):
        remedy = "scale or clip the values"
        raise refusal("pixels", name, "0..255 (floats: or 0..1)", f"{low:g}..{high:g}", remedy)
    return float(high)


def _eight_bit(pixels: np.ndarray, in_unit: bool) -> np.ndarray:
    if pixels.dtype.kind == "b" or in_unit:
        pixels = pixels * np.float32(255)
    if pixels.dtype.kind == "f":  # of bytes NumPy would make floats
        pixels = np.rint(pixels)
    return np.require(pixels, np.uint8, ["C", "W"])  # copied where torch could not have them as they lie


def _label_values(part: Part) -> np.ndarray:
    """Labels (n,) as int64 or text. (n, 1) is taken too: CIFAR-10 and MedMNIST come so."""
    labels, name = part.labels, part.labels_name
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (len(part.pixels),):
        expected = f"one for each of the {len(part.pixels):,} images of {part.pixels_name}"
        remedy = "make labels and images match (of one-hot labels take the argmax)"
        raise refusal("labels", name, expected, f"shape {labels.shape}", remedy)
    if labels.dtype.kind == "U":
        checked([str(value) for value in np.unique(labels)], name)
        return labels
    if labels.dtype.kind not in "bui":
        raise refusal("labels", name, "integers or text", f"dtype {labels.dtype}", "convert the array")
    if labels.max() > np.iinfo(np.int64).max:
        found = f"{labels.max()} for image {labels.argmax()}"
        raise refusal("labels", name, "numbers below 2^63", found, "number the classes from 0")
    labels = labels.astype(np.int64)
    if labels.min() < 0:
        found = f"{labels.min()} for image {labels.argmin()}"
        raise refusal("labels", name, "0 or more", found, "remove images without a class")
    return labels
