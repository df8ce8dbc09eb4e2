"""Every block of code in README and docs does what the page says, or says itself why it is not tried.

Python is run, block after block in one namespace; shell commands are run where they are short, and otherwise as far as
their options, configs and files go (`tests/docs/shell.py`); YAML is read as a config or a space. A block that is left
out has a comment above it, `<!-- skip: next "reason" -->`, and is counted here.
"""

import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from unittest import SkipTest

import numpy as np
import pytest
import yaml
from sybil import Document, Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser, SkipParser
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

from ram_agent.cli import main
from ram_agent.cli.folders import find_config
from ram_agent.compare import examine
from ram_agent.config import dump_config, load_config
from ram_agent.space import read_space
from ram_agent.table import read_jobs
from tests.docs.shell import ROOT, check, commands
from tests.making import torch_as_it_was
from tests.photographs import make_garments, make_photographs

CARDS = {*(ROOT / "results" / "agents").rglob("*.md")}
"""Written by `export`, over MNIST; tests/integration/test_own_images.py tries what it writes."""
PAGES = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "results").rglob("*.md")} - CARDS)
SKIPPED: dict[str, int] = {}
"""Blocks that a page says are not tried; of pages that are not named here, none."""
SHELL = "sh"
LANGUAGES = {"python", SHELL, "yaml", "text"}
"""Text is what something printed, or a tree of files."""
COMMAND = re.compile(r"^ *(\$ |ram-agent |(\S*/)?python3? |pip install|make |import |from \w+ import)", re.MULTILINE)


def run_shell(example: Example) -> None:
    for command in commands(example.parsed):
        example.namespace.setdefault("done", []).append((check(command), command))


def read_yaml(example: Example) -> None:
    """Names with a dot are a search's space, rows a table's."""
    file = Path("block.yaml")
    file.write_text(example.parsed)
    if "rows" in yaml.safe_load(example.parsed):
        read_jobs(file, Path("runs"), 1, find_config)
    elif any("." in name for name in yaml.safe_load(example.parsed)):
        read_space(file)
    else:
        load_config(file)


SYBIL = Sybil(
    [PythonCodeBlockParser(), CodeBlockParser(SHELL, run_shell), CodeBlockParser("yaml", read_yaml), SkipParser()]
)


def fences(page: Path) -> list[tuple[str, str]]:
    """(what stands behind the fence, the block)."""
    document = Document(page.read_text(encoding="utf-8"), str(page))
    regions = RawFencedCodeBlockLexer(re.compile(r"(?P<info>[^\n]*)\n"))(document)
    return [(region.lexemes["info"], region.lexemes["source"]) for region in regions]


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


# -------------------------------------------------------------------- what a page finds there


def runs_of_a_reader() -> None:
    """Three runs, as `python train.py` with and without a config leaves them, but shorter; a published agent; images of
    another size.
    """
    few = [
        "--training.episodes",
        "128",
        "--training.batch",
        "64",
        "--evaluation.controls=[]",
        "--evaluation.signal",
        "0",
        "--run.threads",
        "1",
    ]
    few += ["--evaluation.votes", "1", "--run.pictures", "0", "--run.tensorboard", "false"]
    for name in ("default", "cluttered60_hard_best_8", "cluttered60_stn_8"):
        assert main(["train", name, "--images.source", "digits", *few]) == 0
    agent = Path("results", "agents", "cluttered60_hard_reinforce_6")
    shutil.copytree(ROOT / agent, agent)
    rng = np.random.default_rng(0)
    np.savez("my_canvases.npz", images=rng.integers(0, 256, (20, 80, 90), np.uint8), labels=np.arange(20) % 10)


def images_of_a_reader() -> None:
    make_photographs(Path("photos"), largest=160)
    make_garments(Path("fashion"))


def search_of_a_reader() -> None:
    best = Path("runs", "cluttered60_hard_best_8_search", "best.yaml")
    best.parent.mkdir(parents=True)
    best.write_text(dump_config(load_config(Path("configs", "cluttered60_hard_best_8.yaml"))))


NEEDED = {
    "docs/stable_baselines3.md": find_spec("sb3_contrib") is not None,  # RecurrentPPO
}
FOUND: dict[str, Callable[[], None]] = {
    "README.md": runs_of_a_reader,
    "docs/own_images.md": images_of_a_reader,
    "docs/search.md": search_of_a_reader,
}


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the repository's configs alone, no MNIST; what a command changes of torch is put back."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.setenv("RAM_AGENT_DATA", str(tmp_path))
    monkeypatch.setattr(examine, "LIMIT", 0.1)  # seconds after which `compare` begins no further round
    with torch_as_it_was():
        yield tmp_path


