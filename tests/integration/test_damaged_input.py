"""Damaged and hostile input, a row each: refused in one clear line, exit status 2, nothing of it run or kept.

Those of test_damaged_runs.py too: `python -m pytest -q -k refused tests/integration/test_damaged_*` counts them.
"""

import gzip
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.hostile import Make, Payload, call, refused


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


PIXELS = np.random.default_rng(0).integers(0, 256, (40, 28, 28), dtype=np.uint8)
LABELS = np.arange(40) % 4
NAN = PIXELS / 255
NAN[7, 3, 3] = np.nan


def train_on(source: Path) -> list[str]:
    return ["train", "smoke", "--images.source", str(source), "--run.folder", str(source.parent / "never")]


def npz(**changes: Any) -> Make:
    def make(folder: Path) -> list[str]:
        np.savez(folder / "set.npz", allow_pickle=True, **({"images": PIXELS, "labels": LABELS} | changes))
        return train_on(folder / "set.npz")

    return make


def cut_npz(folder: Path) -> list[str]:
    typed = npz()(folder)
    os.truncate(folder / "set.npz", 9000)
    return typed


def pickled_npz(folder: Path) -> list[str]:
    hostile = np.empty(1, dtype=object)
    hostile[0] = Payload(folder / "trace")
    return npz(images=hostile)(folder)


def npz_bomb(folder: Path) -> list[str]:
    """300 kB that would be 300 MB."""
    np.savez_compressed(folder / "set.npz", images=np.zeros((380_000, 28, 28), np.uint8), labels=LABELS)
    assert (folder / "set.npz").stat().st_size < 400_000
    return train_on(folder / "set.npz")


def idx_folder(images: bytes, labels: bytes, packed: bool = False) -> Make:
    def make(folder: Path) -> list[str]:
        for name, content in (("images-idx3", images), ("labels-idx1", labels)):
            suffix = ".gz" if packed and name == "images-idx3" else ""
            (folder / f"train-{name}-ubyte{suffix}").write_bytes(content)
        return train_on(folder)

    return make


def gz_bomb(folder: Path) -> list[str]:
    header = struct.pack(">HBBIII", 0, 8, 3, 500_000, 28, 28)
    with gzip.open(folder / "train-images-idx3-ubyte.gz", "wb", compresslevel=1) as file:
        file.write(header)
        for _ in range(4):
            file.write(bytes(2**20))
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(LABELS))
    return train_on(folder)


def picture_bomb(folder: Path) -> list[str]:
    """A hundred million pixels in a small file."""
    for name in ("a", "b"):
        (folder / "set" / name).mkdir(parents=True)
        Image.new("1", (10_000, 10_000)).save(folder / "set" / name / "1.png")
    return train_on(folder / "set")


def cut_picture(folder: Path) -> list[str]:
    for name in ("a", "b"):
        (folder / "set" / name).mkdir(parents=True)
        Image.fromarray(PIXELS[0]).save(folder / "set" / name / "1.png")
    os.truncate(folder / "set" / "a" / "1.png", 300)
    return train_on(folder / "set")


def config(text: str) -> Make:
    def make(folder: Path) -> list[str]:
        (folder / "config.yaml").write_text(text)
        return ["train", str(folder / "config.yaml"), "--run.folder", str(folder / "never")]

    return make


def calling_config(folder: Path) -> list[str]:
    return config(f"name: {call(folder)}\n")(folder)


def calling_table(folder: Path) -> list[str]:
    (folder / "table.yaml").write_text(f"rows: {call(folder)}\n")
    return ["sweep", str(folder / "table.yaml"), "--out", str(folder / "never")]


def calling_option(folder: Path) -> list[str]:
    return ["train", "smoke", "--training.batch", call(folder), "--run.folder", str(folder / "never")]


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)

INPUT: dict[str, tuple[Make, str]] = {
    "npz cut short": (cut_npz, "BadZipFile"),
    "npz with a pickle": (pickled_npz, "without pickles"),
    "npz that is a bomb": (npz_bomb, "once unpacked"),
    "npz with NaN": (npz(images=NAN), "NaN or infinity in image 7"),
    "npz of a wrong type": (npz(images=PIXELS.astype(complex)), "dtype complex128"),
    "npz with labels below 0": (npz(labels=LABELS - 1), "0 or more"),
    "npz with labels that are floats": (npz(labels=LABELS / 2), "integers or text"),
    "npz with fewer labels than images": (npz(labels=LABELS[:-1]), "one for each of the 40 images"),
    "IDX cut short": (idx_folder(idx(PIXELS)[:-1], idx(LABELS)), "31,359"),
    "IDX too long": (idx_folder(idx(PIXELS) + b"x", idx(LABELS)), "more"),
    "IDX of another type": (idx_folder(b"\0\0\x0d" + idx(PIXELS)[3:], idx(LABELS)), "magic number"),
    "IDX with fewer labels than images": (idx_folder(idx(PIXELS), idx(LABELS[:-1])), "one for each of the 40 images"),
    "gz cut short": (idx_folder(gzip.compress(idx(PIXELS))[:-9], idx(LABELS), packed=True), "EOFError"),
    "gz with a flipped bit": (
        idx_folder(bytes(byte ^ (at == 9000) for at, byte in enumerate(gzip.compress(idx(PIXELS)))), idx(LABELS), True),
        "readable file",
    ),
    "gz that is a bomb": (gz_bomb, "at most 268,435,456 bytes"),
    "picture that is a bomb": (picture_bomb, "DecompressionBomb"),
    "picture cut short": (cut_picture, "a readable picture"),
    "YAML that names a function": (calling_config, "not YAML"),
    "table that names a function": (calling_table, "not YAML"),
    "option that names a function": (calling_option, "training.batch: got '!!python"),
    "YAML that names a class": (config("name: !!python/name:os.system\n"), "not YAML"),
    "YAML that is a bomb": (config(LAUGHS + "name: *i\n"), "name: got [["),
    "YAML that is a bomb in a field": (
        config(f"scene:\n  height:\n    {LAUGHS.replace(chr(10), chr(10) + '    ')}"),
        "scene.height: got {'a': ['x', ",
    ),
    "YAML without an end": (config("[" * 100_000), "nested too deeply"),
    "YAML that is no text": (config("\x00\x01"), "not YAML"),
}


@pytest.mark.parametrize("name", INPUT)
def test_input_is_refused_in_one_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, says = INPUT[name]
    line = refused(make(tmp_path), capsys)
    assert says in line
    assert not (tmp_path / "trace").exists()  # a payload that ran
    assert not (tmp_path / "never").exists()  # a run folder


def test_the_payloads_were_live(tmp_path: Path) -> None:
    pickled_npz(tmp_path)
    np.load(tmp_path / "set.npz", allow_pickle=True)["images"]
    assert (tmp_path / "trace").exists()
    (tmp_path / "trace").rmdir()
    yaml.unsafe_load(call(tmp_path))
    assert (tmp_path / "trace").exists()
