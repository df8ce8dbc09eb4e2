"""Checkpoints: the last few kept, each verified; whatever moment a process dies at, one of them is whole."""

import hashlib
import os
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ram_agent import checkpoint, files
from ram_agent.checkpoint import (
    SUMS,
    CheckpointError,
    is_checkpointed,
    keep_checkpoint,
    numbered,
    read_checkpoint,
    read_newest,
    write_checkpoint,
)
from ram_agent.learner import REINFORCE
from ram_agent.run_files import CHECKPOINT
from tests.making import make_env, make_learner


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints" / "agent.pt"


def keep(path: Path, *updates: int, last: int = 3) -> None:
    for number in updates:
        keep_checkpoint(path, {"updates": number, "weights": torch.full((300,), float(number))}, last)


def names(path: Path) -> list[str]:
    return sorted(file.name for file in path.parent.iterdir())


def flip_a_bit(path: Path, at: int = 700) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 4
    with path.open("r+b") as file:  # in place: other names of the file see it, too
        file.write(content)


def refuse(line: str) -> None:
    raise AssertionError(line)


def test_the_last_ones_are_kept_and_the_newest_has_a_name_of_its_own(path: Path) -> None:
    keep(path, 1, 2, 3, 4, 5)
    assert names(path) == [SUMS, "agent-000003.pt", "agent-000004.pt", "agent-000005.pt", "agent.pt"]
    assert [read_checkpoint(file)["updates"] for file in numbered(path).values()] == [3, 4, 5]
    assert read_newest(path, refuse)["updates"] == 5
    assert path.samefile(numbered(path)[5])  # one file, two names: no more room is taken
    keep(path, 6, last=1)
    assert names(path) == [SUMS, "agent-000006.pt", "agent.pt"]


@pytest.mark.parametrize("last", range(1, 7))
def test_as_many_are_kept_as_were_asked_for_at_every_save(last: int, path: Path) -> None:
    for number in range(1, 15):
        keep(path, number, last=last)
        assert list(numbered(path)) == list(range(max(1, number + 1 - last), number + 1))


@pytest.mark.parametrize("name", ["best[1].pt", "a*b.pt", "a?.pt"])
def test_a_name_is_no_pattern(name: str, path: Path) -> None:
    path = path.with_name(name)
    keep(path, 1, 2, 3, 4, last=3)
    assert [file.name for file in numbered(path).values()] == [f"{path.stem}-00000{number}.pt" for number in (2, 3, 4)]


def test_two_agents_in_one_folder_share_its_manifest(path: Path) -> None:
    other = path.with_name("agent-2.pt")  # whose numbered ones begin as those of the first
    for number in range(1, 5):
        keep(path, number, last=2), keep(other, number, last=2)
    lines = (path.parent / SUMS).read_text().splitlines()
    listed = {file.name for each in (path, other) for file in numbered(each).values()}
    assert {line.split()[1] for line in lines} == listed
    assert len(listed) == 4
    subprocess.run(["sha256sum", "--check", "--quiet", SUMS], cwd=path.parent, check=True)


def test_sha256sum_itself_agrees_with_the_manifest(path: Path) -> None:
    keep(path, 1, 2, 3, 4)
    lines = (path.parent / SUMS).read_text().splitlines()
    assert [line.split()[1] for line in lines] == ["agent-000002.pt", "agent-000003.pt", "agent-000004.pt"]
    for line in lines:
        digest, name = line.split()
        assert hashlib.sha256((path.parent / name).read_bytes()).hexdigest() == digest
    subprocess.run(["sha256sum", "--check", "--quiet", SUMS], cwd=path.parent, check=True)


@pytest.mark.parametrize("damage", ["a bit", "cut", "emptied", "gone", "replaced"])
def test_a_damaged_newest_one_is_reported_and_the_one_before_it_read(damage: str, path: Path) -> None:
    keep(path, 1, 2, 3)
    newest = numbered(path)[3]
    if damage == "a bit":
        flip_a_bit(newest)
    elif damage == "gone":
        path.unlink(), newest.unlink()
    elif damage == "replaced":  # whole, but not what was saved
        path.unlink(), newest.unlink()
        write_checkpoint(path, {"updates": 99}), write_checkpoint(newest, {"updates": 99})
    else:
        os.truncate(newest, 0 if damage == "emptied" else 500)
    said: list[str] = []
    assert read_newest(path, said.append)["updates"] == 2
    (line,) = said
    assert str(path) in line
    assert "agent-000002.pt" in line
    assert "no such file" in line if damage == "gone" else "sha256" in line
    with pytest.raises(CheckpointError):
        read_checkpoint(path)
    flip_a_bit(numbered(path)[2])
    assert read_newest(path, said.append)["updates"] == 1
    flip_a_bit(numbered(path)[1])
    with pytest.raises(CheckpointError, match=r"agent\.pt"):
        read_newest(path, refuse)


def test_a_damaged_one_does_not_become_whole_by_saving_on(path: Path) -> None:
    keep(path, 1, 2)
    flip_a_bit(numbered(path)[2])
    keep(path, 3)
    assert read_newest(path, refuse)["updates"] == 3
    with pytest.raises(CheckpointError, match="sha256"):
        read_checkpoint(numbered(path)[2])


