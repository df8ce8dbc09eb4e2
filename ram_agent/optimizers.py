"""What steps the weights: SGD as in the paper, Adam, or Muon for the matrices inside with Adam for all else."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ram_agent.config import TrainingConfig
from ram_agent.muon import Muon
from ram_agent.policy import Policy

MULTIPLE = "multiple"
"""Where a group of parameters says which multiple of the learning rate is its own; one that does not has the rate."""


class MuonAdam(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024) for hidden matrices, Adam for every other parameter, under one schedule.

    Muon's step is the momentum with all its singular values brought to 1. It is for matrices between hidden units, and
    for those that take in pixels (a dense encoder); filters over pixels, heads, and what is no matrix (biases), are
    Adam's. Muon's steps are scaled to the root mean square of Adam's (Liu et al. 2025), so that one learning rate
    serves both. `others` are groups as Adam takes them.
    """

    found_inf: Tensor | None = None
    """Where this is 1 a step is left out, as by torch's fused optimisers."""

    def __init__(
        self,
        matrices: list[nn.Parameter],
        others: list[dict[str, Any]],
        lr: float | Tensor,
        precision: torch.dtype = torch.float32,
    ) -> None:
        super().__init__([*matrices, *(each for group in others for each in group["params"])], {"lr": lr})
        self._muon = Muon(matrices, lr, precision)
        self._adam = torch.optim.Adam(others, lr=lr, fused=True, capturable=isinstance(lr, Tensor))
        self._share()

    def _share(self) -> None:
        self.param_groups = [*self._muon.param_groups, *self._adam.param_groups]

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        assert closure is None, "gradients are there already"
        self._muon.found_inf = self.found_inf
        setattr(self._adam, "found_inf", self.found_inf)  # noqa: B010
        self._muon.step()
        self._adam.step()

    def state_dict(self) -> dict[str, Any]:
        return {"muon": self._muon.state_dict(), "adam": self._adam.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._muon.load_state_dict(state_dict["muon"])
        self._adam.load_state_dict(state_dict["adam"])
        self._share()


def hidden_matrices(policy: Policy) -> list[nn.Parameter]:
    """The matrices to hidden units: none of a head's, and not the one that takes in the window's few numbers.

    One that takes in a dense encoder's pixels is among them, filters over pixels are not; filters over filters are.
    """
    outside = {
        id(parameter)
        for name, module in policy.named_modules()
        if name in ("classifier", "window_head", "baseline", "glimpse.placed")
        for parameter in module.parameters()
    }
    filters = {id(weight) for weight in policy.filters_over_filters()}
    return [
        each for each in policy.parameters() if (each.dim() == 2 or id(each) in filters) and id(each) not in outside
    ]


def make_optimizer(
    policy: Policy, training: TrainingConfig, replay_on: torch.device | None = None
) -> torch.optim.Optimizer:
    """By `training.optimizer`. For updates that are replayed the learning rate stands in tensors on that device, where
    the schedule can change it.
    """
    matrices = hidden_matrices(policy) if training.optimizer == "muon" else []
    groups = _groups(policy, _without(policy.parameters(), matrices), training, replay_on)
    rate = _rate(training, replay_on)
    if training.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=0.9, fused=True)
    if matrices:
        precision = torch.bfloat16 if training.precision == "bfloat16" else torch.float32
        return MuonAdam(matrices, groups, rate, precision)
    return torch.optim.Adam(groups, lr=rate, fused=True, capturable=replay_on is not None)


def _groups(
    policy: Policy, parameters: list[nn.Parameter], training: TrainingConfig, replay_on: torch.device | None
) -> list[dict[str, Any]]:
    """The parameters, and those of the window head on their own where they have a rate of their own."""
    head = list(policy.window_head.parameters())
    if training.window_rate == 1 or not head:
        return [{"params": parameters}]
    own = {"lr": _rate(training, replay_on, training.window_rate), MULTIPLE: training.window_rate}
    return [{"params": _without(parameters, head)}, {"params": head, **own}]


def _without(parameters: Iterable[nn.Parameter], left_out: list[nn.Parameter]) -> list[nn.Parameter]:
    """Told apart by identity: parameters compare element by element."""
    ids = {id(each) for each in left_out}
    return [each for each in parameters if id(each) not in ids]


def _rate(training: TrainingConfig, replay_on: torch.device | None, multiple: float = 1.0) -> float | Tensor:
    rate = training.learning_rate * multiple
    return rate if replay_on is None else torch.tensor(rate, device=replay_on)
