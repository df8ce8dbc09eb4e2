"""How fast the sensor, the environment and the training are on this machine: one Markdown table, and JSON.

Everything is timed in one process, the candidates of a group in turn, over and over, so that a machine that slows down
slows them all; medians and quartiles over the rounds, and ratios, which travel better than seconds.
"""

import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from time import perf_counter

import numpy as np
import torch

from ram_agent.sensor import SENSORS, make_sensor

ROUNDS = 15


@dataclass(frozen=True)
class Timing:
    """Seconds for `work` units, over the rounds."""

    group: str
    name: str
    unit: str
    rate: float
    """Units per second, by the median."""
    low: float
    high: float
    """Quartiles of the rate."""
    ratio: float
    """Rate against the first of the group."""


def compare(group: str, unit: str, candidates: Mapping[str, tuple[Callable[[], object], int]]) -> list[Timing]:
    """Time candidates in turn; each is a function and the number of units one call does."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for function, _ in candidates.values():
        function()
    for _ in range(ROUNDS):
        for name, (function, _) in candidates.items():
            started = perf_counter()
            function()
            seconds[name].append(perf_counter() - started)
    rates = {name: work / np.quantile(seconds[name], [0.5, 0.75, 0.25]) for name, (_, work) in candidates.items()}
    first = next(iter(rates.values()))[0]
    return [
        Timing(group, name, unit, float(median), float(low), float(high), float(median / first))
        for name, (median, low, high) in rates.items()
    ]


def sensor_timings(lanes: int = 256) -> list[Timing]:
    """Glimpses per second, forward and with the gradient of the window, on small and large canvases."""
    timings = []
    for side in (60, 240):
        candidates: dict[str, tuple[Callable[[], object], int]] = {}
        for kind in SENSORS:
            sensor = make_sensor(kind)
            retina = sensor.prepare(torch.rand(lanes, 1, side, side))
            action = (2 * torch.rand(lanes, sensor.window_parameters) - 1).requires_grad_(sensor.differentiable)

            def read(sensor=sensor, retina=retina, action=action) -> None:
                glimpse = sensor.read(retina, sensor.window(action))
                if glimpse.requires_grad:
                    glimpse.sum().backward()

            candidates[kind] = (read, lanes)
        timings += compare(
            f"sensor, {side}x{side}, 3 scales of 12x12, with gradient where there is one", "glimpses", candidates
        )
    return timings


def machine() -> dict[str, str | int]:
    """What the numbers were measured on."""
    return {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def markdown(timings: list[Timing]) -> str:
    """Tables, one a group, ratios first."""
    facts = ", ".join(f"{name} {value}" for name, value in machine().items())
    lines = [facts, f"medians of {ROUNDS} rounds in turn, quartiles in brackets"]
    for group in dict.fromkeys(timing.group for timing in timings):
        lines += ["", f"**{group}**", "", "| | ratio | per second | |", "|---|---|---|---|"]
        lines += [
            f"| {t.name} | {t.ratio:.2f} | {t.rate:,.0f} {t.unit} | {t.low:,.0f} to {t.high:,.0f} |"
            for t in timings
            if t.group == group
        ]
    return "\n".join(lines)


def as_json(timings: list[Timing]) -> dict[str, object]:
    return {"machine": machine(), "rounds": ROUNDS, "timings": [asdict(timing) for timing in timings]}


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
