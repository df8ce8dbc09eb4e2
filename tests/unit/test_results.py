"""Results that stand in the README's tables are of the configs as they are, not as they once were."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from ram_agent.cli.folders import find_config
from ram_agent.compare.statistics import interval_over_seeds
from ram_agent.config import Config, load_config
from ram_agent.table import read_jobs

ROOT = Path(__file__).parents[2]
RESULTS, TABLES = ROOT / "results", ROOT / "configs" / "tables"
ROWS = {
    "translated60_8/hard_best": "translated60_hard_best_8",
    "cluttered60_8/hard_best_1200k_lookahead": "cluttered60_hard_best_8",
    "cluttered60_8/gaussian_1200k_lookahead": "cluttered60_gaussian_8",
    "cluttered60_8/stn_1200k_lookahead": "cluttered60_stn_8",
    "cluttered60_8/hard_reinforce_1200k": "cluttered60_hard_reinforce_8",
    "cluttered100_8/hard_best_1200k_lookahead": "cluttered100_hard_best_8",
    "cluttered100_8/gaussian_1200k_lookahead": "cluttered100_gaussian_8",
    "cluttered100_8/stn_1200k_lookahead": "cluttered100_stn_8",
    "cluttered100_8/hard_reinforce_1200k": "cluttered100_hard_reinforce_8",
    "mnist28_6/hard_best_1200k_scan": "mnist28_hard_best_6",
    "mnist28_6/hard_reinforce_1200k_scan": "mnist28_hard_reinforce_6",
    "mnist28_7/hard_best": "mnist28_hard_best_7",
}
"""What is measured over three seeds → its config."""
SINGLE = {
    "cluttered100_6/hard_best": "cluttered100_hard_best_6",
    "cluttered100_4/hard_best": "cluttered100_hard_best_4",
    "cluttered100_6/hard_reinforce": "cluttered100_hard_reinforce_6",
    "cluttered100_4/hard_reinforce": "cluttered100_hard_reinforce_4",
    "translated60_4/hard_best": "translated60_hard_best_4",
    "cluttered60_8/draw": "cluttered60_draw_8",
    "cluttered100_8/draw": "cluttered100_draw_8",
    "cluttered60_6/hard_best": "cluttered60_hard_best_6",
    "mnist28_7/hard_reinforce": "mnist28_hard_reinforce_7",
    "mnist28_5/hard_reinforce": "mnist28_hard_reinforce_5",
    "mnist28_4/hard_reinforce": "mnist28_hard_reinforce_4",
    "mnist28_3/hard_reinforce": "mnist28_hard_reinforce_3",
    "cluttered60_8/hard_paper_6000k": "cluttered60_hard_paper_8",
    "mnist28_2/hard_reinforce": "mnist28_hard_reinforce_2",
    "cluttered60_6/hard_reinforce": "cluttered60_hard_reinforce_6",
    "cluttered60_4/hard_best": "cluttered60_hard_best_4",
    "cluttered60_4/hard_reinforce": "cluttered60_hard_reinforce_4",
    "mnist28_2/hard_best": "mnist28_hard_best_2",
    "mnist28_3/hard_best": "mnist28_hard_best_3",
    "mnist28_4/hard_best": "mnist28_hard_best_4",
    "mnist28_5/hard_best": "mnist28_hard_best_5",
    "translated60_8/hard_reinforce_2400k": "translated60_hard_reinforce_8",
}
"""What is measured once → its config."""


def learning(config: Config) -> dict[str, Any]:
    """What an agent learns by. Votes are bookkeeping, and a precision that was `fastest` is what it came to."""
    tree = config.model_dump(mode="json", exclude={"name", "images", "evaluation", "run"})
    del tree["training"]["precision"]
    return tree


@pytest.mark.parametrize(("row", "name"), ROWS.items())
def test_a_row_that_is_measured_is_its_config_as_it_stands(row: str, name: str) -> None:
    for seed in (1, 2, 3):
        ran = load_config(RESULTS / f"{row}_seed{seed}.json")
        assert learning(ran) == learning(load_config(find_config(name)))
        assert ran.run.seed == seed


@pytest.mark.parametrize(("row", "name"), SINGLE.items())
def test_a_row_of_one_seed_is_its_config_as_it_stands(row: str, name: str) -> None:
    ran = load_config(RESULTS / f"{row}_seed1.json")
    assert learning(ran) == learning(load_config(find_config(name)))


@pytest.mark.parametrize("table", ["algorithms60", "estimators60", "recipe"])
def test_a_table_that_is_measured_is_the_table_as_it_stands(table: str) -> None:
    jobs = read_jobs(TABLES / f"table_{table}.yaml", Path("out"), 1, find_config)
    asked = {f"{job.row}_seed{job.seed}.json": job.config for job in jobs}
    measured = sorted((RESULTS / table).glob("*.json"))
    assert len(measured) >= 9
    for path in measured:
        assert learning(load_config(path)) == learning(asked[path.name]), path.name
        assert json.loads(path.read_text())["dataset"]["name"] == "mnist"


def header(name: str) -> str:
    lines = find_config(name).read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if line.startswith("#"))


@pytest.mark.parametrize(("row", "name"), ROWS.items())
def test_headers_and_tables_have_the_mean_of_three_seeds(row: str, name: str) -> None:
    errors = [json.loads((RESULTS / f"{row}_seed{seed}.json").read_text())["test_error"] for seed in (1, 2, 3)]
    interval = interval_over_seeds(errors)
    assert interval is not None
    low, high = interval
    for said in (f"{mean(errors):.2f}", f"{low:.2f} to {high:.2f}", *(f"{error:.2f}" for error in errors)):
        assert said in header(name)
    for page in ("README.md", "docs/results.md"):
        lines = [line for line in (ROOT / page).read_text(encoding="utf-8").splitlines() if f"`{name}` " in line]
        assert any(f"**{mean(errors):.2f}** ({low:.2f} to {high:.2f}), three seeds" in line for line in lines)


@pytest.mark.parametrize(("row", "name"), SINGLE.items())
def test_the_header_of_a_row_of_one_seed_has_its_error_and_interval(row: str, name: str) -> None:
    raw = json.loads((RESULTS / f"{row}_seed1.json").read_text())
    low, high = raw["test_error_ci95"]
    voted = [f"10-vote {raw['test_error_voted']:.2f}"] * (raw["config"]["sensor"]["kind"] == "crop")
    for said in (f"{raw['test_error']:.2f} ({low:.2f} to {high:.2f})", "seed 1", *voted):  # a soft gaze votes alike
        assert said in header(name)


def test_the_table_of_changes_has_the_error_of_every_seed() -> None:
    """docs/recipe.md: a line names its row of `table_recipe`, whose raw results are in results/recipe."""
    page = (ROOT / "docs" / "recipe.md").read_text(encoding="utf-8")
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines()]
    said = {name[0]: cells[1:3] for cells in lines if (name := re.findall(r"\(`([\w.]+)`\)$", cells[0]))}
    asked = {job.row for job in read_jobs(TABLES / "table_recipe.yaml", Path("out"), 1, find_config)}
    raw = RESULTS / "recipe"
    rows = {path.stem.rpartition("_")[0] for path in raw.glob("*.json")}
    elsewhere = {"straight_through", "reinforce", "reinforce_learned", "reinforce_two_episodes", "stn", "gaussian"}
    assert rows == asked - elsewhere
    assert asked - {"gaussian"} <= said.keys()
    for row in rows:
        files = [raw / f"{row}_seed{seed}.json" for seed in (1, 2, 3)]
        errors = [json.loads(file.read_text())["test_error"] for file in files]
        interval = interval_over_seeds(errors)
        assert interval
        over = f"({interval[0]:.2f} to {interval[1]:.2f})"
        assert said[row] == [", ".join(f"{error:.2f}" for error in errors), f"{mean(errors):.2f} {over}"]


def told() -> Iterator[tuple[Path, dict[str, str]]]:
    """Each run that has a line in results/README.md, and what stands there by column. A control's is another file's."""
    folders: list[str] = []
    columns: list[str] = []
    for line in (RESULTS / "README.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip().strip("*") for cell in line.strip("|").split("|")]
        if line.startswith("## "):
            folders = re.findall(r"`(\w+)/`", line)
        elif line.startswith("| run |"):
            columns = cells
        elif not line.startswith("|"):
            columns = []
        elif columns and not line.startswith("|---") and "control" not in cells[0]:
            names = [cells[0]] if "/" in cells[0] else [f"{folder}/{cells[0]}" for folder in folders]
            (path,) = [RESULTS / f"{name}.json" for name in names if (RESULTS / f"{name}.json").exists()]
            yield path, dict(zip(columns[2:], cells[2:], strict=True))


def test_every_line_of_the_results_says_what_the_raw_file_says() -> None:
    """A cell may be empty, or say more after its numbers."""
    lines = list(told())
    assert len(lines) >= 80
    for path, cells in lines:
        raw = json.loads(path.read_text(encoding="utf-8"))
        known = {
            "test error": [raw["test_error"], *raw["test_error_ci95"]],
            "sampled": [raw["test_error_sampled"]],
            "10-vote": [raw["test_error_voted"]],
            "after each glimpse": raw["error_by_glimpse"],
            "parameters": [raw["parameters"]],
            "seconds": [raw["seconds"]],
        }
        for column, cell in cells.items():
            numbers = [each.replace(",", "") for each in re.findall(r"\d[\d,]*(?:\.\d+)?", cell)]
            for said, true in zip(numbers, known[column] if numbers else [], strict=True):
                digits = len(said.partition(".")[2])
                assert abs(float(said) - true) <= 0.5001 * 10**-digits, f"{path.name}, {column}: {said}, raw {true}"
