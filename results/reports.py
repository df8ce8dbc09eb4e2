"""Hold the rows of the tables against one another: `python results/reports.py [OPTION …]`, options of `compare`.

Writes `results/<task>_<glimpses>/compare/` for the longest rows of every task, from the raw results that lie beside it:
no weights are needed, and images (see `RAM_AGENT_DATA`) only for what an image costs.
"""

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


def compared(report: str) -> list[str]:
    """The results of every row of a task and a number of glimpses, and its controls, as `compare` takes them."""
    task, glimpses = report.split("_")
    rows = [row for config, row in ROWS["measured"].items() if config.startswith(f"{task}_") and config[-1] == glimpses]
    files = [file for row in rows for file in sorted(RESULTS.glob(f"{row}_seed?.json"))]
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
