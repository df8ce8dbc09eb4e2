"""Which code made a number is told apart where its version is the same, and told as it was at the beginning."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from ram_agent import __version__, experiment, provenance, results
from ram_agent.cli import main
from ram_agent.compare.errors import how_to_read
from ram_agent.compare.gather import gather
from ram_agent.compare.methods import group
from ram_agent.compare.subjects import Subject
from ram_agent.provenance import commit_of, digest
from ram_agent.results import versions

ROOT = Path(__file__).parents[2]


@pytest.fixture
def asked_anew() -> Iterator[None]:
    """As in a process that has just begun."""
    provenance.code.cache_clear()
    yield
    provenance.code.cache_clear()


def package(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


# -------------------------------------------------------------------- the digest


def test_the_digest_is_that_of_the_code_wherever_it_lies_and_of_nothing_else(tmp_path: Path) -> None:
    here = package(tmp_path / "here" / "ours", core="a", eye__crop="b")
    there = package(tmp_path / "there" / "ours", eye__crop="b", core="a")
    (there / "__pycache__").mkdir()
    (there / "__pycache__" / "core.pyc").write_text("c")
    (there / ".#core.py").symlink_to("an editor's lock, which leads nowhere")
    assert digest([here]) == digest([there])
    assert len(digest([here])) == 12


@pytest.mark.parametrize(
    "files",
    [
        {"core": "a ", "eye__crop": "b"},
        {"cores": "a", "eye__crop": "b"},
        {"core": "a", "crop": "b"},
        {"core": "a"},
        {"core": "b", "eye__crop": "a"},
        {"core": "a", "eye__crop": "b", "empty": ""},
    ],
    ids=str,
)
def test_every_change_of_the_code_is_another_digest(files: dict[str, str], tmp_path: Path) -> None:
    one = package(tmp_path / "one" / "ours", core="a", eye__crop="b")
    other = package(tmp_path / "other" / "ours", **files)
    assert digest([one]) != digest([other])


def test_results_name_the_code_of_both_packages_and_the_version_without_an_install(
    asked_anew: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.setattr(results, "version", nothing)
    found = versions()
    assert (found["ram-agent"], found["numpy"]) == (__version__, "not installed")
    assert found["code"] == digest([ROOT / "ram_agent", ROOT / "envs"])
    assert found.get("commit") == commit_of(ROOT)


def test_without_the_environments_it_is_the_digest_of_the_agent(
    asked_anew: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = provenance.find_spec
    monkeypatch.setattr(provenance, "find_spec", lambda name: None if name == "envs" else there(name))
    assert versions()["code"] == digest([ROOT / "ram_agent"])


def test_a_run_names_the_code_that_it_began_with(
    asked_anew: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training takes hours, in which somebody goes on working."""

    def train(*arguments: object, **settings: object) -> None:
        monkeypatch.setattr(provenance, "digest", lambda packages: "changed")
        raise RecursionError("begun, and that is enough")

    monkeypatch.setattr(experiment, "train_agent", train)
    with pytest.raises(RecursionError, match="begun"):
        main(["train", "smoke", "--run.folder", str(tmp_path / "run"), "--threads", "1"])
    assert versions()["code"] == digest([ROOT / "ram_agent", ROOT / "envs"])


# -------------------------------------------------------------------- the commit


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=b")
    command = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.skipif(not shutil.which("git"), reason="makes checkouts")
def test_the_commit_is_that_of_the_checkout_and_of_none_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout, beside = tmp_path / "checkout", tmp_path / "beside"
    checkout.mkdir()
    git(checkout, "init", "-q")
    assert commit_of(checkout) is None  # nothing committed yet
    git(checkout, "commit", "-q", "--allow-empty", "-m", "first")
    first = git(checkout, "rev-parse", "HEAD")
    assert commit_of(checkout) == first
    git(checkout, "worktree", "add", "-q", str(beside))
    git(beside, "commit", "-q", "--allow-empty", "-m", "second")
    git(checkout, "pack-refs", "--all")
    assert (commit_of(checkout), commit_of(beside)) == (first, git(beside, "rev-parse", "HEAD"))
    (checkout / "site-packages").mkdir()
    assert commit_of(checkout / "site-packages") is None
    monkeypatch.setenv("PATH", os.devnull)
    assert commit_of(checkout) is None


# -------------------------------------------------------------------- in a comparison


@pytest.mark.parametrize(
    ("codes", "said"), [("aa", False), ("ab", True), ("-a", False), ("--", False), ("-ab", True)], ids=str
)
def test_a_comparison_says_where_seeds_of_one_method_were_made_by_different_code(
    codes: str, said: bool, tmp_path: Path
) -> None:
    """Runs of before there were digests do not know theirs."""
    for seed, letter in enumerate(codes):
        folder = tmp_path / str(seed)
        folder.mkdir()
        (folder / "config.yaml").write_text(f"name: hard\nrun: {{seed: {seed}}}\n")
        told = {"ram-agent": "0.1.0"} | ({} if letter == "-" else {"code": letter * 12})
        (folder / "results.json").write_text(json.dumps({"interrupted": True, "versions": told}))
    (method,) = group(gather([tmp_path / str(seed) for seed in range(len(codes))]).runs)
    assert ("Not all seeds were trained by the same code" in how_to_read([Subject(method)])) == said
    assert (": hard." in how_to_read([Subject(method)])) == said
