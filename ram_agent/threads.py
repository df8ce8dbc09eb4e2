"""How many of torch's threads are worth having."""

from time import perf_counter

import numpy as np
import torch


def fastest_threads() -> int:
    """1 or all of torch's threads, whichever multiplies faster here and now.

    On a machine that others use too, two threads have been seen 70 times slower than one.
    """
    available = torch.get_num_threads()
    return 1 if available == 1 else min((1, available), key=_product_seconds)


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
