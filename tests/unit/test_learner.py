"""The learners: one update, what is predicted, what is saved, and Stable-Baselines3's own tools around them."""

import csv
import json
import math
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CheckpointCallback,
    EvalCallback,
    StopTrainingOnNoModelImprovement,
    StopTrainingOnRewardThreshold,
)
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import configure
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from envs.single import GlimpseEnv
from ram_agent.algorithm import Actions
from ram_agent.beginning import begin_with
from ram_agent.building import best_policy
from ram_agent.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from ram_agent.config import TrainingConfig
from ram_agent.controls import CONTROLS
from ram_agent.heads import LearnedWindowHead
from ram_agent.learner import LEARNERS, REINFORCE, Learner, Pathwise, StraightThrough
from ram_agent.parallel import Ranks
from ram_agent.policy import RecurrentAttentionPolicy
from ram_agent.progress import ProgressBar
from ram_agent.rollout import rollout
from ram_agent.run_files import CHECKPOINT
from tests.making import make_env, make_images, make_learner, make_policy

LOOKS = 3


def weights(learner: Learner) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in learner.policy.state_dict().items()}


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    """First parts of the names of weights that differ."""
    return {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}


def make_single(**settings: Any) -> GlimpseEnv:
    return GlimpseEnv(
        images=make_images(),
        size=(18, 22),
        clutter=2,
        clutter_size=4,
        glimpse_size=4,
        scales=2,
        glimpses=LOOKS,
        **settings,
    )


# -------------------------------------------------------------------- construction


def test_an_environment_with_another_number_of_lanes_is_acted_in_and_not_learned_in() -> None:
    env = make_env(8, tensors=True)
    policy = make_policy(env)
    learner = REINFORCE(policy, env, batch=3, episodes_per_image=2)
    learner.predict(env.reset(seed=1)[0])
    told = r"^env: got 8 lanes, expected batch x episodes_per_image = 3 x 2 to learn from; make it with as many"
    learner.num_timesteps, learner.updates = 30, 5
    with pytest.raises(ValueError, match=told):
        learner.learn(LOOKS * 8)
    assert (learner.num_timesteps, learner.updates, learner.earlier_updates) == (30, 5, 0)
    REINFORCE(policy, env, batch=4, episodes_per_image=2).learn(LOOKS * 8)
    REINFORCE(policy, env)  # without a batch, the lanes are it
    with pytest.raises(ValueError, match=r"^episodes_per_image: "):
        REINFORCE(policy, env, episodes_per_image=0)


@pytest.mark.parametrize("name", ["baseline", "reinforce_weight", "reward"])
def test_what_a_learner_does_not_go_by_is_refused_by_name_and_taken_at_its_usual_value(name: str) -> None:
    env = make_env(8, tensors=True)
    policy, usual = make_policy(env, head="straight_through"), TrainingConfig.model_fields[name].default
    other = {"baseline": "none", "reinforce_weight": 0.5, "reward": "success"}[name]
    with pytest.raises(ValueError, match=rf"^{name}: got {other!r}, expected {usual!r} for straight_through"):
        StraightThrough(policy, env, **{name: other})
    StraightThrough(policy, env, **{name: usual})


def test_an_environment_in_numpy_is_refused_by_name() -> None:
    env = make_env(8)
    with pytest.raises(ValueError, match=r"^env: got tensors=False, expected True"):
        REINFORCE(make_policy(env), env)


@pytest.mark.parametrize(
    ("rule", "value", "expected"),
    [
        ("moves", "relative", "'absolute'"),
        ("reward", "each_look", "'success'"),
        ("early_answer", True, "False"),
        ("look_cost", 0.1, "0.0"),
        ("autoreset_mode", "SameStep", "'Disabled'"),
    ],
)
def test_rules_that_a_rollout_does_not_know_are_refused_by_name(rule: str, value: object, expected: str) -> None:
    env = make_env(8, tensors=True, **{rule: value})
    with pytest.raises(ValueError, match=rf"^env: got {rule}={value!r}, expected {expected}: .*make it without"):
        REINFORCE(make_policy(env), env)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"scales": 3}, r"policy: got glimpse_shape for \(2, 4, 4\), expected \(3, 4, 4\)"),
        ({"sensor": "stn"}, "policy: got first_window for 2, expected 4"),
        ({"images": make_images(classes=3)}, "policy: got classes for 4, expected 3"),
    ],
)
def test_a_policy_for_another_environment_is_refused_by_name(other: dict[str, Any], message: str) -> None:
    policy = make_policy(make_env(8, tensors=True))
    with pytest.raises(ValueError, match=message):
        REINFORCE(policy, make_env(8, tensors=True, **other))


@pytest.mark.parametrize(("method", "sensor"), [("pathwise", "crop"), ("straight_through", "stn")])
def test_an_eye_without_the_gradient_that_a_learner_goes_by_is_refused(method: str, sensor: str) -> None:
    env = make_env(8, tensors=True, sensor=sensor)
    with pytest.raises(ValueError, match=f"env: got a sensor of kind '{sensor}', expected"):
        LEARNERS[method](make_policy(env, head=method), env)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "pathwise"}, "method: got 'pathwise', expected 'reinforce', which REINFORCE is"),
        ({"seed": -1}, "seed: got -1, expected a whole number from 0"),
        ({"seed": 2**63}, "seed: got 9223372036854775808, expected a whole number from 0"),
        ({"episodes_per_image": "two"}, "episodes_per_image: "),
        ({"trained_agent": "runs/default"}, "trained_agent: got 'runs/default', expected none: `load`"),
    ],
)
def test_a_setting_that_a_learner_cannot_have_is_refused(settings: dict[str, Any], message: str) -> None:
    env = make_env(8, tensors=True)
    with pytest.raises(ValueError, match=message):
        REINFORCE(make_policy(env), env, **settings)


def test_settings_are_checked_like_those_of_a_config_and_win_over_it() -> None:
    with pytest.raises(ValueError, match="learning_rate"):
        make_learner(learning_rate=-1.0)
    with pytest.raises(ValueError, match=r"^learning_rat: unknown setting \(did you mean learning_rate\?\)$"):
        make_learner(learning_rat=1.0)
    training = TrainingConfig(batch=8, learning_rate=0.5, clip=2.0)
    learner = make_learner(training=training, learning_rate=0.25)
    assert (learner.training.learning_rate, learner.training.clip) == (0.25, 2.0)


