"""Picture files, one or several, shown to a trained agent: no labels, each a scene of its own.

A picture as large as the canvas is the canvas. Any other is scaled, whole and in its own proportions, to the size of
the images that the agent was trained on, and lies in the middle of the canvas, on black.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from envs.image_set import ImageSet
from envs.images import ImageData
from envs.pictures import Laid, in_channels, is_picture, lay, read_picture
from ram_agent.config import ConfigError
from ram_agent.evaluation import TEST_SEED
from ram_agent.policy import Policy
from ram_agent.precision import products_in_full
from ram_agent.rollout import GlimpseEnvironment, rollout
from ram_agent.sensor import to_pixels

CANDIDATES = 3
"""Answers that are told, the likeliest first."""


class Shown(NamedTuple):
    """A picture file as an agent is shown it."""

    file: Path
    laid: Laid
    said: str
    """What became of it: its size, the scale, the colours."""


def picture_files(names: Sequence[str]) -> list[Path]:
    """The files, if they are pictures; none, if it is one other source. Raises `ConfigError` for a mixture."""
    paths = [Path(name) for name in names]
    others = [path for path in paths if not is_picture(path) or path.is_dir()]
    if gone := [path for path in paths if is_picture(path) and not path.exists()]:
        raise ConfigError(f"--images: {gone[0]}: no such file")
    if others and len(paths) > 1:
        raise ConfigError(f"--images: expected picture files, or one other source alone, got {others[0]} among others")
    return [] if others else paths


def file_names(files: Sequence[Path]) -> tuple[str, ...]:
    """What to write above pictures: the names of the files, with their folders where two are called the same."""
    names = tuple(file.name for file in files)
    return names if len(set(names)) == len(set(files)) else tuple(map(str, files))


def lay_out(
    files: Sequence[Path],
    canvas: tuple[int, int] | None,
    within: tuple[int, int] | None,
    channels: int,
    classes: tuple[str, ...],
) -> tuple[tuple[Shown, ...], ImageData]:
    """The pictures on canvases of (height, width), None: of their own size; of as many channels as the agent knows.

    `within` is the size of what the agent was trained on. The labels of the images mean nothing.
    Raises `ConfigError`, and `ImageError` for a file that is no picture.
    """
    shown = [_lay_out(file, canvas, within, channels) for file in files]
    sizes = [each.laid.pixels.shape[:2] for each in shown]
    if odd := [file for file, size in zip(files, sizes, strict=True) if size != sizes[0]]:
        raise ConfigError(
            f"--images: {odd[0]} has another size than {files[0]}; show them one by one, or without --scene.kind plain"
        )
    pixels = np.stack([each.laid.pixels for each in shown]).transpose(0, 3, 1, 2)
    images = ImageSet(torch.from_numpy(np.ascontiguousarray(pixels)), torch.zeros(len(shown), dtype=torch.long))
    name = files[0].name if len(files) == 1 else f"{len(files)} pictures"
    return tuple(shown), ImageData(name, images, images, images, classes, sha256="")


def _lay_out(file: Path, canvas: tuple[int, int] | None, within: tuple[int, int] | None, channels: int) -> Shown:
    picture = read_picture(file)
    height, width, given = picture.shape
    colours = "" if given == channels else ", taken as grey" if channels == 1 else ", grey taken as RGB"
    said = f"{height}x{width} (height x width){colours}"
    pixels = in_channels(picture, channels)
    if canvas is None or canvas == (height, width):
        return Shown(file, lay(pixels, (height, width), (height, width)), said)
    if within is None:
        raise ConfigError(
            f"--images: {file}: this run does not say how large its images were; say it: --images.size HEIGHT,WIDTH"
        )
    within = min(within[0], canvas[0]), min(within[1], canvas[1])
    laid = lay(pixels, within, canvas)
    tall, wide = round(height * laid.scale[1]), round(width * laid.scale[0])
    return Shown(file, laid, f"{said}, at {tall}x{wide} on the {canvas[0]}x{canvas[1]} canvas")


def tell(policy: Policy, env: GlimpseEnvironment, shown: Sequence[Shown]) -> Iterator[str]:
    """What the agent answers to each picture, a lane each, at mean locations; where it looked, and what it then held.

    Places are (x, y) in pixels of the picture, from its upper left corner.
    """
    lanes = range(env.num_envs)
    with torch.no_grad(), products_in_full():
        episode = rollout(policy, env, seed=[TEST_SEED] * len(lanes), scenes=lanes)
    beliefs, names = episode.logits.softmax(dim=-1).cpu(), env.class_names
    size = env.canvas.shape[-2], env.canvas.shape[-1]
    points = to_pixels(env.sensor.window(episode.windows).centre, size).cpu().numpy()
    for lane, picture in enumerate(shown):
        likeliest = beliefs[-1, lane].topk(min(CANDIDATES, len(names)))
        answers = [
            f"{names[label]} {100 * share:.1f} %"
            for share, label in zip(likeliest.values.tolist(), likeliest.indices.tolist(), strict=True)
        ]
        yield f"{picture.file}: {picture.said}"
        yield f"  answer     {', '.join(answers)}"
        for look, belief in enumerate(beliefs[:, lane], start=1):
            x, y = picture.laid.on_picture(points[look - 1, lane])
            best = int(belief.argmax())
            yield f"  glimpse {look}  at ({x:.0f}, {y:.0f})  {names[best]} {100 * float(belief[best]):.1f} %"
