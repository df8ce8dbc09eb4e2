"""One lane of the vector environment, with the face of a single one."""

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces
from torch import Tensor

from envs.glimpse import GlimpseVectorEnv
from ram_agent.sensor import Sensor


class GlimpseEnv(gymnasium.Env[dict[str, Any], dict[str, Any]]):
    """One glimpse environment: a lane of `GlimpseVectorEnv`, whose documentation and arguments hold here too.

    Under Gymnasium's wrappers what is not of its API is at `env.unwrapped`: `env.unwrapped.sensor.reach`.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 2}
    vector_class: ClassVar[type[GlimpseVectorEnv]] = GlimpseVectorEnv
    """What it is a lane of."""

    def __init__(self, *, render_mode: str | None = None, **settings: Any) -> None:
        if "autoreset_mode" in settings:
            raise ValueError(
                f"autoreset_mode: got {settings['autoreset_mode']!r}, expected none: a single environment is reset by "
                "its user, or by gymnasium.wrappers.Autoreset; to make_vec with single environments give "
                'vector_kwargs={"autoreset_mode": ...}'
            )
        if "num_envs" in settings:
            raise ValueError(
                f"num_envs: got {settings['num_envs']!r}, expected none: a single environment has one lane; "
                "gymnasium.make_vec makes more"
            )
        self.vector = self.vector_class(1, render_mode=render_mode, **settings)
        self.render_mode = render_mode
        self.observation_space = self.vector.single_observation_space
        self.action_space = self.vector.single_action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """See `GlimpseVectorEnv`; `options={"scene": e}` names the scene."""
        super().reset(seed=seed)
        observation, info = self.vector.reset(seed=seed, options=options)
        return _lane(observation), _lane_info(info)

    def step(self, action: Any) -> tuple[dict[str, Any], Any, bool, bool, dict[str, Any]]:
        """See `GlimpseVectorEnv`."""
        batch: Any = action  # what is no dict, where one is expected, is refused as it is
        if isinstance(action, dict):
            batch = {name: _batch_of_one(value) for name, value in action.items()}
        elif not isinstance(self.action_space, spaces.Dict):
            batch = _batch_of_one(action)
        observation, reward, terminated, truncated, info = self.vector.step(batch)
        reward = reward[0] if self.vector.tensors else float(reward[0])
        return _lane(observation), reward, bool(terminated[0]), bool(truncated[0]), _lane_info(info)

    def peek(self, window: Any) -> Any:
        """The glimpse at `window` (P,), shaped as that of an observation; see `GlimpseVectorEnv.peek`."""
        return self.vector.peek(_batch_of_one(window))[0]

    @property
    def sensor(self) -> Sensor:
        """The eye."""
        return self.vector.sensor

    @property
    def canvas(self) -> Tensor:
        """The scene at hand, (C, H, W): for pictures; an agent never sees it."""
        return self.vector.canvas[0]

    @property
    def class_names(self) -> tuple[str, ...]:
        """What each label is called."""
        return self.vector.class_names

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """One RGB frame, uint8, height × width × 3."""
        frames = self.vector.render()
        return None if frames is None else frames[0]


def _batch_of_one(value: Any) -> Any:
    return value[None] if isinstance(value, Tensor) else np.asarray(value)[None]


def _lane(observation: dict[str, Any]) -> dict[str, Any]:
    return {key: value[0] for key, value in observation.items()}


def _lane_info(info: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value[0] if np.ndim(value) > 1 or isinstance(value, Tensor) else value[0].item()
        for key, value in info.items()
        if not key.startswith("_")
    }
