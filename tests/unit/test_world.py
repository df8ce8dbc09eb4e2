"""What a configuration says of images and eye is what its environments have; and what a control is trained by."""

from typing import Any

import pytest
import torch

from ram_agent.building import build_learner
from ram_agent.config import TrainingConfig
from ram_agent.optimizers import make_optimizer
from tests.making import make_config, make_env, make_policy, make_world


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_an_environment_is_what_its_config_says(split: str) -> None:
    """Field by field, none of them at its default."""
    config = make_config(
        scene={
            "kind": "cluttered",
            "height": 25,
            "width": 31,
            "clutter": 3,
            "clutter_size": 5,
            "affine": 0.125,
            "elastic": 1.75,
        },
        sensor={"kind": "gaussian", "size": 5, "scales": 2, "reach": 0.7, "strides": (0.6, 1.9), "sigmas": (0.3, 1.7)},
        environment={"glimpses": 4, "first_window": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)},
        training={"method": "pathwise"},
    )
    env = make_world(config).environment(split, 2)
    scenes, sensor = env.scenes, env.sensor
    assert (scenes.split, scenes.kind, scenes.size) == (split, "cluttered", (25, 31))
    assert (scenes.clutter, scenes.clutter_size) == (3, 5)
    assert (scenes.distortion.affine, scenes.distortion.elastic) == (0.125, 1.75)
    assert (sensor.kind, sensor.size, sensor.scales, sensor.reach) == ("gaussian", 5, 2, 0.7)
    assert (sensor.strides, sensor.sigmas) == ((0.6, 1.9), (0.3, 1.7))
    observation, _ = env.reset(seed=3)
    assert env.glimpses == 4
    torch.testing.assert_close(observation["window"], torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]]).expand(2, -1))


@pytest.mark.parametrize(("told", "expected"), [(None, 80), (48, 48)])
def test_a_control_is_trained_by_right_answers_for_as_many_episodes_as_it_is_told(
    told: int | None, expected: int
) -> None:
    config = make_config(training={"method": "reinforce"}, evaluation={"control_episodes": told})
    world = make_world(config)
    control, agent = build_learner(config, world, "random"), build_learner(config, world)
    assert (control.training.episodes, control.training.method) == (expected, "pathwise")
    assert (agent.training.episodes, agent.training.method) == (80, "reinforce")


@pytest.mark.parametrize("role", ["centre", "random", "cnn"])
def test_a_control_of_several_episodes_an_image_looks_at_as_many_images(role: str) -> None:
    """What it does at one image is the same every time, or all that it may learn from is less than it could be."""
    config = make_config(
        training={"method": "reinforce", "baseline": "leave_one_out", "episodes_per_image": 4, "batch": 2}
    )
    control = build_learner(config, make_world(config), role)
    control.update()
    assert control.lanes == 8
    canvas = control.env.canvas.flatten(1)
    assert len({tuple(each.tolist()) for each in canvas}) == 8


def test_sgd_is_the_papers_with_momentum_of_nine_tenths() -> None:
    """Mnih et al. 2014, section 4: v ← 0.9 v + g, θ ← θ - lr v."""
    policy = make_policy(make_env())
    optimizer = make_optimizer(policy, TrainingConfig(optimizer="sgd", learning_rate=0.1))
    weight = policy.classifier.weight
    before, speed = weight.detach().clone(), torch.zeros_like(weight)
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        for parameter in policy.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        assert weight.grad is not None
        speed = 0.9 * speed + weight.grad
        before = before - 0.1 * speed
        optimizer.step()
    torch.testing.assert_close(weight.detach(), before)


@pytest.mark.parametrize("reward", ["success", "each_look"])
def test_the_twin_pays_what_the_config_says(reward: str) -> None:
    config = make_config(training={"method": "ppo"}, sb3={"reward": reward})
    env: Any = make_world(config).vec_env(8).env
    assert env.unwrapped.rules.reward == reward
