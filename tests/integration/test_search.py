"""A search as a user types it: tiny trainings on the embedded digits, stopped and taken up, never near the test set."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from ram_agent import threads
from ram_agent.board import whole_rows
from ram_agent.cli import main
from ram_agent.cli.world import ConfiguredWorld
from ram_agent.config import Config, load_config
from ram_agent.evaluation import Evaluation
from ram_agent.experiment import run_experiment
from ram_agent.monitoring import Best, Validation
from ram_agent.search import STOPPING, Search, Unseen
from ram_agent.space import read_space
from tests.making import make_config, make_world, torch_as_it_was

optuna = pytest.importorskip("optuna", reason="Optuna is an extra: pip install -e '.[search]'")

ROOT = Path(__file__).parents[2]
SPACE = {"training.learning_rate": {"log": ["1e-4", "3e-2"]}, "training.batch": {"choice": [20, 40]}}
FEW = {"training.episodes": "400", "evaluation.every": "200", "run.tensorboard": "false", "run.progress": "false"}


def write(tmp_path: Path, space: Any = SPACE) -> Path:
    path = tmp_path / "space.yaml"
    path.write_text(yaml.safe_dump(space))
    return path


def typed(tmp_path: Path, trials: int, *more: str) -> list[str]:
    few = [part for name, value in (FEW | {"run.threads": "1"}).items() for part in (f"--{name}", value)]
    space = tmp_path / "space.yaml"
    command = ["search", "smoke", "--space", str(space if space.exists() else write(tmp_path)), *few]
    return [*command, "--trials", str(trials), "--out", str(tmp_path / "out"), *more]


def search_of(tmp_path: Path, space: Any = SPACE, *, said: list[str] | None = None, **sections: Any) -> Search:
    """Over small images, in this process."""
    config = make_config(**sections)
    say = (said if said is not None else []).append
    return Search(config, read_space(write(tmp_path, space)), make_world, tmp_path / "out", say)


def trials_of(search: Search) -> list[tuple[Any, float | None]]:
    """Settings and value of every trial that ended."""
    return [(trial.params, trial.value) for trial in search._ended()]


def test_the_best_settings_are_written_as_a_config_that_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(typed(tmp_path, 3)) == 0
    out = capsys.readouterr().out
    assert [f"trial {number} ({number + 1} of 3)" in out for number in range(3)] == [True] * 3
    best = load_config(tmp_path / "out" / "best.yaml")
    assert best.name == "smoke_searched"
    assert best.training.batch in (20, 40)
    assert 1e-4 <= best.training.learning_rate <= 3e-2
    assert best.evaluation.controls == load_config(ROOT / "configs" / "smoke.yaml").evaluation.controls
    assert f"ram-agent train {tmp_path / 'out' / 'best.yaml'}" in out
    assert "% on validation images of digits" in (tmp_path / "out" / "best.yaml").read_text()
    assert not list((tmp_path / "out").rglob("results.json"))


def test_a_batch_larger_than_the_training_is_no_trial(tmp_path: Path) -> None:
    said: list[str] = []
    search = search_of(tmp_path, {"training.batch": {"choice": [5_000]}}, said=said)
    search.run(1)
    assert trials_of(search) == [({"training.batch": 5_000}, None)]
    assert "refused: training.batch: got 5,000 images an update" in said[-1]


def test_a_search_never_builds_an_environment_over_the_test_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits: set[str] = set()
    environment = ConfiguredWorld.environment

    def noted(self: ConfiguredWorld, split: str, lanes: int) -> Any:
        splits.add(split)
        return environment(self, split, lanes)

    monkeypatch.setattr(ConfiguredWorld, "environment", noted)
    assert search_of(tmp_path).run(2) == 0
    assert splits == {"train", "validation"}
    unseen = Unseen(make_world(make_config()))
    for ask in (lambda: unseen.environment("test", 1), lambda: unseen.images_in("test")):
        with pytest.raises(PermissionError, match="never sees the test set"):
            ask()


def test_a_trial_is_judged_by_the_least_of_its_validation_errors_and_the_least_of_all_is_written(
    tmp_path: Path,
) -> None:
    """Errors as they stand in the trials' own files; every trial has settings of its own."""
    space = {"training.learning_rate": {"log": [1e-3, 1e-1]}}
    training = {"episodes": 160, "learning_rate_schedule": "constant"}
    search = search_of(tmp_path, space, training=training, evaluation={"every": 16})
    assert search.run(5) == 0
    ended = search.study.trials
    assert len({trial.params["training.learning_rate"] for trial in ended}) == 5
    complete = [trial for trial in ended if trial.state.name == "COMPLETE"]
    curves = []
    for trial in complete:
        rows = whole_rows(search.out / f"trial{trial.number}" / "metrics.csv")
        curves.append([float(row["eval/error"]) for row in rows if row["eval/error"]])
        assert trial.value == pytest.approx(min(curves[-1]))
    assert any(curve[-1] > min(curve) for curve in curves), "the last error is to be told from the least"
    least = min(complete, key=lambda trial: trial.value)
    assert least.value < max(trial.value for trial in complete), "the best trial is to be told from the worst"
    written = load_config(search.out / "best.yaml").training.learning_rate
    assert written in {trial.params["training.learning_rate"] for trial in complete if trial.value == least.value}


