"""A moving picture of the gaze: look after look, beside what the agent has seen so far."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ram_agent.figures import FAINT, INK, LABEL, as_array
from ram_agent.fonts import legible
from ram_agent.gaze import Gaze, as_picture, centres, draw_path, farthest, outline, scale_colour, time_colours

UNSEEN = 72
"""Grey level of what the agent has not seen."""
FRAME_DPI = 128  # a power of two: pixels / DPI · DPI is exact


def gaze_frames(gaze: Gaze, rows: int = 2, columns: int = 2) -> list[UInt8[np.ndarray, "frame_height frame_width 3"]]:
    """T + 1 frames of an animation that shows the first rows · columns episodes look after look, then the verdicts.

    Every episode has two panels: the canvas with the windows of the current look and the path, and what the agent has
    seen of it so far, each place at the finest resolution it was read with.
    """
    looks, lanes = gaze.boxes.shape[0], min(rows * columns, len(gaze.target))
    gaze = gaze.within(farthest(gaze, slice(lanes)))
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
        self._boxes, self._glimpses = as_array(gaze.boxes[:, lane]), gaze.glimpses[:, lane]
        self._across, self._down = ((np.arange(n * zoom) + 0.5) / zoom for n in (width, height))
        self._fineness = np.full((height * zoom, width * zoom), np.inf)
        self.picture = np.full((height * zoom, width * zoom, 3), UNSEEN, np.uint8)

    def add(self, look: int) -> None:
        for (x0, y0, x1, y1), pixels in zip(self._boxes[look], self._glimpses[look], strict=True):
            glimpse = as_picture(pixels)
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
        canvas = as_picture(gaze.canvas[lane]).repeat(zoom, axis=0).repeat(zoom, axis=1)
        ground[top : top + height, left : left + width] = canvas
        ground[top : top + height, left + mosaic.second : left + mosaic.second + width] = memory.picture
    ax.imshow(ground, extent=(0, wide, high, 0), interpolation="nearest", aspect="auto")
    for lane in range(len(seen)):
        left, top = mosaic.corners[lane]
        boxes = as_array(gaze.boxes[: look + 1, lane]) * zoom + np.array([left, top, left, top])
        frame = Rectangle((left, top), width, height, transform=ax.transData)
        before = len(ax.patches), len(ax.texts)
        for k in () if over else reversed(range(boxes.shape[1])):
            ax.add_patch(outline(boxes[-1, k], scale_colour(k), 1.2))
        colours = time_colours(looks)[: look + 1]
        draw_path(ax, centres(boxes[:, 0]), colours, unit=72 / FRAME_DPI, size=3.8)
        for artist in (*ax.patches[before[0] :], *ax.texts[before[1] :]):
            artist.set_clip_path(frame)
        below = top + height + 5
        text, colour = gaze.verdict(lane) if over else (gaze.belief(look, lane), INK)
        text = gaze.named(lane, text, width / FRAME_DPI, "   ")
        weight = "bold" if over else "normal"
        ax.text(left, below, text, fontsize=LABEL, color=colour, va="top", weight=weight, parse_math=False)
    left, top = mosaic.corners[0]
    ax.text(left, top - 6, f"glimpse {look + 1} of {looks}", fontsize=LABEL, color=FAINT, va="bottom")
    ax.text(left + mosaic.second, top - 6, "seen so far", fontsize=LABEL, color=FAINT, va="bottom")
    legible(figure)
    agg.draw()
    return np.asarray(agg.buffer_rgba())[..., :3].copy()
