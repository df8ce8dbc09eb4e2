"""`train`: an agent and its controls, from a config or on from where a run was."""

import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from envs.parts import ImageWarning
from ram_agent.beginning import begin_with
from ram_agent.building import build_policy
from ram_agent.cli.folders import check_whereabouts, find_config, new_run_folder, run_folder
from ram_agent.cli.notice import loud, unmeasured
from ram_agent.cli.prepared import NUMBERS_GONE_BAD, Prepared
from ram_agent.cli.resumed import may_change, resumed, same_images
from ram_agent.cli.watch import PAGE, train_command, watch_command
from ram_agent.cli.world import ConfiguredWorld
from ram_agent.config import Config, ConfigError, dump_config, load_config
from ram_agent.experiment import run_experiment
from ram_agent.export import is_export
from ram_agent.files import held, write_whole
from ram_agent.learner import check_gradient
from ram_agent.options import Parser, add_config_options, help_by_config, overrides
from ram_agent.parallel import join_ranks, leave_ranks
from ram_agent.progress import say, tell, warn
from ram_agent.replay import check_replayable
from ram_agent.report import results_table
from ram_agent.run_files import CONFIG, NOTICE, config_of, is_run
from ram_agent.stable_baselines import algorithm_class
from ram_agent.stored import UNWRITTEN, final_results
from ram_agent.tracking import TrackingError, tracked, wandb_client

NOT_WRITTEN = 4
"""Exit status of a training whose files could not be written at its end, or that stopped for it."""


def train_options(commands: Any) -> Parser:
    parser = commands.add_parser(
        "train",
        help="train an agent and its controls, measure them, write a run folder",
        usage="%(prog)s [CONFIG] [--section.field VALUE ...] [--resume RUN]",
        add_help=False,
    )
    help_by_config(parser, _taken, lambda given, name: not given.resume or may_change(name))
    parser.add_argument(
        "config",
        nargs="?",
        metavar="CONFIG",
        help="a YAML file, a name in configs/, or the results.json of a run, to train it again "
        "[default: default; with -i RUN that run's]",
    )
    parser.add_argument(
        "--resume",
        metavar="RUN",
        help="go on with an interrupted run, by its own settings; what may change: --images.source and --images.folder "
        "(the same images at another place), and --run.* but folder, seed and overwrite",
    )
    add_config_options(parser)
    return parser


def train_run(given: Any) -> Prepared:
    """Train from a config, or go on with a run; under torchrun, together with the other processes."""
    ranks = join_ranks()
    if not ranks.leads:
        warnings.simplefilter("ignore", ImageWarning)  # the first one says it
    if given.resume:
        config, folder = resumed(given)
        world = same_images(given, config, folder)
        check_means(config, world.device, ranks.size)
        if (folder / NOTICE).is_file():  # said of these images when the run began, and still true
            notice = (folder / NOTICE).read_text(encoding="utf-8").strip()
            world.images = replace(world.images, notice=notice)
    else:
        config = _config(given)
        world = ConfiguredWorld(config)  # before the folder: what fails here leaves nothing behind
        check_means(config, world.device, ranks.size)
        check_gradient(world.sensor, config.training.method)
        env = world.environment("train", 1)  # likewise: scenes or a first window that cannot be
        if config.training.trained_agent:
            agent = Path(config.training.trained_agent)
            _check_apart(agent, config.run.folder)
            begin_with(build_policy(env, config, "learned"), agent)
        folder = ranks.share(_begun(config) if ranks.leads else Path())
    ours = ExitStack()
    if ranks.leads:
        ours.enter_context(held(folder))

    def together() -> int:
        try:
            with ours:
                return job() if ranks.leads else assist()
        finally:
            leave_ranks()

    def assist() -> int:
        _, interrupted_by = run_experiment(config, world, folder, resume=bool(given.resume), ranks=ranks)
        return 128 + interrupted_by if interrupted_by else 0

    def job() -> int:
        if world.dataset.notice:
            loud(world.images.notice)
        if config.training.method == "reinforce" and world.sensor.differentiable:
            tell(
                f"sensor.kind {config.sensor.kind} has a gradient to its window, which training.method reinforce "
                "leaves unused: soft attention is trained by --training.method pathwise"
            )
        if line := unmeasured(world.images, world.images.classes):
            warn(line)
        say(f"run folder: {folder}")
        with ExitStack() as following:
            try:
                following.enter_context(tracked(config, folder))
            except TrackingError:
                if not given.resume:
                    _withdraw(folder)
                raise
            try:
                results, interrupted_by = run_experiment(config, world, folder, resume=bool(given.resume), ranks=ranks)
            except KeyboardInterrupt:  # after the training, which is saved, and measured, perhaps
                if not final_results(folder):
                    say(f"  go on:     {train_command('--resume', folder)}")
                raise
        say("\n" + results_table(results) + "\n")
        if config.run.tensorboard:
            say(f"  watch it:  {watch_command(folder)}\n             {PAGE}")
        if interrupted_by:
            say(f"  go on:     {train_command('--resume', folder)}")
            return 128 + interrupted_by
        if UNWRITTEN in results:
            tell(f"error: {results[UNWRITTEN]}")
            return NOT_WRITTEN
        return NUMBERS_GONE_BAD if "controls_gone_bad" in results else 0

    return together


