"""How much of a gradient is signal: estimators of the window's gradient, each at the same weights.

The gradient is that of the window head's parameters alone. It is g for one batch of episodes; over batches

    SNR = |E g|² / E|g - E g|²

is 1 where a batch says as much as it errs. It grows in proportion to the episodes of a batch and does not depend on
the scale of g, hence neither on the weight of a loss nor on the learning rate.

    none, learned, leave_one_out    score function: of the expected return (`training.reward`)
    straight_through, pathwise      backpropagation: of the cross-entropy of the answer

The two kinds estimate different gradients, and the straight-through one is biased: a high ratio says that batches agree
with each other, not that they are right. docs/estimators.md has the equations.
"""

from collections.abc import Callable
from math import gcd

import torch
from jaxtyping import Float
from torch import Tensor

from ram_agent import estimators
from ram_agent.config import TrainingConfig
from ram_agent.heads import LearnedWindowHead, StraightThroughWindowHead
from ram_agent.learner import classification_loss
from ram_agent.policy import Policy, RecurrentAttentionPolicy, under_head
from ram_agent.precision import training_products
from ram_agent.rollout import Episode, GlimpseEnvironment, rollout
from ram_agent.schedule import noise_seed

TAG = "gradient/snr_"
"""What the name of an estimator has before it in TensorBoard and `metrics.csv`."""
ESTIMATORS = ("none", "learned", "leave_one_out", "pathwise", "straight_through")
"""In the order in which they are shown."""
PER_IMAGE = 4
"""M of the leave-one-out baseline, where the training has one episode an image (Kool et al. 2019 draw four too)."""


class SignalToNoise:
    """The ratio from gradients of B independent batches, in memory for one gradient.

    With the mean ḡ of g_1 … g_B:

        noise   = Σ|g_b - ḡ|² / (B - 1) = (Σ|g_b|² - B |ḡ|²) / (B - 1)     unbiased for E|g - E g|², the trace of the
                                                                          covariance
        signal  = |ḡ|² - noise / B                                        unbiased for |E g|²

    |ḡ|² alone is too large by noise / B, which is the larger part of it where the ratio is below 1 / B. The signal is
    reported as measured: negative where there is less than can be told from nothing. Cut off at 0, means over seeds or
    over time would be too large. The ratio of the two is consistent, and its bias of the order of 1 / B.
    """

    def __init__(self) -> None:
        self.batches = 0
        self._sum: Tensor | None = None
        self._squares: Tensor | None = None

    def add(self, gradient: Float[Tensor, " parameters"]) -> None:
        """One batch more; nothing is read back from the device."""
        gradient = gradient.detach().double()  # the noise is a difference of sums that may be nearly equal
        square = gradient.square().sum()
        self._sum = gradient if self._sum is None else self._sum + gradient
        self._squares = square if self._squares is None else self._squares + square
        self.batches += 1

    @property
    def signal(self) -> float:
        """|E g|²."""
        return self._mean_square() - self.noise / self.batches

    @property
    def noise(self) -> float:
        """E|g - E g|²."""
        assert self.batches > 1, "one batch does not tell what is noise"
        assert self._squares is not None
        return max(0.0, float(self._squares) - self.batches * self._mean_square()) / (self.batches - 1)

    @property
    def ratio(self) -> float | None:
        """SNR; None where every batch said the same, as where nothing was ever rewarded."""
        return self.signal / self.noise if self.noise > 0 else None

    def _mean_square(self) -> float:
        assert self._sum is not None
        return float((self._sum / self.batches).square().sum())


