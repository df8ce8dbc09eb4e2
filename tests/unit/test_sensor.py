"""The eye reads what an independent reader reads at the same place, for every kernel, scale, channel and canvas shape.

Oracles: loops over zero-padded NumPy arrays (`crop`), SciPy's box filter and interpolation (`stn`), DRAW's equations in
float64 NumPy (`gaussian`), and the three kernels each other's where they must coincide.
"""

from collections.abc import Callable
from math import sqrt
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ram_agent.sensor import SENSORS, Bilinear, Crop, Gaussian, Sensor, Window, gaussian_mask, make_sensor, to_pixels

KINDS = sorted(SENSORS)
SOFT = ["gaussian", "stn"]
Array = NDArray[Any]


def random_canvas(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def window_at(
    pixels: Array | list[list[float]], size: tuple[int, int], stride: Any = 1.0, sigma: Any = 0.0, grad: bool = False
) -> Window:
    """A window in each lane, centred at pixel-edge coordinates (x, y): 0 is the left or upper border."""
    pixels = np.asarray(pixels, dtype=np.float64)
    centre = torch.from_numpy(2 * pixels / np.array([size[1], size[0]]) - 1)
    parts = [
        centre,
        *(torch.as_tensor(np.broadcast_to(part, pixels.shape).copy()).double() for part in (stride, sigma)),
    ]
    return Window(*(part.requires_grad_(grad) for part in parts))


def crop_by_hand(canvas: Array, x: float, y: float, side: int, scales: int) -> Array:
    """One lane: sample (i, j) of scale k is the mean of 2^k × 2^k pixels, added up one by one; outside is 0."""
    channels, height, width = canvas.shape
    glimpse = np.zeros((scales, channels, side, side))
    for k in range(scales):
        box = 2**k
        left, top = x - side * box / 2, y - side * box / 2
        assert left == int(left)
        assert top == int(top)
        for i, j, di, dj in np.ndindex(side, side, box, box):
            row, column = int(top) + i * box + di, int(left) + j * box + dj
            if 0 <= row < height and 0 <= column < width:
                glimpse[k, :, i, j] += canvas[:, row, column] / box**2
    return glimpse


def stn_by_hand(canvas: Array, x: float, y: float, stride: Array, side: int, scales: int) -> Array:
    """One lane: SciPy's box filter, then SciPy's linear interpolation, on a canvas with a wide border of zeros."""
    channels = len(canvas)
    glimpse = np.zeros((scales, channels, side, side))
    steps = np.arange(side) - (side - 1) / 2
    pad = 4 * 2**scales
    for k, channel in np.ndindex(scales, channels):
        # SciPy centres an even box of n on the edge before pixel i: its result i lies at pixel-edge coordinate i.
        # For n = 1 it is the pixel itself, whose middle lies at i + 1/2.
        filtered = ndimage.uniform_filter(np.pad(canvas[channel], pad), 2**k, mode="constant")
        to_index = pad - (0.5 if k == 0 else 0)
        columns = x + steps * stride[0] * 2**k + to_index
        rows = y + steps * stride[1] * 2**k + to_index
        at = np.meshgrid(rows, columns, indexing="ij")
        glimpse[k, channel] = ndimage.map_coordinates(filtered, at, order=1, mode="constant")
    return glimpse


def draw_filters(centre: float, stride: float, sigma: float, side: int, pixels: int) -> Array:
    """DRAW's filter bank, Gregor et al. 2015, eqs. 19 and 25, in their 1-based indices; pixel a lies at a - 1/2."""
    bank = np.zeros((side, pixels))
    for i in range(1, side + 1):
        mean = centre + (i - side / 2 - 0.5) * stride
        for a in range(1, pixels + 1):
            bank[i - 1, a - 1] = np.exp(-((a - 0.5 - mean) ** 2) / (2 * sigma**2))
    return bank / bank.sum(axis=1, keepdims=True)


# -------------------------------------------------------------------- convention


def test_the_border_is_at_one_and_pixel_i_of_n_at_two_i_plus_one_over_n_minus_one() -> None:
    size = (3, 5)
    edges = to_pixels(torch.tensor([[-1.0, -1.0], [1.0, 1.0], [0.0, 0.0]]), size)
    assert edges.tolist() == [[0, 0], [5, 3], [2.5, 1.5]]
    for i in range(5):
        assert to_pixels(torch.tensor([[(2 * i + 1) / 5 - 1, 0.0]]), size)[0, 0].item() == pytest.approx(i + 0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_at_centre_one_exactly_half_of_the_glimpse_lies_outside(kind: str) -> None:
    size = (16, 24)
    sensor = make_sensor(kind, size=6, scales=1, reach=1.0)
    for (x, y), inside in {
        (24, 8): np.s_[:, :3],
        (0, 8): np.s_[:, 3:],
        (12, 16): np.s_[:3],
        (12, 0): np.s_[3:],
    }.items():
        expected = np.zeros((6, 6))
        expected[inside] = 1
        seen = sensor(torch.ones(1, 1, *size).double(), window_at([[x, y]], size, 1.0, 0.05))
        np.testing.assert_allclose(seen[0, 0, 0], expected, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scales", [1, 2])
def test_x_is_horizontal_and_height_is_not_width(kind: str, scales: int) -> None:
    """One bright 4 × 4 block at column 30, row 6 of a 20 × 40 canvas is found there, and nowhere else."""
    size = (20, 40)
    canvas = torch.zeros(1, 1, *size).double()
    canvas[0, 0, 4:8, 28:32] = 1
    sensor = make_sensor(kind, size=4, scales=scales)
    at = {place: sensor(canvas, window_at([place], size, 1.0, 0.1)).sum().item() for place in [(30, 6), (6, 14)]}
    assert at[30, 6] > 15.9
    assert abs(at[6, 14]) < 1e-9
    # Shift the eye left and up by one pixel: the block moves right and down in the glimpse.
    finest = sensor(canvas, window_at([[29, 6]], size, 1.0, 0.1))[0, 0, 0]
    assert (finest[:, 1:] > 0.99).all()
    assert (finest[:, 0].abs() < 1e-9).all()
    finest = sensor(canvas, window_at([[30, 5]], size, 1.0, 0.1))[0, 0, 0]
    assert (finest[1:] > 0.99).all()
    assert (finest[0].abs() < 1e-9).all()


# -------------------------------------------------------------------- crop


@pytest.mark.parametrize(
    ("lanes", "channels", "size", "side", "scales"),
    [
        (12, 1, (20, 20), 4, 1),
        (12, 3, (17, 31), 6, 2),
        (12, 1, (40, 23), 4, 3),
        (6, 3, (19, 26), 2, 4),
        (8, 1, (13, 22), 5, 1),  # odd side: the centre is the middle of a pixel
        (1, 1, (14, 9), 8, 3),  # one lane; the coarsest scale is wider than the canvas
        (1, 3, (9, 14), 1, 1),
    ],
)
def test_crop_equals_pixels_averaged_one_by_one(
    lanes: int, channels: int, size: tuple[int, int], side: int, scales: int
) -> None:
    canvas = random_canvas(lanes, channels, *size)
    limits = np.array([size[1], size[0]])
    odd = side % 2 / 2
    centres = np.random.default_rng(1).integers(0, limits, size=(lanes, 2), endpoint=not odd) + odd
    corners = np.array([[0, 0], limits - 2 * odd, [0, limits[1] - 2 * odd], [limits[0] - 2 * odd, 0]]) + odd
    centres[: len(corners)] = corners[: len(centres)]
    seen = Crop(size=side, scales=scales, reach=1.0)(canvas, window_at(centres, size))
    assert seen.shape == (lanes, scales, channels, side, side)
    for lane, (x, y) in enumerate(centres):
        expected = crop_by_hand(canvas[lane].numpy(), x, y, side, scales)
        np.testing.assert_allclose(seen[lane], expected, atol=1e-12)


@pytest.mark.parametrize("size", [(12, 70), (70, 12)])
@pytest.mark.parametrize("reach", [0.6, 1.3])
def test_crop_reads_right_up_to_its_reach_on_narrow_canvases(size: tuple[int, int], reach: float) -> None:
    """The background kept around a canvas differs between its axes, and must do for the farthest centre on either."""
    sensor = Crop(size=4, scales=3, reach=reach)
    actions = torch.cartesian_prod(*[torch.linspace(-1, 1, 4).double()] * 2)
    canvas = random_canvas(16, 1, *size)
    seen = sensor(canvas, sensor.window(actions))
    for lane, action in enumerate(actions.numpy()):
        x, y = np.floor((action * reach + 1) / 2 * [size[1], size[0]] + 0.5)
        np.testing.assert_allclose(seen[lane], crop_by_hand(canvas[lane].numpy(), x, y, 4, 3), atol=1e-12)


@pytest.mark.parametrize(("side", "scales"), [(4, 1), (4, 2), (3, 1)])
def test_crop_rounds_to_the_nearest_whole_pixel_place(side: int, scales: int) -> None:
    """Truncation would be up to a whole pixel off, half a pixel on average."""
    size = (15, 22)
    canvas = random_canvas(1, 1, *size)
    places = np.random.default_rng(2).uniform(0, [22, 15], size=(60, 2))
    seen = Crop(size=side, scales=scales, reach=1.0)(canvas.expand(60, -1, -1, -1), window_at(places, size))
    whole = np.arange(-3, 40) + side % 2 / 2
    for lane, (x, y) in enumerate(places):
        nearest = [whole[np.abs(whole - place).argmin()] for place in (x, y)]
        np.testing.assert_allclose(seen[lane], crop_by_hand(canvas[0].numpy(), *nearest, side, scales), atol=1e-12)


def test_crop_reaches_every_place_from_the_first_border_to_the_last() -> None:
    """Actions swept over [-1, 1] land on all of 0 … W, the two ends as often as they should (half as often)."""
    sweep = 14 * 200
    canvas = torch.arange(1, 15.0).expand(sweep, 1, 10, 14)
    sensor = Crop(size=2, scales=1, reach=1.0)
    action = torch.zeros(sweep, 2)
    action[:, 0] = torch.linspace(-1, 1, sweep)
    seen = sensor(canvas, sensor.window(action))[:, 0, 0, 0]
    pairs, counts = np.unique(seen, axis=0, return_counts=True)
    expected = [[left, right] for left, right in zip([*range(15)], [*range(1, 15), 0], strict=True)]
    assert pairs.tolist() == expected
    assert (abs(counts[1:-1] - 200) <= 2).all()
    assert (abs(counts[[0, -1]] - 100) <= 2).all()


@pytest.mark.parametrize("scales", [1, 3])
def test_the_straight_through_slope_of_crop_is_half_the_difference_of_its_neighbours(scales: int) -> None:
    size, sensor = (21, 30), Crop(size=4, scales=scales)
    canvas = random_canvas(5, 2, *size)
    places = [[15.2, 10.1], [3.3, 2.2], [27.4, 18.9], [11.7, 19.9], [15.0, 10.5]]  # the middle, and every side
    window = window_at(places, size, grad=True)
    glimpse = sensor(canvas, window)
    np.testing.assert_array_equal(glimpse.detach(), sensor(canvas, window_at(places, size)))
    upstream = random_canvas(*glimpse.shape, seed=1) - 0.5
    (slope,) = torch.autograd.grad(glimpse, window.centre, upstream)
    for axis, extent in ((0, size[1]), (1, size[0])):
        step = np.eye(2)[axis]
        on, back = (sensor(canvas, window_at(np.array(places) + sign * step, size)) for sign in (1, -1))
        expected = (upstream * (on - back) / 2).flatten(1).sum(dim=1) * extent / 2  # a pixel is 2 / extent wide
        torch.testing.assert_close(slope[:, axis], expected)
    assert not sensor.differentiable


@pytest.mark.parametrize("kernel", SENSORS)
def test_neither_a_glimpse_nor_its_slope_is_rounded_to_half_precision(kernel: str) -> None:
    sensor = make_sensor(kernel, size=4, scales=3)
    canvas = (255 * random_canvas(2, 1, 21, 30)).to(torch.uint8)
    action = torch.linspace(-0.5, 0.5, 2 * sensor.window_parameters).view(2, -1).requires_grad_()
    expected = sensor(canvas, sensor.window(action))
    upstream = random_canvas(*expected.shape, seed=1).float()
    with torch.autocast("cpu", torch.bfloat16):
        glimpse = sensor(canvas, sensor.window(action))
    assert torch.equal(glimpse, expected)
    slopes = [torch.autograd.grad(each, action, upstream)[0] for each in (glimpse, expected)]
    assert torch.equal(*slopes)


def test_far_outside_crop_moves_in_alike_with_and_without_a_slope() -> None:
    size, sensor = (12, 16), Crop(size=4, scales=2, reach=0.5)
    canvas = random_canvas(2, 1, *size)
    places = [[-50.0, -50.0], [70.0, 80.0]]
    with_slope = sensor(canvas, window_at(places, size, grad=True))
    np.testing.assert_array_equal(with_slope.detach(), sensor(canvas, window_at(places, size)))


# -------------------------------------------------------------------- stn


@pytest.mark.parametrize("scales", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(21, 34), (150, 190)])
def test_stn_is_crop_at_whole_pixels_and_stride_one(scales: int, size: tuple[int, int]) -> None:
    canvas = random_canvas(16, 3, *size)
    centres = np.random.default_rng(scales).integers(0, [size[1], size[0]], size=(16, 2), endpoint=True)
    centres[:4] = [[0, 0], [size[1], size[0]], [0, size[0]], [size[1], 0]]
    window = window_at(centres, size)
    soft, hard = (kernel(size=4, scales=scales, reach=1.0) for kernel in (Bilinear, Crop))
    torch.testing.assert_close(soft(canvas, window), hard(canvas, window), atol=1e-10, rtol=0)


@pytest.mark.parametrize(
    ("size", "channels", "side", "scales"),
    [
        ((21, 31), 1, 5, 1),
        ((37, 52), 3, 6, 3),
        ((90, 130), 1, 5, 1),
        ((90, 130), 3, 4, 3),
        ((200, 300), 1, 4, 4),
    ],
)
def test_stn_equals_scipy_at_any_place_and_stride(size: tuple[int, int], channels: int, side: int, scales: int) -> None:
    lanes = 12
    sensor = Bilinear(size=side, scales=scales, reach=1.0, strides=(0.5, 2.0))
    canvas = random_canvas(lanes, channels, *size)
    rng = np.random.default_rng(3)
    centres = rng.uniform(0, [size[1], size[0]], size=(lanes, 2))
    strides = rng.uniform(0.5, 2.0, size=(lanes, 2))
    centres[:4] = [[0, 0], [size[1], size[0]], [0.3, size[0]], [size[1], 0.7]]
    strides[:4] = [
        [0.5, 2.0],
        [2.0, 2.0],
        [2.0, 0.5],
        [0.5, 0.5],
    ]  # the widest and the narrowest windows at the corners
    seen = sensor(canvas, window_at(centres, size, strides))
    for lane, (x, y) in enumerate(centres):
        expected = stn_by_hand(canvas[lane].numpy(), x, y, strides[lane], side, scales)
        np.testing.assert_allclose(seen[lane], expected, atol=1e-9)


@pytest.mark.parametrize("scales", [1, 3])
def test_stn_reads_a_stride_beyond_its_largest_as_that_one_on_any_canvas(scales: int) -> None:
    """As a window made by hand can have; canvases that are read whole, and not."""
    sensor = Bilinear(size=4, scales=scales)
    for size in ((14, 14), (120, 110)):
        canvas = random_canvas(3, 1, *size)
        centre = torch.tensor([[0.0, 0.0], [0.8, -0.3], [-1.0, 1.0]], dtype=torch.float64)
        far, farthest = (
            Window(centre, torch.full_like(centre, stride), torch.zeros_like(centre)) for stride in (3.7, 2.0)
        )
        assert sensor.strides[1] == 2.0
        torch.testing.assert_close(sensor(canvas, far), sensor(canvas, farthest))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("scales", "size"), [(1, (12, 14)), (1, (120, 90)), (3, (40, 50)), (3, (120, 150))])
def test_stn_is_torchs_grid_sample_of_box_averages_values_and_gradients(
    scales: int, size: tuple[int, int], channels: int
) -> None:
    """With actions all over their range, its 16 corners first; on a canvas that is read whole, and one that is not."""
    side, sensor = 6, Bilinear(size=6, scales=scales)
    assert sensor._is_local(size, torch.device("cpu")) == (size[0] == 120)
    canvas = random_canvas(50, channels, *size)
    action = torch.rand(50, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(4)) * 2 - 1
    action[:16] = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 4)
    action[16:32] = 0.97 * action[:16]

    def by_torch(window: Window) -> Tensor:
        glimpses = []
        for k in range(scales):
            maps = F.avg_pool2d(F.pad(canvas, (8, 8, 8, 8)), 2**k, stride=1)  # entry i averages i - 8 … i - 9 + 2^k
            middle = to_pixels(window.centre, size) + 8 - (2**k - 1) / 2
            steps = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
            place = middle[:, None] + 2**k * steps[:, None] * window.stride[:, None]
            x, y = 2 * place[..., 0] / maps.shape[-1] - 1, 2 * place[..., 1] / maps.shape[-2] - 1
            grid = torch.stack([x[:, None].expand(-1, side, -1), y[:, :, None].expand(-1, -1, side)], dim=-1)
            glimpses.append(F.grid_sample(maps, grid, align_corners=False))
        return torch.stack(glimpses, dim=1)

    seen, gradients = [], []
    for read in (by_torch, lambda window: sensor(canvas, window)):
        leaf = action.clone().requires_grad_()
        glimpse = read(sensor.window(leaf))
        glimpse.square().sum().backward()
        seen.append(glimpse)
        gradients.append(leaf.grad[16:])  # the corners themselves put samples on kinks, where either side is right
    torch.testing.assert_close(*seen, atol=1e-10, rtol=0)
    torch.testing.assert_close(*gradients, atol=1e-8, rtol=1e-8)
    assert (gradients[0].abs().amax(dim=0) > 1e-3).all()


