"""What is said of the images where they are not what was hoped for."""

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from envs.images import ImageData
from envs.parts import ImageWarning
from ram_agent.progress import warn
from ram_agent.words import count

SPLITS = {"train": "training", "validation": "validation", "test": "testing"}
"""What each is for."""
NAMED = 5
"""Classes that a warning names."""


@contextmanager
def plainly() -> Iterator[None]:
    """Within the block, what is warned of images is one line, without the place in the code."""

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, ImageWarning):
            warn(str(message))
        else:
            otherwise(message, category, *place, **more)

    otherwise, warnings.showwarning = warnings.showwarning, show
    try:
        yield
    finally:
        warnings.showwarning = otherwise


def unmeasured(images: ImageData, classes: Sequence[str], splits: Sequence[str] = ("test", "validation")) -> str:
    """A line about those of `classes` that have no image in one of `splits`; nothing where all have."""
    counts = {split: images.split(split).labels.bincount(minlength=len(images.classes)).tolist() for split in SPLITS}
    told = []
    for label, name in enumerate(images.classes):
        none = [f"none for {SPLITS[split]}" for split in splits if not counts[split][label]]
        if none and name in classes:
            some = sum(each[label] for each in counts.values())
            there = [count(some, "image")] if some else []
            told.append(f"class {name}: {', '.join(there + none)}")
    if not told:
        return ""
    more = f"; {len(told) - NAMED:,} more classes likewise" if len(told) > NAMED else ""
    return f"{'; '.join(told[:NAMED])}{more}; errors there tell nothing of it: add pictures, or give splits of your own"


def loud(notice: str) -> None:
    """One loud line, and the reasons quietly below it."""
    loud, _, reasons = notice.partition(" (")
    line = "!" * (len(loud) + 6)
    print(f"{line}\n!! {loud} !!\n{line}", file=sys.stderr)
    if reasons:
        print(reasons.removesuffix(")"), file=sys.stderr, flush=True)
