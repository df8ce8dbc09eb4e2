"""Tables as Markdown and as JSON, and the settings behind them."""

import json
from pathlib import Path

import pytest
import torch

from ram_agent.bench import suite
from ram_agent.bench.report import Table, as_json, heading, markdown
from ram_agent.bench.settings import Settings
from ram_agent.timing import Spread, show

SETTINGS = Settings(torch.device("cpu"))
TABLE = Table("sensor", "Sensor", "A note.", ("name", "ratio", "rate"), (("a", 1.0, Spread(2.0, 1.5, 3000.0)),))


def test_a_table_is_markdown_under_the_facts_of_the_machine() -> None:
    facts, rounds = heading(SETTINGS).splitlines()
    for fact in (f"threads {torch.get_num_threads()}", f"torch {torch.__version__}", "device cpu", "cores "):
        assert fact in facts
    assert "15 rounds" in rounds
    expected = ["", "### Sensor", "", "A note.", "", "| name | ratio | rate |", "|---|---|---|"]
    assert markdown(TABLE).splitlines() == [*expected, "| a | 1.00 | 2.00 (1.50 to 3,000) |"]


def test_json_holds_the_same_numbers_unrounded_by_name() -> None:
    written = json.loads(json.dumps(as_json([TABLE], SETTINGS), allow_nan=False))
    assert written["machine"]["threads"] == torch.get_num_threads()
    assert written["machine"]["processor"]
    rows = [{"name": "a", "ratio": 1.0, "rate": {"median": 2.0, "low": 1.5, "high": 3000.0}}]
    assert written["tables"] == [{"section": "sensor", "title": "Sensor", "note": "A note.", "rows": rows}]


@pytest.mark.parametrize(
    ("cell", "text"),
    [(None, ""), (1234567, "1,234,567"), (1234.5, "1,234"), (0.012345, "0.0123"), (12.0, "12.0"), ("x", "x")],
)
def test_cells_show_three_digits(cell: str | int | float | None, text: str) -> None:
    assert show(cell) == text


def test_sections_run_in_their_own_order_all_of_them_where_none_is_named() -> None:
    assert suite.check([], None) == list(suite.SECTIONS)
    assert suite.check(["memory", "sensor"], "some.png") == ["sensor", "memory"]
    with pytest.raises(ValueError, match=r"section senor: expected one of sensor, .* \(did you mean sensor\?\)"):
        suite.check(["senor"], None)
    with pytest.raises(ValueError, match="--plot"):
        suite.check(["memory"], "some.png")


def test_what_was_measured_survives_an_interruption(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(settings: Settings) -> list[Table]:
        raise KeyboardInterrupt

    monkeypatch.setattr(suite, "SECTIONS", {"sensor": lambda settings: [TABLE], "memory": interrupted})
    pieces = suite.run(["sensor", "memory"], SETTINGS, str(tmp_path / "bench.json"))
    assert [next(pieces), next(pieces)] == [heading(SETTINGS), markdown(TABLE)]
    with pytest.raises(KeyboardInterrupt):
        next(pieces)
    assert [table["title"] for table in json.loads((tmp_path / "bench.json").read_text())["tables"]] == ["Sensor"]


@pytest.mark.parametrize(("name", "value"), [("threads", 0), ("rounds", 0), ("updates", 1), ("batch", 0)])
def test_settings_that_make_no_sense_are_refused_by_name(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"--{name}: expected .* or more, got {value}"):
        Settings(torch.device("cpu"), **{name: value})
