"""Where images come from: MNIST, the embedded digits, IDX folders, `.npz` files, folders of pictures.

Whatever the source, the result is one `ImageData`: three splits of one image size, 8 bits a channel, labels
0..Y-1. Nothing is printed: a fallback is told in `ImageData.notice`, and callers show it.
"""

import difflib
import hashlib
import os
import re
import warnings
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from PIL import Image
from torch import Tensor

from envs.idx import SPLIT_NAMES, ImageError, Part, find_idx, most_bytes, read_idx, read_idx_folder, refusal
from envs.mnist import MnistNotAtHand, load_digits, load_mnist

__all__ = ["ImageData", "ImageError", "ImageSet", "load_images", "load_test_images", "read_idx"]

SOURCES = ("auto", "mnist", "digits")
AUTO_SECONDS = 8.0  # `auto` is somebody's first run: without a network it must still start at once
FETCH_SECONDS = 600.0  # whoever asks for `mnist` wants it: 11 MB at 20 kB a second
SPLIT_SEED = 0  # the same images in the same splits for everybody
DIGITS_NOTICE = "MNIST is not at hand: using the 1,797 embedded 8x8 digits; no number of this run is an MNIST number"


@dataclass(frozen=True, eq=False)  # tensors have no single truth value, so a generated == could only raise
class ImageSet:
    """The images of one split and their labels.

    `pixels` stay at 8 bits a channel, 0 the background (MNIST takes 47 MB; as floats, 188); C is 1 or 3.
    `labels` are 0..Y-1.
    """

    pixels: UInt8[Tensor, "images channels height width"]
    labels: Int64[Tensor, " images"]

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: str | torch.device) -> "ImageSet":
        """The same set on `device`."""
        return ImageSet(self.pixels.to(device), self.labels.to(device))