# -------------------------------------------------------------------- gaussian


def test_gaussian_mask_is_draws_filter_bank() -> None:
    rng = np.random.default_rng(5)
    centre, stride, sigma = rng.uniform(6, 14, 9), rng.uniform(0.5, 1.2, 9), rng.uniform(0.25, 2.0, 9)
    mask = gaussian_mask(*map(torch.from_numpy, (centre, stride, sigma)), 7, 21)
    for lane in range(9):
        expected = draw_filters(centre[lane], stride[lane], sigma[lane], 7, 21)
        np.testing.assert_allclose(mask[lane], expected, atol=1e-12)
    torch.testing.assert_close(mask.sum(dim=-1), torch.ones(9, 7).double())


def test_gaussian_mask_far_outside_reads_nothing() -> None:
    """Without a floor under the normalisation the border pixel would be read with weight 1, from any distance."""
    mask = gaussian_mask(torch.tensor([-30.0, 51.0, 1e4]), torch.ones(3), torch.ones(3), 5, 21)
    assert mask.isfinite().all()
    assert (mask < 1e-12).all()


@pytest.mark.parametrize(("size", "channels", "scales"), [((18, 33), 1, 1), ((33, 18), 3, 3)])
def test_gaussian_glimpse_is_the_filter_banks_about_the_image(
    size: tuple[int, int], channels: int, scales: int
) -> None:
    """glimpse = A_y · image · A_xᵀ (DRAW, eq. 27), at scale k with stride and sigma times 2^k."""
    lanes, side = 5, 4
    canvas = random_canvas(lanes, channels, *size)
    rng = np.random.default_rng(6)
    centres = rng.uniform(0, [size[1], size[0]], size=(lanes, 2))
    strides, sigmas = rng.uniform(0.5, 1.5, (lanes, 2)), rng.uniform(2, 3, (lanes, 2))
    seen = Gaussian(size=side, scales=scales)(canvas, window_at(centres, size, strides, sigmas))
    for lane, k in np.ndindex(lanes, scales):
        across, down = (
            draw_filters(centres[lane, i], strides[lane, i] * 2**k, sigmas[lane, i] * 2**k, side, extent)
            for i, extent in ((0, size[1]), (1, size[0]))
        )
        expected = np.einsum("ih,chw,jw->cij", down, canvas[lane].numpy(), across)
        np.testing.assert_allclose(seen[lane, k], expected, atol=1e-10)


