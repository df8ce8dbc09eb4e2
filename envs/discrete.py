"""The discrete twin: a grid of locations times the labels, for algorithms that take one flat action space.

Stable-Baselines3's algorithms refuse the glimpse environment's own action, a dict, and its checker takes a glimpse, K·C
planes of G × G, for a picture. The twin has a flat action and a flat glimpse; it changes nothing else: what is seen,
rewards, scenes and seeds are those of `envs.glimpse`, to the bit.
"""

from typing import Any, TypeAlias

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector.utils import batch_space
from torch import Tensor

from envs.glimpse import GlimpseVectorEnv
from envs.seeds import holds_whole_numbers
from envs.single import GlimpseEnv
from ram_agent.sensor import grid_locations

Action: TypeAlias = dict[str, Any]


class GridActions:
    """What a twin's actions mean: which window a cell names, for one environment's eye and classes."""

    def __init__(self, env: GlimpseVectorEnv, grid: int) -> None:
        locations = grid_locations(grid).numpy()
        if env.rules.reward == "log_probability":
            raise ValueError(
                "reward: got 'log_probability', expected 'success' or 'each_look': a discrete action tells a label, "
                "no probabilities"
            )
        self._may_answer = bool(env.rules.early_answer)
        answers = [2] if self._may_answer else []
        self.space = spaces.MultiDiscrete([len(locations), len(env.class_names), *answers])
        rest = np.array(env.sensor.rest(env.scenes.size)[2:], dtype=np.float32)
        self.windows = np.concatenate([locations, np.broadcast_to(rest, (len(locations), len(rest)))], axis=1)
        self._windows_on_device = torch.from_numpy(self.windows).to(env.device)

    def __call__(self, actions: Any, lanes: int) -> Action:
        """The glimpse environment's action for `[cell, label]` (or `[cell, label, answer]`) in each lane.

        Torch for torch, else NumPy.
        """
        if isinstance(actions, Tensor):
            whole = holds_whole_numbers(actions)
        else:
            actions = np.asarray(actions)
            whole = np.issubdtype(actions.dtype, np.integer)
        if not whole or tuple(actions.shape) != (lanes, *self.space.shape):
            answer = ", answer" if self._may_answer else ""
            raise ValueError(
                f"actions: expected whole numbers [cell, label{answer}] "
                f"of shape {(lanes, *self.space.shape)}, "
                f"got {actions.dtype} of shape {tuple(actions.shape)}"
            )
        cell, rest = actions[..., 0], {"label": actions[..., 1]}
        if self._may_answer:
            rest["answer"] = actions[..., 2]
        if isinstance(actions, Tensor):
            if cell.device.type == "cpu":
                self._check(cell)
            cell = cell.to(self._windows_on_device.device, torch.long)
            # To look at numbers on a device would mean to wait for it, and a wrong index there ends the process.
            return {"window": self._windows_on_device[cell.clamp(0, len(self.windows) - 1)], **rest}
        self._check(cell)
        return {"window": self.windows[cell], **rest}

    def _check(self, cell: Any) -> None:
        """A negative cell would silently count from the end."""
        if cell.min() < 0 or cell.max() >= len(self.windows):
            raise ValueError(f"actions: expected cells from 0 to {len(self.windows) - 1}, got {cell.tolist()}")


class DiscreteGlimpseVectorEnv(GlimpseVectorEnv):
    """N glimpse environments with one flat, discrete action: where to look next, and what it is.

    Description
        See `GlimpseVectorEnv`. The window is named by a cell of a grid, and glimpses are flat.

    Observation space (each lane)
        `Dict(glimpse=Box(0, 1, (K·C·G·G,)), window=Box(-1, 1, (P,)))`: the glimpse of `GlimpseVectorEnv`, flattened,
        finest scale first. The window is still P numbers, so that a first window may lie off the grid.

    Action space (each lane)
        `MultiDiscrete([g · g, Y])`: a cell and a label; a batch of actions is (N, 2). Cells are counted from left to
        right and from top to bottom; a cell's middle (`grid_locations`) is the (x, y) that the continuous action would
        have, so that the eye's centre lies at `sensor.reach` times it. The parameters that a soft eye has besides stay
        as in `sensor.rest`. The label rides on every action; only that of the last step counts. With `relative` moves a
        cell names a displacement, of an odd grid the middle one none. With `early_answer` it is
        `MultiDiscrete([g · g, Y, 2])`: 1 answers. There is no `log_probability` reward.

    Rewards, starting state, episode end, info, rendering
        As in `GlimpseVectorEnv`.

    Arguments
        grid: g, cells along each side; at least 2.
        settings: those of `GlimpseVectorEnv`.

    Version history
        v0: first version.
    """

    def __init__(self, num_envs: int = 1, *, grid: int = 9, **settings: Any) -> None:
        super().__init__(num_envs, **settings)
        self.grid = grid
        self._actions = GridActions(self, grid)
        values = self.sensor.scales * self.images.channels * self.sensor.size**2
        glimpse = spaces.Box(0.0, 1.0, (values,), np.float32)
        window = spaces.Box(-1.0, 1.0, (self.sensor.window_parameters,), np.float32)
        self.single_observation_space = spaces.Dict({"glimpse": glimpse, "window": window})
        self.single_action_space = self._actions.space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def step(self, actions: Any) -> tuple[dict[str, Any], Any, Any, Any, dict[str, Any]]:
        """Look at the cells, or answer; `actions` is (N, 2), with `early_answer` (N, 3), NumPy or torch."""
        return super().step(self._actions(actions, self.num_envs))

    def peek(self, window: Any) -> Any:
        """The flat glimpse (N, K·C·G·G) at `window` (N, P); see `GlimpseVectorEnv.peek`."""
        return super().peek(window).reshape(self.num_envs, -1)

    def _observation(self) -> dict[str, Any]:
        seen = super()._observation()
        return {**seen, "glimpse": seen["glimpse"].reshape(self.num_envs, -1)}


class DiscreteGlimpseEnv(GlimpseEnv):
    """One of them: a lane of `DiscreteGlimpseVectorEnv`, whose documentation and arguments hold here too."""

    vector_class = DiscreteGlimpseVectorEnv
