"""Updates replayed as a CUDA graph: the thousand small kernels of an update started by one call.

T and N are fixed, an update decides nothing on the host, and all that changes from one to the next stands in tensors
that are filled before it: so the kernels of one update, recorded, are those of every other.
"""

import gc
from collections.abc import Callable
from typing import Generic, TypeVar

import torch

from ram_agent.config_layers import ConfigError

Result = TypeVar("Result")

WARM_UP = 3
"""Calls before recording, as PyTorch advises: libraries choose their kernels and the optimiser makes its state."""


def is_replayable(optimizer: str, processes: int) -> bool:
    """Whether updates of such a training can be recorded."""
    return optimizer in ("adam", "muon") and processes == 1


def replays_unasked(optimizer: str, processes: int, device: torch.device, *, deterministic: bool) -> bool:
    """Whether to record where nobody says: on a GPU, unless bits are to repeat, which was not tried together."""
    return device.type == "cuda" and is_replayable(optimizer, processes) and not deterministic


def check_replayable(optimizer: str, processes: int) -> None:
    """Raise `ConfigError` for a training whose updates cannot be recorded."""
    if not is_replayable(optimizer, processes):
        raise ConfigError(
            f"run.cuda_graph: got true with training.optimizer {optimizer} and {processes} process(es), "
            "expected adam or muon and one process"
        )


def record_cuda(function: Callable[[], Result], generator: torch.Generator) -> Callable[[], Result]:
    """Record what `function` starts on the device of `generator`; the function that comes back starts it again.

    Nothing is executed while recording. Results of a replay lie where those of the one before lay.
    """
    gc.collect()  # recordings that nobody needs any more: each holds the memory of an update
    with torch.cuda.device(generator.device):
        graph = torch.cuda.CUDAGraph()
        if torch.__version__ < "2.14":  # from then on nothing needs it, and it warns
            graph.register_generator_state(generator)
        torch.cuda.synchronize()
        with torch.cuda.graph(graph, stream=torch.cuda.Stream()):
            result = function()

    def replay() -> Result:
        graph.replay()
        return result

    return replay


def aside_cuda(function: Callable[[], Result], device: torch.device) -> Result:
    """Call `function` on another stream of the device than the default one, which cannot be recorded."""
    with torch.cuda.device(device):
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

    def forget(self) -> None:
        """Give back the memory of the recording. The next calls warm up anew: what they write to may be others."""
        self.calls, self.replay = 0, None

    def __call__(self) -> Result:
        self.calls += 1
        if self.calls <= WARM_UP:
            return aside_cuda(self.function, self.generator.device)
        if self.replay is None:
            self.replay = record_cuda(self.function, self.generator)
        return self.replay()
