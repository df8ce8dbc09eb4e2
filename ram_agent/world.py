"""Where environments come from. They come from outside, through `World`: of this package `cli/` and `bench/` alone
import them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from stable_baselines3.common.vec_env import VecEnv

from ram_agent.checkpoint import CheckpointError
from ram_agent.rollout import GlimpseEnvironment


@dataclass(frozen=True)
class Dataset:
    """What images an experiment stands on; said beside every number."""

    name: str
    sha256: str
    notice: str
    classes: tuple[str, ...]
    image_size: tuple[int, int]
    """(height, width) in pixels; canvases may be larger."""


@runtime_checkable
class World(Protocol):
    """Where environments come from."""

    @property
    def dataset(self) -> Dataset: ...
    @property
    def device(self) -> torch.device: ...
    def environment(self, split: str, lanes: int) -> GlimpseEnvironment: ...
    def vec_env(self, lanes: int) -> VecEnv:
        """The discrete twin over the training split, as Stable-Baselines3 takes it."""
        ...

    def images_in(self, split: str) -> int: ...
    def labels_in(self, split: str) -> Sequence[int]: ...


LANES = 500
"""Images at a time where a whole split is shown: enough that a call costs little, few enough for the caches."""


def whole_split(world: World, split: str) -> tuple[GlimpseEnvironment, int]:
    """An environment to show all images of `split` in, `LANES` or fewer at a time, and how many they are."""
    images = world.images_in(split)
    return world.environment(split, min(images, LANES)), images


PLACES = ("images.source", "images.folder")
"""Where images lie: what may change before a run goes on. They may not: their sha256 is compared."""


def check_images(saved: Mapping[str, Any], world: World) -> None:
    """Raise `CheckpointError` where a run's checkpoint was made from other images than those at hand."""
    if saved["sha256"] != world.dataset.sha256:
        raise CheckpointError(
            f"images: the run was trained on {saved['images']} (sha256 {saved['sha256'][:12]}), "
            f"these are {world.dataset.name} (sha256 {world.dataset.sha256[:12]}); name the same ones"
        )
