"""The glimpse network: what was seen ⊕ where it was seen."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class GlimpseNetwork(nn.Module):
    """g = ReLU(W_what ReLU(W_seen glimpse) + W_where ReLU(W_window window)) (Mnih et al. 2014, section 4).

    `glimpse_size` is K·C·G·G, the number of values in a glimpse, flat or not; `window_parameters` is P. The window
    enters as the action in [-1, 1] that named it, so that every parameter of a soft window (stride, sigma) is
    known to the network.
    """

    def __init__(self, glimpse_size: int, window_parameters: int, what: int, where: int, features: int) -> None:
        super().__init__()
        self.seen = nn.Linear(glimpse_size, what)
        self.placed = nn.Linear(window_parameters, where)
        self.what = nn.Linear(what, features)
        self.where = nn.Linear(where, features)
        for layer in self.children():
            assert isinstance(layer, nn.Linear)
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def forward(
        self, glimpse: Float[Tensor, "lanes *values"], window: Float[Tensor, "lanes parameters"]
    ) -> Float[Tensor, "lanes features"]:
        what = self.what(torch.relu(self.seen(glimpse.flatten(1))))
        where = self.where(torch.relu(self.placed(window)))
        return torch.relu(what + where)
