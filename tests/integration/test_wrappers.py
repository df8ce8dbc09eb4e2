"""Which of Gymnasium's wrappers work, as docs/environments/README.md says; the pages against the registered ids."""

import re
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import wrappers
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import vector as vector_wrappers

from envs import TASKS
from envs.discrete import DiscreteGlimpseEnv, DiscreteGlimpseVectorEnv
from envs.glimpse import GlimpseVectorEnv
from envs.single import GlimpseEnv
from tests.making import make_images

PAGES = Path(__file__).parents[2] / "docs" / "environments"
SMALL: dict[str, Any] = {
    "images": make_images(),
    "size": (18, 22),
    "clutter_size": 4,
    "glimpse_size": 4,
    "scales": 2,
    "glimpses": 3,
    "render_mode": "rgb_array",
}
WORK: dict[str, dict[str, Any]] = {
    "RecordEpisodeStatistics": {},
    "TimeLimit": {"max_episode_steps": 2},
    "OrderEnforcing": {},
    "PassiveEnvChecker": {},
    "Autoreset": {},
    "FlattenObservation": {},
    "FilterObservation": {"filter_keys": ["glimpse"]},
    "FrameStackObservation": {"stack_size": 2},
    "DelayObservation": {"delay": 1},
    "TransformReward": {"func": lambda reward: 2 * reward},
    "ClipReward": {"min_reward": 0.0, "max_reward": 0.5},
    "NormalizeReward": {},
    "StickyAction": {"repeat_action_probability": 0.5},
    "RenderCollection": {},
    "AddRenderObservation": {"render_only": False},
}
REFUSE: dict[str, dict[str, Any]] = {
    "ClipAction": {},
    "RescaleAction": {"min_action": -1, "max_action": 1},
    "DiscretizeAction": {"bins": 5},
    "NormalizeObservation": {},
    "RescaleObservation": {"min_obs": 0, "max_obs": 1},
    "GrayscaleObservation": {},
    "ResizeObservation": {"shape": (4, 4)},
    "ReshapeObservation": {"shape": (4,)},
    "DtypeObservation": {"dtype": np.float64},
}
KINDS = [GlimpseEnv, DiscreteGlimpseEnv]


