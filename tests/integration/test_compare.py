"""`ram-agent compare` on tiny runs, from training to the report."""

import base64
import json
import math
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import yaml

from ram_agent.building import build_policy, seen_by
from ram_agent.cli import main
from ram_agent.cli.world import ConfiguredWorld
from ram_agent.compare.examine import Revived, count_flops, examine, find_wrong, revive
from ram_agent.compare.gather import gather
from ram_agent.compare.methods import group
from ram_agent.config import ConfigError, dump_config
from ram_agent.gaze import of_each_class
from ram_agent.grid_policy import GridPolicy
from tests.extras import needs_sb3_contrib
from tests.making import make_config, make_world

ROOT = Path(__file__).parents[2]
TINY = [
    "--training.episodes=400", "--evaluation.every=200", "--run.log_every=100", "--run.threads=1",
    "--run.progress=false", "--run.tensorboard=false", "--run.pictures=0",
]  # fmt: skip


class Report(NamedTuple):
    folder: Path
    markdown: str
    html: str


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`hard` with a control, `soft` without, on the digits; `other` on images that are not theirs."""
    folder = tmp_path_factory.mktemp("runs")
    generator = np.random.default_rng(1)
    np.savez(
        folder / "noise.npz", images=generator.integers(0, 256, (200, 28, 28), np.uint8), labels=np.arange(200) % 10
    )
    config = str(ROOT / "configs" / "smoke.yaml")
    for name, settings in {
        "hard": ["--evaluation.controls=[random]"],
        "soft": ["--evaluation.controls=[]", "--sensor.kind=stn", "--training.method=pathwise"],
        "other": ["--evaluation.controls=[]", f"--images.source={folder / 'noise.npz'}"],
    }.items():
        options = [f"--name={name}", f"--run.folder={folder / name}", "--evaluation.signal=0", *TINY, *settings]
        assert main(["train", config, *options]) == 0
    return folder


@pytest.fixture(scope="module")
def report(runs: Path) -> Report:
    """Of all three."""
    out = runs / "report"
    assert main(["compare", *(str(runs / name) for name in ("hard", "soft", "other")), "--out", str(out)]) == 0
    return Report(out, (out / "comparison.md").read_text(), (out / "comparison.html").read_text())


def results(run: Path) -> dict:
    return json.loads((run / "results.json").read_text())


def row(text: str, *cells: str) -> list[str]:
    """The first row of the table of errors, or of one after it, that begins with these cells."""
    start = "| " + " | ".join(cells) + " |"
    line = next(line for line in text.rpartition("## Test error")[2].splitlines() if line.startswith(start))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_table_shows_what_the_runs_stored(runs: Path, report: Report):
    stored = results(runs / "hard")
    for name, numbers in {"hard": stored, "hard (control random)": stored["controls"]["random"]}.items():
        cells = row(report.markdown, name, "digits")
        low, high = numbers["test_error_ci95"]
        assert cells[2:7] == [
            f"{numbers['test_error']:.2f}",
            "one seed: none",
            f"{low:.2f} to {high:.2f}",
            f"{numbers['test_error_sampled']:.2f}",
            f"{numbers['test_error_voted']:.2f}",
        ]
        assert cells[8] == "400"


def test_every_run_has_its_origin(runs: Path, report: Report):
    stored = results(runs / "hard")
    section = report.markdown.split("## The runs")[1]
    assert f"Images digits: sha256 {stored['dataset']['sha256']}." in section
    for name, version in stored["versions"].items():
        assert f"{name} {version}" in section
    cells = row(section, str(runs / "hard"), "hard")
    assert cells[2:8] == [
        "1",
        f"{stored['test_error']:.2f}",
        f"digits {stored['dataset']['sha256'][:12]}",
        "1",
        "1",
        "cpu",
    ]


def test_without_columns_of_the_gradient_one_line_says_so(report: Report):
    assert report.markdown.count("Gradient signal-to-noise") == 1
    assert "no run's metrics.csv has a column `gradient/snr_<estimator>`" in report.markdown


def test_a_paired_difference_is_that_of_the_stored_errors(runs: Path, report: Report):
    errors = sorted((results(runs / name)["test_error"], name) for name in ("hard", "soft"))
    (low, better), (high, other) = errors
    found = re.search(rf"\| {better} \| {other} \| ([\d.]+) ±.*? \| ([\d,]+) \| ([\d,]+) \|", report.markdown)
    found = found or re.search(rf"\| {other} \| {better} \| ([\d.]+) ±.*? \| ([\d,]+) \| ([\d,]+) \|", report.markdown)
    assert found
    images = results(runs / "hard")["test_images"]
    assert float(found[1]) == pytest.approx(high - low, abs=0.006)
    assert abs(int(found[2]) - int(found[3])) == round((high - low) * images / 100)


def test_runs_on_different_images_are_never_paired(report: Report):
    section = report.markdown.split("## Which is better")[1].split("## ")[0]
    assert "hard (control random)" in section
    assert not re.search(r"\bother\b( is better| and |:)|(than|and) other\b|\| other \|", section)
    assert "noise" in row(report.markdown, "other")[1]


def read_numbers(folder: Path) -> dict:
    """Only what JSON knows: no NaN."""

    def refuse(word: str) -> None:
        raise ValueError(word)

    return json.loads((folder / "comparison.json").read_text(encoding="utf-8"), parse_constant=refuse)


def test_images_of_one_name_in_two_folders_are_two_data_sets_whichever_run_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(2)
    for name, source in {"here": "data.npz", "there": "folder/data.npz"}.items():
        pixels = generator.integers(0, 256, (200, 28, 28), np.uint8)
        Path(source).parent.mkdir(exist_ok=True)
        np.savez(source, images=pixels, labels=np.arange(200) % 10)
        options = [f"--images.source={source}", "--evaluation.controls=[]", "--evaluation.signal=0", *TINY]
        assert main(["train", str(ROOT / "configs" / "smoke.yaml"), f"--run.folder={name}", *options]) == 0
    for runs in (["here", "there"], ["there", "here"]):
        assert main(["compare", *runs, "--no-time", "--out", "report"]) == 0
        assert "not evaluated here" not in Path("report", "comparison.md").read_text()


def test_the_numbers_are_those_that_the_runs_stored(runs: Path, report: Report):
    numbers = read_numbers(report.folder)
    methods = {method["name"]: method for method in numbers["methods"]}
    assert list(methods) == ["hard", "hard (control random)", "soft", "other"]
    for name, stored in {
        "hard": results(runs / "hard"),
        "hard (control random)": results(runs / "hard")["controls"]["random"],
        "soft": results(runs / "soft"),
    }.items():
        (seed,) = methods[name]["seeds"]
        for field in ("test_error", "test_error_ci95", "test_error_voted", "error_by_glimpse", "test_images"):
            assert seed[field] == stored[field], field
        assert (methods[name]["test_error"], methods[name]["ci95_over_seeds"]) == (stored["test_error"], None)
        assert methods[name]["ci95_over_images"] == stored["test_error_ci95"]
    stored, hard = results(runs / "hard"), methods["hard"]
    points = [(point["episodes"], point["error"]) for point in hard["seeds"][0]["validations"]]
    assert points == [(point["episodes"], point["validation_error"]) for point in stored["learning_curve"]]
    assert [point["pixels"] for point in hard["seeds"][0]["validations"]] == [
        stored["glimpse_pixels"] * episodes for episodes, _ in points
    ]
    assert (hard["parameters"], hard["pixels"]) == (stored["parameters"], stored["glimpse_pixels"])
    assert hard["settings"]["training.baseline"] == "learned"
    assert methods["soft"]["settings"]["training.baseline"] is None
    assert set(hard["milliseconds"]) == {"1", "256"}
    for pair in numbers["pairs"]:
        difference = methods[pair["better"]]["test_error"] - methods[pair["other"]]["test_error"]
        assert pair["difference"] == pytest.approx(difference)
        assert f"- {pair['sentence']}" in report.markdown.splitlines()
        assert pair["over_seeds"] is None
    assert len(numbers["pairs"]) == 3


def test_the_numbers_of_damaged_runs_are_json_and_of_seeds_have_both_intervals(runs: Path, mended: str):
    numbers = read_numbers(runs / "mended")
    methods = {method["name"]: method for method in numbers["methods"]}
    assert [seed["seed"] for seed in methods["soft"]["seeds"]] == [1, 2, 3]
    assert methods["soft"]["ci95_over_seeds"] is None  # one agent thrice
    assert methods["soft"]["ci95_over_images"] == pytest.approx(results(runs / "soft")["test_error_ci95"])
    unfinished = methods["no_results"]
    assert (unfinished["test_error"], unfinished["seeds"][0]["finished"]) == (None, False)
    assert unfinished["flops"] == methods["soft"]["flops"]
    assert len(numbers["missing"]) >= len(DAMAGES)
    assert all(f"- {sentence}" in mended.splitlines() for sentence in numbers["missing"])


def test_every_picture_is_there_and_named(report: Report):
    named = set(re.findall(r"\]\(([^)]+\.png)\)", report.markdown))
    assert named == {path.name for path in report.folder.glob("*.png")}
    assert {"validation_error.png", "error_by_glimpse.png", "glimpse_paths_1.png", "glimpse_paths_2.png"} <= named
    assert sum(name.startswith("fixations_") for name in named) == 4


def test_the_page_needs_no_other_file(report: Report):
    assert not re.search(r"https?:", report.html)
    sources: list[str] = []
    open_tags: list[str] = []

    class Page(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            given = dict(attrs)
            assert not {"href", "srcset"} & given.keys()
            if tag == "img":
                sources.append(given["src"] or "")
            elif tag != "meta":
                open_tags.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert open_tags.pop() == tag

    Page().feed(report.html)
    assert not open_tags
    assert len(sources) == len(list(report.folder.glob("*.png")))
    for source in sources:
        kind, _, content = source.partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(content, validate=True).startswith(b"\x89PNG")


def test_operations_are_those_of_the_matrices(runs: Path):
    """A crop's pooling is not counted: T looks, T - 1 moves, T answers, two operations a weight."""
    run = gather([runs / "hard"]).runs[0]
    agent = revive(run, ConfiguredWorld)
    assert not agent.policy.training  # batch norm, where there is one, counts as it does in use
    policy, looks = agent.policy, run.config.environment.glimpses

    def weights(module) -> int:
        return sum(weight.numel() for weight in module.parameters() if weight.dim() > 1)

    each = weights(policy.glimpse) + weights(policy.core) + weights(policy.classifier)
    assert count_flops(agent) == 2 * (looks * each + (looks - 1) * weights(policy.window_head))


