"""Several processes, one training: what torchrun starts must train as one process with all the lanes would."""

import json
import os
import random
import shutil
import socket
import subprocess
import sys
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from envs.glimpse import GlimpseVectorEnv
from ram_agent.algorithm import ASK_EVERY
from ram_agent.checkpoint import read_checkpoint
from ram_agent.cli import main
from ram_agent.compare.gather import gather
from ram_agent.config import PolicyConfig
from ram_agent.interruption import Interruption
from ram_agent.learner import LEARNERS, Learner
from ram_agent.parallel import ALONE, Ranks, join_ranks, leave_ranks
from ram_agent.policy import RecurrentAttentionPolicy

ROOT = Path(__file__).parents[2]
LANES = 6
METHODS = {"pathwise": "stn", "reinforce": "crop"}
"""And the eye of each."""
HORIZON = 13
"""Episodes that the average of the weights reaches back over, hardly more than the lanes of both processes."""


def make_learner(method: str, lanes: int, ranks: Ranks = ALONE, **settings: Any) -> Learner:
    env = GlimpseVectorEnv(
        lanes,
        images="digits",
        size=(40, 40),
        sensor=METHODS[method],
        glimpse_size=4,
        scales=2,
        glimpses=3,
        tensors=True,
    )
    torch.manual_seed(5 + ranks.rank)  # weights are the first rank's, wherever they began
    policy = RecurrentAttentionPolicy(
        env.single_observation_space["glimpse"].shape,
        env.sensor.rest((40, 40)),
        10,
        head={"reinforce": "sampled", "pathwise": "pathwise"}[method],
        config=PolicyConfig(hidden=12, what=8, where=6, features=10, location=6),
    )
    with torch.no_grad():  # the last layer of the window head starts at 0: nothing would pass it
        policy.window_head.outer.weight.add_(0.1)  # type: ignore[union-attr]
    return LEARNERS[method](policy, env, seed=3, ranks=ranks, window_std=0.2, **settings)


def gradient_of(learner: Learner) -> dict[str, torch.Tensor]:
    """Of the first update, before it is clipped and applied."""
    learner._schedule()
    total, _ = learner._play(None)
    total.backward()
    return {
        name: torch.zeros_like(weight) if weight.grad is None else weight.grad
        for name, weight in learner.policy.named_parameters()
    }


def work(target: Path) -> None:
    """What one of two processes does."""
    ranks = join_ranks()
    for method in METHODS:
        learner = make_learner(method, LANES, ranks, weight_average=HORIZON)
        found: dict[str, Any] = {"gradient": gradient_of(learner), "steps": []}
        learner.policy.zero_grad()
        for _ in range(3):
            learner.update()
            found["steps"].append(deepcopy(learner.policy.state_dict()))
        found["weights"] = learner.policy.state_dict()
        found["average"] = learner.judged.state_dict()
        torch.save(found, target / f"{method}-{ranks.rank}.pt")
    learner = make_learner("pathwise", LANES, ranks)

    def asked(*_: Any) -> bool:
        learner.stop_requested |= ranks.rank == 1 and learner.updates == 2
        return True

    learner.learn(40 * 2 * LANES * 3, callback=asked)
    interruption = Interruption(received=15 * ranks.rank, unwritten="" if ranks.rank else "full")
    interruption.agree(ranks)
    agreed = (learner.updates, interruption.received, interruption.unwritten)
    (target / f"stopped-{ranks.rank}.json").write_text(json.dumps(agreed))
    leave_ranks()


def start(rank: int, port: int, target: Path) -> subprocess.Popen[bytes]:
    environment = {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    return subprocess.Popen([sys.executable, __file__, str(target)], env=os.environ | environment)


def free_port() -> int:
    """Below those that a system hands out unasked, to other tests, say, before the two processes are up."""
    for port in random.sample(range(20_000, 30_000), 50):
        with suppress(OSError), socket.socket() as tried:
            tried.bind(("127.0.0.1", port))
            return port
    raise AssertionError("fifty ports are taken")


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    target = tmp_path_factory.mktemp("ranks")
    port = free_port()
    processes = [start(rank, port, target) for rank in range(2)]
    try:
        assert [process.wait(timeout=240) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    found: dict[str, list[Any]] = {
        method: [torch.load(target / f"{method}-{rank}.pt", weights_only=True) for rank in range(2)]
        for method in METHODS
    }
    return found | {"stopped": [json.loads((target / f"stopped-{rank}.json").read_text()) for rank in range(2)]}


def test_processes_stop_together_whichever_is_asked_and_agree_on_why(two_processes: dict[str, list[Any]]) -> None:
    """The second alone was asked, in the third of 40 updates; they ask each other every 16."""
    assert two_processes["stopped"] == [[ASK_EVERY, 15, "full"]] * 2


@pytest.mark.parametrize("method", METHODS)
def test_both_processes_hold_the_same_gradient_and_stay_together(
    method: str, two_processes: dict[str, list[Any]]
) -> None:
    one, other = two_processes[method]
    for part in ("gradient", "weights", "average"):
        for name, value in one[part].items():
            assert torch.equal(value, other[part][name]), (part, name)


@pytest.mark.parametrize("method", METHODS)
def test_an_average_of_weights_reaches_back_over_the_episodes_of_both_processes(
    method: str, two_processes: dict[str, list[Any]]
) -> None:
    """Of 12 episodes an update and 13 in reach, a step leaves a thirteenth of what was; of six it would leave seven."""
    first, *later = two_processes[method][0]["steps"]
    for name, value in two_processes[method][0]["average"].items():
        expected = first[name]
        for step in later:
            expected = expected / HORIZON + step[name] * (1 - 1 / HORIZON)
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-8)


def test_two_processes_give_the_gradient_of_one_with_the_lanes_of_both(two_processes: dict[str, list[Any]]) -> None:
    expected = gradient_of(make_learner("pathwise", 2 * LANES))
    assert expected["window_head.inner.weight"].norm() > 0
    for name, value in two_processes["pathwise"][0]["gradient"].items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-7)


