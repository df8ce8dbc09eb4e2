"""Looking ahead: held against a replay of single episodes, and a gaze that nothing else could teach."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from ram_agent.config import PolicyConfig
from ram_agent.learner import LEARNERS, REINFORCE
from ram_agent.lookahead import alternative, lookahead_loss
from ram_agent.policy import RecurrentAttentionPolicy
from ram_agent.rollout import rollout
from ram_agent.sensor import make_sensor
from tests.making import make_env, make_learner, make_policy

LANES, WINDOWS = 12, 2


# -------------------------------------------------------------------- the loss


@pytest.mark.parametrize("kind", ["crop", "gaussian", "stn"])
def test_the_loss_is_that_of_single_episodes_played_again_up_to_the_move_and_then_otherwise(kind: str) -> None:
    """The oracle looks anew, lane by lane, at what was looked at, and knows no remembered state."""
    env = make_env(LANES, sensor=kind, tensors=True, glimpses=4)
    policy = make_policy(env, head="sampled" if kind == "crop" else "pathwise")
    for value in policy.parameters():
        value.data += 0.3 * torch.randn(value.shape, generator=torch.Generator().manual_seed(1))
    episode = rollout(policy, env, std=0.2, seed=3, generator=torch.Generator().manual_seed(2))
    loss, gain = lookahead_loss(policy, env, episode, WINDOWS, torch.Generator().manual_seed(4))

    same = torch.Generator().manual_seed(4)
    move = torch.randint(3, (LANES,), generator=same)
    means = episode.means[move, torch.arange(LANES)].detach()
    tried = [alternative(means, anywhere=number % 2 == 0, generator=same) for number in range(WINDOWS)]
    again = make_env(LANES, sensor=kind, tensors=True, glimpses=4)
    again.reset(seed=3)

    def probability(lane: int, windows: list[Tensor]) -> float:
        state = policy.initial_state(1)
        for window in windows:
            everywhere = window.expand(LANES, -1)
            glimpse = again.peek(everywhere)[lane : lane + 1]
            hidden, state = policy.look(glimpse, window[None], state)
        return float(policy.answer(hidden).softmax(dim=-1)[0, episode.target[lane]])

    losses, gains = [], []
    with torch.no_grad():
        for lane in range(LANES):
            before = list(episode.windows[: move[lane] + 1, lane])
            taken = probability(lane, [*before, episode.windows[move[lane] + 1, lane]])
            worths = [probability(lane, [*before, window[lane]]) for window in tried]
            best = int(np.argmax(worths))
            gains.append(max(0.0, worths[best] - taken))
            losses.append(gains[-1] * float((means[lane] - tried[best][lane]).square().sum()))
    assert sum(each > 0 for each in gains) not in (0, LANES)
    assert loss.item() == pytest.approx(np.mean(losses), rel=1e-3)
    assert gain.item() == pytest.approx(np.mean(gains), rel=1e-3)


def test_windows_to_try_lie_anywhere_or_about_the_mean_and_inside() -> None:
    mean = torch.tensor([[0.8, -0.2, 0.5, -0.9]]).expand(20_000, -1)
    draws = {far: alternative(mean, anywhere=far, generator=torch.Generator().manual_seed(0)) for far in (True, False)}
    for window in draws.values():
        assert window.abs().max() <= 1
    # Uniform: mean 0 and std 1/√3; what is not a place stays about the mean.
    centre = draws[True][:, :2]
    np.testing.assert_allclose(centre.mean(dim=0), 0, atol=0.02)
    np.testing.assert_allclose(centre.std(dim=0), 3**-0.5, atol=0.01)
    torch.testing.assert_close(draws[True][:, 2:], draws[False][:, 2:])
    assert draws[False][:, 1].mean() == pytest.approx(-0.2, abs=0.02)
    assert draws[False][:, 1].std() == pytest.approx(0.4, abs=0.02)


@pytest.mark.parametrize("method", LEARNERS)
def test_its_gradient_reaches_the_window_head_and_what_it_stands_on_but_not_the_answer(method: str) -> None:
    learner = make_learner(method)
    episode = rollout(learner.policy, learner.env, std=0.1, seed=0, generator=torch.Generator().manual_seed(0))
    loss, _ = lookahead_loss(learner.policy, learner.env, episode, 8, torch.Generator().manual_seed(1))
    loss.backward()
    reached = {
        name.partition(".")[0]
        for name, value in learner.policy.named_parameters()
        if value.grad is not None and value.grad.abs().max() > 0
    }
    assert "window_head" in reached
    assert not reached & {"classifier", "baseline"}


# -------------------------------------------------------------------- in a training


def test_it_is_a_term_with_a_name_and_a_weight_and_without_it_nothing_changes() -> None:
    plain, ahead, weightless = (
        make_learner(**settings) for settings in ({}, {"lookahead": 4}, {"lookahead": 4, "lookahead_weight": 0.0})
    )
    told = [each.update() for each in (plain, ahead, weightless)]
    assert "train/lookahead_gain" not in told[0]
    assert told[0]["train/lookahead_loss"] == 0
    assert told[1]["train/lookahead_loss"] > 0
    assert 0 < told[1]["train/lookahead_gain"] < 1
    assert float(told[1]["train/loss"] - told[0]["train/loss"]) == pytest.approx(
        float(told[1]["train/lookahead_loss"]), rel=1e-4
    )
    for name, value in plain.policy.state_dict().items():
        torch.testing.assert_close(value, weightless.policy.state_dict()[name], rtol=0, atol=1e-7)


def test_with_one_look_or_a_control_there_is_nothing_to_think_over() -> None:
    one = make_learner(env={"glimpses": 1}, lookahead=4)
    assert one.update()["train/lookahead_loss"] == 0
    control = make_learner("pathwise", head="random", env={"sensor": "crop"}, lookahead=4)
    assert control.update()["train/lookahead_loss"] == 0


class Corner:
    """Two looks; nothing is to be seen but within 0.3 of the place (0.6, -0.5), where the label is."""

    num_envs, glimpses, device = 64, 2, torch.device("cpu")
    sensor = make_sensor("crop", size=4, scales=1)
    class_names = ("left", "right")
    single_observation_space = spaces.Dict({"glimpse": spaces.Box(0, 1, (1, 4, 4)), "window": spaces.Box(-1, 1, (2,))})
    single_action_space = spaces.Dict({"window": spaces.Box(-1, 1, (2,)), "label": spaces.Discrete(2)})
    place = torch.tensor([0.6, -0.5])

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)

    @property
    def canvas(self) -> Tensor:
        return torch.zeros(self.num_envs, 1, 8, 8)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        self.label = torch.randint(2, (self.num_envs,), generator=self.generator)
        window = torch.zeros(self.num_envs, 2)
        return {"glimpse": self.peek(window), "window": window}, {"target": self.label}

    def peek(self, window: Tensor) -> Tensor:
        near = ((window - self.place).norm(dim=-1) < 0.3).float()[:, None]
        sides = torch.stack([self.label == 0, self.label == 1], dim=-1).float()
        return (near * sides).repeat_interleave(8, dim=1).view(-1, 1, 4, 4)

    def step(self, actions: dict[str, Any]) -> tuple[dict[str, Any], Any, Any, Any, dict[str, Any]]:
        over = torch.ones(self.num_envs, dtype=torch.bool)
        seen = {"glimpse": self.peek(actions["window"]), "window": actions["window"]}
        return seen, (actions["label"] == self.label).float(), over, ~over, {}


def gaze_after(updates: int, **settings: Any) -> float:
    """How far from the place the mean of the second look is."""
    torch.manual_seed(0)
    small = PolicyConfig(hidden=16, what=16, where=8, features=16, location=16)
    policy = RecurrentAttentionPolicy((1, 4, 4), (0.0, 0.0), 2, head="sampled", config=small)
    learner = REINFORCE(policy, Corner(), learning_rate=0.01, window_std=0.2, **settings)
    for _ in range(updates):
        learner.update()
    with torch.no_grad():
        mean = rollout(policy, Corner()).means[0, 0]
    return float((mean - Corner.place).norm())


def test_the_gaze_finds_what_neither_slope_nor_chance_moves_would() -> None:
    """The place is 0.78 away, four times the noise: a score function without a sample there learns nothing of it."""
    assert gaze_after(150, reinforce_weight=0.0, lookahead=8) < 0.3
    assert gaze_after(150) > 0.4