def test_the_same_command_goes_on_and_ends_as_if_it_had_never_been_stopped(tmp_path: Path) -> None:
    for folder in ("whole", "parts"):
        (tmp_path / folder).mkdir()
    whole = search_of(tmp_path / "whole")
    assert whole.run(4) == 0
    assert search_of(tmp_path / "parts").run(2) == 0
    killed = search_of(tmp_path / "parts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(killed, "_train", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            killed.run(4)
    again = search_of(tmp_path / "parts")
    assert again.run(4) == 0
    assert trials_of(again) == trials_of(whole)
    assert (tmp_path / "parts" / "out" / "best.yaml").read_text().partition("\n")[2] == (
        tmp_path / "whole" / "out" / "best.yaml"
    ).read_text().partition("\n")[2]
    assert again.run(4) == 0  # nothing is left to do
    assert len(trials_of(again)) == 4


def test_a_second_ctrl_c_ends_at_once_and_is_no_kill(tmp_path: Path) -> None:
    search = search_of(tmp_path)

    def twice(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "_train", twice)
        for _ in range(4):
            with pytest.raises(KeyboardInterrupt):
                search.run(1)
    assert search_of(tmp_path).run(1) == 0
    assert [value is None for _, value in trials_of(search)] == [False]


def test_what_is_searched_is_not_told_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(typed(tmp_path, 1, "--training.learning_rate", "0.5")) == 2
    told = capsys.readouterr().err
    assert f"error: --training.learning_rate: {tmp_path / 'space.yaml'} searches it; leave one of the two out" in told


def test_settings_at_which_a_search_is_killed_again_and_again_are_given_up(tmp_path: Path) -> None:
    """As by the kernel, for memory: what kills it is always the first trial."""
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    first = search_of(tmp_path / "whole")
    assert first.run(1) == 0
    ((fatal, _),) = trials_of(first)
    said: list[str] = []

    def dies(search: Search) -> None:
        train = search._train

        def deadly(learner: Any, config: Config, world: Any, folder: Path, trial: Any) -> Any:
            if trial.params == fatal:
                search._again = lambda *_: None  # type: ignore[method-assign]  # the kernel leaves no word
                raise KeyboardInterrupt
            return train(learner, config, world, folder, trial)

        search._train = deadly  # type: ignore[method-assign]
        search.run(2)

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            dies(search_of(tmp_path / "parts", said=said))
    dies(parts := search_of(tmp_path / "parts", said=said))
    assert [(params == fatal, value is None) for params, value in trials_of(parts)] == [(True, True), (False, False)]
    assert len([line for line in said if "given up: the search was killed at it 3 times" in line]) == 1
    assert "killed at it 3 times" in parts.last_words


def test_settings_that_were_trained_since_or_met_an_error_that_was_told_are_not_given_up(tmp_path: Path) -> None:
    """The space has one point: all trials have the same settings."""
    space = {"training.batch": {"choice": [20]}}

    def ends(error: BaseException, *, told: bool, trials: int) -> None:
        search = search_of(tmp_path, space)

        def fails(*_: Any) -> None:
            if not told:
                search._again = lambda *_: None  # type: ignore[method-assign]
            raise error

        search._train = fails  # type: ignore[method-assign]
        with pytest.raises(type(error)):
            search.run(trials)

    for trials in (1, 2, 3):
        for _ in range(2):
            ends(KeyboardInterrupt(), told=False, trials=trials)
        for _ in range(3):
            ends(OSError(28, "No space left on device"), told=True, trials=trials)
        search = search_of(tmp_path, space)
        assert search.run(trials) == 0
        assert [value is None for _, value in trials_of(search)] == [False] * trials


@pytest.mark.parametrize("space", [SPACE, {"training.precision": {"choice": ["fastest"]}}], ids=["set", "searched"])
def test_threads_and_precision_are_measured_once_for_all_trials_and_for_a_search_that_goes_on(
    space: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At first two threads and float32 are the faster ones, and ever after one thread and bfloat16."""
    products: list[int] = []
    halves: list[torch.dtype] = []

    def by_threads(number: int) -> float:
        products.append(number)
        return -number if len(products) <= 2 else number

    def by_precision(precision: torch.dtype) -> float:
        halves.append(precision)
        return 1.0 if precision == torch.float32 else 2.0 if len(halves) <= 2 else 0.1

    trained: list[tuple[int, str]] = []
    monkeypatch.setattr(threads, "AVAILABLE", 2)
    monkeypatch.setattr(threads, "_product_seconds", by_threads)
    monkeypatch.setattr("ram_agent.precision.product_seconds", by_precision)
    monkeypatch.setattr(
        "ram_agent.search.tune_torch",
        lambda config: trained.append((config.run.threads, config.training.precision)),
    )
    left_open = {"run": {"threads": 0}, "training": {"precision": "fastest"}}
    with torch_as_it_was():
        assert search_of(tmp_path, space, **left_open).run(2) == 0
        assert search_of(tmp_path, space, **left_open).run(3) == 0
    assert trained == [(2, "float32")] * 3


def test_a_signal_ends_the_trial_at_hand_which_is_then_tried_again(tmp_path: Path) -> None:
    write(tmp_path, {"training.learning_rate": {"log": [1e-4, 3e-2]}})
    arguments = typed(tmp_path, 3, "--training.episodes", "2000000", "--run.log_every", "100")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "ram_agent", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while not (tmp_path / "out" / "trial0" / "metrics.csv").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors.count("\n") <= 2, errors
    assert STOPPING in errors
    assert f"the same command goes on: ram-agent {' '.join(arguments)}" in said
    config = load_config(ROOT / "configs" / "smoke.yaml")
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(tmp_path / "out" / "journal.log"))
    )
    stopped, waiting = optuna.load_study(study_name="search", storage=storage).trials
    assert (stopped.state.name, waiting.state.name) == ("FAIL", "WAITING")
    assert waiting.system_attrs["fixed_params"] == stopped.params
    assert config.training.learning_rate != stopped.params["training.learning_rate"]


def test_a_trial_that_is_worse_than_half_of_the_others_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five trials at 10 % and one at 90: it ends at its second validation."""
    evaluate = Validation.evaluate

    def told(self: Validation, *, record: bool = True) -> Any:
        result = evaluate(self, record=record)
        self.best = Best(90.0 if self.model.training.learning_rate < 0.01 else 10.0, self.model.episodes, {})
        monkeypatch.setattr(type(result), "error", property(lambda _: self.best.error))
        return result

    monkeypatch.setattr(Validation, "evaluate", told)
    said: list[str] = []
    search = search_of(tmp_path, {"training.learning_rate": {"choice": [0.001, 0.02]}}, said=said)
    search.out.mkdir()
    study = search._study()
    for rate in [0.02] * 5 + [0.001]:
        study.enqueue_trial({"training.learning_rate": rate})
    assert search.run(6) == 0
    assert ["pruned at 90.00 %" in line for line in said] == [False] * 5 + [True]
    assert search.study.trials[-1].state.name == "PRUNED"
    assert search.study.trials[-1].intermediate_values == {1: 90.0, 2: 90.0}


def test_settings_that_do_not_go_together_are_a_refused_trial_and_the_search_goes_on(tmp_path: Path) -> None:
    said: list[str] = []
    search = search_of(tmp_path, {"training.baseline": {"choice": ["leave_one_out"]}}, said=said)
    assert search.run(2) == 0
    assert all("refused: training.episodes_per_image: expected 2 or more" in line for line in said)
    assert search.best is None
    assert not (tmp_path / "out" / "best.yaml").exists()


def test_a_search_of_which_nothing_came_says_why_and_its_status_is_not_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, {"training.baseline": {"choice": ["leave_one_out"]}})
    for _ in range(2):  # the second time nothing is left to try
        assert main(typed(tmp_path, 1)) == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
        refused = "refused: training.episodes_per_image: "
        assert f"no trial of {tmp_path / 'out'} was trained to its end; the last one: {refused}" in line
        assert "expected 2 or more" in line
        assert f"mend {tmp_path / 'space.yaml'}" in line


@pytest.mark.parametrize(
    ("space", "sections", "message"),
    [
        (
            {"sensor.kind": {"choice": ["crop"]}},
            {"environment": {"first_window": [0, 0, 0, 0]}},
            "refused: first_window: got",
        ),
        (
            {"training.optimizer": {"choice": ["sgd"]}},
            {"run": {"cuda_graph": True}},
            "refused: run.cuda_graph: got true with training.optimizer sgd",
        ),
        (
            {"training.trained_agent": {"choice": ["nowhere"]}},
            {},
            "refused: checkpoint nowhere",
        ),
    ],
    ids=["environment", "recording", "checkpoint"],
)
def test_what_environment_recording_or_checkpoint_cannot_have_is_a_refused_trial(
    space: Any, sections: Any, message: str, tmp_path: Path
) -> None:
    said: list[str] = []
    assert search_of(tmp_path, space, said=said, **sections).run(1) == 0
    (line,) = said
    assert message in line


@pytest.mark.parametrize("place", ["ram_agent.search.settle", "ram_agent.search.make_learner"])
def test_a_mistake_of_ours_is_no_refused_trial(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mistaken(*_: Any, **__: Any) -> Any:
        raise ValueError("not enough values to unpack")

    monkeypatch.setattr(place, mistaken)
    with pytest.raises(ValueError, match="not enough values"):
        search_of(tmp_path).run(1)


def test_settings_that_no_learner_can_be_built_with_are_a_refused_trial_too(tmp_path: Path) -> None:
    trained = make_config(policy={"hidden": 12})
    run_experiment(trained, make_world(trained), tmp_path / "trained")
    said: list[str] = []
    beginning = {"training": {"trained_agent": str(tmp_path / "trained")}}
    search = search_of(tmp_path, {"policy.hidden": {"choice": [16]}}, said=said, **beginning)
    assert search.run(2) == 0
    assert len(said) == 2
    assert all("refused: training.trained_agent: " in line and "policy.hidden 12, here 16" in line for line in said)


def test_numbers_gone_bad_end_their_trial_and_not_the_search(tmp_path: Path) -> None:
    said: list[str] = []
    search = search_of(tmp_path, {"training.learning_rate": {"choice": [1e30]}}, said=said)
    assert search.run(2) == 0
    assert len(said) == 2
    assert all("diverged: " in line and "update" in line for line in said)
    assert search.best is None
    assert search.run(2) == 0  # nothing is left to do, nor tried again


def test_an_agent_that_no_memory_holds_ends_its_trial_and_not_the_search(tmp_path: Path) -> None:
    """Its core alone has 3.6 million GB, more than any address space: the next search does not meet it again."""
    said: list[str] = []
    search = search_of(tmp_path, {"policy.hidden": {"choice": [12, 30_000_000]}}, said=said)
    search.out.mkdir()
    study = search._study()
    for hidden in (30_000_000, 12):
        study.enqueue_trial({"policy.hidden": hidden})
    assert search.run(2) == 0
    assert "out of memory: " in said[0]
    assert "allocate" in said[0]
    assert [trial.state.name for trial in search.study.trials] == ["PRUNED", "COMPLETE"]
    assert search_of(tmp_path, {"policy.hidden": {"choice": [12, 30_000_000]}}).run(2) == 0  # nothing is left to do


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nSee"), "allocate 2 GiB.  (no best"),
        (MemoryError("Unable to allocate 9. GiB for an array"), "out of memory: Unable to allocate 9. GiB"),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), ""),
    ],
)
def test_memory_that_runs_out_in_training_ends_the_trial_and_no_other_error_does(
    error: Exception, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("ram_agent.search.learn", full)
    said: list[str] = []
    search = search_of(tmp_path, said=said)
    if not told:
        with pytest.raises(RuntimeError, match="illegal memory access"):
            search.run(1)
        return
    assert search.run(1) == 0
    assert told in said[0]


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"training": {"episodes": 81, "batch": 8}}, "config"),
        ({"run": {"seed": 7}}, "config"),
        ({}, "space"),
    ],
)
def test_a_folder_of_another_search_is_refused(
    changed: Any, part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search_of(tmp_path).run(1) == 0
    other = search_of(tmp_path, SPACE if changed else {"training.clip": {"uniform": [1, 5]}}, **changed)
    with pytest.raises(ValueError, match=f"holds a search with another {part}; choose another folder"):
        other.run(2)


def test_a_search_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    """Its journal knows nothing of a field that has come since, nor where the images lie today."""
    search = search_of(tmp_path)
    assert search.run(1) == 0
    stored = search.config.model_dump(mode="json") | {"run": {"seed": search.config.run.seed}}
    del stored["training"]["window_rate"]
    search.study.set_user_attr("config", stored | {"images": {"source": "elsewhere", "folder": None, "size": None}})
    assert search_of(tmp_path).run(2) == 0


@pytest.mark.parametrize(
    "torn",
    [
        lambda whole: whole[:-30],
        lambda whole: whole[:-1],
        lambda whole: whole + b'{"op_code":5,"wor',
        lambda whole: whole + bytes(99),
        lambda whole: whole + bytes(99) + b'"user_attr":{}}\n',
        lambda whole: whole[:17],
    ],
    ids=[
        "last entry cut",
        "line end missing",
        "entry begun",
        "zeros",
        "zeros and the end of an entry",
        "first entry cut",
    ],
)
def test_a_journal_that_a_full_disk_or_a_power_cut_has_left_is_gone_on_with(
    torn: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    search = search_of(tmp_path)
    assert search.run(1) == 0
    first = trials_of(search)
    journal = tmp_path / "out" / "journal.log"
    journal.write_bytes(torn(journal.read_bytes()))
    for trials in (1, 2):
        search = search_of(tmp_path)
        assert search.run(trials) == 0
        assert len(trials_of(search)) == trials
        assert trials_of(search)[:1] == first


@pytest.mark.timeout(60)
def test_a_lock_that_a_killed_search_has_left_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    search = search_of(tmp_path)
    search.out = Path("out")
    search.out.mkdir()
    (search.out / "journal.log.lock").symlink_to("out/journal.log")  # as Optuna writes it, and it leads nowhere
    assert search.run(1) == 0


@pytest.mark.parametrize(
    "content",
    [b"notes\nof mine\n", b'{"op_code":0{"op_code":0}\n{"op_code":2}\n', b'{"a": 1}\n', b"[]\n", b"\xff\n{}\n"],
    ids=["text", "written on behind an unfinished entry", "other JSON", "a list", "no text"],
)
def test_a_journal_that_cannot_be_read_is_one_line_that_says_what_to_do(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = tmp_path / "out" / "journal.log"
    journal.parent.mkdir()
    journal.write_bytes(content)
    assert main(typed(tmp_path, 1)) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert f"--out: Optuna cannot read {journal} (" in line
    assert "delete it to begin anew, or choose another folder" in line
    assert journal.read_bytes() == content


def test_two_searches_do_not_share_a_folder_at_the_same_time(tmp_path: Path) -> None:
    search = search_of(tmp_path)

    def meanwhile(config: Config) -> Any:
        with pytest.raises(BlockingIOError, match="another process is at work in it"):
            search_of(tmp_path).run(1)
        return make_world(config)

    search.world_of = meanwhile
    assert search.run(1) == 0


def test_a_search_is_not_tracked_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It would be handed on to best.yaml."""
    assert main(typed(tmp_path, 1, "--run.track", "true", "--run.tensorboard", "true")) == 2
    assert "run.track: a search tells Weights & Biases nothing" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_tensorboard_has_a_trial_s_settings_beside_its_validation_error(tmp_path: Path) -> None:
    search = search_of(tmp_path)
    assert search.run(1) == 0
    (trial,) = search.study.trials
    accumulator = EventAccumulator(str(search.out / "trial0"))
    accumulator.Reload()
    assert "config/text_summary" in accumulator.Tags()["tensors"]
    tags = accumulator.PluginTagToContent(metadata.PLUGIN_NAME)
    start = HParamsPluginData.FromString(tags[metadata.SESSION_START_INFO_TAG]).session_start_info.hparams
    assert {name: start[name].number_value for name in start} == pytest.approx(trial.params)
    assert accumulator.Scalars("eval/best_error")[-1].value == pytest.approx(trial.value)


@pytest.mark.parametrize("option", ["run.folder", "run.overwrite"])
def test_a_folder_for_all_trials_is_refused(option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It would be handed on to best.yaml, and a run be replaced that nobody meant."""
    assert main(typed(tmp_path, 1, f"--{option}", "true")) == 2
    assert f"--{option}: the search sets it, for every trial another" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_trial_reports_the_error_of_now_and_is_told_by_its_least(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = iter([10, 50, 30, 40])

    def planned(*_: Any, **__: Any) -> Evaluation:
        answers = np.zeros((3, 100), int)
        answers[:, : next(errors)] = 1
        return Evaluation(answers, np.zeros(100, int), np.zeros((3, 100, 2), np.float32))

    monkeypatch.setattr("ram_agent.monitoring.evaluate", planned)
    search = search_of(tmp_path, {"training.learning_rate": {"log": [1e-3, 1e-2]}})
    assert search.run(1) == 0
    (trial,) = search.study.trials
    assert trial.intermediate_values == {1: 10.0, 2: 50.0, 3: 30.0}
    assert trial.value == 10.0
