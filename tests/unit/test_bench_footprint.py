"""The scales that memory is weighed on."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ram_agent.bench import footprint
from ram_agent.bench.memory import weigh
from ram_agent.bench.settings import Settings

ROOT = Path(__file__).parents[2]
linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")


@linux
def test_the_reader_agrees_with_the_kernels_own_line_and_sees_what_is_taken() -> None:
    def said_by_the_kernel() -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

    before = footprint.resident()
    assert before == pytest.approx(said_by_the_kernel(), abs=1)
    taken = np.ones(64 * 2**20, np.uint8)
    assert footprint.resident() - before == pytest.approx(64, abs=4)
    most = footprint.peak()
    assert most >= footprint.resident() - 1
    del taken
    assert footprint.peak() >= most - 1  # a peak stays


@linux
def test_a_process_is_weighed_before_torch_is_in_it_and_knows_nothing_of_a_heavy_parent() -> None:
    ours = np.ones(300 * 2**20, np.uint8)  # getrusage would report it as the child's own
    program = "import sys; from ram_agent.bench import footprint; print(footprint.peak(), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    most, has_torch = done.stdout.split()
    assert has_torch == "False"
    assert 1 < float(most) < 100 < len(ours) / 2**20


def test_without_proc_the_maximum_stands_in_and_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(footprint, "PROC", tmp_path)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform == "darwin" else 1 / 1024) / 2**20
    assert footprint.resident() == footprint.peak() == pytest.approx(most, rel=0.01)
    assert "maximum" in footprint.source()


def test_a_training_is_weighed_at_every_stage_in_a_folder_that_has_an_envs_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    stages = weigh("crop", Settings(torch.device("cpu"), updates=10, batch=4))
    assert {"source", "torch", "imports", "learner", "early", "end", "peak"} == stages.keys()
    if stages["source"] == "/proc/self/statm":
        assert 20 < stages["torch"] < stages["imports"] < stages["learner"] <= stages["peak"]
