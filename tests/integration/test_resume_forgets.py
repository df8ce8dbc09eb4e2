"""Negative controls of test_resume.py: of all that a stopped run leaves, none may be lost or changed unnoticed.

Each row takes one piece of state away, or changes it in its last bit, and the comparison that finds no difference
there must find one here.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ram_agent import learner as learner_module
from ram_agent.algorithm import Algorithm
from ram_agent.checkpoint import CheckpointError, keep_checkpoint, read_checkpoint
from ram_agent.config import Config
from ram_agent.learner import Learner
from ram_agent.run_files import CHECKPOINT
from tests.resuming import UPDATES, assert_same_runs, configure, drawn_fast, stop, train

Saved = dict[str, Any]


@pytest.fixture(autouse=True, scope="module")
def _fast() -> Iterator[None]:
    with drawn_fast():
        yield


class Kept:
    """A run that went through, and the same stopped in its last update but one."""

    def __init__(self, config: Config, folder: Path, role: str = "learned") -> None:
        self.config, self.folder, self.role = config, folder, role
        self.whole, self.stopped = folder / "whole", folder / "stopped"
        train(config, self.whole, role=role)
        stop(lambda: train(config, self.stopped, role=role), UPDATES - 1, "signal")

    def agent(self, run: Path) -> Path:
        return run if self.role == "learned" else run / "controls" / self.role

    def resumed(self, to: Path, config: Config | None = None) -> Path:
        train(config or self.config, to, role=self.role, resume=True)
        return self.agent(to)

    def copied(self, to: Path) -> Path:
        shutil.copytree(self.stopped, to)
        return to

    def forgetting(self, forget: Callable[[Saved], object], to: Path) -> Path:
        """Resumed from a checkpoint that has forgotten something."""
        path = self.agent(self.copied(to)) / CHECKPOINT
        saved = read_checkpoint(path)
        forget(saved)
        keep_checkpoint(path, {key: value for key, value in saved.items() if key != "format"}, 3)
        return self.resumed(to)

    def is_found_out(self, agent: Path) -> bool:
        try:
            assert_same_runs(agent, self.agent(self.whole))
        except AssertionError:
            return True
        return False


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Kept]:
    made: dict[str, Kept] = {}

    def make(optimizer: str = "adam", role: str = "learned") -> Kept:
        name = f"{optimizer}-{role}"
        if name not in made:
            config = configure(training={"optimizer": optimizer, "window_std_end": 0.1})
            made[name] = Kept(config, tmp_path_factory.mktemp(name), role)
        return made[name]

    return make


def nudge(value: Tensor) -> None:
    """The last bit of one number: of the largest, so that nothing of it is lost in a sum."""
    flat = value.view(-1)
    at = flat.abs().argmax()
    flat[at] = torch.nextafter(flat[at], torch.tensor(torch.inf))


@pytest.mark.parametrize(
    ("optimizer", "role"),
    [("adam", "learned"), ("muon", "learned"), ("adam", "modern_cnn")],
)
def test_a_checkpoint_that_forgets_nothing_is_not_found_out(
    optimizer: str, role: str, kept: Callable[..., Kept], tmp_path: Path
) -> None:
    runs = kept(optimizer, role)
    assert not runs.is_found_out(runs.forgetting(lambda saved: None, tmp_path / "run"))


def of_the_policy(name: str) -> Callable[[Saved], None]:
    def change(saved: Saved) -> None:
        nudge(saved["learner"]["policy"][name])

    return change


def of_adam(name: str) -> Callable[[Saved], None]:
    def change(saved: Saved) -> None:
        slots = saved["learner"]["optimizer"]["state"]
        for slot in slots.values():
            slot[name] += 1 if name == "step" else 0
            slot[name] *= 1 if name == "step" else 1.001

    return change


def forgotten_optimizer(saved: Saved) -> None:
    saved["learner"]["optimizer"]["state"] = {}


def counted(name: str) -> Callable[[Saved], None]:
    def change(saved: Saved) -> None:
        saved["learner"][name] += 1

    return change


def forgotten_means(saved: Saved) -> None:
    saved["learner"]["running"] |= {"sums": {}, "updates": 0}


def another_mean(saved: Saved) -> None:
    saved["learner"]["running"]["sums"]["train/loss"] *= 1.00001


def a_lower_norm(saved: Saved) -> None:
    saved["learner"]["lowest_norm"] /= 2


def forgotten_best(saved: Saved) -> None:
    saved["best"] = None


def a_better_best(saved: Saved) -> None:
    saved["best"]["error"] = 0.0


def other_best_weights(saved: Saved) -> None:
    nudge(saved["best"]["weights"]["classifier.weight"])


FORGET: dict[str, Callable[[Saved], None]] = {
    "policy: the core": of_the_policy("core.cell.weight_hh"),
    "policy: the window head": of_the_policy("window_head.outer.bias"),
    "policy: the baseline": of_the_policy("baseline.value.bias"),
    "optimizer: all": forgotten_optimizer,
    "optimizer: first moments": of_adam("exp_avg"),
    "optimizer: second moments": of_adam("exp_avg_sq"),
    "optimizer: steps": of_adam("step"),
    "updates: schedule, scenes and noise": counted("updates"),
    "earlier_updates": counted("earlier_updates"),
    "num_timesteps": counted("num_timesteps"),
    "running: all": forgotten_means,
    "running: one mean": another_mean,
    "lowest_norm": a_lower_norm,
    "best: all": forgotten_best,
    "best: the error": a_better_best,
    "best: the weights": other_best_weights,
}


@pytest.mark.parametrize("what", FORGET)
def test_a_checkpoint_that_forgets_anything_is_found_out(what: str, kept: Callable[..., Kept], tmp_path: Path) -> None:
    runs = kept()
    assert runs.is_found_out(runs.forgetting(FORGET[what], tmp_path / "run"))


def test_every_entry_of_a_checkpoint_has_its_negative_control(kept: Callable[..., Kept]) -> None:
    saved = read_checkpoint(kept().stopped / CHECKPOINT)
    # For those who open a checkpoint by itself; a resumed run has config.yaml.
    explained = {"blueprint", "training", "seed", "total_episodes", "images", "classes", "image_size"}
    explained |= {"format", "sha256", "processes"}  # another one is refused
    explained |= {"seconds"}  # how long it took
    explained |= {"learner"}  # its entries have rows of their own
    tested = {what.partition(":")[0] for what in FORGET}
    assert tested | explained == saved.keys() | saved["learner"].keys()
    assert not tested & explained


def test_a_checkpoint_of_other_images_is_refused(kept: Callable[..., Kept], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="images: the run was trained on"):
        kept().forgetting(lambda saved: saved.update(sha256="1" * 64), tmp_path / "run")


def test_muons_momentum_is_not_forgotten_unnoticed(kept: Callable[..., Kept], tmp_path: Path) -> None:
    def forget(saved: Saved) -> None:
        slots = saved["learner"]["optimizer"]["muon"]["state"]
        assert slots
        for slot in slots.values():
            slot["momentum_buffer"].mul_(1.001)

    runs = kept("muon")
    assert runs.is_found_out(runs.forgetting(forget, tmp_path / "run"))


def test_sgds_momentum_is_not_forgotten_unnoticed(kept: Callable[..., Kept], tmp_path: Path) -> None:
    def forget(saved: Saved) -> None:
        for slot in saved["learner"]["optimizer"]["state"].values():
            slot["momentum_buffer"].zero_()

    runs = kept("sgd")
    assert runs.is_found_out(runs.forgetting(forget, tmp_path / "run"))


def test_running_averages_of_a_batch_norm_are_not_forgotten_unnoticed(
    kept: Callable[..., Kept], tmp_path: Path
) -> None:
    def forget(saved: Saved) -> None:
        nudge(saved["learner"]["policy"]["network.1.running_mean"])

    runs = kept(role="modern_cnn")
    assert runs.is_found_out(runs.forgetting(forget, tmp_path / "run"))


# -------------------------------------------------------------------- what is not in the checkpoint


def other_noise(patch: pytest.MonkeyPatch) -> None:
    """The generator of samples, had it been left where it was instead of seeded by the number of the update."""
    original = learner_module.noise_seed
    patch.setattr(learner_module, "noise_seed", lambda seed, number: original(seed, number + 1))


def other_scenes(patch: pytest.MonkeyPatch) -> None:
    original = Learner._schedule

    def schedule(self: Learner) -> None:
        original(self)
        self._first_image += 1

    patch.setattr(Learner, "_schedule", schedule)


def other_exploration(patch: pytest.MonkeyPatch) -> None:
    """The std itself is logged: what is drawn is changed behind its back."""
    original = Learner._schedule

    def schedule(self: Learner) -> None:
        original(self)
        self._std += 1e-6

    patch.setattr(Learner, "_schedule", schedule)


@pytest.mark.parametrize("change", [other_noise, other_scenes, other_exploration])
def test_what_follows_from_the_number_of_the_update_is_not_changed_unnoticed(
    change: Callable[[pytest.MonkeyPatch], None], kept: Callable[..., Kept], tmp_path: Path, monkeypatch: Any
) -> None:
    runs = kept()
    change(monkeypatch)
    assert runs.is_found_out(runs.resumed(runs.copied(tmp_path / "run")))


def test_another_seed_is_refused_and_where_it_is_not_is_found_out(
    kept: Callable[..., Kept], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = kept()
    other = runs.config.model_copy(update={"run": runs.config.run.model_copy(update={"seed": 5})})
    with pytest.raises(CheckpointError, match="seed: got 5, expected 4 as saved"):
        runs.resumed(runs.copied(tmp_path / "refused"), other)
    monkeypatch.setattr(Algorithm, "go_on", lambda self, saved, path: self.load_state_dict(saved["learner"]))
    assert runs.is_found_out(runs.resumed(runs.copied(tmp_path / "run"), other))


@pytest.mark.parametrize("lost", ["metrics.csv", "events.out.tfevents.*"])
def test_lost_curves_are_found_out(lost: str, kept: Callable[..., Kept], tmp_path: Path) -> None:
    runs = kept()
    folder = runs.copied(tmp_path / "run")
    for file in folder.glob(lost):
        file.unlink()
    assert runs.is_found_out(runs.resumed(folder))
