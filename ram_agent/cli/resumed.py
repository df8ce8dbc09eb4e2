"""A training that goes on: by its own config, with its own images."""

from pathlib import Path
from typing import Any

from ram_agent.checkpoint import is_checkpointed, read_newest
from ram_agent.cli.folders import run_folder
from ram_agent.cli.world import ConfiguredWorld, find_device
from ram_agent.config import Config, ConfigError, load_config
from ram_agent.export import is_export
from ram_agent.options import overrides
from ram_agent.run_files import CHECKPOINT, CONFIG, RESULTS
from ram_agent.stored import final_results
from ram_agent.world import PLACES, check_images

FIXED = ("run.folder", "run.seed", "run.overwrite")
"""How it is run may change, but for what makes it another run."""


def may_change(name: str) -> bool:
    """Whether a setting, `section.field`, may be given anew to a run that goes on."""
    return name in PLACES or (name.startswith("run.") and name not in FIXED)


def resumed(given: Any) -> tuple[Config, Path]:
    """The config of an interrupted run, with what may change of it, and its folder. Raises `ConfigError`."""
    changed = overrides(given)
    wrong = [name for name in changed if not may_change(name)]
    if given.config or wrong:
        raise ConfigError(
            f"--resume {given.resume}: goes on with the run's own config, "
            f"{wrong[0] if wrong else given.config} cannot change; to begin another run with its weights: "
            f"-i {given.resume}"
        )
    folder = run_folder(given.resume)
    if is_export(folder):
        raise ConfigError(
            f"--resume {folder}: an export, which has no training to go on with; begin one with it: -i {folder}"
        )
    if final_results(folder):
        raise ConfigError(
            f"--resume {folder}: the run is finished; its results are in {folder / RESULTS}; to begin another with its "
            f"weights: -i {folder}"
        )
    return load_config(folder / CONFIG, changed), folder


def same_images(given: Any, config: Config, folder: Path) -> ConfiguredWorld:
    """The world of a run that goes on. Raises `ConfigError` where its images are not where they were, and
    `CheckpointError` where others are said to be them, before the run's config names them.
    """
    find_device(config.run.device)  # what is wrong with that is no matter of the images
    moved = next((name for name in overrides(given) if name in PLACES), None)
    if moved and not is_checkpointed(folder / CHECKPOINT):
        raise ConfigError(
            f"--resume {folder}: nothing was saved yet that would tell whether those of --{moved} are the same images; "
            f"begin anew: {folder / CONFIG} --{moved}"
        )
    try:
        world = ConfiguredWorld(config)
    except (ValueError, OSError) as error:
        raise ConfigError(
            f"{error}; --resume {folder} needs the images that it began with: where they have moved, "
            "--images.source PATH (of MNIST --images.folder)"
        ) from None
    if moved:
        check_images(read_newest(folder / CHECKPOINT), world)
    return world
