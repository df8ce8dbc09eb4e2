"""Results that stand in the README's tables are of the configs as they are, not as they once were."""

import json
from pathlib import Path
from typing import Any

import pytest

from ram_agent.cli.folders import find_config
from ram_agent.config import Config, load_config
from ram_agent.table import read_jobs

ROOT = Path(__file__).parents[2]
RESULTS, TABLES = ROOT / "results", ROOT / "configs" / "tables"
ROWS = {
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


@pytest.mark.parametrize("table", ["algorithms60", "estimators60"])
def test_a_table_that_is_measured_is_the_table_as_it_stands(table: str) -> None:
    jobs = read_jobs(TABLES / f"table_{table}.yaml", Path("out"), 1, find_config)
    asked = {f"{job.row}_seed{job.seed}.json": job.config for job in jobs}
    for path in (RESULTS / table).glob("*.json"):
        assert learning(load_config(path)) == learning(asked[path.name]), path.name
        assert json.loads(path.read_text())["dataset"]["name"] == "mnist"
