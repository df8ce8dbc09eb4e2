"""Every configuration that the project ships builds its world and learns from it."""

from pathlib import Path

import pytest
import torch

from envs.images import load_images
from ram_agent.building import build_policy
from ram_agent.cli.world import World
from ram_agent.config import load_config
from ram_agent.learner import LEARNERS

SHIPPED = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_config_runs_two_updates_that_move_every_weight_it_trains(path: Path) -> None:
    """On the embedded digits: no config may need MNIST to be tried."""
    config = load_config(path, {"images.source": "digits"})
    env = World(config, load_images("digits")).environment("train", config.training.batch * config.training.looks)
    torch.manual_seed(0)
    policy = build_policy(env, config, "learned")
    learner = LEARNERS[config.training.method](policy, env, config.training)
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    for _ in range(2):
        facts = learner.update()
        assert torch.isfinite(facts["train/loss"])
    still = {name for name, value in policy.state_dict().items() if torch.equal(value, before[name])}
    # Soft attention has no baseline to train; a core of torch's has two biases where one would do.
    assert all(name.startswith("baseline.") for name in still), still
