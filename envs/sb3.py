"""The native vector environment as Stable-Baselines3 wants it, without a Python loop over lanes.

Stable-Baselines3's own `DummyVecEnv` steps N single environments one after another. `GlimpseVecEnv` says the same,
transition by transition, from one batched step.
"""

import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices

from envs.discrete import DiscreteGlimpseVectorEnv
from envs.glimpse import GlimpseVectorEnv

Observation = dict[str, np.ndarray]


class GlimpseVecEnv(VecEnv):
    """A `GlimpseVectorEnv`, or its discrete twin, as a Stable-Baselines3 `VecEnv`.

    Description
        All lanes are one environment, stepped in one call. Seeds, scenes and transitions are those of a `DummyVecEnv`
        over single environments: lane i gets seed s + i.

    Observation space, action space, rewards
        Those of a lane of `env`; rewards are float32, dones bool.

    Starting state and episode end
        As in `GlimpseVectorEnv`; a lane whose episode ended shows the first observation of the next. `seed` and
        `set_options` hold for the next `reset()`. Options are `{"scene": e}`, for all lanes or a list of one for each.

    Info
        Empty but where an episode ended; there: `terminal_observation`, `TimeLimit.truncated` (False, always),
        `is_success`, and `episode` with return `r`, length `l` and seconds since the environment was made `t`, so that
        no `Monitor` is needed. The right label is not in it: an agent that reads it cheats. `reset_infos` stay empty.

    Attributes and methods of lanes
        Lanes share one object. `get_attr` and `env_method` give every lane its attribute or the result of one call;
        `set_attr` sets it for all lanes or, where only some are asked for, refuses.

    Arguments
        env: a `GlimpseVectorEnv` or a wrapper of one, in NumPy, with `autoreset_mode` SAME_STEP.
    """

    def __init__(self, env: VectorEnv) -> None:
        native = env.unwrapped
        if not isinstance(native, GlimpseVectorEnv):
            raise ValueError(f"env: got {env}, expected a GlimpseVectorEnv or a wrapper of one")
        if native.tensors:
            raise ValueError("tensors: got True, but Stable-Baselines3 works in NumPy; make the environment without")
        if native.autoreset_mode != AutoresetMode.SAME_STEP:
            raise ValueError(
                f"autoreset_mode: got {native.autoreset_mode}, expected AutoresetMode.SAME_STEP: "
                "Stable-Baselines3 wants the next episode's first observation with the last step"
            )
        self.env = env
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self._actions: Any = None
        self._returns = np.zeros(self.num_envs)
        self._lengths = np.zeros(self.num_envs, dtype=np.int64)
        self._start = time.time()

    # ---------------------------------------------------------------- episodes

    def reset(self) -> Observation:
        """Begin new episodes in all lanes, with the seeds and options that were set; both are used once."""
        seeds = None if all(seed is None for seed in self._seeds) else self._seeds
        # Gymnasium's signature knows one seed; ours takes one for each lane, through its wrappers too.
        observation, _ = self.env.reset(seed=seeds, options=self._joint_options())  # type: ignore[arg-type]
        self._reset_seeds()
        self._reset_options()
        self._returns[:] = 0
        self._lengths[:] = 0
        return observation

    def step_async(self, actions: Any) -> None:
        """Take note of the actions; nothing runs until `step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[Observation, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """One step of all lanes: observations, rewards, dones, infos."""
        observation, reward, terminated, truncated, info = self.env.step(self._actions)
        done = terminated | truncated
        self._returns += reward
        self._lengths += 1
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if done.any():
            self._close_episodes(np.flatnonzero(done), info, infos)
        return observation, reward, done, infos

    def _close_episodes(self, lanes: np.ndarray, info: dict[str, Any], infos: list[dict[str, Any]]) -> None:
        """Fill in what Stable-Baselines3 and its `Monitor` tell where an episode ended."""
        seconds = round(time.time() - self._start, 6)
        final, success = info["final_obs"], info["final_info"]["is_success"].tolist()
        returns, lengths = self._returns.round(6).tolist(), self._lengths.tolist()  # as `Monitor` rounds
        for lane in lanes.tolist():
            infos[lane] = {
                "terminal_observation": final[lane],
                "TimeLimit.truncated": False,
                "is_success": success[lane],
                "episode": {"r": returns[lane], "l": lengths[lane], "t": seconds},
            }
        self._returns[lanes] = 0
        self._lengths[lanes] = 0

    def _joint_options(self) -> dict[str, Any] | None:
        """The lanes' options as the native environment takes them: one dict, one value for each lane."""
        if not any(self._options):
            return None
        if len(self._options) != self.num_envs or any(set(options) != {"scene"} for options in self._options):
            raise ValueError(f"options: got {self._options}, expected {{'scene': e}} for each of {self.num_envs} lanes")
        return {"scene": np.array([options["scene"] for options in self._options])}

    # ---------------------------------------------------------------- pictures, attributes, methods

    def get_images(self) -> Sequence[np.ndarray | None]:
        """One RGB frame a lane."""
        frames = None if self.render_mode is None else self.env.render()
        if frames is None:
            warnings.warn("get_images() was called without render_mode='rgb_array'", stacklevel=2)
            return [None] * self.num_envs
        return list(frames)  # type: ignore[arg-type]

    def close(self) -> None:
        self.env.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The attribute of the outermost wrapper that has it, once for each lane asked for."""
        value = getattr(self._owner(attr_name), attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set it where `get_attr` finds it, else on the outermost wrapper."""
        asked = set(self._get_indices(indices))
        if asked != set(range(self.num_envs)):
            raise ValueError(f"indices: got {sorted(asked)}, but lanes share their attributes; set it for all of them")
        try:
            owner = self._owner(attr_name)
        except AttributeError:
            owner = self.env
        setattr(owner, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call the method once, for all lanes; each lane asked for gets the result, of `render` its frame."""
        if method_name in ("reset", "step"):
            raise ValueError(f"method_name: {method_name!r} would move all lanes unseen; call it on the VecEnv itself")
        if method_name == "render":
            frames = self.get_images()
            return [frames[lane] for lane in self._get_indices(indices)]
        result = getattr(self._owner(method_name), method_name)(*method_args, **method_kwargs)
        return [result for _ in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type, indices: VecEnvIndices = None) -> list[bool]:
        """Also True for Stable-Baselines3's `Monitor`, whose entry `episode` is told here without it."""
        wrapped = wrapper_class is Monitor or any(isinstance(env, wrapper_class) for env in self._chain())
        return [wrapped for _ in self._get_indices(indices)]

    def _chain(self) -> list[VectorEnv]:
        """The environment from the outermost wrapper to the bare one."""
        chain: list[Any] = [self.env]
        while chain[-1] is not chain[-1].unwrapped:
            chain.append(chain[-1].env)
        return chain

    def _owner(self, name: str) -> VectorEnv:
        for env in self._chain():
            if hasattr(env, name):
                return env
        raise AttributeError(f"{name}: neither {self.env} nor what it wraps has such an attribute")


def make_sb3_env(num_envs: int, grid: int = 9, **env_settings: Any) -> GlimpseVecEnv:
    """A `DiscreteGlimpseVectorEnv(num_envs, grid=grid, **env_settings)` for Stable-Baselines3.

    `grid` is the number of cells along each side of the grid of locations. Ready for any algorithm that takes a dict of
    observations and a MultiDiscrete action: A2C and PPO with "MultiInputPolicy", RecurrentPPO with
    "MultiInputLstmPolicy".
    """
    settings = {"autoreset_mode": AutoresetMode.SAME_STEP, **env_settings}
    return GlimpseVecEnv(DiscreteGlimpseVectorEnv(num_envs, grid=grid, **settings))
