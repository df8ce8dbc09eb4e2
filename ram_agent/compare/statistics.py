"""Errors over seeds, and differences of errors over the same images. Pure functions.

Errors and differences are in percent and percentage points. SciPy is imported where it is used: it takes 60 MB and a
second, and a training needs none of it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from ram_agent.evaluation import wilson

FEWEST_SEEDS = 3
"""Below that a difference has no interval over seeds: it would be too wide to tell anything."""
NORMAL = 1.959964
"""Standard errors to either side of a mean, in a 95 % interval by the normal approximation."""
SHOWN = 0.05
"""A p below it shows a difference."""


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
class Welch(Estimate):
    """A difference of means over seeds, with the p of the test that its interval belongs to (Welch 1947)."""

    p: float


@dataclass(frozen=True)
class Split:
    """How the images on which two agents differ fall to them."""

    only_first_right: int
    only_second_right: int


@dataclass(frozen=True)
class Contrast:
    """The error of a first method less that of a second, on the same images."""

    difference: Estimate
    """Over images, for these weights."""
    split: Split | None
    """None where a method has several seeds, and where they are not compared image by image."""
    p: float
    """Of as large a difference by chance alone, two-sided: see `paired` and `unpaired`."""
    images: int
    paired: bool = True
    """Whether image by image."""


def over_seeds(errors: Sequence[float]) -> Estimate | None:
    """The mean over seeds with Student's 95 % interval (of two seeds, 12.7 standard errors to either side).

    None for one seed, and where all ended alike, as they may on few test images: that tells nothing of their scatter.
    """
    from scipy.stats import t

    count = len(errors)
    if count < 2 or max(errors) == min(errors):
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


def between_seeds(first: Sequence[float], second: Sequence[float]) -> Welch | None:
    """The difference of the means over seeds with Welch's 95 % interval and test.

    None for fewer than `FEWEST_SEEDS` of any, and where the seeds of both ended alike, as they may on few test
    images: that tells nothing of their scatter.
    """
    from scipy.stats import t

    if min(len(first), len(second)) < FEWEST_SEEDS:
        return None
    if all(max(errors) == min(errors) for errors in (first, second)):
        return None
    shares = [float(np.var(errors, ddof=1)) / len(errors) for errors in (first, second)]
    variance = sum(shares)
    difference = float(np.mean(first) - np.mean(second))
    freedom = variance**2 / sum(
        share**2 / (len(errors) - 1) for share, errors in zip(shares, (first, second), strict=True)
    )
    error = float(np.sqrt(variance))
    p = float(2 * t.sf(abs(difference) / error, freedom))
    return Welch(difference, float(t.ppf(0.975, freedom)) * error, p)


def holm(p: Sequence[float]) -> list[float]:
    """p of several tests, adjusted for their number (Holm 1979).

    Of those below 0.05 any is there by chance alone in at most one report of twenty, however the tests hang together.
    """
    adjusted = [0.0] * len(p)
    largest = 0.0
    for rank, number in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        largest = max(largest, min(1.0, (len(p) - rank) * p[number]))
        adjusted[number] = largest
    return adjusted


def unpaired(first: Sequence[float], second: Sequence[float], images: int) -> Contrast:
    """Compare errors, a method's seeds each, where it is not known which images were answered wrongly.

    As if each method had been shown images of its own, and the mean over its seeds were the error of one agent: the
    normal approximation's 95 % interval, and Fisher's exact test (1935). On the same images, of which some are harder
    for both, and over several seeds, a difference scatters less: the interval is rather too wide, p too large.
    """
    from scipy.stats import fisher_exact

    wrong = [round(float(np.mean(errors)) / 100 * images) for errors in (first, second)]
    shares = [count / images for count in wrong]
    half_width = NORMAL * float(np.sqrt(sum(share * (1 - share) / images for share in shares)))
    difference = Estimate(float(np.mean(first) - np.mean(second)), 100 * half_width)
    test: Any = fisher_exact([[count, images - count] for count in wrong])
    return Contrast(difference, None, float(test.pvalue), images, paired=False)


def paired(first: Bool[np.ndarray, "seeds images"], second: Bool[np.ndarray, "others images"]) -> Contrast:
    """Compare which answers were wrong, image by image.

    Per image the share of wrong answers over the seeds; of its differences the mean and the normal approximation's 95 %
    interval. Few images on which the two differ are too few for that approximation, hence a test besides. With one seed
    each it is McNemar's exact one (1947): the images that only one has right split evenly if neither is better. Shares
    of several seeds do not: of three seeds one is wrong more often than one alone. With as many seeds each, every sign
    of a difference is as likely as the other (Fisher 1935), their sizes kept. With unlike numbers it is not, and
    what is as likely is every deal of an image's wrong answers to the seeds of both.
    """
    differences = first.mean(axis=0) - second.mean(axis=0)
    images = len(differences)
    if images < 2:
        raise ValueError(f"images: got {images}, expected 2 or more to compare two methods on")
    half_width = NORMAL * float(np.std(differences, ddof=1)) / np.sqrt(images)
    difference = Estimate(100 * float(differences.mean()), 100 * float(half_width))
    if len(first) == len(second) == 1:
        split = Split(int((differences < 0).sum()), int((differences > 0).sum()))
        return Contrast(difference, split, _mcnemar(split), images)
    p = _by_flipped_signs(first, second) if len(first) == len(second) else _by_exchange(first, second)
    return Contrast(difference, None, p, images)


def _mcnemar(split: Split) -> float:
    from scipy.stats import binomtest

    uneven = split.only_first_right + split.only_second_right
    return float(binomtest(split.only_first_right, uneven).pvalue) if uneven else 1.0


def _by_flipped_signs(first: Bool[np.ndarray, "seeds images"], second: Bool[np.ndarray, "seeds images"]) -> float:
    """The chance of a sum at least as far from 0 if every sign of a difference were as likely as the other. Exact."""
    steps = first.sum(axis=0) - second.sum(axis=0)
    sizes = Counter(np.abs(steps).tolist())
    chances = _of_sums([(np.eye(size + 1)[[0, -1]].mean(axis=0), count) for size, count in sizes.items()])
    sums = np.abs(2 * np.arange(len(chances)) - (len(chances) - 1))
    return float(np.clip(chances[sums >= abs(steps.sum())].sum(), 0, 1))


def _by_exchange(first: Bool[np.ndarray, "seeds images"], second: Bool[np.ndarray, "others images"]) -> float:
    """The chance of a difference at least as far from 0 if an image's wrong answers fell to any seeds alike. Exact.

    Of k wrong answers those of the first method are then as many as marked balls in a draw without replacement.
    """
    from scipy.stats import hypergeom

    ours, both = len(first), len(first) + len(second)
    wrong = Counter((first.sum(axis=0) + second.sum(axis=0)).tolist())
    chances = _of_sums([(hypergeom.pmf(np.arange(min(k, ours) + 1), both, k, ours), n) for k, n in wrong.items()])
    share = ours * (first.sum() + second.sum())  # of the first method, times the seeds of both
    distances = np.abs(both * np.arange(len(chances)) - share)
    return float(np.clip(chances[distances >= abs(both * first.sum() - share)].sum(), 0, 1))


def _of_sums(parts: Sequence[tuple[Float[np.ndarray, " _"], int]]) -> Float[np.ndarray, " sums"]:
    """The chances of the sums 0, 1, … of independent numbers: of each kind the chances of 0, 1, …, and how many there
    are. The spectrum of a sum is the product of its parts'.
    """
    most = int(sum((len(chances) - 1) * count for chances, count in parts))
    turns = np.exp(-2j * np.pi * np.arange((most + 1) // 2 + 1) / (most + 1))
    spectrum = np.ones_like(turns)
    for chances, count in parts:
        spectrum *= np.polynomial.polynomial.polyval(turns, chances) ** count
    return np.fft.irfft(spectrum, most + 1)
