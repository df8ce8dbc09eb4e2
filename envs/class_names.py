"""What labels that are numbers are called: `class_names.txt` beside the files, or `class_names` in an `.npz`."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from envs.parts import refusal

NAMES_FILE = "class_names.txt"
_MOST_BYTES = 2**20


class ClassNames(NamedTuple):
    """Names of labels 0, 1, ... and where they stand."""

    names: tuple[str, ...]
    origin: str

    def of(self, labels: np.ndarray) -> tuple[str, ...]:
        """The names of these labels, whole numbers. Raises: ImageError where one of them has none."""
        if labels.max() >= len(self.names):
            expected = f"a name for each label, 0 to {labels.max()}"
            raise refusal("class names", self.origin, expected, f"{len(self.names)}", "add those that are missing")
        return tuple(self.names[label] for label in labels)


def find_class_names(folder: Path) -> ClassNames | None:
    """What `class_names.txt` in `folder` says, a name a line in UTF-8, that of label 0 first; None where it is not."""
    file = folder / NAMES_FILE
    if not file.is_file():
        return None
    try:
        with file.open("rb") as stream:
            text = stream.read(_MOST_BYTES).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        remedy = "write one name a line, that of label 0 first"
        raise refusal(
            "class names", file, "a readable file in UTF-8", f"{type(error).__name__} ({error})", remedy
        ) from error
    return checked([line.strip() for line in text.rstrip().splitlines()], str(file))


def checked(names: Sequence[str], origin: str) -> ClassNames:
    """Refuses names that are empty, cannot be printed, or stand for two labels."""
    for label, name in enumerate(names):
        if not name or not name.isprintable():
            raise refusal("class names", origin, "a name for each label", f"{name!r} for label {label}", "give it one")
        if (first := names.index(name)) < label:
            found = f"{name!r} for labels {first} and {label}"
            raise refusal("class names", origin, "a name of its own for each label", found, "rename one of them")
    return ClassNames(tuple(names), origin)
