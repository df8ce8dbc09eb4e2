"""Where images come from: MNIST, the embedded digits, IDX folders, `.npz` files, folders of pictures.

Whatever the source, the result is one `ImageData`: three splits of one image size, 8 bits a channel, labels
0..Y-1. Nothing is printed: a fallback is told in `ImageData.notice`, and callers show it.
"""

import difflib
import hashlib
import os
import warnings
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from envs.class_names import ClassNames, find_class_names
from envs.idx import find_idx, read_idx_folder
from envs.image_set import ImageSet, image_sets
from envs.mnist import MnistNotAtHand, load_digits, load_mnist
from envs.npz import read_npz
from envs.parts import ImageError, ImageWarning, Part, refusal
from envs.pictures import read_picture_folder

__all__ = ["ImageData", "ImageError", "ImageSet", "load_images", "load_test_images"]

SOURCES = ("auto", "mnist", "digits")
AUTO_SECONDS = 8.0  # `auto` is somebody's first run: without a network it must still start at once
FETCH_SECONDS = 600.0  # whoever asks for `mnist` wants it: 11 MB at 20 kB a second
SPLIT_SEED = 0  # the same images in the same splits for everybody
DIGITS_NOTICE = "MNIST is not at hand: using the 1,797 embedded 8x8 digits; no number of this run is an MNIST number"


@dataclass(frozen=True, eq=False)
class ImageData:
    """Three splits that share no image, and what a result must say about them.

    `name`: "mnist", "digits", or the name of the folder or file. `classes`: the names of labels 0, 1, ...
    `sha256`: of pixels and labels of all splits, however stored. `notice`: "", or the line to show loudly.
    Raises `ImageError` where splits differ in the shape of their images, or a label is none of the classes.
    """

    name: str
    train: ImageSet
    validation: ImageSet
    test: ImageSet
    classes: tuple[str, ...]
    sha256: str
    notice: str = ""

    def __post_init__(self) -> None:
        for split in ("test", "validation", "train"):
            images = self.split(split)
            expected, found = self.train.pixels.shape[1:], images.pixels.shape[1:]
            if found != expected:
                like = f"(channels, height, width) {tuple(expected)} as in training"
                raise refusal("image shape", f"the {split} split", like, f"{tuple(found)}", "bring all splits to one")
            if images.labels.device.type != "cpu" or not len(images):  # another device would have to be waited for
                continue
            lowest, highest = map(int, images.labels.aminmax())
            if lowest < 0 or highest >= len(self.classes):
                expected = f"0 to {len(self.classes) - 1}, as there are {len(self.classes)} classes"
                found = str(lowest if lowest < 0 else highest)
                remedy = "number labels from 0 up and name all classes"
                raise refusal("labels", f"the {split} split", expected, found, remedy)

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
    source: str | os.PathLike[str] = "auto",
    folder: str | Path | None = None,
    *,
    size: tuple[int, int] | None = None,
    download: bool = True,
    validation: int | None = None,
) -> ImageData:
    """Images of `source`, in three splits.

    source: "mnist"; "digits", 1,797 real digits that scikit-learn brings along; "auto", MNIST where it is at
        hand or can be had within 8 seconds, else the digits with a notice; or the path of a folder of IDX
        files, of a `.npz` file, or of a folder of class folders of pictures. Classes are called as the class
        folders are; elsewhere as `class_names.txt` beside the files or `class_names` in the `.npz` says, else
        by their label.
    size: (height, width) that the pictures of class folders, and they alone, are scaled to, whole, with black at
        the sides that are left. None: they are of one size.
    folder: where MNIST lies ("mnist", "auto"). None: RAM_AGENT_DATA, the user's cache, the network.
    download: whether MNIST may be fetched.
    validation: how many of the training images to set aside. None: a twelfth (5,000 of MNIST). Images without
        splits are dealt 70 / 10 / 20. All dealing is by one fixed seed and keeps the shares of the classes.
    Raises: ImageError, one line, for whatever cannot be used.
    """
    source = os.fspath(source)
    if source in SOURCES and size is not None:
        found = f"{size[0]},{size[1]} for {source}"
        raise refusal("image size", "images.size", "none but for class folders of pictures", found, "leave it out")
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
    parts, called = _read(path, size)
    return _data(_name(path), path, parts, validation, called=called)


