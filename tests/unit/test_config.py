"""Configurations: what is written reads back equal, and a mistake is one line that names it."""

import re
import subprocess
import sys
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from envs.scenes import MOST_CLUTTER
from ram_agent.combinations import check_together
from ram_agent.config import (
    MOST_PICTURES,
    Config,
    ConfigError,
    describe,
    dump_config,
    field_names,
    load_config,
    parse_config,
)
from ram_agent.config_layers import read_yaml
from ram_agent.learner import check_gradient
from ram_agent.options import Parser, add_config_options, overrides
from ram_agent.sensor import Crop

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "configs").glob("*.yaml"))
UNUSUAL: dict[str, Any] = {
    "name": "a.b-c_1",
    "images": {"source": "some where/ümlaut: #1", "folder": "~/x"},
    "scene": {"kind": "plain", "height": 28, "width": 31},
    "sensor": {"kind": "gaussian", "size": 5, "strides": [0.25, 3], "reach": 1e-3},
    "environment": {"glimpses": 1, "first_window": [0, 0.5, -1, 1, 0, 0.125]},
    "training": {"method": "reinforce", "window_std_end": 0.01, "baseline": "leave_one_out", "episodes_per_image": 4},
    "evaluation": {"controls": [], "control_episodes": 7},
    "run": {"folder": "runs/no", "overwrite": True, "seed": 0},
}


def parsed(parser: Parser, arguments: list[str]) -> Namespace:
    """As the command line does it."""
    known, unknown = parser.parse_known_args(arguments)
    if unknown:
        parser.refuse(unknown[0])
    return known


