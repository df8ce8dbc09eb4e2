"""What labels are called: the names of `class_names.txt` and of an `.npz`, and those that are refused."""

from pathlib import Path

import numpy as np
import pytest

from envs.class_names import NAMES_FILE
from envs.images import ImageError, load_images, load_test_images
from tests.photographs import GARMENTS, make_garments

PIXELS = np.zeros((30, 4, 4), np.uint8)
LABELS = np.arange(30) % 3


def save(path: Path, **arrays: np.ndarray) -> str:
    np.savez(path, **({"images": PIXELS, "labels": LABELS} | arrays))
    return str(path)


def test_idx_files_are_called_as_the_file_beside_them_says(tmp_path: Path) -> None:
    folder = make_garments(tmp_path / "fashion")
    assert load_images(str(folder)).classes == ("0", "1", "2")
    digest = load_images(str(folder)).sha256
    (folder / NAMES_FILE).write_text("\n".join(GARMENTS) + "\n\n")
    data = load_images(str(folder))
    assert data.classes == GARMENTS
    assert data.sha256 == digest  # the images are the same
    assert load_test_images(str(folder))[2] == GARMENTS


def test_an_npz_is_called_as_it_says_itself_else_as_the_file_beside_it_says(tmp_path: Path) -> None:
    (tmp_path / NAMES_FILE).write_text("één\r\ntwee\r\ndrie\r\n", encoding="utf-8")
    assert load_images(save(tmp_path / "a.npz")).classes == ("één", "twee", "drie")
    assert load_images(save(tmp_path / "b.npz", class_names=np.array(["x", "y", "z"]))).classes == ("x", "y", "z")


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    (tmp_path / NAMES_FILE).write_text("x\ny\nz\n", encoding="utf-8-sig")
    assert load_images(save(tmp_path / "a.npz")).classes == ("x", "y", "z")


def test_names_belong_to_labels_not_to_their_order_among_those_that_occur(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", labels=LABELS * 2 + 1, class_names=np.array([*"abcdefg"]))
    assert load_images(path).classes == ("b", "d", "f")


def test_labels_that_are_names_keep_them(tmp_path: Path) -> None:
    (tmp_path / NAMES_FILE).write_text("x\ny\nz\n")
    assert load_images(save(tmp_path / "a.npz", labels=np.array(["p", "q", "r"])[LABELS])).classes == ("p", "q", "r")


@pytest.mark.parametrize(
    ("content", "fragments"),
    [
        (b"one\ntwo\n", ["a name for each label, 0 to 2, found 2", "add those that are missing"]),
        (b"\none\ntwo\nthree\n", ["'' for label 0", "give it one"]),
        (b"one\n\nthree\n", ["'' for label 1", "give it one"]),
        (b"one\ntwo\none\n", ["'one' for labels 0 and 2", "rename"]),
        (b"one\ntwo\n\x1b[2Jthree\n", ["'\\x1b[2Jthree' for label 2"]),
        (b"one\ntwo\nthre\xe9\n", ["a readable file in UTF-8", "one name a line"]),
    ],
)
def test_names_that_do_not_fit_are_refused_by_file(tmp_path: Path, content: bytes, fragments: list[str]) -> None:
    path = save(tmp_path / "a.npz")
    (tmp_path / NAMES_FILE).write_bytes(content)
    with pytest.raises(ImageError) as caught:
        load_images(path)
    for fragment in (str(tmp_path / NAMES_FILE), *fragments):
        assert fragment in str(caught.value)


def test_names_of_an_npz_must_be_text(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"a\.npz\[class_names\]: expected one row of text, found dtype int64"):
        load_images(save(tmp_path / "a.npz", class_names=np.arange(3)))
