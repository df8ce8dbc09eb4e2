"""Controls: window heads that nobody trains. What a learned policy is worth is the distance to these.

Their classifiers are trained as the agent's is. What a control may know beyond h_t comes in a `Hint`, which learned
heads are never given.
"""

from abc import abstractmethod
from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ram_agent.heads import Move, WindowHead


class Hint(NamedTuple):
    """What a rollout tells controls about the look that is to be chosen."""

    look: int
    """Its number t, 1 … T - 1; look 0 is the environment's first window, for all alike."""
    looks: int
    """T."""
    reach: float
    """The farthest centre that an action can name; the sensor's."""
    place: Float[Tensor, "lanes 2"] | None
    """The true centre of the image in [-1, 1] of the canvas, where the environment tells it."""


class ControlWindowHead(WindowHead):
    """An eye at rest but for its place, which no one learns."""

    def __init__(self, first_window: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("rest", torch.tensor(list(first_window)), persistent=False)
        self.rest: Tensor

    @abstractmethod
    def place(self, lanes: int, generator: torch.Generator | None, hint: Hint | None) -> Float[Tensor, "lanes 2"]:
        """Where to look next, as an action."""

    def forward(
        self,
        hidden: Float[Tensor, "lanes hidden"],
        std: float | Tensor,
        generator: torch.Generator | None,
        hint: Hint | None = None,
    ) -> Move:
        place = self.place(len(hidden), generator, hint)
        window = torch.cat([place, self.rest[2:].expand(len(place), -1)], dim=1)
        return Move(window, window, window)


class RandomWindowHead(ControlWindowHead):
    """Every look that is chosen goes to a uniform place of those that actions can name."""

    @property
    def varies(self) -> bool:
        return True

    def place(self, lanes: int, generator: torch.Generator | None, hint: Hint | None) -> Float[Tensor, "lanes 2"]:
        return 2 * torch.rand(lanes, 2, generator=generator, device=self.rest.device) - 1


class CentreWindowHead(ControlWindowHead):
    """Every look that is chosen goes to the middle of the canvas."""

    def place(self, lanes: int, generator: torch.Generator | None, hint: Hint | None) -> Float[Tensor, "lanes 2"]:
        return self.rest.new_zeros(lanes, 2)


class RasterWindowHead(ControlWindowHead):
    """Scans the canvas row by row: look t goes to the middle of cell t - 1 of the T - 1 cells of `raster`.

    Where the middle of a cell lies beyond the sensor's reach, the look goes as near to it as the eye can.
    """

    def place(self, lanes: int, generator: torch.Generator | None, hint: Hint | None) -> Float[Tensor, "lanes 2"]:
        hint = _given(hint, "raster")
        middle = raster(hint.looks - 1)[hint.look - 1]
        # Filled rather than made from a list: a list would have to be copied to the device at every look.
        columns = [self.rest.new_full((lanes, 1), value / hint.reach) for value in middle]
        return torch.cat(columns, dim=1).clamp(-1, 1)


class OracleWindowHead(ControlWindowHead):
    """Every look that is chosen goes to the true centre of the image: what is left is the classifier's error.

    It cheats, openly: the place comes from `info`. Beyond the sensor's reach it looks as near as the eye can.
    """

    def place(self, lanes: int, generator: torch.Generator | None, hint: Hint | None) -> Float[Tensor, "lanes 2"]:
        hint = _given(hint, "oracle")
        if hint.place is None:
            raise ValueError(
                "window head oracle: got no place, expected info['place'] (N, 2) from the environment's reset; "
                "take an environment that tells it, or another control"
            )
        return (hint.place / hint.reach).clamp(-1, 1)


def raster(cells: int) -> list[tuple[float, float]]:
    """Middles (x, y) in [-1, 1] of `cells` cells that tile the canvas, row by row, each row from left to right.

    There are round(√cells) rows of equal height. The cells of a row are equally wide; where the rows do not divide the
    cells, the upper ones have one more. So every cell is looked at once and no part of the canvas is left out, which a
    full grid of rows times columns allows for few numbers only: 5 cells are a row of 3 above a row of 2.
    """
    rows = round(sqrt(cells))
    middles = []
    for row in range(rows):
        columns = cells // rows + (row < cells % rows)
        middles += [((2 * column + 1) / columns - 1, (2 * row + 1) / rows - 1) for column in range(columns)]
    return middles


def _given(hint: Hint | None, control: str) -> Hint:
    if hint is None:
        raise ValueError(
            f"window head {control}: got no hint, expected which look it is and where the image lies; "
            "only a rollout knows both: use `evaluate` rather than `predict`"
        )
    return hint


CONTROLS: dict[str, type[ControlWindowHead]] = {
    "random": RandomWindowHead,
    "centre": CentreWindowHead,
    "raster": RasterWindowHead,
    "oracle": OracleWindowHead,
}