@dataclass(frozen=True, eq=False)
class ImageData:
    """Three splits that share no image, and what a result must say about them.

    `name`: "mnist", "digits", or the name of the folder or file. `classes`: the names of labels 0, 1, ...
    `sha256`: of pixels and labels of all splits, however stored. `notice`: "", or the line to show loudly.
    """

    name: str
    train: ImageSet
    validation: ImageSet
    test: ImageSet
    classes: tuple[str, ...]
    sha256: str
    notice: str = ""

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.train.pixels.shape[2], self.train.pixels.shape[3]

    @property
    def channels(self) -> int:
        """1 grey, 3 RGB."""
        return self.train.pixels.shape[1]

    def split(self, name: str) -> ImageSet:
        """The split called "train", "validation" or "test". Raises: ImageError for any other name."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        if name not in splits:
            raise ImageError(f"split: expected one of {', '.join(splits)}, found {name!r}; give one of these")
        return splits[name]

    def to(self, device: str | torch.device) -> "ImageData":
        """The same data on `device`."""
        train, validation, test = (part.to(device) for part in (self.train, self.validation, self.test))
        return replace(self, train=train, validation=validation, test=test)


def load_images(
    source: str = "auto",
    folder: str | Path | None = None,
    *,
    download: bool = True,
    validation: int | None = None,
) -> ImageData:
    """Images of `source`, in three splits.

    source: "mnist"; "digits", 1,797 real digits that scikit-learn brings along; "auto", MNIST where it is at
        hand or can be had within 8 seconds, else the digits with a notice; or the path of a folder of IDX
        files, of a `.npz` file, or of a folder of class folders of pictures.
    folder: where MNIST lies ("mnist", "auto"). None: RAM_AGENT_DATA, the user's cache, the network.
    download: whether MNIST may be fetched.
    validation: how many of the training images to set aside. None: a twelfth (5,000 of MNIST). Images without
        splits are dealt 70 / 10 / 20. All dealing is by one fixed seed and keeps the shares of the classes.
    Raises: ImageError, one line, for whatever cannot be used.
    """
    if source == "digits":
        return _digits(validation)
    if source in SOURCES:
        seconds = (AUTO_SECONDS if source == "auto" else FETCH_SECONDS) if download else 0.0
        try:
            parts = load_mnist(folder, seconds)
        except MnistNotAtHand as absence:
            if source == "mnist":
                raise
            return replace(_digits(validation), notice=f"{DIGITS_NOTICE} ({absence})")
        return _data("mnist", "mnist", parts, validation)
    path = _existing(source)
    return _data(_name(path), path, _read(path), validation)


def load_test_images(source: str, folder: str | Path | None = None) -> tuple[str, ImageSet, tuple[str, ...]]:
    """Name, images and classes to test a trained agent on: the test split, or all where there are no splits.

    Labels count the classes of `source`; the caller compares their names with those of the training.
    Raises: ImageError, as `load_images`.
    """
    if source in SOURCES:
        data = load_images(source, folder)
        return data.name, data.test, data.classes
    path = _existing(source)
    sets, classes = _image_sets(_read(path))
    if "test" not in sets and "all" not in sets:
        raise _no_split("test", path, sets)
    return _name(path), sets["test"] if "test" in sets else sets["all"], classes


# --- Readers: the parts of a source, by split, as its files have them; one part "all" if it has none ---


def _existing(source: str) -> Path:
    path = Path(os.path.expanduser(source))
    if source and os.path.exists(path):
        return path
    beside = [str(path.parent / name) for name in os.listdir(path.parent)] if path.parent.is_dir() else []
    nearest = difflib.get_close_matches(source, [*SOURCES, *beside], n=1)
    hint = f"did you mean {nearest[0]!r}?" if nearest else "give one of these"
    expected = f"one of {', '.join(SOURCES)}, or the path of a folder or .npz file that exists"
    raise ImageError(f"image source: expected {expected}, found {source!r}; {hint}")


def _name(path: Path) -> str:
    """The last part of `path`, with its parent where it alone would pass for MNIST in a table of results."""
    path = path.resolve()
    return path.name if path.name.lower() not in SOURCES else f"{path.parent.name}/{path.name}"


def _read(path: Path) -> dict[str, Part]:
    if path.is_dir():
        files = find_idx(path)
        parts = read_idx_folder(path, files) if files else _read_picture_folder(path)
    elif path.suffix.lower() == ".npz":
        parts = _read_npz(path)
    else:
        remedy = "for IDX files or pictures give the folder that holds them"
        raise refusal("image source", path, "a folder or a .npz file", f"a file {path.suffix!r}", remedy)
    return {"all": parts["train"]} if set(parts) == {"train"} else parts


PIXELS_NAMES = {"images", "image", "x", "pixels", "data"}
LABELS_NAMES = {"labels", "label", "y", "targets", "target"}


def _slot(name: str) -> tuple[str, str] | None:
    """(split, "pixels" | "labels") of an array called, say, `x_train` or `labels`; None for other names."""
    words = re.split(r"[_\-. ]+", name.lower())
    splits = [SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES]
    others = [word for word in words if word not in SPLIT_NAMES]
    if len(splits) > 1 or len(others) != 1 or others[0] not in PIXELS_NAMES | LABELS_NAMES:
        return None
    return (splits[0] if splits else "all"), ("pixels" if others[0] in PIXELS_NAMES else "labels")


def _read_npz(path: Path) -> dict[str, Part]:
    """Arrays whose names say what they are, others are left. Pickles are refused: they could run code."""
    broken = (OSError, ValueError, EOFError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            names = list(archive)
            size = sum(entry.file_size for entry in archive.zip.infolist() if _slot(Path(entry.filename).stem))
            if size > (most := most_bytes(path)):
                raise refusal(
                    "arrays", path, f"at most {most:,} bytes", f"{size:,} once unpacked", "give a smaller set"
                )
            arrays = {name: archive[name] for name in names if _slot(name)}
    except ImageError:
        raise
    except (*broken, TypeError) as error:  # TypeError: a bare array (.npy) under the name .npz
        found = f"{type(error).__name__} ({error})"
        remedy = "write it again with numpy.savez, pixels and labels as arrays of numbers"
        raise refusal("arrays", path, "a .npz file of arrays without pickles", found, remedy) from error
    slots = {_slot(name): name for name in arrays}
    splits = dict.fromkeys(slot[0] for slot in slots if slot)
    complete = splits and all((split, role) in slots for split in splits for role in ("pixels", "labels"))
    if not complete or len(slots) < len(arrays) or ("all" in splits and len(splits) > 1):
        expected = "images and labels, or the two of each split (x_train, y_train, x_test, y_test), each once"
        found = ", ".join(names) or "nothing"
        raise refusal("arrays", path, expected, found, "add what is missing, remove what is double, or rename")
    named = {slot: (arrays[name], f"{path}[{name}]") for slot, name in slots.items()}
    return {split: Part(*named[split, "pixels"], *named[split, "labels"]) for split in splits}


BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm", ".pbm"}
GREY_MODES = {"1", "L", "LA"}
PALETTE_MODES = {"P", "PA"}
COLOUR_MODES = {"RGB", "RGBA", "CMYK", "YCbCr"}


def _visible(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _read_picture_folder(folder: Path) -> dict[str, Part]:
    """Pictures in class folders, these inside of train/, validation/ and test/ where there are such."""
    tops = {top: SPLIT_NAMES.get(top.name.lower()) for top in _visible(folder) if top.is_dir()}
    if None in tops.values() or not tops:
        return {"all": _read_class_folders(folder)}
    if len(set(tops.values())) < len(tops):
        found = ", ".join(top.name for top in tops)
        raise refusal("split folders", folder, "one folder a split", found, "merge those that mean the same")
    return {split: _read_class_folders(top) for top, split in tops.items() if split}


def _read_class_folders(folder: Path) -> Part:
    files: dict[Path, list[Path]] = {}
    for entry in _visible(folder):
        if entry.is_dir():
            files[entry] = [file for file in _visible(entry) if file.suffix.lower() in PICTURE_SUFFIXES]
            if not files[entry]:
                expected = "pictures (png, jpg, bmp, gif, ...)"
                raise refusal("class folder", entry, expected, "none", "add some or remove the folder")
    if not files:
        expected = "IDX files such as train-images-idx3-ubyte.gz, or a folder of pictures for each class"
        raise refusal("image source", folder, expected, "neither", "give the folder that holds them")
    pictures = [(file, _read_picture(file)) for group in files.values() for file in group]
    first, (height, width, _) = pictures[0][0], pictures[0][1].shape
    for file, pixels in pictures:
        if pixels.shape[:2] != (height, width):
            found = f"{pixels.shape[0]}x{pixels.shape[1]}"
            expected = f"{height}x{width} (height x width) as in {first}"
            raise refusal("picture size", file, expected, found, "resize or crop all pictures to one size")
    channels = max(pixels.shape[2] for _, pixels in pictures)  # one colour picture makes all of them RGB
    stacked = np.stack([np.broadcast_to(pixels, (height, width, channels)) for _, pixels in pictures])
    labels = np.array([entry.name for entry, group in files.items() for _ in group])
    return Part(stacked, str(folder), labels, str(folder))


def _read_picture(file: Path) -> np.ndarray:
    """(H, W, 1) if grey, else (H, W, 3). What is transparent becomes background, which is 0."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file) as opened:
                picture = opened.copy()
    except (OSError, EOFError, SyntaxError, ValueError, *BOMBS) as error:
        found = f"{type(error).__name__} ({error})"
        raise refusal("picture", file, "a readable picture", found, "replace or remove it") from error
    mode = picture.mode
    if mode not in GREY_MODES | PALETTE_MODES | COLOUR_MODES:
        raise refusal("picture", file, "8 bits a channel", f"mode {mode}", "convert it to 8 bits")
    if mode in {"LA", "PA", "RGBA"} or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "black"), picture)
    pixels = np.asarray(picture.convert("RGB"))
    # A palette says nothing about colour: GIF stores grey pictures with one, too.
    grey = mode in GREY_MODES or (mode in PALETTE_MODES and bool((pixels == pixels[..., :1]).all()))
    return pixels[..., :1] if grey else pixels


