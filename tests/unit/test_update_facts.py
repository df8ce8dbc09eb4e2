"""What the log says of an update is what was played; in what precision; with what exploration."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.logger import KVWriter, Logger

from ram_agent import learner as learners
from ram_agent.average import Average
from ram_agent.full_image import FullImagePolicy
from ram_agent.learner import LEARNERS, Learner
from ram_agent.rollout import Episode, rollout
from tests.making import make_env, make_learner


class Rows(KVWriter):
    """All that was logged, row by row."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        self.rows.append(dict(key_values))

    def close(self) -> None: ...


def logged(learner: Learner, updates: int, interval: int) -> list[dict[str, Any]]:
    rows = Rows()
    learner.set_logger(Logger(None, [rows]))
    learner.learn(updates * learner.lanes * learner.env.glimpses, log_interval=interval)
    return rows.rows


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Episode, float]]:
    """Every episode of a training, with the exploration that it was played with."""
    episodes = []

    def noted(*given: Any, std: Any, **more: Any) -> Episode:
        episode = rollout(*given, std=std, **more)
        episodes.append((episode, float(std)))
        return episode

    monkeypatch.setattr(learners, "rollout", noted)
    return episodes


def test_exploration_goes_from_its_start_to_its_end_and_is_logged(played: list[tuple[Episode, float]]) -> None:
    rows = logged(make_learner(window_std=0.4, window_std_end=0.1), updates=6, interval=2)
    np.testing.assert_allclose([std for _, std in played], [0.4, 0.35, 0.3, 0.25, 0.2, 0.15], atol=1e-6)
    np.testing.assert_allclose([row["train/window_std"] for row in rows], [0.3, 0.2, 0.1], atol=1e-6)


def test_actions_are_explored_as_far_as_the_training_has_come() -> None:
    learner = make_learner(window_std=0.5, window_std_end=1e-6)
    observation, _ = learner.env.reset(seed=0)

    def apart() -> float:
        sampled, mean = (
            torch.as_tensor(learner.predict(observation, deterministic=deterministic)[0]["window"])
            for deterministic in (False, True)
        )
        return float((sampled - mean).abs().max())

    assert apart() > 0.1
    learner.learn(4 * learner.lanes * learner.env.glimpses)
    assert apart() < 1e-4


@pytest.mark.parametrize("method", LEARNERS)
def test_what_is_logged_of_an_update_is_what_was_played(method: str, played: list[tuple[Episode, float]]) -> None:
    reward = {"reward": "success"} if method == "reinforce" else {}
    learner = make_learner(method, lanes=16, seed=3, **reward)
    torch.nn.init.normal_(learner.policy.window_head.outer.weight, std=0.5)  # type: ignore[operator, union-attr, arg-type]
    if method == "reinforce":
        torch.nn.init.normal_(learner.policy.baseline.value.weight, std=0.5)  # type: ignore[operator, union-attr]
        weight, bias = (each.detach().clone() for each in learner.policy.baseline.value.parameters())  # type: ignore[operator, union-attr]
    facts = learner.update()
    ((episode, _),) = played
    right = (episode.logits[-1].argmax(dim=-1) == episode.target).numpy()
    assert right.mean() not in (0, 0.5, 1)
    assert float(facts["rollout/error"]) == pytest.approx(100 * (1 - right.mean()), abs=1e-4)
    assert float(facts["rollout/reward"]) == pytest.approx(right.mean(), abs=1e-6)
    window = learner.env.sensor.window(episode.windows.detach().flatten(0, 1))
    centres = window.centre.numpy().reshape(*episode.windows.shape[:2], 2)
    assert float(facts["rollout/fixation_spread"]) == pytest.approx(centres.std(axis=0).mean(), abs=1e-6)
    assert float(facts["rollout/stride"]) == pytest.approx(window.stride.numpy().mean(), abs=1e-5)
    assert float(facts["rollout/sigma"]) == pytest.approx(window.sigma.numpy().mean(), abs=1e-5)
    if method == "pathwise":
        assert float(facts["rollout/stride"]) != pytest.approx(float(facts["rollout/sigma"]), abs=1e-2)
    if method == "reinforce":
        foreseen = (episode.hidden[-2].detach() @ weight.T + bias)[:, 0].numpy()  # before the last move
        expected = 1 - (right - foreseen).var() / right.var()
        assert float(facts["train/explained_variance"]) == pytest.approx(expected, rel=1e-4)


