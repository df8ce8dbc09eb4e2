"""Images that many environments of a process are over, in memory once."""

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from envs.images import SOURCES, ImageData, load_images


def shared_images(source: str | os.PathLike[str], folder: str | Path | None = None) -> ImageData:
    """`load_images`, or what it returned the last time, where the files are as they were.

    Of class folders that is told by pictures that come or go, not by one that is written over.
    """
    source = os.fspath(source)
    known = None if source in SOURCES else _state(os.path.realpath(os.path.expanduser(source)))
    return _loaded(source, str(folder) if folder else None, os.environ.get("RAM_AGENT_DATA"), known)


@lru_cache(maxsize=4)
def _loaded(source: str, folder: str | None, *depends_on: Any) -> ImageData:
    return load_images(source, folder)


def _state(path: str) -> Any:
    """When what is there was written: a file, or folders however deep and the files of the outermost."""
    if not os.path.exists(path):
        return None
    names = [path]
    for folder, _, files in os.walk(path):
        names += [os.path.join(path, name) for name in files] if folder == path else [folder]
    return tuple((name, (state := os.stat(name)).st_mtime_ns, state.st_size) for name in names)
