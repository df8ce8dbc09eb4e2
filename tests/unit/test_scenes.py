"""A scene is a pure function of (seed, split, index), follows the cluttered-MNIST protocol and is drawn uniformly.

Oracle: `tests/scenes_by_hand.py`, the generator and the protocol written again in plain Python integers.
"""

from collections.abc import Callable
from typing import Any, cast

import jaxtyping
import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from envs.draws import GOLDEN, mix, random_bits, random_high, scaled, scene_key, uniform
from envs.glimpse import GlimpseVectorEnv
from envs.images import ImageData, ImageError, ImageSet
from envs.scenes import SPLITS, SceneError, SceneMaker
from tests.making import unchecked
from tests.scenes_by_hand import GAMMA, WRAP, Draws, mix_by_hand, scene_by_hand


def uniform_integer(key: Tensor, draw: int, below: int) -> Tensor:
    return scaled(random_high(key, draw), below)


def image_set(count: int, *shape: int, seed: int = 0) -> ImageSet:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 200, (count, *shape), dtype=torch.uint8, generator=generator)
    return ImageSet(pixels, torch.arange(count) % 10)


def test_images_that_lie_otherwise_in_memory_make_the_same_scenes():
    images = image_set(6, 3, 7, 8)
    turned = ImageSet(images.pixels.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2), images.labels)
    index = torch.arange(6)
    one, other = (
        SceneMaker(each, "test", "cluttered", (12, 13), 3, 4)(torch.zeros_like(index), index).pixels
        for each in (images, turned)
    )
    assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("pixels", "labels", "message"),
    [
        (torch.zeros(2, 1, 4, 4), torch.arange(2), "pixels of ImageSet: expected uint8 .* found torch.float32"),
        (torch.zeros(2, 4, 4, dtype=torch.uint8), torch.arange(2), r"found torch.uint8 of shape \(2, 4, 4\)"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.arange(3), r"labels of ImageSet: expected int64 \(2,\)"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(2), "labels of ImageSet: .* found torch.float32"),
    ],
)
def test_an_image_set_of_another_kind_is_refused(pixels: Tensor, labels: Tensor, message: str):
    with unchecked(), pytest.raises(ImageError, match=message):
        ImageSet(pixels, labels)


def constant_images(values: list[int], side: int = 4) -> ImageSet:
    pixels = torch.tensor(values, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, side, side).contiguous()
    return ImageSet(pixels, torch.arange(len(values)) % 2)


def lanes(seed: int, count: int, start: int = 0) -> tuple[Tensor, Tensor]:
    return torch.full((count,), seed), torch.arange(start, start + count)


def fits_uniform(values: Any, bound: int) -> None:
    """Chi-square over the cells 0 … bound - 1; at a fixed seed, p < 1e-4 is a defect and not bad luck."""
    values = np.asarray(values).ravel()
    assert values.min() >= 0
    assert values.max() < bound
    assert stats.chisquare(np.bincount(values, minlength=bound)).pvalue > 1e-4


# -------------------------------------------------------------------- the generator


def test_mix_gives_splitmix64s_published_outputs() -> None:
    """The first outputs of splitmix64.c from state 0."""
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    states = torch.arange(1, 4) * GOLDEN
    assert [int(value) & WRAP for value in mix(states)] == published
    assert [int(value) & WRAP for value in random_bits(torch.zeros(3).long(), torch.arange(3))] == published
    assert [mix_by_hand(k * GAMMA) for k in (1, 2, 3)] == published  # the oracle of this file, too


def test_the_generator_equals_plain_integers_bit_for_bit() -> None:
    seeds = [0, 1, 2**31, 2**32 + 7, 2**62, 2**63 - 1, 123456789]
    for split, name in enumerate(SPLITS):
        for index in (0, 1, 9999, 2**31 + 5, 2**40):
            keys = scene_key(torch.tensor(seeds), split, torch.tensor([index] * len(seeds)))
            by_hand = [Draws(seed, name, index) for seed in seeds]
            assert [int(key) & WRAP for key in keys] == [draws.key for draws in by_hand]
            for draw in (0, 5, 44, 2**20 + 1):
                assert [int(bits) & WRAP for bits in random_bits(keys, draw)] == [d.bits(draw) for d in by_hand]
                for bound in (1, 2, 33, 53, 55_000):
                    assert uniform_integer(keys, draw, bound).tolist() == [d.below(draw, bound) for d in by_hand]
                assert uniform(keys, draw).tolist() == [(d.bits(draw) >> 40) / 2**24 for d in by_hand]


def test_draw_numbers_may_be_a_tensor() -> None:
    keys = scene_key(*lanes(3, 4)[:1], 0, torch.arange(4))
    numbers = torch.tensor([0, 7, 31])
    for column, draw in enumerate(numbers.tolist()):
        assert torch.equal(random_bits(keys[:, None], numbers)[:, column], random_bits(keys, draw))


