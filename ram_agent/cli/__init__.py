"""The command line: which commands there are, a file each, and what comes of one."""

import os
import signal
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from typing import Any

import ram_agent
from ram_agent.checkpoint import CheckpointError
from ram_agent.cli.bench import bench_options, bench_project
from ram_agent.cli.compare import compare_options, compare_runs
from ram_agent.cli.evaluate import evaluate_options, evaluate_run
from ram_agent.cli.export import export_options, export_run
from ram_agent.cli.notice import plainly
from ram_agent.cli.prepared import NUMBERS_GONE_BAD, Prepared, Refused
from ram_agent.cli.render import render_options, render_run
from ram_agent.cli.search import search_options, search_settings
from ram_agent.cli.sweep import sweep_options, sweep_table
from ram_agent.cli.train import train_options, train_run
from ram_agent.config import ConfigError
from ram_agent.finite import NumbersGoneBad
from ram_agent.machine import memory_reason, ran_out_of_memory
from ram_agent.options import Parser
from ram_agent.progress import tell
from ram_agent.tracking import TrackingError

COMMANDS: dict[str, tuple[Callable[[Any], Parser], Callable[[Any], Prepared]]] = {
    "train": (train_options, train_run),
    "sweep": (sweep_options, sweep_table),
    "search": (search_options, search_settings),
    "evaluate": (evaluate_options, evaluate_run),
    "render": (render_options, render_run),
    "export": (export_options, export_run),
    "compare": (compare_options, compare_runs),
    "bench": (bench_options, bench_project),
}
"""The options of each, and what makes it ready."""


def main(arguments: Sequence[str] | None = None, program: str = "ram-agent") -> int:
    """Run one command; returns the exit status. What a user can get wrong is one line and status 2.

    A `program` of another name is one command's own: its help and its errors go by that name alone.
    """
    if isinstance(sys.stdout, TextIOWrapper):  # a name that a file's or a terminal's encoding lacks costs no table
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            with plainly():
                status = _main(sys.argv[1:] if arguments is None else arguments, program)
        finally:
            unsaid = _flush()
    except BrokenPipeError:  # whoever read has had enough (`| head`): no error, and nobody to say more to
        _hush()
        return 128 + getattr(signal, "SIGPIPE", 13)  # not on Windows
    if unsaid:
        tell(f"{program}: error: cannot write to standard output: {unsaid}")
    return status or (2 if unsaid else 0)


def _flush() -> str:
    """Write out what was printed; why that cannot be, or nothing."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _hush()
        return error.strerror or str(error)
    return ""


def _hush() -> None:
    """Python tries once more at its end, and would complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def parse_command(arguments: Sequence[str], program: str = "ram-agent") -> Namespace:
    """The options of one command, in `command` its name. Ends the process with a line where they are wrong."""
    parser = Parser(prog=program, description="Recurrent visual attention: train, measure and watch glimpse agents.")
    parser.add_argument("--version", action="version", version=f"ram-agent {ram_agent.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    parsers = {name: add_options(commands) for name, (add_options, _) in COMMANDS.items()}
    if program != "ram-agent":
        for each in parsers.values():
            each.prog = program
    given, unknown = parser.parse_known_args(arguments)
    if unknown:
        if "--" in arguments:
            parsers[given.command].error("--: makes no options of what follows; leave it out")
        parsers[given.command].refuse(unknown[0])
    given.arguments = list(arguments)
    return given


def _main(arguments: Sequence[str], program: str) -> int:
    given = parse_command(arguments, program)
    _, prepare = COMMANDS[given.command]
    try:
        try:
            job = prepare(given)
        except (ValueError, OSError) as error:  # what cannot be made ready is the user's to mend
            raise Refused(" ".join(str(error).split())) from None
        return job()
    except BrokenPipeError:
        raise
    except (Refused, ConfigError, CheckpointError, TrackingError, OSError) as error:
        tell(f"{program}: error: {error}")
        return 2
    except (MemoryError, RuntimeError) as error:
        if not ran_out_of_memory(error):
            raise
        remedy = "take fewer or smaller glimpses or scales, or a smaller batch"
        tell(f"{program}: error: {memory_reason(error)}; {remedy}")
        return 2
    except NumbersGoneBad as error:
        tell(f"{program}: error: {error}")
        return NUMBERS_GONE_BAD
    except KeyboardInterrupt:
        tell(f"{program}: interrupted")
        return 130
