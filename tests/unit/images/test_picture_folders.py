"""A folder a class, a picture an image. Oracle: Pillow's own files."""

import re
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from PIL import Image

from envs.images import load_images, load_test_images
from envs.parts import ImageWarning
from tests.image_files import everything, pictures, refused


def draw(folder: Path, name: str, pixels: np.ndarray, mode: str | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(pixels)
    (picture.convert(mode) if mode else picture).save(folder / name)
    return folder / name


def test_picture_folder_has_a_class_for_each_folder(tmp_path: Path) -> None:
    source = pictures(30, 6, 5)
    for index, pixels in enumerate(source):
        suffix = ("png", "bmp", "GIF")[index % 3]
        draw(tmp_path / "set" / ("ox", "ant", "bee")[index // 10], f"{index:02}.{suffix}", pixels)
    (tmp_path / "set" / "README.txt").write_text("not a class")
    (tmp_path / "set" / "ant" / "notes.txt").write_text("not a picture")
    (tmp_path / "set" / ".cache").mkdir()
    name, test, classes = load_test_images(str(tmp_path / "set"))
    assert (name, classes) == ("set", ("ant", "bee", "ox"))
    assert test.labels.tolist() == [0] * 10 + [1] * 10 + [2] * 10
    np.testing.assert_array_equal(test.pixels[:, 0].numpy(), np.roll(source, -10, axis=0))
    data = load_images(str(tmp_path / "set"))
    assert [len(data.train), len(data.validation), len(data.test)] == [21, 3, 6]
    assert (data.channels, data.image_size) == (1, (6, 5))


@pytest.mark.parametrize("held_out", ["validation", "val", None])
def test_picture_folder_keeps_its_splits(tmp_path: Path, held_out: str | None) -> None:
    counts = {"train": 12, "test": 3} | ({held_out: 2} if held_out else {})
    for split, count in counts.items():
        for name in ("a", "b"):
            for index in range(count):
                draw(tmp_path / split / name, f"{index}.png", pictures(1, 4, 4, seed=index)[0])
    data = load_images(str(tmp_path))
    assert [len(data.train), len(data.validation), len(data.test)] == ([24, 4, 6] if held_out else [22, 2, 6])
    assert data.test.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.classes == ("a", "b")


def test_picture_colours(tmp_path: Path) -> None:
    colour, grey = pictures(1, 4, 4, 3)[0], pictures(1, 4, 4)[0]
    draw(tmp_path / "a", "1.png", colour)
    draw(tmp_path / "b", "1.png", grey)
    _, test, _ = load_test_images(str(tmp_path))
    np.testing.assert_array_equal(test.pixels[0].permute(1, 2, 0).numpy(), colour)
    np.testing.assert_array_equal(test.pixels[1].numpy(), np.stack([grey] * 3))


def test_one_picture_in_colour_makes_all_splits_rgb(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name in ("a", "b"):
            for index in range(6):
                draw(tmp_path / split / name, f"{index}.png", pictures(1, 4, 4, seed=index)[0])
    draw(tmp_path / "train" / "a", "red.png", pictures(1, 4, 4, 3)[0])
    data = load_images(str(tmp_path))
    assert (data.channels, len(data.test)) == (3, 12)
    np.testing.assert_array_equal(data.test.pixels[0].numpy(), np.stack([pictures(1, 4, 4, seed=0)[0]] * 3))


def test_picture_modes(tmp_path: Path) -> None:
    """What is transparent is background whatever colour lies under it; one-bit pictures are 0 and 255."""
    grey = pictures(1, 4, 4)[0]
    mask = np.array([[0, 255] * 2] * 4, np.uint8)
    Image.merge("LA", [Image.fromarray(grey), Image.fromarray(mask)]).save(draw(tmp_path / "a", "1.png", grey))
    draw(tmp_path / "b", "1.png", mask, mode="1")
    _, test, _ = load_test_images(str(tmp_path))
    np.testing.assert_array_equal(test.pixels[0, 0].numpy(), np.where(mask == 255, grey, 0))
    np.testing.assert_array_equal(test.pixels[1, 0].numpy(), mask)


def test_picture_jpeg_and_colour_palette(tmp_path: Path) -> None:
    """Against Pillow's own decoding; a palette with colours is RGB."""
    colour = np.kron(pictures(1, 2, 2, 3)[0], np.ones((8, 8, 1), np.uint8))
    jpeg = draw(tmp_path / "a", "1.jpeg", colour)
    draw(tmp_path / "b", "1.gif", np.zeros_like(colour) + np.array([255, 0, 0], np.uint8), mode="P")
    _, test, _ = load_test_images(str(tmp_path))
    with Image.open(jpeg) as picture:
        np.testing.assert_array_equal(test.pixels[0].permute(1, 2, 0).numpy(), np.asarray(picture))
    assert test.pixels[1].flatten(1).unique(dim=1).tolist() == [[255], [0], [0]]


def test_picture_folder_refusals(tmp_path: Path) -> None:
    source = str(tmp_path / "set")
    (tmp_path / "set").mkdir()
    refused(lambda: load_images(source), source, "a folder of pictures for each class", "found neither")
    (tmp_path / "set" / "notes.txt").write_text("")
    refused(lambda: load_images(source), source, "found neither")
    draw(tmp_path / "set" / "a", "1.png", pictures(1, 4, 4)[0])
    refused(lambda: load_images(source), source, "two classes or more", "only 'a'")
    odd = draw(tmp_path / "set" / "b", "2.png", pictures(1, 4, 5)[0])
    refused(lambda: load_images(source), str(odd), "4x4", "found 4x5", "--images.size 28,28")
    unread = draw(tmp_path / "set" / "c", "1.png", pictures(1, 4, 4)[0])
    unread.write_bytes(b"")  # all that follows is not even opened: photographs may be many
    refused(lambda: load_images(source), str(odd), "4x4", "found 4x5", "--images.size 28,28")
    unread.unlink(), unread.parent.rmdir()
    odd.write_bytes(odd.read_bytes()[:40])
    refused(lambda: load_images(source), str(odd), "a readable picture", "Error")
    odd.write_text("not a picture")
    refused(lambda: load_images(source), str(odd), "a readable picture", "UnidentifiedImageError")
    odd.unlink()
    refused(lambda: load_images(source), str(odd.parent), "pictures (png", "found none")
    deep = draw(tmp_path / "set" / "b", "3.png", np.zeros((4, 4), np.uint16))
    refused(lambda: load_images(source), str(deep), "8 bits a channel", "mode I")


def test_pictures_in_sub_folders_of_a_class_are_warned_of(tmp_path: Path) -> None:
    for name in ("a", "a/deep", "a/deep/er", "a/deep/.er", "b", "b/.hidden", "c"):
        draw(tmp_path / "set" / name, "1.png", pictures(1, 4, 4)[0])
        draw(tmp_path / "set" / name, "2.png", pictures(1, 4, 4)[0])
    (tmp_path / "set" / "a" / "deep" / "notes.txt").write_text("no picture")
    with pytest.warns(ImageWarning) as told:
        assert len(everything(load_images(str(tmp_path / "set")))) == 6
    (line,) = [str(each.message) for each in told]
    assert line == (
        f"{tmp_path / 'set'}: 4 pictures in sub-folders of a are not read; move up what belongs to the class"
    )


def test_a_class_whose_pictures_all_lie_in_sub_folders_is_refused_with_what_is_there(tmp_path: Path) -> None:
    draw(tmp_path / "a" / "deep", "1.png", pictures(1, 4, 4)[0])
    refused(lambda: load_images(str(tmp_path)), str(tmp_path / "a"), "none but 1 in sub-folders of it; move them up")


@pytest.mark.parametrize(("given", "size"), [(None, "28, 28"), ((70, 70), "60, 60")])  # of many sizes, too large
def test_the_size_that_pictures_are_told_to_take_in_python_can_be_taken(
    given: tuple[int, int] | None, size: str, tmp_path: Path
) -> None:
    """Neither `size` of an environment, which is its canvas, nor `images.size`, which is no keyword."""
    for number, name in enumerate("aaabbb"):
        draw(tmp_path / name, f"{number}.png", pictures(1, 70, 70 + number)[0])
    images = load_images(str(tmp_path), size=given) if given else str(tmp_path)
    with pytest.raises(ValueError, match="in Python") as caught:
        gymnasium.make("envs:ram/ClutteredMNIST-v0", images=images)
    told = re.search(r'images=(load_images\(FOLDER, size=\((.+?)\)\)) with "(.+?)"', str(caught.value))
    assert told
    assert told[2] == size
    space: dict[str, Any] = {"FOLDER": str(tmp_path)}
    exec(told[3], space)
    gymnasium.make("envs:ram/ClutteredMNIST-v0", images=eval(told[1], space)).reset(seed=1)


def test_the_canvas_that_large_images_are_told_to_take_in_python_can_be_taken(tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", images=pictures(20, 40, 48), labels=np.arange(20) % 2)
    with pytest.raises(ValueError, match="cannot hold images of 40x48") as caught:
        gymnasium.make("envs:ram/MNIST-v0", images=str(tmp_path / "two.npz"))
    told = re.search(r"that large \(in Python: size=\((\d+), (\d+)\)\)", str(caught.value))
    assert told
    size = (int(told[1]), int(told[2]))
    gymnasium.make("envs:ram/MNIST-v0", images=str(tmp_path / "two.npz"), size=size).reset(seed=1)


def test_pictures_without_labels_are_shown_as_files_by_the_suffixes_that_are_there(tmp_path: Path) -> None:
    folder = tmp_path / "my pictures"
    folder.mkdir()
    for name in ("a.JPG", "b.png", "c.png", "d.txt", ".e.gif"):
        (folder / name).touch()
    told = f"evaluate, render --images '{folder}'/*.png '{folder}'/*.JPG"
    for load in (load_images, load_test_images):
        refused(lambda load=load: load(str(folder)), "found pictures without labels", "a folder for each class", told)


def test_picture_folder_with_two_names_for_one_split_is_refused(tmp_path: Path) -> None:
    for split in ("train", "val", "valid"):
        draw(tmp_path / split / "a", "1.png", pictures(1, 4, 4)[0])
    refused(lambda: load_images(str(tmp_path)), str(tmp_path), "one folder a split", "train, val, valid")
