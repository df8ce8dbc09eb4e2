"""Glimpses per second of the three read kernels, over canvas sides and batches."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from ram_agent.bench.report import Table
from ram_agent.bench.settings import Settings, announce
from ram_agent.bench.subject import GLIMPSES
from ram_agent.sensor import Sensor, make_sensor
from ram_agent.timing import Candidate, Cell, Timing, compare

SIDES = (28, 60, 120, 240, 480)
BATCHES = (1, 16, 64, 256, 1024, 4096)
LARGEST = 512 * 2**20
"""Bytes of canvases held at once; the sensors' own maps take a few times as much."""
KINDS = ("gaussian", "stn", "crop")
"""The first is what the ratios are against."""
COLUMNS = (
    "side", "batch", "kernel", "ratio", "ratio forward", "ratio with gradient", "µs in all", "glimpses/s",
    "glimpses/s with gradient", "µs forward", "µs with gradient", "µs prepare", "bytes", "rounds", "note",
)  # fmt: skip


def sensor_tables(settings: Settings) -> list[Table]:
    """One row a kernel, canvas side and batch."""
    sides, batches = ((28, 60), (1, 4)) if settings.smoke else (SIDES, BATCHES)
    rows: list[tuple[Cell, ...]] = []
    for side in sides:
        for batch in batches:
            size = batch * side**2
            if size > LARGEST:
                nothing = (None,) * (len(COLUMNS) - 4)
                rows.append((side, batch, "all", *nothing, f"skipped: {size >> 20} MiB of canvases"))
                continue
            announce(f"sensor, {side}x{side}, batch {batch}")
            rows += _rows(side, batch, settings)
    note = (
        "Three scales of 12x12, one channel, windows anywhere, canvases as the environment paints them. Times are per "
        "glimpse; preparation is once a canvas, where there is any. In all: forward, backward (a crop has none) and "
        f"1/{GLIMPSES} of the preparation. Ratios: times as fast as gaussian at the same side and batch; the first is "
        "in all. Bytes: what a glimpse must read and write at least."
    )
    return [Table("sensor", "Sensor", note, COLUMNS, tuple(rows))]


def _rows(side: int, batch: int, settings: Settings) -> list[tuple[Cell, ...]]:
    device = settings.device
    generator = torch.Generator(device).manual_seed(side)
    canvas = torch.randint(0, 256, (batch, 1, side, side), device=device, generator=generator, dtype=torch.uint8)
    candidates: dict[str, Candidate] = {}
    sizes: dict[str, float] = {}
    for kind in KINDS:
        sensor = make_sensor(kind)
        action = 2 * torch.rand(batch, sensor.window_parameters, device=device, generator=generator) - 1
        sizes[kind] = least_bytes(sensor, action, canvas)
        for name, function in _passes(sensor, canvas, action).items():
            candidates[f"{kind} {name}"] = (function, batch)
    timings = compare(candidates, settings.rounds, limit=3.0, clock=settings.clock)
    return [_row(side, batch, kind, timings, sizes[kind]) for kind in KINDS]


def _passes(sensor: Sensor, canvas: Tensor, action: Tensor) -> dict[str, Callable[[], Any]]:
    """The parts that are timed; a kernel has no `prepare` to time if it takes canvases as they are painted.

    They are painted as the environment does: bytes, within the border that the sensor asks for.
    """
    rows, columns = border = sensor.border((canvas.shape[-2], canvas.shape[-1]))
    painted = F.pad(canvas, (columns, columns, rows, rows))
    retina = sensor.prepare(painted, border)
    asked = action.clone().requires_grad_()
    passes: dict[str, Callable[[], Any]] = {"forward": lambda: sensor.read(retina, sensor.window(action))}
    if sensor.differentiable:

        def both() -> None:
            glimpse = sensor.read(retina, sensor.window(asked))
            glimpse.backward(torch.ones_like(glimpse))

        passes["gradient"] = both
    if retina.data is not painted:
        passes["prepare"] = lambda: sensor.prepare(painted, border)
    return passes


def _row(side: int, batch: int, kind: str, timings: dict[str, Timing], size: float) -> tuple[Cell, ...]:
    first, first_both = timings[f"{KINDS[0]} forward"], timings[f"{KINDS[0]} gradient"]
    forward, both, prepare = (timings.get(f"{kind} {name}") for name in ("forward", "gradient", "prepare"))
    assert forward
    in_all = _in_all(kind, timings)
    return (
        side,
        batch,
        kind,
        in_all.ratio(_in_all(KINDS[0], timings)),
        forward.ratio(first),
        both.ratio(first_both) if both else None,
        in_all.cost(1e6),
        forward.rate,
        both.rate if both else None,
        forward.cost(1e6),
        both.cost(1e6) if both else None,
        prepare.cost(1e6) if prepare else None,
        round(size),
        len(forward.seconds),
        None,
    )


def _in_all(kind: str, timings: dict[str, Timing]) -> Timing:
    """Forward, backward where there is one, and a glimpse's share of the preparation where there is any."""
    both = timings.get(f"{kind} gradient", timings[f"{kind} forward"])
    prepare = timings.get(f"{kind} prepare")
    return both.plus(prepare, 1 / GLIMPSES) if prepare else both


def least_bytes(
    sensor: Sensor,
    action: Float[Tensor, "lanes parameters"],
    canvas: UInt8[Tensor, "lanes channels height width"],
) -> float:
    """Bytes that a glimpse must read (a byte a pixel) and write (in float32) at least, the mean over the windows.

    It reads every pixel that weighs in it, once, and writes itself. For `crop` and `stn` those pixels are the coarsest
    scale's field of view as far as it lies on the canvas; a Gaussian is nowhere 0, so it reads the whole canvas. Maps
    that a kernel makes for itself are not counted: they are its own choice.
    """
    _, channels, height, width = canvas.shape
    glimpse = sensor.scales * channels * sensor.size**2
    if sensor.kind == "gaussian":
        return channels * height * width + 4.0 * glimpse
    left, top, right, bottom = sensor.boxes(sensor.window(action), (height, width))[:, -1].unbind(-1)
    seen = (right.clamp(0, width) - left.clamp(0, width)) * (bottom.clamp(0, height) - top.clamp(0, height))
    return channels * float(seen.mean()) + 4.0 * glimpse
