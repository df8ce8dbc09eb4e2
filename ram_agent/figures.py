"""Pictures of a run: glimpse paths, animations, curves, confusions.

Pure functions from data to `Figure`, frames or bytes. Matplotlib's object interface only, never pyplot: no global
state, no display, safe in threads. Colours are Okabe & Ito's (2008) and viridis, and never carry a meaning alone.
"""

import io
import math
import os
import secrets
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator, StrMethodFormatter
from matplotlib.typing import ColorType
from PIL import Image
from torch import Tensor

SCALE_COLOURS = ("#F0E442", "#56B4E9", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#0072B2", "#999999")
"""One a scale, the finest brightest; as in the frames that the environments render."""
LINE_STYLES = (
    ("#0072B2", "-", "o"), ("#D55E00", "--", "s"), ("#009E73", "-.", "^"), ("#CC79A7", ":", "D"),
    ("#E69F00", "-", "v"), ("#56B4E9", "--", "P"), ("#000000", "-.", "X"),
)  # fmt: skip
RIGHT, WRONG = "#007A59", "#C24F00"
"""Okabe & Ito's bluish green and vermillion, a little darker so that small text reads on white."""
INK, FAINT, BACKDROP, UNSEEN = "#222222", "#777777", "#3a3a3a", 72
TITLE, LABEL, SMALL = 9, 8, 7
"""Font sizes in points."""
DPI = 150
FRAME_DPI = 128  # a power of two: pixels / DPI · DPI is exact

Rows = Sequence[Mapping[str, float | int | str | None]]
"""Rows of `metrics.csv`, parsed or as `csv.DictReader` gives them."""


class Gaze(NamedTuple):
    """N episodes of T looks, as far as a picture needs them. Images hold values in [0, 1], grey or RGB."""

    canvas: Float[Tensor, "lanes channels height width"]
    boxes: Float[Tensor, "glimpses lanes scales 4"]
    """Pixel-edge rectangles (x0, y0, x1, y1) of every window, finest scale first: `Sensor.boxes`."""
    glimpses: Float[Tensor, "glimpses lanes scales channels side side"]
    target: Int[Tensor, " lanes"]
    answers: Int[Tensor, "glimpses lanes"]
    """What the agent would answer after each glimpse; the last row is what it did answer."""
    probability: Float[Tensor, "glimpses lanes"]
    """The probability that it gave to that answer."""
    classes: tuple[str, ...]
    """Names of the Y classes."""

    @property
    def has_long_names(self) -> bool:
        """Whether target and answer want a line each."""
        return max(map(len, self.classes)) > 6

    def verdict(self, lane: int, between: str = " → ") -> tuple[str, str]:
        """`target → answer` with a mark, and its colour."""
        target, answer = int(self.target[lane]), int(self.answers[-1, lane])
        mark, colour = ("✓", RIGHT) if target == answer else ("✗", WRONG)
        return f"{self.classes[target]}{between}{self.classes[answer]} {mark}", colour

    def belief(self, glimpse: int, lane: int, between: str = " · ") -> str:
        """The answer after a glimpse and its probability in percent."""
        name = self.classes[int(self.answers[glimpse, lane])]
        return f"{name}{between}{100 * float(self.probability[glimpse, lane]):.0f} %"


# ---------------------------------------------------------------- where the agent looked


def glimpse_paths(gaze: Gaze, columns: int = 4) -> Figure:
    """A grid of episodes: the finest window of every look, numbered and coloured from the first (dark) to the last."""
    lanes = len(gaze.target)
    columns = max(1, min(columns, lanes))
    rows = math.ceil(lanes / columns)
    height, width = gaze.canvas.shape[-2:]
    panel = _panel(height, width, 1.75)
    title = 0.46 if gaze.has_long_names else 0.32
    figure, axes = _image_grid([panel[0]] * columns, [panel[1]] * rows, between=(0.12, title), top=title)
    for lane in range(lanes):
        ax = axes[lane // columns][lane % columns]
        _show_canvas(ax, gaze.canvas[lane])
        boxes = _array(gaze.boxes[:, lane, 0])
        for box, colour in zip(boxes, _time_colours(len(boxes)), strict=True):
            ax.add_patch(_outline(box, colour, 1.1))
        _draw_path(ax, _centres(boxes), _time_colours(len(boxes)), unit=72 * panel[0] / _view_width(height, width))
        text, colour = gaze.verdict(lane, " →\n" if gaze.has_long_names else " → ")
        ax.set_title(text, fontsize=TITLE, color=colour, pad=4)
    for lane in range(lanes, rows * columns):
        axes[lane // columns][lane % columns].remove()
    return figure


def glimpse_strip(gaze: Gaze, lane: int) -> Figure:
    """One episode from left to right: above, the windows on the canvas; below, what each scale saw and the belief."""
    looks, scales = gaze.boxes.shape[0], gaze.boxes.shape[2]
    height, width = gaze.canvas.shape[-2:]
    panel = _panel(height, width, 1.3)
    column = max(panel[0], 0.8)  # room for the belief below
    figure, axes = _image_grid(
        [column] * looks,
        [panel[1]] + [min(column, 1.0)] * scales,
        between=(0.1, 0.1),
        top=0.42,
        bottom=0.45 if gaze.has_long_names else 0.3,
        left=0.45,
    )
    for look in range(looks):
        boxes = _array(gaze.boxes[look, lane])
        ax = axes[0][look]
        _show_canvas(ax, gaze.canvas[lane])
        for k in reversed(range(scales)):
            ax.add_patch(_outline(boxes[k], _scale_colour(k), 1.3))
        ax.set_title(f"glimpse {look + 1}" if look == 0 else str(look + 1), fontsize=LABEL, color=FAINT, pad=3)
        for k in range(scales):
            ax = axes[k + 1][look]
            ax.imshow(_picture(gaze.glimpses[look, lane, k]), interpolation="nearest")
            ax.set(xticks=[], yticks=[])
            for spine in ax.spines.values():
                spine.set(visible=True, color=_scale_colour(k), linewidth=1.6)
            if look == 0:
                ax.set_ylabel(f"{2**k}×", fontsize=LABEL, color=FAINT, rotation=0, ha="right", va="center", labelpad=4)
        right = int(gaze.answers[look, lane]) == int(gaze.target[lane])
        below = axes[-1][look]
        belief = gaze.belief(look, lane, "\n" if gaze.has_long_names else " · ") + (" ✓" if right else " ✗")
        below.set_xlabel(belief, fontsize=LABEL, color=RIGHT if right else WRONG, labelpad=4)
    text, colour = gaze.verdict(lane)
    figure.text(0.5, 1 - 0.06 / figure.get_figheight(), text, fontsize=TITLE, color=colour, ha="center", va="top")
    return figure


def gaze_frames(gaze: Gaze, rows: int = 2, columns: int = 2) -> list[UInt8[np.ndarray, "frame_height frame_width 3"]]:
    """T + 1 frames of an animation that shows the first rows · columns episodes look after look, then the verdicts.

    Every episode has two panels: the canvas with the windows of the current look and the path, and what the agent has
    seen of it so far, each place at the finest resolution it was read with.
    """
    looks, lanes = gaze.boxes.shape[0], min(rows * columns, len(gaze.target))
    columns = min(columns, lanes)
    rows = math.ceil(lanes / columns)
    mosaic = _Mosaic.arrange(gaze.canvas.shape[-2:], rows, columns)
    seen = [_Seen(gaze, lane, mosaic.zoom) for lane in range(lanes)]
    frames = []
    for frame in range(looks + 1):
        look = min(frame, looks - 1)
        if frame < looks:
            for memory in seen:
                memory.add(look)
        frames.append(_draw_mosaic(gaze, mosaic, seen, look, over=frame == looks))
    return frames


# ---------------------------------------------------------------- how well it did


def learning_curves(
    rows: Rows,
    *,
    x: str = "time/episodes",
    errors: Mapping[str, str] | None = None,
    losses: Sequence[str] | None = None,
) -> Figure:
    """Error in percent against episodes (left) and the terms of the loss (right), from the rows of `metrics.csv`.

    `errors` maps keys to their names in the legend (default: `rollout/error` and `eval/error`, or, with neither there,
    `rollout/reward`). `losses` are the keys of the loss terms (default: all that contain "loss" but those that are 0
    throughout, which the learner does not have). Keys may be missing from any row, empty or NaN: a curve joins the rows
    that have it.
    """
    keys = sorted({key for row in rows for key in row})
    if errors is None:
        known = {"rollout/error": "training", "train/error": "training", "eval/error": "validation"}
        errors = {key: name for key, name in known.items() if key in keys}
    if losses is None:
        losses = [key for key in keys if "loss" in key and _curve(rows, x, key)[1].any()]
    figure = Figure(figsize=(7.2, 2.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    shown = _plot_curves(left, {name: _curve(rows, x, key) for key, name in errors.items()})
    left.set_ylabel("error (%)", fontsize=LABEL)
    if not shown:
        shown = _plot_curves(left, {"training": _curve(rows, x, "rollout/reward")})
        if shown:
            left.set_ylabel("mean reward", fontsize=LABEL)
    elif min(shown) > 0 and max(shown) > 10 * min(shown):
        left.set_yscale("log")
        left.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        left.yaxis.set_minor_locator(NullLocator())
    else:
        left.set_ylim(bottom=0)
    if _plot_curves(right, {_term(key): _curve(rows, x, key) for key in losses}):
        right.axhline(0, color="#cccccc", linewidth=0.6, zorder=0)
    right.set_ylabel("loss terms", fontsize=LABEL)
    for ax in (left, right):
        ax.set_xlabel(x.removeprefix("time/"), fontsize=LABEL)
        ax.xaxis.set_major_formatter(EngFormatter(sep=""))
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        ax.set_xlim(left=0)
        if not ax.lines:
            ax.set(xticks=[], yticks=[])
            ax.text(0.5, 0.5, "no data", transform=ax.transAxes, ha="center", va="center", fontsize=LABEL, color=FAINT)
        _style(ax)
    return figure


def error_by_glimpse(curves: Mapping[str, Sequence[float | int]]) -> Figure:
    """Error in percent of the answer after glimpses 1 … T, one curve a name (agents, or an agent and its controls)."""
    figure = Figure(figsize=(4.2, 2.9), layout="constrained")
    ax = figure.subplots()
    shown = _plot_curves(
        ax, {name: (np.arange(1, len(curve) + 1), np.asarray(curve, float)) for name, curve in curves.items()}, True
    )
    ax.set_ylim(0, 1.06 * max(shown, default=100) or 1)
    ax.set_xlabel("glimpses", fontsize=LABEL)
    ax.set_ylabel("error (%)", fontsize=LABEL)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    _style(ax)
    return figure


def confusion_matrix(counts: Int[Tensor, "targets answers"], classes: Sequence[str]) -> Figure:
    """Counts of every answer (column) to every target (row); the colour is the share within the row."""
    table = np.asarray(_array(counts), dtype=float)
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    number = len(table)
    side = min(max(2.4, 0.34 * number + 1.1), 7.0)
    figure = Figure(figsize=(side + 0.7, side), layout="compressed")
    ax = figure.subplots()
    image = ax.imshow(100 * share, cmap="Blues", vmin=0, vmax=100)
    if number <= 12:
        for row, column in np.argwhere(table > 0):
            colour = "white" if share[row, column] > 0.55 else INK
            text = f"{table[row, column]:.0f}"
            ax.text(column, row, text, ha="center", va="center", fontsize=SMALL - (len(text) > 3), color=colour)
    step = 1 if number <= 32 else 10
    ax.set_xticks(range(0, number, step), classes[::step], fontsize=SMALL)
    ax.set_yticks(range(0, number, step), classes[::step], fontsize=SMALL)
    if max(map(len, classes), default=0) > 3:
        ax.tick_params(axis="x", labelrotation=90)
    ax.set_xlabel("answer", fontsize=LABEL)
    ax.set_ylabel("target", fontsize=LABEL)
    ax.tick_params(length=0)
    _colour_bar(figure, image, ax, "share of row (%)")
    for spine in ax.spines.values():
        spine.set_visible(False)
    return figure


def fixation_map(density: Float[Tensor, "height width"]) -> Figure:
    """Where the eye rested, over the canvas: `density` counts looks in equal cells (any unit), row 0 at the top."""
    table = np.asarray(_array(density), dtype=float)
    share = 100 * table / (table.sum() or 1)
    height, width = table.shape
    panel = _panel(height, width, 2.7)
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


# ---------------------------------------------------------------- files


def write_figure(figure: Figure, path: str | Path) -> None:
    """Write a PNG; `path` holds either the whole picture or what it held before."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    _write(Path(path), buffer.getvalue())


def encode_gif(
    frames: Sequence[UInt8[np.ndarray, "height width 3"]], fps: float | int = 2, hold: float | int = 2
) -> bytes:
    """An endless GIF of `frames`, the last one held for `hold` seconds: also what TensorBoard takes as an image.

    Raises `ValueError` where there is no frame or `fps` is not positive.
    """
    if not len(frames):
        raise ValueError("frames: got none, expected at least one")
    if fps <= 0:
        raise ValueError(f"fps: got {fps}, expected a positive number of frames per second")
    # One palette for all, made from the last frame (it alone has every colour of the path) above the first: a palette a
    # frame would flicker.
    reference = Image.fromarray(np.concatenate([frames[0], frames[-1]]))
    palette = reference.quantize(256, method=Image.Quantize.MEDIANCUT)
    colours = np.reshape(palette.getpalette() or [], (-1, 3))
    brightness = colours.sum(axis=1)
    colours[brightness >= min(3 * 240, brightness.max())] = 255  # the ground stays white
    palette.putpalette(colours.flatten().tolist())
    images = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    durations = [round(1000 / fps)] * (len(images) - 1) + [round(1000 * max(hold, 1 / fps))]
    buffer = io.BytesIO()
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0, disposal=1)
    return buffer.getvalue()


def write_gif(
    frames: Sequence[UInt8[np.ndarray, "height width 3"]], path: str | Path, fps: float | int = 2, hold: float | int = 2
) -> None:
    """Write `encode_gif`; `path` holds either the whole animation or what it held before."""
    _write(Path(path), encode_gif(frames, fps, hold))


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        partial.write_bytes(data)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


# ---------------------------------------------------------------- pieces of pictures


def _array(values: Tensor | np.ndarray) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def _picture(pixels: Tensor) -> UInt8[np.ndarray, "height width 3"]:
    """A (C, H, W) image as matplotlib and Pillow want it."""
    if len(pixels) not in (1, 3):
        raise ValueError(f"channels: got {len(pixels)}, expected 1 (grey) or 3 (RGB)")
    levels = np.rint(np.clip(_array(pixels), 0, 1) * 255).astype(np.uint8)
    return np.broadcast_to(levels.transpose(1, 2, 0), (*levels.shape[1:], 3))


def _scale_colour(scale: int) -> str:
    return SCALE_COLOURS[scale % len(SCALE_COLOURS)]


def _time_colours(looks: int) -> list[tuple[float, float, float, float]]:
    """Viridis without its dark end, which a black canvas would swallow."""
    return [tuple(colour) for colour in colormaps["viridis"](np.linspace(0.35, 1, looks) if looks > 1 else [1.0])]


def _centres(boxes: Float[np.ndarray, "looks 4"]) -> Float[np.ndarray, "looks 2"]:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def _margin(height: int, width: int) -> float:
    """Pixels shown around a canvas, for windows that reach outside."""
    return max(height, width) / 12


def _view_width(height: int, width: int) -> float:
    return width + 2 * _margin(height, width)


def _panel(height: int, width: int, side: float) -> tuple[float, float]:
    """(width, height) in inches of a panel that shows a canvas with its margin, the longer side being `side`."""
    margin = _margin(height, width)
    across, down = width + 2 * margin, height + 2 * margin
    return side * across / max(across, down), side * down / max(across, down)


def _image_grid(
    widths: Sequence[float],
    heights: Sequence[float],
    *,
    between: tuple[float, float],
    top: float,
    bottom: float = 0.1,
    left: float = 0.1,
) -> tuple[Figure, list[list[Axes]]]:
    """Axes at exact places: all arguments in inches, `between` as (across, down)."""
    across = sum(widths) + between[0] * (len(widths) - 1) + left + 0.1
    down = sum(heights) + between[1] * (len(heights) - 1) + top + bottom
    figure = Figure(figsize=(across, down))
    axes, y = [], down - top
    for height in heights:
        y -= height
        row, x = [], left
        for width in widths:
            row.append(figure.add_axes((x / across, y / down, width / across, height / down)))
            x += width + between[0]
        axes.append(row)
        y -= between[1]
    return figure, axes


def _show_canvas(ax: Axes, canvas: Tensor) -> None:
    height, width = canvas.shape[-2:]
    margin = _margin(height, width)
    ax.imshow(_picture(canvas), extent=(0, width, height, 0), interpolation="nearest")
    ax.set(xlim=(-margin, width + margin), ylim=(height + margin, -margin), xticks=[], yticks=[], facecolor=BACKDROP)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _outline(box: np.ndarray, colour: ColorType, thickness: float) -> Rectangle:
    x0, y0, x1, y1 = map(float, box)
    return Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour, linewidth=thickness, joinstyle="miter")


def _draw_path(ax: Axes, points: np.ndarray, colours: Sequence[ColorType], unit: float, size: float = 3.6) -> None:
    """Numbered dots of `size` points in radius, joined by arrows; one unit of the data measures `unit` points."""
    for start, end in pairwise(points):
        if math.dist(start, end) * unit < 2.2 * size:
            continue  # the dots touch: an arrow would have no length
        arrow = FancyArrowPatch(
            tuple(start), tuple(end), arrowstyle="-|>,head_length=2.6,head_width=1.5", shrinkA=size, shrinkB=size,
            linewidth=0.9, color="white", mutation_scale=1,
        )  # fmt: skip
        arrow.set_path_effects([withStroke(linewidth=2.2, foreground="#000000b0")])
        ax.add_patch(arrow)
    for number, (point, colour) in enumerate(zip(points, colours, strict=True), start=1):
        z = 3 + number  # later dots, with their numbers, over earlier ones
        ax.add_patch(Circle(tuple(point), size / unit, facecolor=colour, edgecolor="black", linewidth=0.5, zorder=z))
        ax.text(
            float(point[0]),
            float(point[1]),
            str(number),
            fontsize=1.45 * size,
            color="black" if sum(to_rgb(colour)) > 1.35 else "white",
            ha="center",
            va="center_baseline",
            zorder=z,
            clip_on=True,
        )


def _style(ax: Axes) -> None:
    ax.tick_params(labelsize=SMALL, length=3, color=FAINT)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(FAINT)
    ax.xaxis.get_offset_text().set_fontsize(SMALL)
    ax.yaxis.get_offset_text().set_fontsize(SMALL)


def _colour_bar(figure: Figure, image: object, ax: Axes, label: str) -> None:
    bar = figure.colorbar(image, ax=ax, fraction=0.046, pad=0.03)  # pyright: ignore[reportArgumentType]
    bar.set_label(label, fontsize=LABEL)
    bar.ax.tick_params(labelsize=SMALL, length=2, color=FAINT)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]


def _curve(rows: Rows, x: str, y: str) -> tuple[np.ndarray, np.ndarray]:
    """The points (x, y) of the rows that have both."""
    pairs = [(row[x], row[y]) for row in rows if row.get(x) not in (None, "") and row.get(y) not in (None, "")]
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
        ax.plot(x, y, dashes, color=colour, marker=marker, markersize=3.5, linewidth=1.3, label=name, clip_on=not marks)
    if shown:
        ax.legend(frameon=False, fontsize=SMALL, handlelength=2.4)
    return [float(height) for _, y in shown.values() for height in y]


# ---------------------------------------------------------------- animation


class _Mosaic(NamedTuple):
    """Where the panels of an animation lie, in pixels of its frames."""

    zoom: int
    panel: tuple[int, int]
    """(width, height) of one enlarged canvas."""
    corners: tuple[tuple[int, int], ...]
    """Left upper corner of each lane's first panel."""
    second: int
    """How far to the right the second panel lies."""
    frame: tuple[int, int]
    """(width, height), even."""

    @classmethod
    def arrange(cls, canvas_size: Sequence[int], rows: int, columns: int) -> "_Mosaic":
        height, width = canvas_size
        zoom = max(1, round(176 / max(height, width)))
        across, down = max(width * zoom, 120), height * zoom
        gap, wide, caption, header = 6, 28, 24, 26
        cell = (2 * across + gap + wide, down + caption + 10)
        corners = tuple(
            (wide // 2 + column * cell[0], header + row * cell[1]) for row in range(rows) for column in range(columns)
        )
        frame = (columns * cell[0], header + rows * cell[1] + rows * cell[1] % 2)
        return cls(zoom, (width * zoom, down), corners, across + gap, frame)


class _Seen:
    """What one agent has seen of its canvas, every place at the finest resolution it was read with."""

    def __init__(self, gaze: Gaze, lane: int, zoom: int) -> None:
        height, width = gaze.canvas.shape[-2:]
        self._boxes, self._glimpses = _array(gaze.boxes[:, lane]), gaze.glimpses[:, lane]
        self._across, self._down = ((np.arange(n * zoom) + 0.5) / zoom for n in (width, height))
        self._fineness = np.full((height * zoom, width * zoom), np.inf)
        self.picture = np.full((height * zoom, width * zoom, 3), UNSEEN, np.uint8)

    def add(self, look: int) -> None:
        for (x0, y0, x1, y1), pixels in zip(self._boxes[look], self._glimpses[look], strict=True):
            glimpse = _picture(pixels)
            side = len(glimpse)
            column = np.floor((self._across - x0) / (x1 - x0) * side).astype(int)
            row = np.floor((self._down - y0) / (y1 - y0) * side).astype(int)
            inside = np.ix_((row >= 0) & (row < side), (column >= 0) & (column < side))
            spacing = math.sqrt((x1 - x0) * (y1 - y0)) / side
            finer = spacing <= self._fineness[inside]
            sampled = glimpse[np.ix_(row[(row >= 0) & (row < side)], column[(column >= 0) & (column < side)])]
            self.picture[inside] = np.where(finer[..., None], sampled, self.picture[inside])
            self._fineness[inside] = np.where(finer, spacing, self._fineness[inside])


def _draw_mosaic(gaze: Gaze, mosaic: _Mosaic, seen: Sequence[_Seen], look: int, *, over: bool) -> np.ndarray:
    """One frame, on a single pair of axes whose unit is a pixel of the frame."""
    wide, high = mosaic.frame
    figure = Figure(figsize=(wide / FRAME_DPI, high / FRAME_DPI), dpi=FRAME_DPI)
    agg = FigureCanvasAgg(figure)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    ax.set(xlim=(0, wide), ylim=(high, 0))
    ground = np.full((high, wide, 3), 255, np.uint8)
    width, height = mosaic.panel
    zoom, looks = mosaic.zoom, len(gaze.boxes)
    for lane, memory in enumerate(seen):
        left, top = mosaic.corners[lane]
        canvas = _picture(gaze.canvas[lane]).repeat(zoom, axis=0).repeat(zoom, axis=1)
        ground[top : top + height, left : left + width] = canvas
        ground[top : top + height, left + mosaic.second : left + mosaic.second + width] = memory.picture
    ax.imshow(ground, extent=(0, wide, high, 0), interpolation="nearest", aspect="auto")
    for lane in range(len(seen)):
        left, top = mosaic.corners[lane]
        boxes = _array(gaze.boxes[: look + 1, lane]) * zoom + np.array([left, top, left, top])
        frame = Rectangle((left, top), width, height, transform=ax.transData)
        before = len(ax.patches), len(ax.texts)
        for k in () if over else reversed(range(boxes.shape[1])):
            ax.add_patch(_outline(boxes[-1, k], _scale_colour(k), 1.2))
        colours = _time_colours(looks)[: look + 1]
        _draw_path(ax, _centres(boxes[:, 0]), colours, unit=72 / FRAME_DPI, size=3.8)
        for artist in (*ax.patches[before[0] :], *ax.texts[before[1] :]):
            artist.set_clip_path(frame)
        below = top + height + 5
        text, colour = gaze.verdict(lane) if over else (gaze.belief(look, lane), INK)
        ax.text(left, below, text, fontsize=LABEL, color=colour, va="top", weight="bold" if over else "normal")
    left, top = mosaic.corners[0]
    ax.text(left, top - 6, f"glimpse {look + 1} of {looks}", fontsize=LABEL, color=FAINT, va="bottom")
    ax.text(left + mosaic.second, top - 6, "seen so far", fontsize=LABEL, color=FAINT, va="bottom")
    agg.draw()
    return np.asarray(agg.buffer_rgba())[..., :3].copy()