@needs_sb3_contrib
def test_operations_of_a_whole_layer_are_those_of_its_matrices(tmp_path: Path):
    """RecurrentPPO's LSTM, which libraries compute as one operation: two of each weight at each of three looks."""
    config = make_config(training={"method": "recurrent_ppo"}, policy={"core": "lstm"})
    world = make_world(config)
    policy = build_policy(world.environment("test", 4), config, "learned").eval()
    assert isinstance(policy, GridPolicy)
    network = policy.network
    matrices = [*network.features_extractor.parameters(), *network.lstm_actor.parameters(), network.action_net.weight]
    (tmp_path / "config.yaml").write_text(dump_config(config))
    (run,) = gather([tmp_path]).runs
    libraries = torch.backends.mkldnn.enabled, torch.backends.cudnn.enabled
    weights = sum(weight.numel() for weight in matrices if weight.dim() > 1)
    assert count_flops(Revived(run, policy, world)) == 2 * 3 * weights
    assert (torch.backends.mkldnn.enabled, torch.backends.cudnn.enabled) == libraries


@pytest.mark.parametrize("kind", ["crop", "gaussian", "stn"])
def test_operations_of_a_network_over_the_canvas_are_those_of_its_layers_whatever_the_eye(kind: str, tmp_path: Path):
    """An environment reads through its eye all the same, Gaussian by products."""
    config = make_config(sensor={"kind": kind}, training={} if kind == "crop" else {"method": "pathwise"})
    world = make_world(config)
    policy = build_policy(seen_by("fc", world.environment("test", 4)), config, "fc").eval()
    (tmp_path / "config.yaml").write_text(dump_config(config))
    (run,) = gather([tmp_path]).runs
    weights = sum(weight.numel() for weight in policy.parameters() if weight.dim() > 1)
    assert count_flops(Revived(replace(run, role="fc"), policy, world)) == 2 * weights


