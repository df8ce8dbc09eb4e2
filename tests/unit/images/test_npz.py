"""Arrays in .npz. Oracle: NumPy's own files."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from envs.images import load_images, load_test_images
from envs.parts import ImageWarning
from tests.image_files import cycle, everything, pictures, refused


def save(path: Path, **arrays: object) -> str:
    np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]
    return str(path)


@pytest.mark.parametrize("images_name", ["images", "x", "X", "data"])
@pytest.mark.parametrize("labels_name", ["labels", "y", "targets"])
def test_npz_without_splits_is_dealt_70_10_20(tmp_path: Path, images_name: str, labels_name: str) -> None:
    pixels, labels = pictures(100, 6, 5), cycle(100, 4)
    path = save(tmp_path / "set.npz", **{images_name: pixels, labels_name: labels, "note": np.array("n")})
    data = load_images(path)
    assert [len(data.train), len(data.validation), len(data.test)] == [70, 10, 20]
    assert data.name == "set.npz"
    expected = sorted((image.tobytes(), int(label)) for image, label in zip(pixels, labels, strict=True))
    assert everything(data) == expected
    assert data.test.labels.bincount().tolist() == [5, 5, 5, 5]
    assert load_images(path).sha256 == data.sha256
    name, test, classes = load_test_images(path)
    assert (name, classes) == ("set.npz", ("0", "1", "2", "3"))
    np.testing.assert_array_equal(test.pixels[:, 0].numpy(), pixels)
    np.testing.assert_array_equal(test.labels.numpy(), labels)


@pytest.mark.parametrize(
    "names",
    [
        ("x_train", "y_train", "x_test", "y_test", "x_val", "y_val"),
        (
            "train_images",
            "train_labels",
            "test_images",
            "test_labels",
            "val_images",
            "val_labels",
        ),  # MedMNIST
        ("X_train", "Y_train", "X_test", "Y_test", "X_valid", "Y_valid"),
    ],
)
def test_npz_with_splits_keeps_them(tmp_path: Path, names: tuple[str, ...]) -> None:
    counts = (24, 6, 5)
    arrays: dict[str, object] = {}
    for split, count in enumerate(counts):
        arrays[names[2 * split]] = pictures(count, 4, 4, seed=split)
        arrays[names[2 * split + 1]] = cycle(count)[:, None]  # (n, 1) as CIFAR-10 and MedMNIST have them
    data = load_images(save(tmp_path / "three.npz", **arrays))
    assert [len(data.train), len(data.validation), len(data.test)] == [24, 5, 6]
    for images, split in ((data.train, 0), (data.test, 1), (data.validation, 2)):
        np.testing.assert_array_equal(images.pixels[:, 0].numpy(), arrays[names[2 * split]])
    for name in names[4:]:
        del arrays[name]
    path = save(tmp_path / "two.npz", **arrays)
    data = load_images(path)
    assert [len(data.train), len(data.validation), len(data.test)] == [22, 2, 6]
    np.testing.assert_array_equal(load_test_images(path)[1].pixels[:, 0].numpy(), arrays[names[2]])


def test_npz_layouts_all_give_the_same_images(tmp_path: Path) -> None:
    grey, colour = pictures(20, 6, 6), pictures(20, 5, 6, 3)
    labels = cycle(20)
    for name, array in {
        "square": grey,
        "flat": grey.reshape(20, 36),
        "last": grey[..., None],
        "first": grey[:, None],
    }.items():
        _, test, _ = load_test_images(save(tmp_path / f"{name}.npz", x=array, y=labels))
        np.testing.assert_array_equal(test.pixels.numpy(), grey[:, None])
    for name, array in {"nhwc": colour, "nchw": colour.transpose(0, 3, 1, 2)}.items():
        path = save(tmp_path / f"{name}.npz", x=array, y=labels)
        _, test, _ = load_test_images(path)
        assert test.pixels.is_contiguous()
        np.testing.assert_array_equal(test.pixels.permute(0, 2, 3, 1).numpy(), colour)
        data = load_images(path)
        assert (data.image_size, data.channels) == ((5, 6), 3)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([0, 7, 255], np.uint8), [0, 7, 255]),
        (np.array([0, 7, 255], np.int64), [0, 7, 255]),
        (np.array([False, True, True]), [0, 255, 255]),
        (np.array([0, 1, 1], np.uint8), [0, 255, 255]),  # binarised
        (np.array([0, 1, 1], np.int64), [0, 255, 255]),
        (np.array([0, 2, 64], np.uint8), [0, 2, 64]),
        (np.array([0, 0.5, 1], np.float64), [0, 128, 255]),
        (np.array([0, 0.2, 1], np.float16), [0, 51, 255]),
        (np.array([0, 0.1, 0.3], np.float32), [0, 26, 76]),
        (np.array([0, 100.6, 255], np.float32), [0, 101, 255]),
    ],
)
def test_npz_values_become_eight_bits(tmp_path: Path, values: np.ndarray, expected: list[int]) -> None:
    images = np.broadcast_to(values[:, None, None], (3, 2, 2))
    _, test, _ = load_test_images(save(tmp_path / "a.npz", images=images, labels=[0, 1, 2]))
    assert test.pixels.dtype == torch.uint8
    assert test.pixels[:, 0, 0, 0].tolist() == expected


def test_npz_splits_share_one_scale(tmp_path: Path) -> None:
    """A test split that happens to be dark is still 0..255."""
    train, test = np.full((8, 2, 2), 200.0), np.full((4, 2, 2), 1.0)
    path = save(tmp_path / "a.npz", x_train=train, y_train=cycle(8), x_test=test, y_test=cycle(4))
    assert load_test_images(path)[1].pixels.unique().tolist() == [1]


@pytest.mark.parametrize("dtype", [np.float64, np.uint8])
def test_images_counted_to_16_as_scikit_learns_are_taken_as_they_are_with_a_word(
    tmp_path: Path, dtype: type[np.number]
) -> None:
    images = np.linspace(0, 16, 2 * 2 * 12).reshape(12, 2, 2).astype(dtype)
    with pytest.warns(ImageWarning) as told:
        data = load_images(save(tmp_path / "a.npz", images=images, labels=cycle(12)))
    (line,) = [str(each.message) for each in told]
    assert line.startswith(f"pixels of {tmp_path / 'a.npz'}[images]: all are below 64 of 255")
    assert "if 16 is to be white, scale them to 0..255" in line
    assert max(int(data.split(split).pixels.max()) for split in ("train", "validation", "test")) == 16


@pytest.mark.parametrize(
    ("labels", "classes", "mapped"),
    [
        ([3, 7, 3, 1], ("1", "3", "7"), [1, 2, 1, 0]),
        ([0, 10, 2, 10], ("0", "2", "10"), [0, 2, 1, 2]),
        (["dog", "cat", "cat", "eel"], ("cat", "dog", "eel"), [1, 0, 0, 2]),
        ([True, False, True, True], ("0", "1"), [1, 0, 1, 1]),
    ],
)
def test_labels_are_mapped_in_sorted_order_and_keep_their_names(
    tmp_path: Path, labels: list[object], classes: tuple[str, ...], mapped: list[int]
) -> None:
    _, test, names = load_test_images(save(tmp_path / "a.npz", x=pictures(4, 3, 3), y=labels))
    assert names == classes
    assert test.labels.tolist() == mapped


def test_labels_of_all_splits_are_counted_together(tmp_path: Path) -> None:
    path = save(
        tmp_path / "a.npz",
        x_train=pictures(12, 3, 3),
        y_train=cycle(12),
        x_test=pictures(2, 3, 3),
        y_test=[2, 1],
    )
    _, test, classes = load_test_images(path)
    assert classes == ("0", "1", "2")
    assert test.labels.tolist() == [2, 1]


class Payload:
    """Makes a folder when unpickled."""

    def __init__(self, folder: Path):
        self.folder = str(folder)

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (self.folder,)


def test_npz_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    made = tmp_path / "made"
    hostile = np.empty(1, dtype=object)
    hostile[0] = Payload(made)
    path = save(tmp_path / "a.npz", images=hostile, labels=[0])
    refused(lambda: load_images(path), path, "without pickles", "allow_pickle=False", "numpy.savez")
    hostile.dump(path)  # a bare pickle under the same name
    refused(lambda: load_images(path), path, "without pickles")
    assert not made.exists()
    np.load(path, allow_pickle=True)
    assert made.exists()  # the payload was live


NAN = np.zeros((4, 2, 2))
NAN[2, 1, 1] = np.nan
GREY = pictures(4, 2, 2)


@pytest.mark.parametrize(
    ("arrays", "fragments"),
    [
        ({"x": NAN, "y": cycle(4)}, ["pixels", "[x]", "finite values", "image 2"]),
        ({"x": np.where(np.isnan(NAN), np.inf, 0), "y": cycle(4)}, ["[x]", "NaN or infinity in image 2"]),
        ({"x": np.full((4, 2, 2), -1), "y": cycle(4)}, ["[x]", "0..255", "-1..-1"]),
        ({"x": np.full((4, 2, 2), 256), "y": cycle(4)}, ["[x]", "0..255", "256..256"]),
        ({"x": np.full((4, 2, 2), 300.0), "y": cycle(4)}, ["[x]", "0..255", "300..300"]),
        ({"x": np.full((4, 2, 2), -0.5), "y": cycle(4)}, ["[x]", "0..1", "-0.5..-0.5"]),
        ({"x": np.full((4, 2, 2), 1.01), "y": cycle(4)}, ["[x]", "0..1", "1.01..1.01", "scale or clip"]),
        ({"x": GREY.astype(complex), "y": cycle(4)}, ["[x]", "integers, floats or bool", "complex128"]),
        ({"x": GREY, "y": cycle(3)}, ["[y]", "one for each of the 4 images", "[x]", "found shape (3,)"]),
        ({"x": GREY, "y": np.eye(4)}, ["[y]", "one for each", "found shape (4, 4)", "argmax"]),
        ({"x": GREY, "y": [0, 1, -1, 2]}, ["[y]", "0 or more", "-1 for image 2"]),
        ({"x": GREY, "y": [0.0, 1.0, 2.0, 3.0]}, ["[y]", "integers or text", "float64"]),
        ({"x": GREY, "y": [5, 5, 5, 5]}, ["[y]", "two classes or more", "only '5'"]),
        ({"x": GREY[:0], "y": cycle(0)}, ["[x]", "one or more", "shape (0, 2, 2)"]),
        ({"x": pictures(4, 0, 2), "y": cycle(4)}, ["[x]", "shape (4, 0, 2)"]),
        ({"x": pictures(4, 5), "y": cycle(4)}, ["[x]", "square images", "shape (4, 5)"]),
        ({"x": pictures(4), "y": cycle(4)}, ["[x]", "shape (4,)"]),
        ({"x": np.uint8(3), "y": cycle(4)}, ["[x]", "shape ()"]),
        ({"x": pictures(4, 5, 5, 2), "y": cycle(4)}, ["[x]", "1 or 3 channels", "shape (4, 5, 5, 2)"]),
        ({"x": pictures(4, 3, 5, 3), "y": cycle(4)}, ["[x]", "shape (4, 3, 5, 3)"]),  # which is the channel?
        ({"x": GREY}, ["images and labels", "found x", "add what is missing"]),
        ({"pixels_of_cats": GREY, "y": cycle(4)}, ["images and labels", "found pixels_of_cats, y"]),
        ({"x": GREY, "images": GREY, "y": cycle(4)}, ["each once", "found x, images, y"]),
        ({"x": GREY, "y": cycle(4), "x_test": GREY, "y_test": cycle(4)}, ["each once", "x_test"]),
        ({"x_test": GREY, "y_test": cycle(4)}, ["a train split", "only test"]),
        (
            {"x_train": GREY, "y_train": cycle(4), "x_val": GREY, "y_val": cycle(4)},
            ["a test split", "only train, validation"],
        ),
        (
            {"x_train": GREY, "y_train": cycle(4), "x_test": pictures(4, 2, 3), "y_test": cycle(4)},
            ["image shape", "[x_test]", "(1, 2, 2)", "[x_train]", "found (1, 2, 3)"],
        ),
        (
            {"x_train": GREY, "y_train": cycle(4), "x_test": GREY, "y_test": list("abcd")},
            ["one kind in all splits", "text"],
        ),
        ({"x": GREY[:2], "y": cycle(2)}, ["3 or more, for three splits", "found 2", "add images"]),
        ({"x": GREY[:3], "y": cycle(3, 3)}, ["some of each class", "no image of '0' among the 1 left to train on"]),
    ],
)
def test_npz_refusals(tmp_path: Path, arrays: dict[str, object], fragments: list[str]) -> None:
    path = save(tmp_path / "a.npz", **arrays)
    refused(lambda: load_images(path), "a.npz", "expected", "found", *fragments)


@pytest.mark.parametrize(
    ("cut", "found"), [(0, "EOFError"), (1, "ValueError"), (100, "BadZipFile"), (400, "BadZipFile")]
)
def test_npz_that_is_cut_short_is_refused(tmp_path: Path, cut: int, found: str) -> None:
    path = Path(save(tmp_path / "a.npz", x=pictures(40, 4, 4), y=cycle(40)))
    path.write_bytes(path.read_bytes()[:cut])
    refused(lambda: load_images(str(path)), str(path), "a .npz file", found)


def test_npz_with_damaged_content_or_a_bare_array_is_refused(tmp_path: Path) -> None:
    path = Path(save(tmp_path / "a.npz", x=pictures(40, 4, 4), y=cycle(40)))
    content = bytearray(path.read_bytes())
    content[400] ^= 255
    path.write_bytes(content)
    refused(lambda: load_images(str(path)), str(path), "BadZipFile")
    with path.open("wb") as file:
        np.save(file, pictures(40, 4, 4))
    refused(lambda: load_images(str(path)), str(path), "a .npz file", "TypeError")


def test_one_split_divided_by_255_and_the_other_not_is_refused(tmp_path: Path) -> None:
    """Its images would all be black."""
    pixels, labels = pictures(40, 4, 4), cycle(40)
    arrays = {"y_train": labels, "y_test": labels}
    path = save(tmp_path / "a.npz", x_train=pixels / 255, x_test=pixels, **arrays)
    refused(lambda: load_images(path), "x_train", "one scale in all splits", "0..1 here, 0..255 in", "x_test")
    dark = save(tmp_path / "b.npz", x_train=pixels.astype(float), x_test=np.full((40, 4, 4), 0.5), **arrays)
    assert int(load_images(dark).test.pixels.max()) == 0  # of one kind it may be a dark split
    both = save(tmp_path / "c.npz", x_train=pixels / 255, x_test=pixels / 255, **arrays)
    np.testing.assert_array_equal(load_images(both).test.pixels[:, 0].numpy(), pixels)


@pytest.mark.parametrize(
    ("train", "test", "told"),
    [
        (["ape", "bee"] * 10, ["Ape", "bee"], "'Ape' in test alone (is it 'ape'?)"),
        ([1, 2, 3] * 10, [0, 1, 2], "'0' in test alone"),
    ],
)
def test_a_class_that_no_training_image_has_is_refused(tmp_path: Path, train: list, test: list, told: str) -> None:
    arrays = {"x_train": pictures(len(train), 4, 4), "x_test": pictures(len(test), 4, 4)}
    path = save(tmp_path / "a.npz", **arrays, y_train=np.array(train), y_test=np.array(test))
    refused(lambda: load_images(path), "y_test", "classes that training images have", told, "correct the label")


@pytest.mark.parametrize(("label", "told"), [("", "''"), ("a\nb", r"'a\nb'")])
def test_text_labels_are_checked_as_class_names_are(tmp_path: Path, label: str, told: str) -> None:
    path = save(tmp_path / "a.npz", images=pictures(30, 4, 4), labels=np.array([label, "b", "c"] * 10))
    refused(lambda: load_images(path), "labels", "a name for each label", told)


def test_a_label_beyond_63_bits_is_told_as_it_is(tmp_path: Path) -> None:
    labels = np.array([0, 1, 2**63 + 5] * 10, np.uint64)
    path = save(tmp_path / "a.npz", images=pictures(30, 4, 4), labels=labels)
    refused(lambda: load_images(path), "labels", "9223372036854775813 for image 2", "number the classes from 0")


def test_of_the_images_that_an_agent_was_trained_on_those_that_it_was_tested_on(tmp_path: Path) -> None:
    """Without splits all others are new to it, and shown whole."""
    path = save(tmp_path / "a.npz", images=pictures(30, 4, 4), labels=cycle(30))
    trained = load_images(path)
    name, test, classes = load_test_images(path, trained_on=trained.sha256)
    assert (name, classes) == (trained.name, trained.classes)
    assert torch.equal(test.pixels, trained.test.pixels)
    assert torch.equal(test.labels, trained.test.labels)
    assert len(load_test_images(path, trained_on="f" * 64)[1]) == 30
