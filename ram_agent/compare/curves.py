"""Curves of several seeds of one method: their mean and range where every seed has a value, and what lies beyond.

Pure functions. A curve is a list of points (x, y).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

Points = Float[np.ndarray, "_ 2"]

SIGNAL_OVER = 7
"""Evaluations over which a signal-to-noise ratio is averaged: a few batches leave most of one evaluation to chance."""


class Bundle(NamedTuple):
    """The curves of one method. Where the seeds share no stretch, x is empty and all of them are alone."""

    x: Float[np.ndarray, " points"]
    mean: Float[np.ndarray, " points"]
    low: Float[np.ndarray, " points"]
    high: Float[np.ndarray, " points"]
    alone: tuple[Points, ...]
    """What enters no mean: seeds before the last begins and after the first ends, and unfinished seeds."""
    seeds: int
    """Whose mean it is; 0 where there is none."""


def bundle(finished: Sequence[Points], unfinished: Sequence[Points] = ()) -> Bundle:
    """The mean over the finished seeds, or over the unfinished ones where none is finished.

    It is taken at every x of any seed between the last beginning and the first end, linear between the points of a
    seed: no seed leaves the mean or joins it on the way, which would show as a step that no agent made.
    """
    members, others = (finished, unfinished) if any(map(len, finished)) else (unfinished, ())
    curves = [_in_order(points) for points in members if len(points)]
    alone = [_in_order(points) for points in others if len(points)]
    if not curves:
        empty = np.zeros(0)
        return Bundle(empty, empty, empty, empty, tuple(alone), 0)
    start, end = max(points[0, 0] for points in curves), min(points[-1, 0] for points in curves)
    if start > end:
        empty = np.zeros(0)
        return Bundle(empty, empty, empty, empty, (*curves, *alone), 0)
    everywhere = np.unique(np.concatenate([points[:, 0] for points in curves]))
    x = everywhere[(everywhere >= start) & (everywhere <= end)]
    heights = np.stack([np.interp(x, points[:, 0], points[:, 1]) for points in curves])
    before = [np.vstack([points[points[:, 0] < start], (start, _at(points, start))]) for points in curves]
    after = [np.vstack([(end, _at(points, end)), points[points[:, 0] > end]]) for points in curves]
    beyond = [points for points in (*before, *after) if len(points) > 1]
    mean, low, high = heights.mean(axis=0), heights.min(axis=0), heights.max(axis=0)
    return Bundle(x, mean, low, high, (*beyond, *alone), len(curves))


def running_mean(points: Points, over: int) -> Points:
    """Each point with the mean of the `over` points (odd) about it; fewer towards the ends, as many on either side."""
    count = np.arange(len(points))
    reach = np.minimum(over // 2, np.minimum(count, count[::-1]))
    total = np.concatenate([[0.0], np.cumsum(points[:, 1])])
    mean = (total[count + reach + 1] - total[count - reach]) / (2 * reach + 1)
    return np.column_stack([points[:, 0], mean])


def _at(points: Points, x: float) -> float:
    return float(np.interp(x, points[:, 0], points[:, 1]))


def _in_order(points: Points) -> Points:
    """By x; of several at one x, as a resumed run can have them, the last."""
    last = dict(points.tolist())
    return np.array(sorted(last.items()), dtype=float).reshape(-1, 2)
