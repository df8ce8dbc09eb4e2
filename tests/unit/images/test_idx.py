"""IDX files, alone and in folders. Oracle: bytes built by hand with struct."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from envs.idx import read_idx
from envs.images import load_images, load_test_images
from tests.image_files import (
    FILES,
    cycle,
    idx,
    pack,
    pictures,
    refused,
    rows,
    write_idx,
)


@pytest.mark.parametrize("shape", [(7,), (3, 4), (5, 3, 2), (2, 3, 4, 3)])
@pytest.mark.parametrize("packed", [False, True])
def test_idx_reads_what_the_format_says(tmp_path: Path, shape: tuple[int, ...], packed: bool) -> None:
    array = pictures(*shape)
    path = tmp_path / "any-name"
    path.write_bytes(pack(array) if packed else idx(array))
    read = read_idx(path)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, array)


GOOD = idx(np.arange(12, dtype=np.uint8).reshape(3, 2, 2))
PACKED = gzip.compress(GOOD, mtime=0)


@pytest.mark.parametrize(
    ("content", "expected", "found"),
    [
        (b"", "00 00 08", "an empty file"),
        (b"\0\0\x08", "00 00 08", "00 00 08"),
        (b"\0\0\x0d\x03" + GOOD[4:], "00 00 08", "00 00 0d 03"),  # float32
        (b"\x89PNG" + GOOD[4:], "00 00 08", "89 50 4e 47"),
        (b"\0\0\x08\x00" + GOOD[4:], "1 to 4 dimensions", "00 00 08 00"),
        (b"\0\0\x08\x05" + GOOD[4:], "1 to 4 dimensions", "00 00 08 05"),
        (GOOD[:10], "16 bytes for 3 dimensions", "10 bytes"),
        (GOOD[:-1], "12 bytes of values for sizes (3, 2, 2)", "found 11"),
        (GOOD + b"\0", "12 bytes of values for sizes (3, 2, 2)", "found more"),
        (struct.pack(">HBB2I", 0, 8, 2, 2**16, 2**16 + 1), "at most 268,435,456 bytes", "4,295,032,832"),
        (struct.pack(">HBB2I", 0, 8, 2, 2**14, 2**13), "134,217,728 bytes of values", "found 0"),
        (gzip.compress(GOOD[:-1], mtime=0), "12 bytes of values", "found 11"),
        (gzip.compress(GOOD + bytes(10**6), mtime=0), "12 bytes of values", "found more"),
        (PACKED[:-9], "a readable file", "EOFError"),  # a cut download
        (PACKED[:-8] + b"\0\0\0\0" + PACKED[-4:], "a readable file", "CRC check failed"),
        (PACKED[:12] + b"\xff" + PACKED[13:], "a readable file", "error"),
    ],
    ids=[
        "empty",
        "cut in the magic number",
        "float32",
        "another format",
        "no dimension",
        "five dimensions",
        "cut in the header",
        "cut by a byte",
        "a byte too many",
        "promises too much",
        "promises more than is there",
        "packed, cut before packing",
        "packed, goes on",
        "packed, cut after packing",
        "packed, wrong checksum",
        "packed, damaged",
    ],
)
def test_idx_refuses_what_is_not_whole(tmp_path: Path, content: bytes, expected: str, found: str) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    refused(lambda: read_idx(path), str(path), expected, found, "fetch the file again")


def test_idx_refuses_a_file_that_is_not_there(tmp_path: Path) -> None:
    refused(lambda: read_idx(tmp_path / "gone"), str(tmp_path / "gone"), "FileNotFoundError", "No such file")


def test_idx_unpacks_no_more_than_the_header_promises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(GOOD + bytes(50_000_000)))
    asked: list[int] = []
    unpack = gzip.GzipFile.read

    def read(self: gzip.GzipFile, size: int | None = -1) -> bytes:
        asked.append(-1 if size is None else size)
        return unpack(self, size)

    monkeypatch.setattr(gzip.GzipFile, "read", read)
    refused(lambda: read_idx(path), "found more")
    assert min(asked) > 0
    assert sum(asked) <= len(GOOD) + 1


def test_a_folder_called_as_a_file_is_not_taken_for_it(tmp_path: Path) -> None:
    """As where each file was unpacked into a folder of its own name, and lies beside it."""
    for split in ("train", "t10k"):
        for role, array in (("images-idx3", pictures(12, 4, 4)), ("labels-idx1", cycle(12))):
            (tmp_path / f"{split}-{role}-ubyte").mkdir()
            (tmp_path / f"{split}-{role.replace('-', '.')}-ubyte").write_bytes(idx(array))
    assert len(load_images(str(tmp_path)).test) == 12


@pytest.mark.parametrize("packed", [False, True])
def test_folder_of_idx_files_keeps_its_test_split_and_gives_a_twelfth_to_validation(
    tmp_path: Path, packed: bool
) -> None:
    arrays = {
        ("train", "images"): pictures(36, 6, 5),
        ("train", "labels"): cycle(36),
        ("test", "images"): pictures(9, 6, 5, seed=1),
        ("test", "labels"): cycle(9),
    }
    data = load_images(str(write_idx(tmp_path / "fashion", arrays, packed)))
    assert (data.name, data.image_size, data.channels, data.notice) == ("fashion", (6, 5), 1, "")
    assert data.classes == ("0", "1", "2")
    assert [len(data.train), len(data.validation), len(data.test)] == [33, 3, 9]
    assert data.validation.labels.tolist().count(1) == 1  # the shares of the classes are kept
    np.testing.assert_array_equal(data.test.pixels[:, 0].numpy(), arrays["test", "images"])
    np.testing.assert_array_equal(data.test.labels.numpy(), arrays["test", "labels"])
    source = [
        (image.tobytes(), int(label))
        for image, label in zip(arrays["train", "images"], arrays["train", "labels"], strict=True)
    ]
    assert sorted(rows(data.train) + rows(data.validation)) == sorted(source)
    assert data.train.pixels.dtype == torch.uint8
    assert data.train.labels.dtype == torch.int64


def test_folder_of_idx_files_takes_other_names_colour_and_a_validation_split(tmp_path: Path) -> None:
    for split, count in (("train", 6), ("val", 4), ("test", 5)):
        colour = pictures(count, 4, 4, 3, seed=count)
        (tmp_path / f"{split}-images.idx4-ubyte").write_bytes(idx(colour))
        (tmp_path / f"{split}-labels.idx1-ubyte.gz").write_bytes(pack(cycle(count)))
    data = load_images(str(tmp_path))
    assert [len(data.train), len(data.validation), len(data.test)] == [6, 4, 5]
    assert (data.channels, data.image_size) == (3, (4, 4))
    np.testing.assert_array_equal(data.test.pixels[:, 2].numpy(), pictures(5, 4, 4, 3, seed=5)[..., 2])
    refused(lambda: load_images(str(tmp_path), validation=2), str(tmp_path), "its own validation split", "found 2")


def test_folder_of_idx_files_is_refused_where_it_is_incomplete(
    tmp_path: Path, tiny: dict[tuple[str, str], np.ndarray]
) -> None:
    folder = write_idx(tmp_path / "set", tiny)
    (folder / FILES["test", "labels"]).unlink()
    refused(
        lambda: load_images(str(folder)),
        str(folder),
        "the labels of the test split",
        FILES["test", "images"],
        "add",
    )
    (folder / FILES["train", "images"]).unlink()
    (folder / FILES["train", "labels"]).unlink()
    (folder / FILES["test", "labels"]).write_bytes(idx(tiny["test", "labels"]))
    refused(lambda: load_images(str(folder)), str(folder), "a train split", "only test")
    assert len(load_test_images(str(folder))[1]) == 6


def test_images_and_labels_must_match_in_number(tmp_path: Path) -> None:
    arrays = {("train", "images"): pictures(12, 3, 3), ("train", "labels"): cycle(11)}
    folder = write_idx(tmp_path, arrays)
    refused(
        lambda: load_images(str(folder)),
        FILES["train", "labels"],
        "one for each of the 12 images",
        FILES["train", "images"],
        "found shape (11,)",
    )
