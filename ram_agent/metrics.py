"""Running means of a training run, kept on the device until they are asked for: logging never makes an update wait."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class Running:
    """Means over the updates since the last flush; part of a checkpoint, so that a resumed run logs the same."""

    def __init__(self, since: float = 0.0) -> None:
        self._sums: dict[str, Tensor] = {}
        self._updates = 0
        self._since = since

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Take in one update's scalars."""
        for name, value in values.items():
            before = self._sums.get(name)
            self._sums[name] = value.clone() if before is None else before.add_(value)
        self._updates += 1

    def flush(self, seconds: float) -> tuple[dict[str, float], int, float]:
        """Means, how many updates they are over, and the time since the last flush; `seconds` is the time now."""
        means = {name: value.item() / self._updates for name, value in self._sums.items()}
        updates, elapsed = self._updates, seconds - self._since
        self._sums, self._updates, self._since = {}, 0, seconds
        return means, updates, elapsed

    def state_dict(self) -> dict[str, Any]:
        return {"sums": dict(self._sums), "updates": self._updates, "since": self._since}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        self._sums = {name: value.to(device) for name, value in state["sums"].items()}
        self._updates, self._since = state["updates"], state["since"]
