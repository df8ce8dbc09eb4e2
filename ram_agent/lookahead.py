"""Looking ahead: what other windows would have been worth, and the gaze pulled towards the better ones.

The slope of a crop says what a pixel further on would change, the score function what a chance move was worth at the
end; neither sees far. Here one move of every episode is thought over: from what the agent remembered before it, J other
windows are tried, each by one glimpse and the answer after it, and the mean that the move was drawn about is pulled
towards the best of them, by as much as that is better than what was looked at.

This is policy improvement by search and imitation of what the search found, as in expert iteration (Anthony et al.
2017), one look deep, from states that the episode passed through (the "vine" of Schulman et al. 2015). It needs
right answers, as the classification loss does, and neither the place of the image nor a gradient of the glimpse. It is
no unbiased estimate of a policy gradient: what is best after one more look need not be best after all of them.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ram_agent.estimators import log_likelihood
from ram_agent.policy import Policy
from ram_agent.rollout import Episode, GlimpseEnvironment

WIDE = 0.4
"""Std, in [-1, 1] units, of the windows that are tried about the mean."""


def lookahead_loss(
    policy: Policy,
    env: GlimpseEnvironment,
    episode: Episode,
    windows: int,
    generator: torch.Generator | None,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """gain · |mean - best window|², mean over lanes; and the mean gain.

    In each lane one of the T - 1 moves, drawn uniformly, is compared with `windows` others: those of even number
    anywhere, those of odd number about the mean. The gain is what p(target) after the best is more than after the look
    that was taken, 0 where none is better: of probabilities, not of their logarithms, since the best of J is best by
    chance as long as the agent knows nothing, and would scatter the gaze. Its gradient is that of the mean alone. `env`
    is to be as the episode left it, `episode` of T > 1 looks with its graph; nothing waits for a device.
    """
    moves, lanes = episode.means.shape[:2]
    lane = torch.arange(lanes, device=episode.means.device)
    move = torch.randint(moves, (lanes,), generator=generator, device=lane.device)
    mean = episode.means[move, lane]
    with torch.no_grad():
        state = tuple(torch.stack(part)[move, lane] for part in zip(*episode.states, strict=True))
        taken = log_likelihood(episode.logits[move + 1, lane], episode.target).exp()
        most, best = taken, mean.detach()
        for number in range(windows):
            window = alternative(mean, anywhere=number % 2 == 0, generator=generator)
            hidden, _ = policy.look(env.peek(window), window, state)
            worth = log_likelihood(policy.answer(hidden), episode.target).exp()
            best = torch.where((worth > most)[:, None], window, best)
            most = torch.maximum(worth, most)
        gain = most - taken
    return (gain * (mean - best).square().sum(dim=-1)).mean(), gain.mean()


def alternative(
    mean: Float[Tensor, "lanes parameters"], *, anywhere: bool, generator: torch.Generator | None
) -> Float[Tensor, "lanes parameters"]:
    """A window to try: its centre anywhere or, like all else that a window has, about the mean."""
    noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
    window = (mean + WIDE * noise).clamp(-1, 1)
    if anywhere:
        window[:, :2] = torch.rand(window[:, :2].shape, generator=generator, device=mean.device) * 2 - 1
    return window
