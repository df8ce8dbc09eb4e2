"""Several processes, one training: each plays its own lanes, PyTorch averages their gradients.

`torchrun --nproc-per-node N train.py …` starts them; everything that travels between them does so through
`torch.distributed` (gloo on CPUs, NCCL on GPUs).
"""

import os
from inspect import signature
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed
from torch import nn
from torch.nn.parallel import DistributedDataParallel

Plain = TypeVar("Plain")


class Ranks(NamedTuple):
    """Which of how many processes this is."""

    rank: int
    size: int

    @property
    def leads(self) -> bool:
        """Whether this process logs, validates, saves and measures."""
        return self.rank == 0

    def average(self, module: nn.Module) -> nn.Module:
        """The module, its gradient averaged over all ranks by every `backward`; weights start as the first rank's."""
        if self.size == 1:
            return module
        # Every update is the same graph; some weights have no part in it, as the baseline's in soft attention.
        settings: dict[str, Any] = {_SYNCHRONISE: False}
        return DistributedDataParallel(module, static_graph=True, **settings)

    def largest(self, number: int) -> int:
        """The largest of all ranks' numbers; all must ask together."""
        if self.size == 1:
            return number
        votes = torch.tensor(number, device=_device())
        torch.distributed.all_reduce(votes, torch.distributed.ReduceOp.MAX)
        return int(votes.item())

    def share(self, value: Plain) -> Plain:
        """The first rank's value, on all ranks."""
        if self.size == 1:
            return value
        box = [value]
        torch.distributed.broadcast_object_list(box, device=_device())
        return box[0]


ALONE = Ranks(0, 1)
_SYNCHRONISE = next(
    name
    for name in ("forward_sync_buffers", "broadcast_buffers")  # newer and older PyTorch's; batch norm's stay apart
    if name in signature(DistributedDataParallel).parameters
)


def join_ranks() -> Ranks:
    """Join the processes that torchrun started; `ALONE` where it did not start this one, or only this one."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or "MASTER_ADDR" not in os.environ:
        return ALONE
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    if not torch.distributed.is_initialized():
        nccl = torch.cuda.is_available() and torch.distributed.is_nccl_available()  # which Windows has not
        torch.distributed.init_process_group("nccl" if nccl else "gloo")
    return Ranks(torch.distributed.get_rank(), torch.distributed.get_world_size())


def leave_ranks() -> None:
    """Say goodbye in order; without, torch complains at exit."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _device() -> torch.device:
    return torch.device("cuda") if torch.distributed.get_backend() == "nccl" else torch.device("cpu")