def play(env: gymnasium.Env) -> int:
    """Two episodes; returns the length of the last."""
    env.action_space.seed(0)
    steps = 0
    for seed in range(2):
        observation, _ = env.reset(seed=seed)
        steps, over = 0, False
        while not over:
            assert observation in env.observation_space
            observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
            steps, over = steps + 1, terminated or truncated
    return steps


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", WORK)
def test_these_wrappers_work(name: str, kind: type[GlimpseEnv]) -> None:
    env = getattr(wrappers, name)(kind(**SMALL), **WORK[name])
    assert play(env) == (2 if name == "TimeLimit" else 3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", REFUSE)
def test_these_wrappers_refuse_a_dict_of_observations_or_actions(name: str, kind: type[GlimpseEnv]) -> None:
    """Gymnasium says why from 1.4 on; until then by an assertion, which need not have a word."""
    if not hasattr(wrappers, name):
        pytest.skip(f"Gymnasium {gymnasium.__version__} has no {name}")
    with pytest.raises((TypeError, ValueError, AssertionError), match=r"[Bb]ox|requires|compatible|^$"):
        getattr(wrappers, name)(kind(**SMALL), **REFUSE[name])


@pytest.mark.parametrize("kind", KINDS)
def test_record_video_works_where_moviepy_is_there(kind: type[GlimpseEnv], tmp_path: Path) -> None:
    pytest.importorskip("moviepy", reason="RecordVideo writes its files with moviepy")
    videos = tmp_path / "videos"  # of a folder that is there it warns
    env = wrappers.RecordVideo(kind(**SMALL), str(videos), episode_trigger=lambda _: True, disable_logger=True)
    play(env)
    env.close()
    assert list(videos.glob("*.mp4"))


@pytest.mark.parametrize("kind", KINDS)
def test_numpy_to_torch_works_where_its_library_is_there(kind: type[GlimpseEnv]) -> None:
    pytest.importorskip("array_api_compat", reason="NumpyToTorch converts with array-api-compat")
    observation, _ = wrappers.NumpyToTorch(kind(**SMALL)).reset(seed=0)
    assert type(observation["glimpse"]).__module__ == "torch"


VECTOR_KINDS = [GlimpseVectorEnv, DiscreteGlimpseVectorEnv]
ANY_MODE = ("DictInfoToList", "TransformReward", "ClipReward", "NormalizeReward")
NOT_SAME_STEP = ("FlattenObservation", "FilterObservation")


@pytest.mark.parametrize("kind", VECTOR_KINDS)
@pytest.mark.parametrize("mode", ["NEXT_STEP", "SAME_STEP"])
@pytest.mark.parametrize("name", [*ANY_MODE, *NOT_SAME_STEP])
def test_these_vector_wrappers_work(name: str, mode: str, kind: type[GlimpseVectorEnv]) -> None:
    wrapper, settings = getattr(vector_wrappers, name), WORK.get(name, {})
    env = kind(2, autoreset_mode=mode, **SMALL)
    if name in NOT_SAME_STEP and mode == "SAME_STEP":
        with pytest.raises((ValueError, AssertionError), match=r"NEXT_STEP|SAME_STEP"):
            wrapper(env, **settings)
        return
    wrapped = wrapper(env, **settings)
    wrapped.reset(seed=0)
    for _ in range(8):  # three episodes, and what lies between
        observation, *_ = wrapped.step(wrapped.action_space.sample())
        assert observation in wrapped.observation_space


@pytest.mark.parametrize("kind", VECTOR_KINDS)
def test_vector_statistics_work_on_both(kind: type[GlimpseVectorEnv]) -> None:
    env = vector_wrappers.RecordEpisodeStatistics(kind(2, autoreset_mode=AutoresetMode.SAME_STEP, **SMALL))
    env.reset(seed=0)
    for _ in range(3):
        *_, info = env.step(env.action_space.sample())
    assert info["episode"]["l"].tolist() == [3, 3]


def test_the_table_lists_what_is_tested_and_nothing_else() -> None:
    rows = (PAGES / "README.md").read_text().partition("## Gymnasium's wrappers")[2]
    for names, answer in re.findall(r"^\| (`.*?) \| (\w+)", rows, re.MULTILINE):
        for name in re.findall(r"`(\w+)`", names):
            expected = {"yes": WORK, "no": REFUSE, "needs": ("RecordVideo", "NumpyToTorch")}[answer]
            assert name in expected, name
    assert {f"`{name}`" for name in (*WORK, *REFUSE)} <= set(re.findall(r"`\w+`", rows))
    assert f"`gymnasium.wrappers.vector`: {', '.join(f'`{name}`' for name in ANY_MODE)} | yes |" in rows
    others = ", ".join(f"`{name}`" for name in NOT_SAME_STEP)
    assert f'{others} there | yes, but for `autoreset_mode="SAME_STEP"`' in rows


@pytest.mark.parametrize("name", TASKS)
def test_each_environment_has_a_page_whose_tables_are_true_and_a_small_picture(name: str) -> None:
    (page,) = [path for path in PAGES.glob("*.md") if path.name != "README.md" and f"`{name}`" in path.read_text()]
    text, twin_name = page.read_text(), name.replace("-v0", "-discrete-v0")
    grey = make_images(size=(28, 28), classes=10)
    env, twin = (gymnasium.make(each, images=grey).unwrapped for each in (name, twin_name))
    seen = [each.observation_space["glimpse"].shape for each in (env, twin)]  # type: ignore[index]
    assert f"| observation `glimpse` | `Box(0, 1, {seen[0]})` | `Box(0, 1, {seen[1]})` |" in text
    assert f"`MultiDiscrete({twin.action_space.nvec.tolist()})`" in text  # type: ignore[attr-defined]
    assert f"| canvas | {'×'.join(map(str, env.vector.scenes.size))} |" in text  # type: ignore[attr-defined]
    assert f"| steps | {env.vector.glimpses}:" in text  # type: ignore[attr-defined]
    assert "## Version history" in text
    picture = page.with_suffix(".gif")
    assert f"({picture.name})" in text
    assert picture.stat().st_size < 500_000
