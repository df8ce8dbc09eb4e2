"""Same seed, same machine, same threads: the same run, to the last bit. And the switch that asks it of a GPU too."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from ram_agent.checkpoint import read_checkpoint
from ram_agent.config import Config
from ram_agent.run_files import CHECKPOINT
from ram_agent.sensor import Bilinear, Window
from tests.making import torch_as_it_was
from tests.resuming import assert_same_runs, configure, differences, drawn_fast, results, run, train


@pytest.fixture(autouse=True, scope="module")
def _fast() -> Iterator[None]:
    with drawn_fast():
        yield


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is set for the whole process."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with torch_as_it_was():
        yield
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


def test_two_runs_of_one_seed_are_bit_equal_and_of_two_seeds_are_not(tmp_path: Path) -> None:
    for name, seed in (("one", 4), ("same", 4), ("other", 2)):
        train(configure(seed=seed), tmp_path / name)
    assert_same_runs(tmp_path / "same", tmp_path / "one")
    with pytest.raises(AssertionError):
        assert_same_runs(tmp_path / "other", tmp_path / "one")


@pytest.mark.parametrize("kind", ["crop", "gaussian", "stn"])
def test_two_runs_on_two_threads_are_bit_equal(kind: str, tmp_path: Path) -> None:
    """Products and sums of a size that torch does share out among threads."""
    large: dict[str, Any] = {
        "scene": {"kind": "cluttered", "height": 40, "width": 40, "clutter_size": 6},
        "policy": {"hidden": 256, "what": 256, "features": 256},
        "training": {"batch": 128, "episodes": 512},
        "evaluation": {"every": 256},
    }
    config = configure(kind, **large, run={"threads": 2, "tensorboard": False, "pictures": 0})
    for name in ("one", "other"):
        run(config, tmp_path / name)
    assert torch.get_num_threads() == 2
    assert read_checkpoint(tmp_path / "one" / CHECKPOINT)["learner"]["updates"] == 4
    assert_same_runs(tmp_path / "other", tmp_path / "one")
    assert results(tmp_path / "other") == results(tmp_path / "one")


def numbers(folder: Path) -> Any:
    """Results but for the configuration, in which the switch stands."""
    return {key: value for key, value in results(folder).items() if key != "config"}


@pytest.mark.parametrize("kind", ["crop", "gaussian", "stn"])
def test_on_a_cpu_the_switch_turns_torchs_own_on_and_changes_no_number(kind: str, tmp_path: Path) -> None:
    """Torch then fills memory that is not written yet with NaN as well: nobody reads it."""

    def with_switch(on: bool) -> Config:
        beside = {"controls": ["modern_cnn"], "signal": 2, "every": 40}
        switched = {"deterministic": on, "tensorboard": False, "pictures": 0}
        return configure(kind, policy={"encoder": "conv"}, evaluation=beside, run=switched)

    run(with_switch(True), tmp_path / "on")
    assert torch.are_deterministic_algorithms_enabled()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    run(with_switch(False), tmp_path / "off")
    assert not torch.are_deterministic_algorithms_enabled()
    for agent in ("", "controls/modern_cnn"):
        assert_same_runs(tmp_path / "on" / agent, tmp_path / "off" / agent)
    assert numbers(tmp_path / "on") == numbers(tmp_path / "off")
    assert differences(results(tmp_path / "on"), results(tmp_path / "off")) == ["/config/run/deterministic"]


def test_a_workspace_that_was_chosen_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    run(configure(run={"deterministic": True, "tensorboard": False, "pictures": 0}), tmp_path)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


def test_under_the_switch_stn_does_without_grid_sample_on_a_gpu_alone() -> None:
    sensor, small = Bilinear(size=4, scales=2), (12, 16)
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert not sensor._is_local(small, cuda)
    torch.use_deterministic_algorithms(True)
    assert sensor._is_local(small, cuda)
    assert not sensor._is_local(small, cpu)


@pytest.mark.parametrize("scales", [1, 3])
def test_what_stn_takes_in_the_place_of_grid_sample_sees_and_teaches_the_same(
    scales: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a canvas so small that it is the other way that is taken there; in double precision, so to rounding."""
    generator = torch.Generator().manual_seed(0)
    canvas = torch.rand(9, 2, 13, 17, generator=generator, dtype=torch.float64)
    parts = [torch.rand(9, 2, generator=generator, dtype=torch.float64) * 2 - 1 for _ in range(2)]
    sensor = Bilinear(size=4, scales=scales, reach=1.5)
    seen = []
    for local in (False, True):
        monkeypatch.setattr(Bilinear, "_is_local", lambda *_, way=local: way)
        centre, stride = (part.clone().requires_grad_() for part in parts)
        glimpse = sensor(canvas, Window(1.5 * centre, 1.2 + 0.7 * stride, torch.zeros_like(stride)))
        gradients = torch.autograd.grad(glimpse.square().sum(), [centre, stride])
        seen.append((glimpse.detach(), *gradients))
    for one, other in zip(*seen, strict=True):
        assert one.abs().max() > 0.1
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
