"""Gymnasium's `AsyncVectorEnv`, whose processes are forks on Linux, and what users type where no types are checked."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORKED = """
import gymnasium, numpy as np, torch

torch.rand(400, 400) @ torch.rand(400, 400)  # a parent that has computed: OpenMP's threads are its own
torch.rand(1_000_000).sum()
kinds = {"ram/ClutteredMNIST100-v0": {}, "ram/ClutteredMNIST-v0": {"sensor": "gaussian"}}
for name, settings in kinds.items():
    both = [
        gymnasium.make_vec("envs:" + name, num_envs=2, images="digits", vectorization_mode=mode, **settings)
        for mode in ("async", "sync")
    ]
    for env in both:
        env.action_space.seed(1)
    (seen, _), (expected, _) = (env.reset(seed=3) for env in both)
    for _ in range(3):
        assert np.array_equal(seen["glimpse"], expected["glimpse"])
        seen, expected = (env.step(env.action_space.sample())[0] for env in both)
    for env in both:
        env.close()
print("alike")
"""


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere processes are not forked by default")
def test_environments_in_forked_processes_do_not_wait_for_threads_that_stayed_behind() -> None:
    run = python(FORKED, OMP_NUM_THREADS="2")
    assert run.stdout.strip() == "alike", run.stderr


def test_arrays_are_refused_with_the_way_to_give_them() -> None:
    code = "import numpy; from envs.glimpse import GlimpseVectorEnv; GlimpseVectorEnv(1, images=numpy.zeros((4, 8, 8)))"
    last = python(code).stderr.strip().splitlines()[-1]
    assert last.startswith(
        "ValueError: images: got ndarray, expected 'auto', 'mnist', 'digits', a path or an ImageData;"
    )
    assert "numpy.savez('mine.npz'" in last
