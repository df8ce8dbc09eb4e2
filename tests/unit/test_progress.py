"""What a long work says: a terminal that is gone, or a log on a full disk, is no end of it."""

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ram_agent.progress import ProgressBar, say, tell, warn

ROOT = Path(__file__).parents[2]


class Refusing(io.StringIO):
    """A stream that takes nothing any more."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error


GONE, FULL = OSError(errno.EIO, "Input/output error"), OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("error", [GONE, FULL], ids=["closed", "full"])
def test_what_cannot_be_said_raises_nothing(error: OSError, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Refusing(error))
    monkeypatch.setattr(sys, "stdout", Refusing(error))
    with ProgressBar(1000, 0, True, "training") as bar:
        bar._bar.mininterval = 0
        for _ in range(10):
            bar.show(error=50.0, reward=0.5)
            bar.advance(100)
        tell("a line")
        warn("a line")
        say("a line")
    assert bar._bar.n == 1000


def test_a_reader_that_has_had_enough_is_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Refusing(BrokenPipeError()))
    with pytest.raises(BrokenPipeError):
        say("a line")


def test_a_line_takes_the_place_of_the_bar_and_the_bar_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stderr", shown)
    with ProgressBar(1000, 0, True, "training"):
        tell("a line")
    before, _, after = shown.getvalue().partition("a line\n")
    assert before.startswith("\rtraining:")
    assert before.endswith("\r")
    assert after.startswith("\rtraining:")


@pytest.mark.parametrize(("speak", "status"), [("print", 2), ("say", 0)])
def test_output_that_cannot_be_written_is_told_but_no_end_of_a_long_work(speak: str, status: int) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    code = f"""if True:
        from ram_agent import cli
        from ram_agent.progress import say
        cli.COMMANDS["bench"] = cli.COMMANDS["bench"][0], lambda given: lambda: {speak}("a table") or 0
        raise SystemExit(cli.main(["bench"]))
    """
    with open("/dev/full", "wb") as full:
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == status
    assert done.stderr.count("\n") == done.stderr.count("No space left on device") == (status > 0)
