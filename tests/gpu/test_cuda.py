"""What can only be seen on a GPU: recorded updates, what waits, the same scenes as on the CPU, bits that repeat.

Skipped where there is none. `tests/unit/test_device.py` and `test_replay.py` say what of it a CPU can tell.
"""

import csv
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from envs.glimpse import GlimpseVectorEnv
from ram_agent.building import build_learner
from ram_agent.checkpoint import read_checkpoint
from ram_agent.cli.world import ConfiguredWorld
from ram_agent.config import Config, parse_config
from ram_agent.evaluation import evaluate
from ram_agent.learner import Learner
from ram_agent.sensor import make_sensor

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")

ROOT = Path(__file__).parents[2]
BENT = {"affine": 0.15, "elastic": 1.5}
METHODS = {"crop": "straight_through", "gaussian": "pathwise", "stn": "pathwise"}
KINDS: list[tuple[str, dict[str, Any]]] = [
    *((kind, {}) for kind in METHODS),
    ("crop", {"method": "reinforce"}),
    ("crop", {"method": "reinforce", "baseline": "leave_one_out", "episodes_per_image": 4, "batch": 8}),
    *(("crop", setting) for setting in ({"optimizer": "adam"}, {"window_rate": 0.5}, {"precision": "bfloat16"})),
]


def configure(kind: str = "crop", cuda_graph: bool | None = False, **training: Any) -> Config:
    """The agent of the tables on embedded digits, with everything that an update can have."""
    plain = {"method": METHODS[kind], "batch": 32, "optimizer": "muon", "lookahead": 3, "weight_average": 320}
    return parse_config(
        {
            "images": {"source": "digits"},
            "scene": {"kind": "cluttered", "height": 40, "width": 44, **BENT},
            "sensor": {"kind": kind, "size": 8, "scales": 2},
            "environment": {"glimpses": 4},
            "policy": {"encoder": "shared", "filters": 8, "scan": 3},
            "training": plain | {"learning_rate": 0.002, "episodes": 960} | training,
            "run": {"device": "cuda", "cuda_graph": cuda_graph, "threads": 1},
        }
    )


def make_learner(
    kind: str = "crop", cuda_graph: bool | None = False, role: str = "learned", **training: Any
) -> Learner:
    config = configure(kind, cuda_graph, **training)
    learner = build_learner(config, ConfiguredWorld(config), role)
    assert isinstance(learner, Learner)
    learner.total_episodes = learner.training.episodes
    return learner


def losses(learner: Learner, updates: int) -> torch.Tensor:
    return torch.stack([learner.update()["train/loss"].clone() for _ in range(updates)]).cpu()


@contextmanager
def waiting_is_an_error() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that this mode is young
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
@pytest.mark.parametrize("kind", METHODS)
def test_no_update_waits_for_the_gpu(kind: str, precision: str) -> None:
    learner = make_learner(kind, precision=precision)
    losses(learner, 2)  # the optimiser makes its state, libraries their workspaces
    with waiting_is_an_error():
        for _ in range(2):
            learner.running.add(learner.update())


def test_who_asks_is_found() -> None:
    learner = make_learner()
    facts = learner.update()
    with pytest.raises(RuntimeError, match="synchroniz"), waiting_is_an_error():
        facts["train/loss"].item()


NEAR = 0.02
"""Of two losses: sums on a GPU add in any order."""


@pytest.mark.parametrize(("kind", "settings"), KINDS)
def test_recorded_updates_are_those_that_are_not_recorded(kind: str, settings: dict[str, Any]) -> None:
    """Three are played, the fourth is recorded and replayed with all that follow: other scenes, noise, rate."""
    plain, recorded = losses(make_learner(kind, **settings), 12), losses(make_learner(kind, True, **settings), 12)
    assert torch.allclose(plain, recorded, atol=NEAR)


def test_a_recording_that_is_always_of_the_same_scenes_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, stuck = losses(make_learner(), 12), make_learner(cuda_graph=True)
    first = losses(stuck, 4)
    monkeypatch.setattr(stuck, "_schedule", lambda: None)
    assert not torch.allclose(plain, torch.cat([first, losses(stuck, 8)]), atol=NEAR)


@pytest.mark.parametrize("control", ["random", "oracle", "fc", "cnn", "modern_cnn"])
def test_controls_are_recorded_likewise(control: str) -> None:
    plain, recorded = (losses(make_learner(cuda_graph=graph, role=control), 8) for graph in (False, True))
    assert torch.allclose(plain, recorded, atol=NEAR)


def test_a_gpu_is_reason_enough_to_record() -> None:
    for said, expected in ((None, True), (False, False)):
        learner = make_learner(cuda_graph=said)
        losses(learner, 5)
        assert (learner._replayed is not None) is expected


