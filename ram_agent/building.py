"""From a configuration to the policy that looks and the learner that trains it; and from a checkpoint back to it."""

from collections.abc import Mapping
from typing import Any

import torch

from ram_agent.algorithm import Algorithm
from ram_agent.checkpoint import give_weights, judged_weights
from ram_agent.config import Config
from ram_agent.full_image import NETWORKS, WholeCanvas
from ram_agent.grid_policy import GridPolicy
from ram_agent.kinds import policy_class, rebuild_policy
from ram_agent.learner import LEARNERS
from ram_agent.parallel import ALONE, Ranks
from ram_agent.policy import Policy
from ram_agent.replay import replays_unasked
from ram_agent.rollout import GlimpseEnvironment
from ram_agent.stable_baselines import StableBaselines
from ram_agent.world import World


def build_learner(config: Config, world: World, role: str = "learned", ranks: Ranks = ALONE) -> Algorithm:
    """The learner of the agent, or of one control: the same agent but for where it looks, hence nothing to estimate."""
    training, seed = config.training_of(role), config.run.seed
    env = seen_by(role, world.environment("train", training.lanes_per_process))
    torch.manual_seed(seed)
    policy = build_policy(env, config, role)
    if isinstance(policy, GridPolicy):
        return StableBaselines(policy, world.vec_env(training.batch), training, config.sb3, seed=seed)
    graph = config.run.cuda_graph
    if graph is None:  # not written down: a run may go on where there is no GPU
        graph = replays_unasked(training.optimizer, ranks.size, env.device, deterministic=config.run.deterministic)
    return LEARNERS[training.method](policy, env, training, seed=seed, ranks=ranks, cuda_graph=graph)


def build_policy(env: GlimpseEnvironment, config: Config, role: str) -> Policy:
    """The factory: which policy is what an agent or a control looks with, which head goes with which training."""
    method = config.training.method
    head = role if role != "learned" else LEARNERS[method].head if method in LEARNERS else method
    first, canvas = config.environment.first_window, (config.scene.height, config.scene.width)
    return policy_class(head)(
        env.single_observation_space["glimpse"].shape,
        env.sensor.rest(canvas) if isinstance(first, str) else first,
        int(env.single_action_space["label"].n),
        head=head,
        config=config.policy,
        colours=env.canvas.shape[1],
    ).to(env.device)


def seen_by(role: str, env: GlimpseEnvironment) -> GlimpseEnvironment:
    """The environment as an agent or a control sees it: through the eye, or the whole canvas at once."""
    return WholeCanvas(env) if role in NETWORKS else env


def best_policy(saved: Mapping[str, Any], device: torch.device) -> Policy:
    """The policy of an export or of a checkpoint, with the weights that it is judged by (see `judged_weights`).

    In evaluation mode, as all who ask for it want to see it. Raises what `give_weights` does.
    """
    policy = rebuild_policy(saved["blueprint"]).to(device)
    give_weights(policy, judged_weights(saved))
    return policy.eval()