@pytest.mark.parametrize("side", [4, 5])
def test_gaussian_becomes_crop_as_sigma_vanishes(side: int) -> None:
    size = (19, 28)
    canvas = random_canvas(10, 3, *size)
    # Whole-pixel centres, the border's included: the samples of stride 1 lie on the middles of pixels.
    centres = np.random.default_rng(7).integers(0, [28, 19], size=(10, 2)) + side % 2 / 2
    centres[:4] = np.array([[0, 0], [0, 12], [10, 9], [20, 12]]) + side % 2 / 2
    inside = [
        2,
        3,
    ]  # the others meet the border, where rows of the filter bank are cut off: only the limit is the crop's
    hard = Crop(size=side, scales=1, reach=1.0)(canvas, window_at(centres, size))
    errors = []
    for sigma in (0.6, 0.4, 0.3, 0.2, 0.05):
        difference = (Gaussian(size=side, scales=1)(canvas, window_at(centres, size, 1.0, sigma)) - hard).abs()
        errors.append(difference[inside].max().item())
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.1
    assert difference.max() < 1e-12


# -------------------------------------------------------------------- what all kernels share


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(12, 16), (120, 160)])  # for stn: maps of the whole canvas, and of a neighbourhood
def test_a_window_far_outside_reads_zeros(kind: str, size: tuple[int, int]) -> None:
    sensor = make_sensor(kind, size=4, scales=3, reach=8.0)
    sides = np.array([[4, 0.5], [-3, 0.5], [0.5, 4], [0.5, -3], [4, -3]]) * [size[1], size[0]]
    away = sensor(torch.ones(5, 1, *size).double(), window_at(sides, size, 1.0, 0.5))
    assert (away.abs() < 1e-12).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(12, 16), (60, 70)])