def tried(examples: Iterable[Example]) -> list[str]:
    """The reasons of those that are skipped."""
    reasons = []
    for example in examples:
        try:
            example.evaluate()
        except SkipTest as skip:
            reasons.append(str(skip))
    return reasons


# -------------------------------------------------------------------- the pages


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_block_is_tried_or_says_why_not(page: Path, workplace: Path) -> None:
    if not NEEDED.get(named(page), True):
        pytest.skip("needs an extra, or a newer torch")
    document = SYBIL.parse(page)
    examples = list(document.examples())
    if not examples:
        return
    FOUND.get(named(page), lambda: None)()
    reasons = tried(examples)
    assert len(reasons) == SKIPPED.get(named(page), 0)
    assert all(reasons)
    if page.name == "own_images.md":
        tutorial_went_through(workplace, document.namespace["done"])


def tutorial_went_through(folder: Path, done: list[tuple[str, str]]) -> None:
    """Every command was run as it stands, none read alone; both roads end in an export with their classes."""
    assert [how for how, _ in done] == ["run"] * len(done)
    animals, garments = (folder / name / "README.md" for name in ("animals", "garments"))
    assert "3 classes: fox, frog, owl." in animals.read_text()
    assert "3 classes: T-shirt/top, Trouser, Pullover." in garments.read_text()
    files = ("confusion.png", "garments.png", "looked_at/glimpse_paths.gif", "runs/fashion/figures/glimpse_strip.png")
    assert all((folder / file).is_file() for file in files)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_no_block_is_of_a_kind_that_nobody_tries(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = fences(page)
    assert {info for info, _ in found} <= LANGUAGES
    for info, block in found:
        if info == "text":
            assert not COMMAND.search(block), block
    directives = len(re.findall("^<!-- skip:", text, re.MULTILINE))
    assert len(list(SYBIL.parse(page).examples())) == len([info for info, _ in found if info != "text"]) + directives
    unfenced = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    assert not re.search(r"\n\n {4,}\S", unfenced), "a block without a fence, which nobody tries"


def test_every_module_for_others_to_import_has_one_place_in_the_reference() -> None:
    """The command line and the benchmarks are not for import."""
    pages = (ROOT / "docs" / "reference").glob("*.md")
    named = [module for page in pages for module in re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE)]
    files = [file.relative_to(ROOT) for package in ("ram_agent", "envs") for file in (ROOT / package).rglob("*.py")]
    modules = [".".join(file.with_suffix("").parts) for file in files if not file.name.startswith("__")]
    packages = [file for file in files if file.name == "__init__.py" and "__all__" in (ROOT / file).read_text()]
    modules += [".".join(file.parent.parts) for file in packages]
    assert sorted(named) == sorted(name for name in modules if not re.match(r"ram_agent\.(cli|bench)\.", name))


# -------------------------------------------------------------------- whether a mistake on a page is found


@pytest.mark.parametrize(
    ("language", "block"),
    [
        ("python", "1 / 0"),
        ("sh", "ram-agent train default --images.sorce digits"),
        ("sh", "python train.py configs/cluttered60_sttn.yaml"),
        ("sh", "python train.py configs/cluttered60_stn.yaml \\\n    --scene.height 2"),
        ("sh", "ram-agent evaluate runs/none"),
        ("sh", "ram-agent sweep table_nothing"),
        ("sh", "ram-agent search default --space soft"),
        ("sh", "ram-agent bench sensors"),
        ("sh", "make tea"),
        ("sh", "pip install 'ram-agent[everything]'"),
        ("sh", "python -m ram_agents"),
        ("sh", "ls"),  # neither harmless by its name nor one of those that are not run
        ("yaml", "scene: {hieght: 30}"),
        ("yaml", "training.momentum: {choice: [1, 2]}"),
    ],
)
def test_a_mistake_on_a_page_is_found(language: str, block: str, workplace: Path) -> None:
    page = workplace / "page.md"
    page.write_text(f"Some text.\n\n```{language}\n{block}\n```\n")
    with pytest.raises((Exception, SystemExit)):
        tried(SYBIL.parse(page).examples())
    page.write_text(f'Some text.\n\n<!-- skip: next "not today" -->\n\n```{language}\n{block}\n```\n')
    assert tried(SYBIL.parse(page).examples()) == ["not today"]
