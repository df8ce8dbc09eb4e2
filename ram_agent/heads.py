"""Heads: where to look next, what it is, how well it will go.

This file, `sensor/` and the factory in `policy.py` know of more than one kind of attention, and so does what trains and
measures them: `learner.py`, whose subclasses differ by it, and `signal.py`. Heads that nobody trains: `controls.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import atanh
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Move(NamedTuple):
    """A decision where to look next."""

    window: Float[Tensor, "lanes parameters"]
    """What the environment is given, in [-1, 1]."""
    sample: Float[Tensor, "lanes parameters"]
    """What was drawn, before it was clamped: the log-probability is taken of this."""
    mean: Float[Tensor, "lanes parameters"]


class WindowHead(nn.Module, ABC):
    """h_t → the window of the next look."""

    samples: ClassVar[bool] = False
    """Whether it draws windows about its mean, with `std`."""

    @property
    def varies(self) -> bool:
        """Whether one pass may look elsewhere than another, so that the vote of several says more than one."""
        return self.samples

    @abstractmethod
    def forward(
        self, hidden: Float[Tensor, "lanes hidden"], std: float | Tensor, generator: torch.Generator | None
    ) -> Move: ...


class LearnedWindowHead(WindowHead):
    """mean = tanh(W₂ ReLU(W₁ h) + b₂ + S o), with W₂ = 0 and b₂ at `first_window` to begin with.

    W₁ h has `width` units; at 0 there is no such layer, as in Mnih et al. 2014, section 4: tanh(W₂ h + b₂ + S o). The
    tanh is ours: it keeps means within reach.

    Attention that starts where chance has it starts by looking at corners, where there is nothing to learn from.
    `detach` stops the window's gradient at the input, so that the core serves the classifier alone.

    `scan` are places (x, y) in [-1, 1], one for each of the first moves: S, a column for each, takes the centres of
    windows there to begin with. o, the last entries of h, tells which move it is (`ram_agent.policy.next_move`).
    Without, there is no S o.
    """

    def __init__(
        self,
        hidden: int,
        width: int,
        first_window: Sequence[float],
        detach: bool,
        scan: Sequence[tuple[float, float]] = (),
    ) -> None:
        super().__init__()
        self.detach = detach
        self.inner = nn.Linear(hidden, width) if width else None
        self.outer = nn.Linear(width or hidden, len(first_window))
        nn.init.zeros_(self.outer.weight)
        with torch.no_grad():
            self.outer.bias.copy_(_before_tanh(first_window))
        self.scan = nn.Linear(len(scan), len(first_window), bias=False) if scan else None
        if self.scan is not None:
            nn.init.zeros_(self.scan.weight)
            with torch.no_grad():
                for move, place in enumerate(scan):
                    self.scan.weight[:2, move] = _before_tanh(place) - self.outer.bias[:2]

    def mean(self, hidden: Float[Tensor, "*batch hidden"]) -> Float[Tensor, "*batch parameters"]:
        hidden = hidden.detach() if self.detach else hidden
        outer = self.outer(hidden if self.inner is None else torch.relu(self.inner(hidden)))
        if self.scan is not None:
            outer = outer + self.scan(hidden[..., -self.scan.in_features :])
        return torch.tanh(outer)


def _before_tanh(values: Sequence[float]) -> Float[Tensor, " values"]:
    """What tanh takes there; it never reaches ±1, and saturates long before: stay where it still learns."""
    return torch.tensor([atanh(max(-0.95, min(0.95, value))) for value in values])


class SampledWindowHead(LearnedWindowHead):
    """Hard attention: the window is drawn from a Gaussian about the mean (Mnih et al. 2014, sections 3.1 and 4).

    The sample is detached: the classification loss cannot reach the location through it, the score function alone does.
    """

    samples: ClassVar[bool] = True

    def forward(
        self, hidden: Float[Tensor, "lanes hidden"], std: float | Tensor, generator: torch.Generator | None
    ) -> Move:
        mean = self.mean(hidden)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
        sample = (mean + std * noise).detach()
        return Move(sample.clamp(-1, 1), sample, mean)


class PathwiseWindowHead(LearnedWindowHead):
    """Soft attention: the window is the mean, and the glimpse's gradient flows back through it, times `gradient_scale`.

    With `detach` that gradient ends at this head. Without, it goes on into the core and from there into earlier
    windows, grows with the number of looks, and unscaled drowns the classifier's.
    """

    def __init__(
        self,
        hidden: int,
        width: int,
        first_window: Sequence[float],
        detach: bool,
        gradient_scale: float,
        scan: Sequence[tuple[float, float]] = (),
    ) -> None:
        super().__init__(hidden, width, first_window, detach, scan)
        self.gradient_scale = gradient_scale

    def forward(
        self, hidden: Float[Tensor, "lanes hidden"], std: float | Tensor, generator: torch.Generator | None
    ) -> Move:
        mean = self.mean(hidden)
        window = mean.detach() + self.gradient_scale * (mean - mean.detach())
        return Move(window, window, mean)


class StraightThroughWindowHead(PathwiseWindowHead):
    """Hard attention that is told where to go: drawn about the mean like `SampledWindowHead`'s, yet with a gradient.

    window = mean + std · noise, and what a crop says of its window (`ram_agent.sensor.Crop`) reaches the mean. The
    noise smooths over the pixels what a straight-through gradient takes for smooth.
    """

    samples: ClassVar[bool] = True

    @classmethod
    def around(cls, head: LearnedWindowHead, gradient_scale: float) -> "StraightThroughWindowHead":
        """The same parameters, not copies of them, with a gradient: another way to train what `head` has learned."""
        twin = cls.__new__(cls)
        nn.Module.__init__(twin)
        twin.detach, twin.gradient_scale = head.detach, gradient_scale
        twin.inner, twin.outer, twin.scan = head.inner, head.outer, head.scan
        return twin

    def forward(
        self, hidden: Float[Tensor, "lanes hidden"], std: float | Tensor, generator: torch.Generator | None
    ) -> Move:
        move = super().forward(hidden, std, generator)
        noise = torch.randn(move.mean.shape, generator=generator, device=move.mean.device, dtype=move.mean.dtype)
        sample = move.window + std * noise
        return Move(sample.clamp(-1, 1), sample.detach(), move.mean)


class BaselineHead(nn.Module):
    """b_t: the return expected from h_t, that is before move t was drawn.

    Its input is detached: the baseline's loss teaches the baseline, never the core.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.value = nn.Linear(hidden, 1)

    def forward(self, hidden: Float[Tensor, "*batch hidden"]) -> Float[Tensor, "*batch"]:
        return self.value(hidden.detach())[..., 0]