def gradient_signal(
    policy: Policy,
    env: GlimpseEnvironment,
    training: TrainingConfig,
    *,
    batches: int,
    std: float,
    seed: int,
    number: int,
) -> dict[str, float]:
    """The signal-to-noise ratio of each estimator that `policy` can be trained by, at its present weights.

    Every estimator is given batches of as many episodes, one for each lane of `env`, with exploration `std`: N images
    for all but `leave_one_out`, which plays M at each of N / M; all but that one see the same episodes. `learned` is
    there where `training` teaches the baseline. A policy with no window to learn, or one look, has no ratio at all.

    What is shown follows from `seed` and `number`, and shares no draw with the training of that seed. Weights, their
    gradients and the global generator stay as they are.
    """
    head = policy.window_head
    if env.glimpses == 1 or not isinstance(head, LearnedWindowHead):
        return {}
    assert isinstance(policy, RecurrentAttentionPolicy), "none other learns where to look"
    weights = list(head.parameters())
    backpropagated = "pathwise" if env.sensor.differentiable else "straight_through"
    # The same weights under a head that carries the gradient: it draws the very windows that `head` would draw.
    carrying: Policy = policy
    if head.samples:
        carrying = under_head(policy, StraightThroughWindowHead.around(head, policy.blueprint.config.window_gradient))
    per_image = training.episodes_per_image if training.episodes_per_image > 1 else gcd(PER_IMAGE, env.num_envs)
    found = {name: SignalToNoise() for name in ESTIMATORS}
    play = _Player(env, training, std, seed, policy)

    def add(name: str, loss: Tensor) -> None:
        gradient = torch.autograd.grad(loss, weights, retain_graph=True)
        found[name].add(torch.cat([part.flatten() for part in gradient]))

    for batch in range(number * batches, (number + 1) * batches):
        episode = play(carrying, batch)
        add(backpropagated, classification_loss(episode, training))
        if not head.samples:
            continue
        score = _score(head, episode, training, std)
        add("none", score(torch.zeros_like))
        if training.method == "reinforce" and training.baseline == "learned":
            add("learned", score(lambda _, hidden=episode.hidden: policy.baseline(hidden[:-1])))
        if per_image > 1:
            with torch.no_grad():
                episode = play(policy, batch, per_image)
            add("leave_one_out", _score(head, episode, training, std)(lambda r: estimators.leave_one_out(r, per_image)))
    ratios = {name: measured.ratio for name, measured in found.items() if measured.batches}
    return {name: ratio for name, ratio in ratios.items() if ratio is not None}


class _Player:
    """Episodes on training scenes that the training itself never shows."""

    def __init__(
        self, env: GlimpseEnvironment, training: TrainingConfig, std: float, seed: int, policy: Policy
    ) -> None:
        self.env, self.training, self.std, self.seed = env, training, std, seed
        self.device = next(policy.parameters()).device
        self.generator = torch.Generator(self.device)
        scenes = noise_seed(seed, 0, "signal scenes") >> 1  # seeds of scenes have a sign
        self._seeds = torch.full((env.num_envs,), scenes, device=self.device)
        self._lanes = torch.arange(env.num_envs, device=self.device)

    def __call__(self, policy: Policy, batch: int, per_image: int = 1) -> Episode:
        """Batch number `batch`, with `per_image` episodes at each image in neighbouring lanes."""
        self.generator.manual_seed(noise_seed(self.seed, batch, "signal"))
        with training_products(self.training, self.device):
            return rollout(
                policy,
                self.env,
                std=self.std,
                seed=self._seeds,
                scenes=batch * self.env.num_envs + self._lanes // per_image,
                generator=self.generator,
            )


def _score(
    head: LearnedWindowHead, episode: Episode, training: TrainingConfig, std: float
) -> Callable[[Callable[[Tensor], Tensor]], Tensor]:
    """The score-function loss of an episode as a function of its baseline, itself a function of the returns.

    A window that was drawn depends on the head by its mean alone, so that the gradient needs no graph but the head's.
    """
    returns = estimators.episode_return(training.reward, episode.reward, episode.logits[-1], episode.target).detach()
    log_probability = estimators.log_probability(episode.samples, head.mean(episode.hidden[:-1].detach()), std)

    def loss(baseline: Callable[[Tensor], Tensor]) -> Tensor:
        return estimators.score_function_loss(log_probability, returns - baseline(returns))

    return loss
