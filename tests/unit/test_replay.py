"""Updates that are replayed: everything but the recording itself, which takes a GPU."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from ram_agent import building, replay
from ram_agent.algorithm import Algorithm
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
            with pytest.MonkeyPatch.context() as patch:  # what the host works out now, a recording would not have
                for name in ("progress", "draw", "episodes"):
                    patch.setattr(Algorithm, name, property(lambda _: pytest.fail("asked for while it is replayed")))
                patch.setattr(Learner, "window_std", lambda *_: pytest.fail("asked for while it is replayed"))
                return function()

        return again

    def aside(function: Callable[[], Any], device: torch.device) -> Any:
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
    for _ in range(6):  # three that warm up anew, and what is replayed
        one, same = plain.update(), other.update()
        assert torch.equal(one["train/loss"], same["train/loss"])
    assert steps[0] == steps[1] == 6 * 3 * 5
    for name, value in plain.policy.state_dict().items():
        torch.testing.assert_close(other.policy.state_dict()[name], value)
    assert recorded.count("replay") == 2 + 3
    for group in other.optimizer.param_groups:
        assert isinstance(group["lr"], torch.Tensor)  # where a recording would read it


def test_what_cannot_be_replayed_is_refused() -> None:
    learner = make_learner("crop", optimizer="sgd")
    with pytest.raises(ValueError, match="cuda_graph"):
        replayed(learner)


@pytest.mark.parametrize(
    ("device", "optimizer", "processes", "deterministic", "expected"),
    [
        ("cuda", "adam", 1, False, True),
        ("cuda:1", "muon", 1, False, True),
        ("cpu", "muon", 1, False, False),
        ("cuda", "muon", 2, False, False),
        ("cuda", "sgd", 1, False, False),
        ("cuda", "muon", 1, True, False),
    ],
)
def test_updates_are_replayed_unasked_where_they_can_be(
    device: str, optimizer: str, processes: int, deterministic: bool, expected: bool
) -> None:
    assert replay.replays_unasked(optimizer, processes, torch.device(device), deterministic=deterministic) is expected


@pytest.mark.parametrize(("said", "expected"), [(None, True), (True, True), (False, False)])
def test_what_is_said_goes_before_and_what_is_not_is_not_written_down(
    said: bool | None, expected: bool, recorded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that began on a GPU may go on where there is none."""
    monkeypatch.setattr(building, "replays_unasked", lambda *_, **__: True)
    config = make_config(run={} if said is None else {"cuda_graph": said})
    world = make_world(config)
    learner = building.build_learner(config, world)
    for _ in range(5):
        learner.update()
    assert ("replay" in recorded) is expected
    assert settle(config, world).run.cuda_graph is said


def test_what_was_recorded_is_forgotten_with_the_optimisers_state_it_wrote_to(
    recorded: list[str], tmp_path: Any
) -> None:
    learner = replayed(make_learner("crop"))
    for _ in range(5):
        learner.update()
    learner.save(tmp_path / "agent.pt", best=None)
    learner.restore(tmp_path / "agent.pt")
    recorded.clear()
    for _ in range(5):
        learner.update()
    assert recorded == ["aside"] * 3 + ["record"] + ["replay"] * 2
    learner.release()
    recorded.clear()
    learner.update()
    assert recorded == ["aside"]
