"""What a benchmark is asked to do."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import torch


@dataclass(frozen=True)
class Settings:
    """The command's options. Raises `ValueError`, naming the option, where one makes no sense."""

    device: torch.device
    threads: int = 1
    """Of torch."""
    rounds: int = 15
    """How often the candidates of a group are timed in turn."""
    updates: int = 300
    """Over which memory is watched."""
    batch: int = 256
    """Images an update."""
    smoke: bool = False
    """Tiny sizes and two rounds: only whether it runs."""

    def __post_init__(self) -> None:
        least = {"threads": 1, "rounds": 1, "updates": 2, "batch": 1}
        for name, lowest in least.items():
            if getattr(self, name) < lowest:
                raise ValueError(f"--{name}: expected {lowest} or more, got {getattr(self, name)}")

    @property
    def clock(self) -> Callable[[], float]:
        """Seconds; on CUDA the work that was ordered is done first, or one would time the ordering."""
        if self.device.type != "cuda":
            return perf_counter

        def clock() -> float:
            torch.cuda.synchronize(self.device)
            return perf_counter()

        return clock


def announce(group: str) -> None:
    """Say on stderr what is being measured: the whole takes minutes."""
    print(f"bench: {group}", file=sys.stderr, flush=True)
