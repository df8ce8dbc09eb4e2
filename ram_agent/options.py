"""Command-line options from the configuration: `--section.field value` for every field, `--help` that explains each.

Built on argparse: an unknown option is one line with the nearest right name and exit status 2.
"""

import argparse
import re
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import yaml

from ram_agent.config import Config, ConfigError, Described, describe, field_names, nearest

SHORT = {
    "run.threads": ("--threads", "--num-threads"),
    "run.seed": ("--seed",),
    "run.device": ("--device",),
    "training.trained_agent": ("-i", "--trained-agent"),
}
"""Other spellings, those that people have in their fingers: RL-Zoo's where it has one."""
FLAGS = {"run.progress": ("-P", "--progress"), "run.track": ("--track",)}
"""The same for what RL-Zoo has as a switch, without a value: it turns the setting on."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, without the usage in front."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, allow_abbrev=False, **settings)  # `--run.over` must not mean overwrite
        self._negative_number_matcher = re.compile(r"-\.?\d")  # `-0.5,0.5` and `-1e-3` are values too, not options

        self.settings: dict[str, argparse.Action] = {}
        """The options that are fields of the configuration, by `section.field`."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: error: {message}", file=sys.stderr)
        sys.exit(2)

    def refuse(self, unknown: str) -> NoReturn:
        """End at an argument that is none of this parser's; an option, with the nearest right one."""
        options = [text for action in self._actions for text in action.option_strings]
        first = unknown.partition("=")[0]
        if not first.startswith("-"):
            self.error(f"{first}: one argument too many")
        if first.removeprefix("--") in field_names():
            own = [name for name in self.settings if name.partition(".")[0] == first[2:].partition(".")[0]]
            offered = f"; of that section it takes --{', --'.join(own)}" if own else ""
            self.error(f"{first}: a setting of trainings, which this command does not take{offered}")
        self.error(f"{first}: unknown option{nearest(first, options)}")


Taken: TypeAlias = Callable[[argparse.Namespace], tuple[Path | None, Config]]
Offers: TypeAlias = Callable[[argparse.Namespace, str], bool]


class HelpByConfig(argparse.Action):
    """`--help` whose defaults are those of the config that is taken: `find` gives its file, if any, and it."""

    def __init__(self, *arguments: Any, find: Taken, offers: Offers, **settings: Any) -> None:
        super().__init__(*arguments, nargs=0, **settings)
        self.find, self.offers = find, offers

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, *rest: Any) -> NoReturn:
        assert isinstance(parser, Parser)
        try:
            path, config = self.find(namespace)
        except ConfigError as error:
            parser.error(str(error))
        parser.description = (
            f"Defaults of --section.field are those of the config {path}."
            if path
            else "Defaults of --section.field are CONFIG's; what is shown is that of a field that CONFIG leaves out."
        )
        for field in describe():
            if field.name in parser.settings:
                section, _, name = field.name.rpartition(".")
                value = getattr(getattr(config, section) if section else config, name)
                offered = self.offers(namespace, field.name)
                parser.settings[field.name].help = _help(field, _shown(value)) if offered else argparse.SUPPRESS
        parser.print_help()
        parser.exit()


def help_by_config(parser: Parser, find: Taken, offers: Offers = lambda *_: True) -> None:
    """Give a parser made without a help of its own this one; see `HelpByConfig`. It leaves out what is not offered."""
    parser.add_argument(
        *("-h", "--help"),
        action=HelpByConfig,
        find=find,
        offers=offers,
        dest=argparse.SUPPRESS,
        default=argparse.SUPPRESS,
        help="show this help message and exit",
    )


def add_config_options(
    parser: Parser, only: Sequence[str] = ("",), default: str | None = None, hidden: Collection[str] = ()
) -> None:
    """One option per field, grouped by section; only fields whose names begin so, where any are given.

    `default` is what holds where an option is left out, if that is not the field's own default. `hidden` are options
    that are refused when they are given: the help does not offer them.
    """
    groups: dict[str, Any] = {}
    for field in describe():
        section, _, _ = field.name.rpartition(".")
        if not field.name.startswith(tuple(only)):
            continue
        if section not in groups:
            groups[section] = parser.add_argument_group(section or "experiment")
        option = groups[section].add_argument(
            f"--{field.name}",
            *SHORT.get(field.name, ()),
            dest=field.name,
            default=argparse.SUPPRESS,
            metavar="VALUE",
            type=_TEXTS.get(field.type, _plain),
            help=argparse.SUPPRESS if field.name in hidden else _help(field, default or _shown(field.default)),
        )
        if field.name not in hidden:
            parser.settings[field.name] = option
        if field.name in FLAGS:
            groups[section].add_argument(
                *FLAGS[field.name],
                dest=field.name,
                default=argparse.SUPPRESS,
                action="store_const",
                const=True,
                help=f"--{field.name} true",
            )


def _help(field: Described, default: str) -> str:
    return f"{field.help} [{field.type}; default: {default}]".replace("%", "%%")


def _shown(value: Any) -> str:
    """As it would be typed, but for none."""
    if isinstance(value, tuple):
        return ",".join(map(_shown, value)) or "[]"
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def overrides(arguments: argparse.Namespace) -> dict[str, Any]:
    """The configuration fields that were given, as `section.field` → value."""
    names = set(field_names())
    return {name: value for name, value in vars(arguments).items() if name in names}


def _plain(text: str) -> Any:
    """A value as YAML reads it; `0.5,2` is a list too."""
    if text == "":
        return ""
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):  # a date that there is not, say: no value, whatever the field
        return text
    if isinstance(value, str) and "," in value:
        return [_plain(part.strip()) for part in value.split(",")]
    return value


def _text_or_none(text: str) -> str | None:
    return None if text == "null" else text


_TEXTS: dict[str, Any] = {"str": str, "str | None": _text_or_none}
"""Paths and names stay as they were typed: `2024` is a name, and a path may hold a comma."""
