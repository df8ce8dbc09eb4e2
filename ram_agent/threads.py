"""How many of torch's threads are worth having."""

from time import perf_counter

import numpy as np
import torch

AVAILABLE = torch.get_num_threads()
"""What torch takes of its own accord: the cores at hand, or what `OMP_NUM_THREADS` says, which torchrun sets, too."""


def fastest_threads() -> int:
    """1 or all of torch's threads, whichever multiplies faster here and now, however many are set at the moment.

    On a machine that others use too, two threads have been seen 70 times slower than one.
    """
    return 1 if AVAILABLE == 1 else min((1, AVAILABLE), key=_product_seconds)


def _product_seconds(threads: int) -> float:
    """The slowest tenth of the products of one step: what a busy core does to threads shows there."""
    torch.set_num_threads(threads)
    left, right = torch.rand(256, 512), torch.rand(512, 1024)
    times = []
    for _ in range(100):
        started = perf_counter()
        torch.mm(left, right)
        times.append(perf_counter() - started)
    return float(np.quantile(times, 0.9))
