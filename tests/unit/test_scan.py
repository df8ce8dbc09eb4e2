"""A gaze that begins as a raster scan: where it goes before anything is learned, what it knows, what it learns by."""

from typing import Any

import numpy as np
import pytest
import torch

from ram_agent.config import ConfigError
from ram_agent.controls import raster
from ram_agent.export import AgentStep
from ram_agent.gradient_signal import gradient_signal
from ram_agent.heads import LearnedWindowHead, SampledWindowHead, StraightThroughWindowHead
from ram_agent.learner import LEARNERS
from ram_agent.policy import RecurrentAttentionPolicy, under_head
from ram_agent.rollout import rollout
from tests.making import make_config, make_env, make_policy

KINDS = {"reinforce": "crop", "straight_through": "crop", "pathwise": "stn"}
LANES = 8


def agent(method: str, *, scan: int, glimpses: int = 4) -> tuple[RecurrentAttentionPolicy, Any]:
    env = make_env(LANES, tensors=True, sensor=KINDS[method], glimpses=glimpses)
    return make_policy(env, head=LEARNERS[method].head, scan=scan), env


def shaken(policy: RecurrentAttentionPolicy) -> RecurrentAttentionPolicy:
    """After some training: what is seen has a say in where it looks, and the answers differ."""
    with torch.no_grad():
        for value in policy.parameters():
            value.add_(0.3 * torch.randn(value.shape, generator=torch.Generator().manual_seed(1)))
    return policy


# -------------------------------------------------------------------- where it begins


@pytest.mark.parametrize("method", KINDS)
@pytest.mark.parametrize(("scan", "glimpses"), [(3, 4), (5, 6), (2, 5)])
def test_an_untrained_agent_scans_the_canvas_and_then_looks_at_its_first_window(
    method: str, scan: int, glimpses: int
) -> None:
    policy, env = agent(method, scan=scan, glimpses=glimpses)
    windows = rollout(policy, env, std=0.0, seed=1).windows
    first = torch.tensor(policy.blueprint.first_window)
    for look, window in enumerate(windows[1:]):
        place = torch.tensor(raster(scan)[look]).float() if look < scan else first[:2]
        # A soft window's stride and sigma are those of the eye at rest.
        expected = torch.cat([place, first[2:].clamp(-0.95, 0.95)])
        torch.testing.assert_close(window, expected.expand(LANES, -1), atol=1e-6, rtol=0)


def test_the_places_of_a_scan_do_not_depend_on_the_first_window() -> None:
    places = [(0.5, -0.25), (-0.75, 1.0)]
    head = SampledWindowHead(6, 5, (0.3, -0.6, 0.2), True, places)
    means = head.mean(
        torch.cat([torch.randn(3, 4, generator=seeded()), torch.tensor([[1.0, 0], [0, 1], [0, 0]])], dim=1)
    )
    expected = torch.tensor([[0.5, -0.25, 0.2], [-0.75, 0.95, 0.2], [0.3, -0.6, 0.2]])  # 0.95: where tanh still learns
    torch.testing.assert_close(means, expected)


def test_without_a_scan_there_is_nothing_of_it() -> None:
    policy, _ = agent("reinforce", scan=0)
    assert not [name for name in policy.state_dict() if "scan" in name]
    assert len(policy.initial_state(3)) == 2
    hidden, _ = policy.look(torch.rand(3, 2, 4, 4), torch.zeros(3, 2), policy.initial_state(3))
    assert hidden.shape == (3, 12)


# -------------------------------------------------------------------- what it knows


def test_acting_step_by_step_goes_on_with_the_scan_and_an_episode_that_begins_begins_anew() -> None:
    """Every lane has its own count: here lane 0 starts over after two looks."""
    policy, env = agent("reinforce", scan=3)
    learner = LEARNERS["reinforce"](policy, env)
    observation = {"glimpse": np.zeros((2, 2, 4, 4), np.float32), "window": np.zeros((2, 2), np.float32)}
    state, went = None, []
    for look in range(4):
        began = np.array([look == 2, False])
        action, state = learner.predict(observation, state, began, deterministic=True)
        went.append(action["window"])
    places = np.array([*raster(3), policy.blueprint.first_window])
    np.testing.assert_allclose(np.array(went)[:, 0], places[[0, 1, 0, 1]], atol=1e-6)
    np.testing.assert_allclose(np.array(went)[:, 1], places, atol=1e-6)


@pytest.mark.parametrize("method", KINDS)
def test_one_look_without_exploration_is_what_a_rollout_does(method: str) -> None:
    policy, env = agent(method, scan=2)
    shaken(policy)
    episode = rollout(policy, env, std=0.0, seed=1)
    observation, _ = env.reset(seed=1)
    step, state = AgentStep(policy), policy.initial_state(LANES)
    for look in range(4):
        window, logits, state = step(observation["glimpse"], observation["window"], state)
        torch.testing.assert_close(logits, episode.logits[look])
        if look < 3:
            torch.testing.assert_close(window, episode.means[look])
            observation, *_ = env.step({"window": window, "label": logits.argmax(dim=1)})