def complaint(tree: dict[Any, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(tree)
    message = str(caught.value)
    assert "\n" not in message
    return message


def write(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# -------------------------------------------------------------------- reading and writing


@pytest.mark.parametrize("tree", [{}, UNUSUAL])
def test_what_is_dumped_loads_equal(tree: dict[str, Any], tmp_path: Path) -> None:
    config = parse_config(tree)
    again = load_config(write(tmp_path, dump_config(config)))
    assert again == config
    assert dump_config(again) == dump_config(config)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_config_in_configs_loads_under_its_own_name_and_round_trips(path: Path, tmp_path: Path) -> None:
    config = load_config(path)
    assert config.name == path.stem
    assert load_config(write(tmp_path, dump_config(config))) == config


def test_the_configs_that_the_project_promises_are_there() -> None:
    promised = {"default", "mnist28_hard", "translated60_hard", "smoke"}
    promised |= {f"cluttered{side}_{kind}" for side in (60, 100) for kind in ("hard", "gaussian", "stn")}
    assert promised <= {path.stem for path in SHIPPED}


def test_a_field_that_was_set_reaches_the_configuration() -> None:
    config = parse_config(UNUSUAL)
    assert (config.scene.height, config.scene.width) == (28, 31)
    assert config.environment.first_window == (0, 0.5, -1, 1, 0, 0.125)
    assert config.sensor.strides == (0.25, 3.0)
    assert config.training.window_std_end == 0.01


def test_a_configuration_cannot_be_changed_by_the_way() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse_config({}).scene.height = 3  # type: ignore[misc]


def test_yaml_that_writes_a_float_without_a_point_is_still_a_number(tmp_path: Path) -> None:
    path = write(tmp_path, "training: {learning_rate: 1e-4}")  # YAML 1.1 reads the text '1e-4' here
    assert load_config(path).training.learning_rate == 1e-4


def test_an_empty_mapping_is_the_defaults_under_its_own_name_and_an_empty_file_a_mistake(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, "{}\n")) == parse_config({"name": "mine"})
    assert load_config() == Config()
    for text in ("", "# nothing\n", "---\n"):
        with pytest.raises(ConfigError, match=r"mine\.yaml: empty, expected sections such as 'scene:'; {} is all"):
            load_config(write(tmp_path, text))


@pytest.mark.parametrize(("text", "number"), [("1e3", 1000), ("1.2e6", 1_200_000), ("25e+1", 250)])
def test_a_whole_number_may_have_an_exponent(text: str, number: int, tmp_path: Path) -> None:
    path = write(tmp_path, f"training: {{episodes: {text}}}")
    assert load_config(path).training.episodes == number
    parser = Parser(prog="test")
    add_config_options(parser)
    given = overrides(parsed(parser, ["--evaluation.control_episodes", text, "--name", "1e3"]))
    config = load_config(None, given)
    assert (config.evaluation.control_episodes, config.name) == (number, "1e3")


@pytest.mark.parametrize("text", ["1.5e0", "1e-3", "1e400", "e3", "1e3x"])
def test_what_is_no_whole_number_is_refused_as_it_was_written(text: str) -> None:
    assert complaint({"training": {"episodes": text}}).startswith(f"training.episodes: got {text!r}: ")


@pytest.mark.parametrize(("given", "remedy"), [(48, "48,48"), ("64x64", "64,64"), (0.5, "64,64"), ([1, 2, 3], "64,64")])
def test_a_size_that_is_no_two_numbers_is_told_how_they_are_written(given: Any, remedy: str) -> None:
    told = f"images.size: got {given!r}, expected two numbers, height,width: {remedy}"
    assert complaint({"images": {"size": given}}) == told


@pytest.mark.parametrize(
    ("sensor", "told"),
    [
        ({"strides": 0.5}, "sensor.strides: got 0.5, expected two numbers, as in 0.5,2 (in a file: [0.5, 2])"),
        ({"sigmas": [1, 2, 3]}, "sensor.sigmas: got [1, 2, 3], expected two numbers, as in 0.25,2 (in a file: "),
        ({"strides": [1.0]}, "sensor.strides: got [1.0], expected two numbers, as in "),
        ({"strides": ["a", 1]}, "sensor.strides: got 'a': input should be a valid number"),
    ],
)
def test_what_is_no_list_is_told_how_one_is_written(sensor: dict[str, Any], told: str) -> None:
    assert complaint({"sensor": sensor}).startswith(told)


def test_a_list_of_names_is_shown_by_names() -> None:
    told = "evaluation.controls: got 3, expected a list, as in random,centre (in a file: [random, centre])"
    assert complaint({"evaluation": {"controls": 3}}) == told


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--images", "--images.source"),
        ("--epochs", "--training.episodes"),
        ("--batch-size", "--training.batch"),
        ("--batch_size", "--training.batch"),
        ("--sensor", "--sensor.kind"),
        ("--policy.eye", "--policy.encoder"),  # as it was called
        ("--sensor.eye", "--sensor.kind"),
        ("--training.looks", "--training.episodes_per_image"),  # likewise
        ("--environment.looks", "--environment.glimpses"),
        ("--looks", "--environment.glimpses"),
    ],
)
def test_a_section_and_the_words_of_others_are_told_what_they_are_here(
    typed: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = Parser(prog="test")
    add_config_options(parser)
    with pytest.raises(SystemExit):
        parsed(parser, [typed, "3"])
    assert capsys.readouterr().err == f"test: error: {typed}: unknown option (did you mean {meant}?)\n"
    if typed == "--epochs":
        assert f"(did you mean {meant[2:]}?)" in complaint({"training": {"epochs": 3}})


def test_reading_a_configuration_needs_no_torch() -> None:
    program = "import ram_agent.config, ram_agent.options, sys; assert 'torch' not in sys.modules, 'torch'"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


# -------------------------------------------------------------------- overrides


def test_an_override_wins_over_the_file_and_leaves_the_rest_of_it(tmp_path: Path) -> None:
    path = write(tmp_path, "scene: {height: 30, width: 40}\nrun: {seed: 5}")
    config = load_config(path, {"scene.height": 33, "training.batch": "7", "name": "other"})
    assert (config.scene.height, config.scene.width, config.run.seed) == (33, 40, 5)
    assert (config.training.batch, config.name) == (7, "other")


@pytest.mark.parametrize(
    ("overridden", "message"),
    [
        ({"scene.hieght": 3}, r"^scene\.hieght: unknown setting \(did you mean scene\.height\?\)$"),
        ({"scne.height": 3}, r"^scne: unknown setting \(did you mean scene\?\)$"),
        ({"training.batch": -3}, r"^training\.batch: got -3: "),
        ({"training.lr": 1}, r"^training\.lr: unknown setting \(did you mean training\.learning_rate\?\)$"),
        ({"policy.eye": "conv"}, r"^policy\.eye: unknown setting \(did you mean policy\.encoder\?\)$"),
        ({"training.zyx": 1}, r"^training\.zyx: unknown setting$"),
        (
            {"environment.first_window": 2},
            r"^environment\.first_window: got 2, expected random, centre, or the P",
        ),
        ({"environment.first_window": "middle"}, r"^environment\.first_window: got 'middle', expected random, centre"),
    ],
)
def test_a_wrong_override_is_refused_by_name(overridden: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(None, overridden)


def test_an_override_into_a_section_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        load_config(write(tmp_path, "scene:\n"), {"scene.height": 30})
    assert str(refused.value) == "scene: expected a section of settings, such as scene: {kind: ...}, got nothing"


def test_every_field_is_an_option_of_the_command_line_and_takes_its_own_default() -> None:
    parser = Parser(prog="x")
    add_config_options(parser)
    arguments = []
    for field in describe():
        value = list(field.default) if isinstance(field.default, tuple) else field.default
        arguments += [f"--{field.name}", yaml.safe_dump(value, default_flow_style=True).splitlines()[0]]
    given = overrides(parsed(parser, arguments))
    assert list(given) == field_names()
    assert load_config(None, given) == Config()


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        (["--training.learning_rate", "1e-4"], "training.learning_rate", 1e-4),
        (["--sensor.strides", "0.5,3"], "sensor.strides", (0.5, 3.0)),
        (["--sensor.strides=[1, 4]"], "sensor.strides", (1.0, 4.0)),
        (["--environment.first_window", "centre"], "environment.first_window", "centre"),
        (["--environment.first_window", "-0.5,0.5"], "environment.first_window", (-0.5, 0.5)),
        (["--evaluation.controls", "[]"], "evaluation.controls", ()),
        (["--evaluation.controls", "none"], "evaluation.controls", ()),
        (["--evaluation.controls", "centre"], "evaluation.controls", ("centre",)),
        (["--evaluation.controls", "centre,random"], "evaluation.controls", ("centre", "random")),
        (["--run.tensorboard", "false"], "run.tensorboard", False),
        (["--training.window_std_end", "null"], "training.window_std_end", None),
        (["--images.source", "a b, c.npz"], "images.source", "a b, c.npz"),
        (["--threads", "2"], "run.threads", 2),
        (["--num-threads", "2"], "run.threads", 2),
        (["--seed", "7"], "run.seed", 7),
        (["-P"], "run.progress", True),
        (["--progress"], "run.progress", True),
        (["--track"], "run.track", True),
        (["-i", "runs/one"], "training.trained_agent", "runs/one"),
        (["--trained-agent", "2024"], "training.trained_agent", "2024"),
        (["--device", "cpu"], "run.device", "cpu"),
        (["--run.folder", "2024"], "run.folder", "2024"),
        (["--run.folder", "null"], "run.folder", None),
    ],
)
def test_options_are_read_as_a_person_writes_them(arguments: list[str], name: str, value: Any) -> None:
    parser = Parser(prog="x")
    add_config_options(parser)
    config = load_config(None, overrides(parsed(parser, arguments)))
    section, _, field = name.partition(".")
    assert getattr(getattr(config, section), field) == value


