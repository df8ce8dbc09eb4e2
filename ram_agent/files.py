"""Writing files whole or not at all, and folders that one process at a time works in."""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write to a temporary name beside `path`, force it to the disk, rename: a reader never sees half a file.

    The folder is made where it is missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_name(path)
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(path.parent)


def partial_name(path: Path) -> Path:
    """A name beside `path` that nobody reads."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


def sync_folder(folder: Path) -> None:
    """Force the names in a folder to the disk: without, a power cut may undo a rename that has been reported done."""
    if os.name != "posix":  # elsewhere folders cannot be opened
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def remove_partials(folder: Path) -> None:
    """Remove what writers that were killed have left. Only for a folder that nobody else writes to."""
    for file in filter(is_partial, folder.glob(".*")):
        file.unlink(missing_ok=True)


def is_partial(path: Path) -> bool:
    """Whether it is what a writer that was killed has left."""
    return re.fullmatch(r"\..+\.[0-9a-f]{8}", path.name) is not None and path.is_file()


def holds_something(folder: Path) -> bool:
    """Whether there is more in a folder than a writer that was killed has left."""
    return any(not is_partial(entry) for entry in folder.iterdir())


@contextmanager
def held(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold a folder or file within the block against all who hold it likewise; it is free once this process has ended.

    `shared` holders bear each other. Raises `BlockingIOError` where somebody else holds it. Holds nothing where folders
    or the file system cannot be held (not POSIX; some network file systems).
    """
    if os.name != "posix":
        yield
        return
    opened = os.open(path, os.O_RDONLY)
    try:
        try:
            hold(opened, shared=shared)
        except BlockingIOError:
            raise BlockingIOError(f"{path}: another process is at work in it; wait for it, or end it") from None
        yield
    finally:
        os.close(opened)


def hold(opened: int, *, shared: bool = False) -> None:
    """Hold an open file or folder until all who have it open have closed it or ended, a child that got it among them.

    Raises `BlockingIOError`, and holds nothing, likewise.
    """
    if os.name != "posix":
        return
    fcntl = import_module("fcntl")
    try:
        fcntl.flock(opened, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        pass


def in_use(path: Path) -> bool:
    """Whether a process holds it alone. Two who ask at the same time do not take each other for one."""
    try:
        with held(path, shared=True):
            return False
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
