"""A config laid over others: who wins, where they are found, and that no circle is walked."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ram_agent.config import ConfigError, dump_config, load_config
from ram_agent.config_layers import OF_THE_MACHINE
from ram_agent.export import AGENT


def lay(folder: Path, **files: Any) -> Path:
    """Config files; the path of the first."""
    for name, tree in files.items():
        path = folder / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(tree))
    return folder / f"{next(iter(files))}.yaml"


def complaint(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_wins_over_its_base_and_the_base_over_the_defaults_field_by_field(tmp_path: Path) -> None:
    below = {"environment": {"glimpses": 3, "first_window": "centre"}, "training": {"batch": 7}}
    config = load_config(lay(tmp_path, row={"base": "task", "environment": {"glimpses": 8}}, task=below))
    assert (config.environment.glimpses, config.environment.first_window) == (8, "centre")
    assert (config.training.batch, config.training.episodes) == (7, 1_200_000)


def test_of_several_bases_the_later_wins_and_a_base_may_have_one(tmp_path: Path) -> None:
    path = lay(
        tmp_path,
        row={"base": ["task", "flavour"]},
        task={"training": {"episodes": 111, "batch": 11, "clip": 11.0}},
        flavour={"base": "deeper", "training": {"batch": 22}},
        deeper={"training": {"batch": 33, "clip": 33.0}},
    )
    training = load_config(path).training
    assert (training.episodes, training.batch, training.clip) == (111, 22, 33.0)


def test_a_list_is_replaced_and_never_joined(tmp_path: Path) -> None:
    path = lay(
        tmp_path,
        row={"base": "task", "evaluation": {"controls": []}},
        task={"evaluation": {"controls": ["oracle"], "votes": 3}},
    )
    assert (load_config(path).evaluation.controls, load_config(path).evaluation.votes) == ((), 3)


def test_a_config_is_called_after_its_own_file_whatever_its_base_is_called(tmp_path: Path) -> None:
    path = lay(tmp_path, row={"base": "task"}, task={"name": "other", "training": {"batch": 7}})
    assert load_config(path).name == "row"
    assert load_config(lay(tmp_path, mine={"base": "task", "name": "chosen"})).name == "chosen"


def test_what_is_written_down_stands_on_nothing(tmp_path: Path) -> None:
    path = lay(tmp_path, row={"base": "task"}, task={"training": {"batch": 7}})
    resolved = dump_config(load_config(path))
    assert "base" not in yaml.safe_load(resolved)
    alone = tmp_path / "elsewhere" / "config.yaml"
    alone.parent.mkdir()
    alone.write_text(resolved)
    assert load_config(alone) == load_config(path)


def test_a_base_is_found_beside_the_file_in_base_there_among_the_shipped_or_by_its_path(tmp_path: Path) -> None:
    six = {"environment": {"glimpses": 6}}
    lay(tmp_path, base__smoke=six, other__far=six)
    assert load_config(lay(tmp_path, row={"base": "smoke"})).policy.hidden == 256  # not the shipped one
    assert load_config(lay(tmp_path / "x", row={"base": "smoke"})).policy.hidden == 32  # the shipped one
    assert load_config(lay(tmp_path / "x", row={"base": "../other/far.yaml"})).environment.glimpses == 6
    # My own may be called like the shipped one that it stands on.
    assert load_config(lay(tmp_path / "y", smoke={"base": "smoke"})).policy.hidden == 32


def test_a_circle_is_refused_and_both_files_are_named(tmp_path: Path) -> None:
    path = lay(tmp_path, one={"base": "two"}, two={"base": "three"}, three={"base": "one.yaml"})
    message = complaint(path)
    assert message == f"config {tmp_path / 'three.yaml'}: base: one.yaml is {path}, which stands on three itself"
    assert str(lay(tmp_path, selfish={"base": "selfish"})) in complaint(tmp_path / "selfish.yaml")


def test_two_ways_to_one_base_are_no_circle(tmp_path: Path) -> None:
    path = lay(tmp_path, row={"base": ["a", "b"]}, a={"base": "c"}, b={"base": "c"}, c={"environment": {"glimpses": 2}})
    assert load_config(path).environment.glimpses == 2


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("cluttered6", "base: no config named 'cluttered6' (did you mean cluttered60?)"),
        ("gone/away.yaml", "gone/away.yaml: No such file"),
        (7, "base: expected the name of a config, a path or a list of them, got 7"),
        ([["a"]], "base: expected the name of a config, a path or a list of them, got [['a']]"),
        ({"a": 1}, "base: expected the name of a config"),
    ],
)
def test_a_base_that_is_none_is_refused_by_name(base: Any, message: str, tmp_path: Path) -> None:
    lay(tmp_path, cluttered60={})
    assert message in complaint(lay(tmp_path, row={"base": base}))


def test_what_is_wrong_in_a_base_is_said_of_the_file_that_was_asked_for(tmp_path: Path) -> None:
    path = lay(tmp_path, row={"base": "task"}, task={"training": {"bach": 7}})
    assert complaint(path) == f"{path}: training.bach: unknown setting (did you mean training.batch?)"


RAW = sorted((Path(__file__).parents[2] / "results").rglob("*.json"))


@pytest.mark.parametrize(
    "path", [path for path in RAW if path.parent.name != "speed" and path.name != AGENT], ids=lambda path: path.stem
)
def test_every_raw_result_is_the_config_that_made_it(path: Path) -> None:
    """What a result of an early commit does not name had no effect then, and must have none now."""
    stored = json.loads(path.read_text())["config"]
    tree = load_config(path).model_dump(mode="json")
    assert {name: tree[name] for name in stored if not isinstance(stored[name], dict)} == {"name": stored["name"]}
    for section, values in stored.items():
        if isinstance(values, dict):
            kept = {field: value for field, value in values.items() if f"{section}.{field}" not in OF_THE_MACHINE}
            if kept.get("precision") == "bfloat16":
                kept["precision"] = "fastest"  # which is what was asked for; another machine may have no bfloat16
            assert {field: tree[section][field] for field in kept} == kept, section
    assert {name: tree["run"][name.removeprefix("run.")] for name in OF_THE_MACHINE} == OF_THE_MACHINE


def test_a_result_may_be_a_base_and_leaves_its_folder_to_its_run(tmp_path: Path) -> None:
    ran = load_config(None, {"name": "ran", "run.folder": str(tmp_path), "run.seed": 3, "training.batch": 7})
    (tmp_path / "results.json").write_text(json.dumps({"test_error": 1.0, "config": ran.model_dump(mode="json")}))
    again = load_config(tmp_path / "results.json", {"run.folder": str(tmp_path)})
    assert again == ran
    path = lay(tmp_path, row={"base": "results.json", "training": {"episodes": 55}})
    config = load_config(path)
    assert (config.name, config.run.folder, config.run.seed) == ("row", None, 3)
    assert (config.training.batch, config.training.episodes) == (7, 55)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON: "),
        ("[" * 100_000, "not JSON: "),
        ("[]", "expected the results.json of a run, which has a key 'config'; or a YAML file"),
        ('{"test_error": 1.0}', "expected the results.json of a run, which has a key 'config'; or a YAML file"),
        ('{"config": 5}', "expected the results.json of a run"),
        ('{"config": {"run": 5}}', "run: "),
        ('{"config": {"training": {"bach": 5}}}', "training.bach: unknown setting (did you mean training.batch?)"),
    ],
)
def test_a_json_file_that_is_no_result_is_refused_by_its_path(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    assert message in complaint(path)
    assert str(path) in complaint(path)
