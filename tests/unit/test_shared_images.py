"""Images in memory once, for as long as their files are what they were."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from envs.glimpse import GlimpseVectorEnv
from envs.images import ImageData, ImageError, ImageSet, load_images
from envs.shared_images import shared_images


def write(path: Path, classes: int, seed: int = 0) -> None:
    generator = np.random.default_rng(seed)
    np.savez(path, images=generator.integers(0, 256, (60, 8, 8), np.uint8), labels=np.arange(60) % classes)


def test_environments_over_one_file_share_its_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "mine.npz", 3)
    first = shared_images(tmp_path / "mine.npz")
    monkeypatch.chdir(tmp_path)
    assert shared_images("mine.npz") is shared_images("mine.npz")
    assert shared_images("mine.npz").sha256 == first.sha256


def test_a_file_that_was_written_again_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    write(path, 3)
    before = GlimpseVectorEnv(2, images=str(path), size=(40, 40), scene="translated")
    write(path, 5, seed=1)
    after = GlimpseVectorEnv(2, images=str(path), size=(40, 40), scene="translated")
    assert (len(before.class_names), len(after.class_names)) == (3, 5)


def test_the_same_name_in_another_folder_is_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for number in (2, 3):
        folder = tmp_path / str(number)
        folder.mkdir()
        write(folder / "mine.npz", number)
        monkeypatch.chdir(folder)
        found.append(len(shared_images("mine.npz").classes))
    assert found == [2, 3]


def test_class_folders_are_read_again_where_a_picture_came(tmp_path: Path) -> None:
    for name in ("train", "test"):
        for label in ("a", "b"):
            (tmp_path / name / label).mkdir(parents=True)
            for number in range(4):
                Image.new("L", (8, 8), 40 * number).save(tmp_path / name / label / f"{number}.png")
    before = shared_images(tmp_path)
    assert shared_images(tmp_path) is before
    Image.new("L", (8, 8), 7).save(tmp_path / "train" / "a" / "more.png")
    assert len(shared_images(tmp_path).train) == len(before.train) + 1


def test_names_that_were_given_to_the_classes_of_a_file_are_read(tmp_path: Path) -> None:
    write(tmp_path / "mine.npz", 3)
    assert shared_images(tmp_path / "mine.npz").classes == ("0", "1", "2")
    (tmp_path / "class_names.txt").write_text("cat\ndog\nfox\n")
    assert shared_images(tmp_path / "mine.npz").classes == ("cat", "dog", "fox")


def test_links_to_class_folders_are_followed_and_links_to_nothing_are_left(tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / "elsewhere" / label).mkdir(parents=True)
        for number in range(6):
            Image.new("L", (8, 8), 40 * number).save(tmp_path / "elsewhere" / label / f"{number}.png")
        (tmp_path / "set").mkdir(exist_ok=True)
        (tmp_path / "set" / label).symlink_to(tmp_path / "elsewhere" / label)
    (tmp_path / "set" / ".#notes").symlink_to("nobody@nowhere")  # as an editor leaves it
    before = shared_images(tmp_path / "set")
    Image.new("L", (8, 8), 7).save(tmp_path / "elsewhere" / "a" / "more.png")
    after = shared_images(tmp_path / "set")
    assert [sum(len(each.split(split)) for split in ("train", "validation", "test")) for each in (before, after)] == [
        12,
        13,
    ]


@pytest.mark.parametrize("path", [Path, str])
def test_a_path_is_taken_as_text_or_as_a_path(path: type, tmp_path: Path) -> None:
    write(tmp_path / "mine.npz", 3)
    at = path(tmp_path / "mine.npz")
    assert GlimpseVectorEnv(1, images=at, scene="plain", size=(20, 20)).images.name == "mine.npz"
    assert load_images(at).name == "mine.npz"
    with pytest.raises(ImageError, match="did you mean"):
        load_images(path(tmp_path / "mime.npz"))


def test_splits_made_by_hand_are_of_one_shape_and_every_label_has_a_name() -> None:
    def some(channels: int, labels: list[int]) -> ImageSet:
        return ImageSet(torch.zeros(len(labels), channels, 8, 8, dtype=torch.uint8), torch.tensor(labels))

    grey = some(1, [0, 1])
    with pytest.raises(ImageError, match=r"labels of the test split: expected 0 to 1, as there are 2 classes, found 2"):
        ImageData("mine", grey, grey, some(1, [0, 2]), ("a", "b"), "")
    with pytest.raises(ImageError, match=r"image shape of the validation split: .*\(1, 8, 8\) as in training"):
        ImageData("mine", grey, some(3, [0, 1]), grey, ("a", "b"), "")
