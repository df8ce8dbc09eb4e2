"""Images → canvases: plain, translated and cluttered, each a pure function of (seed, split, index).

Nothing here has a state. Every random choice of a scene is a few integer operations (SplitMix64, Steele et al. 2014) on
its seed, split, index and the number of the draw, so that any batch size gives the same scenes, a lane of a vector
environment equals a single environment, the CPU equals the GPU bit for bit, and a run resumes from one integer.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from envs.distortion import AS_THEY_ARE, Distortion
from envs.draws import random_high, scaled, scene_key
from envs.images import ImageSet
from envs.parts import scaled_in_python
from envs.seeds import is_whole
from ram_agent.sensor import lift_patches

Kind = Literal["plain", "translated", "cluttered"]
Split = Literal["train", "validation", "test"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SPLITS: tuple[Split, ...] = get_args(Split)

IMAGE, ROW, COLUMN = range(3)
CLUTTER = 5
"""Numbers of a scene's draws (nothing takes 3 and 4); patch p of the clutter uses CLUTTER + 5 p … CLUTTER + 5 p + 4."""
MOST_CLUTTER = 1000
"""Patches of a scene: beyond, no image is seen, and where they lie in a thousand scenes takes gigabytes."""


class SceneError(ValueError):
    """A scene that cannot be built: the message names the field, the value and the remedy."""


class Scenes(NamedTuple):
    """N scenes."""

    pixels: UInt8[Tensor, "lanes channels tall wide"]
    """Canvases in 255ths, background 0, with the maker's border around them."""
    border: tuple[int, int]
    label: Int[Tensor, " lanes"]
    place: Float[Tensor, "lanes 2"]
    """Centre of the image that counts, (x, y) in [-1, 1]: what an oracle would look at."""
    image: Int[Tensor, " lanes"]
    """Its number in the image set."""
    key: Int[Tensor, " lanes"]
    """The random stream that made it; draws from 2^20 on are free for others."""

    @property
    def canvas(self) -> Float[Tensor, "lanes channels height width"]:
        """Canvases in [0, 1], without the border."""
        return without_border(self.pixels, self.border)


def without_border(pixels: Tensor, border: tuple[int, int]) -> Float[Tensor, "lanes channels height width"]:
    """Canvases in [0, 1] from bytes in 255ths with `border` rows and columns of background on each side."""
    rows, columns = border
    inner = pixels[..., rows : pixels.shape[-2] - rows, columns : pixels.shape[-1] - columns]
    # A product, not a quotient: CUDA divides by a number as if it multiplied by its reciprocal, the CPU does not.
    return inner.float() * (1 / 255)