# -------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"scen": {}}, "scen: unknown setting (did you mean scene?)"),
        ({"scene": {"hieght": 30}}, "scene.hieght: unknown setting (did you mean scene.height?)"),
        (
            {"training": {"learning_rat": 1}},
            "training.learning_rat: unknown setting (did you mean training.learning_rate?)",
        ),
        ({"hidden": 3}, "hidden: unknown setting (did you mean policy.hidden?)"),
        ({"training": {"hidden": 3}}, "training.hidden: unknown setting (did you mean policy.hidden?)"),
        ({"sensr": {"kind": "stn"}}, "sensr: unknown setting (did you mean sensor?)"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_right_one(tree: dict[str, Any], message: str) -> None:
    assert complaint(tree) == message


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        ("scene", "kind", "messy"),
        ("scene", "height", 0),
        ("scene", "height", "tall"),
        ("scene", "clutter", -1),
        ("sensor", "size", 2.5),
        ("sensor", "scales", 9),
        ("sensor", "reach", 0),
        ("sensor", "reach", 1e30),  # a border of as many pixels
        ("sensor", "strides", [1.0]),
        ("environment", "glimpses", 0),
        ("environment", "first_window", "corner"),
        ("policy", "core", "transformer"),
        ("policy", "hidden", 0),
        ("policy", "window_gradient", -0.1),
        ("training", "method", "dqn"),
        ("training", "window_rate", -0.1),
        ("training", "weight_average", -1),
        ("training", "lookahead", -1),
        ("training", "window_std", -0.1),
        ("training", "window_std", 0),
        ("training", "learning_rate", float("nan")),
        ("training", "episodes", 0),
        ("training", "clip", 0),
        ("training", "reward", "money"),
        ("evaluation", "controls", ["prophet"]),
        ("evaluation", "votes", 0),
        ("run", "seed", -1),
        ("run", "seed", 2**63),
        ("run", "overwrite", "perhaps"),
    ],
)
def test_a_wrong_value_is_refused_with_its_field_and_what_came(section: str, field: str, value: Any) -> None:
    message = complaint({section: {field: value}})
    assert message.startswith(f"{section}.{field}: got ")
    assert repr(value[0] if isinstance(value, list) and field == "controls" else value) in message


