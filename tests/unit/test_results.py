"""Results that stand in the README's tables are of the configs as they are, not as they once were."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
import yaml

from ram_agent.cli.folders import find_config
from ram_agent.compare.statistics import SHOWN, between_seeds, holm, interval_over_seeds
from ram_agent.config import Config, TrainingConfig, load_config
from ram_agent.table import read_jobs
from tests.tables import cells_by_glimpses

ROOT = Path(__file__).parents[2]
RESULTS, TABLES = ROOT / "results", ROOT / "configs" / "tables"
INDEX = yaml.safe_load((RESULTS / "rows.yaml").read_text(encoding="utf-8"))
MEASURED: dict[str, str] = INDEX["measured"]
"""Config → its raw results, but for the seed."""
EARLIER: dict[str, dict[str, dict[int, float]]] = INDEX["earlier"]
"""Task → whose figures → glimpses → test error."""
SEEDS = {name: sorted(RESULTS.glob(f"{row}_seed?.json")) for name, row in MEASURED.items()}
THREE = [name for name, paths in SEEDS.items() if len(paths) == 3]
ONE = [name for name, paths in SEEDS.items() if len(paths) == 1]


def learning(config: Config) -> dict[str, Any]:
    """What an agent learns by. Votes are bookkeeping, and a precision that was `fastest` is what it came to."""
    tree = config.model_dump(mode="json", exclude={"name", "images", "evaluation", "run"})
    del tree["training"]["precision"]
    return tree


def test_a_row_is_measured_over_one_seed_or_three() -> None:
    assert sorted(THREE + ONE) == sorted(MEASURED)
    assert len(THREE) >= 12
    assert len(ONE) >= 22


@pytest.mark.parametrize("name", MEASURED)
def test_a_row_that_is_measured_is_its_config_as_it_stands(name: str) -> None:
    for seed, path in enumerate(SEEDS[name], start=1):
        ran = load_config(path)
        assert learning(ran) == learning(load_config(find_config(name)))
        assert ran.run.seed == seed


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


def errors_of(name: str) -> list[float]:
    return [json.loads(path.read_text())["test_error"] for path in SEEDS[name]]


@pytest.mark.parametrize("name", THREE)
def test_headers_and_tables_have_the_mean_of_three_seeds(name: str) -> None:
    errors = errors_of(name)
    interval = interval_over_seeds(errors)
    assert interval is not None
    low, high = interval
    for said in (f"{mean(errors):.2f}", f"{low:.2f} to {high:.2f}", *(f"{error:.2f}" for error in errors)):
        assert said in header(name)


def rows_of(page: str) -> Iterator[tuple[str, str, str]]:
    """The lines of a page's main table: config, the cell of its error, that of its sampled and its 10-vote error."""
    for line in (ROOT / page).read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 9 and (name := re.fullmatch(r"`(\w+)`", cells[7])):  # with a mark it has further options
            yield name[1], cells[5], cells[6]


@pytest.mark.parametrize("page", ["README.md", "docs/results.md"])
def test_the_main_table_of_a_page_says_what_the_raw_files_say(page: str) -> None:
    rows = list(rows_of(page))
    assert {name for name, *_ in rows} >= set(THREE)
    for name, error, others in rows:
        raw = [json.loads(path.read_text()) for path in SEEDS[name]]
        errors = [each["test_error"] for each in raw]
        interval = interval_over_seeds(errors) if len(raw) == 3 else raw[0]["test_error_ci95"]
        assert interval
        over = f"({interval[0]:.2f} to {interval[1]:.2f})"
        assert error == (
            f"**{mean(errors):.2f}** {over}, three seeds" if len(raw) == 3 else f"{mean(errors):.2f} {over}"
        )
        hard = raw[0]["config"]["sensor"]["kind"] == "crop"
        beside = (mean(each[f"test_error_{how}"] for each in raw) for how in ("sampled", "voted"))
        assert others == ("; ".join(f"{error:.2f}" for error in beside) if hard else ""), name


