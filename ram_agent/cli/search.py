"""`search`: settings that Optuna suggests, judged by the validation error."""

from pathlib import Path
from typing import Any

from ram_agent.cli.folders import check_whereabouts, find_config
from ram_agent.cli.notice import loud
from ram_agent.cli.outputs import check_folder
from ram_agent.cli.prepared import Prepared, Refused
from ram_agent.cli.train import check_means
from ram_agent.cli.watch import as_typed, train_command
from ram_agent.cli.world import ConfiguredWorld
from ram_agent.config import Config, ConfigError, changed_config, load_config
from ram_agent.options import Parser, add_config_options, help_by_config, overrides
from ram_agent.progress import say
from ram_agent.search import Search, check_optuna
from ram_agent.space import read_space

ITS_OWN = {"run.folder", "run.overwrite"}
"""What the search sets itself, for every trial another."""


def search_options(commands: Any) -> Parser:
    parser = commands.add_parser(
        "search",
        help="search settings with Optuna, by the validation error; go on where it was",
        usage="%(prog)s CONFIG --space SPACE [--trials N] [--out DIR] [--section.field VALUE ...]",
        add_help=False,
    )
    help_by_config(parser, _taken)
    parser.add_argument("config", metavar="CONFIG", help="a YAML file, or a name in configs/")
    parser.add_argument("--space", required=True, metavar="SPACE", help="a YAML file, or a name in configs/spaces/")
    parser.add_argument("--trials", type=int, default=20, metavar="N", help="in all, earlier ones too [default: 20]")
    parser.add_argument("--out", metavar="DIR", help="where the trials and best.yaml go [default: runs/<name>_search]")
    add_config_options(parser, hidden=ITS_OWN)
    return parser


def _taken(given: Any) -> tuple[Path | None, Config]:
    """For the help: the config that is named, so far as one is."""
    path = find_config(given.config) if given.config else None
    return path, load_config(path)


def search_settings(given: Any) -> Prepared:
    """Train with settings that Optuna suggests and write down the best."""
    check_optuna()
    if given.trials < 1:
        raise ConfigError(f"--trials: expected 1 or more, got {given.trials}")
    changed = overrides(given)
    if own := changed.keys() & ITS_OWN:
        raise ConfigError(f"--{min(own)}: the search sets it, for every trial another; --out says where they go")
    path = find_config(given.config)
    config = load_config(path, changed)
    if "images.source" not in changed:
        check_whereabouts(path.parent, config.images.source, "give --images.source FOLDER")
    if config.run.track:
        raise ConfigError(
            "run.track: a search tells Weights & Biases nothing; leave it out, and track the run of best.yaml"
        )
    config = changed_config(config, {"run.folder": None, "run.overwrite": False})  # best.yaml hands them on
    out = Path(given.out or Path("runs") / f"{config.name}_search")
    check_folder("--out", out)
    space = read_space(find_config(given.space, "space", "spaces"))
    if both := changed.keys() & space.keys():
        raise ConfigError(f"--{min(both)}: {given.space} searches it; leave one of the two out")
    world = ConfiguredWorld(config)
    check_means(config, world.device, 1)
    search = Search(
        config,
        space,
        lambda changed: ConfiguredWorld(changed, world.images),
        out,
        say=say,
    )

    def job() -> int:
        if world.dataset.notice:
            loud(world.images.notice)
        interrupted_by = search.run(given.trials)
        if search.best:
            say(f"\n  best on validation: {search.best.value:.2f} % [{world.dataset.name}]")
            say(f"  train it:  {train_command(out / 'best.yaml')}")
        if interrupted_by:
            say(f"  interrupted; the same command goes on: {as_typed(['ram-agent', *given.arguments])}")
            return 128 + interrupted_by
        if not search.best:
            raise Refused(
                f"search: no trial of {out} was trained to its end; the last one: {search.last_words}; mend "
                f"{given.space} or the settings, and choose another folder with --out"
            )
        return 0

    return job
