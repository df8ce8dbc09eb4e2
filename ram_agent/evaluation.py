"""Measuring a policy: test error, error after each glimpse, confidence intervals."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from ram_agent.policy import Policy
from ram_agent.precision import products_in_full
from ram_agent.rollout import GlimpseEnvironment, check_lanes, rollout

TEST_SEED = 20140624
"""The seed of every validation and test set, the same for all runs (the day of arXiv 1406.6247)."""


class ClassError(NamedTuple):
    """How one class fared."""

    name: str
    images: int
    error: float
    """Percent of its images that were taken for another class."""
    taken_for: str
    """The class that they were taken for most often; "" where all answers were right."""


@dataclass(frozen=True)
class Evaluation:
    """What a policy answered to n scenes."""

    answers: Int[np.ndarray, "looks scenes"]
    """After each look."""
    target: Int[np.ndarray, " scenes"]
    fixations: Float[np.ndarray, "looks scenes 2"]
    """Where each look was, as (x, y) in [-1, 1]; of several passes, the first."""

    @property
    def wrong(self) -> Bool[np.ndarray, "looks scenes"]:
        return self.answers != self.target

    @property
    def error(self) -> float:
        """Percent wrong after the last look."""
        return float(100 * self.wrong[-1].mean())

    @property
    def error_by_glimpse(self) -> list[float]:
        """Percent wrong after each look."""
        return (100 * self.wrong.mean(axis=1)).tolist()

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the error over scenes, in percent (Wilson 1927)."""
        return wilson(int(self.wrong[-1].sum()), len(self.target))

    def confusion(self, classes: int) -> Int[np.ndarray, "classes classes"]:
        """Counts: row target, column answer."""
        return np.bincount(self.target * classes + self.answers[-1], minlength=classes**2).reshape(classes, classes)

    def by_class(self, names: Sequence[str]) -> list[ClassError]:
        """The classes that have images, in the order of their labels."""
        found = []
        for label, row in enumerate(self.confusion(len(names))):
            wrong = np.where(np.arange(len(row)) == label, 0, row)
            taken_for = names[int(wrong.argmax())] if wrong.any() else ""
            if row.sum():
                found.append(ClassError(names[label], int(row.sum()), float(100 * wrong.sum() / row.sum()), taken_for))
        return found


def wilson(wrong: int, total: int) -> tuple[float, float]:
    """95 % interval of a proportion, in percent."""
    from scipy.stats import binomtest  # 60 MB and a second, needed once a run

    interval = binomtest(wrong, total).proportion_ci(method="wilson")
    return 100 * interval.low, 100 * interval.high


@torch.no_grad()
def evaluate(
    policy: Policy,
    env: GlimpseEnvironment,
    scenes: int,
    *,
    std: float = 0.0,
    votes: int = 1,
    seed: int = TEST_SEED,
    generator: torch.Generator | None = None,
) -> Evaluation:
    """Show the scenes 0 … `scenes` - 1 of `env`'s split to a policy.

    `std` 0 looks at mean locations. With `votes` > 1 the probabilities of as many passes are averaged. Products are in
    float32, whatever they were in training. Raises `ValueError` where there is nothing to show, or the environment is
    not played as policies play.
    """
    check_lanes(env)
    for name, value in (("scenes", scenes), ("votes", votes)):
        if value < 1:
            raise ValueError(f"{name}: got {value}, expected at least 1")
    answers, targets, fixations = [], [], []
    lanes = env.num_envs
    with at_rest(policy), products_in_full():
        for first in range(0, scenes, lanes):
            count = min(lanes, scenes - first)
            shown = {"seed": np.full(lanes, seed), "scenes": first + np.arange(lanes) % count}
            passes = [rollout(policy, env, std=std, generator=generator, **shown) for _ in range(votes)]
            probability = torch.stack([episode.logits.softmax(dim=-1) for episode in passes]).sum(dim=0)
            answers.append(probability.argmax(dim=-1)[:, :count].cpu().numpy())
            targets.append(passes[0].target[:count].cpu().numpy())
            fixations.append(env.sensor.window(passes[0].windows[:, :count]).centre.float().cpu().numpy())
    return Evaluation(np.concatenate(answers, axis=1), np.concatenate(targets), np.concatenate(fixations, axis=1))


@contextmanager
def at_rest(policy: Policy) -> Iterator[None]:
    """Batch norm answers with what it learned, not with the company a scene is in, and learns nothing."""
    was_training = policy.training
    policy.eval()
    try:
        yield
    finally:
        policy.train(was_training)
