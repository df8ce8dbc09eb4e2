"""What to type next: to go on with a run, to see it in TensorBoard."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PAGE = "http://localhost:6006/#custom_scalars"
"""TensorBoard's own port, and the tab whose layout every run writes."""


def as_typed(words: Sequence[str]) -> str:
    """A command as a shell takes it; that of Windows knows no single quotes."""
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def train_command(*arguments: object) -> str:
    """The command that trains, as this one was typed: `train.py` is in a checkout alone."""
    typed = ["python", sys.argv[0]] if Path(sys.argv[0]).name == "train.py" else ["ram-agent", "train"]
    return as_typed([*typed, *map(str, arguments)])


def watch_command(folder: Path) -> str:
    """The command as it must be typed where this one was: `tensorboard` need not be on the PATH."""
    return as_typed([*_tensorboard(), "--logdir", str(folder)])


def _tensorboard() -> list[str]:
    beside = Path(sys.executable).with_name("tensorboard.exe" if os.name == "nt" else "tensorboard")
    found = shutil.which("tensorboard")
    if found and Path(found).resolve() == beside.resolve():
        return ["tensorboard"]
    if not beside.is_file():  # no script of this Python's: its module does the same
        return [sys.executable, "-m", "tensorboard.main"]
    near = os.path.relpath(beside)
    return [str(beside) if near.startswith("..") else near]
