"""Files of pictures, PNG and GIF: written whole or not at all."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from ram_agent.files import write_whole
from ram_agent.fonts import legible

DPI = 150
SHOWN, HELD = 500, 2000
"""Milliseconds of each frame of an animation, and of its last."""


def write_figure(figure: Figure, path: str | Path, notes: Mapping[str, str] | None = None) -> None:
    """Write a PNG, with `notes` as its text; `path` holds either the whole picture or what it held before."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    legible(figure)
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None, **(notes or {})})
    write_whole(Path(path), buffer.getvalue())


def encode_gif(frames: Sequence[UInt8[np.ndarray, "height width 3"]]) -> bytes:
    """An endless GIF of `frames`, the last one held: also what TensorBoard takes as an image.

    Raises `ValueError` where there is no frame.
    """
    if not len(frames):
        raise ValueError("frames: got none, expected at least one")
    # One palette for all, made from the last frame (it alone has every colour of the path) above the first: a palette a
    # frame would flicker.
    reference = Image.fromarray(np.concatenate([frames[0], frames[-1]]))
    palette = reference.quantize(256, method=Image.Quantize.MEDIANCUT)
    colours = np.reshape(palette.getpalette() or [], (-1, 3))
    brightness = colours.sum(axis=1)
    colours[brightness >= min(3 * 240, brightness.max())] = 255  # the ground stays white
    palette.putpalette(colours.flatten().tolist())
    images = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    durations = [SHOWN] * (len(images) - 1) + [HELD]
    buffer = io.BytesIO()
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0, disposal=1)
    return buffer.getvalue()


def write_gif(frames: Sequence[UInt8[np.ndarray, "height width 3"]], path: str | Path) -> None:
    """Write `encode_gif`; `path` holds either the whole animation or what it held before."""
    write_whole(Path(path), encode_gif(frames))