# -------------------------------------------------------------------- one update


@pytest.mark.parametrize("method", LEARNERS)
def test_an_update_changes_every_part_of_the_policy_that_has_something_to_learn(method: str) -> None:
    learner = make_learner(method, policy={"detach_location": True})
    before = weights(learner)
    learner.update()
    parts = {"glimpse", "core", "classifier", "window_head"} | ({"baseline"} if method == "reinforce" else set())
    assert changed(before, weights(learner)) == parts
    assert (learner.updates, learner.episodes) == (1, 8)


@pytest.mark.parametrize("method", LEARNERS)
def test_learners_of_one_seed_are_bit_equal_and_of_another_seed_are_not(method: str) -> None:
    runs = []
    for seed in (0, 0, 1):
        env = make_env(8, tensors=True, sensor="gaussian" if method == "pathwise" else "crop")
        # The same first weights: what differs is the learner's own seed.
        policy = make_policy(env, head=LEARNERS[method].head, seed=0)
        learner = LEARNERS[method](policy, env, seed=seed)
        for _ in range(3):
            learner.update()
        runs.append(weights(learner))
    assert changed(runs[0], runs[1]) == set()
    assert "core" in changed(runs[0], runs[2])


def test_straight_through_pulls_the_window_head_by_the_slope_of_the_crop_and_by_the_window_itself() -> None:
    """By hand: what the loss would give for the glimpse, times how that differs one pixel on and one back; and what it
    would give for the window, which the agent is told; together, times `policy.window_gradient`, through the mean.
    """
    settings = {"detach_location": True, "window_gradient": 0.3}
    learner = make_learner("straight_through", env={"glimpses": 2}, policy=settings)
    policy, env, sensor = learner.policy, learner.env, learner.env.sensor
    assert isinstance(policy, RecurrentAttentionPolicy)
    head = policy.window_head
    assert isinstance(head, LearnedWindowHead)
    torch.nn.init.normal_(head.outer.weight, std=0.5)
    episode = rollout(policy, env, std=0.1, seed=0, generator=torch.Generator().manual_seed(0))
    losses, _ = learner.losses(episode, 0.1)
    found = torch.autograd.grad(losses.classification, list(head.parameters()))

    def seen(action: torch.Tensor) -> torch.Tensor:
        return sensor(env.canvas, sensor.window(action)).flatten(1, 2).detach()

    with torch.no_grad():
        hidden, state = policy.look(seen(episode.windows[0]), episode.windows[0], policy.initial_state(8))
    window = episode.windows[1].detach().requires_grad_()
    assert window.abs().max() < 0.9  # none at the border, where it is clamped
    glimpse = seen(window).requires_grad_()
    second, _ = policy.look(glimpse, window, state)
    loss = F.cross_entropy(policy.answer(second), episode.target)
    for_glimpse, for_window = torch.autograd.grad(loss, [glimpse, window])
    for axis, extent in ((0, env.canvas.shape[3]), (1, env.canvas.shape[2])):
        pixel = 2 / extent / sensor.reach * torch.eye(2)[axis]
        slope = (seen(window + pixel) - seen(window - pixel)) / (2 * pixel[axis])
        for_window[:, axis] += (for_glimpse * slope).flatten(1).sum(dim=1)
    expected = torch.autograd.grad(head.mean(hidden), list(head.parameters()), 0.3 * for_window)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.abs().max() > 1e-6
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-7)


def test_the_noise_of_another_seed_is_another() -> None:
    seeds = []
    for seed in (0, 0, 1):
        learner = make_learner(seed=seed)
        learner.update()
        seeds.append(learner.generator.initial_seed())
    assert seeds[0] == seeds[1] != seeds[2]


def test_the_loss_is_the_weighted_sum_of_terms_that_are_named() -> None:
    settings = {"classification_weight": 0.5, "reinforce_weight": 3.0, "baseline_weight": 7.0}
    facts = make_learner(**settings).update()
    terms = {name.partition("_")[0]: facts[f"train/{name.replace('weight', 'loss')}"] for name in settings}
    assert set(terms) == {"classification", "reinforce", "baseline"}
    assert all(term != 0 for term in terms.values())
    expected = 0.5 * terms["classification"] + 3 * terms["reinforce"] + 7 * terms["baseline"]
    torch.testing.assert_close(facts["train/loss"], expected)


@pytest.mark.parametrize(
    ("term", "parts"),
    [
        ("classification", {"glimpse", "core", "classifier"}),
        ("reinforce", {"window_head"}),  # detach_location: the core serves the classifier alone
        ("baseline", {"baseline"}),
    ],
)
def test_a_term_alone_teaches_its_own_part_and_a_weight_of_0_silences_it(term: str, parts: set[str]) -> None:
    names = ("classification", "reinforce", "baseline")
    alone = make_learner(**{f"{name}_weight": float(name == term) for name in names})
    before = weights(alone)
    alone.update()
    assert changed(before, weights(alone)) == parts
    silenced = make_learner(**{f"{name}_weight": float(name != term) for name in names})
    silenced.update()
    assert not changed(before, weights(silenced)) & parts


def test_without_the_detachment_the_score_function_teaches_the_core_too() -> None:
    only = {"classification_weight": 0.0, "baseline_weight": 0.0}
    learner = make_learner(policy={"detach_location": False}, **only)
    learner.update()  # the last layer of the window head starts at 0: nothing passes it yet
    before = weights(learner)
    learner.update()
    assert changed(before, weights(learner)) == {"glimpse", "core", "window_head"}


def test_denormal_numbers_count_as_0_while_it_learns_and_no_longer() -> None:
    """Processors are slow at them; the rest of the program keeps its numbers."""
    tiny, seen = torch.full((8,), 1e-39), []

    class Watch(BaseCallback):
        def _on_step(self) -> bool:
            seen.append((tiny * 0.5).sum().item())
            return len(seen) < 2

    assert (tiny * 0.5).sum() > 0
    make_learner("pathwise").learn(1000, callback=Watch())
    assert seen[0] == 0
    assert (tiny * 0.5).sum() > 0