def test_where_they_look_is_counted_evenly_over_a_test_set_that_may_lie_class_by_class(
    runs: Path, monkeypatch: pytest.MonkeyPatch
):
    """Of 360 digits every fortieth, where nine are counted."""
    (run,) = (run for run in gather([runs / "hard"]).runs if run.role == "learned")
    monkeypatch.setattr("ram_agent.compare.examine.LANES", 9)
    monkeypatch.setattr("ram_agent.compare.examine.PICTURED", 9)
    agent = revive(run, ConfiguredWorld)
    examined = examine(agent)
    every_fortieth = np.array(agent.world.labels_in("test"))[::40]
    assert examined.target.tolist() == every_fortieth.tolist()
    assert sorted(examined.gaze.target.tolist()) == sorted(every_fortieth.tolist())
    assert examined.gaze.target.tolist() == every_fortieth[of_each_class(every_fortieth.tolist(), 9)].tolist()
    counted = run.config.environment.glimpses - 1
    assert examined.fixations.sum() == 9 * counted


def test_the_answers_that_a_run_stores_are_those_that_its_weights_give(runs: Path):
    """Of the learned agent and of a control."""
    for run in gather([runs / "hard"]).runs:
        assert run.wrong is not None
        assert np.array_equal(run.wrong, find_wrong(revive(run, ConfiguredWorld)))