def test_a_bit_that_the_archive_does_not_cover_is_found_too(path: Path) -> None:
    """What the zip's own checksums miss: its padding and its directory."""
    keep(path, 1)
    length = path.stat().st_size
    for at in range(0, length, 97):
        flip_a_bit(path, at)
        with pytest.raises(CheckpointError):
            read_checkpoint(path)
        flip_a_bit(path, at)
    assert read_checkpoint(path)["updates"] == 1


def test_what_was_saved_without_keep_is_the_first_of_those_kept_later(path: Path) -> None:
    write_checkpoint(path, {"updates": 1})
    assert is_checkpointed(path)
    assert read_newest(path, refuse)["updates"] == 1
    keep(path, 2)
    assert names(path) == [SUMS, "agent-000001.pt", "agent-000002.pt", "agent.pt"]
    flip_a_bit(numbered(path)[2])
    assert read_newest(path, lambda _: None)["updates"] == 1
    for file in (path.parent / SUMS, numbered(path)[1], numbered(path)[2]):
        file.unlink()
    write_checkpoint(path, {"updates": 3})
    assert read_newest(path, refuse)["updates"] == 3


def test_other_files_beside_them_are_none_of_its_business(path: Path) -> None:
    keep(path, 1, 2)
    other = path.with_name("diagnostic.pt")
    write_checkpoint(other, {"updates": 7})
    assert read_newest(other, refuse)["updates"] == 7
    keep(path, 3, 4, 5)
    assert other.exists()


def test_without_hard_links_the_newest_is_a_copy(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", link)
    keep(path, 1, 2, 3, 4)
    assert read_newest(path, refuse)["updates"] == 4
    assert names(path) == [SUMS, "agent-000002.pt", "agent-000003.pt", "agent-000004.pt", "agent.pt"]


class Killed(BaseException):
    """SIGKILL, but for the test: nothing after it runs."""


@pytest.mark.parametrize("last", [1, 2, 3])
def test_a_kill_before_any_step_of_a_save_leaves_a_whole_checkpoint(
    last: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call to the system within a save is a place to die at; what was there before is never called damaged."""
    calls = {"place": 0, "count": 0}

    def dying(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **settings: Any) -> Any:
            calls["count"] += 1
            if calls["count"] == calls["place"]:
                raise Killed
            return original(*arguments, **settings)

        return call

    outcomes = []
    for place in range(1, 60):
        path = tmp_path / str(place) / "agent.pt"
        keep(path, 1, 2, 3, last=last)
        calls |= {"place": place, "count": 0}
        with monkeypatch.context() as patch:
            for name in ("replace", "link", "fsync"):
                patch.setattr(os, name, dying(getattr(os, name)))
            # After a kill nobody tidies up.
            patch.setattr(files.Path, "unlink", dying(files.Path.unlink))
            try:
                keep(path, 4, last=last)
                finished = True
            except Killed:
                finished = False
        outcomes.append(read_newest(path, refuse)["updates"])
        keep(path, 5, last=last)
        assert read_newest(path, refuse)["updates"] == 5
        assert not [name for name in names(path) if name.startswith(".")]
        if finished:
            break
    assert finished
    assert place > 12  # there were many places to die at
    assert outcomes == sorted(outcomes)
    assert set(outcomes) == {3, 4}


@pytest.mark.parametrize("manifest", [False, True])
def test_a_kill_in_the_very_first_save_is_no_damage(manifest: bool, path: Path) -> None:
    keep(path, 1)
    path.unlink()
    if not manifest:
        (path.parent / SUMS).unlink()
    assert is_checkpointed(path)
    assert read_newest(path, refuse)["updates"] == 1


def test_what_was_killed_leaves_no_rubbish_for_ever(path: Path) -> None:
    keep(path, 1)
    path.with_name(".agent-000002.pt.0123abcd").write_bytes(b"half")
    path.with_name(".keep").touch()
    keep(path, 2)
    assert names(path) == [".keep", SUMS, "agent-000001.pt", "agent-000002.pt", "agent.pt"]


def test_names_are_forced_to_the_disk_like_contents(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced, original = [], os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        original(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    files.write_whole(path, b"content")
    assert synced[0].startswith(str(path.parent / ".agent.pt."))
    assert synced[1:] == [str(path.parent)]


def test_a_learner_saves_restores_and_loads_the_newest_that_is_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    learner, path = make_learner(), tmp_path / CHECKPOINT
    for _ in range(3):
        learner.update()
        learner.save(path, keep=2)
    assert len(numbered(path)) == 2
    env = make_env(8, tensors=True)
    assert REINFORCE.load(path, env).updates == 3
    assert capsys.readouterr().err == ""
    flip_a_bit(path, 5000)
    assert REINFORCE.load(path, env).updates == 2
    learner.restore(path)
    assert learner.updates == 2
    assert capsys.readouterr().err.count("warning: checkpoint") == 2


def test_a_checkpoint_that_is_packed_is_refused_unread(tmp_path: Path) -> None:
    """A bomb: 300 bytes that would be 300 MB in memory."""
    path, bomb = tmp_path / "agent.pt", tmp_path / "bomb.pt"
    write_checkpoint(path, {"weights": torch.zeros(9)})
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as packed:
        for entry in whole.infolist():
            content = whole.read(entry)
            packed.writestr(entry.filename, bytes(300_000_000) if "data/0" in entry.filename else content)
    assert bomb.stat().st_size < 400_000
    with pytest.raises(CheckpointError, match=r"bomb\.pt: damaged or not a checkpoint"):
        checkpoint.read_checkpoint(bomb)
