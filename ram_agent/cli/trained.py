"""A run that was trained, opened again: what `evaluate` and `render` share."""

from dataclasses import replace
from typing import Any

import torch

from envs.images import ImageData, load_test_images
from ram_agent.agents import CHECKPOINT
from ram_agent.building import best_policy
from ram_agent.checkpoint import fitting, read_newest
from ram_agent.cli.folders import run_folder
from ram_agent.cli.world import World
from ram_agent.config import Config, ConfigError, load_config
from ram_agent.options import Parser, add_config_options, overrides
from ram_agent.policy import Policy
from ram_agent.world import check_images


def other_data_options(parser: Parser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run folder")
    parser.add_argument(
        "--images", metavar="SOURCE", help="other images: mnist, digits, IDX files, .npz, class folders"
    )
    add_config_options(parser, ["images.", "scene.", "run.device", "run.threads"])


def trained_agent(given: Any) -> tuple[Config, Policy, World, float]:
    """The best policy of a run, the world to see it in, and the exploration it ended with.

    Other images are the run's scenes over them; with `--scene.kind plain` and no size, canvases as large as the images.
    """
    folder = run_folder(given.run)
    saved = read_newest(folder / CHECKPOINT)
    changed = overrides(given)
    if given.images:
        changed["images.source"] = given.images
    config = load_config(folder / "config.yaml", changed)
    torch.set_num_threads(config.run.threads or 1)
    images = None
    if "images.source" in changed:
        name, other, classes = load_test_images(config.images.source, config.images.folder)
        with fitting(folder / CHECKPOINT):
            own = tuple(saved["classes"])
        if not set(classes) <= set(own):
            raise ConfigError(
                f"images.source: {name} has classes {', '.join(sorted(set(classes) - set(own)))}, "
                f"which this run never learned; it knows {', '.join(own)}"
            )
        labels = torch.tensor([own.index(label) for label in classes])[other.labels]
        other = replace(other, labels=labels)
        images = ImageData(name=name, train=other, validation=other, test=other, classes=own, sha256="", notice="")
        height, width = images.image_size
        sized = {"scene.height", "scene.width"} & changed.keys()
        if config.scene.kind == "plain" and "scene.kind" in changed and not sized:
            config = load_config(folder / "config.yaml", changed | {"scene.height": height, "scene.width": width})
    world = World(config, images)
    with fitting(folder / CHECKPOINT):
        if images is None:
            check_images(saved, world)
        planes = int(saved["blueprint"]["glimpse_shape"][0])
        policy = best_policy(saved, world.device)
    if world.images.channels * config.sensor.scales != planes:
        raise ConfigError(
            f"images: {world.images.channels} colour channels, but this run was trained on "
            f"{planes // config.sensor.scales}"
        )
    return config, policy, world, config.training.last_window_std