def test_uniform_lies_in_zero_to_one_without_one_and_is_uniform() -> None:
    """Along indices, along seeds, along draws: each is a way in which the agent walks through the stream."""
    many, same = torch.arange(50_000), torch.zeros(50_000).long()
    for values in (
        uniform(scene_key(same + 1, 0, many), 0),
        uniform(scene_key(many, 0, same), 3),
        uniform(scene_key(torch.tensor([9]), 2, torch.tensor([4])), many),
    ):
        assert values.dtype == torch.float32
        assert values.min() >= 0
        assert values.max() < 1
        assert stats.kstest(values.double().numpy(), "uniform").pvalue > 1e-4


@pytest.mark.parametrize("step", ["draw", "index", "seed", "split"])
def test_neighbours_in_the_stream_are_independent(step: str) -> None:
    """Chi-square of the joint 16 × 16 table of a draw and the one next to it."""
    same, many = torch.full((40_000,), 5), torch.arange(40_000)
    seed, index = (many, same) if step == "seed" else (same, many)
    one = uniform_integer(scene_key(seed, 0, index), 1, 16)
    other = {
        "draw": lambda: uniform_integer(scene_key(seed, 0, index), 2, 16),
        "index": lambda: uniform_integer(scene_key(seed, 0, index + 1), 1, 16),
        "seed": lambda: uniform_integer(scene_key(seed + 1, 0, index), 1, 16),
        "split": lambda: uniform_integer(scene_key(seed, 1, index), 1, 16),
    }[step]()
    fits_uniform(16 * one + other, 256)


# -------------------------------------------------------------------- the protocol


@pytest.mark.parametrize("kind", ["plain", "translated", "cluttered"])
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize(
    ("shape", "size", "clutter", "side"),
    [((1, 9, 9), (20, 20), 4, 4), ((3, 7, 10), (16, 25), 8, 5), ((1, 8, 6), (8, 6), 2, 6), ((1, 5, 5), (9, 6), 0, 1)],
)
def test_scenes_equal_the_protocol_written_in_plain_integers(
    kind: Any, split: Any, shape: tuple[int, int, int], size: tuple[int, int], clutter: int, side: int
) -> None:
    images = image_set(7, *shape)
    maker = SceneMaker(images, split, kind, size, clutter, side)
    seeds, indices = torch.tensor([0, 1, 1, 2**40, 77]), torch.tensor([0, 0, 1, 123_456, 2**33])
    scenes = maker(seeds, indices)
    assert scenes.canvas.dtype == torch.float32
    for lane in range(5):
        canvas, image, row, column = scene_by_hand(
            images, int(seeds[lane]), split, int(indices[lane]), kind, size, clutter, side
        )
        np.testing.assert_array_equal(scenes.canvas[lane], np.float32(canvas) * np.float32(1 / 255))
        assert scenes.image[lane] == image
        assert scenes.label[lane] == images.labels[image]
        middle = [2 * (column + shape[2] / 2) / size[1] - 1, 2 * (row + shape[1] / 2) / size[0] - 1]
        np.testing.assert_allclose(scenes.place[lane], middle, atol=1e-6)


@pytest.mark.parametrize("kind", ["translated", "cluttered"])
def test_any_batch_gives_the_same_scenes(kind: Any) -> None:
    maker = SceneMaker(image_set(11, 1, 8, 8), "train", kind, (24, 30), 3, 5)
    seeds, indices = lanes(42, 13, start=100)
    together = maker(seeds, indices)
    for batch in (1, 2, 5):
        for start in range(0, 13, batch):
            part = slice(start, start + batch)
            pieces = maker(seeds[part], indices[part])
            for field in ("pixels", "label", "place", "image"):
                assert torch.equal(getattr(together, field)[part], getattr(pieces, field)), field
    order = torch.randperm(13, generator=torch.Generator().manual_seed(0))
    assert torch.equal(maker(seeds[order], indices[order]).canvas, together.canvas[order])


@pytest.mark.parametrize("kind", ["plain", "translated", "cluttered"])
def test_a_border_is_background_around_the_same_scene(kind: Any) -> None:
    images, (seeds, indices) = image_set(11, 3, 8, 8), lanes(42, 13)
    bare = SceneMaker(images, "train", kind, (24, 30), 3, 5)(seeds, indices)
    bordered = SceneMaker(images, "train", kind, (24, 30), 3, 5, border=(4, 7))(seeds, indices)
    assert torch.equal(bordered.pixels, torch.nn.functional.pad(bare.pixels, (7, 7, 4, 4)))
    assert torch.equal(bordered.canvas, bare.canvas)
    assert torch.equal(bordered.place, bare.place)


