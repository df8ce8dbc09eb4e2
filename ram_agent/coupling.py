"""The coupled control variate: beside each episode of a crop, what it would have been between the pixels.

Crop and sub-pixel crop read the same at whole pixels. Under the same noise they look at nearly the same places, see and
earn nearly the same, so that what is left to the score function is small. The rest is a derivative.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ram_agent.estimators import smooth_return
from ram_agent.heads import CoupledWindowHead, LearnedWindowHead
from ram_agent.policy import Policy, under_head
from ram_agent.rollout import Episode, GlimpseEnvironment, rollout
from ram_agent.sensor import Crop


class Twin(NamedTuple):
    """The other episodes."""

    returns: Float[Tensor, " lanes"]
    slope: Float[Tensor, "moves lanes parameters"]
    """Of the return, to each move as drawn, by way of all that comes after it."""
    noise: Float[Tensor, "moves lanes parameters"]
    """That both episodes share, in units of the std."""


def between_pixels(env: GlimpseEnvironment) -> GlimpseEnvironment:
    """`env` through its eye without the rounding. Raises `ValueError` where the eye is no crop."""
    if not isinstance(env.sensor, Crop):
        raise ValueError(
            f"training.baseline: got coupled with a {env.sensor.kind} sensor, expected a crop (a soft eye has a true "
            "gradient: training.method pathwise)"
        )
    return env.through(env.sensor.between_pixels())


def play_twin(
    policy: Policy,
    env: GlimpseEnvironment,
    episode: Episode,
    *,
    std: float | Tensor,
    seed: Any,
    scenes: Any,
    reward: str,
) -> Twin:
    """Play in `env`, which `between_pixels` gave, what `episode` was in the other, at the same scenes.

    No gradient reaches a weight. Of `success`, which jumps, the twin's return is the probability.
    """
    assert isinstance(policy.window_head, LearnedWindowHead)
    noise = ((episode.samples - episode.means) / std).detach()
    head = CoupledWindowHead(policy.window_head, noise)
    other = rollout(under_head(policy, head), env, std=std, seed=seed, scenes=scenes)
    returns = smooth_return(reward, other.logits[-1], other.target)
    slope = torch.autograd.grad(returns.sum(), head.drawn) if head.drawn else ()
    return Twin(returns.detach(), torch.stack(slope) if slope else torch.zeros_like(noise), noise)
