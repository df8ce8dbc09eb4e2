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
    for config, name in (
        ("hard_best", "hard, straight-through"),
        ("hard_reinforce", "hard, REINFORCE"),
        ("gaussian", "Gaussian"),
        ("stn", "STN"),
    ):
        (said,) = re.findall(rf"\*\*([\d.]+)\*\* [^|]*three seeds [^\n]*`{task}_{config}_8` ", PAGE)
        assert f"{ended[name]:.2f}" == said


def test_errors_by_the_number_of_glimpses_are_those_of_the_table() -> None:
    panels = DRAWN["by_glimpses"]().axes
    assert [ax.get_title() for ax in panels] == [
        "MNIST 28×28",
        "translated 60×60",
        "cluttered 60×60",
        "cluttered 100×100",
    ]
    shown = {line.get_label(): np.asarray(line.get_xydata()).tolist() for line in named(panels[2])}
    assert shown["RAM's paper"] == [[4, 4.96], [6, 4.08], [8, 4.04]]
    assert shown["best public"] == [[4, 5.15], [6, 3.33], [8, 2.63]]
    assert shown["ours, REINFORCE"] == [[4, 1.93], [6, 1.70], [8, 1.69]]
    assert ends(panels[0])["ours, straight-through"] == 0.51