# --- Checks: parts → image sets ---


def _image_sets(parts: dict[str, Part]) -> tuple[dict[str, ImageSet], tuple[str, ...]]:
    """Sets by split, and the class names: the sorted labels of all splits together become 0..Y-1."""
    pixels = {split: _layout(part.pixels, part.pixels_name) for split, part in parts.items()}
    labels = {split: _label_values(part) for split, part in parts.items()}
    first = next(iter(parts))
    _, images_name, _, labels_name = parts[first]
    for split, part in parts.items():
        _check_range(part.pixels, part.pixels_name)
        expected, found = pixels[first].shape[1:], pixels[split].shape[1:]
        if found != expected:
            like = f"(channels, height, width) {expected} as in {images_name}"
            raise refusal("image shape", part.pixels_name, like, f"{found}", "bring all splits to one size")
    if len({array.dtype.kind for array in labels.values()}) > 1:
        kinds = "numbers in one, text in another"
        raise refusal("labels", labels_name, "one kind in all splits", kinds, "store all as numbers")
    values = np.unique(np.concatenate(list(labels.values())))
    if len(values) < 2:
        only = f"only {str(values[0])!r}"
        raise refusal("labels", labels_name, "two classes or more", only, "add images of another class")
    # One scale for all splits: a dark split of a set in 0..255 must not be taken for one in 0..1.
    in_unit = all(part.pixels.max() <= 1 for part in parts.values() if part.pixels.dtype.kind == "f")
    sets: dict[str, ImageSet] = {}
    for split in parts:
        indices = np.searchsorted(values, labels[split]).astype(np.int64)
        sets[split] = ImageSet(torch.from_numpy(_eight_bit(pixels[split], in_unit)), torch.from_numpy(indices))
    return sets, tuple(str(value) for value in values)


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


