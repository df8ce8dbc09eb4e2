"""What a run writes while it goes: `metrics.csv`, TensorBoard, the best weights, checkpoints and pictures."""

import csv
import errno
import io
import math
import os
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from stable_baselines3.common.logger import Logger
from tensorboard.backend.event_processing.data_ingester import DEFAULT_TENSOR_SIZE_GUIDANCE
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator as ServersAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as custom_scalar
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.plugins.image import metadata as image

from ram_agent import board
from ram_agent.board import Board, MetricsFile
from ram_agent.checkpoint import read_checkpoint
from ram_agent.config import load_config
from ram_agent.evaluation import Evaluation, evaluate
from ram_agent.experiment import run_experiment
from ram_agent.metrics import Running
from ram_agent.monitoring import Checkpoints, Validation, pictured_every
from ram_agent.policy import Policy
from ram_agent.spectator import watch
from ram_agent.writing import Writing
from tests.making import make_config, make_env, make_learner, make_world

DOCUMENT = Path(__file__).parents[2] / "docs" / "tensorboard.md"


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write(file: MetricsFile, step: int, **values: Any) -> None:
    file.write(values, {}, step)


# -------------------------------------------------------------------- metrics.csv


def test_every_dump_is_a_row_with_its_step_and_the_images_it_stands_on(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.csv", "digits")
    write(file, 10, a=1.5, b=2)
    write(file, 20, b=3, a=0.1)
    assert read(file.path) == [
        {"step": "10", "images": "digits", "a": "1.5", "b": "2"},
        {"step": "20", "images": "digits", "a": "0.1", "b": "3"},
    ]


def test_a_column_that_turns_up_late_is_empty_above(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.csv", "digits")
    write(file, 1, a=1)
    write(file, 2, c=5)
    write(file, 3, a=2, c=6)
    write(file, 4, a=3)
    assert [(row["a"], row["c"]) for row in read(file.path)] == [("1", ""), ("", "5"), ("2", "6"), ("3", "")]


@pytest.mark.parametrize("lost", [1, 3])
def test_a_row_that_cannot_be_written_comes_with_the_next(
    lost: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first row and the third bring columns: the whole file is written anew, which a full disk refuses."""
    file = MetricsFile(tmp_path / "metrics.csv", "digits")
    rows = [{"a": 1}, {"a": 2}, {"a": 3, "c": 5}, {"a": 4}, {"a": 5}]
    told = [("1", "1", ""), ("2", "2", ""), ("3", "3", "5"), ("4", "4", ""), ("5", "5", "")]
    for step, row in enumerate(rows, start=1):
        with monkeypatch.context() as disk:
            if step == lost:
                disk.setattr(board, "write_whole", full)
                with pytest.raises(OSError, match="No space left"):
                    write(file, step, **row)
            else:
                write(file, step, **row)
                assert [(row["step"], row["a"], row.get("c") or "") for row in read(file.path)] == told[:step]


def full(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_only_numbers_that_are_not_excluded_are_columns(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.csv", "digits")
    file.write({"a": 1, "text": "long", "b": 2}, {"b": ("csv",), "a": ("tensorboard",)}, 1)
    assert read(file.path) == [{"step": "1", "images": "digits", "a": "1"}]


def test_numbers_keep_every_digit(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.csv", "digits")
    write(file, 1, a=1 / 3, b=1e-17)
    (row,) = read(file.path)
    assert (float(row["a"]), float(row["b"])) == (1 / 3, 1e-17)


def test_a_resumed_file_forgets_what_came_after_the_checkpoint_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    first = MetricsFile(path, "digits")
    for step in (10, 20, 30):
        write(first, step, a=step)
    second = MetricsFile(path, "digits", resume_at=20)
    second.mend()
    assert [row["step"] for row in read(path)] == ["10", "20"]
    write(second, 30, a=-30)
    write(second, 40, a=-40, late=1)
    assert [(row["step"], row["a"], row["late"]) for row in read(path)] == [
        ("10", "10", ""),
        ("20", "20", ""),
        ("30", "-30", ""),
        ("40", "-40", "1"),
    ]


def test_a_new_run_starts_an_empty_file_and_a_resumed_one_without_a_file_starts_one(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    write(MetricsFile(path, "digits"), 10, a=1)
    write(MetricsFile(path, "digits"), 5, a=2)
    assert [row["step"] for row in read(path)] == ["5"]
    path.unlink()
    write(MetricsFile(path, "digits", resume_at=20), 30, a=3)
    assert [row["step"] for row in read(path)] == ["30"]


# -------------------------------------------------------------------- running means


def test_running_means_are_over_the_updates_since_they_were_last_read() -> None:
    running = Running()
    running.add({"a": torch.tensor(1.0)}), running.add({"a": torch.tensor(4.0)})
    assert running.flush(10.0) == ({"a": 2.5}, 2, 10.0)
    running.add({"a": torch.tensor(7.0)})
    again = Running()
    again.load_state_dict(running.state_dict(), torch.device("cpu"))
    assert again.flush(12.5) == ({"a": 7.0}, 1, 2.5)


def test_running_means_do_not_touch_what_they_are_given() -> None:
    running, value = Running(), torch.tensor(1.0)
    running.add({"a": value}), running.add({"a": value})
    assert value == 1


# -------------------------------------------------------------------- validation and checkpoints


class FakeEvaluation:
    """Stands in for `evaluate`: errors by plan."""

    def __init__(self, *wrong: int) -> None:
        self.wrong = list(wrong)

    def __call__(self, *_: object, **__: object) -> Evaluation:
        answers = torch.zeros(3, 10, dtype=torch.long).numpy()
        answers[:, : self.wrong.pop(0)] = 1
        return Evaluation(answers, torch.zeros(10, dtype=torch.long).numpy(), torch.zeros(3, 10, 2).numpy())


def test_the_best_weights_are_those_of_the_lowest_validation_error_and_the_earliest_of_equals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ram_agent.monitoring.evaluate", FakeEvaluation(5, 2, 2, 4))
    learner, seen = make_learner(), []
    board = Board(tmp_path, "rows", tensorboard=False)
    validation = Validation(make_env(12, split="validation", tensors=True), 12, 8, 32, board)
    original = validation.evaluate
    monkeypatch.setattr(
        validation,
        "evaluate",
        lambda: seen.append({k: v.clone() for k, v in learner.policy.state_dict().items()}) or original(),
    )
    learner.learn(4 * 8 * 3, callback=validation)
    assert validation.best.error == 20
    assert validation.best.episodes == 16
    assert all(torch.equal(validation.best.weights[name], seen[1][name]) for name in seen[1])
    assert not all(torch.equal(seen[1][name], seen[3][name]) for name in seen[1])
    rows = [row for row in read(tmp_path / "metrics.csv") if row["eval/error"]]
    assert [row["eval/error"] for row in rows] == ["50.0", "20.0", "20.0", "40.0"]
    assert [row["eval/best_error"] for row in rows] == ["50.0", "20.0", "20.0", "20.0"]
    assert [float(row["eval/reward"]) for row in rows] == pytest.approx([0.5, 0.8, 0.8, 0.6])


def test_validation_shows_the_validation_split_once_and_changes_nothing_in_the_training(tmp_path: Path) -> None:
    env = make_env(5, split="validation", tensors=True)  # 12 images do not divide into 5 lanes
    board = Board(tmp_path, "rows", tensorboard=False)
    quiet, watched = make_learner(), make_learner()
    validation = Validation(env, 12, 8, 16, board)
    watched.learn(2 * 8 * 3, callback=validation), quiet.learn(2 * 8 * 3)
    assert all(torch.equal(a, b) for a, b in zip(quiet.policy.parameters(), watched.policy.parameters(), strict=True))
    result = evaluate(watched.policy, env, 12)
    assert sorted(result.target.tolist()) == sorted(env.images.validation.labels.tolist())
    assert read(tmp_path / "metrics.csv")[-1]["eval/error"] == str(result.error)


def test_with_averaged_weights_these_are_what_is_validated_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[object] = []

    def evaluated(policy: Policy, *_: object, **__: object) -> Evaluation:
        shown.append(policy)
        return FakeEvaluation(3)()

    monkeypatch.setattr("ram_agent.monitoring.evaluate", evaluated)
    learner = make_learner(learning_rate=0.05, weight_average=40)
    env = make_env(12, split="validation", tensors=True)
    validation = Validation(env, 12, 40, 40, Board(tmp_path, "rows", tensorboard=False))
    learner.learn(5 * 8 * 3, callback=validation)
    assert shown == [learner.judged]
    assert learner.judged is not learner.policy
    assert validation.best is not None
    for name, value in learner.judged.state_dict().items():
        assert torch.equal(validation.best.weights[name], value)
    assert any(not torch.equal(validation.best.weights[name], now) for name, now in learner.policy.named_parameters())


@pytest.mark.parametrize(
    ("every", "steps"), [(8, [8, 16, 24, 32, 40]), (20, [24, 40]), (1000, [40]), (16, [16, 32, 40])]
)
def test_what_is_due_every_n_episodes_happens_when_they_are_crossed_and_at_the_end(
    every: int, steps: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner, saved = make_learner(), []
    board = Board(tmp_path, "rows", tensorboard=False)
    validation = Validation(make_env(12, split="validation", tensors=True), 12, 1000, 40, board)
    path, writing = tmp_path / "agent.pt", Writing(tmp_path)
    checkpoints = Checkpoints(path, every, 40, validation, keep=3, writing=writing, classes=["a", "b"])
    original = checkpoints.save
    monkeypatch.setattr(checkpoints, "save", lambda: saved.append(learner.episodes) or original())
    learner.learn(5 * 8 * 3, callback=checkpoints)
    assert saved == steps
    content = read_checkpoint(path)
    assert (content["classes"], content["best"], content["learner"]["updates"]) == (["a", "b"], None, 5)


def test_what_is_watched_is_what_the_agent_saw() -> None:
    env = make_env(4, split="test", tensors=True)
    learner = make_learner()
    gaze = watch(learner.policy, env)
    assert gaze.glimpses.shape == (3, 4, 2, 1, 4, 4)
    assert gaze.boxes.shape == (3, 4, 2, 4)
    assert gaze.target.tolist() == [0, 1, 2, 3]  # scene i shows image i
    chosen = watch(learner.policy, env, [3, 0, 3, 2])
    assert chosen.target.tolist() == [3, 0, 3, 2]
    assert torch.equal(chosen.canvas[1], gaze.canvas[0])
    for look in range(3):
        for lane in range(4):  # a crop's finest glimpse is the canvas inside its box
            left, top, right, bottom = (int(edge) for edge in gaze.boxes[look, lane, 0])
            padded = torch.nn.functional.pad(gaze.canvas[lane, 0], (10, 10, 10, 10))
            inside = padded[top + 10 : bottom + 10, left + 10 : right + 10]
            assert torch.equal(gaze.glimpses[look, lane, 0, 0], inside)


# -------------------------------------------------------------------- TensorBoard


def load(folder: Path) -> EventAccumulator:
    (events,) = folder.glob("events.out.tfevents.*")  # one file: no extra run for hparams
    accumulator = EventAccumulator(str(events), size_guidance={"images": 0, "scalars": 0, "tensors": 0})
    accumulator.Reload()
    return accumulator


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of configs/smoke.yaml, shortened, over small images: its tags do not depend on either."""
    shipped = load_config(Path(__file__).parents[2] / "configs" / "smoke.yaml")
    assert shipped.run.tensorboard
    assert shipped.run.pictures
    assert shipped.training.baseline == "learned"
    config = make_config(run={"pictures": 2}, evaluation={"controls": ["random"], "every": 40})
    folder = tmp_path_factory.mktemp("smoke")
    run_experiment(config, make_world(config), folder)
    return folder


def documented() -> list[str]:
    """Tags of scalars that open a row of a table in docs/tensorboard.md."""
    rows = re.findall(r"^\| `([^`]+/[^`]+)` \|", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [tag for tag in rows if tag not in pictured()]


def pattern(tag: str) -> str:
    """`{k}` stands for any number."""
    return r"\d+".join(re.escape(part) for part in re.split(r"\{\w+\}", tag))


def test_every_scalar_that_a_run_writes_is_documented_and_every_documented_one_is_written(
    smoke: Path, tmp_path: Path
) -> None:
    training = {"method": "pathwise", "lookahead": 2}
    soft = make_config(sensor={"kind": "stn"}, training=training, run={"tensorboard": False})
    run_experiment(soft, make_world(soft), tmp_path)
    written = set(load(smoke).Tags()["scalars"]) | set(read(tmp_path / "metrics.csv")[0]) - {"step", "images"}
    known = documented()
    assert len(known) == len(set(known)) > 20
    assert {tag for tag in written if not any(re.fullmatch(pattern(name), tag) for name in known)} == set()
    assert {name for name in known if not any(re.fullmatch(pattern(name), tag) for tag in written)} == set()
    rooms = {"rollout", "train", "eval", "eval_by_glimpse", "gradient", "test", "time"}
    assert {tag.partition("/")[0] for tag in written} == rooms


def test_a_controls_scalars_are_documented_too(smoke: Path) -> None:
    for tag in load(smoke / "controls" / "random").Tags()["scalars"]:
        assert any(re.fullmatch(pattern(name), tag) for name in documented())


def test_tensorboard_and_metrics_hold_the_same_numbers_at_the_same_steps(smoke: Path) -> None:
    accumulator = load(smoke)
    rows = read(smoke / "metrics.csv")
    assert set(accumulator.Tags()["scalars"]) == set(rows[0]) - {"step", "images"}
    for tag in accumulator.Tags()["scalars"]:
        shown = [(event.step, event.value) for event in accumulator.Scalars(tag)]
        written = [(int(row["step"]), float(row[tag])) for row in rows if row[tag]]
        assert [step for step, _ in shown] == [step for step, _ in written]
        assert [value for _, value in shown] == pytest.approx([value for _, value in written], rel=1e-5)
    assert [event.step for event in accumulator.Scalars("train/loss")] == [16, 32, 48, 64, 80]  # episodes
    assert [event.step for event in accumulator.Scalars("eval/error")] == [40, 80]


def test_hparams_lie_in_the_same_event_file_with_the_test_errors_as_metrics(smoke: Path) -> None:
    accumulator = load(smoke)
    tags = accumulator.PluginTagToContent(metadata.PLUGIN_NAME)
    assert {metadata.EXPERIMENT_TAG, metadata.SESSION_START_INFO_TAG, metadata.SESSION_END_INFO_TAG} <= tags.keys()
    experiment = HParamsPluginData.FromString(tags[metadata.EXPERIMENT_TAG]).experiment
    assert {info.name.tag for info in experiment.metric_infos} == {
        "test/error",
        "test/error_sampled",
        "test/error_voted",
    }
    first = sorted(info.name for info in experiment.hparam_infos if info.differs)  # as TensorBoard sorts its columns
    assert first == ["environment.glimpses", "role", "seed", "sensor.kind", "training.method"]
    start = HParamsPluginData.FromString(tags[metadata.SESSION_START_INFO_TAG]).session_start_info.hparams
    assert start["training.batch"].number_value == 8
    assert start["sensor.kind"].string_value == "crop"
    assert start["role"].string_value == "learned"
    assert "images.folder" not in start  # it is None: a column of "None" tells nothing
    assert all(info.name in start for info in experiment.hparam_infos)
    assert not [
        path for path in smoke.iterdir() if path.is_dir() and path.name not in ("checkpoints", "figures", "controls")
    ]


def test_a_control_says_how_it_was_trained_itself(tmp_path: Path) -> None:
    """By the right answers, for as many episodes as controls have: not as the agent beside it."""
    config = make_config(
        training={"method": "reinforce", "episodes": 32},
        evaluation={"controls": ["random"], "control_episodes": 16},
    )
    run_experiment(config, make_world(config), tmp_path)
    for folder, method, episodes in [(tmp_path, "reinforce", 32), (tmp_path / "controls" / "random", "none", 16)]:
        accumulator = load(folder)
        tags = accumulator.PluginTagToContent(metadata.PLUGIN_NAME)
        content = HParamsPluginData.FromString(tags[metadata.SESSION_START_INFO_TAG])
        told = content.session_start_info.hparams
        assert (told["training.method"].string_value, told["training.episodes"].number_value) == (method, episodes)
        text = accumulator.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
        assert f"method: {method}" in text


def test_a_run_that_tells_tensorboard_nothing_until_it_is_resumed_tells_it_all_then(tmp_path: Path) -> None:
    config = make_config(training={"episodes": 160}, run={"tensorboard": False, "checkpoint_every": 32})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "_on_training_end", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run_experiment(config, make_world(config), tmp_path)
    assert not list(tmp_path.glob("events.*"))
    config = config.model_copy(update={"run": config.run.model_copy(update={"tensorboard": True})})
    run_experiment(config, make_world(config), tmp_path, resume=True)
    assert {"config/text_summary", "images/text_summary"} <= set(load(tmp_path).Tags()["tensors"])


def pictured() -> set[str]:
    """Pictures that docs/tensorboard.md names."""
    (section,) = re.findall(r"^## Pictures$(.*?)^## ", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return set(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE))


def read_layout(folder: Path) -> dict[str, list[str]]:
    """Title of a chart → its regular expressions, of the layout that TensorBoard finds."""
    (event,) = load(folder).Tensors(custom_scalar.CONFIG_SUMMARY_TAG)
    page = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    return {chart.title: list(chart.multiline.tag) for category in page.category for chart in category.chart}


def test_the_layout_shows_error_reward_losses_spread_and_signal_and_no_chart_is_empty(smoke: Path) -> None:
    accumulator = load(smoke)
    assert custom_scalar.CONFIG_SUMMARY_TAG in accumulator.PluginTagToContent(custom_scalar.PLUGIN_NAME)
    charts, tags = read_layout(smoke), accumulator.Tags()["scalars"]
    shown = {title: [tag for tag in tags if any(re.match(each, tag) for each in charts[title])] for title in charts}
    assert all(shown.values())
    told = ("eval/error", "rollout/reward", "rollout/fixation_spread", "train/classification_loss", "train/loss")
    assert set(told) <= {tag for tags in shown.values() for tag in tags}
    assert shown["error, validation (%)"] == ["eval/error"]  # TensorBoard matches beginnings
    assert {"gradient/snr_none", "gradient/snr_learned"} < set(shown["signal-to-noise, by estimator"])
    assert [shown[f"error after look {k} (%)"] for k in (1, 2, 3)] == [
        [f"eval_by_glimpse/error_{k}"] for k in (1, 2, 3)
    ]
    assert "error after look 4 (%)" not in charts


def test_hard_and_soft_runs_and_controls_have_one_layout(smoke: Path, tmp_path: Path) -> None:
    """TensorBoard merges the layouts of all runs: charts that differ would stand twice."""
    assert read_layout(smoke) == read_layout(smoke / "controls" / "random")
    soft = make_config(sensor={"kind": "gaussian"}, training={"method": "pathwise"}, evaluation={"signal": 0})
    run_experiment(soft, make_world(soft), tmp_path)
    assert read_layout(smoke) == read_layout(tmp_path)


def test_a_run_draws_no_more_pictures_than_tensorboard_keeps_and_draws_them_at_evaluations() -> None:
    for every, total in ((1, 1), (7, 100), (20_000, 250_000), (60_000, 2_400_000), (10, 95), (100, 80)):
        between = pictured_every(every, total)
        assert between % every == 0
        drawn = {*range(between, total + 1, between), total}
        assert min(10, math.ceil(total / every)) / 2 <= len(drawn) <= 10  # as many as can be, nearly
    assert DEFAULT_TENSOR_SIZE_GUIDANCE[image.PLUGIN_NAME] == 10  # TensorBoard's, where it is told nothing


def test_pictures_are_of_the_same_scenes_each_time(smoke: Path) -> None:
    """One scrubs through training: what lies under the windows must not change. Their strip's first canvas does not."""
    first, last = load(smoke).Images("gaze/strip")
    pictures = [np.asarray(Image.open(io.BytesIO(event.encoded_image_string)).convert("L")) for event in (first, last)]
    assert pictures[0].shape == pictures[1].shape
    height, width = pictures[0].shape
    canvas = [picture[: height // 3, : width // 3] for picture in pictures]
    assert np.mean(canvas[0] == canvas[1]) > 0.97  # all but the end of a title


def test_pictures_of_the_gaze_its_animation_and_how_well_it_did_are_there(smoke: Path) -> None:
    accumulator = load(smoke)
    assert set(accumulator.Tags()["images"]) == {
        "gaze/paths",
        "gaze/animation",
        "gaze/strip",
        "mistakes/confusion_matrix",
        "gaze/fixations",
        "mistakes/error_by_glimpse",
    }
    assert set(accumulator.Tags()["images"]) == pictured()
    for tag in accumulator.Tags()["images"]:
        events = accumulator.Images(tag)
        assert [event.step for event in events] == [40, 80]
        for event in events:
            moving = tag.endswith("animation")
            assert event.encoded_image_string.startswith(b"GIF89a" if moving else b"\x89PNG")
            with Image.open(io.BytesIO(event.encoded_image_string)) as picture:
                assert (picture.height, picture.width) == (event.height, event.width)
                assert getattr(picture, "n_frames", 1) >= (3 if moving else 1)


def test_the_config_and_the_images_are_told_as_text(smoke: Path) -> None:
    accumulator = load(smoke)
    texts = {
        tag: accumulator.Tensors(f"{tag}/text_summary")[0].tensor_proto.string_val[0] for tag in ("config", "images")
    }
    assert b"first_window: random" in texts["config"]
    assert b"rows, sha256 " + b"0" * 64 in texts["images"]


def test_without_tensorboard_there_is_metrics_csv_alone(tmp_path: Path) -> None:
    board = Board(tmp_path / "run", "rows", tensorboard=False)
    assert isinstance(board.logger, Logger)
    board.logger.record("train/loss", 1.0)
    board.logger.dump(8)
    board.text("config", "text")
    board.layout(6)
    board.picture("picture", b"", (1, 1), 0)
    board.results({"batch": 8}, {"test/error": 50.0}, 8)
    board.close()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["metrics.csv"]
    assert [row["test/error"] for row in read(tmp_path / "run" / "metrics.csv")] == ["", "50.0"]


def test_a_resumed_board_makes_tensorboard_forget_the_steps_that_happen_again(tmp_path: Path) -> None:
    first = Board(tmp_path, "rows", tensorboard=True)
    for step, value in ((10, 1.0), (20, 2.0), (30, 3.0)):
        first.logger.record("train/loss", value)
        first.logger.dump(step)
    first.close()
    time.sleep(1.1)  # files are named by the second, and within one by a number that sorts as text
    second = Board(tmp_path, "rows", tensorboard=True, resume_at=20)
    second.logger.record("train/loss", -3.0)
    second.logger.dump(30)
    second.close()
    accumulator = ServersAccumulator(str(tmp_path))  # which is more particular about what a restart is
    accumulator.Reload()
    shown = [(event.step, event.tensor_proto.float_val[0]) for event in accumulator.Tensors("train/loss")]
    assert shown == [(10, 1.0), (20, 2.0), (30, -3.0)]
