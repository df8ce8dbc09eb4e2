"""Nothing in an update waits for the device: no value comes back to Python before someone asks for the log.

On a GPU each such question stops the queue, and no CUDA graph can be captured. Here, where there may be no GPU,
every way back is blocked instead.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from envs.glimpse import GlimpseVectorEnv
from ram_agent.building import build_learner
from ram_agent.cli.world import ConfiguredWorld
from ram_agent.config import PolicyConfig, parse_config
from ram_agent.controls import CONTROLS
from ram_agent.full_image import NETWORKS, FullImagePolicy, WholeCanvas
from ram_agent.learner import LEARNERS, Learner, Pathwise
from ram_agent.policy import RecurrentAttentionPolicy

WAITS = {"_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "unique", "bincount"}
"""Operations whose result, or the shape of it, must be known on the host."""


class Waited(AssertionError):
    pass


class NoWaiting(TorchDispatchMode):
    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = operation.overloadpacket.__name__
        masked = name.startswith("index") and any(
            isinstance(index, Tensor) and index.dtype == torch.bool
            for part in args
            if isinstance(part, list | tuple)
            for index in part
        )
        if name in WAITS or masked:
            raise Waited(name)
        return operation(*args, **(kwargs or {}))


@contextmanager
def nothing_comes_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(name: str) -> Callable[..., Any]:
        def method(*arguments: Any, **options: Any) -> Any:
            raise Waited(name)

        return method

    with monkeypatch.context() as patch, NoWaiting():
        for name in ("cpu", "numpy", "tolist", "item", "__array__", "__bool__", "__int__", "__float__", "__index__"):
            patch.setattr(Tensor, name, refuse(name))
        # Host to device: a copy from memory that is not pinned waits as well.
        for name in ("from_numpy", "tensor"):
            patch.setattr(torch, name, refuse(name))
        yield


def make_learner(kind: str, core: str = "lstm", **settings: Any) -> Learner:
    method = "reinforce" if kind == "crop" else "pathwise"
    lanes = 6
    size = (40, 44) if kind != "stn far" else (200, 200)
    env = GlimpseVectorEnv(
        lanes, images="digits", size=size, sensor=kind.split()[0], glimpse_size=4, scales=2, glimpses=3, tensors=True
    )
    policy = RecurrentAttentionPolicy(
        env.single_observation_space["glimpse"].shape,
        env.sensor.rest(size),
        10,
        head={"reinforce": "sampled", "pathwise": "pathwise"}[method],
        config=PolicyConfig(core=core, hidden=12, what=8, where=6, features=10, location=6),  # type: ignore[arg-type]
    )
    return LEARNERS[method](policy, env, seed=3, **settings)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["crop", "gaussian", "stn", "stn far"])
def test_an_update_asks_the_device_for_nothing(kind: str, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = make_learner(kind, precision=precision)
    learner.running.add(learner.update())  # the optimiser makes its state in the first step
    with nothing_comes_back(monkeypatch):
        for _ in range(2):
            learner.running.add(learner.update())
    assert learner.updates == 3


@pytest.mark.parametrize(
    ("sensor", "training"),
    [
        ("crop", {"method": "straight_through", "lookahead": 3}),
        ("crop", {"method": "reinforce", "baseline": "leave_one_out", "episodes_per_image": 4, "batch": 2}),
        ("gaussian", {"method": "pathwise", "lookahead": 3, "classify_every_look": True}),
        ("stn", {"method": "pathwise", "lookahead": 3}),
    ],
    ids=lambda part: part if isinstance(part, str) else part["method"],
)
@pytest.mark.parametrize("encoder", ["conv", "shared"])
def test_nor_does_one_of_the_agents_of_the_tables(
    encoder: str, sensor: str, training: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Filters, Muon, a scan, looking ahead, averages, clutter and distorted images."""
    config = parse_config(
        {
            "images": {"source": "digits"},
            "scene": {"kind": "cluttered", "height": 40, "width": 44, "affine": 0.15, "elastic": 1.5},
            "sensor": {"kind": sensor, "size": 8, "scales": 2},
            "environment": {"glimpses": 4},
            "policy": {"encoder": encoder, "filters": 4, "scan": 3},
            "training": {"batch": 6, "optimizer": "muon", "weight_average": 60, "episodes": 960} | training,
        }
    )
    learner = build_learner(config, ConfiguredWorld(config))
    learner.running.add(learner.update())
    with nothing_comes_back(monkeypatch):
        for _ in range(2):
            learner.running.add(learner.update())


def make_control(control: str, sensor: str = "crop", **settings: Any) -> Learner:
    env: Any = GlimpseVectorEnv(6, images="digits", sensor=sensor, glimpse_size=4, scales=2, glimpses=3, tensors=True)
    env = WholeCanvas(env) if control in NETWORKS else env
    kind = FullImagePolicy if control in NETWORKS else RecurrentAttentionPolicy
    shape, first = env.single_observation_space["glimpse"].shape, env.sensor.rest((60, 60))
    return Pathwise(kind(shape, first, 10, head=control), env, seed=3, **settings)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("control", [*CONTROLS, *NETWORKS])
def test_nor_does_one_of_a_control(control: str, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for sensor in ["crop", "gaussian", "stn"] if control in CONTROLS else ["crop"]:
        learner = make_control(control, sensor, precision=precision)
        learner.update()
        with nothing_comes_back(monkeypatch):
            learner.running.add(learner.update())


@pytest.mark.parametrize("core", ["rnn", "gru"])
@pytest.mark.parametrize("baseline", ["none", "learned", "leave_one_out"])
@pytest.mark.parametrize("reward", ["success", "probability", "log_likelihood"])
def test_whatever_the_core_the_baseline_and_the_reward(
    core: str, baseline: str, reward: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    per_image = {"leave_one_out": {"batch": 2, "episodes_per_image": 3}}.get(baseline, {})
    learner = make_learner("crop", core, baseline=baseline, reward=reward, **per_image)
    learner.update()
    with nothing_comes_back(monkeypatch):
        learner.update()


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_nor_does_an_optimiser(optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = make_learner("crop", optimizer=optimizer)
    learner.update()
    with nothing_comes_back(monkeypatch):
        learner.update()


@pytest.mark.parametrize("method", ["reinforce", "pathwise"])
def test_nor_does_looking_ahead(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = make_learner("gaussian" if method == "pathwise" else "crop", lookahead=3)
    learner.update()
    with nothing_comes_back(monkeypatch):
        learner.update()


def test_nor_does_an_average_of_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = make_learner("crop", weight_average=100)
    learner.update()
    with nothing_comes_back(monkeypatch):
        learner.update()


@pytest.mark.parametrize(
    "peek",
    [
        lambda facts: facts["train/loss"].item(),
        lambda facts: facts["train/loss"].cpu(),
        lambda facts: float(facts["train/loss"]),
        lambda facts: bool(facts["train/loss"] > 0),
        lambda facts: facts["train/loss"].expand(3)[torch.ones(3, dtype=torch.bool)],
        lambda facts: torch.tensor(1.0) * facts["train/loss"],
    ],
)
def test_the_guard_sees_who_asks(peek: Callable[[Any], object], monkeypatch: pytest.MonkeyPatch) -> None:
    learner = make_learner("crop")
    learner.update()
    with pytest.raises(Waited), nothing_comes_back(monkeypatch):
        peek(learner.update())
