"""What a run says is to be typed to see it in TensorBoard."""

import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ram_agent.cli import watch
from ram_agent.cli.watch import as_typed, watch_command

RUN = Path("runs") / "default"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an environment that is not on the PATH, in the working directory."""
    folder = tmp_path / ".venv" / "bin"
    folder.mkdir(parents=True)
    (folder / "tensorboard").touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setenv("PATH", "")
    monkeypatch.chdir(tmp_path)
    return folder


def test_what_is_on_the_path_is_called_by_its_name(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(programs))
    assert watch_command(RUN) == "tensorboard --logdir runs/default"


def test_what_is_not_on_the_path_is_called_where_it_lies(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert watch_command(RUN) == ".venv/bin/tensorboard --logdir runs/default"
    (programs.parents[1] / "elsewhere").mkdir()
    monkeypatch.chdir(programs.parents[1] / "elsewhere")
    assert watch_command(RUN) == f"{programs}/tensorboard --logdir runs/default"


def test_another_programs_tensorboard_on_the_path_is_not_taken(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = programs.parents[1] / "other"
    other.mkdir()
    (other / "tensorboard").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(other))
    assert watch_command(RUN) == ".venv/bin/tensorboard --logdir runs/default"


def test_a_python_without_the_script_runs_the_module(programs: Path) -> None:
    (programs / "tensorboard").unlink()
    assert watch_command(RUN) == f"{programs}/python -m tensorboard.main --logdir runs/default"


@pytest.mark.parametrize("name", ["two words", "it's", "$HOME", "a&b"])
def test_a_shell_reads_the_folder_as_it_is_called(name: str, programs: Path) -> None:
    assert shlex.split(watch_command(Path("runs") / name))[-1] == f"runs/{name}"


def test_the_shell_of_windows_gets_double_quotes_and_none_for_a_backslash(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["ram-agent", "train", "--resume", "runs\\default", "two words"]
    assert as_typed(words) == "ram-agent train --resume 'runs\\default' 'two words'"
    monkeypatch.setattr(watch, "os", SimpleNamespace(name="nt"))
    assert as_typed(words) == 'ram-agent train --resume runs\\default "two words"'
