"""Which source a name means, and what is handed on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from envs.images import load_images, load_test_images
from tests.image_files import cycle, pictures, refused, rows, write_idx


@pytest.mark.parametrize("load", [load_images, load_test_images])
def test_unknown_source_lists_the_names_and_the_nearest(load: Callable[[str], object], tmp_path: Path) -> None:
    refused(lambda: load("minst"), "auto, mnist, digits", "'minst'", "did you mean 'mnist'?")
    refused(lambda: load("digit"), "did you mean 'digits'?")
    (tmp_path / "fashion.npz").touch()
    wrong = str(tmp_path / "fashon.npz")
    refused(lambda: load(wrong), repr(wrong), f"did you mean {str(tmp_path / 'fashion.npz')!r}?")
    refused(lambda: load(""), "auto, mnist, digits", "found ''")


def test_source_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.touch()
    refused(lambda: load_images(str(path)), str(path), "a folder or a .npz file", "'.tar'", "give the folder")


def test_foreign_data_never_bears_the_name_of_mnist(tmp_path: Path) -> None:
    write_idx(tmp_path / "mnist", {("train", "images"): pictures(20, 3, 3), ("train", "labels"): cycle(20)})
    assert load_images(str(tmp_path / "mnist")).name == f"{tmp_path.name}/mnist"


def test_test_images_of_the_built_in_sources_are_their_test_split() -> None:
    for source in ("digits", "auto"):
        name, test, classes = load_test_images(source)
        assert (name, len(test), classes) == ("digits", 360, tuple("0123456789"))
        assert rows(test) == rows(load_images("digits").test)


def test_splits_by_name_and_device() -> None:
    data = load_images("digits")
    assert data.split("validation") is data.validation
    refused(lambda: data.split("tset"), "train, validation, test", "'tset'")
    moved = data.to("meta")
    for split in ("train", "validation", "test"):
        assert moved.split(split).pixels.device.type == "meta"
        assert moved.split(split).labels.device.type == "meta"
        assert len(moved.split(split)) == len(data.split(split))
    assert (moved.name, moved.sha256) == (data.name, data.sha256)
