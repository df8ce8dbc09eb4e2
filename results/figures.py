"""Draw the pictures of docs/results.md from the raw results: `python results/figures.py [FOLDER]`, docs/ by default.

`any_time.png`: the error after each glimpse, of the rows that have three seeds. `by_glimpses.png`: the error against
the number of glimpses that an agent was trained for, from the table of that name in docs/results.md.
"""

import json
import re
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from ram_agent.figures import FAINT, LABEL, LINE_STYLES, SMALL, TITLE, logarithmic, ruled
from ram_agent.pictures import write_figure

RESULTS = Path(__file__).parent
ROWS = {
    "hard, straight-through": "hard_best_1200k_lookahead",
    "hard, REINFORCE": "hard_reinforce_1200k",
    "Gaussian": "gaussian_1200k_lookahead",
    "STN": "stn_1200k_lookahead",
}
"""Method → its files, but for the seed."""
TASKS = {
    "cluttered60_8": ("cluttered 60×60", {"RAM's paper": 4.04, "best public": 2.63}),
    "cluttered100_8": ("cluttered 100×100", {"RAM's paper": 8.11, "best public": 5.9}),
}
"""Folder → title, and earlier figures for hard attention with 8 glimpses."""


def any_time() -> Figure:
    """Mean and range over three seeds; earlier figures as lines."""
    figure = Figure(figsize=(9.6, 3.6), layout="constrained")
    for ax, (folder, (title, earlier)) in zip(figure.subplots(1, 2), TASKS.items(), strict=True):
        for ink, (method, row) in zip(LINE_STYLES, ROWS.items(), strict=False):
            raw = [json.loads((RESULTS / folder / f"{row}_seed{seed}.json").read_text()) for seed in (1, 2, 3)]
            errors = np.array([each["error_by_glimpse"] for each in raw])
            seen = np.arange(1, errors.shape[1] + 1)
            ax.fill_between(seen, errors.min(axis=0), errors.max(axis=0), color=ink[0], alpha=0.18, linewidth=0)
            _curve(ax, seen, errors.mean(axis=0), ink, method)
        for said, error in earlier.items():
            ax.axhline(error, color=FAINT, linewidth=0.8, linestyle=(0, (1, 2)))
            ax.annotate(f"{said}, 8 glimpses: {error:g}", (8, error), (0, 2), textcoords="offset points", ha="right",
                        fontsize=SMALL, color=FAINT)  # fmt: skip
        _finish(ax, title, "glimpses seen, of 8")
    ax.legend(frameon=False, fontsize=SMALL, handlelength=3)
    return figure


def by_glimpses() -> Figure:
    """A panel a task; what is not measured is left out."""
    table: dict[str, dict[str, list[tuple[int, float]]]] = {}
    page = (RESULTS.parent / "docs" / "results.md").read_text(encoding="utf-8")
    lines = page.partition("**By number of glimpses**")[2].partition("## ")[0].splitlines()
    rows = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    trained_for = [int(cell.split()[0]) for cell in rows[0][1:]]
    for name, *cells in rows[1:]:
        task, _, said = name.rpartition(", ")
        if said == "RAM's paper":
            of_task = table.setdefault(task, {})
        who = re.sub(r" \(`.*", "", name) if name.startswith("ours") else said
        figures = [re.search(r"\d+\.\d+", cell) for cell in cells]
        of_task[who] = [(n, float(found[0])) for n, found in zip(trained_for, figures, strict=True) if found]
    figure = Figure(figsize=(9.6, 3.4), layout="constrained")
    axes = figure.subplots(1, len(table))
    order = ("ours, straight-through", "ours, REINFORCE", "best public", "RAM's paper")
    for ax, (task, curves) in zip(axes, table.items(), strict=True):
        for ink, who in zip((*LINE_STYLES[:2], *LINE_STYLES[-1:], LINE_STYLES[3]), order, strict=True):
            points = np.array(curves[who]).reshape(-1, 2)
            _curve(ax, points[:, 0], points[:, 1], ink, who)
        _finish(ax, task, "glimpses")
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False, fontsize=SMALL, handlelength=3)
    return figure


def _curve(ax: Axes, x: np.ndarray, y: np.ndarray, ink: tuple[str, str, str], name: str) -> None:
    colour, dashes, marker = ink
    ax.plot(x, y, dashes, color=colour, marker=marker, markersize=3.5, linewidth=1.3, label=name)


def _finish(ax: Axes, title: str, x: str) -> None:
    logarithmic(ax)
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7), numticks=12))  # panels of less than a decade
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ruled(ax)
    ax.set_title(title, fontsize=TITLE)
    ax.set_xlabel(x, fontsize=LABEL)
    if ax.get_subplotspec().is_first_col():  # type: ignore[union-attr]
        ax.set_ylabel("test error (%), MNIST", fontsize=LABEL)


def numbers(figure: Figure) -> str:
    """A digest of what the curves of a picture show."""
    curves = [np.round(np.asarray(line.get_xydata()), 6).tolist() for ax in figure.axes for line in ax.lines]
    return sha256(json.dumps(curves).encode()).hexdigest()


def write(figure: Figure, path: Path) -> None:
    write_figure(figure, path, {"Data": numbers(figure)})


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS.parent / "docs"
    write(any_time(), folder / "any_time.png")
    write(by_glimpses(), folder / "by_glimpses.png")
