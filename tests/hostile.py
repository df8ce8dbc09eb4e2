"""What a stranger may hand over, and how it is to be met: in one line, with nothing of it run."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ram_agent.cli import main

Make = Callable[[Path], list[str]]
"""Makes the damage in a folder; returns what to type."""


class Payload:
    """Leaves a trace where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = str(trace)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.trace,)


def call(folder: Path) -> str:
    """YAML that makes a folder `trace`, where a reader lets it."""
    return f"!!python/object/apply:os.mkdir [{folder / 'trace'}]"


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str], begun: bool = False) -> str:
    """The one line; where the command had `begun`, it has said which folder it is at."""
    capsys.readouterr()
    status = main(arguments)
    out, err = capsys.readouterr()
    assert status == 2
    assert begun or out == ""
    (line,) = err.strip().splitlines()
    assert line.startswith("ram-agent: error: ")
    assert len(line) < 1500
    return line