def test_the_first_table_of_the_readme_has_the_same_means() -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    tasks = {"cluttered 60×60": "cluttered60", "cluttered 100×100": "cluttered100",
             "translated 60×60": "translated60", "MNIST 28×28": "mnist28"}  # fmt: skip
    rows = re.findall(
        r"^\| ([^|,]+), (\d) glimpses‡? \|([^|]+)\|([^|]+)\|([^|]+)\|([^|]+)\|([^|]+)\|([^|]+)\|$", page, re.MULTILINE
    )
    assert [task for task, *_ in rows] == list(tasks)
    for task, glimpses, paper, public, like_paper, reinforce, straight, soft in rows:
        code, number = tasks[task], int(glimpses)
        figures = [float(cell.strip().removeprefix("about ")) for cell in (paper, public)]
        assert figures == [EARLIER[code][who][number] for who in ("RAM's paper", "best public")]
        gaussian, _, stn = soft.partition(",")
        for method, said in {"hard_paper": like_paper, "hard_reinforce": reinforce, "hard_best": straight,
                             "gaussian": gaussian, "stn": stn or soft}.items():  # fmt: skip
            name = f"{code}_{method}_{number}"
            error = f"{mean(errors_of(name)):.2f}" if name in MEASURED else "not measured"
            assert said.strip().startswith(error), name
            assert ("one seed" in said) == (name in ONE), name


def test_the_lead_after_the_second_glimpse_is_told_with_every_glimpse_that_might_have_been_picked() -> None:
    def after(glimpse: int, name: str) -> list[float]:
        return [json.loads(path.read_text())["error_by_glimpse"][glimpse - 1] for path in SEEDS[name]]

    pairs = [(task, soft, glimpse) for task in CLUTTERED for soft in ("gaussian", "stn") for glimpse in range(2, 9)]
    welch = [
        between_seeds(after(glimpse, f"{task}_hard_best_8"), after(glimpse, f"{task}_{soft}_8"))
        for task, soft, glimpse in pairs
    ]
    adjusted = dict(zip(pairs, holm([each.p for each in welch if each]), strict=True))
    shown = {pair: p for pair, p in adjusted.items() if p < SHOWN}
    assert list(shown) == [("cluttered100", "stn", 2), ("cluttered100", "stn", 3)]
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    told = page.partition(f"all {len(pairs)} read-outs")[2].partition("\n\n")[0]
    for p in (*shown.values(), adjusted["cluttered100", "gaussian", 2]):
        assert f"{p:.3f}" in told


def reward_of(training: TrainingConfig) -> str:
    paid = {"probability": "max(p(right) - 1/Y, 0)", "success": "0 or 1"}[training.reward]
    return f"{paid}, {training.reinforce_weight:g}"


def std_of(training: TrainingConfig) -> str:
    if training.method == "pathwise":
        return "none is drawn"
    return " to ".join(f"{std:g}" for std in (training.window_std, training.window_std_end) if std)


def scan_of(config: Config) -> str:
    if config.policy.scan:
        assert config.policy.scan == config.environment.glimpses - 1
        return "T - 1, from three glimpses on"
    return "0"


def by_reinforce(config: Config, value: str) -> str:
    return value if config.training.method == "reinforce" else "–"


def slope_of(config: Config) -> str:
    return "none" if config.training.method == "reinforce" else f"× {config.policy.window_gradient:g}"


SETTINGS = {
    "images an update × episodes at each": lambda c: f"{c.training.batch} × {c.training.episodes_per_image}",
    "`training.learning_rate`": lambda c: f"{c.training.learning_rate:g}",
    "`training.clip`, of the gradient's norm": lambda c: f"{c.training.clip:g}",
    "`environment.first_window`": lambda c: c.environment.first_window,
    "`training.window_std` of the moves": lambda c: std_of(c.training),
    "`training.lookahead`, windows tried": lambda c: str(c.training.lookahead),
    "`training.weight_average`, episodes": lambda c: f"{c.training.weight_average:,}",
    "`training.baseline`": lambda c: by_reinforce(c, c.training.baseline),
    "reward, its weight": lambda c: by_reinforce(c, reward_of(c.training)),
    "gradient of the glimpse into its window": slope_of,
    "gradient of the moves into the core (not `policy.detach_location`)": lambda c: (
        "no" if c.policy.detach_location else "yes"
    ),
    "`policy.scan`, moves that begin at places of their own": scan_of,
    "`sensor.reach`": lambda c: f"{c.sensor.reach:g}",
    "episodes": lambda c: f"{c.training.episodes / 1e6:g} M",
}
"""The lines of the table of settings in docs/results.md, and how each is written."""
CLUTTERED = ("cluttered60", "cluttered100")
BESIDES = {"MNIST 28×28": "mnist28", "translated": "translated60"}
"""What stands in brackets there where it is not as with clutter."""


def rows_with(task: str, method: str) -> list[Config]:
    """With every number of glimpses but two, of which a scan is the first look alone."""
    names = sorted(path.stem for path in (ROOT / "configs").glob(f"{task}_{method}_[3-8].yaml"))
    return [load_config(find_config(name)) for name in names]