@pytest.mark.parametrize(
    ("centre", "stride", "sigma"),
    [
        (0.0, 1e-45, 1e-45),
        (0.0, 1.0, 1e-38),
        (1e30, 1.0, 1.0),
        (-1e30, 1e30, 1e30),
        (3.4e38, 3.4e38, 3.4e38),
        (0.3, 3.4e38, 1.0),
        (0.0, 0.0, 0.0),
    ],
)
def test_no_window_reads_or_teaches_what_is_no_number(
    kind: str, size: tuple[int, int], centre: float, stride: float, sigma: float
) -> None:
    """In float32, whose tiniest and largest numbers these are; found by tests/fuzz/test_windows.py."""
    sensor = make_sensor(kind, size=4, scales=3)
    parts = [torch.full((1, 2), value, requires_grad=True) for value in (centre, stride, sigma)]
    glimpse = sensor(random_canvas(1, 1, *size).float(), Window(*parts))
    assert ((glimpse >= -1e-6) & (glimpse <= 1 + 1e-6)).all()
    gradients = torch.autograd.grad(glimpse.square().sum(), parts, allow_unused=True)
    assert all(gradient is None or gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("kind", ["crop", "stn"])
@pytest.mark.parametrize("offset", [(0, 0), (-1, 2), (5, -3), (-16, 15), (9, 14), (-12, -7)])
def test_one_bright_pixel_is_seen_at_the_same_offset_from_the_centre_at_every_scale(
    kind: str, offset: tuple[int, int]
) -> None:
    """Scales that are not concentric would see it elsewhere. The pixel spans offset … offset + 1 from the centre."""
    size, (x, y) = (60, 80), (43, 27)
    canvas = torch.zeros(1, 1, *size).double()
    canvas[0, 0, y + offset[1], x + offset[0]] = 1
    seen = make_sensor(kind, size=8, scales=3)(canvas, window_at([[x, y]], size))[0, :, 0]
    for k in range(3):
        expected = np.zeros((8, 8))
        column, row = ((part + 4 * 2**k) // 2**k for part in offset)
        if 0 <= row < 8 and 0 <= column < 8:
            expected[row, column] = 1 / 4**k
        np.testing.assert_allclose(seen[k], expected, atol=1e-12)


@pytest.mark.parametrize("size", [(30, 40), (200, 160)])  # `stn` reads them in two ways
@pytest.mark.parametrize("kind", KINDS)
def test_a_glimpse_of_white_is_no_brighter_than_white(kind: str, size: tuple[int, int]) -> None:
    """The environment promises observations in [0, 1], to the last bit; sums of weights are rounded."""
    sensor = make_sensor(kind, size=6, scales=3)
    generator = torch.Generator().manual_seed(0)
    actions = 2 * torch.rand(256, sensor.window_parameters, generator=generator) - 1
    for white in (torch.full((256, 1, *size), 255, dtype=torch.uint8), torch.ones(256, 1, *size)):
        seen = sensor(white, sensor.window(actions.requires_grad_()))
        assert seen.max() == 1
        assert seen.min() >= 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_disc_about_the_centre_is_seen_centred_at_every_scale(kind: str) -> None:
    size, (x, y) = (60, 80), (43, 27)
    rows, columns = np.mgrid[:60, :80] + 0.5
    canvas = torch.from_numpy(np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 60)[None, None])
    seen = make_sensor(kind, size=6, scales=3)(canvas, window_at([[x, y]], size, 1.0, 0.7))[0, :, 0]
    for mirrored in (seen.flip(-1), seen.flip(-2), seen.transpose(-1, -2)):
        torch.testing.assert_close(mirrored, seen, atol=1e-6, rtol=0)
    assert (seen[:, 2, 2] > 1.1 * seen[:, 0, 2]).all()  # and brightest there


@pytest.mark.parametrize("scales", [1, 3])
def test_gaussian_sees_an_offset_disc_at_its_offset_at_every_scale(scales: int) -> None:
    size, (x, y) = (120, 160), (83.25, 57.5)
    rows, columns = np.mgrid[:120, :160] + 0.5
    dx, dy = 2.3, -1.4
    canvas = torch.from_numpy(np.exp(-((rows - y - dy) ** 2 + (columns - x - dx) ** 2) / 2)[None, None])
    seen = Gaussian(size=16, scales=scales)(canvas, window_at([[x, y]], size, 1.0, 0.7))[0, :, 0]
    steps = torch.arange(16).double() - 7.5
    for k in range(scales):
        weight = seen[k] / seen[k].sum()
        centroid = [(weight.sum(dim=axis) * steps).sum().item() * 2**k for axis in (0, 1)]
        assert centroid == pytest.approx([dx, dy], abs=0.02)


@pytest.mark.parametrize("kind", SOFT)
@pytest.mark.parametrize("size", [(13, 17), (70, 90)])  # for stn: maps of the whole canvas, and of a neighbourhood
def test_the_gradient_to_the_window_is_the_finite_difference(kind: str, size: tuple[int, int]) -> None:
    sensor = make_sensor(kind, size=4, scales=2)
    canvas = random_canvas(3, 2, *size)
    middle = np.array([size[1], size[0]]) / 2
    centres = np.array([[0.313, -0.407], [2.109, 1.27], [-middle[0] + 0.67, middle[1] - 0.84]]) + middle
    strides = np.array([[1.1, 0.93], [0.77, 1.6], [1.37, 0.61]])
    window = window_at(centres, size, strides, [[0.8, 1.1]], grad=True)
    if kind == "stn":  # bilinear interpolation has kinks where a sample crosses from one pair of box means to the next
        steps = np.arange(4) - 1.5
        positions = np.concatenate(
            [(centres[..., None] + strides[..., None] * steps * 2**k - (0.5 if k == 0 else 0)).ravel() for k in (0, 1)]
        )
        assert np.abs(positions - np.rint(positions)).min() > 1e-3
    parts = window if kind == "gaussian" else window[:2]

    def read(*parts: Tensor) -> Tensor:
        return sensor(canvas, Window(*parts) if kind == "gaussian" else Window(*parts, window.sigma))

    assert torch.autograd.gradcheck(read, tuple(parts))
    gradients = torch.autograd.grad(read(*parts).square().sum(), parts)
    assert all((gradient.abs() > 1e-6).all() for gradient in gradients)  # no parameter is without one


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("side", "scales", "channels"), [(1, 1, 1), (4, 1, 1), (4, 3, 3)])
def test_lanes_do_not_touch_and_one_lane_is_a_batch(kind: str, side: int, scales: int, channels: int) -> None:
    sensor = make_sensor(kind, size=side, scales=scales)
    canvas = random_canvas(3, channels, 20, 26)
    action = torch.tensor([[-0.7, 0.2], [0.1, 0.9], [0.5, -0.5]]).double()
    action = torch.cat([action, torch.zeros(3, sensor.window_parameters - 2)], dim=1)
    together = sensor(canvas, sensor.window(action))
    assert together.shape == (3, scales, channels, side, side)
    for lane in range(3):
        one = slice(lane, lane + 1)
        alone = sensor(canvas[one], sensor.window(action[one]))
        assert alone.shape == (1, scales, channels, side, side)
        torch.testing.assert_close(alone, together[one])


