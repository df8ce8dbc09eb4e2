"""Errors over seeds, and differences of errors over the same images. Pure functions.

Errors and differences are in percent and percentage points. SciPy is imported where it is used: it takes 60 MB and a
second, and a training needs none of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from ram_agent.evaluation import wilson

FEWEST_SEEDS = 3
"""Below that a difference has no interval over seeds: it would be too wide to tell anything."""


@dataclass(frozen=True)
class Estimate:
    """A number and the half-width of its 95 % interval."""

    value: float
    half_width: float

    @property
    def differs(self) -> bool:
        """Whether the interval leaves 0 out."""
        return abs(self.value) > self.half_width


@dataclass(frozen=True)
class Split:
    """How the images on which two agents differ fall to them."""

    only_first_right: int
    only_second_right: int
    p: float
    """Of as uneven a split by chance alone (exact, two-sided)."""


@dataclass(frozen=True)
class Paired:
    """The error of a first method less that of a second, on the same images."""

    difference: Estimate
    """Over images, for the weights at hand."""
    split: Split | None
    """None where a method has several seeds."""
    images: int


def over_seeds(errors: Sequence[float]) -> Estimate | None:
    """The mean over seeds with Student's 95 % interval (of two seeds, 12.7 standard errors wide); None for one seed."""
    from scipy.stats import t

    count = len(errors)
    if count < 2:
        return None
    spread = float(np.std(errors, ddof=1)) / np.sqrt(count)
    return Estimate(float(np.mean(errors)), float(t.ppf(0.975, count - 1) * spread))


def interval_over_seeds(errors: Sequence[float]) -> tuple[float, float] | None:
    """The ends of that interval, as far as errors in percent reach."""
    mean = over_seeds(errors)
    return mean and (max(0.0, mean.value - mean.half_width), min(100.0, mean.value + mean.half_width))


def over_images(errors: Sequence[float], images: int) -> tuple[float, float]:
    """95 % interval over test images of the mean error of these seeds (Wilson 1927).

    As wide as for one agent with that error, which is the most that it can be: of an image's wrong answers the share
    over seeds varies no more than a single answer does.
    """
    return wilson(round(float(np.mean(errors)) / 100 * images), images)


def between_seeds(first: Sequence[float], second: Sequence[float]) -> Estimate | None:
    """The difference of the means over seeds with Welch's 95 % interval; None for fewer than `FEWEST_SEEDS` of any."""
    from scipy.stats import t

    if min(len(first), len(second)) < FEWEST_SEEDS:
        return None
    shares = [float(np.var(errors, ddof=1)) / len(errors) for errors in (first, second)]
    variance = sum(shares)
    difference = float(np.mean(first) - np.mean(second))
    if variance == 0:
        return Estimate(difference, 0.0)
    freedom = variance**2 / sum(
        share**2 / (len(errors) - 1) for share, errors in zip(shares, (first, second), strict=True)
    )
    return Estimate(difference, float(t.ppf(0.975, freedom) * np.sqrt(variance)))


def paired(first: Bool[np.ndarray, "seeds images"], second: Bool[np.ndarray, "others images"]) -> Paired:
    """Compare which answers were wrong, image by image.

    Per image the share of wrong answers over the seeds; of its differences the mean and the normal approximation's 95 %
    interval. With one seed each McNemar's exact test (1947) besides: the images that only one has right split evenly
    if neither is better. Shares of several seeds do not: of three seeds one is wrong more often than one alone.
    """
    differences = first.mean(axis=0) - second.mean(axis=0)
    images = len(differences)
    if images < 2:
        raise ValueError(f"images: got {images}, expected 2 or more to compare two methods on")
    half_width = 1.959964 * float(np.std(differences, ddof=1)) / np.sqrt(images)
    difference = Estimate(100 * float(differences.mean()), 100 * float(half_width))
    return Paired(difference, _mcnemar(differences) if len(first) == len(second) == 1 else None, images)


def _mcnemar(differences: Float[np.ndarray, " images"]) -> Split:
    """Of -1 where only the first agent is right, 1 where only the second is, 0 where both are alike."""
    from scipy.stats import binomtest

    first_right, second_right = int((differences < 0).sum()), int((differences > 0).sum())
    uneven = first_right + second_right
    return Split(first_right, second_right, float(binomtest(first_right, uneven).pvalue) if uneven else 1.0)