def test_many_patches_do_not_overflow() -> None:
    white = ImageSet(torch.full((2, 1, 4, 4), 255, dtype=torch.uint8), torch.zeros(2, dtype=torch.long))
    seeds, indices = lanes(1, 2)
    for patches in (127, 128, 200):  # 200 x 255 is beyond 16 bits
        canvas = SceneMaker(white, "train", "cluttered", (4, 4), patches, 4)(seeds, indices).canvas
        assert torch.equal(canvas, torch.ones_like(canvas))


def test_seed_split_and_index_each_change_the_scene() -> None:
    images = image_set(50, 1, 8, 8)
    train = SceneMaker(images, "train", "cluttered", (30, 30), 4, 4)
    seeds, indices = lanes(1, 6)
    canvases = [
        train(seeds, indices),
        train(seeds + 1, indices),
        train(seeds, indices + 6),
        SceneMaker(images, "validation", "cluttered", (30, 30), 4, 4)(seeds, indices),
        SceneMaker(images, "test", "cluttered", (30, 30), 4, 4)(seeds, indices),
    ]
    flat = torch.cat([scenes.canvas for scenes in canvases]).flatten(1)
    assert len(flat.unique(dim=0)) == 30


@pytest.mark.parametrize("kind", ["translated", "cluttered"])
def test_the_image_lies_fully_inside_and_place_is_its_centre(kind: Any) -> None:
    """A white image on grey clutter: the bounding box of white is the image, to the pixel."""
    images = constant_images([255] * 3 + [10] * 3, side=5)
    size = (12, 19)
    scenes = SceneMaker(images, "test", kind, size, 2, 3)(*lanes(3, 300))
    for lane in range(300):
        if scenes.image[lane] >= 3:
            continue
        rows, columns = np.nonzero(scenes.canvas[lane, 0].numpy() == 1)
        if kind == "translated":
            assert len(rows) == 25
            middle = [columns.min() + columns.max() + 1, rows.min() + rows.max() + 1]
            np.testing.assert_allclose(scenes.place[lane], np.array(middle) / [19, 12] - 1, atol=1e-6)
        centre = (scenes.place[lane].double().numpy() + 1) / 2 * [19, 12]
        left, top = np.rint(centre - 2.5).astype(int)
        assert 0 <= left <= 19 - 5
        assert 0 <= top <= 12 - 5
        assert (scenes.canvas[lane, 0, top : top + 5, left : left + 5] == 1).all()


@pytest.mark.parametrize(("size", "top", "left"), [((4, 4), 0, 0), ((8, 12), 2, 4), ((9, 13), 2, 4)])
def test_plain_images_lie_in_the_middle(size: tuple[int, int], top: int, left: int) -> None:
    scenes = SceneMaker(constant_images([51, 51]), "train", "plain", size)(*lanes(0, 3))
    expected = torch.zeros(size)
    expected[top : top + 4, left : left + 4] = 0.2
    torch.testing.assert_close(scenes.canvas, expected.expand(3, 1, -1, -1))


def test_overlapping_brightness_adds_up_and_is_clamped_at_one() -> None:
    """Where the image fills the canvas, 2 patches of 60 over an image of 60 show 60, 120 and 180; 9 saturate."""
    few = SceneMaker(constant_images([60, 60]), "train", "cluttered", (4, 4), 2, 2)(*lanes(0, 200)).canvas
    assert set(torch.round(few * 255).unique().tolist()) == {60, 120, 180}
    many = SceneMaker(constant_images([60, 60]), "train", "cluttered", (4, 4), 9, 4)(*lanes(0, 5)).canvas
    assert (many == 1).all()


@pytest.mark.parametrize("split", ["validation", "test"])
def test_scene_i_of_validation_and_test_shows_image_i(split: Any) -> None:
    images = image_set(7, 1, 4, 4)
    maker = SceneMaker(images, split, "cluttered", (12, 12), 1, 2)
    assert maker(*lanes(5, 7)).image.tolist() == list(range(7))
    assert maker(*lanes(6, 10, start=5)).image.tolist() == [i % 7 for i in range(5, 15)]
    assert torch.equal(maker(*lanes(6, 7)).label, images.labels)


def test_splits_share_no_images_not_even_in_the_clutter() -> None:
    """Each split is painted in multiples of its own number; sums of up to 1 + 4 layers stay told apart."""
    data = ImageData(
        "painted",
        train=constant_images([51, 51]),
        validation=constant_images([13, 26]),
        test=constant_images([7, 14]),
        classes=("a", "b"),
        sha256="",
    )
    for split, unit in (("train", 51), ("validation", 13), ("test", 7)):
        env = GlimpseVectorEnv(
            60, images=data, split=split, size=(10, 10), clutter=4, clutter_size=4, glimpse_size=2, scales=1
        )
        env.reset(seed=0)
        values = torch.round(env.canvas * 255).long().unique()
        assert (values % unit == 0).all()
        assert len(values) > 4  # clutter overlapped: it is in the picture