def test_a_recorded_training_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    whole = losses(learner := make_learner(cuda_graph=True), 6)
    learner.save(tmp_path / "agent.pt", best=None)
    whole = torch.cat([whole, losses(learner, 6)])
    resumed = make_learner(cuda_graph=True, learning_rate=0.02)
    losses(resumed, 20)  # far away from there, and recorded already
    resumed.training = learner.training
    resumed.restore(tmp_path / "agent.pt")
    assert resumed.updates == 6
    assert torch.allclose(losses(resumed, 6), whole[6:], atol=NEAR)
    for name, value in learner.policy.state_dict().items():
        assert torch.allclose(resumed.policy.state_dict()[name], value, atol=NEAR), name


def test_a_recorded_update_that_has_gone_bad_takes_no_step() -> None:
    learner = make_learner(cuda_graph=True)
    losses(learner, 5)
    learner.check_numbers()
    with torch.no_grad():
        learner.policy.classifier.bias.fill_(float("nan"))
    before = {name: value.clone() for name, value in learner.policy.state_dict().items()}
    losses(learner, 2)
    with pytest.raises(ArithmeticError, match="update 6"):
        learner.check_numbers()
    for name, value in learner.policy.state_dict().items():
        assert torch.equal(value.nan_to_num(), before[name].nan_to_num()), name


def test_scenes_are_those_of_the_cpu_to_the_last_bit() -> None:
    environments = [
        GlimpseVectorEnv(64, images="digits", size=(40, 44), affine=0.15, elastic=1.5, tensors=True, device=device)
        for device in ("cpu", "cuda")
    ]
    first, second = (env.reset(seed=5)[1] | {"canvas": env.canvas} for env in environments)
    for name in ("canvas", "target", "place"):
        assert torch.equal(first[name], second[name].cpu()), name


@pytest.mark.parametrize("kind", METHODS)
def test_eyes_see_what_they_see_on_the_cpu(kind: str) -> None:
    sensor = make_sensor(kind, size=8, scales=2)
    generator = torch.Generator().manual_seed(1)
    canvas = torch.rand(16, 1, 40, 44, generator=generator)
    action = torch.rand(16, sensor.window_parameters, generator=generator) * 2 - 1
    here = sensor(canvas, sensor.window(action))
    there = sensor(canvas.cuda(), sensor.window(action.cuda())).cpu()
    # On the GPU a centre may be rounded to the pixel beside: then a crop shows another, and few are.
    near = (here - there).abs().flatten(1).amax(dim=1) < 1e-4
    assert near.float().mean() >= (0.9 if kind == "crop" else 1.0)


def test_an_agent_answers_on_the_cpu_as_on_the_gpu(tmp_path: Path) -> None:
    learner = make_learner(cuda_graph=True)
    losses(learner, 10)
    learner.save(tmp_path / "agent.pt", best=None)
    config = configure()
    answers = []
    for device in ("cuda", "cpu"):
        world = ConfiguredWorld(config.model_copy(update={"run": config.run.model_copy(update={"device": device})}))
        env = world.environment("test", 64)
        agent = type(learner).load(tmp_path / "agent.pt", world.environment("train", 32), device)
        answers.append(evaluate(agent.judged, env, 64).answers)
    assert (answers[0] == answers[1]).mean() > 0.95


def train(folder: Path, *options: str) -> list[dict[str, str]]:
    """`train.py` as a user calls it; the rows of its `metrics.csv`, but for times."""
    settings = {
        "images.source": "digits",
        "training.episodes": "1920",
        "training.batch": "64",
        "training.lookahead": "3",
        "evaluation.every": "640",
        "run.folder": str(folder),
        "run.threads": "1",
        "run.pictures": "0",
        "run.log_every": "320",
        "device": "cuda",
    }
    given = [part for name, value in settings.items() for part in (f"--{name}", value)]
    command = [sys.executable, "train.py", "configs/cluttered60_hard_best_4.yaml", *given, *options]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with (folder / "metrics.csv").open(newline="") as file:
        return [
            {key: value for key, value in row.items() if not key.startswith("time/")} for row in csv.DictReader(file)
        ]


def test_a_run_that_was_asked_to_repeats_to_the_last_bit(tmp_path: Path) -> None:
    once, again = (train(tmp_path / name, "--run.deterministic", "true") for name in ("once", "again"))
    assert once == again
    one, other = (read_checkpoint(tmp_path / name / "checkpoints" / "agent.pt") for name in ("once", "again"))
    for name, value in one["learner"]["policy"].items():
        assert torch.equal(value, other["learner"]["policy"][name]), name


def test_a_recorded_run_ends_with_results(tmp_path: Path) -> None:
    rows = train(tmp_path / "run", "--run.cuda_graph", "true", "--training.weight_average", "640")
    assert rows
    assert (tmp_path / "run" / "results.json").is_file()
