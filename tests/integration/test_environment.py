"""The environments as Gymnasium and other people's code meet them; Gymnasium itself is the oracle."""

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import RecordEpisodeStatistics
from gymnasium.wrappers.vector import RecordEpisodeStatistics as RecordVectorEpisodeStatistics
from packaging.version import Version

from envs import TASKS
from envs.discrete import DiscreteGlimpseVectorEnv
from envs.glimpse import GlimpseVectorEnv
from envs.images import ImageData, ImageSet
from envs.single import GlimpseEnv
from tests.making import make_env, make_images, unchecked

ROOT = Path(__file__).parents[2]
KINDS = ("crop", "gaussian", "stn")
IMAGES = make_images()
SMALL: dict[str, Any] = {
    "images": IMAGES,
    "scene": "cluttered",
    "size": (18, 22),
    "clutter": 2,
    "clutter_size": 4,
    "glimpse_size": 4,
    "scales": 2,
    "glimpses": 3,
}
LOOKS = SMALL["glimpses"]


def random_actions(env: GlimpseVectorEnv, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Windows beyond the border too: the environment clips them."""
    window = rng.uniform(-1.3, 1.3, env.action_space["window"].shape).astype(np.float32)
    return {"window": window, "label": rng.integers(0, len(IMAGES.classes), env.num_envs)}


def lane(actions: dict[str, np.ndarray], i: int) -> dict[str, Any]:
    return {name: values[i] for name, values in actions.items()}


def assert_same(ours: Any, theirs: Any, kind: str = "crop") -> None:
    """Bit for bit; a batched product of matrices may round otherwise than a single one, and only that."""
    np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=0, atol=0 if kind == "crop" else 2e-6)


def assert_same_info(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Gymnasium's vector infos: `_key` names the lanes for which `key` holds."""
    names = {key for key in theirs if not key.startswith("_")}
    assert {key for key in ours if not key.startswith("_")} == names
    for name in names:
        mask = theirs[f"_{name}"]
        assert_same(ours[f"_{name}"], mask)
        if isinstance(theirs[name], dict):
            assert_same_info(ours[name], theirs[name])
            continue
        for mine, other in zip(ours[name][mask], theirs[name][mask], strict=True):
            if isinstance(other, dict):  # a final observation
                assert mine.keys() == other.keys()
                for part in other:
                    assert_same(mine[part], other[part], "gaussian")
            else:
                assert_same(mine, other)


# -------------------------------------------------------------------- Gymnasium's own checks


@pytest.mark.parametrize("name", TASKS)
def test_gymnasiums_checker_finds_no_fault_and_warns_of_nothing(name: str) -> None:
    env = gymnasium.make(name, images="digits", disable_env_checker=True)
    check_env(env.unwrapped)  # warnings are errors here


@pytest.mark.parametrize("kind", KINDS)
def test_gymnasiums_checker_finds_no_fault_with_any_eye(kind: str) -> None:
    check_env(GlimpseEnv(sensor=kind, render_mode="rgb_array", **SMALL), skip_render_check=True)


@pytest.mark.parametrize("name", TASKS)
def test_make_and_make_vec_build_the_papers_tasks_by_our_own_vector_environment(name: str) -> None:
    size = {"ram/MNIST-v0": 28, "ram/TranslatedMNIST-v0": 60, "ram/ClutteredMNIST-v0": 60}.get(name, 100)
    single = gymnasium.make(name, images="digits")
    vector = gymnasium.make_vec(name, num_envs=3, images="digits")
    assert isinstance(single.unwrapped, GlimpseEnv)
    assert isinstance(vector.unwrapped, GlimpseVectorEnv)
    assert vector.num_envs == 3
    observation, _ = single.reset(seed=1)
    assert observation in single.observation_space
    vector.reset(seed=1)
    assert vector.unwrapped.canvas.shape == (3, 1, size, size)
    assert vector.unwrapped.glimpses == 6
    assert vector.unwrapped.scenes.clutter == {60: 4, 100: 8}.get(size, 4)
    assert vector.unwrapped.scenes.kind == {28: "plain"}.get(size, "translated" if "Trans" in name else "cluttered")


def test_a_program_that_never_imports_us_makes_an_environment_by_its_prefix() -> None:
    program = """
import sys, gymnasium
assert "envs" not in sys.modules
env = gymnasium.make("envs:ram/MNIST-v0", images="digits", glimpses=2)
env.reset(seed=0)
print([env.step(env.action_space.sample())[2] for _ in range(2)])
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[False, True]\n", "")


@pytest.mark.parametrize("kind", KINDS)
def test_spaces_hold_every_observation_and_every_action_that_they_sample_is_taken(kind: str) -> None:
    env = make_env(3, sensor=kind)
    env.action_space.seed(0)
    observation, _ = env.reset(seed=0)
    for step in range(4 * LOOKS):
        assert observation in env.observation_space
        assert lane(observation, 1) in env.single_observation_space
        observation, _, terminated, _, _ = env.step(env.action_space.sample())
        if terminated.all():
            assert step % LOOKS == LOOKS - 1
            observation, _ = env.reset()


def test_the_action_space_names_p_numbers_and_a_class() -> None:
    for kind, parameters in (("crop", 2), ("stn", 4), ("gaussian", 6)):
        space = make_env(1, sensor=kind).single_action_space
        assert space["window"] == gymnasium.spaces.Box(-1, 1, (parameters,), np.float32)
        assert space["label"] == gymnasium.spaces.Discrete(4)
    colour = GlimpseEnv(**SMALL | {"images": make_images(channels=3)})
    assert colour.observation_space["glimpse"].shape == (2 * 3, 4, 4)


# -------------------------------------------------------------------- lanes = singles


@pytest.mark.parametrize("kind", KINDS)
def test_lane_i_is_the_single_environment_seeded_with_the_seed_plus_i(kind: str) -> None:
    rng = np.random.default_rng(0)
    vector = GlimpseVectorEnv(4, sensor=kind, **SMALL)
    singles = [GlimpseEnv(sensor=kind, **SMALL) for _ in range(4)]
    for episode in range(3):
        seed = 7 if episode == 0 else None
        observation, info = vector.reset(seed=seed)
        alone = [single.reset(seed=None if seed is None else seed + i) for i, single in enumerate(singles)]
        for i, (single_observation, single_info) in enumerate(alone):
            for name in observation:
                assert_same(observation[name][i], single_observation[name], kind)
            assert single_info.keys() == {"target", "place"}
            for name, value in single_info.items():
                assert_same(info[name][i], value)
        for _ in range(LOOKS):
            actions = random_actions(vector, rng)
            observation, reward, terminated, truncated, info = vector.step(actions)
            for i, single in enumerate(singles):
                single_observation, single_reward, *over, single_info = single.step(lane(actions, i))
                for name in observation:
                    assert_same(observation[name][i], single_observation[name], kind)
                assert (reward[i], terminated[i], truncated[i]) == (single_reward, *over)
                for name, value in single_info.items():
                    assert_same(info[name][i], value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", AutoresetMode)
def test_every_autoreset_mode_is_gymnasiums_even_where_lanes_end_at_different_steps(
    kind: str, mode: AutoresetMode
) -> None:
    rng = np.random.default_rng(1)
    ours = GlimpseVectorEnv(3, sensor=kind, autoreset_mode=mode, **SMALL)
    theirs = SyncVectorEnv([lambda: GlimpseEnv(sensor=kind, **SMALL)] * 3, autoreset_mode=mode)
    assert ours.metadata["autoreset_mode"] == mode
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space

    def both_reset(**arguments: Any) -> None:
        (seen, told), (expected, expected_info) = (
            env.reset(**copy.deepcopy(arguments)) for env in (ours, theirs)
        )  # SyncVectorEnv takes options apart
        for name in seen:
            assert_same(seen[name], expected[name], kind)
        assert_same_info(told, expected_info)

    both_reset(seed=11)
    ends = 0
    for step in range(4 * LOOKS + 3):
        if step == 2:
            both_reset(seed=99, options={"reset_mask": np.array([True, False, True])})
        actions = random_actions(ours, rng)
        seen, *outcome, told = ours.step(actions)
        expected, *expected_outcome, expected_info = theirs.step(actions)
        for name in seen:
            assert_same(seen[name], expected[name], kind)
        for mine, other in zip(outcome, expected_outcome, strict=True):
            assert_same(mine, other)
        assert_same_info(told, expected_info)
        over = outcome[1]
        ends += int(over.sum())
        if over.any():
            assert mode == AutoresetMode.DISABLED or not over.all()
            assert ("final_obs" in told) == ("final_info" in told) == (mode == AutoresetMode.SAME_STEP)
        if over.any() and mode == AutoresetMode.DISABLED:
            both_reset(options={"reset_mask": over})
    assert ends >= 8  # each lane ended several times


@pytest.mark.parametrize("mode", AutoresetMode)
def test_what_was_handed_out_never_changes_afterwards(mode: AutoresetMode) -> None:
    rng = np.random.default_rng(2)
    env = make_env(3, autoreset_mode=mode)
    given = [env.reset(seed=3)]
    kept = [copy.deepcopy(given[0])]
    for step in range(3 * LOOKS):
        if step == 1:
            given.append(env.reset(options={"reset_mask": np.array([False, True, False])}))
            kept.append(copy.deepcopy(given[-1]))
        given.append(env.step(random_actions(env, rng)))
        kept.append(copy.deepcopy(given[-1]))
        if mode == AutoresetMode.DISABLED and given[-1][2].any():
            given.append(env.reset(options={"reset_mask": given[-1][2]}))
            kept.append(copy.deepcopy(given[-1]))
    for before, now in zip(kept, given, strict=True):
        assert gymnasium.utils.env_checker.data_equivalence(before, now)


@pytest.mark.parametrize("first", ["centre", "random", [0.5, -0.5]])
def test_writing_into_what_was_handed_out_does_not_change_later_episodes(first: Any) -> None:
    env, untouched = make_env(2, first_window=first), make_env(2, first_window=first)
    env.reset(seed=0), untouched.reset(seed=0)
    for _ in range(2):
        observation, info = env.reset()
        expected, expected_info = untouched.reset()
        assert gymnasium.utils.env_checker.data_equivalence((observation, info), (expected, expected_info))
        for array in (*observation.values(), *info.values()):
            array[:] = 1


def test_the_same_seed_gives_the_same_episodes_whatever_the_batch_size() -> None:
    wide = make_env(5)
    wide.reset(seed=9)
    assert len({tuple(canvas.flatten().tolist()) for canvas in wide.canvas}) == 5
    for lanes in (1, 2, 4):
        narrow = make_env(lanes)
        narrow.reset(seed=9)
        assert torch.equal(narrow.canvas, wide.canvas[:lanes])


def test_scenes_by_name_are_what_one_lane_would_have_met_one_after_another() -> None:
    batch, alone = make_env(4), make_env(1)
    observation, info = batch.reset(seed=[21] * 4, options={"scene": np.arange(4)})
    alone.reset(seed=21)
    for scene in range(4):
        if scene:
            alone.reset()
        assert torch.equal(batch.canvas[scene], alone.canvas[0])
    # And by name again, later, on its own: also for the single environment.
    single = GlimpseEnv(sensor="crop", **SMALL)
    single_observation, single_info = single.reset(seed=21, options={"scene": 2})
    assert_same(single_observation["glimpse"], observation["glimpse"][2])
    assert single_info["target"] == info["target"][2]


def test_without_a_seed_environments_differ_and_with_one_they_start_over() -> None:
    first, second = make_env(2), make_env(2)
    first.reset(), second.reset()
    assert not torch.equal(first.canvas, second.canvas)
    first.reset(seed=4)
    before = first.canvas.clone()
    first.reset()
    assert not torch.equal(first.canvas, before)
    first.reset(seed=4)
    assert torch.equal(first.canvas, before)


def test_a_partial_reset_leaves_the_other_lanes_where_they_were() -> None:
    env = make_env(3)
    env.reset(seed=0)
    before, _, _, _, _ = env.step(random_actions(env, np.random.default_rng(0)))
    canvas = env.canvas.clone()
    after, info = env.reset(options={"reset_mask": np.array([False, True, False])})
    for name in after:
        assert_same(after[name][[0, 2]], before[name][[0, 2]])
    assert torch.equal(env.canvas[[0, 2]], canvas[[0, 2]])
    assert not torch.equal(env.canvas[1], canvas[1])
    assert info["_target"].tolist() == [False, True, False]


@pytest.mark.parametrize("split", ["validation", "test"])
def test_scene_i_of_a_fixed_split_shows_image_i(split: str) -> None:
    env = make_env(12, split=split, scene="plain", size=(10, 12))
    _, info = env.reset(seed=[5] * 12, options={"scene": np.arange(12)})
    part = IMAGES.split(split)
    assert torch.equal(env.canvas, part.pixels.float() * (1 / 255))
    assert info["target"].tolist() == part.labels.tolist()


# -------------------------------------------------------------------- the episode


@pytest.mark.parametrize("looks", [1, 2, 6])
def test_an_episode_takes_t_steps_and_only_its_last_label_is_rewarded(looks: int) -> None:
    env = make_env(2, glimpses=looks)
    for last_right in (True, False):
        _, info = env.reset(seed=1)
        right = info["target"]
        wrong = (right + 1) % 4
        for step in range(looks):
            last = step == looks - 1
            label = right if last == last_right else wrong  # before the last step, say the opposite
            window = np.zeros((2, 2), np.float32)
            _, reward, terminated, truncated, info = env.step({"window": window, "label": label})
            assert terminated.tolist() == [last] * 2
            assert not truncated.any()
            assert reward.tolist() == [float(last and last_right)] * 2
            assert ("is_success" in info) == last
            assert info["target"].tolist() == right.tolist()
        assert info["is_success"].tolist() == [last_right] * 2


def test_windows_are_clipped_and_the_last_step_does_not_move_the_eye() -> None:
    outside, inside = make_env(2, glimpses=2), make_env(2, glimpses=2)
    label = np.zeros(2, np.int64)
    outside.reset(seed=0), inside.reset(seed=0)
    far = np.array([[3.0, -0.5], [-9.0, 1.5]], np.float32)
    seen, *_ = outside.step({"window": far, "label": label})
    expected, *_ = inside.step({"window": far.clip(-1, 1), "label": label})
    assert_same(seen["window"], far.clip(-1, 1))
    assert_same(seen["glimpse"], expected["glimpse"])
    last, *_ = outside.step({"window": -far, "label": label})
    assert_same(last["window"], seen["window"])
    assert_same(last["glimpse"], seen["glimpse"])


def test_place_is_where_the_mass_of_the_image_lies() -> None:
    white = ImageSet(torch.full((4, 1, 3, 5), 255, dtype=torch.uint8), torch.arange(4))
    images = ImageData("white", white, white, white, tuple("abcd"), "")
    env = make_env(64, images=images, scene="translated", size=(13, 21), clutter_size=1)
    _, info = env.reset(seed=0)
    mass = env.canvas[:, 0] / env.canvas[:, 0].sum(dim=(1, 2), keepdim=True)
    x, y = (torch.arange(21) + 0.5) / 21 * 2 - 1, (torch.arange(13) + 0.5) / 13 * 2 - 1
    centroid = torch.stack([(mass.sum(dim=1) * x).sum(dim=1), (mass.sum(dim=2) * y).sum(dim=1)], dim=1)
    np.testing.assert_allclose(info["place"], centroid, atol=1e-5)
    assert len(np.unique(info["place"], axis=0)) > 30


def test_the_glimpse_is_what_the_sensor_reads_from_the_scene_at_the_window_that_is_told() -> None:
    for kind in KINDS:
        env = make_env(3, sensor=kind)
        observation, _ = env.reset(seed=0)
        for _ in range(LOOKS):
            window = env.sensor.window(torch.from_numpy(observation["window"]))
            # The environment reads bytes, `canvas` is floats: rounding differs.
            again = env.sensor(env.canvas, window).flatten(1, 2).numpy()
            np.testing.assert_allclose(observation["glimpse"], again, rtol=0, atol=2e-6)
            observation, *_ = env.step(random_actions(env, np.random.default_rng(0)))


@pytest.mark.parametrize("kind", ["crop", "gaussian", "stn"])
@pytest.mark.parametrize("tensors", [False, True])
def test_a_peek_shows_what_a_step_would_and_moves_nothing(kind: str, tensors: bool) -> None:
    env, other = (make_env(5, sensor=kind, tensors=tensors) for _ in range(2))
    env.reset(seed=4), other.reset(seed=4)
    env.action_space.seed(1)
    for _ in range(env.glimpses - 1):
        action = env.action_space.sample()
        action["window"] *= 1.5  # clipped alike
        given = {name: torch.from_numpy(part) for name, part in action.items()} if tensors else action
        foreseen = env.peek(given["window"])
        env.peek(-given["window"])
        seen = env.step(given)[0]["glimpse"]
        assert type(foreseen) is type(seen)
        np.testing.assert_array_equal(foreseen, seen)
        np.testing.assert_array_equal(other.step(given)[0]["glimpse"], seen)


def test_a_peek_at_nothing_or_at_no_place_is_refused() -> None:
    env = make_env(2)
    with pytest.raises(ResetNeeded, match=r"^peek: "):
        env.peek(np.zeros((2, 2), np.float32))
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"^peek: expected windows of shape \(2, 2\), got \(2,\)$"):
        env.peek(np.zeros(2, np.float32))
    with pytest.raises(ValueError, match=r"NaN"):
        env.peek(np.full((2, 2), np.nan, np.float32))


def test_stepping_before_the_first_reset_and_after_the_end_is_refused() -> None:
    env, single = make_env(2), GlimpseEnv(sensor="crop", **SMALL)
    action = {"window": np.zeros((2, 2), np.float32), "label": np.zeros(2, np.int64)}
    with pytest.raises(ResetNeeded):
        env.step(action)
    with pytest.raises(ResetNeeded):
        single.step(lane(action, 0))
    with pytest.raises(ResetNeeded):
        env.reset(options={"reset_mask": np.array([True, False])})
    env.reset(seed=0), single.reset(seed=0)
    for _ in range(LOOKS):
        env.step(action), single.step(lane(action, 0))
    with pytest.raises(ResetNeeded):
        env.step(action)
    with pytest.raises(ResetNeeded):
        single.step(lane(action, 0))
    env.reset(options={"reset_mask": np.array([True, False])})
    with pytest.raises(ResetNeeded):  # one lane is still over
        env.step(action)
    env.reset()
    env.step(action)


@pytest.mark.parametrize(
    "action",
    [
        {"window": np.zeros((2, 2), np.float32)},
        {"window": np.zeros((2, 3), np.float32), "label": np.zeros(2, np.int64)},
        {"window": np.zeros((3, 2), np.float32), "label": np.zeros(3, np.int64)},
        {"window": np.zeros((2, 2), np.float32), "label": np.zeros((2, 1), np.int64)},
        np.zeros((2, 2)),
    ],
)
def test_an_action_of_the_wrong_form_is_refused_by_name(action: Any) -> None:
    env = make_env(2)
    env.reset(seed=0)
    with unchecked(), pytest.raises(ValueError, match=r"^actions: expected .*window"):
        env.step(action)


@pytest.mark.parametrize("mask", [[True], [False, False], [[True, False]], [1, 0], [0.5, 0.0]])
def test_a_reset_mask_of_the_wrong_form_is_refused_by_name(mask: Any) -> None:
    env = make_env(2)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="reset_mask"):
        env.reset(options={"reset_mask": np.array(mask)})
    with pytest.raises(ValueError, match="seed: got 3 seeds"):
        env.reset(seed=[1, 2, 3])


@pytest.mark.parametrize(
    "asked",
    [
        {"seed": 9, "options": {"scene": 1.5}},
        {"seed": [1, 2, 3], "options": {"scene": 0}},
        {"seed": 9, "options": {"scene": 4, "reset_mask": np.array([False, False])}},
    ],
    ids=repr,
)
def test_a_reset_that_is_refused_changes_nothing(asked: dict[str, Any]) -> None:
    env, twin = make_env(2), make_env(2)
    env.reset(seed=1), twin.reset(seed=1)
    with pytest.raises(ValueError, match=r"^(scene|seed|reset_mask): "):
        env.reset(**asked)
    env.reset(), twin.reset()
    assert torch.equal(env.canvas, twin.canvas)


def test_a_mask_that_is_refused_before_the_first_reset_sets_no_seed() -> None:
    env, twin = make_env(2), make_env(2)
    with pytest.raises(ResetNeeded):
        env.reset(seed=9, options={"scene": 4, "reset_mask": np.array([True, False])})
    env.reset(seed=[None, 3]), twin.reset(seed=[None, 3])
    assert not torch.equal(env.canvas[0], twin.canvas[0])  # drawn anew, by either
    assert torch.equal(env.canvas[1], twin.canvas[1])


def test_what_was_handed_in_may_be_written_to_afterwards() -> None:
    first = np.array([0.5, -0.5], dtype=np.float32)
    with unchecked():  # an array is no Sequence, and taken
        env = make_env(2, first_window=first, tensors=True)
    twin = make_env(2, first_window=first.tolist(), tensors=True)
    seeds, scenes = torch.tensor([1, 2]), torch.tensor([3, 4])
    for each in (env, twin):
        each.reset(seed=seeds.clone() if each is twin else seeds, options={"scene": scenes})
    first += 0.25
    seeds += 100
    scenes += 100
    assert torch.equal(env.reset()[0]["window"], twin.reset()[0]["window"])
    assert torch.equal(env.canvas, twin.canvas)


def test_a_single_environment_has_what_the_vector_environment_tells() -> None:
    single, vector = GlimpseEnv(sensor="crop", **SMALL), make_env(1)
    single.reset(seed=3), vector.reset(seed=3)
    assert single.sensor == vector.sensor
    assert single.class_names == vector.class_names
    assert torch.equal(single.canvas, vector.canvas[0])
    window = np.array([0.25, -0.5], dtype=np.float32)
    assert_same(single.peek(window), vector.peek(window[None])[0])


# -------------------------------------------------------------------- torch in and out


@pytest.mark.parametrize("kind", KINDS)
def test_torch_and_numpy_environments_say_the_same(kind: str) -> None:
    rng = np.random.default_rng(0)
    arrays, tensors = make_env(3, sensor=kind), make_env(3, sensor=kind, tensors=True)
    observation, _ = arrays.reset(seed=2)
    observation_t, info_t = tensors.reset(seed=2)
    for _ in range(LOOKS):
        actions = random_actions(arrays, rng)
        for name in observation:
            assert isinstance(observation[name], np.ndarray)
            assert isinstance(observation_t[name], torch.Tensor)
            assert_same(observation[name], observation_t[name])
        assert isinstance(info_t["target"], torch.Tensor)
        observation, *outcome, _ = arrays.step(actions)
        observation_t, *outcome_t, info_t = tensors.step({name: torch.from_numpy(a) for name, a in actions.items()})
        for mine, other in zip(outcome, outcome_t, strict=True):
            assert isinstance(mine, np.ndarray)
            assert isinstance(other, torch.Tensor)
            assert_same(mine, other)


@pytest.mark.parametrize("kind", ["crop", "gaussian", "stn"])
def test_a_glimpse_carries_the_sensors_gradient_through_the_environment(kind: str) -> None:
    """Whose canvases are bytes, where these are floats."""
    env = make_env(3, sensor=kind, tensors=True)
    env.reset(seed=0)
    window = torch.linspace(-0.5, 0.5, 3 * env.sensor.window_parameters).view(3, -1).requires_grad_()
    observation, *_ = env.step({"window": window, "label": torch.zeros(3, dtype=torch.long)})
    (through,) = torch.autograd.grad(observation["glimpse"].square().sum(), window)
    (direct,) = torch.autograd.grad(env.sensor(env.canvas, env.sensor.window(window)).square().sum(), window)
    torch.testing.assert_close(through, direct)
    assert (through.abs().sum(dim=0) > 0).all()  # every parameter of the window is reached


@pytest.mark.parametrize("kind", ["gaussian", "stn"])
def test_the_gradient_passes_lanes_that_were_reset_at_another_time(kind: str) -> None:
    env = make_env(2, sensor=kind, tensors=True)
    env.reset(seed=0)
    label = torch.zeros(2, dtype=torch.long)
    parameters = env.sensor.window_parameters
    env.step({"window": torch.zeros(2, parameters), "label": label})
    env.reset(options={"reset_mask": np.array([True, False])})
    env.step({"window": torch.zeros(2, parameters), "label": label})  # lane 1 has seen all of its glimpses
    window = torch.full((2, parameters), 0.1, requires_grad=True)
    observation, *_ = env.step({"window": window, "label": label})
    (gradient,) = torch.autograd.grad(observation["glimpse"].sum(), window)
    assert gradient[0].abs().sum() > 0
    assert gradient[1].abs().sum() == 0  # it answered; its eye did not move


def test_a_hard_glimpse_carries_a_straight_through_gradient_to_a_window_that_asks_for_one() -> None:
    env = make_env(2, tensors=True)
    label = torch.zeros(2, dtype=torch.long)
    env.reset(seed=0)
    window = torch.zeros(2, 2, requires_grad=True)
    asked, *_ = env.step({"window": window, "label": label})
    (gradient,) = torch.autograd.grad((asked["glimpse"] * torch.randn_like(asked["glimpse"])).sum(), window)
    assert (gradient.abs() > 0).all()
    env.reset(seed=0)
    plain, *_ = env.step({"window": window.detach(), "label": label})
    assert torch.equal(plain["glimpse"], asked["glimpse"].detach())
    assert not plain["glimpse"].requires_grad


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_are_the_environments_own_and_arrays_are_nobody_elses(kind: str) -> None:
    for tensors in (True, False):
        env = make_env(3, sensor=kind, tensors=tensors)
        actions = random_actions(env, np.random.default_rng(0))
        for observe in (lambda env=env: env.reset(seed=0)[0], lambda env=env, given=actions: env.step(given)[0]):
            observation = observe()
            for part, own in (("glimpse", env._glimpse), ("window", env._window)):
                assert np.shares_memory(np.asarray(observation[part]), own.numpy()) == tensors


# -------------------------------------------------------------------- the first window


def test_a_random_first_window_is_uniform_and_its_own_for_each_scene() -> None:
    env = make_env(400, sensor="stn")
    observation, _ = env.reset(seed=0)
    place = observation["window"][:, :2]
    for axis in (0, 1):  # mean 0 and variance 1/3 of a uniform law; five standard errors
        assert abs(place[:, axis].mean()) < 5 * (1 / 3 / 400) ** 0.5
        assert abs(place[:, axis].var() - 1 / 3) < 5 * (4 / 45 / 400) ** 0.5
    assert abs(np.corrcoef(place.T)[0, 1]) < 0.25
    rest = np.asarray(env.sensor.rest((18, 22)), np.float32)
    assert_same(observation["window"][:, 2:], np.broadcast_to(rest[2:], (400, 2)))
    again, _ = env.reset(seed=0)
    assert_same(again["window"], observation["window"])
    later, _ = env.reset()
    assert (later["window"][:, :2] != place).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_centred_and_a_fixed_first_window_are_what_was_asked_for(kind: str) -> None:
    env = make_env(3, sensor=kind, first_window="centre")
    observation, _ = env.reset(seed=0)
    assert_same(observation["window"], np.tile(np.float32(env.sensor.rest((18, 22))), (3, 1)))
    assert (observation["window"][:, :2] == 0).all()
    fixed = np.linspace(-1, 1, env.sensor.window_parameters).astype(np.float32)
    observation, _ = make_env(3, sensor=kind, first_window=fixed.tolist()).reset(seed=0)
    assert_same(observation["window"], np.tile(fixed, (3, 1)))


@pytest.mark.parametrize("first", ["corner", None, ["a", "b"], [0.0], [0.0, 0.0, 0.0], [0.0, 1.5], [0.0, float("nan")]])
def test_a_first_window_that_makes_no_sense_is_refused_by_name(first: Any) -> None:
    with unchecked(), pytest.raises(ValueError, match=r"^first_window: got .* expected .*2 numbers in \[-1, 1\]"):
        make_env(2, first_window=first)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lanes": 0}, "num_envs: got 0"),
        ({"glimpses": 0}, "glimpses: got 0"),
        ({"render_mode": "human"}, "render_mode: got 'human'"),
        ({"glimpse_size": 20}, "size: got 20.*18x22"),
        ({"glimpse_size": 5}, "size: got 5, expected even"),
        ({"scales": 0}, "scales: got 0"),
        ({"scales": 2.5}, "scales: got 2.5, expected a whole number"),
        ({"glimpse_size": 4.0}, "size: got 4.0, expected a whole number"),
        ({"size": 60}, r"size: got 60, expected \(height, width\)"),
        ({"lanes": True}, "num_envs: got True"),
        ({"sensor": "fovea"}, "sensor kind: got 'fovea'"),
        ({"sensor": None}, "^sensor: got None, expected 'crop', 'gaussian', 'stn' or a Sensor"),
        ({"affine": None}, "^scene.affine: got None, expected 0"),
        ({"elastic": "1.5"}, "^scene.elastic: got '1.5', expected 0"),
        ({"scene": "messy"}, "scene.kind: got 'messy'"),
        ({"split": "tset"}, "split: .*'tset'"),
        ({"size": (9, 22)}, "scene.height, scene.width: a 9x22 canvas cannot hold images of 10x12"),
        ({"clutter": -1}, "scene.clutter: got -1"),
        ({"clutter": 1001}, "scene.clutter: got 1001, expected 0 to 1000 patches"),
        ({"clutter_size": 11}, "scene.clutter_size: got 11"),
        ({"images": "mnsit"}, "image source: .*'mnsit'; did you mean 'mnist'"),
        ({"autoreset_mode": "never"}, "autoreset_mode: got 'never', expected one of"),
    ],
)
def test_a_constructor_argument_that_makes_no_sense_is_refused_by_name(settings: dict[str, Any], message: str) -> None:
    with unchecked(), pytest.raises(ValueError, match=message):
        make_env(**settings)


# -------------------------------------------------------------------- pictures and wrappers


def test_render_draws_one_frame_a_lane_and_the_path_grows_with_every_look() -> None:
    env = make_env(2, render_mode="rgb_array", glimpses=3, first_window="centre")
    env.reset(seed=0)
    frames = [env.render()]
    window = np.array([[0.5, 0.5], [-0.5, 0.0]], np.float32)
    for sign in (1, -1):
        env.step({"window": sign * window, "label": np.zeros(2, np.int64)})
        frames.append(env.render())
    for shown in frames:
        assert isinstance(shown, tuple)
        assert len(shown) == 2
        for frame in shown:
            assert frame.dtype == np.uint8
            assert frame.shape == frames[0][0].shape
            assert frame.shape[2] == 3
    assert len({frame.tobytes() for shown in frames for frame in shown}) == 6
    single = GlimpseEnv(sensor="crop", render_mode="rgb_array", **SMALL | {"first_window": "centre"})
    single.reset(seed=1)
    np.testing.assert_array_equal(single.render(), frames[0][1])


def test_render_keeps_the_paths_of_lanes_apart_that_began_at_different_steps() -> None:
    together, alone = (make_env(2, render_mode="rgb_array", glimpses=4) for _ in range(2))
    window = np.array([[0.5, 0.5], [-0.5, 0.0]], np.float32)
    action = {"window": window, "label": np.zeros(2, np.int64)}
    together.reset(seed=0), alone.reset(seed=0)
    together.step(action)
    together.reset(options={"reset_mask": np.array([True, False])})
    alone.reset()
    together.step(action), alone.step(action)
    np.testing.assert_array_equal(together.render()[0], alone.render()[0])


def test_render_without_a_mode_warns_and_draws_nothing() -> None:
    env = make_env(1)
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="render_mode='rgb_array'"):
        assert env.render() is None


def test_gymnasiums_episode_statistics_work_on_a_single_environment() -> None:
    env = RecordEpisodeStatistics(GlimpseEnv(sensor="crop", **SMALL))
    _, info = env.reset(seed=0)
    for _ in range(LOOKS):
        *_, info = env.step({"window": np.zeros(2, np.float32), "label": info["target"]})
    assert (info["episode"]["r"], info["episode"]["l"]) == (1.0, LOOKS)


@pytest.mark.parametrize("mode", AutoresetMode)
def test_gymnasiums_episode_statistics_work_on_a_vector_environment(mode: AutoresetMode) -> None:
    if mode == AutoresetMode.SAME_STEP and Version(gymnasium.__version__) < Version("1.3"):
        pytest.skip("Gymnasium before 1.3 counts a step too few in every episode after the first")
    env = RecordVectorEpisodeStatistics(make_env(3, autoreset_mode=mode))
    _, info = env.reset(seed=0)
    window = np.zeros((3, 2), np.float32)
    for _ in range(2):
        for step in range(LOOKS):
            label = info["target"].copy()
            label[1] = (label[1] + 1) % 4
            *_, terminated, _, info = env.step({"window": window, "label": label})
            assert terminated.all() == (step == LOOKS - 1)
        assert info["episode"]["r"].tolist() == [1.0, 0.0, 1.0]
        assert info["episode"]["l"].tolist() == [LOOKS] * 3
        if mode == AutoresetMode.DISABLED:
            _, info = env.reset(options={"reset_mask": terminated})
        elif mode == AutoresetMode.NEXT_STEP:
            *_, info = env.step({"window": window, "label": label})


def test_what_is_written_into_observations_changes_nothing_that_comes_after() -> None:
    """As preprocessing in place does."""
    for rules in ({}, {"moves": "relative"}):
        untouched, written = (GlimpseVectorEnv(2, **SMALL, **rules, first_window="centre") for _ in range(2))
        untouched.reset(seed=3), written.reset(seed=3)
        for _ in range(LOOKS):
            action = {"window": np.zeros((2, 2), np.float32), "label": np.zeros(2, np.int64)}
            expected, seen = untouched.step(action)[0], written.step(action)[0]
            for part in ("glimpse", "window"):
                assert_same(seen[part], expected[part])
                seen[part][:] = 1.0


def test_an_environment_that_was_reset_in_inference_mode_is_reset_outside_of_it_too() -> None:
    env, plain = (GlimpseVectorEnv(2, **SMALL, tensors=True) for _ in range(2))
    with torch.inference_mode():
        env.reset(seed=3)
    assert torch.equal(env.reset(seed=4)[0]["glimpse"], plain.reset(seed=4)[0]["glimpse"])


def test_an_episode_that_began_in_inference_mode_goes_on_outside_of_it_and_is_drawn() -> None:
    env = GlimpseVectorEnv(2, **SMALL, tensors=True, render_mode="rgb_array")
    with torch.inference_mode():
        env.reset(seed=3)
    env.step({"window": torch.zeros(2, 2), "label": torch.zeros(2, dtype=torch.long)})
    assert len(env.render()) == 2


def test_a_window_that_is_no_number_can_be_drawn() -> None:
    """In tensors NaN is not looked for; whoever looks for the fault looks at the picture, too."""
    env = GlimpseVectorEnv(1, **SMALL, tensors=True, render_mode="rgb_array")
    env.reset(seed=3)
    env.step({"window": torch.full((1, 2), torch.nan), "label": torch.zeros(1, dtype=torch.long)})
    assert env.render()[0].std() > 0


@pytest.mark.parametrize("twist", [lambda each: each[::-1].copy()[::-1], lambda each: each.astype(">i8")])
def test_scenes_are_taken_whatever_their_strides_and_byte_order(twist: Any) -> None:
    env, named = GlimpseVectorEnv(2, **SMALL), np.array([5, 3])
    usual = env.reset(seed=[1, 1], options={"scene": named})[0]["glimpse"]
    assert_same(env.reset(seed=[1, 1], options={"scene": twist(named)})[0]["glimpse"], usual)


@pytest.mark.parametrize("seeds", [np.zeros((2, 1), int), torch.zeros(2, 2, dtype=torch.long)])
def test_seeds_of_another_shape_are_refused_before_anything_changes(seeds: Any) -> None:
    env, other = GlimpseVectorEnv(2, **SMALL), GlimpseVectorEnv(2, **SMALL)
    env.reset(seed=7), other.reset(seed=7)
    with pytest.raises(ValueError, match=r"^seed: got an array of shape .*, expected one of shape \(2,\)"):
        env.reset(seed=seeds)
    assert_same(env.reset()[0]["glimpse"], other.reset()[0]["glimpse"])


@pytest.mark.parametrize("action", [None, 3])
def test_a_single_environment_names_what_it_was_given_in_place_of_an_action(action: Any) -> None:
    env = GlimpseEnv(**SMALL)
    env.reset(seed=1)
    told = f"expected a dict with 'window' and 'label', got {type(action).__name__}"
    with unchecked(), pytest.raises(ValueError, match=told):
        env.step(action)


def test_a_size_in_text_is_refused_by_name() -> None:
    with unchecked(), pytest.raises(ValueError, match=r"^size: got \('18', '22'\), expected \(height, width\)"):
        GlimpseVectorEnv(1, **SMALL | {"size": ("18", "22")})


def test_truths_of_numpy_are_truths_to_the_twin() -> None:
    with unchecked():
        for said, parts in ((np.False_, 2), (np.True_, 3)):
            env = DiscreteGlimpseVectorEnv(2, grid=3, early_answer=said, **SMALL)
            assert env.single_action_space.shape == (parts,)


@pytest.mark.parametrize("mode", AutoresetMode)
def test_an_autoreset_mode_goes_by_its_name_and_its_value(mode: AutoresetMode) -> None:
    for said in (mode, mode.name, mode.value):
        assert GlimpseVectorEnv(2, **SMALL, autoreset_mode=said).autoreset_mode == mode


def test_an_autoreset_mode_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="autoreset_mode: got 'never', expected one of NEXT_STEP, SAME_STEP, DISABLED"):
        GlimpseVectorEnv(2, **SMALL, autoreset_mode="never")
    with pytest.raises(ValueError, match=r"autoreset_mode: got 'SAME_STEP', expected none: .*wrappers\.Autoreset"):
        GlimpseEnv(**SMALL, autoreset_mode="SAME_STEP")


def test_a_single_environment_has_one_lane() -> None:
    with pytest.raises(ValueError, match=r"^num_envs: got 3, expected none: .* gymnasium\.make_vec makes more"):
        GlimpseEnv(**SMALL, num_envs=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scenes": 3}, r"options: got \['scenes'\], expected 'scene' and 'reset_mask' alone"),
        ({"scene": torch.tensor([True, False])}, r"scene: got tensor\(\[ True, False\]\), expected a whole number"),
        ({"scene": 1.7}, "scene: got 1.7, expected a whole number from 0 up, or one for each of 2 lanes"),
        ({"scene": [1, 2, 3]}, r"scene: got \[1, 2, 3\], expected a whole number from 0 up, or one for each of 2"),
        ({"scene": [0, -1]}, r"scene: got \[0, -1\], expected a whole number from 0 up, or one for each of 2 lanes"),
    ],
)
def test_options_that_are_none_are_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GlimpseVectorEnv(2, **SMALL).reset(seed=1, options=options)


@pytest.mark.parametrize("seed", [2**62, 2**63 - 1, 2**63, 2**100 + 5])
def test_a_seed_may_be_as_large_as_gymnasiums(seed: int) -> None:
    vector, single = GlimpseVectorEnv(2, **SMALL), GlimpseEnv(**SMALL)
    together = vector.reset(seed=seed)[0]["glimpse"]
    for i in range(2):
        assert_same(single.reset(seed=seed + i)[0]["glimpse"], together[i])


def test_observations_are_float32_whatever_torchs_default_is() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        env = GlimpseEnv(**SMALL)
        assert env.observation_space.contains(env.reset(seed=1)[0])
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("kind", ["crop", "stn"])
def test_a_peek_moves_no_eye_that_moves_by_steps(kind: str) -> None:
    env, other = (make_env(5, sensor=kind, moves="relative") for _ in range(2))
    for each in (env, other):
        each.reset(seed=4)
    env.action_space.seed(1)
    for _ in range(env.glimpses):
        action = env.action_space.sample()
        env.peek(-action["window"])
        np.testing.assert_array_equal(env.step(action)[0]["window"], other.step(action)[0]["window"])


def test_a_step_carries_the_gradient_of_its_own_window_and_of_none_before() -> None:
    """Otherwise the graph would grow from step to step."""
    env = make_env(2, sensor="stn", tensors=True, moves="relative", first_window="centre")
    env.reset(seed=0)
    label = torch.zeros(2, dtype=torch.long)
    first, second = (torch.full((2, 4), 0.1, requires_grad=True) for _ in range(2))
    env.step({"window": first, "label": label})
    seen, *_ = env.step({"window": second, "label": label})
    before, own = torch.autograd.grad(seen["glimpse"].square().sum(), (first, second), allow_unused=True)
    assert before is None
    assert (own[:, :2].abs() > 0).any()