def test_a_control_that_does_not_exist_is_refused_with_the_list_of_those_that_do() -> None:
    message = complaint({"evaluation": {"controls": ["random", "prophet"]}})
    assert message.startswith("evaluation.controls: got 'prophet'")
    assert re.findall(r"'(\w+)'", message)[1:] == ["random", "centre", "raster", "oracle", "cnn", "fc", "modern_cnn"]


def test_a_canvas_too_small_for_the_filters_of_cnn_is_refused() -> None:
    small = {"scene": {"height": 9, "width": 30}, "sensor": {"size": 4}}
    message = complaint(small | {"evaluation": {"controls": ["centre", "cnn"]}})
    assert message == (
        "evaluation.controls: expected none named cnn, whose filters are 10x10, on a 9x30 canvas, got centre, cnn; "
        "take fc or modern_cnn"
    )
    parse_config(small | {"evaluation": {"controls": ["centre", "fc", "modern_cnn"]}})


def test_a_name_that_would_not_do_for_a_folder_is_refused() -> None:
    assert complaint({"name": "a/b"}).startswith("name: got 'a/b'")


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"sensor": {"size": 80}}, "sensor.size: expected at most 60, the shorter side of the 60x60 canvas, got 80"),
        ({"sensor": {"size": 30}, "scene": {"height": 28, "width": 90}}, "sensor.size: expected at most 28"),
        ({"sensor": {"size": 11, "scales": 2}}, "sensor.size: expected an even number where scales > 1"),
        ({"sensor": {"kind": "stn", "size": 11, "scales": 2}}, "sensor.size: expected an even number"),
        ({"sensor": {"strides": [2, 1]}}, "sensor.strides: expected two numbers from 1e-6 to 1e6, the smaller first"),
        ({"sensor": {"sigmas": [0, 1]}}, "sensor.sigmas: expected two numbers from 1e-6 to 1e6, the smaller first"),
        ({"sensor": {"strides": [1, 1e300]}}, "sensor.strides: expected two numbers from 1e-6 to 1e6"),
        ({"training": {"method": "pathwise"}}, "training.method: expected reinforce or straight_through for a crop"),
        (
            {"sensor": {"kind": "stn"}, "training": {"method": "straight_through"}},
            "training.method: expected pathwise for a stn sensor",
        ),
        (
            {"sensor": {"size": 2}, "policy": {"encoder": "conv"}},
            "policy.encoder: expected dense for glimpses of fewer than 4x4",
        ),
        (
            {"environment": {"glimpses": 1}, "training": {"lookahead": 8}},
            "training.lookahead: expected 0 for episodes of one glimpse, which have no move to think over, got 8",
        ),
        (
            {
                "training": {
                    "method": "straight_through",
                    "baseline": "leave_one_out",
                    "episodes_per_image": 4,
                    "reinforce_weight": 0.3,
                }
            },
            "training.baseline: expected learned for training.method straight_through, whose gradient has no score "
            "function, got leave_one_out; --training.baseline learned --training.episodes_per_image 1 "
            "--training.reinforce_weight 1.0, or --training.method reinforce",
        ),
        (
            {"training": {"method": "straight_through", "reward": "success"}},
            "training.reward: expected probability for training.method straight_through",
        ),
        ({"training": {"batch": True}}, "training.batch: got 'True': input should be a valid integer"),
        ({"training": {"learning_rate": True}}, "training.learning_rate: got 'True': input should be a valid number"),
        ({"run": {"seed": False}}, "run.seed: got 'False': input should be a valid integer"),
        ({"environment": {"first_window": [0.1, True]}}, "environment.first_window: got [0.1, True], expected"),
        ({"images": {"size": [True, 28]}}, "images.size"),
        ({"sensor": {"kind": "stn", "strides": [True, 2.0]}}, "sensor.strides"),
        ({"name": "."}, "name: got '.'"),
        (
            {"training": {"batch": 100, "episodes": 99}},
            "training.batch: got 100 images an update, expected no more episodes than the 99 of training.episodes",
        ),
        (
            {"training": {"batch": 100}, "evaluation": {"control_episodes": 99}},
            "evaluation.control_episodes: got 99, expected at least the 100 of one update",
        ),
        (
            {"sensor": {"kind": "stn"}, "training": {"method": "pathwise", "baseline_weight": 0.5}},
            "training.baseline_weight: expected 1.0 for training.method pathwise",
        ),
        (
            {"sensor": {"size": 40, "scales": 6}},
            "sensor.scales: expected at most 5 of crops of 40 samples on a canvas of 60 pixels, all of which scale 3 "
            "holds wherever it looks, got 6; --sensor.scales 3",
        ),
        (
            {"training": {"baseline": "leave_one_out"}},
            "training.episodes_per_image: expected 2 or more for baseline leave_one_out",
        ),
    ],
)
def test_fields_that_contradict_each_other_are_refused_by_name(tree: dict[str, Any], message: str) -> None:
    assert complaint(tree).startswith(message)