def test_scenes_and_samples_both_come_from_the_seed() -> None:
    env = make_env(8, tensors=True)
    observation, _ = make_env(2).reset(seed=0)
    scenes, samples = [], []
    for seed in (0, 0, 1):
        learner = REINFORCE(make_policy(env, seed=0), env, seed=seed)
        samples.append(learner.predict(observation)[0]["window"])
        learner.update()
        scenes.append(env.canvas.clone())
    assert torch.equal(scenes[0], scenes[1])
    assert not torch.equal(scenes[0], scenes[2])
    assert (samples[0] == samples[1]).all()
    assert (samples[0] != samples[2]).any()


def test_the_noise_of_an_update_follows_from_its_number_and_not_from_what_was_drawn_before() -> None:
    """Hence a checkpoint need not hold a generator, and ranks may draw as they like."""
    one, other = make_learner(), make_learner()
    other.policy.load_state_dict(one.policy.state_dict())
    torch.randn(17, generator=other.generator)
    for _ in range(2):
        facts = [learner.update() for learner in (one, other)]
        assert torch.equal(facts[0]["train/loss"], facts[1]["train/loss"])
        assert torch.equal(facts[0]["rollout/fixation_spread"], facts[1]["rollout/fixation_spread"])


@pytest.mark.parametrize("every", [False, True])
def test_classification_counts_the_last_look_or_every_look(every: bool) -> None:
    learner = make_learner("pathwise", classify_every_look=every)
    episode = rollout(learner.policy, learner.env, seed=[0] * 8, scenes=np.arange(8))
    losses, _ = learner.losses(episode, 0.0)
    by_look = [F.cross_entropy(logits, episode.target) for logits in episode.logits]
    expected = torch.stack(by_look).mean() if every else by_look[-1]
    torch.testing.assert_close(losses.classification, expected)
    assert abs(by_look[0] - by_look[-1]) > 1e-4


def test_the_score_function_sees_one_window_per_move_and_no_baseline_where_none_is_wanted() -> None:
    learner = make_learner(baseline="none", reward="log_likelihood")
    episode = rollout(
        learner.policy, learner.env, std=0.2, seed=[0] * 8, scenes=np.arange(8), generator=learner.generator
    )
    losses, facts = learner.losses(episode, 0.2)
    returns = -F.cross_entropy(episode.logits[-1], episode.target, reduction="none").detach()
    law = torch.distributions.Normal(episode.means, 0.2)
    expected = -(law.log_prob(episode.samples).sum(dim=(0, 2)) * returns).mean()
    torch.testing.assert_close(losses.reinforce, expected)
    assert losses.baseline == 0
    assert facts == {}
    assert len(episode.means) == LOOKS - 1


def test_leave_one_out_plays_the_episodes_of_one_image_in_neighbouring_lanes() -> None:
    learner = make_learner(lanes=6, episodes_per_image=3, batch=2, baseline="leave_one_out")
    seen = []
    original = learner.env.reset
    learner.env.reset = lambda **arguments: seen.append(arguments["options"]["scene"]) or original(**arguments)
    learner.update(), learner.update()
    assert [scenes.tolist() for scenes in seen] == [[0, 0, 0, 1, 1, 1], [2, 2, 2, 3, 3, 3]]


def test_no_scene_of_a_run_is_shown_twice() -> None:
    learner, seen = make_learner(), []
    original = learner.env.reset
    learner.env.reset = lambda **arguments: seen.extend(arguments["options"]["scene"]) or original(**arguments)
    learner.learn(10 * 8 * LOOKS)
    assert seen == list(range(80))


def test_a_control_that_looks_at_random_learns_to_classify_and_nothing_else() -> None:
    for head in CONTROLS:
        learner = make_learner("pathwise", env={"sensor": "crop"}, head=head)
        before = weights(learner)
        facts = learner.update()
        assert changed(before, weights(learner)) == {"glimpse", "core", "classifier"}
        assert facts["train/reinforce_loss"] == facts["train/baseline_loss"] == 0


def test_a_run_of_one_look_has_no_moves_and_trains_all_the_same() -> None:
    for baseline in ("none", "learned"):
        learner = make_learner(env={"glimpses": 1}, baseline=baseline)
        facts = learner.update()
        assert facts["train/reinforce_loss"] == 0
        assert torch.isfinite(facts["train/loss"])


def test_the_window_is_what_a_soft_learner_moves_towards_less_loss() -> None:
    # One image, one look away from it: gradient descent on the window alone must lower the classification loss.
    learner = make_learner(
        "pathwise", learning_rate=0.01, learning_rate_schedule="constant", policy={"window_gradient": 1.0}
    )
    for name, parameter in learner.policy.named_parameters():
        parameter.requires_grad_(name.startswith("window_head"))
    shown = {"seed": [0] * 8, "scenes": np.arange(8)}

    def loss() -> float:
        return learner.losses(rollout(learner.policy, learner.env, **shown), 0.0)[0].classification.item()

    before = loss()
    for _ in range(30):
        learner.updates = 0  # the same scenes again
        learner.update()
    assert loss() < before


# -------------------------------------------------------------------- schedules


@pytest.mark.parametrize(
    ("schedule", "expected"), [("constant", (0.4, 0.4, 0.4)), ("linear", (0.4, 0.2, 0.0)), ("cosine", (0.4, 0.2, 0.0))]
)
def test_learning_rates_at_the_start_the_middle_and_the_end(schedule: str, expected: tuple[float, ...]) -> None:
    learner = make_learner(learning_rate=0.4, learning_rate_schedule=schedule, window_rate=0.25, episodes=80)
    for updates, rate in zip((0, 5, 10), expected, strict=True):
        learner.updates = updates
        learner.update()
        all_else, window_head = learner.optimizer.param_groups
        assert all_else["lr"] == pytest.approx(rate, abs=1e-9)
        assert window_head["lr"] == pytest.approx(rate / 4, abs=1e-9)
    learner.updates = 2  # where linear and cosine part
    learner.update()
    quarter = {"constant": 0.4, "linear": 0.32, "cosine": 0.2 * (1 + math.cos(math.pi / 5))}[schedule]
    assert learner.optimizer.param_groups[0]["lr"] == pytest.approx(quarter)


def test_at_a_learning_rate_of_0_nothing_moves() -> None:
    learner = make_learner(learning_rate_schedule="linear", episodes=80)
    before = weights(learner)
    learner.updates = 10
    learner.update()
    assert changed(before, weights(learner)) == set()


