"""How near a step is to its floor: the matrix products that it cannot do without, and nothing else.

The products that one update calls, forward and backward, are recorded with shapes, strides and which memory they share,
and replayed by the same library. What a step takes beyond that is everything else: scenes, sensor, activations,
softmax, optimiser, Python.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ram_agent.bench.report import Table
from ram_agent.bench.settings import Settings, announce
from ram_agent.bench.subject import CORES, NAMES, as_it_trains, make_learner
from ram_agent.timing import Cell, compare

PRODUCTS = ("mm", "addmm", "bmm", "baddbmm")

Memory = tuple[int, torch.dtype, torch.device]
"""What begins at an address."""


@dataclass(frozen=True)
class Place:
    """A tensor in memory: where, its shape, its strides in elements, its type."""

    address: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    @property
    def memory(self) -> Memory:
        return self.address, self.dtype, self.device

    @property
    def extent(self) -> int:
        """Elements from the first to the last."""
        return 1 + sum((size - 1) * step for size, step in zip(self.shape, self.stride, strict=True))


@dataclass(frozen=True)
class Product:
    """One call of a matrix product; tensors among the arguments are given by their place."""

    function: Callable[..., Tensor]
    arguments: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def flops(self) -> int:
        """Multiplications and additions of the product itself (2·m·k·n a matrix), without the bias."""
        left, right = [place.shape for place in self.arguments if isinstance(place, Place)][-2:]
        return 2 * prod(left) * right[-1]


class Recorder(TorchDispatchMode):
    """Records the products called within it, those of `backward` too; in-place forms count like the others."""

    def __init__(self) -> None:
        super().__init__()
        self.products: list[Product] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function.overloadpacket.__name__.rstrip("_") in PRODUCTS:
            self.products.append(Product(function, tuple(_place(arg) for arg in args), dict(kwargs or {})))
        return function(*args, **(kwargs or {}))


def record(step: Callable[[], object]) -> list[Product]:
    """The products that one call of `step` calls."""
    with Recorder() as recorder:
        step()
    return recorder.products


def replay(products: list[Product]) -> Callable[[], None]:
    """A function that calls the products again, on numbers of its own.

    Operands that were one tensor are one tensor here: a weight that all looks share is as warm in the caches.
    """
    places = [place for product in products for place in product.arguments if isinstance(place, Place)]
    extents: dict[Memory, int] = {}
    for place in places:  # a weight and its transpose are one memory, seen through two strides
        extents[place.memory] = max(place.extent, extents.get(place.memory, 0))
    memory = {
        (address, dtype, device): torch.rand(extent, device=device).to(dtype)
        for (address, dtype, device), extent in extents.items()
    }

    def tensor(argument: Any) -> Any:
        if not isinstance(argument, Place):
            return argument
        return memory[argument.memory].as_strided(argument.shape, argument.stride)

    calls = [(product.function, tuple(map(tensor, product.arguments)), product.options) for product in products]

    @torch.no_grad()
    def run() -> None:
        for function, arguments, options in calls:
            function(*arguments, **options)

    return run


def floor_tables(settings: Settings) -> list[Table]:
    """One row an attention and core."""
    rows: list[tuple[Cell, ...]] = []
    for core, what in CORES:
        for kind, name in NAMES.items():
            announce(f"floor, {kind}, {core}")
            learner = make_learner(kind, settings.batch, settings.device, core=core, what=what)
            learner.update()
            products = record(learner.update)
            candidates = {"step": (as_it_trains(learner.update), 1), "floor": (as_it_trains(replay(products)), 1)}
            timings = compare(candidates, settings.rounds, limit=8.0, clock=settings.clock)
            step, floor = timings["step"], timings["floor"]
            work = sum(product.flops for product in products) / 1e9
            speed = work / floor.cost().median
            share = step.ratio(floor)
            rows.append(
                (name, f"{core}, what {what}", share, floor.cost(1e3), step.cost(1e3), len(products), work, speed)
            )
    note = (
        f"The matrix products of one update at batch {settings.batch}, forward and backward, replayed alone (same "
        "shapes, strides and library) in turn with the whole update. Ratio: floor / step, 1 is perfect."
    )
    columns = ("attention", "core", "ratio", "floor ms", "step ms", "products", "GFLOP", "GFLOP/s of the floor")
    return [Table("floor", "Floor", note, columns, tuple(rows))]


def _place(argument: Any) -> Any:
    if not isinstance(argument, Tensor):
        return argument
    shape, stride = tuple(argument.shape), argument.stride()
    return Place(argument.data_ptr(), shape, stride, argument.dtype, argument.device)