def test_runs_that_stored_no_answers_are_shown_the_test_set_once_more(runs: Path, report: Report, tmp_path: Path):
    """As those of earlier versions: the same pairs."""
    for name in ("hard", "soft"):
        shutil.copytree(runs / name, tmp_path / name)
        stored = results(tmp_path / name)
        for numbers in (stored, *stored["controls"].values()):
            del numbers["wrong_images"]
        (tmp_path / name / "results.json").write_text(json.dumps(stored))
    folders = [str(tmp_path / name) for name in ("hard", "soft")]
    assert main(["compare", *folders, "--no-time", "--out", str(tmp_path / "out")]) == 0
    assert read_numbers(tmp_path / "out")["pairs"] == read_numbers(report.folder)["pairs"]


def test_results_alone_are_compared_by_what_they_hold(runs: Path, report: Report, tmp_path: Path):
    """A published row beside one's own run: errors, answers, curves and what it costs, but not where it looks."""
    row, stored = tmp_path / "row.json", results(runs / "hard")
    stored["config"]["run"] |= {"device": "cuda", "cuda_graph": True}  # of whoever trained it
    row.write_text(json.dumps(stored))
    assert main(["compare", str(row), str(runs / "soft"), "--no-time", "--out", str(tmp_path / "out")]) == 0
    found, whole = read_numbers(tmp_path / "out"), read_numbers(report.folder)
    assert found["pairs"] == whole["pairs"]
    methods = {method["name"]: method for method in found["methods"]}
    for method in whole["methods"][:3]:
        (seed,), (other,) = method.pop("seeds"), methods[method["name"]].pop("seeds")
        same = ("test_error", "error_by_glimpse", "sha256", "threads", "versions")
        assert {name: seed[name] for name in same} == {name: other[name] for name in same}
        points = [(point["episodes"], point["error"]) for point in seed["validations"]]
        assert points == [(point["episodes"], point["error"]) for point in other["validations"]]
        times = [point["seconds"] for point in seed["validations"]]
        assert times == pytest.approx([point["seconds"] for point in other["validations"]])
        assert (seed["seconds"], seed["episodes"]) == (other["seconds"], other["episodes"])
        alike = {name: value for name, value in method.items() if name != "milliseconds"}
        assert {name: methods[method["name"]][name] for name in alike} == alike
    pictures = {path.name for path in (tmp_path / "out").glob("*.png")}
    assert [name for name in pictures if name.startswith("fixations_")] == ["fixations_03_soft.png"]
    text = (tmp_path / "out" / "comparison.md").read_text()
    missing = text.split("## What is missing")[1].split("## ")[0]
    assert "- A run is known by the file of results alone" in missing
    assert "the learning curve has no times" not in missing
    assert "Of hard and hard (control random) no weights are at hand: these numbers are of fresh ones" in text


def test_a_run_and_its_own_results_are_one_run_and_a_training_repeated_is_two_methods(runs: Path, tmp_path: Path):
    """In bfloat16, which is no setting to train by elsewhere, but is what the run had."""
    folder = tmp_path / "hard"
    shutil.copytree(runs / "hard", folder)
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    settings["training"]["precision"] = "bfloat16"
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    row, stored = tmp_path / "row.json", results(folder) | {"config": settings}
    row.write_text(json.dumps(stored))
    learned, random = group(gather([row, folder]).runs)
    for method in (learned, random):
        assert [(run.kind, run.config.training.precision) for run in method.runs] == [("run", "bfloat16")]
        assert [run.kind for run in method.doubles] == ["results"]
    assert main(["compare", str(row), str(folder), "--no-time", "--no-evaluate", "--out", str(tmp_path / "out")]) == 0
    for role, place in (("", folder), (":random", folder / "controls" / "random")):
        said = f"{row}{role}: the same method and seed (1) as {place}; it counts nowhere below."
        assert said in read_numbers(tmp_path / "out")["missing"]

    further = tmp_path / "further.json"  # another seed of the same
    other_seed = settings | {"run": settings["run"] | {"seed": 2}}
    further.write_text(json.dumps(stored | {"config": other_seed, "seconds": 1.0}))
    (method, _) = group(gather([further, folder]).runs)
    assert [(run.config.run.seed, run.kind) for run in method.runs] == [(1, "run"), (2, "results")]
    row.write_text(json.dumps(stored | {"seconds": 1.0}))  # somebody else's seed 1
    ours, theirs, control = group(gather([folder, row, further]).runs)
    assert (ours.name, theirs.name) == ("hard", "hard (results alone)")
    assert [run.kind for run in ours.runs] == ["run"]
    assert [run.config.run.seed for run in theirs.runs] == [1, 2]
    assert ([run.config.run.seed for run in control.runs], len(control.doubles)) == ([1, 2], 1)
    assert main(["compare", str(row), str(folder), "--no-time", "--no-evaluate", "--out", str(tmp_path / "out")]) == 0
    numbers = read_numbers(tmp_path / "out")
    assert not any("differ in their name" in sentence for sentence in numbers["missing"])
    assert {"hard", "hard (results alone)"} in [{pair["better"], pair["other"]} for pair in numbers["pairs"]]


