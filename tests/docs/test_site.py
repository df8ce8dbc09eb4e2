"""The site: built without a warning, every link and picture on it there, docstrings in Markdown."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.docs.shell import ROOT

NEEDED = ("mkdocs", "material", "mkdocstrings_handlers.python", "mkdocs_jupyter")
pytestmark = pytest.mark.skipif(
    any(find_spec(name.partition(".")[0]) is None for name in NEEDED),
    reason="the site's builder is an extra: pip install -e '.[docs]'",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    settings = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    return folder


def test_every_link_and_picture_of_the_site_is_there(site: Path) -> None:
    pages = [page for page in site.rglob("*.html") if page.name != "404.html"]  # its links begin at a host's root
    ids = {page: set(re.findall(r'\bid="([^"]+)"', page.read_text(encoding="utf-8"))) for page in pages}
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for link in re.findall(r'(?:href|src)="([^"]+)"', text):
            path, _, anchor = unquote(link).partition("#")
            if re.match(r"[a-z]+:|//", link):
                continue
            target = (page.parent / path).resolve() if path else page
            target = target / "index.html" if target.is_dir() else target
            assert target.is_file(), f"{page.relative_to(site)}: {link}"
            if anchor and target in ids and not anchor.startswith("__"):
                assert anchor in ids[target], f"{page.relative_to(site)}: {link}"


def test_links_between_docs_and_what_lies_outside_of_it_lead_to_pages(site: Path) -> None:
    index = (site / "index.html").read_text(encoding="utf-8")
    assert '<a href="estimators.html">The estimators of the window\'s gradient</a>' in index  # [docs/…](docs/…)
    assert '<a href="results/cluttered60_8/compare_300k/comparison.html">' in (site / "trials.html").read_text()


def test_the_reference_has_every_module_that_it_names_with_its_public_names(site: Path) -> None:
    for page in (ROOT / "docs" / "reference").glob("*.md"):
        shown = (site / "reference" / page.with_suffix(".html").name.replace("README", "index")).read_text()
        for module in re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE):
            assert f'id="{module}"' in shown, module
    assert 'id="ram_agent.sensor.Crop"' in (site / "reference" / "sensor.html").read_text()


@pytest.fixture
def as_markdown(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    monkeypatch.syspath_prepend(ROOT / "docs" / "site")
    from docstrings import as_markdown  # type: ignore[import-not-found]

    return as_markdown


@pytest.mark.parametrize(
    ("docstring", "shown"),
    [
        ("One line.", "One line."),
        ("One.\n\nTwo: three,\nfour.", "One.\n\nTwo: three,\nfour."),
        ("A.\n\nRewards\n    1 if right.\n\nEnd\n    At T.", "A.\n\n**Rewards**\n\n1 if right.\n\n**End**\n\nAt T."),
        ("A.\n\nx: the\n    place.\ny, z: rest.", "A.\n\n- `x`: the place.\n- `y`, `z`: rest."),
        ("A.\nRaises: ValueError, if\nwrong.", "A.\nRaises: ValueError, if\nwrong."),
        ("A.\n\nx: one.\nRaises: ValueError.", "A.\n\n- `x`: one.\n\n*Raises:* ValueError."),
        ("A table:\n\n    a  b\n    1  2", "A table:\n\n    a  b\n    1  2"),
    ],
)
def test_docstrings_become_markdown(docstring: str, shown: str, as_markdown: Callable[[str], str]) -> None:
    assert as_markdown(docstring) == shown
