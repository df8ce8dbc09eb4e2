"""Distortions of training images. Oracle: the formula of `Distortion` in floats, read by scipy's bilinear sampler."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.interpolate import RegularGridInterpolator
from scipy.ndimage import map_coordinates
from torch import Tensor

from envs.distortion import FIRST_DRAW, KNOTS, Distortion, DistortionError
from envs.draws import random_high, scene_key
from envs.images import ImageSet
from envs.scenes import SceneMaker


def smooth_images(count: int, *shape: int) -> Tensor:
    """Blobs: of noise, a rounding of the place by 2^-8 pixels would be seen."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(count, shape[0], 5, 5, generator=generator)
    fine = torch.nn.functional.interpolate(coarse, size=shape[1:], mode="bilinear")
    return (fine * 255).to(torch.uint8)


def keys(count: int, seed: int = 3) -> Tensor:
    return scene_key(torch.full((count,), seed), 0, torch.arange(count))


def distorted_by_hand(image: NDArray[Any], key: Tensor, affine: float, elastic: float) -> NDArray[Any]:
    """One image (C, H, W)."""
    tall, wide = image.shape[1:]
    number = 2 + KNOTS**2
    draws = random_high(key.expand(2 * number), FIRST_DRAW + torch.arange(2 * number)).double().numpy() / 2**31
    amounts = (2 * draws - 1).reshape(2, number)
    place = np.stack(np.meshgrid(np.arange(tall), np.arange(wide), indexing="ij")).astype(float)
    offset = place - np.array([(tall - 1) / 2, (wide - 1) / 2])[:, None, None]
    knots_at = (np.linspace(0, tall - 1, KNOTS), np.linspace(0, wide - 1, KNOTS))
    source = place.copy()
    for axis in (0, 1):
        linear, knots = affine * amounts[axis, :2], elastic * amounts[axis, 2:].reshape(KNOTS, KNOTS)
        source[axis] += linear[0] * offset[0] + linear[1] * offset[1]
        source[axis] += RegularGridInterpolator(knots_at, knots)(np.moveaxis(place, 0, -1))
    return np.stack([map_coordinates(np.pad(plane, 1), source + 1, order=1) for plane in image.astype(float)])


@pytest.mark.parametrize("size", [(28, 28), (16, 31)])
@pytest.mark.parametrize(("affine", "elastic"), [(0.15, 0.0), (0.0, 1.5), (0.3, 3.0)])
def test_an_image_is_read_where_the_formula_says(size: tuple[int, int], affine: float, elastic: float) -> None:
    images, streams = smooth_images(5, 2, *size), keys(5)
    ours = Distortion(affine, elastic)(images, streams)
    theirs = [distorted_by_hand(i.numpy(), k, affine, elastic) for i, k in zip(images, streams, strict=True)]
    far = np.abs(ours.numpy() - np.stack(theirs))
    # Places are rounded to 2^-8 pixels, which the slope at an image's border makes the most of.
    assert far.max() < 4
    assert far.mean() < 0.4
    assert np.abs(images.numpy() - np.stack(theirs)).mean() > 10 * far.mean()


def test_an_image_of_one_row_is_bent_along_it() -> None:
    bent = Distortion(0.2, 2.0)(smooth_images(3, 1, 1, 9), keys(3))
    assert bent.shape == (3, 1, 1, 9)


def test_no_distortion_changes_nothing() -> None:
    images = smooth_images(4, 1, 12, 10)
    assert not Distortion()
    assert torch.equal(Distortion()(images, keys(4)), images)


def test_an_image_does_not_hang_on_its_batch() -> None:
    images, streams, bend = smooth_images(6, 3, 14, 14), keys(6), Distortion(0.2, 2.0)
    together = bend(images, streams)
    assert torch.equal(torch.cat([bend(images[i : i + 1], streams[i : i + 1]) for i in range(6)]), together)


def test_only_training_images_are_bent_and_clutter_never() -> None:
    images = ImageSet(smooth_images(4, 1, 12, 12), torch.arange(4))
    seed, index = torch.full((8,), 2), torch.arange(8)

    def canvases(split: Any, distortion: Distortion, kind: Any = "cluttered") -> Tensor:
        return SceneMaker(images, split, kind, (30, 30), 3, 6, distortion=distortion)(seed, index).canvas

    bend = Distortion(0.2, 2.0)
    for split in ("validation", "test"):
        assert torch.equal(canvases(split, bend), canvases(split, Distortion()))
    assert not torch.equal(canvases("train", bend), canvases("train", Distortion()))

    plain = SceneMaker(images, "train", "translated", (30, 30), distortion=bend)(seed, index)
    cluttered = SceneMaker(images, "train", "cluttered", (30, 30), 3, 6, distortion=bend)(seed, index)
    as_they_are = SceneMaker(images, "train", "cluttered", (30, 30), 3, 6)(seed, index)
    assert torch.equal(plain.place, cluttered.place)
    row, column = 0, 1
    away = torch.ones_like(plain.canvas, dtype=torch.bool)
    for lane, place in enumerate(plain.place):
        middle = [int((float(place[1 - axis]) + 1) * 15 - 6) for axis in (row, column)]
        away[lane, :, middle[0] : middle[0] + 12, middle[1] : middle[1] + 12] = False
    assert torch.equal(cluttered.canvas[away], as_they_are.canvas[away])


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"affine": 0.6}, "scene.affine: got 0.6, expected"),
        ({"affine": -0.1}, "scene.affine: got -0.1"),
        ({"affine": float("nan")}, "scene.affine: got nan"),
        ({"elastic": -1.0}, "scene.elastic: got -1.0"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, float], says: str) -> None:
    with pytest.raises(DistortionError, match=says):
        Distortion(**settings)
