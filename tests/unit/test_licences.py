"""No licence sneaks in: what every user installs is in the table of docs/supply_chain.md, and leaves everybody free."""

import re

import pytest
from packaging.utils import canonicalize_name

from tests.licences import ROOT, dependencies, installed, licence

_, TABLE = (ROOT / "docs" / "supply_chain.md").read_text(encoding="utf-8").split("| package | licence |\n|---|---|\n")
ROWS = dict(re.findall(r"^\| ([\w.-]+) \| (.+) \|$", TABLE, re.MULTILINE))
PERMISSIVE = ("0BSD", "Apache", "BSD", "3-Clause BSD", "BSL-1.0", "CC0-1.0", "HPND", "Historical Permission", "ISC")
PERMISSIVE += ("LLVM-exception", "MIT", "PSF", "Python Software Foundation", "Unlicense", "Zlib")
FILE_BY_FILE = {"certifi", "tqdm"}
"""Under the Mozilla Public License: whoever changes their files shows the change, and nothing else."""


def is_permissive(said: str) -> bool:
    return all(part.strip("() ").startswith(PERMISSIVE) for part in re.split(r" AND | OR | WITH |, ", said))


def test_the_table_has_a_row_for_every_dependency() -> None:
    missing = {canonicalize_name(each.name) for each in dependencies()} - ROWS.keys()
    assert not missing, "docs/supply_chain.md: paste what `make licences` prints"


@pytest.mark.parametrize("name", ROWS)
def test_a_row_names_a_licence_that_leaves_everybody_free(name: str) -> None:
    assert is_permissive(ROWS[name]) or (name in FILE_BY_FILE and "MPL" in ROWS[name])


@pytest.mark.parametrize("name", installed())
def test_so_does_what_is_installed_here(name: str) -> None:
    if name.startswith(("nvidia-", "cuda-")):
        pytest.skip("PyTorch's builds for CUDA bring NVIDIA's libraries, see docs/supply_chain.md")
    said = licence(installed()[name])
    assert is_permissive(said) or (name in FILE_BY_FILE and "MPL" in said), said


@pytest.mark.parametrize("said", ["GPL-3.0", "MIT AND LGPL-2.1", "Mozilla Public License 2.0 (MPL 2.0)", "nothing", ""])
def test_others_are_found_out(said: str) -> None:
    assert not is_permissive(said)
