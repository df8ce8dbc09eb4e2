"""The environments of a configuration: here the agent is tied to them (and in `bench`, which measures both)."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, get_args

import torch

from envs.glimpse import GlimpseVectorEnv
from envs.images import ImageData, load_images
from envs.sb3 import GlimpseVecEnv, make_sb3_env
from envs.scenes import Split
from ram_agent.config import Config, ConfigError, ImagesConfig
from ram_agent.sensor import make_sensor
from ram_agent.world import Dataset


class ConfiguredWorld:
    """The environments that a configuration describes, all over one set of images."""

    def __init__(self, config: Config, images: ImageData | None = None) -> None:
        self.config = config
        self.device = find_device(config.run.device)
        if images is None:
            images = images_of(config.images)
        self.images = images.to(self.device)

    @property
    def dataset(self) -> Dataset:
        notice, _, _ = self.images.notice.partition(" (")  # the reasons, in brackets, are for the terminal
        return Dataset(self.images.name, self.images.sha256, notice, self.images.classes, self.images.image_size)

    @cached_property
    def sensor(self) -> Any:
        return make_sensor(**self.config.sensor.model_dump())

    def environment(self, split: str, lanes: int) -> GlimpseVectorEnv:
        """A vector environment over one split, in torch."""
        assert split in get_args(Split)
        return GlimpseVectorEnv(lanes, split=split, tensors=True, **self._settings)  # type: ignore[arg-type]

    def vec_env(self, lanes: int) -> GlimpseVecEnv:
        """The discrete twin over the training split, as Stable-Baselines3 takes it."""
        config = self.config
        return make_sb3_env(lanes, config.policy.grid, split="train", reward=config.sb3.reward, **self._settings)

    @property
    def _settings(self) -> dict[str, Any]:
        scene, environment = self.config.scene, self.config.environment
        return {
            "images": self.images,
            "scene": scene.kind,
            "size": (scene.height, scene.width),
            "clutter": scene.clutter,
            "clutter_size": scene.clutter_size,
            "affine": scene.affine,
            "elastic": scene.elastic,
            "sensor": self.sensor,
            "glimpses": environment.glimpses,
            "first_window": environment.first_window,
            "device": self.device,
        }

    def images_in(self, split: str) -> int:
        return len(self.images.split(split))

    def labels_in(self, split: str) -> Sequence[int]:
        return self.images.split(split).labels.tolist()


def images_of(images: ImagesConfig) -> ImageData:
    """What a configuration says of images, read. Raises `ImageError`."""
    return load_images(images.source, images.folder, size=images.size)


def digest_of(images: ImagesConfig) -> str:
    """The sha256 of images, read once."""
    if images not in _DIGESTS:
        _DIGESTS[images] = images_of(images).sha256
    return _DIGESTS[images]


_DIGESTS: dict[ImagesConfig, str] = {}


def find_device(name: str) -> torch.device:
    """A device that is there; `auto` takes CUDA where it is. Raises `ConfigError`."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.partition(":")[0] == "mps":  # no doubles, which distortions and signals need; older ones lose large reads
        raise ConfigError(f"run.device: got {name!r}, which lacks what is calculated here, expected auto, cpu or cuda")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"run.device: got {name!r}, expected auto, cpu, cuda or another that is here: {reason}"
        ) from None
