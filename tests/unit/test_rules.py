"""What an action means and what it pays, worked out by hand."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from envs.discrete import DiscreteGlimpseEnv, DiscreteGlimpseVectorEnv
from envs.glimpse import GlimpseVectorEnv
from envs.rules import Rules
from envs.single import GlimpseEnv
from tests.making import make_images, unchecked

LANES, LOOKS, CLASSES = 3, 4, 4
SMALL: dict[str, Any] = {
    "images": make_images(classes=CLASSES),
    "size": (18, 22),
    "clutter_size": 4,
    "glimpse_size": 4,
    "scales": 2,
    "glimpses": LOOKS,
}
ALL = {"moves": "relative", "farthest_move": 0.4, "reward": "log_probability", "early_answer": True, "look_cost": 0.03}
EARLY = {"early_answer": True, "look_cost": 0.1}
STILL = np.zeros((LANES, 2), np.float32)


def make(lanes: int = LANES, **rules: Any) -> GlimpseVectorEnv:
    return GlimpseVectorEnv(lanes, **SMALL | rules)


# -------------------------------------------------------------------- relative moves


def test_a_relative_move_is_a_displacement_from_where_the_eye_is_and_stops_at_the_border() -> None:
    env = make(moves="relative", farthest_move=0.5, first_window=[0.2, -0.6])
    env.reset(seed=0)
    label = np.zeros(LANES, np.int64)
    moves = np.array([[1.0, 0.0], [-0.5, 0.5], [7.0, -1.0]], np.float32)  # the third is clipped to (1, -1)
    seen, *_ = env.step({"window": moves, "label": label})
    np.testing.assert_allclose(seen["window"], [[0.7, -0.6], [-0.05, -0.35], [0.7, -1.0]], atol=1e-6)
    seen, *_ = env.step({"window": moves, "label": label})
    np.testing.assert_allclose(seen["window"], [[1.0, -0.6], [-0.3, -0.1], [1.0, -1.0]], atol=1e-6)


@pytest.mark.parametrize("kind", ["crop", "gaussian", "stn"])
def test_relative_moves_see_what_absolute_moves_to_the_same_places_see(kind: str) -> None:
    relative, absolute = make(moves="relative", sensor=kind), make(sensor=kind)
    rng, label = np.random.default_rng(0), np.zeros(LANES, np.int64)
    seen, _ = relative.reset(seed=1)
    absolute.reset(seed=1)
    for _ in range(LOOKS):
        asked = rng.uniform(-1, 1, seen["window"].shape).astype(np.float32)
        there = asked.copy()
        there[:, :2] = (seen["window"][:, :2] + 0.5 * asked[:, :2]).clip(-1, 1)
        seen, *_ = relative.step({"window": asked, "label": label})
        expected, *_ = absolute.step({"window": there, "label": label})
        np.testing.assert_allclose(seen["window"], expected["window"], atol=1e-6)
        np.testing.assert_allclose(seen["glimpse"], expected["glimpse"], atol=2e-5)


def test_the_middle_cell_of_an_odd_grid_stays_and_its_neighbours_move_by_a_cell() -> None:
    env = DiscreteGlimpseVectorEnv(2, grid=3, moves="relative", farthest_move=0.6, first_window="centre", **SMALL)
    env.reset(seed=0)
    seen, *_ = env.step(np.array([[4, 0], [5, 0]]))
    np.testing.assert_allclose(seen["window"], [[0, 0], [0.6 * 2 / 3, 0]], atol=1e-6)


def test_a_relative_soft_window_carries_its_gradient_times_the_farthest_move() -> None:
    gradients = {}
    for moves, asked_place in (("relative", 0.6), ("absolute", 0.3)):
        env = make(moves=moves, farthest_move=0.5, sensor="stn", tensors=True, first_window="centre")
        env.reset(seed=0)
        asked = torch.full((LANES, 4), 0.3)
        asked[:, :2] = asked_place
        asked.requires_grad_()
        seen, *_ = env.step({"window": asked, "label": torch.zeros(LANES, dtype=torch.long)})
        (gradients[moves],) = torch.autograd.grad(seen["glimpse"].square().sum(), asked)
    assert (gradients["absolute"].abs().sum(dim=0) > 0).all()
    factor = torch.tensor([0.5, 0.5, 1, 1])
    torch.testing.assert_close(gradients["relative"], factor * gradients["absolute"], atol=1e-4, rtol=1e-4)


# -------------------------------------------------------------------- dense rewards


def test_each_look_pays_its_share_for_a_right_label_and_all_looks_pay_one() -> None:
    env = make(reward="each_look")
    _, info = env.reset(seed=0)
    right = info["target"]
    wrong = (right + 1) % CLASSES
    rewards = []
    for step in range(LOOKS):
        label = np.where([True, step % 2 == 0, False], right, wrong)
        _, reward, terminated, _, info = env.step({"window": STILL, "label": label})
        rewards.append(reward)
    np.testing.assert_allclose(np.sum(rewards, axis=0), [1.0, 0.5, 0.0])
    np.testing.assert_allclose(rewards[1], [0.25, 0.0, 0.0])
    assert terminated.all()
    assert info["is_success"].tolist() == [True, False, False]


def test_log_probability_pays_the_logarithm_of_the_normalised_belief_in_the_right_label() -> None:
    env = make(reward="log_probability")
    _, info = env.reset(seed=0)
    belief = np.zeros((LANES, CLASSES), np.float32)
    belief[0, info["target"][0]] = 1.0  # sure and right
    belief[1] = 0.5  # does not know
    belief[2, (info["target"][2] + 1) % CLASSES] = 1.0  # sure and wrong
    for _ in range(LOOKS):
        _, reward, _, _, info = env.step({"window": STILL, "belief": belief})
        expected = [math.log(1.0001 / 1.0004), math.log(1 / CLASSES), math.log(0.0001 / 1.0004)]
        np.testing.assert_allclose(reward, np.array(expected) / LOOKS, rtol=1e-5, atol=1e-6)
    assert info["is_success"][[0, 2]].tolist() == [True, False]


# -------------------------------------------------------------------- early answers


def test_an_early_answer_ends_the_episode_and_pays_for_what_it_cost() -> None:
    env = make(**EARLY)
    _, info = env.reset(seed=0)
    label = info["target"] + np.array([0, 0, 1])
    label %= CLASSES
    _, reward, terminated, _, _ = env.step({"window": STILL, "label": label, "answer": np.array([0, 0, 1])})
    np.testing.assert_allclose(reward, [-0.1, -0.1, -0.1])  # a wrong answer is worth nothing and its look cost
    assert terminated.tolist() == [False, False, True]
    with pytest.raises(Exception, match="over"):
        env.step({"window": STILL, "label": label, "answer": np.zeros(LANES, int)})
    _, info = env.reset(options={"reset_mask": terminated})
    label[2] = info["target"][2]
    _, reward, terminated, _, info = env.step({"window": STILL, "label": label, "answer": np.array([1, 0, 1])})
    np.testing.assert_allclose(reward, [0.9, -0.1, 0.9], rtol=1e-6)
    assert info["_is_success"].tolist() == [True, False, True]


@pytest.mark.parametrize("at", range(1, LOOKS + 1))
def test_an_answer_stands_for_the_looks_it_saves(at: int) -> None:
    """So that by-look rewards make neither haste nor delay worth anything of their own."""
    env = make(1, reward="each_look", early_answer=True)
    _, info = env.reset(seed=0)
    total = 0.0
    for step in range(1, at + 1):
        action = {"window": STILL[:1], "label": info["target"], "answer": np.array([step == at])}
        _, reward, terminated, _, info = env.step(action)
        total += float(reward[0])
    assert terminated.all()
    assert total == pytest.approx(1.0)


def random_actions(env: GlimpseVectorEnv, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {
        "window": rng.uniform(-1, 1, (LANES, 2)).astype(np.float32),
        "belief": rng.uniform(0, 1, (LANES, CLASSES)).astype(np.float32),
        "answer": rng.integers(0, 3, LANES) // 2,
    }


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED])
def test_lanes_that_end_when_they_like_are_single_environments_in_every_autoreset_mode(mode: AutoresetMode) -> None:
    rng = np.random.default_rng(0)
    ours = make(autoreset_mode=mode, **ALL)
    theirs = SyncVectorEnv([lambda: GlimpseEnv(**SMALL | ALL)] * LANES, autoreset_mode=mode)
    assert ours.action_space == theirs.action_space
    (seen, _), (expected, _) = ours.reset(seed=5), theirs.reset(seed=5)
    lengths, taken = set(), np.zeros(LANES, int)
    for _ in range(12 * LOOKS):
        actions = random_actions(ours, rng)
        seen, *outcome, told = ours.step(actions)
        expected, *expected_outcome, expected_told = theirs.step(actions)
        for name in seen:
            np.testing.assert_array_equal(seen[name], expected[name])
        np.testing.assert_allclose(outcome[0], expected_outcome[0], rtol=1e-6)
        np.testing.assert_array_equal(outcome[1], expected_outcome[1])
        over = outcome[1]
        taken += 1
        lengths |= set(taken[over].tolist())
        taken[over] = -1 if mode == AutoresetMode.NEXT_STEP else 0
        told = told["final_info"] if mode == AutoresetMode.SAME_STEP and over.any() else told
        expected_told = expected_told["final_info"] if mode == AutoresetMode.SAME_STEP and over.any() else expected_told
        for name in ("target", "is_success"):
            if name in expected_told:
                where = expected_told[f"_{name}"]
                np.testing.assert_array_equal(told[f"_{name}"], where)
                np.testing.assert_array_equal(told[name][where], expected_told[name][where])
        if mode == AutoresetMode.DISABLED and over.any():
            for env in (ours, theirs):
                env.reset(options={"reset_mask": over.copy()})
    assert lengths == set(range(1, LOOKS + 1))


def test_gymnasiums_statistics_count_lanes_that_end_when_they_like() -> None:
    env = RecordEpisodeStatistics(make(autoreset_mode=AutoresetMode.SAME_STEP, **EARLY))
    _, info = env.reset(seed=0)
    action = {"window": STILL, "label": info["target"], "answer": np.array([1, 0, 0])}
    *_, info = env.step(action)
    assert info["_episode"].tolist() == [True, False, False]
    assert (info["episode"]["l"][0], round(float(info["episode"]["r"][0]), 6)) == (1, 0.9)


def test_the_picture_of_an_episode_that_was_answered_early_shows_the_looks_it_took() -> None:
    env, bare = (make(1, render_mode="rgb_array", **rules) for rules in (EARLY, {}))
    for each in (env, bare):
        each.reset(seed=0)
    env.step({"window": STILL[:1], "label": np.zeros(1, int), "answer": np.ones(1, int)})
    np.testing.assert_array_equal(env.render()[0], bare.render()[0])  # type: ignore[index]


# -------------------------------------------------------------------- forms


@pytest.mark.parametrize(
    "rules", [{"moves": "relative"}, {"reward": "each_look"}, {"reward": "log_probability"}, EARLY, ALL]
)
def test_gymnasiums_checker_says_nothing_under_any_rules(rules: dict[str, Any]) -> None:
    check_env(GlimpseEnv(**SMALL | rules), skip_render_check=True)  # warnings are errors here
    if rules.get("reward") != "log_probability":
        check_env(DiscreteGlimpseEnv(grid=3, **SMALL | rules), skip_render_check=True)


def test_torch_actions_are_taken_as_numpy_actions_are() -> None:
    rng = np.random.default_rng(0)
    arrays, tensors = make(**ALL), make(tensors=True, **ALL)
    arrays.reset(seed=2), tensors.reset(seed=2)
    actions = random_actions(arrays, rng)
    seen, reward, terminated, _, _ = arrays.step(actions)
    others = tensors.step({name: torch.from_numpy(value) for name, value in actions.items()})
    np.testing.assert_array_equal(seen["glimpse"], others[0]["glimpse"])
    np.testing.assert_array_equal(reward, others[1])
    np.testing.assert_array_equal(terminated, others[2])


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"moves": "jump"}, "^moves: got 'jump', expected one of absolute, relative"),
        ({"reward": "dense"}, "^reward: got 'dense', expected one of success, each_look"),
        ({"farthest_move": 0.0}, "^farthest_move: got 0.0"),
        ({"farthest_move": 2.5}, "^farthest_move: got 2.5"),
        ({"look_cost": -0.1}, "^look_cost: got -0.1"),
        ({"look_cost": float("nan")}, "^look_cost: got nan"),
        ({"look_cost": "0.1"}, "^look_cost: got '0.1'"),
        ({"farthest_move": None}, "^farthest_move: got None"),
    ],
)
def test_rules_that_make_no_sense_are_refused_by_name(rules: dict[str, Any], message: str) -> None:
    with unchecked(), pytest.raises(ValueError, match=message):
        make(**rules)
    with unchecked(), pytest.raises(ValueError, match=message):
        Rules(**rules)


def test_the_discrete_twin_has_no_probabilities_to_pay_for() -> None:
    with pytest.raises(ValueError, match=r"^reward: got 'log_probability', expected 'success' or 'each_look'"):
        DiscreteGlimpseEnv(reward="log_probability", **SMALL)


def test_an_action_without_what_the_rules_ask_for_is_refused_by_name() -> None:
    env = make(**EARLY)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"^actions: expected a dict with 'window' and 'label' and 'answer'"):
        env.step({"window": STILL, "label": np.zeros(LANES, int)})
    with pytest.raises(ValueError, match=r"'answer', got one without 'label' and 'answer'$"):
        env.step({"window": STILL})
    with pytest.raises(ValueError, match=r"^actions: expected the shapes .*'answer': \(3,\)"):
        env.step({"window": STILL, "label": np.zeros(LANES, int), "answer": np.zeros(2, int)})
