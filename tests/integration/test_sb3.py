"""The environments under unmodified Stable-Baselines3: its `DummyVecEnv` over single environments is the oracle."""

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecMonitor, VecNormalize

from envs import TASKS
from envs.discrete import DiscreteGlimpseEnv, DiscreteGlimpseVectorEnv
from envs.glimpse import GlimpseVectorEnv
from envs.sb3 import GlimpseVecEnv, make_sb3_env
from tests.extras import RecurrentPPO, needs_sb3_contrib
from tests.making import make_env, make_images

ROOT = Path(__file__).parents[2]
KINDS = ("crop", "gaussian", "stn")
GRID, LANES, LOOKS, CLASSES = 4, 5, 3, 4
SMALL: dict[str, Any] = {
    "images": make_images(classes=CLASSES),
    "scene": "cluttered",
    "size": (18, 22),
    "clutter": 2,
    "clutter_size": 4,
    "glimpse_size": 4,
    "scales": 2,
    "glimpses": LOOKS,
}
EPOCH: dict[str, Any] = {"n_steps": 2 * LOOKS, "batch_size": 10, "n_epochs": 1}
ALGORITHMS = [
    (A2C, "MultiInputPolicy", {"n_steps": LOOKS}),
    (PPO, "MultiInputPolicy", EPOCH),
    pytest.param(RecurrentPPO, "MultiInputLstmPolicy", EPOCH, marks=needs_sb3_contrib),
]


def make_single(**settings: Any) -> DiscreteGlimpseEnv:
    return DiscreteGlimpseEnv(grid=GRID, **SMALL | settings)


def make_dummy(lanes: int = LANES, **settings: Any) -> DummyVecEnv:
    """Stable-Baselines3's own way: one environment after another, each under its Monitor."""
    return DummyVecEnv([lambda: Monitor(make_single(**settings))] * lanes)


def assert_same(ours: Any, theirs: Any, kind: str = "crop") -> None:
    """Bit for bit; a batched product of matrices may round otherwise than a single one, and only that."""
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert ours[name].dtype == theirs[name].dtype
        np.testing.assert_allclose(ours[name], theirs[name], rtol=0, atol=0 if kind == "crop" else 2e-6)


# -------------------------------------------------------------------- the discrete twin


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_a_discrete_twin_for_make_and_make_vec(name: str) -> None:
    twin = name.replace("-v0", "-discrete-v0")
    single = gymnasium.make(f"envs:{twin}", images="digits", grid=5)
    vector = gymnasium.make_vec(f"envs:{twin}", num_envs=3, images="digits")
    assert single.action_space == gymnasium.spaces.MultiDiscrete([25, 10])
    assert isinstance(vector, DiscreteGlimpseVectorEnv)
    assert vector.single_action_space == gymnasium.spaces.MultiDiscrete([81, 10])
    assert vector.unwrapped.scenes.size == TASKS[name]["size"]
    assert single.spec is not None
    assert single.spec.make().action_space == single.action_space
    observation, _ = single.reset(seed=1)
    over = False
    while not over:
        assert observation in single.observation_space
        observation, _, over, _, _ = single.step(single.action_space.sample())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("render_mode", [None, "rgb_array"])
def test_both_checkers_find_no_fault_and_say_nothing(kind: str, render_mode: str | None) -> None:
    env = make_single(sensor=kind, render_mode=render_mode)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env, skip_render_check=True)
        check_env_for_sb3(env)


@pytest.mark.parametrize("name", TASKS)
def test_both_checkers_say_nothing_of_any_id(name: str) -> None:
    env = gymnasium.make(name.replace("-v0", "-discrete-v0"), images="digits", disable_env_checker=True).unwrapped
    assert isinstance(env.action_space, gymnasium.spaces.MultiDiscrete)  # it is the twin that is checked
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env, skip_render_check=True)
        check_env_for_sb3(env)


