"""Pictures on canvases: whole, in their proportions, in the middle; places found again. Oracle: Pillow itself."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from envs.images import ImageError, load_images
from envs.pictures import in_channels, lay, read_picture
from tests.photographs import COLOURS, make_photographs


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 256, shape, dtype=np.uint8)


def test_a_picture_of_the_right_size_is_left_as_it_is() -> None:
    pixels = noise(10, 14, 3)
    np.testing.assert_array_equal(lay(pixels, (10, 14), (10, 14)).pixels, pixels)
    laid = lay(pixels, (10, 14), (15, 20))
    np.testing.assert_array_equal(laid.pixels[2:12, 3:17], pixels)
    assert laid.pixels.sum() == pixels.sum()  # black elsewhere
    assert (laid.corner, laid.scale) == ((3, 2), (1, 1))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("size", "scaled"), [((40, 20), (20, 10)), ((30, 90), (10, 30)), ((5, 5), (20, 20))])
def test_a_picture_is_scaled_whole_and_in_its_proportions(
    size: tuple[int, int], scaled: tuple[int, int], channels: int
) -> None:
    pixels = noise(*size, channels)
    laid = lay(pixels, (20, 30), (24, 40))
    tall, wide = scaled
    row, column = (24 - tall) // 2, (40 - wide) // 2
    inside = laid.pixels[row : row + tall, column : column + wide]
    picture = Image.fromarray(pixels.squeeze()).resize((wide, tall), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(inside.squeeze(), np.asarray(picture))
    assert laid.pixels.sum() == inside.sum()


def test_a_place_on_the_canvas_is_found_again_on_the_picture() -> None:
    pixels = np.zeros((90, 160, 1), np.uint8)
    pixels[60:70, 30:40] = 255  # its middle: x 35, y 65
    laid = lay(pixels, (30, 40), (50, 60))
    row, column = np.unravel_index(laid.pixels[..., 0].argmax(), (50, 60))
    np.testing.assert_allclose(laid.on_picture(np.array([column + 0.5, row + 0.5])), (35, 65), atol=4)
    np.testing.assert_allclose(laid.on_picture(np.array(laid.corner, float)), (0, 0))


def test_colours_become_luminance_and_grey_three_equal_channels() -> None:
    colour, grey = noise(4, 5, 3), noise(4, 5, 1)
    np.testing.assert_allclose(in_channels(colour, 1)[..., 0], colour @ (0.299, 0.587, 0.114), atol=1)
    np.testing.assert_array_equal(in_channels(grey, 3), np.concatenate([grey] * 3, axis=2))
    assert in_channels(colour, 3) is colour


def test_a_photograph_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    picture, exif = Image.fromarray(noise(4, 6, 3)), Image.Exif()
    exif[0x0112] = 6  # Orientation: to be turned by 90° clockwise
    picture.save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), np.rot90(np.asarray(picture), -1))


def test_class_folders_of_photographs_of_any_size_are_read_at_one(tmp_path: Path) -> None:
    folder = make_photographs(tmp_path / "photos")
    with pytest.raises(
        ImageError, match=r"have all scaled to one size, no larger than the canvas: --images\.size \d+,\d+"
    ):
        load_images(str(folder))
    data = load_images(str(folder), size=(16, 24))
    assert (data.image_size, data.channels) == ((16, 24), 3)
    assert data.classes == tuple(sorted(COLOURS))
    first = read_picture(folder / "fox" / "000.png")
    expected = lay(first, (16, 24), (16, 24)).pixels.transpose(2, 0, 1)
    parts = (data.train, data.validation, data.test)
    assert any((image.numpy() == expected).all() for part in parts for image in part.pixels)


def test_images_that_are_of_one_size_by_themselves_are_not_scaled(tmp_path: Path) -> None:
    """A run over photographs has a size in its config, and may be measured on an `.npz`."""
    np.savez(tmp_path / "a.npz", images=noise(9, 4, 4), labels=np.arange(9) % 3)
    assert load_images(str(tmp_path / "a.npz"), size=(8, 8)).image_size == (4, 4)
