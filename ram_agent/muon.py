"""Muon: momentum whose singular values are all brought to 1.

PyTorch has a Muon from 2.9 on. It multiplies in bfloat16 whatever the machine, which on a processor without such
products takes longer than all the rest of an update (docs/performance.md), and it takes no filters.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic that Jordan et al. (2024) tuned for speed: it brings singular values near 1, not to it."""
ITERATIONS = 5
"""As there: enough for singular values from 0.01 of the largest on."""
MOMENTUM = 0.95
"""As there, Nesterov's."""
ROOT_MEAN_SQUARE = 0.2
"""Of a step at learning rate 1: about that of Adam's, so that one learning rate serves both (Liu et al. 2025)."""


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised (Jordan et al. 2024). A filter bank (D, C, h, w) counts as a matrix (D, C·h·w).

    `precision` is that of the products. A step of a matrix (m, n) is `lr` · 0.2 · √max(m, n) · U Vᵀ. Where `lr` is a
    tensor, a step may be recorded and replayed: nothing in it is decided on the host.
    """

    found_inf: Tensor | None = None
    """Where this is 1 a step is left out, on the device, as by torch's fused optimisers."""

    def __init__(
        self, matrices: Iterable[nn.Parameter], lr: float | Tensor, precision: torch.dtype = torch.float32
    ) -> None:
        super().__init__(matrices, {"lr": lr})
        self.precision = precision

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        assert closure is None, "gradients are there already"
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is not None:
                    self._step(matrix, matrix.grad, group["lr"])

    def _step(self, matrix: Tensor, gradient: Tensor, lr: float | Tensor) -> None:
        state: dict[str, Any] = self.state[matrix]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(matrix)
        kept = state["momentum_buffer"]
        momentum = kept.lerp(gradient, 1 - MOMENTUM)
        direction = gradient.lerp(momentum, MOMENTUM).flatten(1).to(self.precision)
        length = ROOT_MEAN_SQUARE * max(direction.shape) ** 0.5
        step = orthogonalised(direction).to(matrix.dtype).view(matrix.shape)
        if self.found_inf is not None:
            bad = self.found_inf.bool()
            momentum, step = torch.where(bad, kept, momentum), step.masked_fill(bad, 0.0)
        kept.copy_(momentum)
        matrix.sub_(step * (lr * length))


def orthogonalised(matrix: Float[Tensor, "rows columns"]) -> Float[Tensor, "rows columns"]:
    """U Vᵀ of U S Vᵀ, roughly: singular values from 0.7 to 1.2, those that were next to nothing less.

    Newton-Schulz: X ← p(X Xᵀ) X with p(G) = a + b G + c G². All p are polynomials of the same X Xᵀ and commute, so that
    for a long X their product is gathered on the short side, and X is multiplied once: the work of 25 products of
    (m, m) in place of 45 where n = 4 m.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.mT if tall else matrix
    x = x / x.norm().clamp(min=1e-7)
    a, b, c = COEFFICIENTS
    short, long = x.shape
    gram = x @ x.mT
    if long < 2 * short or x.dtype != torch.float32:  # 8 bits are too few for products of products
        for iteration in range(ITERATIONS):
            gram = gram if iteration == 0 else x @ x.mT
            x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
        return x.mT if tall else x
    product = torch.eye(short, dtype=x.dtype, device=x.device)
    for iteration in range(ITERATIONS):
        factor = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal().add_(a)
        product = factor if iteration == 0 else factor @ product
        if iteration < ITERATIONS - 1:
            gram = factor @ gram @ factor
    x = product @ x
    return x.mT if tall else x
