"""How well a run did, as pictures: learning curves, error by glimpse, confusions, fixations.

Pure functions from data to `Figure`. Matplotlib's object interface only, never pyplot: no global state, no display,
safe in threads. Colours are Okabe & Ito's (2008) and viridis, and never carry a meaning alone. `gaze` and `animation`
draw in the same inks and sizes.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator, StrMethodFormatter
from torch import Tensor

from ram_agent.fonts import shortened

LINE_STYLES = (
    ("#0072B2", "-", "o"), ("#D55E00", "--", "s"), ("#009E73", "-.", "^"), ("#CC79A7", ":", "D"),
    ("#E69F00", "-", "v"), ("#56B4E9", "--", "P"), ("#000000", "-.", "X"),
)  # fmt: skip
INK, FAINT = "#222222", "#777777"
TITLE, LABEL, SMALL = 9, 8, 7
"""Font sizes in points."""
CLASS_NAME = 16
"""Characters of a class's name in a picture; names of folders may fill a line."""
POINTS = 72
"""In an inch."""

Rows = Sequence[Mapping[str, float | int | str | None]]
"""Rows of `metrics.csv`, parsed or as `csv.DictReader` gives them."""


def learning_curves(rows: Rows) -> Figure:
    """Error in percent against episodes (left) and the terms of the loss (right), from the rows of `metrics.csv`.

    Terms that are 0 throughout are left out: the learner does not have them. Keys may be missing from any row, empty or
    NaN: a curve joins the rows that have it.
    """
    terms = sorted({key for row in rows for key in row if "loss" in key})
    errors = {"training": _curve(rows, "rollout/error"), "validation": _curve(rows, "eval/error")}
    losses = {_term(key): curve for key in terms if (curve := _curve(rows, key))[1].any()}
    figure = Figure(figsize=(7.2, 2.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    shown = _plot_curves(left, errors)
    left.set_ylabel("error (%)", fontsize=LABEL)
    if shown and min(shown) > 0 and max(shown) > 10 * min(shown):
        logarithmic(left)
    else:
        left.set_ylim(bottom=0)
    if _plot_curves(right, losses):
        right.axhline(0, color="#cccccc", linewidth=0.6, zorder=0)
    right.set_ylabel("loss terms", fontsize=LABEL)
    for ax in (left, right):
        ax.set_xlabel("episodes", fontsize=LABEL)
        ax.xaxis.set_major_formatter(EngFormatter(sep=""))
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        ax.set_xlim(left=0)
        if not ax.lines:
            ax.set(xticks=[], yticks=[])
            ax.text(0.5, 0.5, "no data", transform=ax.transAxes, ha="center", va="center", fontsize=LABEL, color=FAINT)
        style(ax)
    return figure


def error_by_glimpse(curves: Mapping[str, Sequence[float | int]]) -> Figure:
    """Error in percent of the answer after glimpses 1 … T, one curve a name (agents, or an agent and its controls).

    A single number among longer curves is that of a network which sees the whole canvas at once: drawn level.
    """
    looks = max(map(len, curves.values()), default=0)
    curves = {name: level(curve, looks) for name, curve in curves.items()}
    figure = Figure(figsize=(4.2, 2.9), layout="constrained")
    ax = figure.subplots()
    shown = _plot_curves(
        ax, {name: (np.arange(1, len(curve) + 1), np.asarray(curve, float)) for name, curve in curves.items()}, True
    )
    ax.set_ylim(0, 1.06 * max(shown, default=100) or 1)
    ax.set_xlabel("glimpses", fontsize=LABEL)
    ax.set_ylabel("error (%)", fontsize=LABEL)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    style(ax)
    return figure


def confusion_matrix(counts: Int[np.ndarray, "targets answers"], classes: Sequence[str]) -> Figure:
    """Counts of every answer (column) to every target (row); the colour is the share within the row."""
    classes = [shortened(name, CLASS_NAME) for name in classes]
    table = counts.astype(float)
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    number = len(table)
    side = min(max(2.4, 0.34 * number + 1.1), 7.0)
    room = 0.06 * max(0, max(map(len, classes), default=0) - 3)  # for the names, beside and below
    figure = Figure(figsize=(side + 0.7 + room, side + room), layout="compressed")
    ax = figure.subplots()
    image = ax.imshow(100 * share, cmap="Blues", vmin=0, vmax=100)
    if number <= 12:
        for row, column in np.argwhere(table > 0):
            colour = "white" if share[row, column] > 0.55 else INK
            text = f"{table[row, column]:.0f}"
            ax.text(column, row, text, ha="center", va="center", fontsize=SMALL - (len(text) > 3), color=colour)
    step = 1 if number <= 32 else 10
    ax.set_xticks(range(0, number, step), classes[::step], fontsize=SMALL, parse_math=False)
    ax.set_yticks(range(0, number, step), classes[::step], fontsize=SMALL, parse_math=False)
    if max(map(len, classes), default=0) > 3:
        ax.tick_params(axis="x", labelrotation=90)
    ax.set_xlabel("answer", fontsize=LABEL)
    ax.set_ylabel("target", fontsize=LABEL)
    ax.tick_params(length=0)
    _colour_bar(figure, image, ax, "share of row (%)")
    for spine in ax.spines.values():
        spine.set_visible(False)
    return figure


def fixation_map(density: Float[np.ndarray, "rows columns"]) -> Figure:
    """Where the eye rested, over the canvas: `density` counts looks in equal cells (any unit), row 0 at the top."""
    share = 100 * density / (density.sum() or 1)
    height, width = density.shape
    panel = panel_size(height, width, 2.7)
    figure = Figure(figsize=(panel[0] + 1.4, panel[1] + 0.6), layout="compressed")
    ax = figure.subplots()
    image = ax.imshow(
        share,
        cmap="cividis",
        vmin=0,
        vmax=share.max() or 1,
        extent=(-1, 1, 1, -1),
        aspect=height / width,
        interpolation="nearest",
    )
    ax.set_xticks([-1, 0, 1])
    ax.set_yticks([-1, 0, 1])
    ax.tick_params(labelsize=SMALL, length=2, color=FAINT)
    ax.set_xlabel("x", fontsize=LABEL)
    ax.set_ylabel("y", fontsize=LABEL, rotation=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    _colour_bar(figure, image, ax, "looks per cell (%)")
    return figure


# ---------------------------------------------------------------- pieces of pictures


def level(errors: Sequence[float | int], looks: int) -> list[float | int]:
    """A single number as that of each of `looks` glimpses; longer curves as they are."""
    return list(errors) * looks if len(errors) == 1 else list(errors)


def as_array(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy()


def canvas_margin(height: int, width: int) -> float:
    """Pixels shown around a canvas, for windows that reach outside."""
    return max(height, width) / 12


def overhang(boxes: Float[np.ndarray, "*batch 4"], height: int, width: int) -> int:
    """Pixels to lay around a canvas so that an eye is seen whose centre leaves it: its windows, and its dots with room.

    0 where no centre does, as none can with `sensor.reach` up to 1 (on whole pixels half of one beyond): the
    windows then leave the canvas by half of themselves at most, of which the margin shows what it can.
    """
    low, high, size = boxes[..., :2], boxes[..., 2:], (width, height)
    beyond = np.max(np.maximum(-(low + high) / 2, (low + high) / 2 - size), initial=0)
    windows = np.max(np.maximum(-low, high - size), initial=0)
    return math.ceil(max(beyond + canvas_margin(height, width), windows)) if beyond > 0.5 else 0


def panel_size(height: int, width: int, side: float) -> tuple[float, float]:
    """(width, height) in inches of a panel that shows a canvas with its margin, the longer side being `side`."""
    margin = canvas_margin(height, width)
    across, down = width + 2 * margin, height + 2 * margin
    return side * across / max(across, down), side * down / max(across, down)


def style(ax: Axes) -> None:
    """What all axes with numbers on them share: small ticks, two spines, faint."""
    ax.tick_params(labelsize=SMALL, length=3, color=FAINT)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(FAINT)
    ax.xaxis.get_offset_text().set_fontsize(SMALL)
    ax.yaxis.get_offset_text().set_fontsize(SMALL)


def ruled(ax: Axes) -> None:
    """`style`, and faint lines behind the curves to read heights by."""
    ax.grid(axis="y", color="#e5e5e5", linewidth=0.6)
    ax.set_axisbelow(True)
    style(ax)


def logarithmic(ax: Axes) -> None:
    """Heights on a logarithmic axis whose ticks are plain numbers."""
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_minor_formatter(NullFormatter())


def _colour_bar(figure: Figure, image: object, ax: Axes, label: str) -> None:
    bar = figure.colorbar(image, ax=ax, fraction=0.046, pad=0.03)  # pyright: ignore[reportArgumentType]
    bar.set_label(label, fontsize=LABEL)
    bar.ax.tick_params(labelsize=SMALL, length=2, color=FAINT)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]


def _curve(rows: Rows, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of the rows that have a value."""
    pairs = [(row["step"], row[key]) for row in rows if row.get(key) not in (None, "")]
    points = np.asarray(pairs, dtype=float).reshape(-1, 2)
    points = points[np.isfinite(points).all(axis=1)]
    return points[:, 0], points[:, 1]


def _term(key: str) -> str:
    """`train/classification_loss` → `classification`, `train/loss` → `total`."""
    name = key.rsplit("/", 1)[-1]
    return "total" if name == "loss" else name.removesuffix("_loss").replace("_", " ")


def _plot_curves(ax: Axes, curves: Mapping[str, tuple[np.ndarray, np.ndarray]], marks: bool = False) -> list[float]:
    """Draw the curves that have points, with a legend where there are several; return all their heights."""
    shown = {name: curve for name, curve in curves.items() if len(curve[0])}
    for number, (name, (x, y)) in enumerate(shown.items()):
        colour, dashes, marker = LINE_STYLES[number % len(LINE_STYLES)]
        marker = marker if marks or len(x) == 1 else ""
        ax.plot(
            x, y, dashes, color=colour, marker=marker, markersize=3.5, linewidth=1.3, label=name, clip_on=not marker
        )
    if shown:
        ax.legend(frameon=False, fontsize=SMALL, handlelength=2.4)
    return [float(height) for _, y in shown.values() for height in y]
