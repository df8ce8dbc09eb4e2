"""Our glimpse network under unmodified Stable-Baselines3."""

from typing import Any

import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO

from envs.sb3 import make_sb3_env
from ram_agent.features import GlimpseFeatures
from ram_agent.glimpse import GlimpseNetwork
from tests.extras import RecurrentPPO, needs_sb3_contrib
from tests.making import make_env, make_images, make_policy

SMALL: dict[str, Any] = {"images": make_images(), "size": (18, 22), "clutter_size": 4, "glimpse_size": 4, "scales": 2}
WIDTHS = {"what": 8, "where": 8, "features": 12}
RULES = {"moves": "relative", "reward": "each_look", "early_answer": True, "look_cost": 0.02}


@pytest.mark.parametrize(
    ("algorithm", "policy"),
    [(PPO, "MultiInputPolicy"), pytest.param(RecurrentPPO, "MultiInputLstmPolicy", marks=needs_sb3_contrib)],
)
@pytest.mark.parametrize("rules", [{}, RULES])
def test_unmodified_algorithms_train_the_glimpse_network(algorithm: Any, policy: str, rules: dict[str, Any]) -> None:
    env = make_sb3_env(4, 3, glimpses=3, **SMALL | rules)
    kwargs = {"features_extractor_class": GlimpseFeatures, "features_extractor_kwargs": WIDTHS}
    model = algorithm(policy, env, n_steps=6, batch_size=12, n_epochs=1, policy_kwargs=kwargs, seed=0, device="cpu")
    network = model.policy.features_extractor.network
    assert isinstance(network, GlimpseNetwork)
    assert model.policy.features_extractor.features_dim == 12
    before = {name: value.clone() for name, value in network.state_dict().items()}
    model.learn(24)
    changed = [name for name, value in network.state_dict().items() if not torch.equal(value, before[name])]
    assert len(changed) == len(before)  # what and where, weights and biases: all of it learns


def test_the_network_takes_an_agents_weights_and_sees_what_the_agent_sees() -> None:
    env = make_env(3, tensors=True)
    agent = make_policy(env, what=8, where=8, features=12)
    extractor = GlimpseFeatures(env.single_observation_space, **WIDTHS)
    extractor.network.load_state_dict(agent.glimpse.state_dict())  # type: ignore[union-attr]
    seen, _ = env.reset(seed=0)
    expected = agent.glimpse(seen["glimpse"], seen["window"])  # type: ignore[operator]
    assert torch.equal(extractor(seen), expected)
    assert torch.equal(extractor({**seen, "glimpse": seen["glimpse"].flatten(1)}), expected)  # as the twin has it


@pytest.mark.parametrize("kind", ["conv", "shared"])
def test_an_encoder_of_filters_is_told_the_shape_of_a_flat_glimpse(kind: str) -> None:
    env = make_sb3_env(4, 3, glimpses=3, **SMALL)
    agent = make_policy(make_env(3, tensors=True), what=8, where=8, features=12, encoder=kind)
    encoder = {"encoder": kind, "glimpse_shape": (2, 4, 4), **WIDTHS}
    kwargs = {"features_extractor_class": GlimpseFeatures, "features_extractor_kwargs": encoder}
    model = PPO("MultiInputPolicy", env, n_steps=6, batch_size=12, policy_kwargs=kwargs, seed=0, device="cpu")
    extractor = model.policy.features_extractor
    extractor.network.load_state_dict(agent.glimpse.state_dict())  # type: ignore[union-attr]
    seen, window = torch.rand(3, 2, 4, 4), torch.rand(3, 2)
    expected = agent.glimpse(seen, window)  # type: ignore[operator]
    torch.testing.assert_close(extractor({"glimpse": seen.flatten(1), "window": window}), expected)
    with pytest.raises(
        ValueError, match=rf"^glimpse_shape: got None for an encoder of kind '{kind}', expected the \(K·C, G, G\) of 32"
    ):
        GlimpseFeatures(env.observation_space, encoder=kind)


def test_another_observation_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"^observation_space: got Box.* expected a Dict with 'glimpse' and 'window'"):
        GlimpseFeatures(spaces.Box(0, 1, (3,)))