@pytest.mark.parametrize("kind", KINDS)
def test_a_canvas_prepared_once_serves_every_look(kind: str) -> None:
    sensor = make_sensor(kind, size=4, scales=2)
    canvas = random_canvas(2, 1, 20, 26)
    retina = sensor.prepare(canvas)
    for value in (-0.5, 0.3):
        window = sensor.window(torch.full((2, sensor.window_parameters), value, dtype=torch.float64))
        torch.testing.assert_close(sensor.read(retina, window), sensor(canvas.clone(), window))


class Bytes(TorchDispatchMode):
    """Counts what the operations inside of it write (views write nothing)."""

    written = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        given = {part.untyped_storage().data_ptr() for part in args if isinstance(part, Tensor)}
        for part in result if isinstance(result, tuple | list) else [result]:
            if isinstance(part, Tensor) and part.untyped_storage().data_ptr() not in given:
                self.written += part.untyped_storage().nbytes()
        return result


@pytest.mark.parametrize("size", [(21, 33), (90, 130)])
@pytest.mark.parametrize("kind", KINDS)
def test_bytes_with_a_border_painted_around_them_are_read_like_bare_floats(kind: str, size: tuple[int, int]) -> None:
    sensor = make_sensor(kind, size=4, scales=3)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (6, 2, *size), generator=generator, dtype=torch.uint8)
    window = sensor.window(2 * torch.rand(6, sensor.window_parameters, generator=generator) - 1)
    expected = sensor(pixels.float() / 255, window)
    rows, columns = sensor.border(size)
    for border in ((0, 0), (rows, columns), (rows + 3, columns + 1)):  # less than wanted, as wanted, more
        bordered = F.pad(pixels, (border[1], border[1], border[0], border[0]))
        glimpse = sensor.read(sensor.prepare(bordered, border), window)
        torch.testing.assert_close(glimpse, expected, rtol=0, atol=2e-6)
    as_wanted = F.pad(pixels, (columns, columns, rows, rows))
    if kind == "crop":  # and is read where it lies
        assert sensor.prepare(as_wanted, (rows, columns)).data.data_ptr() == as_wanted.data_ptr()