# -------------------------------------------------------------------- uniformity


def test_training_images_are_drawn_uniformly() -> None:
    images = image_set(23, 1, 2, 2)
    fits_uniform(SceneMaker(images, "train", "translated", (4, 4))(*lanes(8, 20_000)).image, 23)


def test_an_image_lies_at_every_place_equally_often_the_last_included() -> None:
    size, tall, wide = (9, 12), 3, 4
    scenes = SceneMaker(image_set(3, 1, tall, wide), "train", "translated", size, clutter_size=1)(*lanes(9, 40_000))
    column = ((scenes.place[:, 0] + 1) / 2 * 12 - wide / 2).round().long()
    row = ((scenes.place[:, 1] + 1) / 2 * 9 - tall / 2).round().long()
    assert (int(row.max()), int(column.max())) == (9 - 3, 12 - 4)
    fits_uniform(row, 7)
    fits_uniform(column, 9)
    fits_uniform(row * 9 + column, 63)  # independent of each other
    fits_uniform((scenes.image * 7 + row) * 9 + column, 189)  # and of the image


def test_clutter_is_cut_and_placed_uniformly() -> None:
    """One patch of one pixel, the digit black: the value tells where it was cut, the place where it was put."""
    painted = torch.zeros(2, 1, 3, 4, dtype=torch.uint8)
    painted[1] = torch.arange(1, 13, dtype=torch.uint8).view(3, 4)
    maker = SceneMaker(ImageSet(painted, torch.tensor([0, 1])), "test", "cluttered", (5, 7), 1, 1)
    seed, index = lanes(10, 40_000)
    canvas = (maker(seed, 2 * index).canvas * 255).round().long().flatten(1)  # even scenes show image 0, which is black
    found = canvas.amax(dim=1)
    assert (canvas.count_nonzero(dim=1) <= 1).all()
    fits_uniform(found > 0, 2)  # the source
    cut, place = found[found > 0] - 1, canvas[found > 0].argmax(dim=1)
    fits_uniform(cut, 12)
    fits_uniform(place, 35)
    fits_uniform(cut * 35 + place, 420)


def test_patches_of_clutter_are_drawn_independently() -> None:
    """Two patches of one pixel, one image: all pairs of places equally often."""
    maker = SceneMaker(constant_images([1, 1], side=1), "train", "cluttered", (1, 6), 2, 1)
    canvas = (maker(*lanes(11, 30_000)).canvas * 255).round().long()[:, 0, 0]  # the image itself is a third pixel
    layers = np.unique(canvas.numpy(), axis=0, return_counts=True)
    # Three uniform throws into 6 cells: each outcome has probability 3! / (n_1! … n_6!) / 6^3.
    ways = [6 // np.prod([[1, 1, 2, 6][n] for n in row]) for row in layers[0]]
    assert sum(ways) == 216
    assert stats.chisquare(layers[1], 30_000 * np.array(ways) / 216).pvalue > 1e-4


# -------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("field", "came", "make"),
    [
        ("scene.kind", "scattered", lambda: SceneMaker(image_set(2, 1, 8, 8), "train", cast(Any, "scattered"))),
        ("split", "dev", lambda: SceneMaker(image_set(2, 1, 8, 8), cast(Any, "dev"))),
        ("scene.height, scene.width", "7x60", lambda: SceneMaker(image_set(2, 1, 8, 8), "train", size=(7, 60))),
        ("scene.height, scene.width", "60x7", lambda: SceneMaker(image_set(2, 1, 8, 8), "train", size=(60, 7))),
        ("scene.clutter", "-1", lambda: SceneMaker(image_set(2, 1, 8, 8), "train", clutter=-1)),
        ("scene.clutter_size", "0", lambda: SceneMaker(image_set(2, 1, 8, 8), "train", clutter_size=0)),
        ("scene.clutter_size", "9", lambda: SceneMaker(image_set(2, 1, 9, 8), "train", clutter_size=9)),
    ],
)
def test_an_error_names_the_field_and_what_came(
    field: str, came: str, make: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # or it would refuse the bad literals before us
    with pytest.raises(SceneError, match=rf"^{field}: .*{came}") as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("settings", [{"kind": "plain"}, {"kind": "translated"}, {"kind": "cluttered", "clutter": 0}])
def test_the_side_of_clutter_that_is_not_there_is_not_refused(settings: dict[str, Any]) -> None:
    maker = SceneMaker(image_set(2, 1, 4, 4), "train", size=(6, 6), **settings)
    assert maker.clutter_size > 4
    assert maker(*lanes(0, 2)).canvas.shape == (2, 1, 6, 6)
