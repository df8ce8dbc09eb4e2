"""Where the eye looked: `Gaze`, its paths over the canvas, and one episode as a strip."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.typing import ColorType
from torch import Tensor
from torch.nn import functional as F

from ram_agent.figures import (
    CLASS_NAME,
    FAINT,
    INK,
    LABEL,
    POINTS,
    TITLE,
    as_array,
    canvas_margin,
    overhang,
    panel_size,
)
from ram_agent.fonts import shortened

SCALE_COLOURS = ("#F0E442", "#56B4E9", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#0072B2", "#999999")
"""One a scale, the finest brightest; as in the frames that the environments render."""
RIGHT, WRONG = "#007A59", "#C24F00"
"""Okabe & Ito's bluish green and vermillion, a little darker so that small text reads on white."""
BACKDROP = "#3a3a3a"
FRAME = to_rgb(BACKDROP)[0]
"""The same as a level of a canvas."""
IN_A_ROW = 12
"""Looks of a strip; a picture of more is cut off or shrunk where it is looked at."""
NAME = 0.15
"""Inches that the name of an image takes."""
DRAWN = 512
"""Pixels of the longer side of a canvas that is drawn: of a photograph's thousands a panel shows some hundreds."""
CELLS = 30
"""Of a fixation map, along the longer side of the canvas: 2 pixels of a 60×60 one."""


class Gaze(NamedTuple):
    """N episodes of T looks, as far as a picture needs them. Images hold values in [0, 1], grey or RGB."""

    canvas: Float[Tensor, "lanes channels height width"]
    boxes: Float[Tensor, "glimpses lanes scales 4"]
    """Pixel-edge rectangles (x0, y0, x1, y1) of every window, finest scale first: `Sensor.boxes`."""
    glimpses: Float[Tensor, "glimpses lanes scales channels side side"]
    target: Int[Tensor, " lanes"]
    """The right answer; -1 where nobody knows it."""
    answers: Int[Tensor, "glimpses lanes"]
    """What the agent would answer after each glimpse; the last row is what it did answer."""
    probability: Float[Tensor, "glimpses lanes"]
    """The probability that it gave to that answer."""
    classes: tuple[str, ...]
    """Names of the Y classes."""
    names: tuple[str, ...] = ()
    """What tells the images apart, one a lane, to stand above each; none where they are known by their labels."""

    @property
    def has_long_names(self) -> bool:
        """Whether target and answer want a line each."""
        return max(map(len, self.classes)) > 6

    def verdict(self, lane: int, between: str = " → ") -> tuple[str, str]:
        """`target → answer` with a mark, and its colour; without a target, the last belief."""
        target, answer = int(self.target[lane]), int(self.answers[-1, lane])
        if target < 0:
            return self.belief(-1, lane, "\n" if "\n" in between else " · "), INK
        mark, colour = self.mark(-1, lane)
        right, said = (shortened(self.classes[label], CLASS_NAME) for label in (target, answer))
        return f"{right}{between}{said}{mark}", colour

    def mark(self, glimpse: int, lane: int) -> tuple[str, str]:
        """Whether the answer after a glimpse is right, as a mark to set behind it, and in colour."""
        target = int(self.target[lane])
        if target < 0:
            return "", INK
        return (" ✓", RIGHT) if int(self.answers[glimpse, lane]) == target else (" ✗", WRONG)

    def belief(self, glimpse: int, lane: int, between: str = " · ") -> str:
        """The answer after a glimpse and its probability in percent."""
        name = shortened(self.classes[int(self.answers[glimpse, lane])], CLASS_NAME)
        return f"{name}{between}{100 * float(self.probability[glimpse, lane]):.0f} %"

    def named(self, lane: int, text: str, width: float, between: str = "\n") -> str:
        """A text below the image's name, where it has one, cut to `width` inches of a title."""
        if not self.names:
            return text
        return f"{shortened(self.names[lane], max(8, int(width * POINTS / (0.68 * TITLE))))}{between}{text}"

    def reduced(self, side: int = DRAWN) -> "Gaze":
        """The same on canvases of `side` pixels at most, each the mean of a square of theirs: no panel shows more."""
        by = math.ceil(max(self.canvas.shape[-2:]) / side)
        if by == 1:
            return self
        return self._replace(canvas=F.avg_pool2d(self.canvas, by, ceil_mode=True), boxes=self.boxes / by)

    def within(self, by: int) -> "Gaze":
        """The same on canvases in a frame of `by` pixels, which a picture can show an eye in: see `overhang`."""
        if not by:
            return self
        return self._replace(canvas=F.pad(self.canvas, (by, by, by, by), value=FRAME), boxes=self.boxes + by)


