"""Tables of the documentation, read for the tests that hold them to the raw results."""

import re
from collections.abc import Iterator
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "results.md"


def cells_by_glimpses() -> Iterator[tuple[tuple[str, str, int], str]]:
    """The table "By number of glimpses": task, method or whose figures, and glimpses; what stands there."""
    page = PAGE.read_text(encoding="utf-8").partition("**By number of glimpses**")[2]
    lines = [line for line in page.partition("![")[0].splitlines() if line.startswith("| ")]
    (_, _, *columns), *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    task = ""
    for first, who, *cells in rows:
        task = first.rpartition("(")[2].strip("`)") or task
        method = re.findall(r"\(`(\w+)`\)$", who) or [who.removeprefix("hard, ")]
        for column, cell in zip(columns, cells, strict=True):
            if cell:
                yield (task, method[0], int(column.split()[0])), cell