@pytest.mark.parametrize(
    "tree",
    [
        {"sensor": {"size": 60}},
        {"sensor": {"size": 40, "scales": 5}},
        {"sensor": {"size": 40, "scales": 8, "kind": "gaussian"}},
        {"sensor": {"size": 11, "scales": 1}},
        {"sensor": {"kind": "gaussian", "size": 11, "scales": 3}},
        {"sensor": {"strides": [1, 1]}},
        {"sensor": {"kind": "stn"}, "training": {"method": "pathwise"}},
        {"sensor": {"kind": "stn"}, "training": {"method": "reinforce"}},
        {"training": {"baseline": "leave_one_out", "episodes_per_image": 2}},
    ],
)
def test_fields_that_only_look_contradictory_are_taken(tree: dict[str, Any]) -> None:
    parse_config(tree)


def test_what_a_merged_mapping_says_and_is_overridden_stands_once(tmp_path: Path) -> None:
    """In YAML `<<` lays mappings below another; what is merged may itself be merged, from farther out, too."""
    text = "training: &t {<<: &b {batch: 3, clip: 2.0}, batch: 4}\nsensor: {kind: crop}\nname: merged"
    assert load_config(write(tmp_path, text)).training.batch == 4
    text = "run: &r {seed: &s 1, threads: 1}\nrun2: {<<: *r}"
    with pytest.raises(ConfigError, match="run2: unknown setting"):
        load_config(write(tmp_path, text))
    assert read_yaml(
        write(tmp_path, "a: &a {x: 1}\nb: &b {<<: *a, x: 2}\nc: {<<: *b, x: 3}\nd: [*b, *b]"), "table", "a:"
    ) == {"a": {"x": 1}, "b": {"x": 2}, "c": {"x": 3}, "d": [{"x": 2}, {"x": 2}]}


def test_a_run_folder_at_home_is_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert parse_config({"run": {"folder": "~/runs/first"}}).run.folder == "/home/somebody/runs/first"
    started = parse_config({"training": {"trained_agent": "~/runs/first"}}).training.trained_agent
    assert started == "/home/somebody/runs/first"