# -------------------------------------------------------------------- averaged weights


def test_the_average_is_exponential_over_so_many_episodes_and_the_training_does_not_know_of_it() -> None:
    """Held against the sum that it stands for: each update takes in 10 / (9 + k), and from the 20th on a third.

    24 episodes are three updates of 8 lanes.
    """
    plain, averaged = make_learner(learning_rate=0.01), make_learner(learning_rate=0.01, weight_average=24)
    assert averaged.judged is averaged.policy  # nothing to average yet
    passed = []
    for _ in range(24):
        plain.update(), averaged.update()
        passed.append(weights(averaged))
    assert changed(weights(plain), weights(averaged)) == set()
    taken = [10 / (9 + k) if k < 21 else 1 / 3 for k in range(1, 25)]
    shares = torch.tensor(
        [share * math.prod(1 - later for later in taken[k:]) for k, share in enumerate(taken, start=1)],
        dtype=torch.float64,
    )
    assert shares.sum() == pytest.approx(1)
    assert shares[-1] / shares[-2] == pytest.approx(1.5)  # as far back as it is to reach
    for name, value in averaged.judged.state_dict().items():
        each = torch.stack([after[name] for after in passed]).double()
        torch.testing.assert_close(value, torch.tensordot(shares, each, dims=1).float())
    assert plain.judged is plain.policy


def test_averages_over_less_than_an_update_are_the_weights_as_they_stand() -> None:
    learner = make_learner(learning_rate=0.01, weight_average=3)
    for _ in range(3):
        learner.update()
    assert learner.judged is not learner.policy
    assert changed(weights(learner), learner.judged.state_dict()) == set()


def test_a_learner_acts_by_its_average_and_saves_it(tmp_path: Path) -> None:
    learner = make_learner(learning_rate=0.05, weight_average=80)
    for _ in range(10):
        learner.update()
    observation, _ = make_env(8).reset(seed=3)
    action, _ = learner.predict(observation, deterministic=True)
    learner.save(tmp_path / "averaged")
    again = REINFORCE.load(tmp_path / "averaged", make_env(8, tensors=True))
    assert changed(learner.judged.state_dict(), again.judged.state_dict()) == set()
    assert changed(weights(learner), again.judged.state_dict())
    np.testing.assert_array_equal(again.predict(observation, deterministic=True)[0]["window"], action["window"])
    last = make_learner()
    last.policy.load_state_dict(learner.policy.state_dict())
    assert not np.array_equal(last.predict(observation, deterministic=True)[0]["window"], action["window"])


def test_before_the_first_validation_a_checkpoint_stands_for_its_average(tmp_path: Path) -> None:
    """For who evaluates it, and for a training that begins with it."""
    learner = make_learner(learning_rate=0.05, weight_average=80)
    learner.save(tmp_path / "new", best=None)
    for _ in range(5):
        learner.update()
    learner.save(tmp_path / CHECKPOINT, best=None)
    saved = read_checkpoint(tmp_path / CHECKPOINT)
    assert changed(learner.judged.state_dict(), best_policy(saved, torch.device("cpu")).state_dict()) == set()
    begun = make_learner()
    begin_with(begun.policy, tmp_path)
    assert changed(learner.judged.state_dict(), weights(begun)) == set()
    best = weights(make_learner(seed=5))
    learner.save(tmp_path / CHECKPOINT, best={"error": 1.0, "episodes": 8, "weights": best})
    assert changed(best, best_policy(read_checkpoint(tmp_path / CHECKPOINT), torch.device("cpu")).state_dict()) == set()
    new = read_checkpoint(tmp_path / "new.pt")  # an average of nothing yet
    assert changed(new["learner"]["policy"], best_policy(new, torch.device("cpu")).state_dict()) == set()


@pytest.mark.parametrize(
    ("saved", "here", "launcher"), [(2, 1, "torchrun --nproc-per-node 2"), (1, 2, "python")], ids=str
)
def test_another_number_of_processes_is_told_a_command_that_a_wheel_has_too(
    saved: int, here: int, launcher: str, tmp_path: Path
) -> None:
    """`train.py` is in a checkout alone."""
    one, other = make_learner(), make_learner()
    one.ranks, other.ranks = Ranks(0, saved), Ranks(0, here)
    one.save(tmp_path / "agent")
    with pytest.raises(
        CheckpointError, match=f"go on with {launcher} -m ram_agent train --resume and the run's folder"
    ):
        other.restore(tmp_path / "agent")


@pytest.mark.parametrize(
    ("here", "named"),
    [
        ({"seed": 7}, "seed: got 7, expected 5"),
        ({"optimizer": "sgd"}, "optimizer: got 'sgd', expected 'adam'"),
        ({"batch": 2, "episodes_per_image": 4}, "batch: got 2, expected 8"),
    ],
    ids=["seed", "optimiser", "batch"],
)
def test_a_training_does_not_go_on_as_another(here: dict[str, Any], named: str, tmp_path: Path) -> None:
    """Its images, its count of episodes and its optimiser's state would be those of neither."""
    make_learner(seed=5).save(tmp_path / "agent")
    other = make_learner(**({"seed": 5} | here))
    with pytest.raises(CheckpointError, match=f"{named} as saved in .*; make the learner with that, or take `load`"):
        other.restore(tmp_path / "agent")


def test_a_rate_of_the_window_heads_own_is_the_learners_and_not_the_checkpoints(tmp_path: Path) -> None:
    make_learner(window_rate=0.1).save(tmp_path / "agent")
    other = make_learner(window_rate=0.5, learning_rate=0.01)
    other.restore(tmp_path / "agent")
    other.update()
    assert [group["lr"] for group in other.optimizer.param_groups] == [0.01, 0.005]


def test_what_several_processes_trained_is_counted_as_they_did_until_it_begins_anew(tmp_path: Path) -> None:
    learner = make_learner(episodes=160)
    learner.learn(80 * LOOKS)
    learner.ranks = Ranks(0, 2)
    learner.num_timesteps *= 2
    learner.total_episodes *= 2
    learner.save(tmp_path / "agent")
    again = REINFORCE.load(tmp_path / "agent", make_env(8, tensors=True))
    assert (again.episodes, again.num_timesteps, again.progress) == (160, 160 * LOOKS, 1.0)
    with pytest.raises(ValueError, match=r"^reset_num_timesteps: got False, expected True: updates of 16 episodes"):
        again.learn(8 * LOOKS, reset_num_timesteps=False)
    again.learn(8 * LOOKS)
    assert (again.episodes, again.earlier_updates) == (8, 20)  # two of ours showed what one of theirs did


