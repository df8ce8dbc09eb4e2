"""A run that is to be replaced goes, and nothing that is not of it."""

from difflib import SequenceMatcher
from fnmatch import fnmatch
from pathlib import Path, PurePath

import pytest

from ram_agent.cli.folders import find_config, new_run_folder
from ram_agent.config import Config, ConfigError, load_config, parse_config
from ram_agent.config_layers import SHIPPED
from ram_agent.run_files import IDENTITY, WRITTEN

OF_A_RUN = (
    *("config.yaml", "NOTICE.txt", "metrics.csv", "results.json", "events.out.tfevents.1.vm.2.0", ".DS_Store"),
    IDENTITY,
    *("checkpoints/agent.pt", "controls/random/metrics.csv", "figures/glimpse_paths.png", ".results.json.0123abcd"),
)


def test_every_kind_of_file_of_a_run_is_tried() -> None:
    assert all(any(PurePath(name).parts[0] == kind or fnmatch(name, kind) for name in OF_A_RUN) for kind in WRITTEN)


def test_a_folder_of_ones_own_does_not_hide_the_config_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ram-agent train photographs --images.source photographs`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photographs").mkdir()
    assert load_config(find_config("photographs")).images.size == (64, 64)
    (tmp_path / "smoke").write_text("{}")
    assert find_config("smoke") == Path("smoke")


@pytest.mark.parametrize(
    ("name", "below"),
    [("configs/smoke.yaml", "."), ("configs/table_smoke.yaml", "tables"), ("configs/hard.yaml", "spaces")],
)
def test_what_is_shipped_may_be_named_as_if_it_lay_here(
    name: str, below: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config(name, "config", below) == SHIPPED / below / Path(name).name
    with pytest.raises(ConfigError, match="no such file"):
        find_config(f"other/{name}", "config", below)
    (tmp_path / "configs").mkdir()
    (tmp_path / name).write_text("{}")
    assert find_config(name, "config", below) == Path(name)


@pytest.mark.parametrize("asked", ["nosuch", "cluttered60_hard_bst_6"])
def test_a_name_that_there_is_not_is_told_one_of_each_task_the_nearest_first(asked: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find_config(asked)
    said, _, named = str(caught.value).partition(" shipped: ")
    names = named.split(", ")
    tasks = {"mnist28", "translated60", "cluttered60", "cluttered100", "default", "photographs", "smoke", "sb3"}
    assert {name.partition("_")[0] for name in names} == tasks
    assert len(names) == len(tasks)
    assert said.endswith(f"the nearest of each task, of the {len(list(SHIPPED.glob('*.yaml')))}")
    alike = [SequenceMatcher(None, name, asked).ratio() for name in names]
    assert alike == sorted(alike, reverse=True)
    assert asked == "nosuch" or names[0] == "cluttered60_hard_best_6"


@pytest.mark.parametrize(("kind", "below"), [("table", "tables"), ("space", "spaces")])
def test_where_there_are_few_all_are_told(kind: str, below: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find_config("nosuch", kind, below)
    said, _, named = str(caught.value).partition(" shipped: ")
    there = {file.stem for file in (SHIPPED / below).glob("*.yaml")}
    assert set(named.split(", ")) == there
    assert said.endswith(f"no such file; the {len(there)}")


def replacing(folder: Path) -> Config:
    return parse_config({"run": {"folder": str(folder), "overwrite": True}})


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("kept")


def test_a_run_is_replaced_with_all_that_it_wrote(tmp_path: Path) -> None:
    fill(tmp_path / "run", *OF_A_RUN)
    assert list(new_run_folder(replacing(tmp_path / "run")).iterdir()) == []


@pytest.mark.parametrize("stranger", ["thesis.tex", "src/a.py", "another_run/config.yaml", ".git/config", "notes"])
def test_what_no_run_wrote_keeps_all_of_it_and_is_named(stranger: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    fill(folder, *OF_A_RUN, stranger)
    with pytest.raises(
        ConfigError, match=f"holds {stranger.split('/')[0]}, which is not of a run; .*nothing was removed"
    ):
        new_run_folder(replacing(folder))
    assert all((folder / name).read_text() == "kept" for name in (*OF_A_RUN, stranger))