@pytest.mark.parametrize("kind", KINDS)
def test_the_twin_shows_what_the_glimpse_environment_shows_flattened(kind: str) -> None:
    twin, bare = make_single(sensor=kind), GlimpseVectorEnv(1, sensor=kind, **SMALL)
    (seen, _), (expected, _) = twin.reset(seed=3), bare.reset(seed=3)
    assert seen["glimpse"].shape == twin.observation_space["glimpse"].shape == (2 * 4 * 4,)  # type: ignore[index]
    np.testing.assert_array_equal(seen["glimpse"], expected["glimpse"][0].flatten())
    np.testing.assert_array_equal(seen["window"], expected["window"][0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tensors", [False, True])
def test_lane_i_of_the_vector_twin_is_the_single_twin_seeded_with_the_seed_plus_i(kind: str, tensors: bool) -> None:
    rng = np.random.default_rng(0)
    settings = SMALL | {"sensor": kind, "tensors": tensors}
    vector = DiscreteGlimpseVectorEnv(LANES, grid=GRID, **settings)
    singles = [DiscreteGlimpseEnv(grid=GRID, **settings) for _ in range(LANES)]
    for episode in range(2):
        seed = 7 if episode == 0 else None
        observation, _ = vector.reset(seed=seed)
        alone = [env.reset(seed=None if seed is None else seed + i)[0] for i, env in enumerate(singles)]
        for look in range(LOOKS + 1):
            for i, theirs in enumerate(alone):
                for name in theirs:
                    ours = np.asarray(observation[name][i])
                    np.testing.assert_allclose(ours, np.asarray(theirs[name]), rtol=0, atol=2e-6)
            if look == LOOKS:
                break
            actions: Any = rng.integers(0, [GRID * GRID, CLASSES], (LANES, 2))
            actions = torch.from_numpy(actions) if tensors else actions
            observation, reward, terminated, _, _ = vector.step(actions)
            assert isinstance(reward, torch.Tensor) == tensors
            stepped = [env.step(actions[i]) for i, env in enumerate(singles)]
            alone = [each[0] for each in stepped]
            assert [float(each[1]) for each in stepped] == reward.tolist()
            assert [each[2] for each in stepped] == terminated.tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_a_cell_moves_the_window_to_its_middle_and_leaves_the_rest_of_a_soft_eye_at_rest(kind: str) -> None:
    env = make_single(sensor=kind)
    env.reset(seed=0)
    observation, *_ = env.step(np.array([2 * GRID + 3, 0]))  # third row, last column, of four: x = 3/4, y = 1/4
    rest = np.float32(env.vector.sensor.rest((18, 22)))
    np.testing.assert_array_equal(observation["window"], np.concatenate([np.float32([0.75, 0.25]), rest[2:]]))


# -------------------------------------------------------------------- the adapter against DummyVecEnv


@pytest.mark.parametrize(
    ("kind", "rules"),
    [(kind, {}) for kind in KINDS]
    + [("crop", {"moves": "relative", "reward": "each_look", "early_answer": True, "look_cost": 0.05})],
)
def test_the_adapter_says_what_stable_baselines3s_own_vector_environment_says_of_single_ones(
    kind: str, rules: dict[str, Any]
) -> None:
    rng = np.random.default_rng(0)
    ours: VecEnv = make_sb3_env(LANES, GRID, sensor=kind, **SMALL | rules)
    theirs: VecEnv = make_dummy(sensor=kind, **rules)
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    assert ours.seed(3) == theirs.seed(3)
    assert_same(ours.reset(), theirs.reset(), kind)
    wins = 0
    for step in range(6 * LOOKS):
        if step == 3 * LOOKS + 1:  # in the middle of an episode, and seeded anew
            ours.seed(30), theirs.seed(30)
            assert_same(ours.reset(), theirs.reset(), kind)
        actions = rng.integers(0, ours.action_space.nvec, (LANES, *ours.action_space.shape))  # type: ignore[attr-defined]
        seen, reward, done, infos = ours.step(actions)
        expected, expected_reward, expected_done, expected_infos = theirs.step(actions)
        assert_same(seen, expected, kind)
        assert_same({"reward": reward, "done": done}, {"reward": expected_reward, "done": expected_done})
        for i in range(LANES):
            told, truth = dict(infos[i]), dict(expected_infos[i])
            if not done[i]:
                assert told == {}
                continue
            assert_same(told.pop("terminal_observation"), truth.pop("terminal_observation"), kind)
            episode, expected_episode = told.pop("episode"), truth.pop("episode")
            assert {key: episode[key] for key in "rl"} == {key: expected_episode[key] for key in "rl"}
            assert 0 <= episode["t"] < 600
            assert told == {key: truth[key] for key in ("TimeLimit.truncated", "is_success")}
            assert type(told["is_success"]) is type(truth["is_success"])
            wins += told["is_success"]
    assert 0 < wins < 6 * LANES * (1 + bool(rules))


def test_scenes_can_be_named_through_options_as_for_single_environments() -> None:
    ours, theirs = make_sb3_env(LANES, GRID, **SMALL), make_dummy()
    for options in ({"scene": 4}, [{"scene": i} for i in range(LANES)]):
        for env in (ours, theirs):
            env.seed(5)
            env.set_options(options)
        assert_same(ours.reset(), theirs.reset())
        assert_same(ours.reset(), theirs.reset())  # seeds and options are used once
    for options in ({"place": 1}, [{"scene": 1}] + [{}] * (LANES - 1), [{"scene": 1}]):
        ours.set_options(options)
        with pytest.raises(ValueError, match=r"^options: got .*expected .*scene"):
            ours.reset()


def test_the_adapter_over_the_bare_environment_takes_its_dict_actions() -> None:
    env = GlimpseVecEnv(make_env(2, autoreset_mode=AutoresetMode.SAME_STEP))
    assert isinstance(env.action_space, gymnasium.spaces.Dict)
    env.reset()
    action: Any = {"window": np.zeros((2, 2), np.float32), "label": np.zeros(2, np.int64)}
    assert [env.step(action)[2].tolist() for _ in range(LOOKS)] == [[False] * 2] * (LOOKS - 1) + [[True] * 2]


def test_attributes_and_methods_are_those_of_the_environment_that_lanes_share() -> None:
    env = make_sb3_env(LANES, GRID, render_mode="rgb_array", **SMALL)
    assert env.get_attr("grid") == [GRID] * LANES
    assert env.get_attr("glimpses", 2) == [LOOKS]
    assert env.render_mode == "rgb_array"
    assert not env.has_attr("grids")
    env.set_attr("note", "hello")
    assert env.get_attr("note", [0, 4]) == ["hello"] * 2
    env.set_attr("glimpses", 2)
    assert env.unwrapped.env.glimpses == 2  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"^indices: got \[1\]"):
        env.set_attr("note", "only you", [1])
    with pytest.raises(ValueError, match=r"^method_name: 'reset'"):
        env.env_method("reset")
    assert env.env_is_wrapped(DiscreteGlimpseVectorEnv, 0) == [True]
    assert env.env_is_wrapped(Monitor) == [True] * LANES
    assert env.env_is_wrapped(DiscreteGlimpseEnv) == [False] * LANES
    env.close()


def test_pictures_are_those_of_the_lanes() -> None:
    ours, theirs = make_sb3_env(2, GRID, render_mode="rgb_array", **SMALL), make_dummy(2, render_mode="rgb_array")
    for env in (ours, theirs):
        env.seed(1)
        env.reset()
        env.step(np.array([[0, 0], [GRID, 0]]))
    for mine, other in zip(ours.get_images(), theirs.get_images(), strict=True):
        np.testing.assert_array_equal(mine, other)
    np.testing.assert_array_equal(ours.render(), theirs.render())
    np.testing.assert_array_equal(ours.env_method("render", indices=1)[0], theirs.get_images()[1])
    blind = make_sb3_env(2, GRID, **SMALL)
    with pytest.warns(UserWarning, match="render_mode='rgb_array'"):
        assert blind.get_images() == [None, None]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tensors": True}, "^tensors: got True"),
        ({"autoreset_mode": AutoresetMode.NEXT_STEP}, "^autoreset_mode: got .*NEXT_STEP.*SAME_STEP"),
        ({"grid": 1}, "^grid: got 1, expected a whole number, at least 2"),
    ],
)
def test_settings_that_stable_baselines3_could_not_use_are_refused_by_name(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_sb3_env(2, **SMALL | settings)


def test_another_environment_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"^env: got .*CartPole.* expected a GlimpseVectorEnv"):
        GlimpseVecEnv(gymnasium.make_vec("CartPole-v1", num_envs=2))