@pytest.mark.parametrize("lanes", [1, 8])
def test_a_trained_agent_explores_as_at_the_end_of_its_training(lanes: int, tmp_path: Path) -> None:
    learner = make_learner(episodes=80, window_std=0.2, window_std_end=0.01)
    learner.learn(80 * LOOKS)
    learner.save(tmp_path / "run" / CHECKPOINT, best=None, images="", sha256="", classes=[], image_size=[])
    of_file = REINFORCE.load(tmp_path / "run" / CHECKPOINT, make_env(lanes, tensors=True))
    of_folder = REINFORCE.load(tmp_path / "run", make_env(lanes, tensors=True))
    for loaded in (of_file, of_folder):
        assert loaded.window_std(loaded.progress) == pytest.approx(0.01)
    if lanes == 8:
        of_folder.learn(8 * LOOKS, callback=lambda *_: False)
        assert of_folder.training.window_std == 0.2
        assert not of_folder.trained


def test_an_average_that_a_checkpoint_lacks_begins_where_the_training_goes_on(tmp_path: Path) -> None:
    """As where its config was given one before it was resumed."""
    old, new = make_learner(learning_rate=0.05), make_learner(learning_rate=0.05, weight_average=80)
    for _ in range(4):
        old.update(), new.update()
    old.save(tmp_path / "old")
    new.restore(tmp_path / "old")
    new.update()
    assert changed(weights(new), new.judged.state_dict()) == set()


def test_exploration_goes_linearly_from_start_to_end() -> None:
    learner = make_learner(window_std=0.5, window_std_end=0.1)
    assert [learner.window_std(progress) for progress in (0.0, 0.5, 1.0)] == pytest.approx([0.5, 0.3, 0.1])
    assert [make_learner(window_std=0.5).window_std(progress) for progress in (0.0, 0.5, 1.0)] == [0.5] * 3


def test_a_diagnosis_goes_by_the_exploration_that_the_update_had() -> None:
    """The first update of two, when it finds its numbers gone bad: none has been counted."""
    learner = make_learner(window_std=0.5, window_std_end=0.1)
    learner.total_episodes = 2 * learner.lanes
    assert learner.circumstances().window_std == 0.5


@pytest.mark.parametrize("std", [0.05, 0.4])
def test_training_explores_with_the_std_of_the_schedule(std: float) -> None:
    learner = make_learner(lanes=64, window_std=std, env={"glimpses": 6})
    seen = []
    original = learner.window_losses
    learner.window_losses = lambda episode, given: seen.append((episode, given)) or original(episode, given)
    learner.update()
    ((episode, given),) = seen
    assert given == std
    drawn = ((episode.samples - episode.means) / std).detach().flatten()
    assert drawn.std().item() == pytest.approx(1, abs=5 / math.sqrt(2 * len(drawn)))


def test_gradients_are_clipped_to_the_norm_that_the_config_gives() -> None:
    learner = make_learner(clip=1e-3, optimizer="sgd", learning_rate=1.0, learning_rate_schedule="constant")
    before = weights(learner)
    facts = learner.update()
    after = weights(learner)
    step = math.sqrt(sum(float((after[name] - before[name]).square().sum()) for name in before))
    assert facts["train/gradient_norm"] > 0.1  # as it was before the clipping
    assert step == pytest.approx(1e-3, rel=1e-2)


# -------------------------------------------------------------------- learn


class Recorder(BaseCallback):
    """Counts every call; ends training after `stop_after` steps."""

    def __init__(self, stop_after: int | None = None) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.stop_after = stop_after

    def _on_training_start(self) -> None:
        self.calls.append("training start")

    def _on_rollout_start(self) -> None:
        self.calls.append("rollout start")

    def _on_step(self) -> bool:
        self.calls.append("step")
        return self.stop_after is None or self.n_calls < self.stop_after

    def _on_rollout_end(self) -> None:
        self.calls.append("rollout end")

    def _on_training_end(self) -> None:
        self.calls.append("training end")


def test_learn_counts_steps_of_lanes_and_calls_callbacks_as_stable_baselines3_does() -> None:
    learner, recorder = make_learner(), Recorder()
    assert learner.learn(2 * 8 * LOOKS, callback=recorder) is learner
    one = ["rollout start", *["step"] * LOOKS, "rollout end"]
    assert recorder.calls == ["training start", *one, *one, "training end"]
    assert recorder.num_timesteps == learner.num_timesteps == 2 * 8 * LOOKS
    assert (learner.updates, learner.episodes, learner.progress) == (2, 16, 1.0)


def test_learn_starts_over_or_goes_on_counting() -> None:
    learner = make_learner()
    learner.learn(2 * 8 * LOOKS)
    learner.learn(3 * 8 * LOOKS, reset_num_timesteps=False)
    assert (learner.updates, learner.num_timesteps) == (5, 5 * 8 * LOOKS)
    assert learner.total_episodes == 5 * 8
    learner.learn(8 * LOOKS)
    assert (learner.updates, learner.num_timesteps) == (1, 8 * LOOKS)


def test_learn_again_shows_other_images_and_draws_other_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    learner, shown = make_learner(), list[tuple[list[int], int]]()
    play = learner._play
    monkeypatch.setattr(
        learner,
        "_play",
        lambda *given: (
            shown.append(((learner._first_image + learner._image_of_lane).tolist(), learner.generator.initial_seed())),
            play(*given),
        )[1],
    )
    for _ in range(2):
        learner.learn(2 * 8 * LOOKS)
    images, seeds = zip(*shown, strict=True)
    assert sorted(image for batch in images for image in batch) == list(range(4 * 8))
    assert len(set(seeds)) == 4


