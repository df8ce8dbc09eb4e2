"""Checkpoints: written whole or not at all, read without running anybody's code."""

import io
import zipfile
from pathlib import Path
from typing import Any

import torch

from ram_agent.files import write_whole

FORMAT = 1
"""Version of the file's layout."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be read: the message names the file and what is wrong with it."""


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values to one file."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **content}, buffer)
    write_whole(path, buffer.getvalue())


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `write_checkpoint` wrote: tensors and plain values only, no pickled code. Raises `CheckpointError`."""
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load never looks at the checksums that torch.save writes
            if damaged := archive.testzip():
                raise zipfile.BadZipFile(damaged)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"checkpoint {path}: no such file") from None
    except Exception as error:  # a damaged archive or pickle can raise nearly anything
        raise CheckpointError(
            f"checkpoint {path}: damaged or not a checkpoint of ram-agent ({type(error).__name__})"
        ) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(f"checkpoint {path}: expected format {FORMAT}, found {found!r}")
    return content