@pytest.mark.parametrize("text", ["2024-13-45", "[" * 3000, "9" * 5000], ids=["no date", "too deep", "too long"])
def test_what_yaml_cannot_make_a_value_of_is_refused_by_the_field(text: str) -> None:
    parser = Parser(prog="x")
    add_config_options(parser)
    given = overrides(parsed(parser, [f"--training.batch={text}"]))
    with pytest.raises(ConfigError, match=r"training\.batch: got '.{1,250}': .*(valid integer|as an integer)"):
        load_config(None, given)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scene: [1, 2", "not YAML"),
        ("\tscene: 1", "not YAML"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "not YAML"),
        ("- scene\n- sensor", "expected sections such as 'scene:', got list"),
        ("just a sentence", "expected sections such as 'scene:', got str"),
        ("scene: 3", "scene: expected a section of settings, such as scene: {kind: ...}, got 3"),
        ("scene.height: 3", "scene.height: expected the setting in its section, scene: {height: ...}"),
        ("scene: {height: 1, hieght: 2}", "scene.hieght: unknown setting"),
        ("training: {clip: 1}\nrun: {seed: 2}\ntraining: {batch: 1}", "'training' stands twice, in lines 1 and 3"),
        ("run: {seed: 2, threads: 1, seed: 3}", "'seed' stands twice, in lines 1 and 1; keep one of the two"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused_by_its_path(
    text: str | bytes, message: str, tmp_path: Path
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused_by_their_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match=f"config {tmp_path}: Is a directory"):
        load_config(tmp_path)


def test_yaml_that_would_run_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    path = write(tmp_path, f"name: !!python/object/apply:os.mkdir ['{trace}']")
    with pytest.raises(ConfigError, match="not YAML"):
        load_config(path)
    assert not trace.exists()


def test_options_suggest_the_nearest_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser(prog="x")
    add_config_options(parser)
    for wrong, right in (
        ("--trainig.batch", "--training.batch"),
        ("--sensr.kind", "--sensor.kind"),
        ("--hidden", "--policy.hidden"),
        ("--training.epsiodes", "--training.episodes"),
        ("--sensor.kin", "--sensor.kind"),
        ("--run.keeep", "--run.keep"),
        ("--scene.kid", "--scene.kind"),
        ("--scene.reach", "--sensor.reach"),
    ):
        with pytest.raises(SystemExit, match="2"):
            parsed(parser, [wrong, "3"])
        assert capsys.readouterr().err == f"x: error: {wrong}: unknown option (did you mean {right}?)\n"


def test_every_field_has_a_sentence_for_help() -> None:
    fields = list(describe())
    assert len({field.name for field in fields}) == len(fields) > 40
    assert all(len(field.help) > 10 for field in fields)


def test_a_path_may_be_text() -> None:
    shipped = ROOT / "configs" / "smoke.yaml"
    assert load_config(str(shipped)) == load_config(shipped)


def test_a_config_takes_as_much_clutter_as_a_scene_does() -> None:
    parse_config({"scene": {"clutter": MOST_CLUTTER}})
    assert complaint({"scene": {"clutter": MOST_CLUTTER + 1}}).startswith("scene.clutter: got 1001")


def test_a_config_asks_for_no_picture_taller_than_a_viewer_shows() -> None:
    parse_config({"run": {"pictures": MOST_PICTURES}})
    assert complaint({"run": {"pictures": MOST_PICTURES + 1}}).startswith("run.pictures: got 161: input should be less")


@dataclass(frozen=True)
class Noisy(Crop):
    """A hard eye by another name."""

    kind = "noisy"


def test_an_eye_of_somebody_s_own_is_asked_for_its_gradient_not_for_its_name() -> None:
    """Of its name a config knows nothing; a learner is told by the sensor itself."""
    config = parse_config({"training": {"method": "straight_through"}})
    named = config.model_copy(update={"sensor": config.sensor.model_copy(update={"kind": "noisy"})})
    check_together(named)
    check_gradient(Noisy(size=4, scales=1), "straight_through")
    with pytest.raises(ValueError, match="sensor of kind 'noisy', expected one with a gradient to its window"):
        check_gradient(Noisy(size=4, scales=1), "pathwise")
