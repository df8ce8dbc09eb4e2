"""Updates that are replayed: everything but the recording itself, which takes a GPU."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from ram_agent import replay
from ram_agent.experiment import settle
from ram_agent.learner import REINFORCE, Learner
from ram_agent.optimizers import make_optimizer
from tests.making import make_config, make_world
from tests.unit.test_device import make_learner


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A stand-in for the GPU: what was recorded is called again. Recording itself, as there, does nothing."""
    happened: list[str] = []

    def record(function: Callable[[], Any], generator: torch.Generator) -> Callable[[], Any]:
        happened.append("record")

        def again() -> Any:
            happened.append("replay")
            return function()

        return again

    def aside(function: Callable[[], Any]) -> Any:
        happened.append("aside")
        return function()

    monkeypatch.setattr(replay, "record_cuda", record)
    monkeypatch.setattr(replay, "aside_cuda", aside)
    return happened


def replayed(learner: Learner, **settings: Any) -> Learner:
    """A learner with the same weights whose updates are replayed."""
    other = REINFORCE(learner.policy, learner.env, learner.training, seed=learner.seed, cuda_graph=True, **settings)
    return other


def test_three_calls_warm_up_and_one_recording_serves_all_others(recorded: list[str]) -> None:
    learner = replayed(make_learner("crop"))
    for _ in range(6):
        learner.update()
    assert recorded == ["aside"] * 3 + ["record"] + ["replay"] * 3


@pytest.mark.parametrize(("optimizer", "window_rate"), [("adam", 1.0), ("adam", 0.5), ("muon", 1.0), ("muon", 0.5)])
def test_replayed_updates_are_the_same_updates(
    optimizer: str, window_rate: float, recorded: list[str], tmp_path: Any
) -> None:
    """Schedules, scenes and noise reach what was recorded; also after a checkpoint was read into it."""
    settings = {"learning_rate": 0.01, "window_std": 0.3, "window_std_end": 0.05}
    settings |= {"optimizer": optimizer, "window_rate": window_rate}
    plain, other = make_learner("crop", **settings), replayed(make_learner("crop", **settings))
    # A rate in a tensor, where a recording reads it, is multiplied in another order: like is held to like.
    plain.optimizer = make_optimizer(plain.policy, plain.training, plain.device)
    plain.optimizer.found_inf = plain.guard.bad  # type: ignore[attr-defined]
    other.policy.load_state_dict(plain.policy.state_dict())
    steps = []
    for learner in (plain, other):
        learner.learn(6 * 3 * 5, reset_num_timesteps=True)
        learner.total_episodes = 6 * 12
        steps.append(learner.num_timesteps)
    plain.save(tmp_path / "plain")
    other.restore(tmp_path / "plain")
    for _ in range(4):
        one, same = plain.update(), other.update()
        assert torch.equal(one["train/loss"], same["train/loss"])
    assert steps[0] == steps[1] == 6 * 3 * 5
    for name, value in plain.policy.state_dict().items():
        torch.testing.assert_close(other.policy.state_dict()[name], value)
    assert recorded.count("replay") >= 4
    for group in other.optimizer.param_groups:
        assert isinstance(group["lr"], torch.Tensor)  # where a recording would read it


def test_what_cannot_be_replayed_is_refused() -> None:
    learner = make_learner("crop", optimizer="sgd")
    with pytest.raises(ValueError, match="cuda_graph"):
        replayed(learner)


@pytest.mark.parametrize(
    ("device", "processes", "sections", "expected"),
    [
        ("cuda", 1, {}, True),
        ("cuda", 1, {"training": {"optimizer": "muon"}}, True),
        ("cpu", 1, {}, False),
        ("cuda", 2, {}, False),
        ("cuda", 1, {"training": {"optimizer": "sgd"}}, False),
        ("cuda", 1, {"training": {"method": "ppo"}}, False),
        ("cuda", 1, {"run": {"deterministic": True}}, False),
        ("cuda", 1, {"run": {"cuda_graph": False}}, False),
        ("cuda", 1, {"run": {"deterministic": True, "cuda_graph": True}}, True),
    ],
)
def test_updates_are_replayed_where_they_can_be_unless_told_otherwise(
    device: str, processes: int, sections: dict[str, Any], expected: bool
) -> None:
    config = make_config(**sections)
    world = make_world(config)
    world.device = torch.device(device)  # of which nothing but its kind is asked
    assert settle(config, world, processes).run.cuda_graph is expected
