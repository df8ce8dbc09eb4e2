"""Numbers gone bad: found before the step, named, explained; the good weights stay."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ram_agent.agents import train_agent
from ram_agent.board import whole_rows
from ram_agent.checkpoint import read_checkpoint
from ram_agent.cli import main
from ram_agent.cli.prepared import NUMBERS_GONE_BAD
from ram_agent.controls import RandomWindowHead
from ram_agent.finite import Circumstances, Divergence, Guard, NumbersGoneBad, likely_cause
from ram_agent.interruption import Interruption
from ram_agent.learner import REINFORCE, Learner
from ram_agent.run_files import CHECKPOINT, DIAGNOSTIC
from tests.making import make_config, make_env, make_learner, make_world

NAN, INFINITY = float("nan"), float("inf")
SOUND = Circumstances(
    learning_rate=1e-3, window_std=0.1, smallest_sigma=0.25, largest_parameter=2.0, precision="float32"
)


def weights(learner: Learner) -> dict[str, torch.Tensor]:
    state = {f"policy {name}": value for name, value in learner.policy.state_dict().items()}
    for index, slot in learner.optimizer.state_dict()["state"].items():
        state |= {f"{index} {name}": value for name, value in slot.items()}
    return {name: value.clone() for name, value in state.items()}


def spoil(learner: Learner, term: str, value: float, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From update number `at` on, one term is spoilt."""
    original = learner.losses

    def losses(episode: Any, std: Any) -> Any:
        found, facts = original(episode, std)
        if learner.updates + 1 >= at:
            found = found._replace(**{term: getattr(found, term) * value})
        return found, facts

    monkeypatch.setattr(learner, "losses", losses)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("value", [NAN, INFINITY])
