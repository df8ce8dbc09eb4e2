"""What users hand to `reset` as seeds, as one number a lane."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

Seeds = int | np.integer | Sequence[int | None] | np.ndarray | Tensor | None


def is_whole(value: Any) -> bool:
    """Whether it is a whole number, Python's or NumPy's; True and False are none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def holds_whole_numbers(values: Tensor) -> bool:
    """Told by its type alone: no device is waited for."""
    return not (values.is_floating_point() or values.is_complex() or values.dtype == torch.bool)


def seed_of_all(seed: Seeds) -> int | None:
    """The seed, where one stands for all lanes; None where each has its own. Raises `ValueError` where it is none."""
    if seed is None or np.ndim(seed) > 0:  # type: ignore[arg-type]
        return None
    return _whole(seed.item() if isinstance(seed, np.ndarray | Tensor) else seed)


def lane_seeds(seed: Seeds, lanes: int) -> tuple[np.ndarray, Tensor]:
    """Which lanes are given a seed, and the seeds, of 63 bits; a tensor's stay on its device, their numbers unseen.

    One seed s for all gives lane i the seed s + i. Raises `ValueError` where a seed is no whole number from 0 up, or
    there is not one a lane.
    """
    if (first := seed_of_all(seed)) is not None:
        seed = [first + lane for lane in range(lanes)]
    assert seed is not None
    assert not isinstance(seed, int | np.integer)
    if len(seed) != lanes:
        raise ValueError(f"seed: got {len(seed)} seeds, expected one integer or one for each of {lanes} lanes")
    if isinstance(seed, np.ndarray | Tensor) and seed.ndim > 1:
        raise ValueError(f"seed: got an array of shape {tuple(seed.shape)}, expected one of shape ({lanes},)")
    if isinstance(seed, Tensor):
        if not holds_whole_numbers(seed):
            raise ValueError(f"seed: got tensors of {seed.dtype}, expected whole numbers from 0 up")
        return np.ones(lanes, dtype=bool), seed.to(torch.long, copy=True)  # callers may write to theirs
    if isinstance(seed, np.ndarray) and seed.dtype.kind in "iu" and seed.min() >= 0:
        low = seed.astype(np.uint64) & np.uint64(2**63 - 1)
        return np.ones(lanes, dtype=bool), torch.from_numpy(low.astype(np.int64))
    named = np.array([value is not None for value in seed])
    # Gymnasium's seeds know no bound.
    return named, torch.tensor([0 if value is None else _whole(value) % 2**63 for value in seed])


def _whole(seed: Any) -> int:
    if not is_whole(seed) or seed < 0:
        raise ValueError(f"seed: got {seed!r}, expected a whole number from 0 up")
    return int(seed)