@pytest.mark.parametrize("kind", ["crop", "stn"])
def test_a_look_at_a_large_canvas_writes_no_more_than_one_at_a_small_one(kind: str) -> None:
    sensor = make_sensor(kind, size=4, scales=2)
    written = []
    for side in (64, 256):
        retina = sensor.prepare(torch.rand(2, 1, side, side))
        with Bytes() as counter:
            sensor.read(retina, sensor.window(torch.zeros(2, sensor.window_parameters)))
        written.append(counter.written)
    assert written[0] == written[1] > 0


# -------------------------------------------------------------------- actions, boxes, rest


@pytest.mark.parametrize("kind", KINDS)
def test_an_action_names_the_centre_linearly_and_the_widths_log_linearly(kind: str) -> None:
    sensor = make_sensor(kind, reach=0.8, strides=(0.5, 3.0), sigmas=(0.2, 1.7))
    for value in (-1.0, -0.4, 0.0, 0.25, 1.0):
        for parameter in range(sensor.window_parameters):
            action = torch.zeros(2, sensor.window_parameters).double()
            action[:, parameter] = value
            window = sensor.window(action)
            share = (value + 1) / 2  # between the bounds, of their ratio
            still = {"centre": 0.0, "stride": sqrt(0.5 * 3.0), "sigma": sqrt(0.2 * 1.7)}
            moved = {"centre": 0.8 * value, "stride": 0.5 * 6.0**share, "sigma": 0.2 * 8.5**share}
            still |= {"stride": 1.0} if kind == "crop" else {}
            still |= {} if kind == "gaussian" else {"sigma": 0.0}
            for index, name in enumerate(("centre", "stride", "sigma")):
                expected = [moved[name] if parameter == 2 * index + axis else still[name] for axis in (0, 1)]
                np.testing.assert_allclose(getattr(window, name), [expected] * 2, atol=1e-12)


