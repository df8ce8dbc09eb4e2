"""Damaged and hostile input, a row each: refused in one clear line, exit status 2, nothing of it run or kept."""

import gzip
import os
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ram_agent.cli import main

Make = Callable[[Path], list[str]]
"""Makes the damage in a folder; returns what to type."""


class Payload:
    """Leaves a trace where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = str(trace)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.trace,)


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


def yaml(text: str) -> Make:
    def make(folder: Path) -> list[str]:
        (folder / "config.yaml").write_text(text.replace("TRACE", str(folder / "trace")))
        return ["train", str(folder / "config.yaml"), "--run.folder", str(folder / "never")]

    return make


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
    "YAML that names a function": (yaml("name: !!python/object/apply:os.mkdir [TRACE]\n"), "not YAML"),
    "YAML that names a class": (yaml("name: !!python/name:os.system\n"), "not YAML"),
    "YAML that is a bomb": (yaml(LAUGHS + "name: *i\n"), "name: got [["),
    "YAML that is a bomb in a field": (
        yaml(f"scene:\n  height:\n    {LAUGHS.replace(chr(10), chr(10) + '    ')}"),
        "height",
    ),
    "YAML without an end": (yaml("[" * 100_000), "nested too deeply"),
    "YAML that is no text": (yaml("\x00\x01"), "not YAML"),
}


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    status = main(arguments)
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    (line,) = err.strip().splitlines()
    assert line.startswith("ram-agent: error: ")
    assert len(line) < 1500
    return line


@pytest.mark.parametrize("name", INPUT)
def test_input_is_refused_in_one_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, says = INPUT[name]
    line = refused(make(tmp_path), capsys)
    assert says in line
    assert not (tmp_path / "trace").exists()  # a payload that ran
    assert not (tmp_path / "never").exists()  # a run folder


def test_the_payloads_were_live(tmp_path: Path) -> None:
    import yaml as library

    pickled_npz(tmp_path)
    np.load(tmp_path / "set.npz", allow_pickle=True)["images"]
    assert (tmp_path / "trace").exists()
    (tmp_path / "trace").rmdir()
    yaml("name: !!python/object/apply:os.mkdir [TRACE]\n")(tmp_path)
    library.unsafe_load((tmp_path / "config.yaml").read_text())
    assert (tmp_path / "trace").exists()


# -------------------------------------------------------------------- checkpoints


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a single checkpoint, as one that has none to fall back on."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    settings = {"training.episodes": 100, "run.threads": 1, "run.pictures": 0, "run.keep": 1, "evaluation.every": 1000}
    settings |= {"run.progress": "false", "run.tensorboard": "false", "evaluation.controls": "[]", "run.folder": folder}
    assert (
        main(["train", "smoke", *(text for name, value in settings.items() for text in (f"--{name}", str(value)))]) == 0
    )
    return folder


def alone(run: Path, change: Callable[[Path], object]) -> None:
    """Change the one checkpoint of a run that has no manifest."""
    for file in (run / "checkpoints").iterdir():
        if file.name != "agent.pt":
            file.unlink()
    change(run / "checkpoints" / "agent.pt")


def flipped(run: Path) -> None:
    for file in (run / "checkpoints").glob("*.pt"):
        content = bytearray(file.read_bytes())
        content[5000] ^= 1
        file.write_bytes(content)


def pickled(run: Path) -> None:
    alone(run, lambda path: torch.save({"format": 1, "learner": Payload(run / "trace")}, path))


def lacking(run: Path) -> None:
    alone(run, lambda path: torch.save({"format": 1, "learner": {}}, path))


def misshapen(run: Path) -> None:
    def change(path: Path) -> None:
        saved = torch.load(path, weights_only=True)
        for weights in (saved["learner"]["policy"], saved["best"]["weights"]):
            weights["classifier.bias"] = torch.zeros(3)
        torch.save(saved, path)

    alone(run, change)


def packed(run: Path) -> None:
    def change(path: Path) -> None:
        whole = path.with_suffix(".whole")
        path.rename(whole)
        with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
            for entry in source.infolist():
                target.writestr(entry.filename, source.read(entry))
        whole.unlink()

    alone(run, change)


CHECKPOINTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "one flipped bit": (flipped, "damaged (its sha256"),
    "one flipped bit, no manifest": (lambda run: alone(run, lambda _: flipped(run)), "damaged or not a checkpoint"),
    "a pickle": (pickled, "damaged or not a checkpoint"),
    "cut short": (lambda run: alone(run, lambda path: os.truncate(path, 4000)), "damaged or not a checkpoint"),
    "packed": (packed, "damaged or not a checkpoint"),
    "nothing of a learner in it": (lacking, "does not fit this ram-agent"),
    "weights of another shape": (misshapen, "does not fit this ram-agent"),
}


@pytest.mark.parametrize("command", ["evaluate", "render", "resume"])
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_is_refused_in_one_line(
    name: str, command: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, says = CHECKPOINTS[name]
    shutil.copytree(run, tmp_path / "run")
    damage(tmp_path / "run")
    typed = [command, str(tmp_path / "run")]
    if command == "resume":
        (tmp_path / "run" / "results.json").unlink()
        typed = ["train", "--resume", str(tmp_path / "run")]
        capsys.readouterr()
        assert main(typed) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
    else:
        line = refused(typed, capsys)
    assert says in line
    assert "agent.pt" in line
    assert not (tmp_path / "run" / "trace").exists()