def test_weights_that_are_not_those_of_the_results_are_told_of(runs: Path, tmp_path: Path):
    """As where the newest checkpoint is damaged: the error is of others than where it looks."""
    folder = tmp_path / "soft"
    shutil.copytree(runs / "soft", folder)
    best = results(folder)["best_at_episode"]
    (folder / "results.json").write_text(json.dumps(results(folder) | {"best_at_episode": 399}))
    assert main(["compare", str(folder), "--no-time", "--out", str(tmp_path / "out")]) == 0
    (said,) = read_numbers(tmp_path / "out")["missing"]
    assert said == (
        f"{folder}: its error is that of its weights of episode 399; where it looks is that of those at hand, of "
        f"episode {best}."
    )


def test_where_there_are_no_images_what_results_alone_cost_is_said_to_be_missing(runs: Path, tmp_path: Path):
    stored = results(runs / "other")
    stored["config"]["images"]["source"] = str(tmp_path / "gone.npz")
    (tmp_path / "row.json").write_text(json.dumps(stored))
    assert main(["compare", str(tmp_path / "row.json"), "--no-time", "--out", str(tmp_path / "out")]) == 0
    _, said = read_numbers(tmp_path / "out")["missing"]
    assert said.startswith(f"{tmp_path / 'row.json'} was not evaluated here: ")
    assert "gone.npz" in said


def test_results_that_are_no_numbers_are_no_curve(runs: Path, tmp_path: Path):
    endless = [{"episodes": math.inf, "validation_error": 1.0, "none": 1.0}]
    stored = results(runs / "soft") | {"learning_curve": endless, "gradient_signal": endless}
    (tmp_path / "row.json").write_text(json.dumps(stored))
    (run,) = gather([tmp_path / "row.json"]).runs
    assert (run.curve, run.signal) == ((), {})
    assert run.gaps == ("It is known by its results alone: no learning curve.",)


def test_of_results_that_stored_no_times_they_are_those_of_an_even_pace(runs: Path, tmp_path: Path):
    stored = results(runs / "soft")
    del stored["learning_curve_seconds"]
    (tmp_path / "row.json").write_text(json.dumps(stored | {"seconds": 100.0}))
    (run,) = gather([tmp_path / "row.json"]).runs
    assert [point.seconds for point in run.curve] == [point["episodes"] / 4 for point in stored["learning_curve"]]
    assert run.gaps == ("It is known by its results alone: the times of its learning curve are those of an even pace.",)


def test_results_alone_of_a_run_that_was_interrupted_do_not_go_on(runs: Path, tmp_path: Path):
    shutil.copy(runs / "soft" / "results.json", tmp_path / "row.json")
    _interrupt(tmp_path / "row.json")
    (run,) = gather([tmp_path / "row.json"]).runs
    assert run.gaps == ("It was interrupted and has no test error.",)


def test_what_an_agent_of_another_shape_costs_is_not_told(runs: Path, tmp_path: Path):
    """A row of an earlier version, of whose configuration this one makes another agent."""
    stored = results(runs / "soft")
    (tmp_path / "row.json").write_text(json.dumps(stored | {"parameters": stored["parameters"] + 1}))
    assert main(["compare", str(tmp_path / "row.json"), "--no-time", "--out", str(tmp_path / "out")]) == 0
    said = f"this version makes an agent of {stored['parameters']:,} parameters, it had {stored['parameters'] + 1:,}."
    assert read_numbers(tmp_path / "out")["missing"][-1].endswith(said)
    assert "Cost per image" not in (tmp_path / "out" / "comparison.md").read_text()