def test_two_processes_give_the_mean_of_the_gradients_of_their_own_lanes_and_noise(
    two_processes: dict[str, list[Any]],
) -> None:
    """Hard attention draws its noise rank by rank, so that one process plays the halves one after the other."""
    halves = []
    for rank in range(2):
        learner = make_learner("reinforce", LANES)
        learner.ranks = Ranks(rank, 2)  # its images and its noise, without the other process
        halves.append(gradient_of(learner))
    assert not torch.equal(halves[0]["window_head.outer.bias"], halves[1]["window_head.outer.bias"])
    for name, value in two_processes["reinforce"][0]["gradient"].items():
        torch.testing.assert_close(value, (halves[0][name] + halves[1][name]) / 2, rtol=1e-4, atol=1e-7)


def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*command, *arguments],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_torchrun_trains_resumes_and_only_the_first_process_speaks_and_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["configs/smoke.yaml", "--evaluation.controls", "[]", "--run.pictures", "0", "--run.tensorboard", "false"]
    whole = torchrun("train.py", *small, "--training.batch", "25", "--run.folder", str(tmp_path / "whole"))
    assert whole.returncode == 0, whole.stderr
    assert whole.stdout.count("test error in percent") == 1
    assert "Warning" not in whole.stderr
    results = json.loads((tmp_path / "whole" / "results.json").read_text())
    assert results["processes"] == 2
    assert results["episodes"] == 2000

    # A run that was killed after its first checkpoint: the same folder without what came after.
    parts = tmp_path / "parts"
    shutil.copytree(tmp_path / "whole", parts)
    (parts / "results.json").unlink()
    for late in ("agent.pt", "agent-000002.pt", "SHA256SUMS"):
        (parts / "checkpoints" / late).unlink()
    (first,) = (parts / "checkpoints").iterdir()
    assert read_checkpoint(first)["learner"]["updates"] == 20
    assert [run.processes for run in gather([parts]).runs] == [2]  # what is unfinished is told of its checkpoint
    before = {path: path.read_bytes() for path in parts.rglob("*") if path.is_file()}
    assert main(["train", "--resume", str(parts)]) == 2
    told = capsys.readouterr().err
    assert "processes: got 1, expected 2 as saved in " in told
    assert "go on with torchrun --nproc-per-node 2 -m ram_agent train --resume and the run's folder" in told
    assert before.items() <= {path: path.read_bytes() for path in parts.rglob("*") if path.is_file()}.items()
    resumed = torchrun("-m", "ram_agent", "train", "--resume", str(parts))
    assert resumed.returncode == 0, resumed.stderr
    saved, expected = (
        read_checkpoint(folder / "checkpoints" / "agent.pt")["learner"] for folder in (parts, tmp_path / "whole")
    )
    assert saved["updates"] == expected["updates"] == 40
    for name, value in expected["policy"].items():
        assert torch.equal(saved["policy"][name], value), name


def test_what_is_wrong_with_the_images_is_said_once(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for label in "ab":
        (folder / label / "deeper").mkdir(parents=True)
        for number in range(12):
            Image.fromarray(np.full((8, 8), number, dtype=np.uint8)).save(folder / label / f"{number}.png")
        shutil.copy(folder / label / "0.png", folder / label / "deeper")
    images = ["--images.source", str(folder), "--scene.kind", "plain", "--scene.height", "8", "--scene.width", "8"]
    run = tmp_path / "run"
    small = ["--training.episodes", "50", "--training.batch", "25", "--evaluation.controls", "[]"]
    small += ["--run.pictures", "0", "--sensor.size", "4"]
    done = torchrun("train.py", "configs/smoke.yaml", *small, *images, "--run.folder", str(run))
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "sub-folders" in line]
    assert line.startswith(f"warning: {folder}: 2 pictures in sub-folders of a, b are not read")


if __name__ == "__main__":
    work(Path(sys.argv[1]))
