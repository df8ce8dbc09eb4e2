"""A table of experiments: rows times seeds, read from one YAML file and resolved before anything starts.

    rows:
      - {config: cluttered60_stn}                                    # a name in configs/, or a path
      - {config: cluttered60_stn, name: detached, set: {policy.detach_location: true}}
    seeds: [1, 2, 3]
    set: {training.episodes: 300000}                                 # of all rows; a row's own `set` comes after

A path is taken from where the command is typed, as everywhere on the command line.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from ram_agent.config import (
    PLAIN_NAME,
    Config,
    ConfigError,
    Section,
    changed_config,
    field_names,
    load_config,
    nearest,
    parse_section,
)
from ram_agent.config_layers import read_yaml

SWEEP = "sweep.json"
"""The file of a sweep's folder that says how it stands."""

Seed = Annotated[int, Field(ge=0, strict=True)]
ITS_OWN = ("run.folder", "run.seed", "run.overwrite")
"""What the sweep sets itself, for every run another."""


class Row(Section):
    config: str = Field(description="a name in configs/, or a path")
    name: str = Field(default="", description="of the row and its folder; default: that of the config")
    set: dict[str, Any] = Field(default={}, description="section.field → value, laid over the config")

    @property
    def folder(self) -> str:
        return self.name or Path(self.config).stem


class Table(Section):
    rows: tuple[Row, ...] = Field(min_length=1, description="one line of the table each")
    seeds: tuple[Seed, ...] = Field(min_length=1, description="every row is run with each")
    set: dict[str, Any] = Field(default={}, description="section.field → value, laid over every row's config")

    @model_validator(mode="after")
    def _distinct(self) -> "Table":
        names = [row.folder for row in self.rows]
        for number, name in enumerate(names):
            if not re.fullmatch(PLAIN_NAME, name):
                raise ValueError(f"rows.{number}.name: got {name!r}, expected letters, digits, '_', '-' and '.'")
            if name.casefold() in (earlier.casefold() for earlier in names[:number]):  # a folder each, on any disk
                raise ValueError(f"rows.{number}.name: got {name!r} a second time; give each row a name of its own")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds: expected each once, got {', '.join(map(str, self.seeds))}")
        for where, changed in [("set", self.set), *((f"rows.{i}.set", row.set) for i, row in enumerate(self.rows))]:
            for name in changed:
                if name in ITS_OWN:
                    raise ValueError(f"{where}.{name}: the sweep sets it, for every run another; leave it out")
                fields = [each for each in field_names() if each.startswith(f"{name}.")]
                if fields:
                    raise ValueError(f"{where}.{name}: expected single settings, as in {fields[0]}: ...")
                if name not in field_names():
                    raise ValueError(f"{where}.{name}: unknown setting{nearest(name, field_names())}")
        return self


@dataclass(frozen=True)
class Job:
    """One row with one seed: one training."""

    row: str
    seed: int
    folder: Path
    config: Config

    @property
    def log(self) -> Path:
        return self.folder.with_suffix(".log")

    @property
    def settings(self) -> Path:
        """The resolved config as it is handed to the training."""
        return self.folder.with_suffix(".yaml")

    def __str__(self) -> str:
        return f"{self.row} seed {self.seed}"


def seed_folder(out: Path, row: str, seed: int) -> Path:
    """Where a sweep to `out` has the run of a row with a seed."""
    return out / row / f"seed{seed}"


def read_jobs(path: Path, out: Path, threads: int, find: Callable[[str], Path]) -> list[Job]:
    """All jobs of a table, every config of them valid; the first seed of every row before the second of any.

    `threads` where the config leaves `run.threads` open and the table does not name it; `find` knows the shipped
    configs. Raises `ConfigError`.
    """
    tree = read_yaml(path, "table", "rows:")
    try:
        table = parse_section(Table, tree, [*Table.model_fields, *Row.model_fields])
    except ConfigError as error:
        raise ConfigError(f"table {path}: {error}") from None
    jobs = []
    for seed in table.seeds:
        for number, row in enumerate(table.rows):
            folder = seed_folder(out, row.folder, seed)
            changed: dict[str, Any] = {"run.progress": False, **table.set, **row.set}  # a log file wants no bar
            changed |= {"run.seed": seed, "run.folder": str(folder)}
            try:
                config = load_config(find(row.config), changed)
                if not config.run.threads and "run.threads" not in changed:
                    config = changed_config(config, {"run.threads": threads})
            except ConfigError as error:
                raise ConfigError(f"table {path}: rows.{number} ({row.folder}): {error}") from None
            jobs.append(Job(row.folder, seed, folder, config))
    return jobs
