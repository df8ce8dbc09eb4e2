"""What docs/recipe.md has of ideas that no option has was measured by learners that do what they say."""

import os
import subprocess
import sys
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from ram_agent.experiment import run_experiment
from ram_agent.export import read_trained
from ram_agent.learner import REINFORCE, Learner
from ram_agent.rollout import rollout
from tests.making import make_config, make_env, make_images, make_policy, make_world

ROOT = Path(__file__).parents[2]
IDEAS = run_path(str(ROOT / "results" / "ideas.py"))["IDEAS"]

LANES, BATCHES, ALONE = 64, 100, {"classification_weight": 0.0, "baseline_weight": 0.0, "window_std": 0.2, "clip": 1e9}


def gradients(learner: Learner) -> torch.Tensor:
    """Of the window head, update by update, none of which steps: (batches, values)."""
    found = []
    learner.total_episodes = LANES * BATCHES
    for _ in range(BATCHES):
        learner._schedule()
        learner.policy.zero_grad()
        learner.play()[0].backward()
        learner.updates += 1
        found.append(torch.cat([value.grad.flatten() for value in learner.policy.window_head.parameters()]))
    return torch.stack(found)


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest z-score of a difference of means."""
    noise = ((one.var(dim=0) + other.var(dim=0)) / BATCHES).sqrt()
    return float(((one.mean(dim=0) - other.mean(dim=0)).abs() / noise.clamp_min(1e-12)).max())


def test_a_control_variate_changes_the_noise_of_the_gradient_and_not_its_mean() -> None:
    env = make_env(LANES, images=make_images(train=8), scene="plain", size=(10, 12), scales=1, tensors=True)
    policy = make_policy(env)
    with torch.no_grad():
        for value in policy.parameters():
            value += 0.3 * torch.randn_like(value)
    plain = gradients(REINFORCE(policy, env, baseline="none", **ALONE))
    steady = gradients(REINFORCE(policy, env, baseline="leave_one_out", episodes_per_image=4, **ALONE))
    learner = IDEAS["control_variate"](policy, env, **ALONE)
    better = gradients(learner)
    assert apart(steady, better) < 5
    assert better.var(dim=0).sum() < 0.1 * plain.var(dim=0).sum()
    twin = learner._twin
    learner._twin = lambda episode, windows: twin(episode, windows.detach()) + 0 * windows.sum()  # without its slope
    assert apart(steady, gradients(learner)) > 5


def test_a_distilled_agent_is_pulled_towards_its_teacher_s_answers(tmp_path: Path) -> None:
    config = make_config(evaluation={"controls": []})
    world = make_world(config)
    run_experiment(config, world, tmp_path)
    _, saved = read_trained(tmp_path)
    IDEAS["distilled"].teacher = tmp_path
    env = world.environment("train", 8)
    learner = IDEAS["distilled"](make_policy(env, head="straight_through"), env, seed=3)
    learner._schedule()
    where: dict[str, Any] = {"seed": learner._seeds, "scenes": torch.arange(8)}
    episode = rollout(learner.policy, env, std=0.1, generator=torch.Generator().manual_seed(0), **where)
    told = learner.losses(episode, 0.1)[0].classification
    taught = rollout(learner._teacher, world.environment("train", 8), **where)
    assert torch.equal(learner._teacher.classifier.weight, saved["best"]["weights"]["classifier.weight"])
    known = F.one_hot(episode.target, 4) / 2 + taught.logits[-1].softmax(dim=-1).detach() / 2
    torch.testing.assert_close(told, -(known * episode.logits[-1].log_softmax(dim=-1)).sum(dim=-1).mean())


def test_rewards_of_every_look_praise_a_move_for_those_after_it() -> None:
    """Against the definition, lane by lane and move by move."""
    env = make_env(8, tensors=True)
    policy = make_policy(env)
    episode = rollout(policy, env, std=0.1, seed=0, scenes=torch.arange(8) // 2)
    settings = {"baseline": "leave_one_out", "episodes_per_image": 2, "classify_every_look": True}
    dense, _, _ = IDEAS["every_reward"](policy, env, **settings).window_losses(episode, 0.1)
    paid = (episode.logits.softmax(dim=-1)[..., episode.target].diagonal(dim1=1, dim2=2) - 1 / 4).clamp_min(0) / 3
    expected = torch.zeros(())
    for lane in range(8):
        other = lane ^ 1  # the second episode at its image
        for move in range(2):
            ahead = sum(paid[look, lane] - paid[look, other] for look in range(move + 1, 3))
            normal = torch.distributions.Normal(episode.means[move, lane], 0.1)
            expected = expected - normal.log_prob(episode.samples[move, lane]).sum() * ahead.detach() / 8
    torch.testing.assert_close(dense, expected)


@pytest.mark.parametrize("idea", sorted(IDEAS))
def test_the_command_trains_by_an_idea(idea: str, tmp_path: Path) -> None:
    """And says so by the name of the run."""
    own = {
        "control_variate": [],
        "distilled": ["--training.method", "straight_through"],
        "every_reward": [
            *("--training.baseline", "leave_one_out", "--training.episodes_per_image", "2"),
            *("--training.classify_every_look", "true"),
        ],
    }[idea]
    small = ["--training.episodes", "64", "--training.batch", "16", "--run.pictures", "0", "--run.threads", "1"]
    small += ["--images.source", "digits", "--evaluation.controls", "none", "--evaluation.signal", "0"]
    command = [sys.executable, str(ROOT / "results" / "ideas.py"), idea, "default", *small, *own]
    ended = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert f"{idea}: cluttered 60x60" in ended.stdout
    assert (tmp_path / "runs" / idea / "results.json").is_file()