@pytest.mark.parametrize("kind", SOFT)
@pytest.mark.parametrize("size", [(60, 60), (40, 66)])
def test_the_eye_at_rest_covers_the_canvas_with_its_coarsest_scale(kind: str, size: tuple[int, int]) -> None:
    sensor = make_sensor(kind, size=12, scales=3)
    window = sensor.window(torch.tensor([sensor.rest(size)]).double())
    boxes = sensor.boxes(window, size)
    np.testing.assert_allclose(boxes[0, -1], [0, 0, size[1], size[0]], atol=1e-4)
    if kind == "gaussian":  # neighbouring Gaussians overlap: sigma is half the stride
        np.testing.assert_allclose(window.sigma, window.stride / 2, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("size", "stride"), [((400, 500), 2.0), ((13, 12), 0.5)])
def test_the_eye_at_rest_stays_within_bounds(kind: str, size: tuple[int, int], stride: float) -> None:
    sensor = make_sensor(kind, size=12, scales=3)
    rest = sensor.rest(size)
    assert len(rest) == sensor.window_parameters
    assert all(abs(value) <= 1 for value in rest)
    window = sensor.window(torch.tensor([rest]))
    assert window.centre.tolist() == [[0, 0]]
    assert window.stride.flatten().tolist() == pytest.approx([1.0, 1.0] if kind == "crop" else [stride] * 2)