@pytest.mark.parametrize("head", ["sampled", "straight_through", "pathwise", "random"])
def test_the_blueprint_builds_it_again(head: str) -> None:
    env = make_env(LANES, tensors=True)
    policy = shaken(make_policy(env, head=head, scan=2))
    twin = RecurrentAttentionPolicy.rebuild(policy.blueprint.as_plain())
    twin.load_state_dict(policy.state_dict())
    played = [rollout(each, env, std=0.0, seed=1, generator=seeded()) for each in (policy, twin)]
    assert torch.equal(played[0].logits, played[1].logits)


def test_answers_baseline_and_gaze_know_how_many_looks_there_were() -> None:
    policy, _ = agent("reinforce", scan=3)
    shaken(policy)
    *memory, looks = policy.initial_state(2)
    glimpse, window = torch.rand(1, 2, 4, 4).expand(2, -1, -1, -1), torch.zeros(2, 2)
    hidden, _ = policy.look(glimpse, window, (*memory, looks + torch.tensor([[0.0], [2.0]])))
    units = learned(policy).inner
    assert units is not None
    inner = units(hidden)
    for known in (policy.answer(hidden), policy.baseline(hidden)[:, None], inner):
        assert not torch.allclose(known[0], known[1], atol=1e-3)


def test_a_detached_gaze_teaches_neither_core_nor_encoder() -> None:
    env = make_env(LANES, tensors=True)
    policy = shaken(make_policy(env, scan=2, detach_location=True))
    episode = rollout(policy, env, std=0.1, seed=1, generator=seeded())
    episode.means.square().sum().backward()
    reached = {name.partition(".")[0] for name, value in policy.named_parameters() if value.grad is not None}
    assert reached == {"window_head"}


# -------------------------------------------------------------------- what it learns by


@pytest.mark.parametrize("method", KINDS)
def test_the_place_of_a_move_is_learned_from_that_move(method: str) -> None:
    """Each column of S by its own move; that of a move that an episode of three looks has not, not at all."""
    policy, _ = agent(method, scan=3)
    env = make_env(LANES, tensors=True, sensor=KINDS[method], glimpses=3)
    learner = LEARNERS[method](shaken(policy), env, **({"baseline": "none"} if method == "reinforce" else {}))
    learner.update()
    gradient = scan_of(policy).weight.grad
    assert gradient is not None
    assert (gradient[:, :2].abs().amax(dim=0) > 0).all()
    assert (gradient[:, 2] == 0).all()


@pytest.mark.parametrize("method", KINDS)
def test_a_training_moves_the_scan(method: str) -> None:
    policy, env = agent(method, scan=3)
    before = scan_of(policy).weight.detach().clone()
    LEARNERS[method](policy, env, learning_rate=1e-2).learn(LANES * 4 * 5)
    assert (scan_of(policy).weight - before).abs().amin(dim=1)[:2].gt(0).all()


def test_a_head_that_carries_the_gradient_scans_as_the_head_it_stands_for() -> None:
    policy, env = agent("reinforce", scan=3)
    shaken(policy)
    twin = under_head(policy, StraightThroughWindowHead.around(learned(policy), 0.05))
    windows = [rollout(each, env, std=0.1, seed=1, generator=seeded()).windows for each in (policy, twin)]
    torch.testing.assert_close(*windows)
    ratios = gradient_signal(
        policy, env, LEARNERS["reinforce"](policy, env).training, batches=3, std=0.1, seed=1, number=0
    )
    assert {"none", "learned", "straight_through"} <= ratios.keys()


# -------------------------------------------------------------------- asked for wrongly


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"policy": {"scan": 3}},
            r"^policy\.scan: expected at most 2, the moves of an episode of 3 glimpses, got 3; ",
        ),
        (
            {"policy": {"scan": 2, "core": "lstm"}, "training": {"method": "recurrent_ppo"}},
            r"^policy\.scan: expected 0 for training\.method recurrent_ppo",
        ),
        ({"policy": {"scan": -1}}, r"^policy\.scan: got -1: "),
    ],
)
def test_a_scan_that_cannot_be_is_refused_by_name(sections: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_config(**sections)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def learned(policy: RecurrentAttentionPolicy) -> LearnedWindowHead:
    assert isinstance(policy.window_head, LearnedWindowHead)
    return policy.window_head


def scan_of(policy: RecurrentAttentionPolicy) -> Any:
    scan = learned(policy).scan
    assert scan is not None
    return scan
