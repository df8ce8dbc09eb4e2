"""A config laid over others: who wins, where they are found, and that no circle is walked."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from ram_agent.config import ConfigError, dump_config, load_config


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
        task={"training": {"episodes": 11, "batch": 11, "clip": 11.0}},
        flavour={"base": "deeper", "training": {"batch": 22}},
        deeper={"training": {"batch": 33, "clip": 33.0}},
    )
    training = load_config(path).training
    assert (training.episodes, training.batch, training.clip) == (11, 22, 33.0)


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