def test_rest_is_the_middle_of_bounds_that_leave_no_choice() -> None:
    sensor = Gaussian(strides=(1.0, 1.0), sigmas=(0.5, 0.5))
    window = sensor.window(torch.tensor([sensor.rest((60, 60))]))
    assert window.stride.tolist() == [[1, 1]]
    assert window.sigma.tolist() == [[0.5, 0.5]]


@pytest.mark.parametrize(("side", "scales"), [(4, 3), (3, 1)])
def test_the_boxes_of_a_crop_hold_exactly_the_pixels_that_it_reads(side: int, scales: int) -> None:
    """Which pixels it reads is asked of the gradient to the canvas."""
    size = (21, 30)
    sensor = Crop(size=side, scales=scales, reach=1.0)
    actions = torch.rand(20, 2, generator=torch.Generator().manual_seed(8)) * 2 - 1
    actions[:2] = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    boxes = sensor.boxes(sensor.window(actions), size)
    canvas = torch.rand(20, 1, *size, requires_grad=True)
    glimpse = sensor(canvas, sensor.window(actions))
    for k in range(scales):
        (read,) = torch.autograd.grad(glimpse[:, k].sum(), canvas, retain_graph=True)
        for lane in range(20):
            left, top, right, bottom = boxes[lane, k].tolist()
            expected = np.zeros(size, dtype=bool)
            expected[max(0, int(top)) : max(0, int(bottom)), max(0, int(left)) : max(0, int(right))] = True
            assert (right - left, bottom - top) == (side * 2**k, side * 2**k)
            np.testing.assert_array_equal(read[lane, 0].numpy() != 0, expected)


@pytest.mark.parametrize("kind", SOFT)
def test_the_boxes_of_a_soft_window_span_its_strides(kind: str) -> None:
    sensor = make_sensor(kind, size=6, scales=2)
    window = window_at([[20, 9]], (30, 50), [[0.5, 1.5]], 1.0)
    expected = [[[20 - 1.5, 9 - 4.5, 20 + 1.5, 9 + 4.5], [20 - 3, 9 - 9, 20 + 3, 9 + 9]]]
    np.testing.assert_allclose(sensor.boxes(window, (30, 50)), expected, atol=1e-12)


# -------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("field", "make"),
    [
        ("size", lambda: Crop(size=0)),
        ("size", lambda: Crop(size=5, scales=2)),
        ("size", lambda: Bilinear(size=5, scales=2)),
        ("scales", lambda: Gaussian(scales=0)),
        ("scales", lambda: Crop(scales=9)),
        ("reach", lambda: Crop(reach=0.0)),
        ("reach", lambda: Crop(reach=1e30)),
        ("strides", lambda: Bilinear(strides=(2.0, 1.0))),
        ("strides", lambda: Bilinear(strides=(0.0, 1.0))),
        ("sigmas", lambda: Gaussian(sigmas=(-1.0, 1.0))),
        ("sigmas", lambda: Gaussian(sigmas=(1e-300, 1.0))),
        ("size", lambda: Crop(size=12).check((11, 30))),
        ("size", lambda: Crop(size=12).check((30, 11))),
        ("kind", lambda: make_sensor("retina")),
    ],
)
def test_an_error_names_the_field_and_what_came(field: str, make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=rf"^sensor {field}: got .+, expected .+") as caught:
        make()
    assert "\n" not in str(caught.value)


def test_what_fits_is_not_refused() -> None:
    sensors: list[Sensor] = [Crop(size=5, scales=1), Gaussian(size=5, scales=3), Bilinear(size=5, scales=1)]
    for sensor in sensors:
        sensor.check((5, 5))
