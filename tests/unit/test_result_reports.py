"""The reports that hold our rows against one another say what their raw results do."""

import re
from pathlib import Path
from runpy import run_path

import pytest

from ram_agent.compare.comparison import compare
from ram_agent.compare.gather import gather
from ram_agent.compare.methods import group

ROOT = Path(__file__).parents[2]
REPORTS = run_path(str(ROOT / "results" / "reports.py"))


def errors_and_pairs(report: str) -> tuple[list[list[str]], list[str]]:
    """The rows of the first table without what takes weights to be known; the sentences about pairs."""
    errors, pairs = (
        report.split(f"## {heading}")[1].split("\n## ")[0] for heading in ("Test error", "Which is better")
    )
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in errors.splitlines() if line.startswith("|")]
    known = [number for number, name in enumerate(rows[0]) if name != "parameters"]
    return [[row[number] for number in known] for row in rows], [
        line for line in pairs.splitlines() if line[:2] == "- "
    ]


@pytest.mark.parametrize("name", REPORTS["REPORTS"])
def test_a_report_is_that_of_today_s_results(name: str, tmp_path: Path) -> None:
    """Otherwise: python results/reports.py"""
    files = [ROOT / path for path in REPORTS["compared"](name)]
    compare(gather(files), None, tmp_path)
    made = errors_and_pairs((tmp_path / "comparison.md").read_text(encoding="utf-8"))
    assert errors_and_pairs((ROOT / "results" / name / "compare" / "comparison.md").read_text(encoding="utf-8")) == made
    rows, pairs = made
    assert len(rows) > 5
    methods = len(rows) - 2  # two lines are the header
    assert len(pairs) == methods * (methods - 1) / 2


@pytest.mark.parametrize("name", REPORTS["REPORTS"])
def test_a_report_has_every_seed_of_every_row_and_what_is_to_stand_beside_them(name: str) -> None:
    """As rows.yaml names them; each method once."""
    runs = gather([ROOT / path for path in REPORTS["compared"](name)]).runs
    task, _, glimpses = name.partition("_")
    of_task = [
        row for config, row in REPORTS["ROWS"]["measured"].items() if re.match(rf"{task}_.*_{glimpses}$", config)
    ]
    expected = [
        (row, seed, role or "learned")
        for row, _, role in (entry.partition(":") for entry in (*of_task, *REPORTS["ROWS"]["beside"].get(name, [])))
        for seed in (1, 2, 3)
        if (ROOT / "results" / f"{row}_seed{seed}.json").exists()
    ]
    assert sorted((run.config.run.seed, run.role) for run in runs) == sorted((seed, role) for _, seed, role in expected)
    methods = group(runs)
    assert len(methods) == len({(row, role) for row, _, role in expected})
    assert not any(method.doubles for method in methods)
