"""The pictures of docs/results.md show what its tables say."""

import re
from collections.abc import Sequence
from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image

from tests.tables import cells_by_glimpses

ROOT = Path(__file__).parents[2]
DRAWN = run_path(str(ROOT / "results" / "figures.py"))
PAGE = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["any_time", "by_glimpses"])
def test_the_pictures_that_lie_there_show_today_s_numbers(name: str) -> None:
    """Otherwise: python results/figures.py"""
    with Image.open(ROOT / "docs" / f"{name}.png") as picture:
        assert picture.info["Data"] == DRAWN["numbers"](DRAWN[name]())


def ends(axes: Axes) -> dict[str, float]:
    """Legend → the last point of its curve."""
    return {str(line.get_label()): float(np.asarray(line.get_ydata())[-1]) for line in named(axes)}


def named(axes: Axes) -> Sequence[Any]:
    return [line for line in axes.lines if not str(line.get_label()).startswith("_")]


@pytest.mark.parametrize(("panel", "task"), [(0, "cluttered60"), (1, "cluttered100")])
def test_errors_after_each_glimpse_end_at_the_means_of_the_table(panel: int, task: str) -> None:
    ended = ends(DRAWN["any_time"]().axes[panel])
    assert len(ended) == 4
    for config, name in DRAWN["METHODS"].items():
        (said,) = re.findall(rf"\*\*([\d.]+)\*\* [^|]*three seeds [^\n]*`{task}_{config}_8` ", PAGE)
        assert f"{ended[name]:.2f}" == said


def test_errors_by_the_number_of_glimpses_are_those_of_the_table() -> None:
    table = {key: cell.strip("*").removeprefix("about ") for key, cell in cells_by_glimpses()}
    said = {key: float(cell) for key, cell in table.items() if cell != "–" and key[1] != "hard_paper"}
    methods = {name: method for method, name in DRAWN["METHODS"].items()}
    shown = {}
    for ax, (task, title) in zip(DRAWN["by_glimpses"]().axes, DRAWN["TASKS"].items(), strict=True):
        assert ax.get_title() == title
        for line in named(ax):
            who = str(line.get_label())
            shown |= {(task, methods.get(who, who), int(n)): round(error, 2) for n, error in line.get_xydata()}
    assert shown == said
