"""Numbers gone bad: NaN or infinity, found before the optimiser's step; and signs that a training is on its way there.

The guard lives on the device and decides there: an optimiser that is told so leaves out its step, and no update waits
for an answer. Whoever asks, asks later, and is told which update it was and what was wrong in it.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn


class NumbersGoneBad(ArithmeticError):
    """NaN or infinity in a training; one line: which update, what, the likely cause. Weights are those before it."""


class Found(NamedTuple):
    """The first update with a number that is none."""

    skipped: int
    """Updates from it on: none of them changed a parameter. Buffers follow what is shown."""
    values: dict[str, float]
    """Of the terms, in that update."""

    @property
    def terms(self) -> list[str]:
        return [name for name, value in self.values.items() if not _finite(value)]


class Guard:
    """Remembers, on the device, the first update that was not finite; from then on `bad` is 1 and no step is taken.

    `terms` are the names of what is examined in each update, in the order in which one spoils the next.
    """

    def __init__(self, device: torch.device, terms: Sequence[str] = ()) -> None:
        self.terms = tuple(terms)
        self.bad = torch.zeros((), device=device)
        """As an optimiser takes it (`found_inf`)."""
        self._sound = torch.zeros((), device=device)
        self._values = torch.zeros(len(self.terms), device=device)
        self._looked = 0

    def examine(self, values: Tensor) -> None:
        """Take in one update's terms. Six small operations; nothing waits."""
        wrong = (values - values).sum().ne(0)  # x - x is 0, or NaN where x is NaN or infinite
        torch.where(self.bad.bool(), self._values, values, out=self._values)
        self.bad.add_(wrong).clamp_(max=1)
        self._sound.add_(1).sub_(self.bad)

    def count(self) -> None:
        """Count an update on the host: what is replayed runs no Python."""
        self._looked += 1

    def ask(self) -> Found | None:
        """What was found since the last time. Waits for the device."""
        looked, self._looked = self._looked, 0
        if not looked:
            return None
        bad, sound, *values = torch.cat([self.bad[None], self._sound[None], self._values]).tolist()
        self._sound.zero_()
        if not bad:
            return None
        return Found(looked - round(sound), dict(zip(self.terms, values, strict=True)))

    def reset(self) -> None:
        """Other weights came in."""
        self._looked = 0
        for tensor in (self.bad, self._sound, self._values):
            tensor.zero_()


def bad_parameters(module: nn.Module) -> list[str]:
    """Names of weights and buffers that are not finite. Waits for the device, once."""
    named = [(name, value) for name, value in module.state_dict().items() if value.is_floating_point()]
    if not named:
        return []
    sound = torch.stack([value.isfinite().all() for _, value in named]).tolist()
    return [name for (name, _), fine in zip(named, sound, strict=True) if not fine]


class Circumstances(NamedTuple):
    """What a diagnosis goes by."""

    learning_rate: float
    window_std: float | None
    """None where nothing is sampled."""
    smallest_sigma: float | None
    """In pixels; None for kernels without one."""
    largest_parameter: float
    precision: str


SMALL_STD = 1e-3
"""In [-1, 1] units: a thirtieth of a pixel on 60 x 60. (return - baseline) / std² then drowns everything else."""
SMALL_SIGMA = 0.02
"""In pixels: a Gaussian so narrow that samples between two pixels weigh nothing, and rows are divided by that."""
LARGE_PARAMETER = 1e3
"""Weights here begin below 1 and stay below 10."""


def likely_cause(terms: list[str], parameters: list[str], now: Circumstances) -> str:
    """A guess, with its remedy."""
    if now.window_std is not None and now.window_std < SMALL_STD and not parameters:
        return f"exploration has shrunk to std {now.window_std:.3g}: raise training.window_std or window_std_end"
    if now.smallest_sigma is not None and now.smallest_sigma < SMALL_SIGMA and not parameters:
        return f"sigma may shrink to {now.smallest_sigma:.3g} pixels: raise the lower bound of sensor.sigmas"
    if parameters or now.largest_parameter > LARGE_PARAMETER:
        which = (
            f", {parameters[0]} is not finite" if parameters else f", weights have grown to {now.largest_parameter:.3g}"
        )
        return (
            f"learning rate {now.learning_rate:.3g} is too high{which}: lower training.learning_rate or training.clip"
        )
    if now.precision == "bfloat16":
        return "bfloat16 ran out of range: use training.precision float32, or a lower training.learning_rate"
    if terms == ["gradient norm"]:
        return "the gradient alone overflowed: lower training.learning_rate, or policy.window_gradient"
    return f"learning rate {now.learning_rate:.3g} is too high: lower training.learning_rate or training.clip"


def describe(update: int, found: Found | None, parameters: list[str], now: Circumstances) -> str:
    """The line of `NumbersGoneBad`; `found` is None where only the weights are bad, or, these sound, the answers."""
    terms = found.terms if found else []
    if found:
        what = ", ".join(f"{name} {found.values[name]}" for name in terms) + "; stopped before the optimiser's step"
    else:
        what = f"its step made {parameters[0] if parameters else 'the answers'} NaN or infinite"
    return f"update {update:,}: {what}. Likely cause: {likely_cause(terms, parameters, now)}"


# -------------------------------------------------------------------- on its way there


class Divergence:
    """Warns, once each, of gradients that grow without bound and of windows that are stuck at the border."""

    def __init__(self, clip: float, learns_windows: bool) -> None:
        self.clip, self.learns_windows = clip, learns_windows
        self.lowest = float("inf")
        """Gradient norm of the quietest row of the log; part of a checkpoint."""
        self._said: set[str] = set()

    def warnings(self, means: Mapping[str, float]) -> list[str]:
        """What is new in the means since the last row of the log."""
        found = {}
        norm = means.get("train/gradient_norm", 0.0)  # Stable-Baselines3 tells neither this nor the next
        # Clipped to less than a hundredth from the start, or to a tenth where it was once ten times smaller.
        if norm > 100 * self.clip or (norm > 10 * self.clip and norm > 10 * self.lowest):
            found["gradient"] = (
                f"gradient norm {norm:.3g} with training.clip {self.clip:g}: the training diverges; "
                "lower training.learning_rate"
            )
        self.lowest = min(self.lowest, norm)
        share = means.get("rollout/window_at_border", 0.0)
        if self.learns_windows and share > 0.9:
            found["window"] = (
                f"{100 * share:.0f} % of the windows are stuck at the border of their range, where nothing more is "
                "learned of them; lower training.learning_rate"
            )
        new = [line for kind, line in found.items() if kind not in self._said]
        self._said |= found.keys()
        return new


def _finite(value: float) -> bool:
    return value - value == 0
