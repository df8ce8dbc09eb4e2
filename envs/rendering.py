"""A frame of an episode: the scene, the windows of the current look, the path so far, and what the eye sees.

Pillow alone, some 15 ms a frame; the pictures of whole runs are in `ram_agent.gaze` and `ram_agent.animation`.
"""

from functools import cache
from math import ceil
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

# Okabe & Ito (2008), told apart by colour-blind readers; ordered so that the finest scale is the brightest.
SCALE_COLOURS = ("#F0E442", "#56B4E9", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#0072B2", "#999999")
BACKDROP = (58, 58, 58)
"""Around the canvas and behind the glimpses: lighter than a canvas's black, so that its border stays visible."""
PATH, HALO = (178, 178, 178, 255), (0, 0, 0, 190)
SCENE_SIDE = 384
"""Longer side of the enlarged scene with its margin, in pixels of the frame, as nearly as whole factors allow."""
TILE_SIDES = (64, 132)
"""Shortest and longest side of an enlarged glimpse, in pixels of the frame, where its own resolution allows."""
GAP = 12
SUPERSAMPLING = 3
SMOOTHED = 1500
"""Pixels of the longer side of a scene whose path is drawn smoothly: of a photograph's that takes gigabytes."""


class Layout(NamedTuple):
    """Where things lie on a frame, in its pixels. The same for every frame of an environment."""

    scale: int
    """Pixels of the frame per pixel of the canvas."""
    margin: int
    """Pixels of the canvas shown around it, for windows that reach outside."""
    scene: tuple[int, int]
    """(width, height) of the enlarged canvas with its margin; its left upper corner is at `(0, scene_top)`."""
    scene_top: int
    tile: int
    """Side of an enlarged glimpse."""
    tiles: tuple[tuple[int, int], ...]
    """Left upper corner of each glimpse, finest first."""
    frame: tuple[int, int]
    """(width, height), both even as video encoders want them."""

    def edge(self, x: float, y: float) -> tuple[float, float]:
        """Where on the scene (not the frame) a pixel-edge coordinate of the canvas lies."""
        return (x + self.margin) * self.scale, (y + self.margin) * self.scale


def layout(
    canvas_size: tuple[int, int], scales: int, side: int, scale: int | None = None, reach: float = 1.0
) -> Layout:
    """Arrange a frame for canvases of `(height, width)` pixels and glimpses of `scales` times `side` x `side`.

    Nothing here depends on where the windows are, but on where they can be: frames of one environment have one size,
    with room around the canvas where the centres of an eye leave it, its `reach` being above 1.
    """
    height, width = canvas_size
    margin = max(2, max(height, width) // 8) + ceil(max(0.0, reach - 1) * max(height, width) / 2)
    if scale is None:
        scale = max(1, round(SCENE_SIDE / (max(height, width) + 2 * margin)))
    elif scale < 1:
        raise ValueError(f"scale: got {scale}, expected at least 1 pixel of the frame per pixel of the canvas")
    scene = ((width + 2 * margin) * scale, (height + 2 * margin) * scale)
    room = (scene[1] - (scales + 1) * GAP) // scales
    tile = side * max(1, min(max(room, TILE_SIDES[0]), TILE_SIDES[1]) // side)
    column = scales * tile + (scales - 1) * GAP
    frame_height = max(scene[1], column + 2 * GAP)
    frame_height += frame_height % 2
    frame_width = scene[0] + tile + 2 * GAP
    frame_width += frame_width % 2
    top = (frame_height - column) // 2
    tiles = tuple((scene[0] + GAP, top + k * (tile + GAP)) for k in range(scales))
    return Layout(scale, margin, scene, (frame_height - scene[1]) // 2, tile, tiles, (frame_width, frame_height))


def draw_frame(
    canvas: Float[Tensor, "channels height width"],
    boxes: Float[Tensor, "looks scales 4"],
    glimpse: Float[Tensor, "scales channels side side"],
    *,
    scale: int | None = None,
    reach: float = 1.0,
) -> UInt8[np.ndarray, "frame_height frame_width 3"]:
    """Draw one lane after its latest look.

    `canvas` and `glimpse` hold values in [0, 1] in one channel (grey) or three (RGB); `boxes` the pixel-edge rectangles
    (x0, y0, x1, y1) of all looks so far, finest scale first, possibly none. Left the canvas, `scale` times enlarged,
    with the latest windows, one colour a scale, and the centres of all looks, numbered; right the K scales of
    `glimpse` in frames of the same colours. Windows are cut where they leave the margin around the canvas, as wide
    as centres up to `reach` (1: the border) need it.

    Raises `ValueError` for a `scale` below 1 and for images of neither one nor three channels.
    """
    height, width = canvas.shape[-2:]
    scales, _, side, _ = glimpse.shape
    plan = layout((height, width), scales, side, scale, reach)
    boxes = boxes.nan_to_num(0.0)  # a window that is no number is still to be seen beside what was read there

    scene = Image.new("RGB", plan.scene, BACKDROP)
    enlarged = _image(canvas).resize((width * plan.scale, height * plan.scale), Image.Resampling.NEAREST)
    scene.paste(enlarged, (plan.margin * plan.scale, plan.margin * plan.scale))
    if len(boxes):
        _draw_windows(scene, plan, boxes[-1].tolist())
        _draw_path(scene, plan, (boxes[:, 0, :2] / 2 + boxes[:, 0, 2:] / 2).tolist())

    frame = Image.new("RGB", plan.frame, BACKDROP)
    frame.paste(scene, (0, plan.scene_top))
    draw = ImageDraw.Draw(frame)
    for k, (left, top) in enumerate(plan.tiles):
        tile = _image(glimpse[k]).resize((plan.tile, plan.tile), Image.Resampling.NEAREST)
        frame.paste(tile, (left, top))
        draw.rectangle((left - 3, top - 3, left + plan.tile + 2, top + plan.tile + 2), outline=_colour(k), width=3)
    return np.array(frame)


def _image(pixels: Float[Tensor, "channels height width"]) -> Image.Image:
    if len(pixels) not in (1, 3):
        raise ValueError(f"channels: got {len(pixels)}, expected 1 (grey) or 3 (RGB)")
    levels = (pixels.detach().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(levels.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy())


def _colour(scale: int) -> str:
    return SCALE_COLOURS[scale % len(SCALE_COLOURS)]


def _draw_windows(scene: Image.Image, plan: Layout, boxes: list[list[float]]) -> None:
    """Outline every scale of one look, two pixels wide: one to either side of the window's edge."""
    draw = ImageDraw.Draw(scene)
    for k in reversed(range(len(boxes))):  # the finest last, on top
        x0, y0, x1, y1 = boxes[k]
        (left, top), (right, bottom) = plan.edge(x0, y0), plan.edge(x1, y1)
        outline = (round(left) - 1, round(top) - 1, round(right), round(bottom))
        draw.rectangle(outline, outline=_colour(k), width=2)


def _draw_path(scene: Image.Image, plan: Layout, centres: list[list[float]]) -> None:
    """Numbered dots from look to look, smooth, the latest in the colour of its finest window."""
    zoom = SUPERSAMPLING if max(scene.size) <= SMOOTHED else 1
    points = [tuple(zoom * value for value in plan.edge(x, y)) for x, y in centres]
    overlay = Image.new("RGBA", (scene.width * zoom, scene.height * zoom))
    draw = ImageDraw.Draw(overlay)
    for ink, thickness in ((HALO, 4 * zoom), (PATH, 2 * zoom)):
        draw.line(points, fill=ink, width=thickness, joint="curve")
    for look, (x, y) in enumerate(points, start=1):
        latest = look == len(points)
        radius = (8 if latest else 6.5) * zoom
        fill = _colour(0) if latest else PATH
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill, outline=(0, 0, 0, 255), width=zoom)
        draw.text((x, y), str(look), fill=(0, 0, 0, 255), font=_font(round(radius * 1.25)), anchor="mm")
    scene.paste(overlay.reduce(zoom), mask=overlay.getchannel("A").reduce(zoom))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
