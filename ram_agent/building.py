"""From a configuration to the policy that looks, and from a checkpoint back to it."""

from collections.abc import Mapping
from typing import Any

import torch

from ram_agent.config import Config
from ram_agent.full_image import NETWORKS, FullImagePolicy, WholeCanvas, rebuild_policy
from ram_agent.learner import LEARNERS
from ram_agent.policy import Policy, RecurrentAttentionPolicy
from ram_agent.rollout import GlimpseEnvironment


def build_policy(env: GlimpseEnvironment, config: Config, look: str) -> Policy:
    """The factory: which policy is what an agent or a control looks with, which head goes with which training."""
    head = LEARNERS[config.training.method].head if look == "learned" else look
    first, canvas = config.environment.first_window, (config.scene.height, config.scene.width)
    kind = FullImagePolicy if look in NETWORKS else RecurrentAttentionPolicy
    return kind(
        env.single_observation_space["glimpse"].shape,
        env.sensor.rest(canvas) if isinstance(first, str) else first,
        int(env.single_action_space["label"].n),
        head=head,
        config=config.policy,
    ).to(env.device)


def seen_by(look: str, env: GlimpseEnvironment) -> GlimpseEnvironment:
    """The environment as an agent or a control sees it: through the eye, or the whole canvas at once."""
    return WholeCanvas(env) if look in NETWORKS else env


def best_policy(saved: Mapping[str, Any], device: torch.device) -> Policy:
    """The policy of an export; of a checkpoint with its best weights by validation, or, where it has none, its last."""
    policy = rebuild_policy(saved["blueprint"]).to(device)
    if "weights" in saved:  # an export
        policy.load_state_dict(saved["weights"])
    else:
        policy.load_state_dict(saved["best"]["weights"] if saved["best"] else saved["learner"]["policy"])
    return policy