# -------------------------------------------------------------------- algorithms


@pytest.mark.parametrize(("algorithm", "policy", "settings"), ALGORITHMS)
@pytest.mark.parametrize("way", ["make_vec_env", "make_sb3_env"])
def test_unmodified_algorithms_train_and_are_evaluated(
    algorithm: Any, policy: str, settings: dict[str, Any], way: str
) -> None:
    small = {"images": SMALL["images"], "size": (18, 22), "clutter_size": 4, "glimpse_size": 4, "glimpses": LOOKS}
    if way == "make_sb3_env":
        env: VecEnv = make_sb3_env(LANES, GRID, **small)
    else:
        kwargs = {**small, "grid": GRID}
        env = make_vec_env("envs:ram/ClutteredMNIST-discrete-v0", LANES, seed=0, env_kwargs=kwargs)
    model = algorithm(policy, env, seed=0, device="cpu", **settings)
    before = [parameter.clone() for parameter in model.policy.parameters()]
    model.learn(3 * settings["n_steps"] * LANES)
    assert model.num_timesteps == 3 * settings["n_steps"] * LANES
    assert any(not torch.equal(old, new) for old, new in zip(before, model.policy.parameters(), strict=True))
    assert {episode["l"] for episode in model.ep_info_buffer} == {LOOKS}
    assert len(model.ep_success_buffer) == len(model.ep_info_buffer) == 3 * settings["n_steps"] // LOOKS * LANES
    rewards, lengths = evaluate_policy(model, env, n_eval_episodes=2 * LANES, return_episode_rewards=True)
    assert set(rewards) <= {0.0, 1.0}
    assert lengths == [LOOKS] * 2 * LANES


