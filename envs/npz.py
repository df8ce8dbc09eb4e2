"""`.npz` files whose arrays' names say what they are: `images` and `labels`, or `x_train`, `y_train`, ..."""

import re
import zipfile
import zlib
from pathlib import Path

import numpy as np

from envs.class_names import ClassNames, checked
from envs.parts import SPLIT_NAMES, ImageError, Part, most_bytes, refusal

PIXELS_NAMES = {"images", "image", "x", "pixels", "data"}
LABELS_NAMES = {"labels", "label", "y", "targets", "target"}
NAMES = "class_names"


def _slot(name: str) -> tuple[str, str] | None:
    """(split, "pixels" | "labels") of an array called, say, `x_train` or `labels`; None for other names."""
    words = re.split(r"[_\-. ]+", name.lower())
    splits = [SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES]
    others = [word for word in words if word not in SPLIT_NAMES]
    if len(splits) > 1 or len(others) != 1 or others[0] not in PIXELS_NAMES | LABELS_NAMES:
        return None
    return (splits[0] if splits else "all"), ("pixels" if others[0] in PIXELS_NAMES else "labels")


def read_npz(path: Path) -> tuple[dict[str, Part], ClassNames | None]:
    """Arrays whose names say what they are, others are left; and what the labels are called, if `class_names` says so.

    Pickles are refused: they could run code.
    """
    broken = (OSError, ValueError, EOFError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            names = list(archive)
            size = sum(entry.file_size for entry in archive.zip.infolist() if _wanted(Path(entry.filename).stem))
            if size > (most := most_bytes(path)):
                raise refusal(
                    "arrays", path, f"at most {most:,} bytes", f"{size:,} once unpacked", "give a smaller set"
                )
            arrays = {name: archive[name] for name in names if _wanted(name)}
    except ImageError:
        raise
    except (*broken, TypeError) as error:  # TypeError: a bare array (.npy) under the name .npz
        found = f"{type(error).__name__} ({error})"
        remedy = "write it again with numpy.savez, pixels and labels as arrays of numbers"
        raise refusal("arrays", path, "a .npz file of arrays without pickles", found, remedy) from error
    called = _class_names(arrays.pop(NAMES), path) if NAMES in arrays else None
    slots = {_slot(name): name for name in arrays}
    splits = dict.fromkeys(slot[0] for slot in slots if slot)
    complete = splits and all((split, role) in slots for split in splits for role in ("pixels", "labels"))
    if not complete or len(slots) < len(arrays) or ("all" in splits and len(splits) > 1):
        expected = "images and labels, or the two of each split (x_train, y_train, x_test, y_test), each once"
        found = ", ".join(names) or "nothing"
        raise refusal("arrays", path, expected, found, "add what is missing, remove what is double, or rename")
    named = {slot: (arrays[name], f"{path}[{name}]") for slot, name in slots.items()}
    return {split: Part(*named[split, "pixels"], *named[split, "labels"]) for split in splits}, called


def _wanted(name: str) -> bool:
    return name == NAMES or _slot(name) is not None


def _class_names(names: np.ndarray, path: Path) -> ClassNames:
    origin = f"{path}[{NAMES}]"
    if names.dtype.kind != "U" or names.ndim != 1:
        found = f"dtype {names.dtype}, shape {names.shape}"
        raise refusal("class names", origin, "one row of text", found, "write them with numpy.array([...], str)")
    return checked(names.tolist(), origin)
