"""Draw the pictures of docs/results.md from the raw results: `python results/figures.py [FOLDER]`, docs/ by default.

`any_time.png`: the error after each glimpse, of the rows that have three seeds. `by_glimpses.png`: the error against
the number of glimpses that an agent was trained for. Which raw results are a config's, and what others have stated, is
in rows.yaml.
"""

import json
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator

from ram_agent.figures import FAINT, LABEL, LINE_STYLES, SMALL, TITLE, logarithmic, ruled
from ram_agent.pictures import write_figure

RESULTS = Path(__file__).parent
ROWS = yaml.safe_load((RESULTS / "rows.yaml").read_text(encoding="utf-8"))
TASKS = {
    "mnist28": "MNIST 28×28",
    "translated60": "translated 60×60",
    "cluttered60": "cluttered 60×60",
    "cluttered100": "cluttered 100×100",
}
METHODS = {
    "hard_best": "hard, straight-through",
    "hard_reinforce": "hard, REINFORCE",
    "gaussian": "Gaussian",
    "stn": "STN",
}
"""The middle of a config's name → what a legend calls it."""
INKS = dict(
    zip((*METHODS, "best public", "RAM's paper"), (*LINE_STYLES[:4], LINE_STYLES[6], LINE_STYLES[4]), strict=True)
)
"""Every method in the same ink in both pictures."""


def raw_results(config: str) -> list[dict[str, Any]]:
    """By seed; none where the config is not measured."""
    row = ROWS["measured"].get(config)
    if row is None:
        return []
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob(f"{row}_seed?.json"))]


def any_time() -> Figure:
    """Mean and range over three seeds; earlier figures as lines."""
    figure = Figure(figsize=(9.6, 3.6), layout="constrained")
    for ax, task in zip(figure.subplots(1, 2), ("cluttered60", "cluttered100"), strict=True):
        for method, name in METHODS.items():
            errors = np.array([each["error_by_glimpse"] for each in raw_results(f"{task}_{method}_8")])
            seen = np.arange(1, errors.shape[1] + 1)
            ax.fill_between(
                seen, errors.min(axis=0), errors.max(axis=0), color=INKS[method][0], alpha=0.18, linewidth=0
            )
            _curve(ax, seen, errors.mean(axis=0), INKS[method], name)
        for said, errors in ROWS["earlier"][task].items():
            ax.axhline(errors[8], color=FAINT, linewidth=0.8, linestyle=(0, (1, 2)))
            ax.annotate(f"{said}, 8 glimpses: {errors[8]:g}", (8, errors[8]), (0, 2), textcoords="offset points",
                        ha="right", fontsize=SMALL, color=FAINT)  # fmt: skip
        _finish(ax, TASKS[task], "glimpses seen, of 8")
    figure.axes[-1].legend(frameon=False, fontsize=SMALL, handlelength=3)
    return figure


def by_glimpses() -> Figure:
    """A panel a task: means over seeds, and what others have stated; what is not measured is left out."""
    figure = Figure(figsize=(9.6, 3.6), layout="constrained")
    handles = {}
    for ax, (task, title) in zip(figure.subplots(1, len(TASKS)), TASKS.items(), strict=True):
        for method, name in METHODS.items():
            raw = {glimpses: raw_results(f"{task}_{method}_{glimpses}") for glimpses in range(2, 9)}
            errors = {n: float(np.mean([each["test_error"] for each in seeds])) for n, seeds in raw.items() if seeds}
            if errors:
                handles[name] = _curve(ax, [*errors], [*errors.values()], INKS[method], name)
        for said, errors in ROWS["earlier"][task].items():
            handles[said] = _curve(ax, [*errors], [*errors.values()], INKS[said], said)
        _finish(ax, title, "glimpses")
    named = sorted(handles, key=[*METHODS.values(), *INKS].index)
    figure.legend([handles[name] for name in named], named, loc="outside lower center", ncols=len(named), frameon=False,
                  fontsize=SMALL, handlelength=3)  # fmt: skip
    return figure


def _curve(ax: Axes, x: Any, y: Any, ink: tuple[str, str, str], name: str) -> Line2D:
    colour, dashes, marker = ink
    (line,) = ax.plot(x, y, dashes, color=colour, marker=marker, markersize=3.5, linewidth=1.3, label=name)
    return line


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
