"""The glimpse network: what was seen ⊕ where it was seen."""

from collections.abc import Sequence
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor, nn


class GlimpseNetwork(nn.Module):
    """g = ReLU(W_what ReLU(seen(glimpse)) + W_where ReLU(W_window window)) (Mnih et al. 2014, section 4).

    `seen` is a matrix where `encoder` is `dense`, as in the paper, and `Filters` where it is `conv` or `shared`.
    `glimpse_shape` is (K·C, G, G), or for a dense encoder the length of a flat glimpse; `window_parameters` is P, and
    `colours` C. The window enters as the action in [-1, 1] that named it, so that every parameter of a soft window
    (stride, sigma) is known to the network.
    """

    def __init__(
        self,
        glimpse_shape: Sequence[int],
        window_parameters: int,
        what: int,
        where: int,
        features: int,
        encoder: str = "dense",
        filters: int = 16,
        colours: int = 1,
    ) -> None:
        super().__init__()
        if encoder == "dense":
            self.seen = nn.Linear(prod(glimpse_shape), what)
        else:
            planes, side, _ = glimpse_shape
            if planes % colours:
                raise ValueError(f"colours: got {colours}, expected C of the {planes} = K·C planes of a glimpse")
            self.seen = Filters(planes, side, what, filters, colours if encoder == "shared" else planes)
        self.placed = nn.Linear(window_parameters, where)
        self.what = nn.Linear(what, features)
        self.where = nn.Linear(where, features)
        for layer in self.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                assert layer.bias is not None
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def forward(
        self, glimpse: Float[Tensor, "lanes *values"], window: Float[Tensor, "lanes parameters"]
    ) -> Float[Tensor, "lanes features"]:
        seen = self.seen(glimpse.flatten(1) if isinstance(self.seen, nn.Linear) else glimpse)
        what = self.what(torch.relu(seen))
        where = self.where(torch.relu(self.placed(window)))
        return torch.relu(what + where)


class Filters(nn.Sequential):
    """Two layers of 3 × 3 filters, so many and twice as many, each halved by maxima, and a matrix to `units`; G ≥ 4.

    A filter learns from every place of a glimpse what a dense unit learns at one. The K scales of a glimpse share one
    grid of samples: they are the planes of one picture, or, with as many planes `together` as there are colours,
    pictures of their own under the same filters. One sample is another place at every scale, but a stroke looks like a
    stroke at all of them.
    """

    def __init__(self, planes: int, side: int, units: int, filters: int, together: int) -> None:
        maps = 2 * filters * (side // 4) ** 2
        super().__init__(
            nn.Conv2d(together, filters, 3, padding=1),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(filters, 2 * filters, 3, padding=1),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(maps * (planes // together), units),
        )
        self.together = together
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, glimpse: Float[Tensor, "lanes planes side side"]) -> Float[Tensor, "lanes units"]:  # type: ignore[override]
        *layers, matrix = self
        maps = glimpse.unflatten(1, (-1, self.together)).flatten(0, 1)
        for layer in layers:
            maps = layer(maps)
        return matrix(maps.reshape(glimpse.shape[0], -1))  # len() would be a number to torch.export

    @property
    def inner(self) -> nn.Conv2d:
        """The second layer, between hidden units."""
        layer = self[3]
        assert isinstance(layer, nn.Conv2d)
        return layer
