"""The glimpse environment: an image is seen only through a small window that the agent moves.

`GlimpseVectorEnv` holds all dynamics, batched in torch; `GlimpseEnv` (`envs/single.py`) is a view of it with one lane.
"""

import os
from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import Any, Literal

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.utils.seeding import np_random
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor

from envs.actions import as_action, as_numbers
from envs.distortion import Distortion
from envs.draws import uniform
from envs.images import ImageData
from envs.rendering import draw_frame
from envs.rules import Moves, Reward, Rules
from envs.scenes import Kind, SceneMaker, Split, without_border
from envs.seeds import Seeds, holds_whole_numbers, is_whole, lane_seeds, seed_of_all
from envs.shared_images import shared_images
from ram_agent.sensor import Sensor, make_sensor

_IMPORTED_BY = os.getpid()

FIRST_X, FIRST_Y = 1 << 20, (1 << 20) + 1
"""Numbers of the draws for a random first window, far from those of the scene itself."""


class GlimpseVectorEnv(VectorEnv[dict[str, Any], dict[str, Any], Any]):
    """N glimpse environments in one, batched in torch on one device.

    Description
        An image lies on a canvas that is too large to look at whole. The agent sees it through a foveated window,
        moves the window T - 1 times, and says what it saw (Mnih et al. 2014). Locations are (x, y) in [-1, 1]; see
        `ram_agent.sensor` for the convention and for the three kinds of eye.

    Observation space (each lane)
        `Dict(glimpse=Box(0, 1, (K·C, G, G)), window=Box(-1, 1, (P,)))`: K scales, finest first, of C channels; and the
        window they were read through, as the action that names it.

    Action space (each lane)
        `Dict(window=Box(-1, 1, (P,)), label=Discrete(Y))`. Windows are clipped to [-1, 1]. P is 2 for `crop`, 4 for
        `stn`, 6 for `gaussian`. The label rides on every action; only that of the last step counts. NaN, and labels
        that there are not, are refused in arrays; in tensors they are not looked for (a GPU would have to be waited
        for): such a label is wrong, and NaN has the eye look anywhere and comes back in the observation's window.
        `moves`, `reward` and `early_answer` change what an action is: see `envs.rules.Rules`. A part that only other
        rules have is refused.

    Rewards
        1 at the last step if the label is right, else 0; 0 before. Denser ones and a cost per look: `envs.rules.Rules`.

    Starting state
        Scene number e of a lane's seed (e counts its episodes), seen through the first window. `reset(seed=s)` gives
        lane i the seed s + i, as single environments have it; `reset(seed=[s] * N, options={"scene": indices})`
        names the scenes. `options={"reset_mask": mask}` resets some lanes.

    Episode end
        Terminates at step T: steps 1 … T - 1 move the window, step T answers. With `early_answer` an action may answer
        before. `autoreset_mode` is DISABLED unless told otherwise (`SAME_STEP` and `NEXT_STEP` as in Gymnasium).

    Info
        `target` (N): the right labels, and `place` (N, 2): the centre of the image in [-1, 1] of the canvas, for
        training, controls and diagnosis only: an agent that reads them cheats. `is_success` (N) at the last step.
        The window that looks at a place is `place / env.sensor.reach`: 1 in an action is `reach` (0.9) of the way to
        the border.

    Rendering
        `render_mode="rgb_array"`: each lane's scene, the boxes of every scale, the path so far, and what the eye sees.

    Arguments
        images: `auto`, `mnist`, `digits`, a path, or an `ImageData` (see `envs.images.load_images`).
        folder: where `mnist` lies, if not in its usual places.
        split: `train` (image drawn uniformly), `validation` or `test`: scene i shows image i, hence the same images in
        all lanes; `reset(seed=0, options={"scene": np.arange(N)})` shows each its own.
        scene: `plain`, `translated` or `cluttered`; size: canvas (height, width); clutter: number of patches;
        clutter_size: their side in pixels.
        affine, elastic: how far training images are bent, see `envs.distortion.Distortion`; 0: as they are.
        sensor: `crop`, `gaussian`, `stn` (with glimpse_size G and scales K), or a `Sensor`.
        glimpses: T. first_window: `random` place, `centre`, or P numbers in [-1, 1].
        moves, farthest_move, reward, early_answer, look_cost: the rules, see `envs.rules.Rules`. Of torch actions on a
        device, `answer` is waited for.
        device: where everything lives. tensors: torch in and out instead of NumPy; then the glimpse carries the
        gradient to the window that was asked for, of a hard crop a straight-through one. These tensors are the
        environment's own memory: clone them before writing to them.

    Version history
        v0: first version.
    """

    metadata: dict[str, Any] = {
        "render_modes": ["rgb_array"],
        "render_fps": 2,
        "autoreset_mode": AutoresetMode.DISABLED,
    }

    def __init__(
        self,
        num_envs: int = 1,
        *,
        images: str | os.PathLike[str] | ImageData = "auto",
        folder: str | Path | None = None,
        split: Split = "train",
        scene: Kind = "cluttered",
        size: tuple[int, int] = (60, 60),
        clutter: int = 4,
        clutter_size: int = 8,
        affine: float = 0.0,
        elastic: float = 0.0,
        sensor: str | Sensor = "crop",
        glimpse_size: int = 12,
        scales: int = 3,
        glimpses: int = 6,
        first_window: Literal["random", "centre"] | Sequence[float] = "random",
        moves: Moves = "absolute",
        farthest_move: float = 0.5,
        reward: Reward = "success",
        early_answer: bool = False,
        look_cost: float = 0.0,
        device: str | torch.device = "cpu",
        tensors: bool = False,
        autoreset_mode: AutoresetMode | str = AutoresetMode.DISABLED,
        render_mode: str | None = None,
    ) -> None:
        if not is_whole(num_envs) or num_envs < 1:
            raise ValueError(f"num_envs: got {num_envs}, expected a whole number, at least 1 lane")
        if not is_whole(glimpses) or glimpses < 1:
            raise ValueError(f"glimpses: got {glimpses}, expected a whole number, at least 1 look per episode")
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode: got {render_mode!r}, expected 'rgb_array' or None")
        self.device = torch.device(device)
        self.tensors = tensors
        self.render_mode = render_mode
        self.num_envs = num_envs
        self.glimpses = glimpses
        self.rules = Rules(moves, farthest_move, reward, early_answer, look_cost)
        self.autoreset_mode = _autoreset(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}

        if os.getpid() != _IMPORTED_BY:  # a fork of it: OpenMP waits for ever for threads that stayed behind
            torch.set_num_threads(1)
        if isinstance(images, str | os.PathLike):
            images = shared_images(images, folder)
            if images.notice:
                gymnasium.logger.warn(images.notice)
        if not isinstance(images, ImageData):
            raise ValueError(
                f"images: got {type(images).__name__}, expected 'auto', 'mnist', 'digits', a path or an ImageData; "
                "write arrays into a file: numpy.savez('mine.npz', images=..., labels=...)"
            )
        self.images = images.to(self.device)
        self.sensor = make_sensor(sensor, size=glimpse_size, scales=scales) if isinstance(sensor, str) else sensor
        if not isinstance(self.sensor, Sensor):
            raise ValueError(f"sensor: got {sensor!r}, expected 'crop', 'gaussian', 'stn' or a Sensor")
        if np.shape(size) != (2,) or not all(isinstance(side, Real) for side in size):
            raise ValueError(f"size: got {size!r}, expected (height, width) of the canvas in pixels")
        height, width = size
        border = self.sensor.border((height, width))
        bent = Distortion(affine, elastic)
        self.scenes = SceneMaker(
            self.images.split(split), split, scene, (height, width), clutter, clutter_size, border, bent
        )
        self.sensor.check(self.scenes.size)
        self._first, self._random_place = self._first_action(first_window)
        self._first_draws = torch.tensor([FIRST_X, FIRST_Y], device=self.device)

        side = self.sensor.size
        shape = (self.sensor.scales * self.images.channels, side, side)
        window = spaces.Box(-1.0, 1.0, (self.sensor.window_parameters,), np.float32)
        self.single_observation_space = spaces.Dict(
            {"glimpse": spaces.Box(0.0, 1.0, shape, np.float32), "window": window}
        )
        parts = self.rules.action_parts(window, len(self.images.classes))
        self.single_action_space = spaces.Dict(parts)
        self._action_shapes = {name: (num_envs, *part.shape) for name, part in parts.items()}
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

        self._pixels: Tensor | None = None  # nothing to see before reset()
        self._seeds: Tensor | None = None
        self._episodes = torch.zeros(num_envs, dtype=torch.long, device=self.device)
        self._looks = np.zeros(num_envs, dtype=np.int64)
        """Glimpses seen so far by each lane; 0 marks an episode that never began. On the host: what happens next hangs
        on it, and asking a device would make it wait."""
        self._over = np.zeros(num_envs, dtype=bool)
        """Lanes whose episode has ended."""

    def _first_action(self, first_window: str | Sequence[float]) -> tuple[Tensor, bool]:
        """The action that names the first window, and whether its place is drawn anew for each scene."""
        rest = torch.tensor(self.sensor.rest(self.scenes.size), dtype=torch.float32, device=self.device)
        if isinstance(first_window, str):
            if first_window not in ("random", "centre"):
                raise ValueError(
                    f"first_window: got {first_window!r}, expected 'random', 'centre' or {len(rest)} numbers in [-1, 1]"
                )
            return rest, first_window == "random"
        try:
            fixed = torch.as_tensor(first_window, dtype=torch.float32, device=self.device).clone()
        except (TypeError, ValueError, RuntimeError):  # no numbers
            fixed = torch.zeros(0)
        if fixed.shape != rest.shape or not bool((fixed.abs() <= 1).all()):
            raise ValueError(
                f"first_window: got {first_window!r}, expected 'random', 'centre' or {len(rest)} numbers in [-1, 1]"
            )
        return fixed, False

    # ---------------------------------------------------------------- Gymnasium's face

    def reset(
        self, *, seed: Seeds = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin new episodes: in all lanes, or in those of `options["reset_mask"]`; see the class for the rest.

        Seeds and scenes that are tensors on the environment's device stay there.
        """
        options = options or {}
        if unknown := set(options) - {"scene", "reset_mask"}:
            raise ValueError(f"options: got {sorted(map(str, unknown))}, expected 'scene' and 'reset_mask' alone")
        mask = options.get("reset_mask")
        mask = mask.cpu() if isinstance(mask, Tensor) else mask
        lanes = np.ones(self.num_envs, dtype=bool) if mask is None else np.array(mask)
        if lanes.dtype != bool or lanes.shape != (self.num_envs,) or not lanes.any():
            raise ValueError(f"reset_mask: expected {self.num_envs} booleans, at least one of them true; got {mask!r}")
        scenes = self._scenes_named(options["scene"]) if "scene" in options else None
        if self._looks[~lanes].min(initial=1) == 0:
            raise ResetNeeded(
                "reset_mask: lanes that never began cannot be left out; call reset() without a mask first"
            )
        self._seed(seed, lanes)  # all that is refused is refused before anything changes
        if scenes is not None:
            self._episodes = self._where(lanes, scenes, self._episodes)
        self._begin(lanes)
        return self._observation(), self._info(lanes)

    def step(self, actions: dict[str, Any]) -> tuple[dict[str, Any], Any, Any, Any, dict[str, Any]]:
        """Move every window, or answer; `actions` is `{"window": (N, P), "label": (N,)}`, or what the rules want."""
        action = as_action(actions, self._action_shapes, len(self.images.classes), self.device)
        over = self._over
        if self._looks.min() == 0 or (over.any() and self.autoreset_mode != AutoresetMode.NEXT_STEP):
            raise ResetNeeded(
                "an episode is over or never began: call reset() before the next step(); where some lanes are over, "
                'reset(options={"reset_mask": over}); or make the environment with autoreset_mode="NEXT_STEP" or '
                '"SAME_STEP", which resets by itself'
            )
        # What a lane keeps from earlier steps it keeps as a value: their graph would otherwise grow for ever.
        self._window, self._glimpse = self._window.detach(), self._glimpse.detach()
        answering = ~over & ((self._looks == self.glimpses) | action.answer)
        moving = ~over & ~answering
        if moving.any():
            self._look(self.rules.window(self._window, action.window), moving)
        else:  # the same glimpse again, in memory of its own: callers keep what they were given before
            self._window, self._glimpse = self._window.clone(), self._glimpse.clone()
        right = action.label == self._label
        success = right if answering.all() else right & self._on_device(answering)
        if self.rules.plain:
            reward = success.float()
        else:
            left = np.where(answering, self.glimpses - self._looks + 1, 1)
            share = self._on_device((left * ~over / self.glimpses).astype(np.float32))
            reward = self.rules.pay(action, self._label, success, share)
        terminated = self._on_device(answering)
        self._looks += moving
        self._over = over | answering
        info = self._info(~over)
        if answering.any():
            info.update(self._entry("is_success", success, answering))
        observation, info = self._autoreset(self._observation(), info, over, answering, success)
        truncated = torch.zeros_like(terminated)
        return observation, self._out(reward), self._out(terminated), self._out(truncated), info

    def peek(self, window: Any) -> Any:
        """The glimpse (N, K·C, G, G) that each lane would get at `window` (N, P), numbers in [-1, 1].

        Windows are those that observations name, whatever the moves. None moves, and no look is counted. For training,
        as `target` is: an agent that peeks cheats.
        """
        if self._looks.min() == 0:
            raise ResetNeeded("peek: there is nothing to see before reset()")
        asked = as_numbers("window", window if isinstance(window, Tensor) else np.asarray(window), self.device)
        if asked.shape != self._window.shape:
            raise ValueError(f"peek: expected windows of shape {tuple(self._window.shape)}, got {tuple(asked.shape)}")
        seen = self.sensor.read(self._retina, self.sensor.window(asked.clamp(-1, 1)))
        return self._out(seen.flatten(1, 2))

    def render(self) -> tuple[np.ndarray, ...] | None:
        """One RGB frame (uint8, height × width × 3) per lane."""
        if self.render_mode is None:
            gymnasium.logger.warn("render() was called without render_mode='rgb_array'")
            return None
        if self._looks.min() == 0:
            raise ResetNeeded("render: there is nothing to see before reset()")
        canvas, glimpses = self.canvas, self._glimpse.detach().cpu()
        return tuple(
            draw_frame(
                canvas[lane].cpu(),
                torch.from_numpy(self._boxes[lane, : self._looks[lane]]),
                glimpses[lane],
                reach=self.sensor.reach,
            )
            for lane in range(self.num_envs)
        )

    @property
    def canvas(self) -> Tensor:
        """The scenes at hand, (N, C, H, W): for pictures and full-image controls; an agent never sees them."""
        if self._pixels is None:
            nothing = torch.zeros((), device=self.device)  # a batch of canvases may be gigabytes: as one number
            return nothing.expand(self.num_envs, self.images.channels, *self.scenes.size)
        return without_border(self._pixels, self.scenes.border)

    @property
    def class_names(self) -> tuple[str, ...]:
        """What each label is called."""
        return self.images.classes

    # ---------------------------------------------------------------- dynamics

    def _begin(self, lanes: np.ndarray) -> None:
        """Show the next scene of the chosen lanes through the first window."""
        assert self._seeds is not None
        everyone = bool(lanes.all())
        chosen = slice(None) if everyone else torch.from_numpy(np.flatnonzero(lanes)).to(self.device)
        seeds, episodes = self._seeds[chosen], self._episodes[chosen]
        # What was painted under `torch.inference_mode` can be painted over there alone.
        again = everyone and self._pixels is not None and not self._pixels.is_inference()
        scenes = self.scenes(seeds, episodes, reuse=self._pixels if again else None)
        action = self._first.expand(len(seeds), -1).clone()
        if self._random_place:
            place = uniform(scenes.key[:, None], self._first_draws)
            action = torch.cat([2 * place - 1, action[:, 2:]], dim=-1)
        if everyone:
            self._pixels, self._label, self._place, self._window = scenes.pixels, scenes.label, scenes.place, action
            self._episodes = episodes + 1
        else:
            assert self._pixels is not None
            self._pixels = _with(self._pixels, chosen, scenes.pixels)
            self._label = _with(self._label, chosen, scenes.label)
            self._place = _with(self._place, chosen, scenes.place)
            self._window = _with(self._window, chosen, action)
            self._episodes = _with(self._episodes, chosen, episodes + 1)
        self._retina = self.sensor.prepare(self._pixels, self.scenes.border)
        self._looks[lanes] = 0
        if self.render_mode and everyone:
            self._boxes = np.zeros((self.num_envs, self.glimpses, self.sensor.scales, 4), np.float32)
        self._look(self._window, lanes)
        self._looks[lanes] = 1
        self._over = self._over & ~lanes

    def _autoreset(
        self,
        observation: dict[str, Any],
        info: dict[str, Any],
        over: np.ndarray,
        answering: np.ndarray,
        success: Tensor,
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the mode makes of a step. By NEXT_STEP lanes that were over begin anew; by SAME_STEP those that have
        just answered, and what they saw last goes into the info.
        """
        if over.any():
            self._begin(over)
        elif answering.any() and self.autoreset_mode == AutoresetMode.SAME_STEP:
            info = {
                **self._final_observations(observation, answering),
                "final_info": {**self._info(answering), **self._entry("is_success", success, answering)},
                "_final_info": answering.copy(),
            }
            self._begin(answering)
        else:
            return observation, info
        return self._observation(), info | self._info(np.ones_like(over))

    def _look(self, window: Tensor, lanes: np.ndarray) -> None:
        """Read the glimpse at `window` in the chosen lanes; the others keep theirs."""
        physical = self.sensor.window(window)
        glimpse = self.sensor.read(self._retina, physical)
        if lanes.all():
            self._window, self._glimpse = window, glimpse
        else:
            chosen = self._on_device(lanes)
            self._window = torch.where(chosen[:, None], window, self._window)
            self._glimpse = torch.where(chosen.view(-1, 1, 1, 1, 1), glimpse, self._glimpse)
        if self.render_mode:
            boxes = self.sensor.boxes(physical, self.scenes.size).detach().cpu().numpy()
            where = np.flatnonzero(lanes)
            self._boxes[where, self._looks[where]] = boxes[where]

    def _seed(self, seed: Seeds, lanes: np.ndarray) -> None:
        asked = None if seed is None else lane_seeds(seed, self.num_envs)
        if (one := seed_of_all(seed)) is not None:
            self._np_random, self._np_random_seed = np_random(one)
        if self._seeds is None:
            drawn = self.np_random.integers(0, 2**62, self.num_envs, dtype=np.int64)
            self._seeds = torch.from_numpy(drawn).to(self.device)
        if asked:
            named, seeds = asked
            self._seeds = self._where(lanes & named, seeds.to(self.device), self._seeds)
            self._episodes = self._where(lanes & named, torch.zeros_like(self._episodes), self._episodes)

    def _scenes_named(self, scene: Any) -> Tensor:
        """`options["scene"]`, for every lane. Raises `ValueError` where it is no whole number from 0 up, or not one a
        lane; of a tensor the numbers are not looked at."""
        if isinstance(scene, Tensor):
            named = scene.to(self.device)
        else:  # by a copy of NumPy's: torch takes neither all strides nor all byte orders
            try:
                numbers = np.array(scene)
            except ValueError:  # of no one shape
                numbers = np.array(np.nan)
            whole = numbers.dtype.kind in "iu" and (numbers >= 0).all()
            named = torch.from_numpy(numbers.astype(np.int64) if whole else np.array(np.nan)).to(self.device)
        if not holds_whole_numbers(named) or named.shape not in ((), (1,), (self.num_envs,)):
            raise ValueError(
                f"scene: got {scene!r}, expected a whole number from 0 up, or one for each of {self.num_envs} lanes"
            )
        return named.long().expand(self.num_envs)

    def _where(self, lanes: np.ndarray, new: Tensor, kept: Tensor) -> Tensor:
        """`new` in the chosen lanes, `kept` in the others."""
        return new if lanes.all() else torch.where(self._on_device(lanes), new, kept)

    # ---------------------------------------------------------------- NumPy or torch, in and out

    def _observation(self) -> dict[str, Any]:
        return {"glimpse": self._out(self._glimpse.flatten(1, 2)), "window": self._out(self._window)}

    def _info(self, lanes: np.ndarray) -> dict[str, Any]:
        return {**self._entry("target", self._label, lanes), **self._entry("place", self._place, lanes)}

    def _final_observations(self, observation: dict[str, Any], lanes: np.ndarray) -> dict[str, Any]:
        """As Gymnasium's own vector environments put it: an array of objects, one observation a lane."""
        final = np.full(self.num_envs, None, dtype=object)
        for lane in np.flatnonzero(lanes):
            final[lane] = {key: value[lane] for key, value in observation.items()}
        return {"final_obs": final, "_final_obs": lanes.copy()}

    def _entry(self, key: str, value: Tensor, lanes: np.ndarray) -> dict[str, Any]:
        """One entry of a vector environment's info: values, and `_key`, the lanes for which they hold."""
        return {key: self._out(value), f"_{key}": lanes.copy()}

    def _on_device(self, array: np.ndarray) -> Tensor:
        if (array == array[0]).all():  # the usual case needs no transfer
            return torch.full(array.shape, array[0].item(), device=self.device)
        return torch.from_numpy(array).to(self.device)

    def _out(self, value: Tensor) -> Any:
        """Arrays are written to by whoever gets them: each has memory of its own."""
        return value if self.tensors else value.detach().cpu().numpy().copy()


def _autoreset(mode: AutoresetMode | str) -> AutoresetMode:
    """By its name or its value."""
    if mode in AutoresetMode.__members__:
        return AutoresetMode[str(mode)]
    try:
        return AutoresetMode(mode)
    except ValueError:
        modes = ", ".join(AutoresetMode.__members__)
        raise ValueError(f"autoreset_mode: got {mode!r}, expected one of {modes}") from None


def _with(kept: Tensor, lanes: Any, new: Tensor) -> Tensor:
    """`kept` with other values in some lanes: a copy, since callers and gradients may still need `kept`."""
    replaced = kept.clone()
    replaced[lanes] = new
    return replaced
