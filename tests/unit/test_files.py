"""Folders that one process at a time works in."""

import subprocess
import sys
from pathlib import Path

import pytest

from ram_agent.files import held, in_use

HOLDER = """
import pathlib, sys
from ram_agent.files import held
with held(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    input()
"""


def test_a_folder_is_held_once_and_free_after(tmp_path: Path) -> None:
    assert not in_use(tmp_path)
    with held(tmp_path):
        assert in_use(tmp_path)
        with pytest.raises(BlockingIOError, match="another process is at work in it; wait for it, or end it"):
            held(tmp_path).__enter__()
        assert list(tmp_path.iterdir()) == []  # nothing is left for a user to wonder at
    with held(tmp_path, shared=True):
        assert not in_use(tmp_path)  # who only asks does not keep another from asking
    with pytest.raises(ZeroDivisionError), held(tmp_path):
        raise ZeroDivisionError
    with held(tmp_path):
        pass
    assert not in_use(tmp_path / "missing")


def test_a_process_that_is_killed_lets_go(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert in_use(tmp_path)
        process.kill()
        process.wait()
        assert not in_use(tmp_path)