def _config(given: Any) -> Config:
    """What was asked for."""
    changed = overrides(given)
    path, config = _taken(given, changed)
    if "images.source" not in changed:
        check_whereabouts(path.parent, config.images.source, "give --images.source FOLDER")
    return config


def _taken(given: Any, changed: Mapping[str, Any] | None = None) -> tuple[Path, Config]:
    """The file of the config that is taken, and what is in it; another run's is taken without its folder."""
    own = {} if given.config or given.resume else {"run.folder": None}
    path = _config_path(given)
    return path, load_config(path, own | dict(changed or {}))


def _config_path(given: Any) -> Path:
    """The config that is taken; without one, and with an agent to begin with, that agent's own."""
    if given.resume:
        return run_folder(given.resume) / CONFIG
    agent = overrides(given).get("training.trained_agent")
    folder = Path(agent or "").expanduser()
    if given.config or not agent or not is_run(folder):
        return _config_file(given.config or "default")
    return config_of(folder)


def _config_file(name: str) -> Path:
    """The file of a config. Raises `ConfigError`, for a run and for images with the option that takes them."""
    path = find_config(name)
    if is_run(path):
        way = "begin with its weights: -i" if is_export(path) else "go on with it: --resume"
        raise ConfigError(
            f"config {name}: the folder of a trained agent, expected a YAML file; to {way} {name}; to train by its "
            f"config anew: {path / CONFIG}"
        )
    if path.is_dir() or path.suffix == ".npz":
        what = "a folder" if path.is_dir() else "an .npz"
        raise ConfigError(
            f"config {name}: {what}, expected a YAML file; to train on the images in it: --images.source {name}"
        )
    return path


def _check_apart(agent: Path, folder: str | None) -> None:
    """Raise `ConfigError` where a run would replace the very agent that it is to begin with."""
    if folder and agent.resolve().is_relative_to(Path(folder).resolve()):
        raise ConfigError(
            f"run.folder: {folder} holds {agent}, which training.trained_agent begins with; choose another folder"
        )


def _begun(config: Config) -> Path:
    """A new run folder with its config in it: killed at any moment from now on, it is a run's, to replace or resume."""
    folder = new_run_folder(config)
    write_whole(folder / CONFIG, dump_config(config).encode())
    return folder


def _withdraw(folder: Path) -> None:
    """Take back a run folder that has nothing in it but its config: the same command is to have its name again."""
    if [file.name for file in folder.iterdir()] == [CONFIG]:
        (folder / CONFIG).unlink()
        folder.rmdir()


def check_means(config: Config, device: torch.device, processes: int) -> None:
    """Raise `ValueError` where this machine lacks what a config asks for, before there is a run folder."""
    method, lanes = config.training.method, config.training.lanes_per_process * processes
    if lanes > config.training.episodes:
        raise ConfigError(
            f"training.batch: got {lanes:,} episodes an update of {processes} processes, expected no more than the "
            f"{config.training.episodes:,} of training.episodes; take fewer, or fewer processes"
        )
    if config.run.track:
        wandb_client()
    if config.training.by_sb3:
        algorithm_class(method)
        if processes > 1:
            raise ConfigError(f"training.method: {method} trains in one process, not in {processes}: without torchrun")
    if config.run.cuda_graph:
        if device.type != "cuda":
            raise ConfigError(
                f"run.cuda_graph: got true with device {device}, expected a CUDA device; else --run.cuda_graph false"
            )
        check_replayable(config.training.optimizer, processes)