def _check_range(pixels: np.ndarray, name: str) -> None:
    """Refuses what is no brightness: other types, NaN, values below 0 or above 255."""
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


def _eight_bit(pixels: np.ndarray, in_unit: bool) -> np.ndarray:
    if pixels.dtype.kind == "b" or (pixels.dtype.kind == "f" and in_unit):
        pixels = np.rint(pixels * np.float32(255))
    return np.ascontiguousarray(np.rint(pixels), dtype=np.uint8)


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
        return labels
    if labels.dtype.kind not in "bui":
        raise refusal("labels", name, "integers or text", f"dtype {labels.dtype}", "convert the array")
    labels = labels.astype(np.int64)
    if labels.min() < 0:
        found = f"{labels.min()} for image {labels.argmin()}"
        raise refusal("labels", name, "0 or more", found, "remove images without a class")
    return labels


# --- Splits ---


def _digits(validation: int | None) -> ImageData:
    count = 240 if validation is None else validation
    return _data("digits", "digits", {"all": load_digits()}, count, test=360)


def _data(
    name: str, file: str | Path, parts: dict[str, Part], validation: int | None, test: int | None = None
) -> ImageData:
    """The data of `parts`. `validation` and `test` say how many images to deal, None the customary shares."""
    sets, classes = _image_sets(parts)
    if "all" not in sets and not {"train", "test"} <= sets.keys():
        raise _no_split("train" if "test" in sets else "test", file, sets)
    if "validation" in sets and validation is not None:
        expected = "no number, since the set has its own validation split"
        raise refusal("validation images", file, expected, str(validation), "leave the number out")
    if "all" in sets:
        size = len(sets["all"])
        rest, test_set = _deal(sets["all"], max(1, round(size / 5)) if test is None else test, "test", file)
        share = size / 10
    else:
        rest, test_set = sets["train"], sets["test"]
        share = len(rest) / 12
    if "validation" in sets:
        train, validation_set = rest, sets["validation"]
    else:
        count = max(1, round(share)) if validation is None else validation
        train, validation_set = _deal(rest, count, "validation", file)
    digest = hashlib.sha256()
    for images in (train, validation_set, test_set):
        digest.update(repr(tuple(images.pixels.shape)).encode())
        digest.update(images.pixels.numpy().data)
        digest.update(images.labels.numpy().astype("<i8").data)
    return ImageData(name, train, validation_set, test_set, classes, digest.hexdigest())


def _no_split(split: str, file: str | Path, sets: dict[str, ImageSet]) -> ImageError:
    remedy = "add it, or store all images without splits to have them dealt"
    return refusal("splits", file, f"a {split} split", f"only {', '.join(sets)}", remedy)


def _deal(images: ImageSet, count: int, split: str, file: str | Path) -> tuple[ImageSet, ImageSet]:
    """(the rest, `count` images for `split`), drawn by SPLIT_SEED, every class in proportion to its size.

    The n images of a class, shuffled, get the ranks (1/2)/n, (3/2)/n, ...; the `count` highest are drawn.
    """
    if not 1 <= count < len(images):
        expected = f"1 to {len(images) - 1:,} of {len(images):,}"
        raise refusal(f"{split} images", file, expected, f"{count:,}", "choose another number or add images")
    labels = images.labels.numpy()
    order = np.random.RandomState(SPLIT_SEED).permutation(len(labels))  # NumPy never changes this old stream
    rank = np.empty(len(labels))
    for label in np.unique(labels):
        members = order[labels[order] == label]
        rank[members] = (np.arange(len(members)) + 0.5) / len(members)
    dealt = torch.from_numpy(order[np.argsort(rank[order], kind="stable")])
    rest, drawn = dealt[:-count].sort().values, dealt[-count:].sort().values
    kept = ImageSet(images.pixels[rest], images.labels[rest])
    return kept, ImageSet(images.pixels[drawn], images.labels[drawn])
