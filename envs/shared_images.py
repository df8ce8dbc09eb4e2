"""Images that many environments of a process are over, in memory once."""

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from envs.class_names import NAMES_FILE
from envs.images import SOURCES, ImageData, load_images


def shared_images(source: str | os.PathLike[str], folder: str | Path | None = None) -> ImageData:
    """`load_images`, or what it returned the last time, where the files are as they were.

    Of class folders that is told by pictures that come or go, not by one that is written over. Where `auto` has fallen
    back to the digits it stays with them: each of many environments would otherwise wait for the network anew.
    """
    source = os.fspath(source)
    known = None if source in SOURCES else _state(os.path.realpath(os.path.expanduser(source)))
    return _loaded(source, str(folder) if folder else None, os.environ.get("RAM_AGENT_DATA"), known)


@lru_cache(maxsize=4)
def _loaded(source: str, folder: str | None, *depends_on: Any) -> ImageData:
    return load_images(source, folder)


def _state(path: str) -> Any:
    """When what is there was written: a file and the names of classes beside it, or a folder, what lies in it, and the
    folders in these: those of classes are no deeper.
    """
    if not os.path.exists(path):
        return None
    if os.path.isfile(path):
        return tuple(map(_written, (path, os.path.join(os.path.dirname(path), NAMES_FILE))))
    within = _entries(path)
    deeper = [entry for name in within if os.path.isdir(name) for entry in _entries(name) if os.path.isdir(entry)]
    return tuple(map(_written, (path, *within, *deeper)))


def _entries(folder: str) -> list[str]:
    return sorted(os.path.join(folder, name) for name in os.listdir(folder))


def _written(name: str) -> tuple[str, int, int]:
    """When, and how large; nothing of a file that is not there, or a link to none."""
    try:
        state = os.stat(name)
    except OSError:
        return name, 0, 0
    return name, state.st_mtime_ns, state.st_size
