"""Damaged and hostile runs, checkpoints, exports, a row each: refused in one clear line, nothing of it run or kept."""

import json
import math
import os
import pickle
import re
import shutil
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from envs.glimpse import GlimpseVectorEnv
from ram_agent.checkpoint import CheckpointError
from ram_agent.cli import main
from ram_agent.export import AGENT, WEIGHTS
from ram_agent.learner import REINFORCE
from ram_agent.runner import Runner
from ram_agent.workers import LocalWorkers
from tests.hostile import Make, Payload, call, refused


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


# -------------------------------------------------------------------- checkpoints


def alone(run: Path, change: Callable[[Path], object]) -> None:
    """Change the one checkpoint of a run that has no manifest."""
    for file in (run / "checkpoints").iterdir():
        if file.name != "agent.pt":
            file.unlink()
    change(run / "checkpoints" / "agent.pt")


def bomb(run: Path) -> None:
    """30 kB that would be 30 MB."""

    def change(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
            target.writestr("agent/data.pkl", bytes(30_000_000))

    alone(run, change)


def flipped(run: Path) -> None:
    for file in (run / "checkpoints").glob("*.pt"):
        content = bytearray(file.read_bytes())
        content[5000] ^= 1
        file.write_bytes(content)


def pickled(run: Path) -> None:
    alone(run, lambda path: torch.save({"format": 1, "learner": Payload(run / "trace")}, path))


def lacking(run: Path) -> None:
    alone(run, lambda path: torch.save({"format": 1, "learner": {}}, path))


def with_bias(bias: Callable[[torch.Tensor], torch.Tensor], *, best_alone: bool = False) -> Callable[[Path], None]:
    """A checkpoint with another bias of the classifier, in the weights that go on, too, or in the best alone."""

    def change(path: Path) -> None:
        saved = torch.load(path, weights_only=True)
        for weights in (saved["best"]["weights"], *([] if best_alone else [saved["learner"]["policy"]])):
            weights["classifier.bias"] = bias(weights["classifier.bias"])
        torch.save(saved, path)

    return lambda run: alone(run, change)


def spoilt(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    """One number of many."""
    return lambda weights: weights.index_fill(0, torch.tensor([4]), value)


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
    "a bomb": (bomb, "damaged or not a checkpoint"),
    "nothing of a learner in it": (lacking, "does not fit this ram-agent"),
    "weights of another shape": (with_bias(lambda _: torch.zeros(3)), "does not fit this ram-agent"),
    "weights of another type": (with_bias(torch.Tensor.double), "classifier.bias is of torch.float64, expected torch."),
    "a weight that is NaN": (with_bias(spoilt(math.nan)), "classifier.bias holds NaN or infinity"),
    "a weight that is infinite": (with_bias(spoilt(-math.inf)), "classifier.bias holds NaN or infinity"),
    "the best weights NaN": (with_bias(spoilt(math.nan), best_alone=True), "classifier.bias holds NaN or infinity"),
}


def typed(command: str, run: Path) -> list[str]:
    """What to type to go on with a run that was not finished, or to open one."""
    if command == "resume":
        (run / "results.json").unlink(missing_ok=True)
        return ["train", "--resume", str(run)]
    return [command, str(run), *(["--out", str(run.parent / "never")] if command == "export" else [])]


@pytest.mark.parametrize("command", ["evaluate", "render", "export", "resume"])
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_is_refused_in_one_line(
    name: str, command: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, says = CHECKPOINTS[name]
    shutil.copytree(run, tmp_path / "run")
    damage(tmp_path / "run")
    line = refused(typed(command, tmp_path / "run"), capsys, begun=command == "resume")
    assert says in line
    assert "agent.pt" in line
    assert not (tmp_path / "run" / "trace").exists()
    assert not (tmp_path / "never").exists()


# -------------------------------------------------------------------- what else a run folder holds


def calling_config(run: Path) -> list[str]:
    (run / "config.yaml").write_text(f"name: {call(run)}\n")
    return typed("evaluate", run)


def results(text: str) -> Make:
    def make(run: Path) -> list[str]:
        (run / "results.json").write_text(text)
        return ["train", "--resume", str(run)]

    return make


def unknown_labels(run: Path) -> list[str]:
    np.savez(run / "set.npz", images=np.zeros((4, 28, 28), np.uint8), labels=np.arange(9, 13))
    return ["evaluate", str(run), "--images", str(run / "set.npz")]


RUNS: dict[str, tuple[Make, str]] = {
    "a configuration that names a function": (calling_config, "not YAML"),
    "results cut short": (results('{"test_error": 4'), "results.json: not JSON"),
    "results without end": (results("[" * 100_000), "results.json: not JSON"),
    "results that are none": (results("3"), "results.json: expected results, got 3"),
    "labels that it never learned": (unknown_labels, "classes 10, 11, 12, which this run never learned"),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_folder_is_refused_in_one_line(
    name: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, says = RUNS[name]
    shutil.copytree(run, tmp_path / "run")
    assert says in refused(make(tmp_path / "run"), capsys)
    assert not (tmp_path / "run" / "trace").exists()


@pytest.mark.parametrize("text", ["3", "[" * 100_000, '{"jobs": 3}', '{"jobs": [{}]}', '{"jobs": ["x"]}'])
def test_a_damaged_account_of_a_sweep_is_not_believed(text: str, tmp_path: Path) -> None:
    """The runs' own folders say all that a sweep needs."""
    (tmp_path / "sweep.json").write_text(text)
    assert Runner(tmp_path, {}, LocalWorkers(1)).records == {}


# -------------------------------------------------------------------- exports


@pytest.fixture(scope="module")
def export(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained agent to share, but for its graph, which nobody here reads."""
    folder = tmp_path_factory.mktemp("exports") / "agent"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ram_agent.export.export_step", lambda policy: b"a graph")
        assert main(["export", str(run), "--out", str(folder)]) == 0
    REINFORCE.load(folder, GlimpseVectorEnv(50, images="digits", tensors=True))  # as long as nobody damages it
    return folder


def replaced(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


def linked(name: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        outside = folder.parent / "outside"
        os.replace(folder / name, outside)
        (folder / name).symlink_to(outside)

    return change


def signed(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """Damage whose digest is right: somebody meant it."""

    def sign(folder: Path) -> None:
        replaced(name, change)(folder)
        agent = json.loads((folder / AGENT).read_text())
        agent["files"][name] = sha256((folder / name).read_bytes()).hexdigest()
        (folder / AGENT).write_text(json.dumps(agent))

    return sign


def without_bias(weights: bytes) -> bytes:
    return save_tensors({name: value for name, value in load_tensors(weights).items() if name != "classifier.bias"})


def other_bias(bias: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Path], object]:
    def change(weights: bytes) -> bytes:
        tensors = load_tensors(weights)
        return save_tensors(tensors | {"classifier.bias": bias(tensors["classifier.bias"])})

    return signed(WEIGHTS, change)


EXPORTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "one flipped bit": (replaced(WEIGHTS, lambda old: old[:-9] + bytes([old[-9] ^ 1]) + old[-8:]), "its sha256 is not"),
    "weights cut short": (replaced(WEIGHTS, lambda old: old[:-7]), "its sha256 is not"),
    "weights cut short, meant": (signed(WEIGHTS, lambda old: old[:-7]), f"{WEIGHTS} is damaged"),
    "a header of a terabyte": (signed(WEIGHTS, lambda old: bytes([0] * 5 + [1] + [0] * 2) + old), "is damaged"),
    "a pickle": (signed(WEIGHTS, lambda old: pickle.dumps(print)), f"{WEIGHTS} is damaged"),
    "weights of another": (signed(WEIGHTS, without_bias), f"{AGENT}: does not fit this ram-agent"),
    "weights of another type": (
        other_bias(torch.Tensor.double),
        "classifier.bias is of torch.float64, expected torch.",
    ),
    "a weight that is NaN": (other_bias(spoilt(math.nan)), "classifier.bias holds NaN or infinity"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), f"no {WEIGHTS} in it"),
    "weights that lie outside": (linked(WEIGHTS), f"{WEIGHTS} is a link out of the folder"),
    "a shape that lies outside": (linked(AGENT), f"{AGENT} is a link out of the folder"),
    "a shape cut short": (replaced(AGENT, lambda old: old[:40]), f"{AGENT} is not JSON"),
    "a shape that is a list": (replaced(AGENT, lambda old: b"[]"), "expected format 1, found 'list'"),
    "a shape without digests": (replaced(AGENT, lambda old: b'{"format": 1}'), "lacks blueprint, files"),
    "a shape without end": (replaced(AGENT, lambda old: b"[" * 100_000), f"{AGENT} is not JSON"),
}


@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_is_refused_in_one_line(name: str, export: Path, tmp_path: Path) -> None:
    """No command reads one: it is `load` that refuses."""
    damage, says = EXPORTS[name]
    shutil.copytree(export, tmp_path / "agent")
    damage(tmp_path / "agent")
    with pytest.raises(CheckpointError, match=re.escape(says)) as refusal:
        REINFORCE.load(tmp_path / "agent", GlimpseVectorEnv(50, images="digits", tensors=True))
    assert "\n" not in str(refusal.value)


def test_a_folder_that_is_neither_a_run_nor_an_export_is_called_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"agent\.pt: no such file, and no agent\.json of an export$"):
        REINFORCE.load(tmp_path, GlimpseVectorEnv(50, images="digits", tensors=True))


@pytest.mark.parametrize("command", ["evaluate", "train"])
def test_an_export_of_weights_that_are_no_numbers_is_refused_by_the_commands_that_read_one(
    command: str, export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agent = tmp_path / "agent"
    shutil.copytree(export, agent)
    other_bias(spoilt(math.nan))(agent)
    begin = ["smoke", "--run.folder", str(tmp_path / "run"), "--run.tensorboard", "false", "-i", str(agent)]
    line = refused(["evaluate", str(agent)] if command == "evaluate" else ["train", *begin], capsys, command == "train")
    assert f"checkpoint {agent / AGENT}" in line
    assert "classifier.bias holds NaN or infinity" in line
