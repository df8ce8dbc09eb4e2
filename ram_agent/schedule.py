"""What follows from the number of an update: the seed of its noise, and how far the learning rate has fallen."""

from hashlib import sha256

import numpy as np


def noise_seed(seed: int, number: int, purpose: str = "noise") -> int:
    """For each batch of a run, and each purpose, its own: 64 bits of SHA-256 (a generator on the CPU uses 32)."""
    digest = sha256(f"{purpose} {seed} {number}".encode()).digest()
    return int.from_bytes(digest[:8], "little")


def decay(schedule: str, progress: float) -> float:
    """Factor of the learning rate."""
    if schedule == "cosine":
        return 0.5 * (1 + float(np.cos(np.pi * progress)))
    return 1 - progress if schedule == "linear" else 1.0
