"""What `ram-agent search` may try, read from one YAML file: a field of the configuration → where its values come from.

    training.learning_rate: {log: [1e-4, 3e-3]}       # between two positive numbers, every factor as likely
    training.window_std: {uniform: [0.03, 0.2]}       # between two numbers; whole ones where the field wants them
    training.batch: {choice: [32, 64, 128]}

The task (`images`, `scene`), how it is measured (`evaluation`) and how it is run (`run`) are not searched: trials would
no longer be comparable.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from ram_agent.config import ConfigError, Section, check_value, describe, field_names, parse_section
from ram_agent.config_layers import nearest, read_yaml

SEARCHED = ("sensor", "environment", "policy", "training")


class Range(Section):
    """Where the values of one field come from: one of three."""

    log: tuple[float, float] | None = Field(default=None, description="two positive numbers, the smaller first")
    uniform: tuple[float, float] | None = Field(default=None, description="two numbers, the smaller first")
    choice: tuple[Any, ...] | None = Field(default=None, min_length=1, description="values")

    @model_validator(mode="after")
    def _one(self) -> "Range":
        if len(self.model_fields_set) != 1 or (self.bounds is None and self.choice is None):
            raise ValueError("expected one of log, uniform and choice")
        if self.bounds is None:
            return self
        low, high = self.bounds
        if not low < high or (self.log and low <= 0):
            positive = "positive " if self.log else ""
            raise ValueError(f"expected two {positive}numbers, the smaller first, got {low:g}, {high:g}")
        return self

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Of a range of numbers; None of a choice."""
        return self.log or self.uniform

    def drawn(self, trial: Any, name: str) -> Any:
        """A value, as an Optuna trial suggests it."""
        if self.bounds is None:
            values = {_shown(value): value for value in self.choice or ()}  # Optuna stores plain values alone
            return values[trial.suggest_categorical(name, list(values))]
        low, high = self.bounds
        log = self.log is not None
        if name in WHOLE:
            return trial.suggest_int(name, int(low), int(high), log=log)
        return trial.suggest_float(name, low, high, log=log)


def _shown(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else json.dumps(value)


WHOLE = {field.name for field in describe() if field.type == "int"}
"""Fields that take whole numbers."""


NUMBERS = WHOLE | {field.name for field in describe() if field.type in ("float", "float | None")}
"""And those that take numbers at all."""


def _check_kind(name: str, values: Range) -> None:
    """Raise `ConfigError` where a field has no such range, or does not take a value of it."""
    bounds = values.bounds
    if bounds is None:
        for value in values.choice or ():
            check_value(name, value)
        return
    form = "log" if values.log else "uniform"
    if name not in NUMBERS:
        raise ConfigError(f"{form}: expected choice: [...], the field takes no range of numbers")
    if name in WHOLE and (any(bound % 1 for bound in bounds) or (values.log and bounds[0] < 1)):
        least = " of 1 or more" if values.log else ""
        raise ConfigError(f"{form}: expected two whole numbers{least}, got {bounds[0]:g}, {bounds[1]:g}")
    for bound in bounds:
        check_value(name, int(bound) if name in WHOLE else bound)


def read_space(path: Path) -> dict[str, Range]:
    """The space of a search, every name a field that may be searched. Raises `ConfigError`."""
    tree: Mapping[Any, Any] = read_yaml(path, "space", "training.learning_rate:")
    allowed = [name for name in field_names() if name.partition(".")[0] in SEARCHED]
    if not tree:
        raise ConfigError(f"space {path}: expected at least one field, such as training.learning_rate")
    space = {}
    for name, given in tree.items():
        if name not in allowed:
            if name in field_names():
                raise ConfigError(f"space {path}: {name}: is not searched; {', '.join(SEARCHED)} are")
            raise ConfigError(f"space {path}: {name}: unknown setting{nearest(str(name), allowed)}")
        if not isinstance(given, dict):
            forms = "{log: [a, b]}, {uniform: [a, b]} or {choice: [...]}"
            raise ConfigError(f"space {path}: {name}: expected {forms}, got {given!r}")
        try:
            space[name] = parse_section(Range, given)
            _check_kind(name, space[name])
        except ConfigError as error:
            raise ConfigError(f"space {path}: {name}: {error}") from None
    return space