def the_one(values: Iterator[str]) -> str:
    (value,) = set(values)
    return value


@pytest.mark.parametrize(
    ("column", "methods"),
    list(enumerate([["hard_best"], ["hard_reinforce"], ["gaussian", "stn", "draw"], ["hard_paper"]])),
)
def test_the_table_of_settings_has_what_the_configs_have(column: int, methods: list[str]) -> None:
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8").partition("## What the rows train with")[2]
    lines = [line for line in page.partition("\n## ")[0].splitlines() if line.startswith("| ")][1:]
    table = {name: cells for name, *cells in ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)}
    assert list(table) == list(SETTINGS)
    method, *others = methods
    rows = [config for task in CLUTTERED for config in rows_with(task, method)]
    besides = {title: [row for each in methods for row in rows_with(task, each)] for title, task in BESIDES.items()}
    for other in others:
        title = "DRAW's form" if other == "draw" else other
        besides[title] = [config for task in CLUTTERED for config in rows_with(task, other)]
    for name, say in SETTINGS.items():
        here = the_one(map(say, rows))
        exceptions = {title: the_one(map(say, configs)) for title, configs in besides.items() if configs}
        said = [f"{title}: {there}" for title, there in exceptions.items() if there != here]
        assert table[name][column] == here + (f" ({'; '.join(said)})" if said else ""), name


@pytest.mark.parametrize("name", ONE)
def test_the_header_of_a_row_of_one_seed_has_its_error_and_interval(name: str) -> None:
    raw = json.loads(SEEDS[name][0].read_text())
    low, high = raw["test_error_ci95"]
    voted = [f"10-vote {raw['test_error_voted']:.2f}"] * (raw["config"]["sensor"]["kind"] == "crop")
    for said in (f"{raw['test_error']:.2f} ({low:.2f} to {high:.2f})", "seed 1", *voted):  # a soft gaze votes alike
        assert said in header(name)


def test_the_table_by_glimpses_has_the_mean_of_every_row_that_is_measured_and_a_dash_where_none_is() -> None:
    expected = {}
    for name in (path.stem for path in (ROOT / "configs").glob("*.yaml")):
        for task, method, glimpses in re.findall(r"^([a-z]+\d+)_(hard_\w+|gaussian|stn)_(\d)$", name):
            error = f"{mean(errors_of(name)):.2f}" if name in MEASURED else "–"
            expected[task, method, int(glimpses)] = f"**{error}**" if name in THREE else error
    assert {key: cell for key, cell in cells_by_glimpses() if key[1] not in EARLIER["mnist28"]} == expected


def test_earlier_figures_are_the_same_in_the_pictures_the_table_and_the_configs() -> None:
    said = {key: cell for key, cell in cells_by_glimpses() if key[1] in EARLIER["mnist28"]}
    expected = {
        (task, who, glimpses): error
        for task, earlier in EARLIER.items()
        for who, errors in earlier.items()
        for glimpses, error in errors.items()
    }
    assert {key: float(cell.removeprefix("about ")) for key, cell in said.items()} == expected
    for (task, who, glimpses), cell in said.items():
        if who == "RAM's paper":
            assert f'"RAM, {glimpses} glimpses": {cell} %' in header(f"{task}_hard_best_{glimpses}")


ELSEWHERE = {
    "straight_through": "estimators60/straight_through",
    "reinforce": "estimators60/leave_one_out",
    "reinforce_learned": "estimators60/learned",
    "reinforce_two_episodes": "cluttered60_8/reinforce_100k_two_episodes",
    "stn": "estimators60/stn",
}
"""Rows of `table_recipe` whose raw results lie with those of another table."""
IDEAS = {path.stem.rpartition("_")[0] for path in (RESULTS / "ideas").glob("*.json")}


def of_change(row: str, key: str) -> list[float]:
    where = ELSEWHERE.get(row, f"ideas/{row}" if row in IDEAS else f"recipe/{row}")
    return [json.loads((RESULTS / f"{where}_seed{seed}.json").read_text())[key] for seed in (1, 2, 3)]