def test_of_a_run_one_agent_is_asked_for_by_its_role(runs: Path, tmp_path: Path):
    row = shutil.copy(runs / "hard" / "results.json", tmp_path / "row.json")
    named = [Path(f"{place}:{role}") for place in (runs / "hard", row) for role in ("random", "learned")]
    for of_run in named:
        assert [run.role for run in gather([of_run]).runs] == [str(of_run).rpartition(":")[2]]
    assert [run.role for run in gather(named[:2]).runs] == ["learned", "random"]
    assert [run.role for run in gather([named[0], runs / "hard"]).runs] == ["learned", "random"]
    (random,) = gather(named[2:3]).runs
    assert (random.whole, random.kind) == (tmp_path / "row.json", "results")
    asked = gather([named[0], runs / "soft"], controls=False).runs
    assert [(run.config.name, run.role) for run in asked] == [("hard", "random"), ("soft", "learned")]
    gathered = gather([named[0], Path(f"{runs / 'soft'}:random")])  # as of `sweep:random`, where a row has none
    assert [run.config.name for run in gathered.runs] == ["hard"]
    place = runs / "soft"
    assert gathered.left_out == (f"{place}:random is left out: run {place}: it has no agent random; it has learned.",)
    (tmp_path / "a:random").mkdir()
    shutil.copy(runs / "soft" / "config.yaml", tmp_path / "a:random")
    assert [run.role for run in gather([tmp_path / "a:random"]).runs] == ["learned"]  # a folder may be called so


def test_without_evaluation_nothing_needs_the_weights(runs: Path, tmp_path: Path):
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.yaml", "results.json", "metrics.csv"):
        shutil.copy(runs / "hard" / name, bare)
    assert main(["compare", str(bare), str(runs / "soft"), "--no-evaluate", "--out", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out" / "comparison.md").read_text()
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {"validation_error.png", "error_by_glimpse.png"}
    assert "Cost per image" not in text
    assert [pair["paired"] for pair in read_numbers(tmp_path / "out")["pairs"]] == [True] * 3
    for name in (bare, soft := tmp_path / "soft"):
        if name == soft:
            shutil.copytree(runs / "soft", soft)
        stored = results(name)
        del stored["wrong_images"], stored["controls"]
        (name / "results.json").write_text(json.dumps(stored))
    assert main(["compare", str(bare), str(soft), "--no-evaluate", "--out", str(tmp_path / "out")]) == 0
    (pair,) = read_numbers(tmp_path / "out")["pairs"]
    assert pair["paired"] is False
    said = "it is not known of every seed which images it answered wrongly: hard; soft."
    assert said in (tmp_path / "out" / "comparison.md").read_text()


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def _cut_all(folder: Path) -> None:
    for path in folder.glob("*.pt"):
        _cut(path)


def _say_another_error(path: Path) -> None:
    """Of an earlier version, which stored no answers."""
    stored = json.loads(path.read_text())
    del stored["wrong_images"]
    path.write_text(json.dumps(stored | {"test_error": 1.23}))


def _lose_weights_and_answers(path: Path) -> None:
    shutil.rmtree(path)
    results = path.with_name("results.json")
    stored = json.loads(results.read_text())
    del stored["wrong_images"]
    results.write_text(json.dumps(stored))


def _forget_the_interval(path: Path) -> None:
    stored = json.loads(path.read_text())
    del stored["test_error_ci95"]
    path.write_text(json.dumps(stored))


def _store(**numbers: Any) -> Callable[[Path], object]:
    def store(path: Path) -> None:
        path.write_text(json.dumps(json.loads(path.read_text()) | numbers))

    return store


def _diverge(path: Path) -> None:
    """As a run whose validation met NaN."""
    header, *rows = path.read_text().splitlines()
    at = header.split(",").index("eval/error")
    cells = [row.split(",") for row in rows]
    last = max(number for number, row in enumerate(cells) if row[at])
    cells[last][at] = "nan"
    path.write_text("\n".join([header, *map(",".join, cells)]) + "\n")


def _interrupt(path: Path) -> None:
    stored = json.loads(path.read_text())
    path.write_text(json.dumps({key: stored[key] for key in stored if "test_" not in key} | {"interrupted": True}))


def _lose_the_images(path: Path) -> None:
    settings = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(settings | {"images": {"source": str(path.parent / "gone.npz")}}))


DAMAGES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "no_results": ("results.json", Path.unlink, "results.json is missing"),
    "cut_results": ("results.json", _cut, "results.json cannot be read (not JSON ("),
    "list_results": ("results.json", lambda path: path.write_text("[]"), "(expected results, got [])"),
    "lacking_results": ("results.json", _forget_the_interval, "results.json lacks what a finished run stores"),
    "interrupted": ("results.json", _interrupt, "It was interrupted and has no test error"),
    "nan_error": ("results.json", _store(test_error=math.nan), "test_error: input should be"),
    "error_of_150": ("results.json", _store(test_error=150.0), "(test_error: input should be less than or equal to"),
    "no_test_images": ("results.json", _store(test_images=0), "test_images: input should be greater"),
    "no_controls": ("results.json", _store(controls={"random": 3}, test_error=[]), "test_error: input should be"),
    "endless": ("results.json", _store(episodes=math.inf, threads=math.nan, test_error="9"), "test_error: input"),
    "unwritten": ("results.json", _store(unwritten="cannot write a checkpoint"), "is not on the disk (cannot write"),
    "no_metrics": ("metrics.csv", Path.unlink, "metrics.csv is missing: the learning curve is that of results.json."),
    "text_metrics": ("metrics.csv", lambda path: path.write_text("step,a\nx,y\n"), "metrics.csv cannot be read"),
    "other_answers": ("results.json", _store(wrong_images=[1]), "lacks what a finished run stores (wrong_images: got"),
    "no_such_image": ("results.json", _store(wrong_images=[360]), "(wrong_images: expected places of 360 images"),
    "no_checkpoint": ("checkpoints", _lose_weights_and_answers, "agent.pt: no such file"),
    "cut_checkpoint": ("checkpoints", _cut_all, "agent.pt: damaged (its sha256 is not the one in "),
    "no_images": ("config.yaml", _lose_the_images, "no_images was not evaluated here"),
    "another_error": ("results.json", _say_another_error, "stored a test error of 1.23 %"),
}


