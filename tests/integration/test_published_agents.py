"""The agents of `results/agents` are those of the rows they are named for, and make as few errors as is said of them.

Oracle: the row's own `results.json`, written when it was trained.
"""

import json
import os
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch

from envs.glimpse import GlimpseVectorEnv
from ram_agent.building import best_policy
from ram_agent.cli.world import ConfiguredWorld
from ram_agent.config import Config, load_config
from ram_agent.evaluation import evaluate
from ram_agent.export import read_export
from ram_agent.heads import LearnedWindowHead
from ram_agent.learner import REINFORCE
from ram_agent.policy import Policy
from ram_agent.stored import final_results
from ram_agent.world import check_images

RESULTS = Path(__file__).parents[2] / "results"
AGENTS = {
    "cluttered100_hard_reinforce_8": "cluttered100_8/hard_reinforce_1200k_seed1",
    "cluttered60_hard_reinforce_6": "cluttered60_6/hard_reinforce_seed1",
    "mnist28_hard_best_7": "mnist28_7/hard_best_seed1",
    "translated60_hard_best_8": "translated60_8/hard_best_seed1",
}
"""Agent → the row that it is."""
WRONG = {
    "cluttered100_hard_reinforce_8": 25,
    "cluttered60_hard_reinforce_6": 19,
    "mnist28_hard_best_7": 6,
    "translated60_hard_best_8": 10,
}
"""Of the first 1,000 test scenes, by an agent that has its row's error on all 10,000."""
SAYS = {
    "cluttered100_hard_reinforce_8": (-0.2417, 0.4811, 2.082, -2.057, 0.448),
    "cluttered60_hard_reinforce_6": (-0.1700, 0.3400, 2.621, -2.214, 2.943),
    "mnist28_hard_best_7": (0.0203, -0.5270, -0.046, -0.407, 6.418),
    "translated60_hard_best_8": (0.0582, 0.3386, -0.284, -0.858, 1.768),
}
"""After two looks at a ramp: where it would look next, and its first three logits, as on the day it was published."""
ROUNDED = 2
"""Scenes that another processor, which rounds otherwise, may see otherwise."""
MNIST = os.environ.get("RAM_AGENT_DATA")
SHOWN = 1000


def test_an_agent_of_leave_one_out_acts_on_one_image_and_says_how_many_lanes_it_learns_in() -> None:
    at, one = RESULTS / "agents" / "cluttered60_hard_reinforce_6", GlimpseVectorEnv(1, images="digits", tensors=True)
    agent = REINFORCE.load(at, one)
    observation, _ = one.reset(seed=1)
    action, _ = agent.predict(observation, deterministic=True)
    assert action["window"].shape == (1, 2)
    with pytest.raises(ValueError, match=r"^env: got 1 lanes, expected batch x episodes_per_image = 1 x 4 to learn"):
        agent.learn(6)


def row(agent: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"{AGENTS[agent]}.json").read_text())


def published(agent: str) -> tuple[Config, dict[str, Any], Policy]:
    folder = RESULTS / "agents" / agent
    saved = read_export(folder)
    return load_config(folder / "config.yaml", {"images.folder": MNIST}), saved, best_policy(saved, torch.device("cpu"))


def test_every_published_agent_is_held_to_its_row() -> None:
    assert {folder.name for folder in (RESULTS / "agents").iterdir()} == AGENTS.keys()


@pytest.mark.parametrize("agent", AGENTS)
def test_an_agent_was_trained_as_its_row_was(agent: str) -> None:
    config, saved, policy = published(agent)
    of_row = load_config(RESULTS / f"{AGENTS[agent]}.json")
    for section in ("scene", "sensor", "environment", "policy", "training"):
        ours, theirs = (getattr(of, section).model_dump(exclude={"precision"}) for of in (config, of_row))
        assert ours == theirs, section
    assert saved["seed"] == row(agent)["seed"]
    assert sum(weights.numel() for weights in policy.parameters()) == row(agent)["parameters"]
    theirs = final_results(RESULTS / "agents" / agent)
    assert theirs
    for number in ("test_error", "test_error_voted", "error_by_glimpse", "learning_curve", "seconds", "versions"):
        assert theirs[number] == row(agent)[number], number
    low, high = row(agent)["test_error_ci95"]
    card = (RESULTS / "agents" / agent / "README.md").read_text()
    assert f"| mean location | {row(agent)['test_error']:.2f} | {low:.2f} to {high:.2f} |" in card


@torch.no_grad()
@pytest.mark.parametrize("agent", AGENTS)
def test_an_agent_is_what_was_published(agent: str) -> None:
    """Without MNIST, too: neither its weights nor what our code makes of them have changed."""
    _, _, policy = published(agent)
    assert isinstance(policy.window_head, LearnedWindowHead)
    shape, window = policy.blueprint.glimpse_shape, torch.zeros(1, 2)
    ramp = torch.linspace(0, 1, prod(shape)).reshape(1, *shape)
    _, state = policy.look(ramp, window, policy.initial_state(1))
    hidden, _ = policy.look(ramp.flip(-1), window + 0.5, state)
    said = [*policy.window_head.mean(hidden)[0].tolist(), *policy.answer(hidden)[0, :3].tolist()]
    assert said == pytest.approx(SAYS[agent], abs=2e-3)


@pytest.mark.skipif(not MNIST, reason="RAM_AGENT_DATA names no folder with MNIST")
@pytest.mark.parametrize("agent", AGENTS)
def test_an_agent_errs_as_it_did_when_its_row_was_measured(agent: str) -> None:
    config, saved, policy = published(agent)
    world = ConfiguredWorld(config)
    check_images(saved, world)
    seen = evaluate(policy, world.environment("test", 250), SHOWN)
    assert seen.wrong[-1].sum() == pytest.approx(WRONG[agent], abs=ROUNDED)
