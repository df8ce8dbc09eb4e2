"""What tests of pictures share: a gaze to draw, and the pixels of a figure."""

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.typing import ColorType

from ram_agent.gaze import Gaze
from ram_agent.sensor import make_sensor

CLASSES = tuple("0123456789")
SHAPES = [
    {},
    {"channels": 3},
    {"lanes": 1, "looks": 1, "scales": 1},
    {"size": (60, 20), "lanes": 5},
    {"kind": "gaussian", "channels": 3},
    {"kind": "stn", "looks": 12},
]


def make_gaze(
    lanes: int = 3,
    looks: int = 4,
    size: tuple[int, int] = (24, 36),
    channels: int = 1,
    scales: int = 2,
    kind: str = "crop",
    reach: float = 0.9,
) -> Gaze:
    """Random canvases, looked at at random places; even lanes answer right, odd ones wrong."""
    generator = torch.Generator().manual_seed(0)
    canvas = torch.rand(lanes, channels, *size, generator=generator)
    sensor = make_sensor(kind, size=6, scales=scales, reach=reach)
    actions = 2 * torch.rand(looks, lanes, sensor.window_parameters, generator=generator) - 1
    windows = [sensor.window(action) for action in actions]
    target = torch.arange(lanes) % 10
    answers = (target + torch.arange(lanes) % 2).expand(looks, lanes) % 10
    return Gaze(
        canvas,
        torch.stack([sensor.boxes(window, size) for window in windows]),
        torch.stack([sensor(canvas, window) for window in windows]),
        target,
        answers,
        torch.linspace(0.1, 0.9, looks)[:, None].expand(looks, lanes),
        CLASSES,
    )


def render(figure: Figure) -> np.ndarray:
    agg = FigureCanvasAgg(figure)
    agg.draw()
    return np.asarray(agg.buffer_rgba())[..., :3].copy()


def has_colour(picture: np.ndarray, colour: ColorType) -> bool:
    wanted = np.rint(255 * np.array(to_rgb(colour)))
    return bool((abs(picture.astype(float) - wanted).max(axis=-1) <= 1).any())
