"""Recurrent cores: what the agent remembers between looks.

The contract: `core(input, state) → (output, state)` and `core.initial_state(lanes)`. A state is a tuple of `(N, D)`
tensors, whatever the core, so that callers can carry, save and reset it without knowing which core it belongs to. What
a policy remembers is that and, where it counts its looks, their number `(N, 1)` behind it: all begins at 0.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

Memory = tuple[Float[Tensor, "lanes hidden"], ...]
"""What a core remembers."""
State = tuple[Float[Tensor, "lanes _"], ...]
"""What a policy remembers."""


class Core(nn.Module):
    """One step of a recurrent cell.

    `rnn`   h' = ReLU(W_i g + W_h h + b)   (Mnih et al. 2014, section 4: the core of the classification tasks)
    `gru`   Cho et al. 2014, eqs. 5–8, but the reset gate comes after the product with W_h (torch's and cuDNN's variant)
    `lstm`  Hochreiter and Schmidhuber 1997 with forget gates; forget biases start at 1 (Jozefowicz et al. 2015), so
            that the first look is still remembered at the last.
    """

    def __init__(self, kind: str, features: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.cell = _CELLS[kind](features, hidden)
        self.parts = 2 if kind == "lstm" else 1
        gates = self.cell.weight_hh.shape[0] // hidden
        for gate in range(gates):
            rows = slice(gate * hidden, (gate + 1) * hidden)
            nn.init.xavier_uniform_(self.cell.weight_ih[rows])
            nn.init.orthogonal_(self.cell.weight_hh[rows])
        nn.init.zeros_(self.cell.bias_ih)
        nn.init.zeros_(self.cell.bias_hh)
        if kind == "lstm":
            with torch.no_grad():
                self.cell.bias_ih[hidden : 2 * hidden] = 1.0

    def initial_state(self, lanes: int) -> Memory:
        """Zeros, on the device and in the precision of the weights."""
        weight = self.cell.weight_hh
        return tuple(weight.new_zeros(lanes, self.hidden) for _ in range(self.parts))

    def forward(
        self, features: Float[Tensor, "lanes features"], state: Memory
    ) -> tuple[Float[Tensor, "lanes hidden"], Memory]:
        after = self.cell(features, state if self.parts > 1 else state[0])
        # Under autocast cells answer in half precision, on a GPU from a state that was rounded so, too (PyTorch's list
        # of what is); from look to look it is handed on whole.
        state = tuple(_whole(part) for part in (after if isinstance(after, tuple) else (after,)))
        return state[0], state


def _whole(value: Tensor) -> Tensor:
    return value.float() if value.dtype == torch.bfloat16 else value


def _relu_cell(features: int, hidden: int) -> nn.RNNCell:
    return nn.RNNCell(features, hidden, nonlinearity="relu")


_CELLS = {"rnn": _relu_cell, "gru": nn.GRUCell, "lstm": nn.LSTMCell}
