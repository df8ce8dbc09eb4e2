"""All sections of the benchmark by name, and the command that runs them."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from ram_agent.bench import report
from ram_agent.bench.canvas import canvas_tables
from ram_agent.bench.environment import environment_tables
from ram_agent.bench.floor import floor_tables
from ram_agent.bench.memory import memory_tables
from ram_agent.bench.picture import cost_by_canvas
from ram_agent.bench.profile import profile_tables
from ram_agent.bench.report import Table
from ram_agent.bench.sensor import sensor_tables
from ram_agent.bench.settings import Settings
from ram_agent.bench.training import training_tables
from ram_agent.config import nearest
from ram_agent.files import write_whole
from ram_agent.pictures import write_figure

SECTIONS: dict[str, Callable[[Settings], list[Table]]] = {
    "sensor": sensor_tables,
    "environment": environment_tables,
    "training": training_tables,
    "floor": floor_tables,
    "memory": memory_tables,
    "profile": profile_tables,
    "canvas": canvas_tables,
}


def check(sections: Sequence[str], plot: str | None) -> list[str]:
    """The sections to run, all where none is named. Raises `ValueError`."""
    for name in sections:
        if name not in SECTIONS:
            known = list(SECTIONS)
            raise ValueError(f"section {name}: expected one of {', '.join(known)}{nearest(name, known)}")
    chosen = [name for name in SECTIONS if name in sections or not sections]
    if plot and "sensor" not in chosen:
        raise ValueError("--plot: draws the sensor section, which was not asked for")
    return chosen


def run(
    sections: Sequence[str], settings: Settings, json_file: str | None = None, plot: str | None = None
) -> Iterator[str]:
    """Measure; the Markdown, a section at a time, and the files likewise: what was measured survives Ctrl-C."""
    torch.set_num_threads(settings.threads)
    yield report.heading(settings)
    tables: list[Table] = []
    for name in sections:
        fresh = SECTIONS[name](settings)
        tables += fresh
        if plot and name == "sensor":
            write_figure(cost_by_canvas(tables[-1]), plot)
        if json_file:
            content = json.dumps(report.as_json(tables, settings), indent=2, ensure_ascii=False)
            write_whole(Path(json_file), (content + "\n").encode())
        yield from map(report.markdown, fresh)