def test_a_window_is_at_the_border_where_either_coordinate_is() -> None:
    learner = make_learner()
    with torch.no_grad():
        learner.policy.window_head.outer.bias.copy_(torch.tensor([5.0, 0.0]))  # type: ignore[operator, union-attr, arg-type]
    assert float(learner.update()["rollout/window_at_border"]) == 1
    with torch.no_grad():
        learner.policy.window_head.outer.bias.zero_()  # type: ignore[operator, union-attr]
    assert float(learner.update()["rollout/window_at_border"]) == 0


def test_speed_is_episodes_over_the_seconds_of_updates() -> None:
    learner = make_learner()
    (row,) = logged(learner, updates=5, interval=5)
    assert row["time/episodes_per_second"] == pytest.approx(40 / learner.seconds)
    assert row["time/glimpses_per_second"] == pytest.approx(40 * 3 / learner.seconds)


def test_the_last_row_takes_in_what_is_left_over(played: list[tuple[Episode, float]]) -> None:
    """A row of a few updates alone would be the noisiest, and the one that is read."""
    learner = make_learner()
    rows = logged(learner, updates=8, interval=3)
    assert [row["time/episodes"] for row in rows] == [3 * learner.lanes, 8 * learner.lanes]
    rewards = [float(episode.reward.mean()) for episode, _ in played]
    np.testing.assert_allclose([row["rollout/reward"] for row in rows], [np.mean(rewards[:3]), np.mean(rewards[3:])])


@pytest.mark.parametrize("core", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize(("precision", "inside"), [("bfloat16", torch.bfloat16), ("float32", torch.float32)])
def test_the_precision_of_a_training_is_that_of_its_products_and_of_nothing_that_is_remembered_or_said(
    precision: str, inside: torch.dtype, core: str, played: list[tuple[Episode, float]]
) -> None:
    learner = make_learner(precision=precision, policy={"core": core})
    seen: list[torch.dtype] = []
    asked: dict[str, list[torch.dtype]] = {"window_head": [], "classifier": []}
    note: Callable[..., Any] = lambda module, given, out: seen.append(out.dtype)  # noqa: E731
    learner.policy.glimpse.seen.register_forward_hook(note)  # type: ignore[operator, union-attr]
    for name, found in asked.items():
        for layer in getattr(learner.policy, name).modules():
            if isinstance(layer, torch.nn.Linear):
                layer.register_forward_hook(lambda module, given, out, found=found: found.append(out.dtype))
    learner.update()
    assert set(seen) == {inside}
    assert all(set(found) == {torch.float32} for found in asked.values()), asked
    ((episode, _),) = played
    assert {part.dtype for state in episode.states for part in state} == {torch.float32}


def test_an_average_has_what_batch_norm_has_seen_too() -> None:
    """Its running means are no parameters, and answer in their place."""
    env = make_env(16, tensors=True, size=(32, 32))
    env.reset(seed=1)
    policy = FullImagePolicy((1, 32, 32), (0.0, 0.0), 4, head="modern_cnn")
    average = Average(policy, kept=0.0)
    policy.train().look(env.canvas, torch.zeros(16, 2), ())
    average.update(policy, torch.zeros(()))
    ours, theirs = dict(average.policy.named_buffers()), dict(policy.named_buffers())
    assert any(bool((value != 0).any()) for name, value in theirs.items() if name.endswith("running_mean"))
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value)


def test_an_update_gone_bad_leaves_the_average_as_it_was() -> None:
    """Batch norm's buffers follow what is shown before anyone knows that it is bad."""
    env = make_env(16, tensors=True, size=(32, 32))
    env.reset(seed=1)
    policy = FullImagePolicy((1, 32, 32), (0.0, 0.0), 4, head="modern_cnn")
    average = Average(policy, kept=0.5)
    average.update(policy, torch.zeros(()))
    before = {name: value.clone() for name, value in average.policy.state_dict().items()}
    policy.train().look(env.canvas * torch.nan, torch.zeros(16, 2), ())
    assert any(bool(value.isnan().any()) for value in policy.state_dict().values())
    average.update(policy, torch.ones(()))
    for name, value in average.policy.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_a_count_that_begins_anew_logs_no_update_from_before() -> None:
    learner = make_learner()
    learner.running.add({"train/loss": torch.tensor(1e6)})  # of updates that no row of the log has told yet
    (row,) = logged(learner, updates=1, interval=1)
    assert row["train/loss"] < 1e3
