"""In which precision products are: what is fastest here, and what is measured in full."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

import torch

from ram_agent.config import TrainingConfig
from ram_agent.progress import warn

WORTH = 1.1
"""Half precision has to be faster by so much: below, the digits are worth more."""


def with_precision(training: TrainingConfig, device: torch.device) -> TrainingConfig:
    """`fastest` settled."""
    if training.precision != "fastest":
        return training
    return training.model_copy(update={"precision": fastest_precision(device)})


def training_products(training: TrainingConfig, device: torch.device) -> torch.autocast:
    """Where the glimpse network and the core run in `training.precision`."""
    return torch.autocast(device.type, torch.bfloat16, enabled=training.precision == "bfloat16")


def set_products(tf32: bool) -> None:
    """Whether a GPU may round what goes into float32 products to 10 bits; torch lets convolutions do so unasked."""
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32


@contextmanager
def products_in_full() -> Iterator[None]:
    """All bits of float32, whatever training makes of its products: for what is measured."""
    products = torch.get_float32_matmul_precision()
    place, name, full = torch.backends.cudnn, "allow_tf32", False
    try:
        convolutions = getattr(place, name)
    except RuntimeError:  # somebody said it in torch's newer way, which is not to be mixed with the older one
        place, name, full = getattr(torch.backends.cudnn, "conv"), "fp32_precision", "ieee"  # noqa: B009  # from 2.9 on
        convolutions = getattr(place, name)
    torch.set_float32_matmul_precision("highest")
    setattr(place, name, full)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(products)
        setattr(place, name, convolutions)


def warn_of_slow_products(precision: str, device: torch.device) -> None:
    """Where bfloat16 was asked for and the processor makes it up."""
    if precision == "bfloat16" and device.type == "cpu":
        times = product_seconds(torch.bfloat16) / product_seconds(torch.float32)
        if times > 2:
            warn(
                f"training.precision: bfloat16 takes {times:.0f} times as long as float32 on this processor, which "
                "has no such products; take float32 or fastest"
            )


def fastest_precision(device: torch.device) -> str:
    """`bfloat16` where this device multiplies in it faster than in `float32`, which stands for all else.

    Not every processor has such products (AVX-512 with BF16 and AMX have, AVX2 has not), and where they are missing
    they are made up of others, tens of times slower than float32.
    """
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if product_seconds(torch.float32) > WORTH * product_seconds(torch.bfloat16) else "float32"


def product_seconds(precision: torch.dtype) -> float:
    """The fastest of a few products of one step, on the CPU, by the threads that torch has now."""
    left, right = (torch.ones(shape, dtype=precision) for shape in ((128, 256), (256, 512)))
    times = []
    for _ in range(3):
        started = perf_counter()
        torch.mm(left, right)
        times.append(perf_counter() - started)
    return min(times)