@pytest.mark.parametrize(("lanes", "earlier"), [(8, 5), (4, 10), (16, 3)])
def test_a_training_that_begins_with_another_begins_behind_its_images(lanes: int, earlier: int, tmp_path: Path) -> None:
    """With its seed they would come once more, in the same scenes and under the same noise."""
    learner = make_learner(seed=5, episodes=24)
    learner.learn(2 * 8 * LOOKS)
    learner.learn(3 * 8 * LOOKS)
    learner.save(tmp_path / CHECKPOINT, best=None, images="", sha256="", classes=[], image_size=[])
    again = REINFORCE.load(tmp_path, make_env(lanes, tensors=True))
    assert (again.earlier_updates, again.updates) == (earlier, 0)
    again.learn(lanes * LOOKS)
    assert (again.earlier_updates, again.updates) == (earlier, 1)
    other = make_learner(seed=6)
    other.show_others_than(read_checkpoint(tmp_path / CHECKPOINT))
    assert other.earlier_updates == 0


def test_a_function_is_a_callback_as_in_stable_baselines3() -> None:
    learner, met = make_learner(), []

    def twice(local: dict[str, object], _: dict[str, object]) -> bool:
        met.append(local["self"])
        return len(met) < 2

    learner.learn(10 * 8 * LOOKS, callback=twice)
    assert met[0] is learner
    assert learner.updates == 1


def test_a_callback_that_says_no_and_a_signal_end_training_after_the_update_at_hand() -> None:
    learner = make_learner()
    learner.learn(10 * 8 * LOOKS, callback=Recorder(stop_after=LOOKS + 1))
    assert learner.updates == 2
    learner.stop_requested = True
    learner.learn(10 * 8 * LOOKS, reset_num_timesteps=False)
    assert learner.updates == 2
    learner.learn(8 * LOOKS, reset_num_timesteps=False)
    assert learner.updates == 3  # the next is not stopped by the request of before


@pytest.mark.parametrize(("timesteps", "updates"), [(0, 0), (1, 1), (8 * LOOKS, 1), (8 * LOOKS + 1, 2)])
def test_at_least_as_many_steps_are_trained_in_whole_updates(timesteps: int, updates: int) -> None:
    """As in Stable-Baselines3; of none, none."""
    learner = make_learner()
    learner.learn(timesteps)
    assert learner.updates == updates
    assert learner.num_timesteps == updates * 8 * LOOKS


def test_the_logger_is_stable_baselines3s_and_writes_where_it_is_told(tmp_path: Path) -> None:
    learner = make_learner(tensorboard_log=tmp_path / "board")
    learner.learn(2 * 8 * LOOKS, log_interval=1)
    learner.logger.close()
    assert list((tmp_path / "board").glob("events.out.tfevents.*"))


def test_a_learner_that_logs_nothing_leaves_nothing_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    make_learner().learn(2 * 8 * LOOKS, log_interval=1)
    assert list(tmp_path.iterdir()) == []


# -------------------------------------------------------------------- predict


def test_predict_answers_one_observation_or_a_batch_alike() -> None:
    learner = make_learner()
    env = make_env(3)
    observation, _ = env.reset(seed=0)
    actions, state = learner.predict(observation, deterministic=True)
    assert actions["window"].shape == (3, 2)
    assert actions["label"].shape == (3,)
    assert len(actions) == 3
    for i in range(3):
        alone, alone_state = learner.predict({key: value[i] for key, value in observation.items()}, deterministic=True)
        assert type(alone) is dict
        assert alone in env.single_action_space
        assert actions[i].keys() == alone.keys()
        np.testing.assert_allclose(actions[i]["window"], alone["window"], rtol=0, atol=1e-6)
        assert actions[i]["label"] == alone["label"]
        for part, alone_part in zip(state, alone_state, strict=True):
            np.testing.assert_allclose(part[i], alone_part[0], rtol=0, atol=1e-6)


def test_a_batch_of_actions_answers_gymnasiums_and_stable_baselines3s_convention() -> None:
    actions = Actions(window=np.arange(6.0).reshape(3, 2), label=np.arange(3))
    assert actions["label"].tolist() == [0, 1, 2]
    assert actions[np.int64(1)]["window"].tolist() == actions[1]["window"].tolist() == [2.0, 3.0]
    assert actions[2]["label"] == 2
    with pytest.raises(KeyError):
        actions["glimpse"]
    with pytest.raises(IndexError):
        actions[3]


def test_predicting_step_by_step_is_the_rollout() -> None:
    learner = make_learner()
    learner.learn(8 * LOOKS)
    shown = {"seed": [3] * 8, "scenes": np.arange(8)}
    episode = rollout(learner.policy, learner.env, **shown)
    env = make_env(8)
    observation, _ = env.reset(seed=[3] * 8, options={"scene": np.arange(8)})
    state, start = None, np.ones(8, dtype=bool)
    for look in range(LOOKS):
        np.testing.assert_allclose(observation["window"], episode.windows[look].detach().numpy(), atol=1e-6)
        actions, state = learner.predict(observation, state=state, episode_start=start, deterministic=True)
        assert actions["label"].tolist() == episode.logits[look].argmax(dim=-1).tolist()
        observation, reward, *_ = env.step(actions)
        start = np.zeros(8, dtype=bool)
    assert reward.tolist() == episode.reward.tolist()


@pytest.mark.parametrize("core", ["rnn", "gru", "lstm"])
def test_episode_start_forgets_in_the_lanes_that_begin_and_in_no_other(core: str) -> None:
    learner = make_learner(policy={"core": core})
    observation, _ = make_env(2).reset(seed=0)
    _, fresh = learner.predict(observation)
    _, going_on = learner.predict(observation, state=fresh, episode_start=np.array([False, False]))
    _, mixed = learner.predict(observation, state=fresh, episode_start=np.array([True, False]))
    for first, later, part in zip(fresh, going_on, mixed, strict=True):
        assert not np.allclose(first, later)
        np.testing.assert_allclose(part[0], first[0], atol=1e-6)
        np.testing.assert_allclose(part[1], later[1], atol=1e-6)


def test_deterministic_predictions_repeat_and_sampled_ones_explore() -> None:
    learner = make_learner(window_std=0.3)
    observation, _ = make_env(2).reset(seed=0)
    first, second = (learner.predict(observation, deterministic=True)[0] for _ in range(2))
    assert (first["window"] == second["window"]).all()
    third, fourth = (learner.predict(observation)[0] for _ in range(2))
    assert (third["window"] != fourth["window"]).all()
    assert (np.abs(third["window"]) <= 1).all()


