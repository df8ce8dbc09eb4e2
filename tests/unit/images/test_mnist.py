"""MNIST is found where it lies, and nothing else is taken for it. Oracle: the published facts."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch

import envs.mnist
from envs.images import load_images
from tests.image_files import FILES, cycle, idx, refused, write_idx

REAL_MNIST = os.environ.get("RAM_AGENT_DATA")  # before a fixture hides it


@pytest.mark.parametrize("below", ["", "mnist", "MNIST/raw"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("place", ["folder", "variable", "cache"])
def test_mnist_is_found(
    below: str,
    packed: bool,
    place: str,
    tiny: dict[tuple[str, str], np.ndarray],
    tmp_path: Path,
    isolated: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = isolated if place == "cache" else tmp_path / "data"
    write_idx(base / below, tiny, packed)
    if place == "variable":
        monkeypatch.setenv("RAM_AGENT_DATA", str(base))
    for source in ("mnist", "auto"):
        data = load_images(source, base if place == "folder" else None)
        assert (data.name, data.notice) == ("mnist", "")
        assert [len(data.train), len(data.validation), len(data.test)] == [22, 2, 6]
        np.testing.assert_array_equal(data.test.pixels[:, 0].numpy(), tiny["test", "images"])


def test_mnist_in_the_folder_that_was_named_wins(
    tiny: dict[tuple[str, str], np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = write_idx(tmp_path / "damaged", tiny | {("test", "labels"): cycle(6, 5)})
    monkeypatch.setenv("RAM_AGENT_DATA", str(damaged))
    assert load_images("mnist", write_idx(tmp_path / "good", tiny)).name == "mnist"
    refused(lambda: load_images("mnist"), str(damaged))


@pytest.mark.parametrize("source", ["mnist", "auto"])
def test_mnist_that_is_damaged_or_another_set_is_refused_and_never_replaced(
    source: str, tiny: dict[tuple[str, str], np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    altered = tiny["train", "images"].copy()
    altered[3, 2, 1] ^= 1
    folder = write_idx(tmp_path / "data", tiny | {("train", "images"): altered})
    file = str(folder / FILES["train", "images"])
    known = hashlib.sha256(idx(tiny["train", "images"])).hexdigest()
    found = hashlib.sha256(idx(altered)).hexdigest()
    refused(
        lambda: load_images(source, folder),
        "MNIST content (train images)",
        file,
        known,
        found,
        "delete the file",
    )
    monkeypatch.setenv("RAM_AGENT_DATA", str(folder))
    refused(lambda: load_images(source), file, known, found)
    (folder / FILES["train", "images"]).write_bytes(idx(tiny["train", "images"])[:-7])
    refused(lambda: load_images(source), file, "480 bytes", "found 473")


@pytest.mark.parametrize("source", ["mnist", "auto"])
def test_folder_without_mnist_is_refused_though_mnist_is_at_hand_elsewhere(
    source: str, tiny: dict[tuple[str, str], np.ndarray], tmp_path: Path, isolated: Path
) -> None:
    write_idx(isolated, tiny)
    empty = tmp_path / "empty"
    refused(lambda: load_images(source, empty), str(empty), "found none of them", "--images.folder")
    write_idx(empty, {("train", "images"): tiny["train", "images"]})
    refused(lambda: load_images(source, empty), str(empty), "found only train-images-idx3-ubyte")


def test_mnist_hash_does_not_depend_on_packing_but_on_content(
    tiny: dict[tuple[str, str], np.ndarray], tmp_path: Path
) -> None:
    plain, packed = write_idx(tmp_path / "plain", tiny), write_idx(tmp_path / "packed", tiny, packed=True)
    hashes = {load_images("mnist", plain).sha256, load_images("mnist", packed).sha256}
    hashes.add(load_images(str(packed)).sha256)
    assert len(hashes) == 1
    labels = tiny["test", "labels"].copy()
    labels[[0, 1]] = labels[[1, 0]]
    relabelled = load_images(str(write_idx(tmp_path / "other", tiny | {("test", "labels"): labels})))
    assert {relabelled.sha256} != hashes


@pytest.mark.skipif(not REAL_MNIST, reason="RAM_AGENT_DATA names no folder with MNIST")
def test_real_mnist_has_its_published_numbers() -> None:
    data = load_images("mnist", REAL_MNIST)
    assert [len(data.train), len(data.validation), len(data.test)] == [55_000, 5_000, 10_000]
    assert (data.image_size, data.channels, data.classes) == ((28, 28), 1, tuple("0123456789"))
    counts = data.train.labels.bincount() + data.validation.labels.bincount()
    assert counts.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert data.test.labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert data.test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    both = torch.cat([data.train.pixels, data.validation.pixels]).float() / 255
    assert both.mean().item() == pytest.approx(0.1307, abs=1e-4)  # the numbers of every MNIST tutorial
    assert both.std().item() == pytest.approx(0.3081, abs=1e-4)


@pytest.mark.skipif(not REAL_MNIST, reason="RAM_AGENT_DATA names no folder with MNIST")
def test_what_a_download_is_held_against_are_the_files_that_are_published() -> None:
    """All other tests have stand-ins for both tables."""
    there = [file for file in Path(str(REAL_MNIST)).rglob("*.gz") if file.name in envs.mnist.PACKED_SHA256]
    if not there:
        pytest.skip("MNIST lies there unpacked")
    for file in there:
        assert hashlib.sha256(file.read_bytes()).hexdigest() == envs.mnist.PACKED_SHA256[file.name]
