"""The space of a search: what is drawn lies in it, and a mistake is one line that names it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from ram_agent.cli import main
from ram_agent.config import ConfigError
from ram_agent.space import read_space

SPACES = sorted((Path(__file__).parents[2] / "configs" / "spaces").glob("*.yaml"))


def write(tmp_path: Path, tree: Any) -> Path:
    path = tmp_path / "space.yaml"
    path.write_text(tree if isinstance(tree, str) else yaml.safe_dump(tree))
    return path


class Asked:
    """In place of an Optuna trial: notes what it was asked for, and suggests the lowest."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        self.calls.append(("float", low, high, log))
        return low

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        self.calls.append(("int", low, high, log))
        return low

    def suggest_categorical(self, name: str, values: list[Any]) -> Any:
        self.calls.append(("choice", values))
        return values[0]


@pytest.mark.parametrize(
    ("text", "call", "value"),
    [
        ("training.learning_rate: {log: [1e-4, 3e-3]}", ("float", 1e-4, 3e-3, True), 1e-4),  # YAML: 1e-4 is text
        ("training.reinforce_weight: {uniform: [0, 1]}", ("float", 0.0, 1.0, False), 0.0),
        ("training.batch: {uniform: [16, 128]}", ("int", 16, 128, False), 16),
        ("policy.hidden: {log: [64, 512]}", ("int", 64, 512, True), 64),
        ("policy.core: {choice: [gru, lstm]}", ("choice", ["gru", "lstm"]), "gru"),
        ("sensor.strides: {choice: [[0.5, 2], [1, 4]]}", ("choice", ["[0.5, 2]", "[1, 4]"]), [0.5, 2]),
    ],
)
def test_a_field_is_drawn_as_the_file_says(text: str, call: Any, value: Any, tmp_path: Path) -> None:
    ((name, range),) = read_space(write(tmp_path, text)).items()
    asked = Asked()
    assert range.drawn(asked, name) == value
    assert asked.calls == [call]


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"training.learning_rat": {"log": [1, 2]}}, "unknown setting (did you mean training.learning_rate?)"),
        ({"learning_rate": {"log": [1, 2]}}, "learning_rate: unknown setting (did you mean training.learning_rate?)"),
        (
            {"scene.clutter": {"choice": [1, 2]}},
            "is not searched; sensor, environment, policy, training are",
        ),
        ({"evaluation.every": {"choice": [1]}}, "evaluation.every: is not searched"),
        ({"run.seed": {"choice": [1, 2]}}, "run.seed: is not searched"),
        ({"training.batch": [1, 2]}, "training.batch: expected {log: [a, b]}, {uniform: [a, b]} or {choice: [...]}"),
        ({"training.batch": {}}, "training.batch: expected one of log, uniform and choice"),
        ({"training.lookahead": {"log": None}}, "training.lookahead: expected one of log, uniform and choice"),
        ({"policy.scan": {"choice": None}}, "policy.scan: expected one of log, uniform and choice"),
        ({"training.batch": {"log": [1, 2], "choice": [1]}}, "expected one of log, uniform and choice"),
        ({"training.batch": {"lag": [1, 2]}}, "training.batch: lag: unknown setting (did you mean log?)"),
        (
            {"training.clip": {"log": [0, 2]}},
            "training.clip: expected two positive numbers, the smaller first, got 0, 2",
        ),
        ({"training.clip": {"uniform": [2, 1]}}, "expected two numbers, the smaller first, got 2, 1"),
        ({"training.clip": {"choice": []}}, "training.clip: choice: got []"),
        (
            {"training.batch": {"log": [0.5, 64]}},
            "training.batch: log: expected two whole numbers of 1 or more, got 0.5, 64",
        ),
        ({"policy.scan": {"log": [0.1, 64]}}, "policy.scan: log: expected two whole numbers of 1 or more"),
        ({"policy.hidden": {"uniform": [8.5, 9]}}, "policy.hidden: uniform: expected two whole numbers, got 8.5, 9"),
        ({"policy.core": {"log": [1, 2]}}, "policy.core: log: expected choice: [...], the field takes no range"),
        ({"policy.core": {"choice": ["gru", "lsm"]}}, "policy.core: got 'lsm': input should be 'rnn', 'gru' or 'lstm'"),
        ({"training.batch": {"choice": [64, 0]}}, "training.batch: got 0: input should be greater than or equal to 1"),
        ({"training.clip": {"uniform": [-1, 2]}}, "training.clip: got -1.0: input should be greater than 0"),
        ({"sensor.scales": {"uniform": [1, 9]}}, "sensor.scales: got 9: input should be less than or equal to 8"),
        ({}, "expected at least one field"),
        ("rows: [", "not YAML"),
    ],
    ids=str,
)
def test_a_wrong_space_is_one_line_that_names_it(tree: Any, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, tree)
    with pytest.raises(ConfigError) as caught:
        read_space(path)
    assert str(caught.value).startswith(f"space {path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_choice_that_another_setting_would_have_to_fit_is_left_to_the_trials(tmp_path: Path) -> None:
    """Odd crops are right with one scale, and the file does not say how many there will be."""
    assert read_space(write(tmp_path, {"sensor.size": {"choice": [7, 9]}}))


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_every_space_that_is_shipped_is_read(path: Path) -> None:
    assert read_space(path)


def test_without_optuna_the_command_to_install_it_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ram_agent.search.find_spec", lambda name: None)
    assert main(["search", "smoke", "--space", "hard", "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    needed = "pip install optuna (in a checkout: pip install -e '.[search]')"
    assert error == f"ram-agent: error: search: Optuna is not installed; {needed}\n"
    assert list(tmp_path.iterdir()) == []