# -------------------------------------------------------------------- saving


@pytest.mark.parametrize("method", LEARNERS)
def test_a_loaded_learner_predicts_and_goes_on_like_the_one_that_was_saved(method: str, tmp_path: Path) -> None:
    learner = make_learner(method, policy={"core": "gru"}, clip=1.5)
    learner.learn(2 * 8 * LOOKS)
    learner.save(tmp_path / "agent", note="hello")
    assert (tmp_path / "agent.pt").exists()
    assert read_checkpoint(tmp_path / "agent.pt")["note"] == "hello"
    again = type(learner).load(
        tmp_path / "agent", make_env(8, tensors=True, sensor="gaussian" if method == "pathwise" else "crop")
    )
    assert (again.training, again.seed, again.updates) == (learner.training, learner.seed, 2)
    assert again.policy.blueprint == learner.policy.blueprint
    observation, _ = make_env(2, sensor=learner.env.sensor).reset(seed=0)
    for ours, theirs in zip(learner.predict(observation)[1], again.predict(observation)[1], strict=True):
        assert (ours == theirs).all()
    learner.update(), again.update()
    assert changed(weights(learner), weights(again)) == set()


def test_what_is_saved_beside_kept_ones_is_kept_as_they_are(tmp_path: Path) -> None:
    """Else the digests beside it would call it damaged, and an older one would be gone on from."""
    learner, again = make_learner(), make_learner()
    learner.save(tmp_path / "agent", keep=2)
    learner.update()
    learner.save(tmp_path / "agent")
    again.restore(tmp_path / "agent")
    assert again.updates == learner.updates == 1