@pytest.fixture(scope="module")
def mended(runs: Path) -> str:
    """The report on one sound run among damaged copies of it, and on two more that say they are other seeds of it."""

    def copy(name: str, change: Callable[[dict], object]) -> Path:
        shutil.copytree(runs / "soft", runs / name)
        settings = yaml.safe_load((runs / name / "config.yaml").read_text())
        change(settings)
        (runs / name / "config.yaml").write_text(yaml.safe_dump(settings))
        return runs / name

    for name, (file, damage, _) in DAMAGES.items():
        damage(copy(name, lambda settings, name=name: settings.update(name=name)) / file)
    for seed in (2, 3):
        copy(f"seed_{seed}", lambda settings, seed=seed: settings["run"].update(seed=seed))
    folders = [str(runs / name) for name in (*DAMAGES, "soft", "seed_2", "seed_3")]
    assert main(["compare", *folders, "--no-time", "--out", str(runs / "mended")]) == 0
    return (runs / "mended" / "comparison.md").read_text()


@pytest.mark.parametrize("name", DAMAGES)
def test_what_is_damaged_is_said_and_still_shown(name: str, mended: str):
    missing = mended.split("## What is missing")[1].split("## ")[0]
    assert any(re.search(rf"/{name}\b", line) and DAMAGES[name][2] in line for line in missing.splitlines())
    assert row(mended, name, "digits")


def test_what_is_sound_among_damaged_runs_is_shown(runs: Path, mended: str):
    assert row(mended, "soft", "digits")[2] == f"{results(runs / 'soft')['test_error']:.2f}"
    assert re.search(
        r"(soft|no_metrics) and (soft|no_metrics): no difference is shown .* (3 and 1|1 and 3) seeds", mended
    )
    assert "ms at batch" not in mended


def test_what_is_in_no_pair_is_named(mended: str):
    section = mended.split("## Which is better")[1].split("## ")[0]
    unseen = re.search(
        r"In none are, because without a result or on a test set of their own: (.*?)\. These are", section
    )
    assert unseen
    assert {"interrupted", "no_results"} <= set(unseen[1].split("; "))
    assert not {"soft", "no_checkpoint"} & set(unseen[1].split("; "))
    unpaired = re.search(r"not known of every seed which images it answered wrongly: (.*?)\. They are", section)
    assert unpaired
    assert unpaired[1] == "no_checkpoint"


def test_three_seeds_that_are_one_agent_thrice_have_no_interval_over_seeds(runs: Path, mended: str):
    cells = row(mended, "soft", "digits")
    assert (cells[3], cells[7]) == ("3 seeds, all alike: none", "3")
    assert cells[4] == "{:.2f} to {:.2f}".format(*results(runs / "soft")["test_error_ci95"])


