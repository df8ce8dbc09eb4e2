"""What is installed along with ram-agent, and under which licence: `make licences`, or `python -m tests.licences`.

It prints the table of docs/supply_chain.md, from what the installed packages say of themselves.
"""

import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


def dependencies() -> list[Requirement]:
    """Those of pyproject.toml that every user gets."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [Requirement(line) for line in project["dependencies"]]


def installed() -> dict[str, Distribution]:
    """The dependencies, and theirs, as far as they are installed here; by name."""
    found: dict[str, Distribution] = {}
    waiting = dependencies()
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        if name in found or not _applies(wanted):
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:  # for another platform, or another build of PyTorch
            continue
        waiting += map(Requirement, found[name].requires or [])
    return dict(sorted(found.items()))


def licence(package: Distribution) -> str:
    """What a package says: an SPDX expression, else its classifiers, else one line of free text."""
    said = package.metadata
    if expression := said.get("License-Expression"):
        return expression
    classifiers = [line for line in said.get_all("Classifier") or [] if line.startswith("License :: ")]
    if classifiers:
        return ", ".join(line.rpartition(" :: ")[2] for line in classifiers)
    return (said.get("License") or "nothing").partition("\n")[0]


def table() -> str:
    rows = (f"| {name} | {licence(package)} |" for name, package in installed().items())
    return "\n".join(("| package | licence |", "|---|---|", *rows))


def _applies(wanted: Requirement) -> bool:
    """Whether it is wanted here: on this platform, without an extra."""
    return wanted.marker is None or wanted.marker.evaluate({"extra": ""})


if __name__ == "__main__":
    print(table())