@pytest.mark.parametrize("term", ["classification", "reinforce", "baseline"])
def test_a_bad_term_stops_before_the_step_and_is_named_with_its_update(
    term: str, value: float, optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = make_learner(optimizer=optimizer)
    learner.learn(2 * 8 * 3)
    spoil(learner, term, value, 4, monkeypatch)
    learner.learn(1 * 8 * 3, reset_num_timesteps=False)
    before = weights(learner)
    with pytest.raises(
        NumbersGoneBad, match=rf"^update 4: {term} loss (nan|-?inf).*before the optimiser's step"
    ) as caught:
        learner.learn(8 * 8 * 3, reset_num_timesteps=False)
    assert not {
        other
        for other in ("classification", "reinforce", "baseline")
        if other != term and f"{other} loss" in str(caught.value)
    }
    after = weights(learner)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert (learner.updates, learner.num_timesteps) == (3, 3 * 8 * 3)
    assert "\n" not in str(caught.value)


def test_a_gradient_that_overflows_alone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = make_learner()
    first = next(learner.policy.parameters())
    first.register_hook(lambda gradient: gradient * NAN)
    before = weights(learner)
    with pytest.raises(NumbersGoneBad, match=r"^update 1: gradient norm nan; stopped"):
        learner.learn(8 * 3)
    assert all(torch.equal(before[name], value) for name, value in weights(learner).items() if name in before)


def test_a_device_that_is_asked_seldom_has_not_taken_a_single_step_since(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: nobody asks for eleven updates, and none after the bad one counts."""
    learner = make_learner()
    spoil(learner, "reinforce", NAN, 4, monkeypatch)
    original = learner._schedule
    steps: list[dict[str, torch.Tensor]] = []
    monkeypatch.setattr(learner, "_schedule", lambda: (steps.append(weights(learner)), original())[1])
    for _ in range(11):
        learner.update()
    with pytest.raises(NumbersGoneBad, match=r"^update 4: reinforce loss nan"):
        learner.check_numbers()
    assert learner.updates == 3
    last = weights(learner)
    assert all(torch.equal(last[name], value) for name, value in steps[3].items())
    assert any(not torch.equal(steps[2][name], value) for name, value in steps[3].items())


def test_who_goes_on_after_a_bad_update_is_told_of_what_comes_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the weights nor their average have moved, and an update without fault is one."""
    learner = make_learner(weight_average=24)
    learner.learn(2 * 8 * 3)
    before = {name: value.clone() for name, value in learner.judged.state_dict().items()}
    with monkeypatch.context() as patch:
        spoil(learner, "baseline", NAN, 3, patch)
        patch.setattr(learner, "check_numbers", lambda: None)  # as on a GPU, which is asked seldom
        learner.learn(4 * 8 * 3, reset_num_timesteps=False)
    with pytest.raises(NumbersGoneBad, match=r"^update 3: baseline loss nan"):
        learner.check_numbers()
    assert all(torch.equal(before[name], value) for name, value in learner.judged.state_dict().items())
    learner.learn(8 * 3, reset_num_timesteps=False)
    assert learner.updates == 3
    assert any(not torch.equal(before[name], value) for name, value in learner.judged.state_dict().items())


def test_what_went_bad_is_in_no_row_of_what_comes_then(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = make_learner()
    learner.learn(8 * 3)
    with monkeypatch.context() as patch:
        spoil(learner, "baseline", NAN, 2, patch)
        with pytest.raises(NumbersGoneBad):
            learner.learn(8 * 3, reset_num_timesteps=False)
    logged: dict[str, float] = {}
    monkeypatch.setattr(learner.logger, "record", logged.__setitem__)
    learner.learn(2 * 8 * 3, reset_num_timesteps=False)
    assert all(map(math.isfinite, logged.values())), logged
    assert "train/loss" in logged


def test_an_average_that_begins_with_a_bad_update_is_of_the_weights_as_they_stand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not of those that the policy was made with, before it was given others."""
    learner, other = make_learner(weight_average=80), make_learner(seed=3)
    learner.policy.load_state_dict(other.policy.state_dict())
    with monkeypatch.context() as patch:
        spoil(learner, "baseline", NAN, 1, patch)
        with pytest.raises(NumbersGoneBad):
            learner.learn(8 * 3)
    for mine, theirs in zip(learner.judged.parameters(), other.policy.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_loaded_weights_begin_with_a_clean_slate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = make_learner()
    learner.save(tmp_path / "good")
    with monkeypatch.context() as patch:
        spoil(learner, "baseline", NAN, 1, patch)
        learner.update()
    learner.restore(tmp_path / "good")
    learner.learn(2 * 8 * 3)
    assert learner.updates == 2


def test_a_step_that_ruins_a_weight_is_found_before_it_is_saved_or_measured() -> None:
    learner = make_learner()
    learner.learn(8 * 3)
    with torch.no_grad():
        learner.policy.state_dict()["classifier.bias"][0] = NAN
    learner.check_numbers()
    with pytest.raises(
        NumbersGoneBad, match=r"^update 1: its step made classifier.bias NaN or infinite.*learning rate"
    ):
        learner.check_numbers(weights=True)


def test_the_guard_counts_sound_updates_and_keeps_the_first_bad_values() -> None:
    guard = Guard(torch.device("cpu"), "abcdef")
    assert guard.ask() is None
    rows = [[1.0] * 6, [2.0] * 6, [3.0, NAN, 1.0, -INFINITY, 1.0, 1.0], [NAN] * 6, [1.0] * 6]
    for row in rows:
        guard.examine(torch.tensor(row))
        guard.count()
    found = guard.ask()
    assert found
    assert found.skipped == 3
    assert found.terms == ["b", "d"]
    assert found.values["d"] == -INFINITY
    assert math.isnan(found.values["b"])
    largest = torch.full((6,), torch.finfo(torch.float32).max)
    guard.reset()
    guard.examine(largest), guard.count()
    assert guard.ask() is None  # large is not infinite


# -------------------------------------------------------------------- likely causes


@pytest.mark.parametrize(
    ("settings", "cause"),
    [
        ({"learning_rate": 1e38, "learning_rate_schedule": "constant"}, "learning rate 1e+38 is too high"),
        ({"window_std": 1e-30}, "exploration has shrunk to std 1e-30: raise training.window_std"),
    ],
)
def test_the_cause_is_found_in_real_trainings(settings: dict[str, Any], cause: str) -> None:
    with pytest.raises(NumbersGoneBad) as caught:
        make_learner(**settings).learn(20 * 8 * 3)
    assert cause in str(caught.value)


@pytest.mark.parametrize(
    ("terms", "parameters", "changes", "cause"),
    [
        (["reinforce loss"], [], {"window_std": 1e-6}, "training.window_std"),
        (["classification loss"], [], {"window_std": None, "smallest_sigma": 1e-6}, "sensor.sigmas"),
        (["classification loss"], ["core.weight"], {"window_std": 1e-6}, "core.weight is not finite"),
        (["loss"], [], {"largest_parameter": 1e9}, "weights have grown to 1e+09"),
        (["loss"], [], {"precision": "bfloat16"}, "float32"),
        (["gradient norm"], [], {}, "gradient alone overflowed"),
        (["loss"], [], {}, "learning rate 0.001"),
    ],
)
def test_every_cause_has_its_remedy(
    terms: list[str], parameters: list[str], changes: dict[str, Any], cause: str
) -> None:
    assert cause in likely_cause(terms, parameters, SOUND._replace(**changes))


# -------------------------------------------------------------------- a run


def ruinous(**training: Any) -> Any:
    return make_config(
        training={"learning_rate": 0.01, **training},
        run={"tensorboard": False},
        evaluation={"every": 24, "controls": []},
    )


def test_a_run_keeps_the_good_checkpoint_and_writes_a_diagnostic_one_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ruinous()
    original = Learner.losses

    def losses(self: Learner, episode: Any, std: Any) -> Any:
        found, facts = original(self, episode, std)
        return (found._replace(reinforce=found.reinforce * NAN) if self.updates == 6 else found), facts

    monkeypatch.setattr(Learner, "losses", losses)
    with pytest.raises(NumbersGoneBad, match=r"^learned: update 7: reinforce loss nan") as caught:
        train_agent(config, make_world(config), tmp_path, "learned", resume=False, interruption=Interruption())
    assert str(tmp_path / DIAGNOSTIC) in str(caught.value)
    assert str(tmp_path / CHECKPOINT) in str(caught.value)
    good, bad = read_checkpoint(tmp_path / CHECKPOINT), read_checkpoint(tmp_path / DIAGNOSTIC)
    assert (good["learner"]["updates"], bad["learner"]["updates"]) == (4, 6)
    assert "reinforce loss nan" in bad["diagnosis"]
    assert all(value.isfinite().all() for value in good["learner"]["policy"].values())
    REINFORCE.load(tmp_path / DIAGNOSTIC, make_env(8, tensors=True, scene="translated"))


def test_a_control_that_goes_bad_costs_nobody_else_its_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = Learner.losses

    def losses(self: Learner, episode: Any, std: Any) -> Any:
        found, facts = original(self, episode, std)
        bad = isinstance(self.policy.window_head, RandomWindowHead) and self.updates == 6
        return (found._replace(classification=found.classification * NAN) if bad else found), facts

    monkeypatch.setattr(Learner, "losses", losses)
    run = tmp_path / "run"
    status = main(
        ["train", "smoke", "--run.folder", str(run), "--training.episodes", "400", "--run.threads", "1",
         "--run.progress", "false", "--run.tensorboard", "false", "--evaluation.controls", "[random, centre]",
         "--images.source", "digits"]
    )  # fmt: skip
    assert status == NUMBERS_GONE_BAD
    results = json.loads((run / "results.json").read_text())
    assert list(results["controls"]) == ["centre"]
    assert list(results["controls_gone_bad"]) == ["random"]
    shown = capsys.readouterr()
    assert "random: no result, update 7: classification loss nan" in shown.out
    assert "random: update 7: classification loss nan" in shown.err
    assert (run / "figures" / "error_by_glimpse.png").is_file()


def test_memory_that_runs_out_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def trained(*_: Any) -> Any:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory\nframe #0")

    monkeypatch.setattr(Learner, "_compute", trained)
    command = ["train", "smoke", "--run.folder", str(tmp_path / "run"), "--images.source", "digits"]
    assert main([*command, "--run.progress", "false"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert "error: out of memory: [enforce fail" in lines[-1]
    assert "smaller batch" in lines[-1]


def test_a_control_that_has_no_room_costs_nobody_else_its_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def trained(self: Learner, *_: Any) -> Any:
        if isinstance(self.policy.window_head, RandomWindowHead):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nSee the manual")
        return compute(self)

    compute = Learner._compute
    monkeypatch.setattr(Learner, "_compute", trained)
    command = ["train", "smoke", "--run.folder", str(tmp_path / "run"), "--training.episodes", "400", "--images.source",
               "digits", "--run.progress", "false", "--run.tensorboard", "false", "--run.pictures", "0",
               "--evaluation.controls", "[random, centre]"]  # fmt: skip
    assert main(command) == NUMBERS_GONE_BAD
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert list(results["controls"]) == ["centre"]
    assert results["test_error"] >= 0
    said = "out of memory: CUDA out of memory. Tried to allocate 2 GiB."
    assert results["controls_gone_bad"] == {"random": f"random: {said}"}
    assert f"random: no result, {said}" in capsys.readouterr().out


def test_the_command_line_says_it_in_one_line_with_a_status_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    status = main(
        ["train", "smoke", "--run.folder", str(run), "--training.learning_rate", "1e38", "--run.threads", "1",
         "--run.progress", "false", "--run.tensorboard", "false", "--evaluation.controls", "[]"]
    )  # fmt: skip
    err = capsys.readouterr().err.strip().splitlines()
    assert status == NUMBERS_GONE_BAD == 3
    assert len(err) == 1
    assert "learned: update 2: " in err[0]
    assert "learning rate" in err[0]
    assert str(run / DIAGNOSTIC) in err[0]


# -------------------------------------------------------------------- divergence


def means(norm: float = 1.0, share: float = 0.0) -> dict[str, float]:
    return {"train/gradient_norm": float(norm), "rollout/window_at_border": float(share)}


def test_gradients_that_grow_are_warned_of_once() -> None:
    watch = Divergence(clip=5.0, learns_windows=True)
    assert watch.warnings(means(1)) == []
    assert watch.warnings(means(49)) == []
    (line,) = watch.warnings(means(60))
    assert "gradient norm 60" in line
    assert watch.warnings(means(600)) == []


def test_gradients_that_are_large_from_the_start_are_no_divergence_until_they_are_huge() -> None:
    watch = Divergence(clip=0.1, learns_windows=True)
    assert watch.warnings(means(2)) == []
    assert watch.warnings(means(5)) == []
    assert len(watch.warnings(means(11))) == 1


def test_windows_at_the_border_are_warned_of_where_someone_learns_them() -> None:
    assert "95 % of the windows" in Divergence(5.0, True).warnings(means(share=0.95))[0]
    assert Divergence(5.0, False).warnings(means(share=1.0)) == []
    assert Divergence(5.0, True).warnings(means(share=0.8)) == []


def test_a_training_that_diverges_says_so_and_a_quiet_one_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    make_learner().learn(10 * 8 * 3, log_interval=1)
    assert capsys.readouterr().err == ""
    learner = make_learner(learning_rate=30.0, learning_rate_schedule="constant")
    learner.learn(30 * 8 * 3, log_interval=1)
    said = capsys.readouterr().err
    assert said.count("warning: gradient norm") == 1
    assert said.count("of the windows are stuck") == 1


# -------------------------------------------------------------------- NaN windows


@pytest.mark.parametrize("sensor", ["crop", "gaussian", "stn"])
def test_a_nan_window_is_refused_with_its_lane(sensor: str) -> None:
    env = make_env(3, sensor=sensor)
    env.reset(seed=0)
    window = np.zeros((3, env.sensor.window_parameters), np.float32)
    window[2, 1] = NAN
    with pytest.raises(ValueError, match=r"^actions: window of lane 2: got \[0.0, nan.*learning rate$"):
        env.step({"window": window, "label": np.zeros(3, int)})
    window[2, 1] = INFINITY  # clipped, like all that is too large
    observation, *_ = env.step({"window": window, "label": np.zeros(3, int)})
    assert observation["window"][2, 1] == 1


@pytest.mark.parametrize("sensor", ["crop", "gaussian", "stn"])
def test_in_tensors_a_nan_window_comes_back_and_nothing_breaks(sensor: str) -> None:
    env = make_env(3, sensor=sensor, tensors=True)
    first, _ = env.reset(seed=0)
    window = torch.zeros(3, env.sensor.window_parameters)
    window[1] = NAN
    observation, *_ = env.step({"window": window, "label": torch.zeros(3, dtype=torch.long)})
    assert observation["window"].isnan().any(dim=1).tolist() == [False, True, False]
    assert observation["glimpse"][[0, 2]].isfinite().all()
    assert first["glimpse"].shape == observation["glimpse"].shape


@pytest.mark.parametrize(("at", "kept"), [(8, 4), (9, 8)], ids=["before a save", "before a validation"])
def test_a_step_that_ruins_a_weight_costs_no_checkpoint_and_is_not_measured(
    at: int, kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saved after updates 4, 8 and 10, validated after 3, 6, 9 and 10."""
    config, interruption = make_config(run={"tensorboard": False}), Interruption()
    original = Learner.update

    def update(self: Learner, on_step: Any = None) -> Any:
        facts = original(self, on_step)
        if self.updates == at:
            with torch.no_grad():
                self.policy.classifier.bias[0] = math.nan
        return facts

    monkeypatch.setattr(Learner, "update", update)
    with pytest.raises(NumbersGoneBad, match=rf"^learned: update {at}: its step made classifier\.bias NaN"):
        train_agent(config, make_world(config), tmp_path, "learned", resume=False, interruption=interruption)
    saved = read_checkpoint(tmp_path / CHECKPOINT)
    assert saved["learner"]["updates"] == kept
    assert all(value.isfinite().all() for value in saved["learner"]["policy"].values())
    assert [row["step"] for row in whole_rows(tmp_path / "metrics.csv") if row["eval/error"]] == ["24", "48"]
