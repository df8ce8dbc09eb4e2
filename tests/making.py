"""What tests are made of: small images, worlds, policies and learners that are built in milliseconds."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jaxtyping
import torch

from envs.glimpse import GlimpseVectorEnv
from envs.images import ImageData, ImageSet
from ram_agent.cli.world import ConfiguredWorld
from ram_agent.config import Config, parse_config
from ram_agent.learner import LEARNERS, Learner
from ram_agent.policy import RecurrentAttentionPolicy
from ram_agent.rollout import Episode


@contextmanager
def unchecked() -> Iterator[None]:
    """Without the tests' type checks: what a user's wrong argument meets."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)


@contextmanager
def torch_as_it_was() -> Iterator[None]:
    """Whatever `tune_torch` sets of this process, put back."""
    threads, products = torch.get_num_threads(), torch.get_float32_matmul_precision()
    convolutions, repeats = torch.backends.cudnn.allow_tf32, torch.are_deterministic_algorithms_enabled()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions
        torch.use_deterministic_algorithms(repeats)


def make_images(
    train: int = 40,
    validation: int = 12,
    test: int = 12,
    *,
    size: tuple[int, int] = (10, 12),
    channels: int = 1,
    classes: int = 4,
    seed: int = 0,
) -> ImageData:
    """Noise with one bright row per class; labels go round, so that every class is in every split."""
    generator = torch.Generator().manual_seed(seed)

    def part(count: int) -> ImageSet:
        labels = torch.arange(count) % classes
        pixels = torch.randint(0, 120, (count, channels, *size), generator=generator)
        pixels[torch.arange(count), :, (labels + 1) * size[0] // (classes + 1)] = 255
        return ImageSet(pixels.to(torch.uint8), labels)

    names = tuple(f"class {label}" for label in range(classes))
    return ImageData("rows", part(train), part(validation), part(test), names, sha256="0" * 64)


def make_env(lanes: int = 3, **settings: Any) -> GlimpseVectorEnv:
    """A vector environment over `make_images()`: 18 x 22 canvases, three glimpses of 2 x 4 x 4."""
    plain = {"images": make_images(), "scene": "cluttered", "size": (18, 22), "clutter": 2, "clutter_size": 4}
    eye = {"sensor": "crop", "glimpse_size": 4, "scales": 2, "glimpses": 3}
    return GlimpseVectorEnv(lanes, **(plain | eye | settings))


def make_config(**sections: dict[str, Any]) -> Config:
    """A whole experiment of a fifth of a second; sections are laid over it field by field."""
    tree: dict[str, dict[str, Any]] = {
        "scene": {"kind": "translated", "height": 18, "width": 22},
        "sensor": {"size": 4, "scales": 2},
        "environment": {"glimpses": 3},
        "policy": {"hidden": 12, "what": 8, "where": 8, "features": 12, "location": 8},
        "training": {"episodes": 80, "batch": 8},
        "evaluation": {"every": 24, "votes": 2, "controls": []},
        "run": {"threads": 1, "progress": False, "pictures": 0, "log_every": 16, "checkpoint_every": 32},
    }
    for section, fields in sections.items():
        tree[section] = tree.get(section, {}) | fields
    return parse_config(tree)


def make_measured(error: float, images: str = "digits", sha256: str = "0" * 64) -> dict[str, Any]:
    """The least that the results of a finished run hold."""
    names = ("test_error", "test_error_sampled", "test_error_voted")
    more = {"test_error_ci95": [0.0, 100.0], "votes": 2, "test_images": 360, "error_by_glimpse": [90.0, error]}
    return dict.fromkeys(names, error) | more | {"dataset": {"name": images, "sha256": sha256}}


def make_world(config: Config, **images: Any) -> ConfiguredWorld:
    """The environments of `config` over `make_images()`."""
    return ConfiguredWorld(config, make_images(**images))


def make_policy(
    env: GlimpseVectorEnv, *, head: str = "sampled", seed: int = 0, **settings: Any
) -> RecurrentAttentionPolicy:
    """A small policy for `env`."""
    torch.manual_seed(seed)
    return RecurrentAttentionPolicy(
        env.single_observation_space["glimpse"].shape,
        env.sensor.rest(env.scenes.size),
        int(env.single_action_space["label"].n),
        head=head,
        config=make_config(policy=settings, environment={"glimpses": env.glimpses}).policy,
    )


def tensors_of(episode: Episode) -> dict[str, torch.Tensor]:
    """All that an episode holds, by name; what was remembered as one tensor for each part of the state."""
    parts = {f"states {number}": torch.stack(part) for number, part in enumerate(zip(*episode.states, strict=True))}
    return {name: value for name, value in episode._asdict().items() if name != "states"} | parts


def make_learner(
    method: str = "reinforce",
    *,
    lanes: int = 8,
    seed: int = 0,
    head: str | None = None,
    env: dict[str, Any] | None = None,
    policy: dict[str, Any] | None = None,
    **settings: Any,
) -> Learner:
    """A learner over its own small environment; `settings` are fields of `TrainingConfig`."""
    world = make_env(lanes, tensors=True, **({"sensor": "gaussian"} if method == "pathwise" else {}) | (env or {}))
    head = head or LEARNERS[method].head
    agent = make_policy(world, head=head, seed=seed, **(policy or {}))
    return LEARNERS[method](agent, world, seed=seed, **settings)
