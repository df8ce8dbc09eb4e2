"""What a message tells to install is what pyproject.toml has under that name."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

from ram_agent.extras import to_install

ROOT = Path(__file__).parents[2]


def asked() -> Iterator[tuple[str, str]]:
    """Package and extra of every `to_install(package, extra)` in the code."""
    for path in (ROOT / "ram_agent").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "to_install":
                package, extra = map(ast.literal_eval, node.args)
                yield package, extra


def test_every_package_that_a_message_names_is_in_the_extra_that_it_names() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    named = set(asked())
    assert {extra for _, extra in named} == extras.keys() - {"docs", "test", "dev"}
    for package, extra in named:
        assert any(each.startswith(f"{package}>=") for each in extras[extra]), (package, extra)


def test_both_ways_are_told() -> None:
    assert to_install("ray", "ray") == "pip install ray (in a checkout: pip install -e '.[ray]')"
