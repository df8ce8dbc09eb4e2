"""Hold the rows of the tables against one another: `python results/reports.py [OPTION …]`, options of `compare`.

Writes `results/<task>_<glimpses>/compare/` for the longest rows of every task, from the raw results that lie beside it
and the agents that are published with their weights, whose gaze is drawn. Images: see `RAM_AGENT_DATA`.
"""

import json
import os
import sys
from pathlib import Path

import yaml

from ram_agent.cli import main

RESULTS = Path(__file__).resolve().parent
ROWS = yaml.safe_load((RESULTS / "rows.yaml").read_text(encoding="utf-8"))
REPORTS = ("mnist28_6", "translated60_8", "cluttered60_8", "cluttered100_8")
LEFT_OUT = ("comparison.html", "comparison.json")
"""Larger than the rest, and made anew in a minute."""


def published(file: Path) -> Path:
    """The agent of these results, where it is published with its weights; else the results."""
    results = json.loads(file.read_text(encoding="utf-8"))
    agent = RESULTS / "agents" / results["name"]
    if not agent.is_dir():
        return file
    its = json.loads((agent / "results.json").read_text(encoding="utf-8"))
    return agent if (its["seed"], its["seconds"]) == (results["seed"], results["seconds"]) else file


def compared(report: str) -> list[str]:
    """The results of every row of a task and a number of glimpses, and its controls, as `compare` takes them."""
    task, glimpses = report.split("_")
    rows = [row for config, row in ROWS["measured"].items() if config.startswith(f"{task}_") and config[-1] == glimpses]
    files = [published(file) for row in rows for file in sorted(RESULTS.glob(f"{row}_seed?.json"))]
    controls = [
        f"{RESULTS / report / file}.json:{role}"
        for file, roles in ROWS["controls"].get(report, {}).items()
        for role in roles
    ]
    return [os.path.relpath(path, RESULTS.parent) for path in (*files, *controls)]


if __name__ == "__main__":
    os.chdir(RESULTS.parent)
    for report in REPORTS:
        out = Path("results", report, "compare")
        if status := main(["compare", *compared(report), "--out", str(out), *sys.argv[1:]]):
            raise SystemExit(status)
        for file in LEFT_OUT:
            (out / file).unlink()
