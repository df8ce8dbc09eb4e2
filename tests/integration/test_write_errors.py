"""A full disk, a read-only one, a run folder that vanishes: said once, survived or stopped in order, nothing lost."""

import errno
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from io import FileIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ram_agent.board import MetricsFile
from ram_agent.checkpoint import read_newest
from ram_agent.cli import main
from ram_agent.cli.train import NOT_WRITTEN
from ram_agent.config import Config
from ram_agent.experiment import run_experiment
from ram_agent.learner import Learner
from ram_agent.monitoring import Checkpoints
from ram_agent.run_files import CHECKPOINT
from ram_agent.stored import final_results
from ram_agent.writing import EventFile, Writing
from tests.making import make_config, make_world


def small_disk(place: Path, size: str) -> Iterator[Path]:
    """A file system of its own, in memory."""
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], capture_output=True)
    if made.returncode:
        pytest.skip(f"mount is not permitted here: {made.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    yield from small_disk(tmp_path / "disk", "8m")


def fill(disk: Path) -> None:
    """To the last byte."""
    with (disk / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def configure(on_write_error: str, controls: Sequence[str] = ()) -> Config:
    """20 updates: a row every 2, a checkpoint every 4, an evaluation with its pictures after 8, 16 and 20."""
    return make_config(
        training={"episodes": 160},
        evaluation={"every": 64, "signal": 0, "controls": list(controls)},
        run={"on_write_error": on_write_error, "tensorboard": True, "checkpoint_every": 32},
    )


def at_update(number: int, act: Callable[[], object], monkeypatch: pytest.MonkeyPatch, head: str = "sampled") -> None:
    """Of the agent that learns where to look, or of the control of that name."""
    original = Learner.update

    def update(self: Learner, on_step: Any = None) -> Any:
        facts = original(self, on_step)
        if self.updates == number and self.policy.blueprint.head == head:
            act()
        return facts

    monkeypatch.setattr(Learner, "update", update)


def train(config: Config, folder: Path, *, resume: bool = False) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    results, signalled = run_experiment(config, make_world(config), folder, resume=resume)
    assert signalled == 0
    return results


def rubbish(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if path.is_file()]


def assert_whole(agent: Path) -> None:
    """No row is lost and none torn, neither for us nor for TensorBoard, which was told first what it is of."""
    steps = list(range(16, 161, 16))
    rows = MetricsFile(agent / "metrics.csv", "rows", resume_at=1000).rows
    assert {int(row["step"]) for row in rows} >= set(steps)
    events = EventAccumulator(str(agent), size_guidance={"scalars": 0})
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss")] == steps
    assert {"config/text_summary", "images/text_summary"} <= set(events.Tags()["tensors"])


def test_a_full_disk_is_said_once_and_training_goes_on_and_saves_when_there_is_room(
    disk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = disk / "run"
    with monkeypatch.context() as patch:
        at_update(6, lambda: fill(disk), patch)
        at_update(15, (disk / "filler").unlink, patch)
        results = train(configure("continue"), run)
    said = capsys.readouterr().err
    assert said.count("No space left on device") == 1
    assert said.count("training goes on") == 1
    assert said.count("can be written again") == 1
    assert "test_error" in results
    assert "unwritten" not in results
    assert read_newest(run / CHECKPOINT, pytest.fail)["learner"]["updates"] == 20
    assert rubbish(run) == []
    assert_whole(run)


def test_a_disk_that_stays_full_costs_the_files_but_not_the_earlier_checkpoint_nor_the_numbers(
    disk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = disk / "run"
    with monkeypatch.context() as patch:
        at_update(6, lambda: fill(disk), patch)
        results = train(configure("continue"), run)
    assert "test_error" in results
    assert "No space left" in results["unwritten"]
    assert capsys.readouterr().err.count("training goes on") == 1
    assert read_newest(run / CHECKPOINT, pytest.fail)["learner"]["updates"] == 4
    assert rubbish(run) == []
    (disk / "filler").unlink()
    again = train(configure("continue"), run, resume=True)
    assert again["test_error"] == results["test_error"]
    assert "unwritten" not in again


def test_a_run_whose_last_checkpoint_is_not_on_the_disk_is_not_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The weights that were measured are nowhere; those of the checkpoint before are others."""
    run, aside = tmp_path / "run", tmp_path / "aside"

    def obstruct() -> None:
        shutil.move(run / "checkpoints", aside)
        (run / "checkpoints").touch()  # a file, where a folder is wanted

    with monkeypatch.context() as patch:
        at_update(6, obstruct, patch)
        results = train(configure("continue"), run)
    assert "cannot write a checkpoint" in results["unwritten"]
    assert json.loads((run / "results.json").read_text())["unwritten"] == results["unwritten"]
    assert final_results(run) is None
    (run / "checkpoints").unlink()
    shutil.move(aside, run / "checkpoints")
    again = train(configure("continue"), run, resume=True)
    assert again["test_error"] == results["test_error"]
    assert final_results(run) is not None
    assert read_newest(run / CHECKPOINT, pytest.fail)["learner"]["updates"] == 20


def test_a_checkpoint_that_could_not_be_written_is_written_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, saved = tmp_path / "run", Checkpoints._save
    refused: list[int] = []

    def save(self: Checkpoints, path: Path, **more: Any) -> None:
        if self.model.updates == 20 and not refused:  # the last of the training, once
            refused.append(self.model.updates)
            raise OSError(errno.ENOSPC, "No space left on device")
        saved(self, path, **more)

    monkeypatch.setattr(Checkpoints, "_save", save)
    results = train(configure("continue"), run)
    assert refused == [20]
    assert "unwritten" not in results
    assert read_newest(run / CHECKPOINT, pytest.fail)["learner"]["updates"] == 20


def test_pictures_that_cannot_be_written_leave_a_finished_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        at_update(10, (run / "figures").touch, patch)
        results = train(configure("continue"), run)
    assert "cannot write the figures" in results["unwritten"]
    assert "`ram-agent render` draws" in capsys.readouterr().err
    assert (final_results(run) or {})["test_error"] == results["test_error"]


def test_a_full_disk_stops_a_run_in_order_that_was_told_so(
    disk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, whole = disk / "run", disk / "whole"
    expected = train(configure("stop"), whole)
    with monkeypatch.context() as patch:
        at_update(6, lambda: fill(disk), patch)
        results = train(configure("stop"), run)
    assert results["interrupted"]
    assert "test_error" not in results
    assert "No space left" in results["unwritten"]
    assert results["episodes"] < 80  # at the next thing to write
    assert capsys.readouterr().err.count("No space left") <= 2  # of training; of results.json
    assert read_newest(run / CHECKPOINT, pytest.fail)["learner"]["updates"] == 4
    (disk / "filler").unlink()
    assert train(configure("stop"), run, resume=True)["test_error"] == expected["test_error"]


def test_a_disk_that_turns_read_only_is_survived(
    disk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = disk / "run"

    def remount(how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", disk], check=True)

    with monkeypatch.context() as patch:
        at_update(6, lambda: remount("ro"), patch)
        at_update(15, lambda: remount("rw"), patch)
        train(configure("continue"), run)
    said = capsys.readouterr().err
    assert said.count("Read-only file system") == 1
    assert read_newest(run / CHECKPOINT, pytest.fail)["learner"]["updates"] == 20


@pytest.mark.parametrize("controls", [[], ["random"]], ids=["alone", "with a control"])
def test_a_run_folder_that_vanishes_is_not_made_anew_in_part(
    controls: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "moved"
    config = configure("continue", controls)
    with monkeypatch.context() as patch:
        at_update(6, lambda: shutil.move(run, elsewhere), patch)
        results = train(config, run)
    assert "vanished" in results["unwritten"]
    # In each training; and at the end, when it matters.
    assert capsys.readouterr().err.count("vanished") == 2 + len(controls)
    assert all("test_error" in results["controls"][control] for control in controls)
    assert not run.exists()
    assert read_newest(elsewhere / CHECKPOINT, pytest.fail)["learner"]["updates"] == 4
    again = train(config, elsewhere, resume=True)
    assert again["test_error"] == results["test_error"]


def test_a_disk_that_is_full_when_a_control_begins_costs_neither_the_control_nor_the_test_errors(
    disk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = disk / "run"
    with monkeypatch.context() as patch:
        at_update(20, lambda: fill(disk), patch)
        results = train(configure("continue", ["random"]), run)
    assert "test_error" in results["controls"]["random"]
    assert "No space left" in results["unwritten"]
    assert "Traceback" not in capsys.readouterr().err
    (disk / "filler").unlink()
    again = train(configure("continue", ["random"]), run, resume=True)
    assert "unwritten" not in again
    assert again["test_error"] == results["test_error"]
    assert again["controls"]["random"]["test_error"] == results["controls"]["random"]["test_error"]


def test_a_control_that_began_on_a_full_disk_has_all_its_rows_when_there_is_room(
    disk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = disk / "run"
    with monkeypatch.context() as patch:
        at_update(20, lambda: fill(disk), patch)
        at_update(9, (disk / "filler").unlink, patch, "random")
        results = train(configure("continue", ["random"]), run)
    assert "unwritten" not in results
    control = run / "controls" / "random"
    assert_whole(control)
    assert read_newest(control / CHECKPOINT, pytest.fail)["learner"]["updates"] == 20


def test_the_command_line_ends_with_a_status_of_its_own_and_shows_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    at_update(10, lambda: shutil.rmtree(run), monkeypatch)
    status = main(
        ["train", "smoke", "--run.folder", str(run), "--training.episodes", "1000", "--run.threads", "1",
         "--run.progress", "false", "--run.tensorboard", "false", "--evaluation.controls", "[]"]
    )  # fmt: skip
    out, err = capsys.readouterr()
    assert status == NOT_WRITTEN == 4
    assert "learned, mean location" in out
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("error: cannot write")


def test_a_run_that_cannot_begin_says_so_in_one_line(disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (disk / "run").mkdir()
    fill(disk)
    status = main(["train", "smoke", "--run.folder", str(disk / "run"), "--run.threads", "1"])
    err = capsys.readouterr().err.strip().splitlines()
    assert status == 2
    assert len(err) == 1
    assert "No space left on device" in err[0]


# -------------------------------------------------------------------- the parts


def test_a_torn_last_row_of_metrics_is_not_read(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.csv", "digits")
    for step in (10, 20, 30):
        file.write({"a": step, "b": step / 7}, {}, step)
    whole = file.path.read_bytes()
    for cut in range(1, len(whole)):
        file.path.write_bytes(whole[:-cut])
        rows = MetricsFile(file.path, "digits", resume_at=100).rows
        assert all(float(row["a"]) == int(row["step"]) for row in rows)
        assert all(float(row["b"]) == int(row["step"]) / 7 for row in rows)
        assert len(rows) >= whole[:-cut].count(b"\n") - 1


def test_a_device_that_is_always_full_is_no_reason_to_end(tmp_path: Path) -> None:
    """/dev/full: every write to it fails as on a full disk."""
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    said: list[str] = []
    writing = Writing(tmp_path, say=said.append)

    def write() -> None:
        with open("/dev/full", "wb") as file:
            file.write(b"content")

    for _ in range(3):
        writing.attempt("a file", write)
    assert len(said) == 1
    assert "No space left on device" in said[0]
    writing.attempt("a file", lambda: None)
    assert said[1:] == [f"{tmp_path} can be written again"]


def test_what_is_no_trouble_of_the_disk_is_not_hushed_up(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        Writing(tmp_path).attempt("a file", lambda: 1 / 0)


def test_events_are_whole_though_two_threads_flush_them(tmp_path: Path) -> None:
    """TensorBoard's thread flushes every two minutes, the training after each row: one may come in the other's way."""
    (path := tmp_path / "events").write_bytes(b"")
    events, others = EventFile(path, 0), [threading.Thread(target=lambda: events.flush())]

    class Met(FileIO):
        """Where it is cut to the length that counts, the other thread comes."""

        def truncate(self, size: int | None = None) -> int:
            if others:
                (other := others.pop()).start()
                other.join(timeout=0.2)
            return super().truncate(size)

    events.path = SimpleNamespace(open=lambda *_, **__: Met(path, "r+"))  # type: ignore[assignment]
    for record in (b"one", b"two", b"three"):
        events.write(record)
        events.flush()
    events.close()
    assert path.read_bytes() == b"onetwothree"


def test_events_that_a_disk_refused_are_offered_again_from_a_whole_record_on(disk: Path) -> None:
    path = disk / "events"
    path.write_bytes(b"head")
    events = EventFile(path, 4)
    events.write(b"one")
    events.flush()
    fill(disk)
    events.write(b"x" * 9000)
    events.flush()
    assert events.error
    (disk / "filler").unlink()
    events.write(b"two")
    events.close()
    assert events.error is None
    assert path.read_bytes() == b"headone" + b"x" * 9000 + b"two"


def test_pictures_that_cannot_be_drawn_cost_a_run_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any) -> None:
        raise ValueError("Expected end of text")

    monkeypatch.setattr("ram_agent.experiment.error_by_glimpse", broken)
    results = train(configure("continue"), tmp_path / "run")
    assert json.loads((tmp_path / "run" / "results.json").read_text())["test_error"] == results["test_error"]
    assert "the figures could not be drawn (ValueError: Expected end of text)" in capsys.readouterr().err
