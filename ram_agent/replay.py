"""Updates replayed as a CUDA graph: the thousand small kernels of an update started by one call.

T and N are fixed, an update decides nothing on the host, and all that changes from one to the next stands in tensors
that are filled before it: so the kernels of one update, recorded, are those of every other.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

import torch

Result = TypeVar("Result")

WARM_UP = 3
"""Calls before recording, as PyTorch advises: libraries choose their kernels and the optimiser makes its state."""


def is_replayable(optimizer: str, processes: int) -> bool:
    """Whether updates of such a training can be recorded."""
    return optimizer in ("adam", "muon") and processes == 1


def check_replayable(optimizer: str, processes: int) -> None:
    """Raise `ValueError` for a training whose updates cannot be recorded."""
    if not is_replayable(optimizer, processes):
        raise ValueError(
            f"run.cuda_graph: got true with training.optimizer {optimizer} and {processes} process(es), "
            "expected adam or muon and one process"
        )


def record_cuda(function: Callable[[], Result], generator: torch.Generator) -> Callable[[], Result]:
    """Record what `function` starts on the current CUDA device; the function that comes back starts it again.

    Nothing is executed while recording. Results of a replay lie where those of the one before lay.
    """
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(generator)
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        result = function()

    def replay() -> Result:
        graph.replay()
        return result

    return replay


def aside_cuda(function: Callable[[], Result]) -> Result:
    """Call `function` on another stream than the default one, which cannot be recorded."""
    side, here = torch.cuda.Stream(), torch.cuda.current_stream()
    side.wait_stream(here)
    with torch.cuda.stream(side):
        result = function()
    here.wait_stream(side)
    return result


class Replayed(Generic[Result]):
    """A function without arguments, called `WARM_UP` times and replayed from then on."""

    def __init__(self, function: Callable[[], Result], generator: torch.Generator) -> None:
        self.function, self.generator = function, generator
        self.calls = 0
        self.replay: Callable[[], Result] | None = None

    def __call__(self) -> Result:
        self.calls += 1
        if self.calls <= WARM_UP:
            return aside_cuda(self.function)
        if self.replay is None:
            self.replay = record_cuda(self.function, self.generator)
        return self.replay()
