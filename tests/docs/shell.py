"""What stands in a shell block of a page: short commands are run, of long ones all is tried that takes no time."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from ram_agent.bench import suite
from ram_agent.cli import main, parse_command
from ram_agent.cli.folders import find_config, run_folder
from ram_agent.config import load_config
from ram_agent.export import read_trained
from ram_agent.options import overrides
from ram_agent.space import read_space
from tests.making import unchecked

ROOT = Path(__file__).parents[2]
SHORT = 5000
"""Training episodes that a page's command may have to be run; what trains longer is read and understood, no more."""


def commands(block: str) -> Iterator[str]:
    """One by one, without comments; a backslash joins lines."""
    for line in block.replace("\\\n", " ").splitlines():
        if shlex.split(line, comments=True):
            yield from line.split(" && ")


def check(command: str) -> str:
    """Run a command or find out whether it could be; returns "run" or "read". Raises where it is wrong."""
    words = shlex.split(command, comments=True)
    program = Path(words[0]).name
    if program == "torchrun":
        start = words.index("train.py")
        return _ram_agent(["train", *words[start + 1 :]])
    if program == "ram-agent":
        return _ram_agent(words[1:])
    if program.startswith("python") and words[1] == "train.py":
        return _ram_agent(["train", *words[2:]])
    if program.startswith("python") and words[1] == "-m":
        assert find_spec(words[2]), command
        return "read"
    if program == "make":
        subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, check=True, capture_output=True)
        return "read"
    if program == "pip":
        return _pip(words[1:])
    if (script := ROOT / words[0]).is_file():
        subprocess.run(["sh", "-n", str(script)], check=True)
        return "read"
    assert shutil.which(program) or Path(sys.executable).with_name(program).exists(), command
    if program in SAFE:
        subprocess.run(["bash", "-c", command], check=True)
        return "run"
    assert program in LONG, f"{command}: nobody said whether it may be run"
    return "read"


PUBLISHED = "results/agents/"
"""Agents that are measured over MNIST: tests/integration/test_published_agents.py."""
SAFE = ("printf",)
"""Run where the page is tried."""
LONG = ("tensorboard", "mkdocs")
"""They go on until they are stopped, or are tried elsewhere."""


def _pip(words: list[str]) -> str:
    """Extras that are asked for exist."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for wanted in re.findall(r"(?:ram-agent|\.)\[([\w,]+)\]", " ".join(words)):
        assert set(wanted.split(",")) <= extras.keys(), words
    return "read"


def _ram_agent(words: list[str]) -> str:
    given = parse_command(words)
    if any("*" in word for word in words):  # the shell's to fill in
        return "read"
    match given.command:
        case "train" if given.resume:
            run_folder(given.resume)
            return "read"
        case "train":
            if load_config(find_config(given.config or "default"), overrides(given)).training.episodes > SHORT:
                return "read"
        case "evaluate" if given.run.startswith(PUBLISHED):
            read_trained(run_folder(str(ROOT / given.run)))
            return "read"
        case "search":
            load_config(find_config(given.config), overrides(given))
            read_space(find_config(given.space, "space", "spaces"))
            return "read"
        case "bench":
            suite.check(given.sections, given.plot)
            return "read"
        case "sweep" if not given.dry_run:
            words = [*words, "--dry-run"]
    with unchecked():  # torch.export traces symbolic shapes
        assert main(words) == 0, words
    return "run"