@dataclass(frozen=True)
class SceneMaker:
    """Builds scenes from one split of an image set.

    `plain` puts the image in the middle of the canvas. `translated` puts it at a uniform place, fully inside.
    `cluttered` does so, too, and adds `clutter` patches of `clutter_size`², each cut at a uniform place from a
    uniformly drawn image of the same split and added at a uniform place fully inside (clamped to 1): the protocol of
    Mnih et al. 2014, section 4.1 (60×60 with 4 patches of 8×8, 100×100 with 8).

    Training scenes draw their image uniformly and may distort it; scene i of validation and test shows image i (modulo
    their number) as it is, so that 0 … n-1 show each image once.
    """

    images: ImageSet
    split: Split
    kind: Kind = "cluttered"
    size: tuple[int, int] = (60, 60)
    """Canvas (height, width) in pixels."""
    clutter: int = 4
    clutter_size: int = 8
    border: tuple[int, int] = (0, 0)
    """Rows and columns of background painted on each side besides: what `ram_agent.sensor.Sensor.border` asks for."""
    distortion: Distortion = AS_THEY_ARE
    """Of the images that count, in training; clutter is cut from images as they are."""

    def __post_init__(self) -> None:
        height, width = self.images.pixels.shape[-2:]
        if self.kind not in KINDS:
            raise SceneError(f"scene.kind: got {self.kind!r}, expected one of {', '.join(KINDS)}")
        if self.split not in SPLITS:
            raise SceneError(f"split: got {self.split!r}, expected one of {', '.join(SPLITS)}")
        if not len(self.images):
            raise SceneError(f"split: got {self.split!r}, which holds no image; give one that holds some")
        numbers = {"scene.height": self.size[0], "scene.width": self.size[1]}
        numbers |= {"scene.clutter": self.clutter, "scene.clutter_size": self.clutter_size}
        for name, number in numbers.items():
            if not is_whole(number):
                raise SceneError(f"{name}: got {number!r}, expected a whole number")
        if self.size[0] < height or self.size[1] < width:
            raise SceneError(
                f"scene.height, scene.width: a {self.size[0]}x{self.size[1]} canvas cannot hold images of "
                f"{height}x{width}; make it at least that large (in Python: size=({height}, {width})), or scale the "
                f"images (of class folders: images.size; in Python: {scaled_in_python(*self.size)})"
            )
        if not 0 <= self.clutter <= MOST_CLUTTER:
            raise SceneError(f"scene.clutter: got {self.clutter}, expected 0 to {MOST_CLUTTER} patches")
        has_clutter = self.kind == "cluttered" and self.clutter > 0
        if has_clutter and not 1 <= self.clutter_size <= min(height, width):
            raise SceneError(
                f"scene.clutter_size: got {self.clutter_size}, "
                f"expected 1 to {min(height, width)}, the side of the images"
            )

    def __call__(
        self, seed: Int[Tensor, " lanes"], index: Int[Tensor, " lanes"], reuse: Tensor | None = None
    ) -> Scenes:
        """Build the scenes `index` of `seed`, one per lane, on the device of the images.

        `reuse` is the `pixels` of as many scenes that no one needs any more: fresh memory costs more than painting it.
        """
        pixels = self.images.pixels
        lanes, (channels, tall, wide) = len(index), pixels.shape[1:]
        height, width = self.size
        key = self.key(seed, index)
        # All draws at once: they are few numbers, and what costs is the number of operations.
        patches = self.clutter if self.kind == "cluttered" else 0
        draw = random_high(key, torch.arange(CLUTTER + 5 * patches, device=key.device)[:, None])
        total = len(self.images)
        image = scaled(draw[IMAGE], total) if self.split == "train" else index.to(pixels.device) % total
        if self.kind == "plain":
            row = torch.full_like(image, (height - tall) // 2)
            column = torch.full_like(image, (width - wide) // 2)
        else:
            row = scaled(draw[ROW], height - tall + 1)
            column = scaled(draw[COLUMN], width - wide + 1)

        rows, columns = self.border
        shape = (lanes, channels, height + 2 * rows, width + 2 * columns)
        canvas = torch.empty(shape, dtype=torch.uint8, device=pixels.device) if reuse is None else reuse
        canvas = canvas.zero_().view(lanes, channels, -1)
        squares = self._squares(row, column, tall, wide)[:, None].expand(-1, channels, -1)
        shown = pixels.index_select(0, image)
        if self.distortion and self.split == "train":
            shown = self.distortion(shown, key)
        canvas.scatter_(2, squares, shown.flatten(2))
        if patches:
            for patch, places in zip(*self._clutter(draw[CLUTTER:]), strict=True):
                # A patch touches no pixel twice. Sums that stop at 255 do not depend on their order.
                seen = canvas.gather(2, places).to(torch.int16) + patch
                canvas.scatter_(2, places, seen.clamp_(max=255).to(torch.uint8))
        canvas = canvas.view(shape)
        # Products, not quotients: see `without_border`.
        x, y = (2 * column + wide).float() * (1 / width) - 1, (2 * row + tall).float() * (1 / height) - 1
        place, label = torch.stack([x, y], dim=-1), self.images.labels.index_select(0, image)
        return Scenes(canvas, self.border, label, place, image, key)

    def key(self, seed: Int[Tensor, " lanes"], index: Int[Tensor, " lanes"]) -> Int[Tensor, " lanes"]:
        """The random stream of each scene."""
        device = self.images.pixels.device
        return scene_key(seed.to(device), SPLITS.index(self.split), index.to(device))

    def _clutter(self, draws: Int[Tensor, "draws lanes"]) -> tuple[Tensor, Tensor]:
        """For each patch its values (N, C, side²) and their places on the flattened canvas."""
        pixels, side = self.images.pixels, self.clutter_size
        count, channels, tall, wide = pixels.shape
        height, width = self.size
        of_source, of_cut_row, of_cut_column, of_row, of_column = draws.unflatten(0, (-1, 5)).unbind(1)
        source = scaled(of_source, count)
        cut_row, cut_column = scaled(of_cut_row, tall - side + 1), scaled(of_cut_column, wide - side + 1)
        patches = lift_patches(pixels, source, cut_row, cut_column, (side, side)).flatten(3)
        row, column = scaled(of_row, height - side + 1), scaled(of_column, width - side + 1)
        places = self._squares(row, column, side, side)
        return patches, places[:, :, None].expand(-1, -1, channels, -1)

    def _squares(self, row: Tensor, column: Tensor, tall: int, wide: int) -> Int[Tensor, "*batch pixels"]:
        """Flat positions in bordered canvases of tall × wide rectangles with these upper left corners on the canvas."""
        rows, columns = self.border
        stride = self.size[1] + 2 * columns
        down = torch.arange(tall, device=row.device)[:, None] * stride
        across = torch.arange(wide, device=row.device)
        return ((row + rows) * stride + column + columns)[..., None] + (down + across).flatten()