def test_an_algorithm_learns_the_same_through_the_adapter_and_through_dummy_vec_env() -> None:
    weights = []
    for env in (make_sb3_env(LANES, GRID, **SMALL), make_dummy()):
        model = PPO("MultiInputPolicy", env, n_steps=2 * LOOKS, batch_size=10, n_epochs=2, seed=4, device="cpu")
        model.learn(4 * 2 * LOOKS * LANES)
        weights.append(torch.cat([parameter.detach().flatten() for parameter in model.policy.parameters()]))
    assert torch.equal(*weights)


def test_stable_baselines3s_wrappers_work_on_the_adapter() -> None:
    monitored = make_sb3_env(LANES, GRID, **SMALL)
    with pytest.warns(UserWarning, match="already wrapped with a `Monitor`"):  # as of an environment under a Monitor
        again = VecMonitor(monitored)
    env = VecNormalize(again, norm_obs_keys=["glimpse"])
    env.reset()
    for _ in range(LOOKS):
        *_, infos = env.step(np.zeros((LANES, 2), np.int64))
    assert infos[0]["episode"]["l"] == LOOKS
    assert infos[0]["terminal_observation"]["glimpse"].shape == (2 * 4 * 4,)


# -------------------------------------------------------------------- imports


def test_the_environments_can_be_imported_and_made_without_stable_baselines3() -> None:
    program = """
import sys, gymnasium, envs
assert "torch" not in sys.modules
gymnasium.make("ram/MNIST-discrete-v0", images="digits").reset(seed=0)
assert "stable_baselines3" not in sys.modules
import envs.sb3
assert "stable_baselines3" in sys.modules
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
