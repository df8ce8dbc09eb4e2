"""An agent that was trained, opened again, and what it is to be shown: what `evaluate` and `render` share."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from envs.images import SOURCES, ImageData, ImageError, load_test_images
from envs.scenes import SceneError
from ram_agent.building import best_policy
from ram_agent.checkpoint import fitting
from ram_agent.cli.folders import check_whereabouts, run_folder
from ram_agent.cli.notice import unmeasured
from ram_agent.cli.picture_files import Shown, lay_out, picture_files
from ram_agent.cli.world import ConfiguredWorld
from ram_agent.config import Config, ConfigError, load_config
from ram_agent.export import is_export, read_trained
from ram_agent.options import Parser, add_config_options, overrides
from ram_agent.policy import Policy
from ram_agent.run_files import CONFIG
from ram_agent.stored import whole_results
from ram_agent.threads import fastest_threads
from ram_agent.world import check_images


class Trained(NamedTuple):
    """The best policy of a run, and the world to see it in."""

    config: Config
    policy: Policy
    world: ConfiguredWorld
    shown: tuple[Shown, ...]
    """The picture files that it is to be shown, scene by scene; none where its images have labels."""
    unfinished: str
    """Which weights these are, where the run has no results yet."""
    classes: tuple[str, ...]
    """Those that its images are of, with or without a test image."""
    unmeasured: str
    """What is to be said of those without."""


def other_data_options(parser: Parser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run folder, or a folder that `ram-agent export` wrote")
    parser.add_argument(
        "--images",
        nargs="+",
        metavar="SOURCE",
        help="other images: mnist, digits, IDX files, .npz, class folders; or picture files, one or several",
    )
    add_config_options(parser, ["images.", "scene.", "run.device", "run.threads"], default="the run's own")


def trained_agent(given: Any) -> Trained:
    """Open the run that was named, over its own images or over those of `--images`.

    Other images are the run's scenes over them; with `--scene.kind plain` and no size, canvases as large as the images.
    A picture file is its own scene: see `picture_files`. The first look at it is at the centre, where the run's was
    random: what is answered would depend on chance.
    """
    folder = run_folder(given.run)
    file, saved = read_trained(folder)
    changed = overrides(given)
    if given.images and "images.source" in changed:
        raise ConfigError(f"--images.source: got {changed['images.source']} beside --images; give one of the two")
    files = picture_files(given.images or [])
    if files and changed.get("scene.kind", "plain") != "plain":
        raise ConfigError(
            f"--scene.kind: got {changed['scene.kind']} for picture files, expected plain, or nothing: each is a scene"
        )
    if given.images and not files:
        changed["images.source"] = given.images[0]
    config = load_config(folder / CONFIG, changed)
    torch.set_num_threads(config.run.threads or fastest_threads())
    with fitting(file):
        own, trained_at = tuple(saved["classes"]), saved.get("image_size")
        channels = int(saved["blueprint"]["glimpse_shape"][0]) // config.sensor.scales
    sized = {"scene.height", "scene.width"} & changed.keys()
    as_large = changed.get("scene.kind") == "plain" and not sized
    images, shown, classes = None, (), own
    if files:
        within = config.images.size or (tuple(trained_at) if trained_at else None)
        canvas = None if as_large else (config.scene.height, config.scene.width)
        shown, images = lay_out(files, canvas, within, channels, own)
        changed["scene.kind"], as_large = "plain", True
        if config.environment.first_window == "random":
            changed["environment.first_window"] = "centre"
    elif "images.source" in changed:
        images, classes = _labelled(config, own, str(saved.get("sha256", "")), str(saved.get("images", "")))
    else:
        check_whereabouts(folder, config.images.source, "give --images FOLDER")
    if images and as_large:
        height, width = images.image_size
        config = load_config(folder / CONFIG, changed | {"scene.height": height, "scene.width": width})
    try:
        world = ConfiguredWorld(config, images)
    except ImageError as error:  # of MNIST it says itself how to name its place
        moved = "" if config.images.source in SOURCES else f"; where the images of {folder} have moved: --images PATH"
        raise ConfigError(f"{error}{moved}") from None
    _check_scenes(world, other=images is not None)
    with fitting(file):
        if images is None:
            check_images(saved, world)
        policy = best_policy(saved, world.device)
    if world.images.channels != channels:
        raise ConfigError(
            f"images: {world.images.channels} colour channels, but this run was trained on {channels}; convert them"
        )
    with fitting(file):
        unfinished = _unfinished(folder, saved, config.environment.glimpses)
    line = "" if files else unmeasured(world.images, classes, ("test",) if images else ("test", "validation"))
    return Trained(config, policy, world, shown, unfinished, classes, line)


def _check_scenes(world: ConfiguredWorld, *, other: bool) -> None:
    """Raise `ConfigError` for scenes that cannot be; of `other` images, with what lets them be seen as they are."""
    (height, width), scene = world.dataset.image_size, world.config.scene
    try:
        world.environment("test", 1)
    except SceneError as error:
        large = other and (scene.height < height or scene.width < width)
        plain = ", or take --scene.kind plain without height and width: each image is its own canvas"
        raise ConfigError(f"{error}{plain if large else ''}") from None


def _unfinished(folder: Path, saved: Mapping[str, Any], glimpses: int) -> str:
    if is_export(folder) or whole_results(folder):
        return ""
    total, best = f"{saved['training']['episodes']:,} episodes", saved["best"]
    if best:
        return f"the weights that were best in validation, after {best['episodes']:,} of {total}"
    so_far = saved["learner"]["num_timesteps"] // glimpses
    return f"the weights as they were saved after {so_far:,} of {total}, before the first validation"


def _labelled(config: Config, own: tuple[str, ...], trained_on: str, called: str) -> tuple[ImageData, tuple[str, ...]]:
    """The test images of another source, their labels counting the classes `own`, and the classes that it has; of the
    one that it was `trained_on`, `called` so then, the images that it was tested on.
    """
    source, size = config.images, config.images.size
    name, other, classes = load_test_images(
        source.source, source.folder, size=size, trained_on=trained_on, called=called
    )
    if not set(classes) <= set(own):
        raise ConfigError(
            f"images.source: {name} has classes {', '.join(sorted(set(classes) - set(own)))}, "
            f"which this run never learned; it knows {', '.join(own)}"
        )
    labels = torch.tensor([own.index(label) for label in classes])[other.labels]
    other = replace(other, labels=labels)
    data = ImageData(name=name, train=other, validation=other, test=other, classes=own, sha256="", notice="")
    return data, classes