def farthest(gaze: Gaze, lanes: slice = slice(None)) -> int:
    """The `overhang` of the finest windows; coarser ones are cut where the margin ends."""
    return overhang(as_array(gaze.boxes[:, lanes, 0]), gaze.canvas.shape[-2], gaze.canvas.shape[-1])


def glimpse_paths(gaze: Gaze) -> Figure:
    """A grid of episodes: the finest window of every look, numbered and coloured from the first (dark) to the last."""
    gaze = gaze.within(farthest(gaze))
    lanes = len(gaze.target)
    columns = min(4, lanes)
    rows = math.ceil(lanes / columns)
    height, width = gaze.canvas.shape[-2:]
    panel = panel_size(height, width, 1.75)
    title = (0.46 if gaze.has_long_names else 0.32) + (NAME if gaze.names else 0)
    figure, axes = image_grid([panel[0]] * columns, [panel[1]] * rows, between=(0.12, title), top=title)
    for lane in range(lanes):
        show_path(axes[lane // columns][lane % columns], gaze, lane, panel[0])
    for lane in range(lanes, rows * columns):
        axes[lane // columns][lane % columns].remove()
    return figure


def glimpse_strip(gaze: Gaze, lane: int) -> Figure:
    """One episode from left to right: above, the windows on the canvas; below, what each scale saw and the belief.

    More looks than fit into a row go on in others below.
    """
    gaze = gaze.within(farthest(gaze, slice(lane, lane + 1)))
    looks, scales = gaze.boxes.shape[0], gaze.boxes.shape[2]
    height, width = gaze.canvas.shape[-2:]
    panel = panel_size(height, width, 1.3)
    column = max(panel[0], 0.8)  # room for the belief below
    belief = 0.45 if gaze.has_long_names else 0.3
    rows = math.ceil(looks / IN_A_ROW)
    columns = math.ceil(looks / rows)  # as many in each row, nearly
    down = [0.1] * scales + ([belief + 0.3, *[0.1] * scales]) * (rows - 1)
    figure, axes = image_grid(
        [column] * columns,
        ([panel[1]] + [min(column, 1.0)] * scales) * rows,
        between=(0.1, down),
        top=0.42 + (NAME if gaze.names else 0),
        bottom=belief,
        left=0.45,
    )
    for place in range(looks, rows * columns):
        for across in axes[(rows - 1) * (1 + scales) :]:
            across[place % columns].remove()
    for look in range(looks):
        boxes = as_array(gaze.boxes[look, lane])
        row, place = look // columns * (1 + scales), look % columns
        ax = axes[row][place]
        show_canvas(ax, gaze.canvas[lane])
        for k in reversed(range(scales)):
            ax.add_patch(outline(boxes[k], scale_colour(k), 1.3))
        ax.set_title(f"glimpse {look + 1}" if look == 0 else str(look + 1), fontsize=LABEL, color=FAINT, pad=3)
        for k in range(scales):
            ax = axes[row + k + 1][place]
            ax.imshow(as_picture(gaze.glimpses[look, lane, k]), interpolation="nearest")
            ax.set(xticks=[], yticks=[])
            for spine in ax.spines.values():
                spine.set(visible=True, color=scale_colour(k), linewidth=1.6)
            if place == 0:
                ax.set_ylabel(f"{2**k}×", fontsize=LABEL, color=FAINT, rotation=0, ha="right", va="center", labelpad=4)
        mark, colour = gaze.mark(look, lane)
        below = axes[row + scales][place]
        belief = gaze.belief(look, lane, "\n" if gaze.has_long_names else " · ") + mark
        below.set_xlabel(belief, fontsize=LABEL, color=colour, labelpad=4, parse_math=False)
    text, colour = gaze.verdict(lane)
    text = gaze.named(lane, text, figure.get_figwidth())
    above = 1 - 0.06 / figure.get_figheight()
    figure.text(0.5, above, text, fontsize=TITLE, color=colour, ha="center", va="top", parse_math=False)
    return figure


def of_each_class(labels: Sequence[int], count: int) -> list[int]:
    """Which of the images to draw, so many, by their labels: the first of every class, then the second, and so on.

    Images from class folders lie class by class: the first ones alone would all be of one.
    """
    rank: dict[int, int] = {}
    turns = []
    for place, label in enumerate(labels):
        rank[label] = rank.get(label, -1) + 1
        turns.append((rank[label], place))
    return [place for _, place in sorted(turns)[:count]]


def count_fixations(
    points: Float[np.ndarray, "looks lanes 2"], size: tuple[int, int]
) -> Float[np.ndarray, "rows columns"]:
    """Looks per cell of a canvas of `size`, `points` being (x, y) in its pixels; those outside count at its border.

    The first look is not counted where there are others: nobody chose it.
    """
    height, width = size
    rows, columns = (max(1, round(CELLS * side / max(size))) for side in size)  # which cover the canvas exactly
    chosen = points[1:] if len(points) > 1 else points
    x, y = np.moveaxis(chosen.reshape(-1, 2), -1, 0)
    column = np.clip(x * columns / width, 0, columns - 1).astype(int)
    row = np.clip(y * rows / height, 0, rows - 1).astype(int)
    return np.bincount(row * columns + column, minlength=rows * columns).reshape(rows, columns).astype(float)


# ---------------------------------------------------------------- pieces of pictures


def as_picture(pixels: Tensor) -> UInt8[np.ndarray, "height width 3"]:
    """A (C, H, W) image as matplotlib and Pillow want it."""
    if len(pixels) not in (1, 3):
        raise ValueError(f"channels: got {len(pixels)}, expected 1 (grey) or 3 (RGB)")
    levels = np.rint(np.clip(as_array(pixels), 0, 1) * 255).astype(np.uint8)
    return np.broadcast_to(levels.transpose(1, 2, 0), (*levels.shape[1:], 3))


def scale_colour(scale: int) -> str:
    return SCALE_COLOURS[scale % len(SCALE_COLOURS)]


def time_colours(looks: int) -> list[tuple[float, float, float, float]]:
    """Viridis without its dark end, which a black canvas would swallow."""
    return [tuple(colour) for colour in colormaps["viridis"](np.linspace(0.35, 1, looks) if looks > 1 else [1.0])]


def centres(boxes: Float[np.ndarray, "*batch 4"]) -> Float[np.ndarray, "*batch 2"]:
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def image_grid(
    widths: Sequence[float],
    heights: Sequence[float],
    *,
    between: tuple[float, float | Sequence[float]],
    top: float,
    bottom: float = 0.1,
    left: float = 0.1,
) -> tuple[Figure, list[list[Axes]]]:
    """Axes at exact places: all arguments in inches, `between` as (across, down), down one of each pair of rows or all
    the same.
    """
    gaps = [between[1]] * (len(heights) - 1) if isinstance(between[1], float | int) else list(between[1])
    across = sum(widths) + between[0] * (len(widths) - 1) + left + 0.1
    down = sum(heights) + sum(gaps) + top + bottom
    figure = Figure(figsize=(across, down))
    axes, y = [], down - top
    for height, gap in zip(heights, [*gaps, 0], strict=True):
        y -= height
        row, x = [], left
        for width in widths:
            row.append(figure.add_axes((x / across, y / down, width / across, height / down)))
            x += width + between[0]
        axes.append(row)
        y -= gap
    return figure, axes


def show_path(ax: Axes, gaze: Gaze, lane: int, width: float) -> None:
    """One episode on axes that are `width` inches wide: canvas, windows, path, and above it target and answer."""
    show_canvas(ax, gaze.canvas[lane])
    boxes = as_array(gaze.boxes[:, lane, 0])
    for box, colour in zip(boxes, time_colours(len(boxes)), strict=True):
        ax.add_patch(outline(box, colour, 1.1))
    tall, wide = gaze.canvas.shape[-2:]
    view = wide + 2 * canvas_margin(tall, wide)
    draw_path(ax, centres(boxes), time_colours(len(boxes)), unit=72 * width / view)
    text, colour = gaze.verdict(lane, " →\n" if gaze.has_long_names else " → ")
    ax.set_title(gaze.named(lane, text, width), fontsize=TITLE, color=colour, pad=4, parse_math=False)


def show_canvas(ax: Axes, canvas: Tensor) -> None:
    height, width = canvas.shape[-2:]
    margin = canvas_margin(height, width)
    ax.imshow(as_picture(canvas), extent=(0, width, height, 0), interpolation="nearest")
    ax.set(xlim=(-margin, width + margin), ylim=(height + margin, -margin), xticks=[], yticks=[], facecolor=BACKDROP)
    for spine in ax.spines.values():
        spine.set_visible(False)


def outline(box: np.ndarray, colour: ColorType, thickness: float) -> Rectangle:
    x0, y0, x1, y1 = map(float, box)
    return Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour, linewidth=thickness, joinstyle="miter")


def draw_path(ax: Axes, points: np.ndarray, colours: Sequence[ColorType], unit: float, size: float = 3.6) -> None:
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