def load_test_images(
    source: str,
    folder: str | Path | None = None,
    *,
    size: tuple[int, int] | None = None,
    trained_on: str = "",
    called: str = "",
) -> tuple[str, ImageSet, tuple[str, ...]]:
    """Name, images and classes to test a trained agent on: the test split, or all where there are no splits.

    Of images without splits that the agent was trained on, whose sha256 is `trained_on`, those that were dealt to the
    test split then: all others it knows. Where they are `called` as those were, but are others by now, all are taken,
    and an `ImageWarning` says so. `size` is that of class folders; other sources are taken as they are. Labels
    count the classes of `source`, one or more; the caller compares their names with those of the training.
    Raises: ImageError, as `load_images`.
    """
    if source in SOURCES:
        data = load_images(source, folder)
        return data.name, data.test, data.classes
    path = _existing(source)
    sets, classes = image_sets(*_read(path, size), to_learn=False)
    if "test" not in sets and "all" not in sets:
        raise _no_split("test", path, sets)
    if "all" in sets and trained_on:
        with suppress(ImageError):  # too few to be dealt, and hence never trained on
            if (dealt := _dealt(_name(path), path, sets, classes, None)).sha256 == trained_on:
                return dealt.name, dealt.test, classes
            if dealt.name == called:
                warnings.warn(
                    f"all {len(sets['all']):,} images of {called} are shown: they have the name of those that the run "
                    "was trained on and are others by now; any that it was trained on are among them, and flatter it",
                    ImageWarning,
                    stacklevel=2,
                )
    return _name(path), sets["test"] if "test" in sets else sets["all"], classes


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


def _read(path: Path, size: tuple[int, int] | None) -> tuple[dict[str, Part], ClassNames | None]:
    """The parts of a source, by split, as its files have them, and what it says of the names of its labels.

    One part "all" where there are no splits.
    """
    files, called = find_idx(path), None
    if path.is_dir() and not files:
        parts = read_picture_folder(path, size)
    elif files:
        parts, called = read_idx_folder(path, files), find_class_names(path)
    elif path.suffix.lower() == ".npz":
        parts, called = read_npz(path)
        called = called or find_class_names(path.parent)
    else:
        remedy = (
            "for IDX files or pictures give the folder that holds them (single pictures: evaluate, render --images)"
        )
        raise refusal("image source", path, "a folder or a .npz file", f"a file {path.suffix!r}", remedy)
    return ({"all": parts["train"]} if set(parts) == {"train"} else parts), called


# --- Splits ---


def _digits(validation: int | None) -> ImageData:
    count = 240 if validation is None else validation
    return _data("digits", "digits", {"all": load_digits()}, count, test=360)


def _data(
    name: str,
    file: str | Path,
    parts: dict[str, Part],
    validation: int | None,
    *,
    test: int | None = None,
    called: ClassNames | None = None,
) -> ImageData:
    """The data of `parts`. `validation` and `test` say how many images to deal, None the customary shares."""
    return _dealt(name, file, *image_sets(parts, called), validation, test=test)


def _dealt(
    name: str,
    file: str | Path,
    sets: dict[str, ImageSet],
    classes: tuple[str, ...],
    validation: int | None,
    *,
    test: int | None = None,
) -> ImageData:
    """The data of sets: what has no split of its own is dealt."""
    if "all" not in sets and not {"train", "test"} <= sets.keys():
        raise _no_split("train" if "test" in sets else "test", file, sets)
    if "validation" in sets and validation is not None:
        expected = "no number, since the set has its own validation split"
        raise refusal("validation images", file, expected, str(validation), "leave the number out")
    if "all" in sets:
        size = len(sets["all"])
        if size < 3:
            raise refusal("images", file, "3 or more, for three splits", f"{size}", "add images")
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
    if "all" in sets and len(gone := np.setdiff1d(np.arange(len(classes)), train.labels.numpy())):
        found = f"no image of {classes[gone[0]]!r} among the {len(train):,} left to train on"
        raise refusal("images", file, "some of each class once all are dealt", found, "add images of it")
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
