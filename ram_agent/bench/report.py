"""What was measured: tables, as Markdown and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ram_agent.bench.settings import Settings
from ram_agent.machine import machine
from ram_agent.timing import Cell, Spread, show


@dataclass(frozen=True)
class Table:
    """Numbers of one kind. Ratios come first, behind the columns that name the row."""

    section: str
    title: str
    note: str
    """What was measured and how; what the ratios are against."""
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.columns) for row in self.rows), self.title

    def records(self) -> list[dict[str, Cell]]:
        """The rows by the names of the columns."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def heading(settings: Settings) -> str:
    """On what and how everything below was measured."""
    facts = ", ".join(f"{name} {value}" for name, value in machine(settings.device).items())
    how = f"Medians of up to {settings.rounds} rounds in turn, quartiles in brackets."
    if settings.smoke:
        how += " A smoke test: sizes are tiny, the numbers mean nothing."
    return f"{facts}.\n{how}"


def markdown(table: Table) -> str:
    """A table under its title and note, an empty line in front."""
    lines = ["", f"### {table.title}", "", table.note, ""]
    lines += ["| " + " | ".join(table.columns) + " |", "|" + "---|" * len(table.columns)]
    lines += ["| " + " | ".join(map(show, row)) + " |" for row in table.rows]
    return "\n".join(lines)


def as_json(tables: Sequence[Table], settings: Settings) -> dict[str, Any]:
    """The same as plain values; a spread is median, low (first quartile) and high (third)."""
    return {
        "machine": machine(settings.device),
        "rounds": settings.rounds,
        "smoke": settings.smoke,
        "tables": [
            {
                "section": table.section,
                "title": table.title,
                "note": table.note,
                "rows": [
                    {name: asdict(cell) if isinstance(cell, Spread) else cell for name, cell in record.items()}
                    for record in table.records()
                ],
            }
            for table in tables
        ],
    }
