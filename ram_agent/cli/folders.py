"""Where configs and runs lie."""

import shutil
from difflib import get_close_matches
from pathlib import Path

from envs.images import SOURCES
from ram_agent.cli.outputs import check_folder
from ram_agent.config import Config, ConfigError
from ram_agent.config_layers import SHIPPED, nearest
from ram_agent.export import is_export
from ram_agent.files import held, holds_something, is_partial
from ram_agent.run_files import WRITTEN, check_run, is_run

NOBODYS = ".DS_Store"
"""What file managers leave."""
NO_PLACE = "images: an export knows them by name ({}), not where they lie: {}"
"""How an export is refused whose images are not here: their name, the remedy."""
FEW = 12
"""Configs that are all named where none is called as was asked; of more, the nearest of each task."""


def find_config(name: str, kind: str = "config", below: str = ".") -> Path:
    """A path as it is, or the name of a config that came with the package, in `below`, alone or as `configs/NAME.yaml`,
    wherever that was typed; a folder may have that name, too. Raises `ConfigError`.
    """
    path = Path(name)
    shipped = {file.stem: file for file in sorted((SHIPPED / below).glob("*.yaml"))}
    if name in shipped and not path.is_file():
        return shipped[name]
    if path.exists():
        return path
    if path == Path("configs", f"{path.stem}.yaml") and path.stem in shipped:
        return shipped[path.stem]
    close = get_close_matches(path.stem, sorted(shipped), n=len(shipped), cutoff=0.0)
    of_each = {each.partition("_")[0]: each for each in reversed(close)}  # the closest of each task
    some = close if len(close) <= FEW else sorted(of_each.values(), key=close.index)
    which = "the" if some == close else "the nearest of each task, of the"
    raise ConfigError(
        f"{kind} {name}: no such file{nearest(path.stem, sorted(shipped))}; {which} {len(close)} shipped: "
        f"{', '.join(some)}"
    )


def new_run_folder(config: Config) -> Path:
    """Make the folder of a new run: the one asked for, which must not hold a run yet, or a numbered one under runs/."""
    if config.run.folder is None:
        check_folder("run.folder", Path("runs"))
        number = 1
        while True:
            folder = Path("runs") / (config.name if number == 1 else f"{config.name}-{number}")
            try:
                folder.mkdir(parents=True)
                return folder
            except FileExistsError:
                number += 1
    folder = Path(config.run.folder)
    check_folder("run.folder", folder)
    if folder.exists() and holds_something(folder):
        if is_export(folder):
            raise ConfigError(f"run.folder: {folder} is an export; choose another: -i {folder} begins with its weights")
        if not config.run.overwrite:
            raise ConfigError(
                f"run.folder: {folder} exists and is not empty; choose another, go on with --resume {folder}, "
                "or replace it with --run.overwrite true"
            )
        _clear_run(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _clear_run(folder: Path) -> None:
    """Remove a run that is to be replaced; a folder that is not a run's, or holds more than one, is left alone."""
    if not is_run(folder):
        raise ConfigError(
            f"run.overwrite: {folder} does not hold a run of ram-agent (no config.yaml); nothing was removed"
        )
    known = (*WRITTEN, NOBODYS)
    others = (entry for entry in folder.iterdir() if not any(map(entry.match, known)) and not is_partial(entry))
    if strangers := sorted(entry.name for entry in others):
        raise ConfigError(
            f"run.overwrite: {folder} holds {strangers[0]}, which is not of a run; move it elsewhere; nothing was "
            "removed"
        )
    with held(folder):
        shutil.rmtree(folder)


def run_folder(name: str) -> Path:
    """An existing run. Raises `ConfigError`."""
    folder = Path(name)
    check_run(folder)
    return folder


def lies_here(source: str) -> bool:
    """Whether images are to be had by that name."""
    return source in SOURCES or Path(source).expanduser().exists()


def check_whereabouts(folder: Path, source: str, remedy: str) -> None:
    """Raise `ConfigError` where an export's images do not lie here; where else they do it cannot say."""
    if is_export(folder) and not lies_here(source):
        raise ConfigError(NO_PLACE.format(source, remedy))
