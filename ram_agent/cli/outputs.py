"""Where a command writes: what cannot be written is better known before the work than after it."""

from pathlib import Path
from tempfile import TemporaryFile

from ram_agent.config import ConfigError


def check_folder(option: str, folder: Path) -> None:
    """Raise `ConfigError` where a folder cannot be made or written in, by the name of the option that asked for it.

    Makes nothing: whatever fails later leaves no empty folder behind.
    """
    there = None
    try:
        there = _nearest(folder)
        if there == folder and not folder.is_dir():
            raise ConfigError(f"{option}: {folder} is a file, expected a folder; choose another")
        with TemporaryFile(dir=there):  # permissions do not tell: root has them all, on a read-only disk too
            pass
    except OSError as error:
        what = "write in" if there == folder else "make"
        reason = error.strerror or error
        raise ConfigError(f"{option}: cannot {what} {folder}: {reason}; choose a folder that can be written") from None


def check_file(option: str, name: str, suffix: str = "") -> None:
    """The same of a file, whose folder may be missing: writing makes it. With a `suffix`, no other can be asked for."""
    file = Path(name)
    if file.is_dir():
        raise ConfigError(f"{option}: {name} is a folder, expected a file; name one in it")
    if suffix and file.suffix.lower() != suffix:
        raise ConfigError(f"{option}: got {name}, expected a name that ends in {suffix}: {file.with_suffix(suffix)}")
    check_folder(option, file.parent)


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest above it that there is; a file, where one is in the way."""
    for each in (folder, *folder.parents):
        try:
            each.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        return each
    return folder
