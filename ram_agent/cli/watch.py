"""What to type to see a run in TensorBoard."""

import os
import shlex
import shutil
import sys
from pathlib import Path

PAGE = "http://localhost:6006/#custom_scalars"
"""TensorBoard's own port, and the tab whose layout every run writes."""


def watch_command(folder: Path) -> str:
    """The command as it must be typed where this one was: `tensorboard` need not be on the PATH."""
    return shlex.join([*_tensorboard(), "--logdir", str(folder)])


def _tensorboard() -> list[str]:
    beside = Path(sys.executable).parent / "tensorboard"
    found = shutil.which("tensorboard")
    if found and Path(found).resolve() == beside.resolve():
        return ["tensorboard"]
    if not beside.is_file():  # no script of this Python's: its module does the same
        return [sys.executable, "-m", "tensorboard.main"]
    near = os.path.relpath(beside)
    return [str(beside) if near.startswith("..") else near]
