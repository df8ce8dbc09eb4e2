"""Hold the rows of the tables against one another: `python results/reports.py [OPTION …]`, options of `compare`.

Writes `compare/` into the folder of every report, of the longest rows of each task, say, from the raw results that lie
there and the agents that are published with their weights, whose gaze is drawn. Images: see `RAM_AGENT_DATA`.
"""

import json
import os
import re
import sys
from pathlib import Path

import yaml

from ram_agent.cli import main

RESULTS = Path(__file__).resolve().parent
ROWS = yaml.safe_load((RESULTS / "rows.yaml").read_text(encoding="utf-8"))
REPORTS = ("mnist28_6", "translated60_8", "cluttered60_8", "cluttered100_8", "controls60")
"""Tasks with the number of their glimpses; and the controls of a short training."""
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
    """The results of every row of a task and a number of glimpses, and what is to stand beside them, for `compare`."""
    task, _, glimpses = report.partition("_")
    rows = [row for config, row in ROWS["measured"].items() if re.fullmatch(rf"{task}_\w+_{glimpses}", config)]
    found = []
    for entry in (*rows, *ROWS["beside"].get(report, [])):
        row, colon, role = entry.partition(":")
        for file in sorted(RESULTS.glob(f"{row}_seed?.json")):
            found.append(os.path.relpath(file if role else published(file), RESULTS.parent) + colon + role)
    return found


if __name__ == "__main__":
    os.chdir(RESULTS.parent)
    for report in REPORTS:
        out = Path("results", report, "compare")
        if status := main(["compare", *compared(report), "--out", str(out), *sys.argv[1:]]):
            raise SystemExit(status)
        for file in LEFT_OUT:
            (out / file).unlink()