def test_an_unfinished_run_in_a_folder_called_controls_is_none(runs: Path, tmp_path: Path) -> None:
    run = tmp_path / "controls" / "a"
    shutil.copytree(runs / "soft", run)
    (run / "results.json").unlink()
    assert main(["compare", str(run), "--no-time", "--no-evaluate", "--out", str(tmp_path / "out")]) == 0
    (method,) = read_numbers(tmp_path / "out")["methods"]
    stored = results(runs / "soft")
    assert (method["pixels"], method["seeds"][0]["sha256"]) == (stored["glimpse_pixels"], stored["dataset"]["sha256"])


def test_an_unfinished_run_shows_its_validation_error(runs: Path, mended: str):
    lowest = results(runs / "soft")["validation_error"]
    assert row(mended, "no_results", "digits")[3] == f"not finished; lowest validation error {lowest:.2f} %"


def test_an_unfinished_run_shows_what_it_costs_and_no_test_error(runs: Path, mended: str):
    """As the finished one of the same settings; of one whose checkpoint is lost fresh weights show it."""
    cost = mended.split("## Cost per image")[1].split("## The runs")[0]
    finished, unfinished = row(cost, "soft"), row(cost, "no_results")
    assert (len(finished), finished[1:]) == (4, unfinished[1:])
    cells = row(mended, "no_results", "digits")
    assert (cells[2], cells[12]) == ("–", finished[3])
    assert row(cost, "no_checkpoint")[1:] == finished[1:]
    assert "Of no_checkpoint and cut_checkpoint no weights are at hand" in cost
    pairs = mended.split("## Which is better")[1].split("## ")[0]
    assert "| no_results |" not in pairs


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the following arguments are required: RUN"),
        (["nowhere"], "run nowhere: no such folder or file"),
        (["nowhere.json:random"], "run nowhere.json:random: no such folder or file"),
        (["{runs}"], "runs0: not a run folder (no config.yaml in it)"),
        (["{runs}/noise.npz"], "noise.npz: neither the folder of a run nor the file of its results, results.json"),
        (["{runs}/report/comparison.json"], "comparison.json: expected the results.json of a run, which has a key"),
        (["{runs}/hard:centre"], "hard: it has no agent centre; it has learned and random"),
        (["{runs}/hard:randm"], "hard:randm: no agent is called 'randm'; expected one of learned, random, centre,"),
        (["{runs}/hard", "--out", "{runs}/noise.npz"], "noise.npz is a file, expected a folder"),
        (["{runs}/hard", "--sede", "1"], "--sede: unknown option"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], said: str, runs: Path, capsys: pytest.CaptureFixture[str]):
    try:
        status = main(["compare", *(argument.format(runs=runs) for argument in arguments)])
    except SystemExit as end:
        status = end.code
    shown = capsys.readouterr().err.strip()
    assert status == 2
    assert len(shown.splitlines()) == 1
    assert said in shown


def test_the_folder_of_a_sweep_stands_for_its_runs_in_the_order_of_the_table(tmp_path: Path):
    jobs = [("soft", 1), ("hard", 10), ("soft", 2), ("hard", 9)]
    for row, seed in jobs[:3]:  # the last has not begun
        (run := tmp_path / "moved" / row / f"seed{seed}").mkdir(parents=True)
        (run / "config.yaml").write_text(f"run: {{seed: {seed}}}")
    swept = {"jobs": [{"row": row, "seed": seed, "folder": f"/elsewhere/{row}/seed{seed}"} for row, seed in jobs]}
    (tmp_path / "moved" / "sweep.json").write_text(json.dumps(swept))
    other = tmp_path / "moved" / "soft" / "seed2"
    gathered = gather([tmp_path / "moved", other, tmp_path / "moved"])
    assert [run.config.name for run in gathered.runs] == ["soft", "hard", "soft"]  # the files name none
    assert [run.config.name for run in gather([other]).runs] == ["config"]
    found = [run.folder.relative_to(tmp_path / "moved") for run in gathered.runs]
    assert [str(folder) for folder in found] == ["soft/seed1", "hard/seed10", "soft/seed2"]
    assert gathered.left_out == (f"1 of 4 runs of sweep {tmp_path / 'moved'} has not begun: hard seed 9.",)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{}", "sweep.json cannot be read ('jobs'); name the runs instead"),
        ("{", "sweep.json cannot be read (Expecting property name"),
        ('{"jobs": [{"row": "a", "seed": 1}]}', "none of its 1 runs has begun"),
    ],
)
def test_the_folder_of_a_sweep_without_runs_is_one_line(content: str, said: str, tmp_path: Path):
    (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(ConfigError) as caught:
        gather([tmp_path])
    assert str(caught.value).startswith(f"sweep {tmp_path}: {said}")
    assert "\n" not in str(caught.value)