def test_an_episode_that_starts_may_be_told_as_one_truth_for_one_observation() -> None:
    learner = make_learner()
    observation, _ = make_single().reset(seed=0)
    _, state = learner.predict(observation)
    anew, expected = learner.predict(observation, state, np.array(True)), learner.predict(observation)
    for ours, theirs in zip(anew[1], expected[1], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_suffix_of_the_users_own_is_kept(tmp_path: Path) -> None:
    learner = make_learner()
    learner.save(tmp_path / "agent.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["agent.zip"]  # no temporary file is left either
    REINFORCE.load(tmp_path / "agent.zip", make_env(8, tensors=True))


class Bomb:
    """A pickle that leaves a trace when it is read."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.trace,)


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        REINFORCE.load(path, make_env(8, tensors=True))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_truncated_or_foreign_file_is_refused_by_its_name(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "none.pt")
    path = tmp_path / "agent.pt"
    make_learner().save(path)
    whole = path.read_bytes()
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert "damaged" in refused(path)
    path.write_bytes(b"PK\x03\x04" + b"\0" * 1000)
    refused(path)
    path.write_text("a letter")
    refused(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("letter", "a letter")
    refused(path)
    torch.save(torch.zeros(3), path)
    assert "expected format 1, found 'Tensor'" in refused(path)
    torch.save({"format": 99}, path)
    assert "expected format 1, found 99" in refused(path)
    with pytest.raises(CheckpointError):
        read_checkpoint(tmp_path)  # a folder


def test_a_single_flipped_bit_is_never_read_as_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "some.pt"
    content = {"weights": torch.arange(600.0), "updates": 7, "best": {"error": 1.5}}
    write_checkpoint(path, content)
    whole, rng, found = path.read_bytes(), np.random.default_rng(0), 0
    for place in rng.integers(0, 8 * len(whole), 200):
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        try:
            read = read_checkpoint(path)
        except CheckpointError:
            found += 1
        else:  # the bit is one of the archive's padding: nothing was lost
            assert torch.equal(read["weights"], content["weights"])
            assert (read["updates"], read["best"]) == (7, {"error": 1.5})
    assert found > 100


def test_a_checkpoint_that_would_run_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    path, trace = tmp_path / "agent.pt", tmp_path / "trace"
    torch.save({"format": 1, "learner": Bomb(trace)}, path)
    refused(path)
    torch.save({"format": 1, "learner": Bomb(trace)}, path, _use_new_zipfile_serialization=False)
    refused(path)
    path.write_bytes(pickle.dumps({"format": 1, "learner": Bomb(trace)}))
    refused(path)
    assert not trace.exists()
    pickle.loads(path.read_bytes())
    assert trace.exists()  # the bomb was live


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_checkpoint_and_no_rubbish(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "agent.pt"
    write_checkpoint(path, {"updates": 1})

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OSError, match="disk full"):
        write_checkpoint(path, {"updates": 2})
    assert read_checkpoint(path)["updates"] == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["agent.pt"]


# -------------------------------------------------------------------- Stable-Baselines3


def always(label: int, learner: Learner) -> Learner:
    """A learner that has made up its mind."""
    with torch.no_grad():
        learner.policy.classifier.weight.zero_()
        learner.policy.classifier.bias.copy_(100 * F.one_hot(torch.tensor(label), 4))
    return learner


def test_evaluate_policy_measures_what_the_environment_pays() -> None:
    one_class = make_images(test=12, classes=4)
    learner = always(2, make_learner(learning_rate=1e-6))
    envs = DummyVecEnv([lambda: Monitor(make_single(split="test"))] * 2)
    envs.seed(0)
    rewards, lengths = evaluate_policy(learner, envs, n_eval_episodes=24, return_episode_rewards=True)
    assert set(lengths) == {LOOKS}
    assert sum(rewards) == 24 * (one_class.test.labels == 2).float().mean()  # each of the twelve images twice


def test_evaluate_policy_takes_a_single_environment_too() -> None:
    single = Monitor(make_single())
    mean, _ = evaluate_policy(make_learner(), single, n_eval_episodes=4, deterministic=False)
    assert 0 <= mean <= 1
    assert single.get_episode_lengths() == [LOOKS] * 4


def test_evaluate_policy_agrees_with_our_own_rollout() -> None:
    learner = make_learner()
    learner.learn(4 * 8 * LOOKS)
    episode = rollout(learner.policy, make_env(12, split="test", tensors=True), seed=[0] * 12, scenes=np.arange(12))
    single = DummyVecEnv([lambda: Monitor(make_single(split="test"))])
    single.seed(0)
    rewards, _ = evaluate_policy(learner, single, n_eval_episodes=12, return_episode_rewards=True)
    assert rewards == episode.reward.tolist()


# EvalCallback warns that the training environment is no VecEnv of its own; it is not, by design: it lives in torch.
@pytest.mark.filterwarnings("ignore:Training and eval env are not of the same type")
def test_eval_callback_evaluates_saves_the_best_and_stops_at_a_threshold(tmp_path: Path) -> None:
    learner = always(1, make_learner(learning_rate=1e-6))
    enough = StopTrainingOnRewardThreshold(reward_threshold=0.2, verbose=0)
    callback = EvalCallback(
        DummyVecEnv([lambda: Monitor(make_single(split="test"))]),
        callback_on_new_best=enough,
        n_eval_episodes=12,
        eval_freq=2 * LOOKS,
        log_path=str(tmp_path),
        best_model_save_path=str(tmp_path),
        verbose=0,
    )
    learner.learn(10 * 8 * LOOKS, callback=callback)
    assert callback.best_mean_reward == 0.25  # one class of four
    assert learner.updates == 2  # the first evaluation was good enough
    assert np.load(tmp_path / "evaluations.npz")["successes"].mean() == 0.25
    best = REINFORCE.load(next(tmp_path.glob("best_model*")), make_env(8, tensors=True))
    assert best.updates in (1, 2)


@pytest.mark.filterwarnings("ignore:Training and eval env are not of the same type")
def test_a_threshold_that_is_not_reached_stops_nothing() -> None:
    learner = always(1, make_learner(learning_rate=1e-6))
    enough = StopTrainingOnRewardThreshold(reward_threshold=1.5)  # out of reach: a reward is at most 1
    evaluation = EvalCallback(
        Monitor(make_single()), callback_on_new_best=enough, n_eval_episodes=2, eval_freq=3, verbose=0
    )
    learner.learn(4 * 8 * LOOKS, callback=evaluation)
    assert learner.updates == 4


@pytest.mark.filterwarnings("ignore:Training and eval env are not of the same type")
def test_a_training_that_no_longer_gets_better_is_stopped() -> None:
    learner = always(1, make_learner(learning_rate=1e-6))
    enough = StopTrainingOnNoModelImprovement(max_no_improvement_evals=1, min_evals=1, verbose=0)
    evaluation = EvalCallback(
        DummyVecEnv([lambda: Monitor(make_single(split="test"))]),
        callback_after_eval=enough,
        n_eval_episodes=2,
        eval_freq=LOOKS,
        verbose=0,
    )
    learner.learn(10 * 8 * LOOKS, callback=evaluation)
    assert learner.updates == 3  # one evaluation has no say, one no better is borne, the next ends it


def test_every_format_of_the_logger_tells_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    learner = make_learner()
    learner.set_logger(configure(str(tmp_path), ["stdout", "csv", "json", "tensorboard"]))
    learner.learn(2 * 8 * LOOKS, log_interval=1)
    learner.logger.close()
    said = capsys.readouterr().out
    assert said.count("classification_loss") == 2
    with (tmp_path / "progress.csv").open(newline="") as file:
        table = [float(row["train/classification_loss"]) for row in csv.DictReader(file)]
    lines = (tmp_path / "progress.json").read_text().splitlines()
    events = EventAccumulator(str(tmp_path)).Reload().Scalars("train/classification_loss")
    assert [event.step for event in events] == [8, 16]
    assert [json.loads(line)["train/classification_loss"] for line in lines] == pytest.approx(table)
    assert [event.value for event in events] == pytest.approx(table)


def test_checkpoint_callback_saves_what_load_reads(tmp_path: Path) -> None:
    learner = make_learner()
    callback = CheckpointCallback(save_freq=LOOKS, save_path=str(tmp_path), name_prefix="ram")
    learner.learn(3 * 8 * LOOKS, callback=callback)
    steps = [8 * LOOKS * update for update in (1, 2, 3)]
    assert {path.name for path in tmp_path.iterdir()} == {f"ram_{count}_steps.zip" for count in steps}
    for count in steps:
        assert REINFORCE.load(tmp_path / f"ram_{count}_steps.zip", make_env(8, tensors=True)).num_timesteps == count


# tqdm.rich calls itself experimental; Stable-Baselines3 silences that where it is imported first, pytest undoes it.
@pytest.mark.filterwarnings("ignore:rich is experimental/alpha")
def test_progress_bar_callback_counts_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tqdm.rich", reason="ProgressBarCallback draws with tqdm and rich; rich is not installed")
    from stable_baselines3.common.callbacks import ProgressBarCallback

    learner, callback = make_learner(), ProgressBarCallback()
    counted = []
    monkeypatch.setattr(callback, "_on_training_end", lambda: (counted.append(callback.pbar.n), callback.pbar.close()))
    learner.learn(2 * 8 * LOOKS, callback=callback)
    assert counted == [2 * 8 * LOOKS]


def test_a_bar_is_full_where_the_last_update_goes_beyond_its_total() -> None:
    bar = ProgressBar(1000, 0, shown=True, title="training")
    with bar:
        for _ in range(16):
            bar.advance(64)
        assert bar._bar.n == 1000
        assert "100%" in str(bar._bar)


def test_callbacks_may_come_as_a_list_or_not_at_all(tmp_path: Path) -> None:
    learner, recorders = make_learner(), [Recorder(), Recorder()]
    learner.learn(8 * LOOKS, callback=recorders)
    assert recorders[0].calls == recorders[1].calls
    learner.learn(8 * LOOKS)
    assert isinstance(make_learner("pathwise"), Pathwise)
    assert gymnasium.spaces.Discrete(4) == learner.get_env().single_action_space["label"]


def test_a_loaded_learner_has_the_seed_that_was_saved(tmp_path: Path) -> None:
    """Its next update shows the images, and draws the noise, of that seed."""
    learner = make_learner(seed=7)
    learner.update()
    learner.save(tmp_path / "agent")
    again = REINFORCE.load(tmp_path / "agent", make_env(8, tensors=True))
    assert again.seed == 7
    for each in (learner, again):
        each.update()
    assert torch.equal(learner.env.canvas, again.env.canvas)
    assert all(torch.equal(*pair) for pair in zip(learner.policy.parameters(), again.policy.parameters(), strict=True))
