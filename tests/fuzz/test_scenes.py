"""Scenes at the extremes of size, clutter, channels, seeds and numbers, held against the protocol in plain integers."""

from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from envs.distortion import Distortion
from envs.image_set import ImageSet
from envs.scenes import KINDS, SPLITS, SceneMaker
from tests.fuzzing import fuzz
from tests.scenes_by_hand import scene_by_hand

any_seed = st.integers(-(2**63), 2**63 - 1)


@st.composite
def image_sets(draw: st.DrawFn) -> ImageSet:
    count, side = st.integers(1, 5), st.sampled_from([1, 2, 3, 8, 13])
    shape = (draw(count), draw(st.integers(1, 4)), draw(side), draw(side))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    darkest = draw(st.sampled_from([0, 200, 255]))
    pixels = torch.randint(darkest, 256, shape, generator=generator).to(torch.uint8)
    return ImageSet(pixels, torch.arange(shape[0]) % 3)


@st.composite
def makers(draw: st.DrawFn, images: ImageSet) -> SceneMaker:
    tall, wide = images.pixels.shape[-2:]
    beside = st.sampled_from([0, 1, 2, 17, 50])
    settings: dict[str, Any] = {
        "kind": draw(st.sampled_from(KINDS)),
        "size": (tall + draw(beside), wide + draw(beside)),
        "clutter": draw(st.sampled_from([0, 1, 4, 30])),
        "clutter_size": draw(st.integers(1, min(tall, wide))),
        "border": (draw(st.sampled_from([0, 1, 40])), draw(st.sampled_from([0, 1, 40]))),
    }
    return SceneMaker(images, draw(st.sampled_from(SPLITS)), **settings)


pairs = st.lists(any_seed, min_size=2, max_size=2)


@fuzz(2.0, maker=image_sets().flatmap(makers), seeds=pairs, numbers=pairs)
def test_any_scene_is_the_protocols(maker: SceneMaker, seeds: list[int], numbers: list[int]) -> None:
    images, split, (height, width) = maker.images, maker.split, maker.size
    tall, wide = images.pixels.shape[-2:]
    scenes = maker(torch.tensor(seeds), torch.tensor(numbers))
    assert scenes.pixels.sum() == scenes.pixels[..., slice(*inner(maker.border[0], height)), :].sum()
    for lane, (seed, number) in enumerate(zip(seeds, numbers, strict=True)):
        canvas, image, row, column = scene_by_hand(
            images, seed, split, number, maker.kind, maker.size, maker.clutter, maker.clutter_size
        )
        painted = scenes.pixels[lane, :, slice(*inner(maker.border[0], height)), slice(*inner(maker.border[1], width))]
        np.testing.assert_array_equal(painted.numpy(), canvas)
        assert int(scenes.image[lane]) == image
        assert int(scenes.label[lane]) == int(images.labels[image])
        middle = np.array([(2 * column + wide) / width - 1, (2 * row + tall) / height - 1])
        np.testing.assert_allclose(scenes.place[lane].numpy(), middle, atol=1e-6)
    assert scenes.canvas.min() >= 0
    assert scenes.canvas.max() <= 1


def inner(border: int, extent: int) -> tuple[int, int]:
    return border, border + extent


beside = st.integers(0, 9)
bends = st.builds(Distortion, affine=st.floats(0, 0.5), elastic=st.floats(0, 64))


@fuzz(1.0, images=image_sets(), beside=st.tuples(beside, beside), bend=bends, seeds=pairs, numbers=pairs)
def test_any_distortion_bends_the_image_and_nothing_else(
    images: ImageSet, beside: tuple[int, int], bend: Distortion, seeds: list[int], numbers: list[int]
) -> None:
    """Together as alone; no brighter than it was; and outside its square, without clutter, there is nothing."""
    tall, wide = images.pixels.shape[-2:]
    size = (tall + beside[0], wide + beside[1])
    maker = SceneMaker(images, "train", "translated", size, distortion=bend)
    straight = SceneMaker(images, "train", "translated", size)
    which = torch.tensor(seeds), torch.tensor(numbers)
    bent, as_it_was = maker(*which), straight(*which)
    assert torch.equal(bent.place, as_it_was.place)
    assert torch.equal(bent.label, as_it_was.label)
    for lane in range(2):
        alone = maker(*(part[lane : lane + 1] for part in which))
        assert torch.equal(alone.pixels[0], bent.pixels[lane])
        column = round(((float(bent.place[lane, 0]) + 1) * size[1] - wide) / 2)
        row = round(((float(bent.place[lane, 1]) + 1) * size[0] - tall) / 2)
        rest = bent.pixels[lane].clone()
        rest[:, row : row + tall, column : column + wide] = 0
        assert not rest.any()
        assert bent.pixels[lane].max() <= images.pixels[int(bent.image[lane])].max()
    if not maker.distortion:
        assert torch.equal(bent.pixels, as_it_was.pixels)
