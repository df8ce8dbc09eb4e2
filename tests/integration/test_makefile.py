"""What make would do, as it prints it."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def make(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["make", "--dry-run", *words], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("venv", ["/tmp/my venv", ""])
def test_an_environment_that_make_cannot_name_is_refused_in_one_line(venv: str) -> None:
    done = make("bench", f"VENV={venv}")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"VENV: expected a path without spaces, which make takes for several, got '{venv}'" in line


@pytest.mark.parametrize(
    ("target", "asked"),
    [("bench", ".[bench]"), ("docs", ".[docs]"), ("lint", ".[dev]"), ("train", ".")],
)
def test_a_target_installs_what_it_needs_into_a_new_environment(target: str, asked: str, tmp_path: Path) -> None:
    done = make(target, f"VENV={tmp_path / 'venv'}", "TORCH=torch==2.13.0")
    assert done.returncode == 0, done.stderr
    pips = [line for line in done.stdout.splitlines() if " -m pip install " in line]
    assert [pip.split()[-1] for pip in pips] == ["torch==2.13.0", f"'{asked}'"]


def test_an_environment_without_the_extra_gets_it_and_one_with_it_is_left_alone(tmp_path: Path) -> None:
    stamps = [tmp_path / f".{name}" for name in ("created", "installed")]
    for stamp in stamps:
        stamp.touch()
    assert " -m pip install " in make("bench", f"VENV={tmp_path}").stdout
    (tmp_path / ".installed-bench").touch()
    assert " -m pip install " not in make("bench", f"VENV={tmp_path}").stdout
