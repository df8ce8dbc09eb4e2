"""Gradient estimators as pure functions: the score function and what keeps its variance down.

REINFORCE (Williams 1992) as in Mnih et al. 2014, eq. 2 and after: for each move a_t ~ N(mean_t, std² I) with a return R
and a baseline b_t that has not seen a_t, the gradient of E[R] is E[Σ_t ∇ log p(a_t) (R - b_t)].
"""

from math import log, pi

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def log_probability(
    sample: Float[Tensor, "*batch parameters"], mean: Float[Tensor, "*batch parameters"], std: float | Tensor
) -> Float[Tensor, "*batch"]:
    """log N(sample; mean, std² I), of the sample as drawn: clamping it first would bias the gradient at the border.

    `std` is above 0.
    """
    std = torch.as_tensor(std, dtype=mean.dtype, device=mean.device)
    distance = (sample.detach() - mean) / std
    return (-0.5 * distance.square() - std.log() - 0.5 * log(2 * pi)).sum(dim=-1)


def score_function_loss(
    log_probability: Float[Tensor, "moves lanes"], advantage: Float[Tensor, "*#moves lanes"]
) -> Float[Tensor, ""]:
    """-Σ_t log p(a_t) · advantage_t, mean over lanes: its gradient is an unbiased estimate of -∇E[R].

    The advantage is one per move, or one per lane for all its moves.
    Only moves that were looked at may be in it; a move after the last look adds nothing but variance.
    """
    return -(log_probability * advantage.detach()).sum(dim=0).mean()


def episode_return(
    kind: str,
    reward: Float[Tensor, " lanes"],
    logits: Float[Tensor, "lanes classes"],
    target: Int[Tensor, " lanes"],
) -> Float[Tensor, " lanes"]:
    """What the moves are praised for.

    `success`          the environment's reward, 0 or 1 (Mnih et al. 2014)
    `probability`      max(p(target) - 1/Y, 0): steadier (internally rewarded RL, Li et al. 2023)
    `log_likelihood`   log p(target): the lower bound that Ba et al. 2015 climb
    """
    if kind == "success":
        return reward
    known = log_likelihood(logits.detach(), target)
    if kind == "probability":
        return (known.exp() - 1 / logits.shape[-1]).clamp_min(0)
    if kind == "log_likelihood":
        return known
    raise ValueError(f"return: got {kind!r}, expected success, probability or log_likelihood")


def log_likelihood(logits: Float[Tensor, "lanes classes"], target: Int[Tensor, " lanes"]) -> Float[Tensor, " lanes"]:
    """log p(target)."""
    return -F.cross_entropy(logits, target, reduction="none")


def leave_one_out(returns: Float[Tensor, " lanes"], per_image: int) -> Float[Tensor, " lanes"]:
    """For each of M episodes at one image the mean return of the other M - 1 (Kool et al. 2019).

    Lanes are ordered image by image. Independent of the episode's own moves, hence no bias. Raises `ValueError` where M
    is 1, of which nothing is left, or no divisor of the lanes.
    """
    if per_image < 2 or len(returns) % per_image:
        raise ValueError(f"per_image: got {per_image}, expected 2 or more, and a divisor of the {len(returns)} lanes")
    grouped = returns.view(-1, per_image)
    return ((grouped.sum(dim=1, keepdim=True) - grouped) / (per_image - 1)).flatten()


def explained_variance(
    prediction: Float[Tensor, "*moves lanes"], truth: Float[Tensor, "*#moves lanes"]
) -> Float[Tensor, ""]:
    """1 - Var[truth - prediction] / Var[truth]; 0 where the truth never varies or nothing was predicted (T = 1)."""
    if not prediction.numel():
        return truth.new_zeros(())
    variance = truth.var(correction=0)
    return torch.where(variance > 0, 1 - (truth - prediction).var(correction=0) / variance.clamp_min(1e-12), 0.0)
