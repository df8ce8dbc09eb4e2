"""An exponential moving average of a policy's weights, beside the training, which does not know of it."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from ram_agent.checkpoint import give_weights
from ram_agent.policy import Policy

YOUNG = 10
"""An average of n updates reaches back over n / 10 of them, until that is as far as it is to reach."""


class Average:
    """Weights and buffers of a policy, averaged over the updates behind it (Polyak and Juditsky 1992).

    `kept` is the share of the average that an update leaves in it: weights k updates back count as kept^k. In the
    beginning it leaves less: what has been learned least is left behind first. Where the steps of a high rate scatter,
    `policy` stands in their middle. (PyTorch's `AveragedModel` copies its counter to the device each time, and waits
    for it.)
    """

    def __init__(self, policy: Policy, kept: float) -> None:
        self.policy = deepcopy(policy).requires_grad_(False)
        self.kept = kept
        self.updates = 0
        """How many are in it; before the first it is of nothing."""

    @torch.no_grad()
    def update(self, policy: Policy, bad: Tensor) -> None:
        """Take in the weights as they stand; the first time, take them over. Where `bad` is 1 nothing is taken in: the
        step was left out.
        """
        skip, share = bad.bool(), max(1 - self.kept, YOUNG / (YOUNG + self.updates))
        if not self.updates:  # it was made with others, perhaps, and those that a first step left out are whole
            skip = torch.zeros_like(skip)
        for mean, now in zip(self.policy.state_dict().values(), policy.state_dict().values(), strict=True):
            taken = torch.where(skip, mean, now)
            if mean.is_floating_point():
                mean.lerp_(taken, share)
            else:
                mean.copy_(taken)
        self.updates += 1

    def state_dict(self) -> dict[str, Any]:
        return {"policy": self.policy.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any] | None) -> None:
        """Go on from what was saved; from nothing where that was a training without an average."""
        self.updates = state["updates"] if state else 0
        if state:
            give_weights(self.policy, state["policy"])