def test_the_table_of_changes_has_what_the_raw_results_say() -> None:
    """docs/recipe.md: a line names its row of `table_recipe`, whose raw results are in results/recipe."""
    page = (ROOT / "docs" / "recipe.md").read_text(encoding="utf-8").replace("against looking ahead alone ", "")
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines()]
    lines = [cells for cells in lines if len(cells) == 5]
    said = {name[0]: cells[1:] for cells in lines if (name := re.findall(r"\(`([\w.]+)`\)$", cells[0]))}
    asked = {job.row for job in read_jobs(TABLES / "table_recipe.yaml", Path("out"), 1, find_config)}
    assert {
        path.stem.rpartition("_")[0] for path in (RESULTS / "recipe").glob("*.json")
    } | ELSEWHERE.keys() == said.keys()
    assert said.keys() == asked - {"gaussian"}
    plain = ("straight_through", "reinforce", "stn")
    pairs = [(row, next((base for base in plain[1:] if row.startswith(f"{base}_")), plain[0])) for row in said]
    pairs = [pair for pair in pairs if pair[0] not in plain] + [("lookahead_window_rate_0.2", "lookahead")]
    check_changes(said, pairs)


def test_the_table_of_ideas_has_what_the_raw_results_say() -> None:
    """docs/recipe.md: a line names its row of results/ideas and what it is held against, adjusted among themselves."""
    page = (ROOT / "docs" / "recipe.md").read_text(encoding="utf-8")
    section = page.partition("## Ideas that take more than an option")[2].partition("\n## ")[0]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines()]
    said = {name[0]: cells[1:] for cells in lines if (name := re.findall(r"\(`(\w+)`\)$", cells[0]))}
    assert said.keys() == IDEAS
    pairs = [(row, base) for row, (against, *_) in said.items() for base in re.findall(r"`(\w+)`", against)]
    assert f"all {len(pairs)} comparisons" in section
    check_changes({row: cells[1:] for row, cells in said.items()}, pairs)


def check_changes(said: dict[str, list[str]], pairs: list[tuple[str, str]]) -> None:
    """Row → errors, their mean, differences to what it is held against in `pairs`, and the same in validation."""
    tested, validated = differences(pairs, "test_error"), differences(pairs, "validation_error")
    for row, (errors, average, test, validation) in said.items():
        found = of_change(row, "test_error")
        interval = interval_over_seeds(found)
        assert interval
        assert errors == ", ".join(f"{error:.2f}" for error in found)
        assert average == f"{mean(found):.2f} ({interval[0]:.2f} to {interval[1]:.2f})"
        own = [pair for pair in pairs if pair[0] == row]
        assert test == "; ".join(tested[pair] for pair in own)
        expected = f"{mean(of_change(row, 'validation_error')):.2f}"
        assert validation == (f"{expected}: {'; '.join(validated[pair] for pair in own)}" if own else expected)


def differences(pairs: list[tuple[str, str]], key: str) -> dict[tuple[str, str], str]:
    """Each with its interval, and whether it is shown once all are counted."""
    found = {pair: between_seeds(*(of_change(row, key) for row in pair)) for pair in pairs}
    tests = {pair: test for pair, test in found.items() if test}
    adjusted = dict(zip(tests, holm([test.p for test in tests.values()]), strict=True))
    words = {}
    for pair, test in tests.items():
        verdict = "shown" if adjusted[pair] < SHOWN else "by itself" if test.differs else "not shown"
        words[pair] = f"{test.value:+.2f} ± {test.half_width:.2f}, {verdict}"
    return words


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


def test_the_table_of_a_given_gaze_beside_a_learned_one_has_what_the_raw_results_say() -> None:
    """docs/results.md: three seeds of 100,000 episodes each."""
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    section = page.partition("## What the policy adds over looking at random")[2]
    table = section.partition("\n\n|")[2].partition("\n\n")[0]
    said = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    names = {
        "straight-through": "straight_through",
        "REINFORCE, leave-one-out, a quarter of the images": "leave_one_out",
        "REINFORCE, learned baseline": "learned",
        "REINFORCE, no baseline": "none",
    }
    assert len(said) == 8
    for name, error, second in said:
        control = re.findall(r"\(`(\w+)`\)$", name)
        where = "controls60/controls_100k" if control else f"estimators60/{names[name]}"
        raw = [json.loads((RESULTS / f"{where}_seed{seed}.json").read_text()) for seed in (1, 2, 3)]
        numbers = [each["controls"][control[0]] if control else each for each in raw]
        errors = [each["test_error"] for each in numbers]
        interval = interval_over_seeds(errors)
        assert interval
        assert error.partition(";")[0] == f"{mean(errors):.2f} ({interval[0]:.2f} to {interval[1]:.2f})"
        if voted := re.findall(r"10-vote ([\d.]+)", error):
            assert voted == [f"{mean(each['test_error_voted'] for each in numbers):.2f}"]
        assert second == f"{mean(each['error_by_glimpse'][1] for each in numbers):.1f}"
