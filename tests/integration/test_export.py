"""A trained run as a folder to share: written, read back, refused; the eager agent is the oracle of its graph."""

import json
import os
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zipfile import ZipFile

import gymnasium
import pytest
import torch
import yaml
from safetensors.torch import load_file

from ram_agent.building import best_policy
from ram_agent.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from ram_agent.cli import main
from ram_agent.compare.gather import gather
from ram_agent.config import dump_config, load_config
from ram_agent.evaluation import evaluate
from ram_agent.experiment import run_experiment
from ram_agent.export import AGENT, STEP, WEIGHTS, AgentStep, read_export
from ram_agent.learner import LEARNERS, REINFORCE, Pathwise
from ram_agent.policy import RecurrentAttentionPolicy
from ram_agent.results import write_results
from ram_agent.rollout import rollout
from ram_agent.run_files import CHECKPOINT
from tests.making import make_config, make_env, make_learner, make_policy, make_world, unchecked

METHODS = {"reinforce": "crop", "straight_through": "crop", "pathwise": "stn"}


def run(folder: Path, method: str = "reinforce", **sections: Any) -> Path:
    config = make_config(
        sensor={"kind": METHODS[method], "size": 4, "scales": 2},
        training={"method": method, "episodes": 80, "batch": 8},
        run={"threads": 1, "progress": False, "pictures": 2, "tensorboard": False},
        evaluation={"every": 24, "votes": 2, "controls": ["random"]},
        **sections,
    )
    folder.mkdir(parents=True)
    run_experiment(config, make_world(config), folder)
    return folder


def save_as(folder: Path, changed: dict[str, Any]) -> None:
    """The checkpoint of a run with other entries, and no older one."""
    saved = read_checkpoint(folder / CHECKPOINT)
    for file in (folder / CHECKPOINT).parent.iterdir():
        file.unlink()
    write_checkpoint(folder / CHECKPOINT, saved | changed)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("runs")
    encoders = {"straight_through": {"policy": {"encoder": "shared", "scan": 1}}}
    return {method: run(base / method, method, **encoders.get(method, {})) for method in METHODS}


@pytest.fixture(scope="module")
def exports(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("exports")
    with unchecked():  # torch.export traces symbolic shapes
        for method, folder in runs.items():
            assert main(["export", str(folder), "--out", str(base / method)]) == 0
    return {method: base / method for method in METHODS}


def copied(folder: Path, to: Path) -> Path:
    to.mkdir()
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to


def test_the_folder_holds_what_was_promised_and_the_card_shows_results_and_picture(
    runs: dict[str, Path], exports: dict[str, Path]
) -> None:
    folder = exports["reinforce"]
    pictures = {"glimpse_paths.gif", "glimpse_paths.png"}
    plain = {"config.yaml", "results.json", "README.md"}
    assert {file.name for file in folder.iterdir()} == {WEIGHTS, AGENT, STEP} | plain | pictures
    assert load_config(folder / "config.yaml") == load_config(runs["reinforce"] / "config.yaml", {"run.folder": None})
    results = json.loads((runs["reinforce"] / "results.json").read_text())
    _, header, card = (folder / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(header)["license"] == "mit"
    assert f"| mean location | {results['test_error']:.2f} |" in card
    assert f"| control: random | {results['controls']['random']['test_error']:.2f} |" in card
    assert "](glimpse_paths.gif)" in card
    assert "REINFORCE.load" in card
    assert "on rows" in card  # the images
    assert "a state of zeros, (N, 12) and (N, 12)." in card


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("of", ["export", "run"])
def test_a_learner_loads_the_best_weights_and_acts_as_the_run_does(
    of: str, method: str, runs: dict[str, Path], exports: dict[str, Path]
) -> None:
    saved = read_checkpoint(runs[method] / "checkpoints" / "agent.pt")
    best = best_policy(saved, torch.device("cpu"))
    env = make_env(8, sensor=METHODS[method], tensors=True)
    agent = LEARNERS[method].load({"export": exports, "run": runs}[of][method], env)
    assert agent.policy.state_dict().keys() == best.state_dict().keys()
    for name, value in best.state_dict().items():
        assert torch.equal(agent.policy.state_dict()[name], value)
        assert torch.equal(load_file(exports[method] / WEIGHTS)[name], value)
    observation, _ = env.reset(seed=0)
    action, state = agent.predict(observation, deterministic=True)
    hidden, _ = best.look(observation["glimpse"], observation["window"], best.initial_state(8))
    torch.testing.assert_close(torch.from_numpy(action["window"]), best.move(hidden).window)
    assert len(state) == (3 if best.blueprint.config.scan else 2)
    agent.learn(8 * 3)  # and goes on learning
    assert agent.episodes == 8


def test_a_file_of_an_export_or_a_run_is_refused_with_the_folder_that_loads(
    runs: dict[str, Path], exports: dict[str, Path]
) -> None:
    env = make_env(8, tensors=True)
    for folder, names in ((exports, (WEIGHTS, AGENT, "agent")), (runs, ("results.json", "config.yaml"))):
        at = folder["reinforce"]
        for name in names:
            with pytest.raises(CheckpointError, match=f"; {re.escape(str(at))} is a trained agent: give the folder$"):
                REINFORCE.load(at / name, env)
        REINFORCE.load(at, env)


def test_an_environment_without_lanes_is_refused_with_one_that_a_learner_takes(exports: dict[str, Path]) -> None:
    with unchecked():
        single = gymnasium.make("envs:ram/ClutteredMNIST-v0", images="digits")
    policy = make_policy(make_env(8, tensors=True))
    for refused in (
        lambda: REINFORCE.load(exports["reinforce"], single),
        lambda: REINFORCE(policy, single),  # type: ignore[arg-type]
        lambda: REINFORCE(policy, single, batch=8),  # type: ignore[arg-type]
        lambda: evaluate(policy, single, 8),  # type: ignore[arg-type]
        lambda: rollout(policy, single),  # type: ignore[arg-type]
    ):
        with unchecked(), pytest.raises(ValueError, match="env: got a GlimpseEnv without lanes, expected") as caught:
            refused()
        made = re.search(r"such as (GlimpseVectorEnv\(.+?\)) of (\S+);", str(caught.value))
        assert made
    space: dict = {}
    exec(f"from {made[2]} import GlimpseVectorEnv\nenv = {made[1]}", space)
    env = space["env"]
    glimpse = env.single_observation_space["glimpse"].shape
    REINFORCE(RecurrentAttentionPolicy(glimpse, env.sensor.rest((60, 60)), 10), env).update()


def test_the_file_of_a_run_goes_on_where_it_was_and_the_folder_is_its_best(tmp_path: Path) -> None:
    """A run folder in which the best weights are neither the last ones nor their average."""
    learner = make_learner(learning_rate=0.05, weight_average=80)
    learner.update()
    best = {name: value.clone() for name, value in learner.policy.state_dict().items()}
    for _ in range(3):
        learner.update()
    learner.save(tmp_path / CHECKPOINT, best={"error": 50.0, "episodes": 8, "weights": best})
    file = REINFORCE.load(tmp_path / CHECKPOINT, make_env(8, tensors=True))
    folder = REINFORCE.load(tmp_path, make_env(8, tensors=True))
    assert (file.updates, folder.updates) == (4, 0)
    for loaded, expected in (
        (file.policy, learner.policy.state_dict()),
        (file.judged, learner.judged.state_dict()),
        (folder.policy, best),
        (folder.judged, best),
    ):
        assert all(torch.equal(value, expected[name]) for name, value in loaded.state_dict().items())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("lanes", [1, 5])
def test_the_graph_of_a_step_says_what_the_eager_agent_says_over_a_whole_episode(
    method: str, lanes: int, exports: dict[str, Path]
) -> None:
    env = make_env(8, sensor=METHODS[method], tensors=True)
    agent = LEARNERS[method].load(exports[method], env)
    graph, eager = torch.export.load(exports[method] / STEP).module(), AgentStep(agent.policy)  # type: ignore[arg-type]
    world = make_env(lanes, sensor=METHODS[method], tensors=True)
    observation, _ = world.reset(seed=1)
    ours = theirs = agent.policy.initial_state(lanes)
    with torch.no_grad():
        for _ in range(world.glimpses):
            hidden, _ = agent.policy.look(observation["glimpse"], observation["window"], ours)
            window, logits, ours = eager(observation["glimpse"], observation["window"], ours)
            other, other_logits, theirs = graph(observation["glimpse"], observation["window"], theirs)
            torch.testing.assert_close((other, other_logits, tuple(theirs)), (window, logits, ours))
            move = agent.policy.move(hidden)  # what the agent itself does at its mean
            torch.testing.assert_close(window, move.window)
            observation, *_ = world.step({"window": window, "label": logits.argmax(dim=1)})


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("lanes", [4, 24])
def test_a_learner_loads_an_export_for_as_many_lanes_as_there_are(
    method: str, lanes: int, exports: dict[str, Path]
) -> None:
    """Its training begins anew: the run's batch binds nobody."""
    agent = LEARNERS[method].load(exports[method], make_env(lanes, sensor=METHODS[method], tensors=True))
    agent.learn(lanes * 3)
    assert agent.episodes == lanes


def test_an_export_with_a_setting_by_another_name_is_refused_with_ours(
    exports: dict[str, Path], tmp_path: Path
) -> None:
    """As older code wrote them: a line, not the report of the library that reads them."""
    older = shutil.copytree(exports["reinforce"], tmp_path / "older")
    written = (older / AGENT).read_text()
    (older / AGENT).write_text(written.replace('"encoder"', '"eye"'))
    with pytest.raises(CheckpointError, match=r"\(ConfigError: eye: unknown setting \(did you mean encoder\?\)\)$"):
        REINFORCE.load(older, make_env(8, tensors=True))


def test_another_learner_is_refused(exports: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match="REINFORCE cannot train a policy of kind 'pathwise'"):
        REINFORCE.load(exports["pathwise"], make_env(8, sensor="stn", tensors=True))
    assert Pathwise.load(exports["pathwise"], make_env(8, sensor="stn", tensors=True)).episodes == 0


def test_it_says_nothing_of_the_machine_that_trained(tmp_path: Path) -> None:
    """Neither where the images lay nor where the run did: paths have people's names in them."""
    trained = run(tmp_path / "run")
    here = {
        "images.source": "/home/ann/photographs",
        "images.folder": "/home/ann/mnist",
        "run.folder": "/home/ann/runs/1",
    }
    config = load_config(trained / "config.yaml", here | {"training.trained_agent": "/home/ann/runs/before"})
    (trained / "config.yaml").write_text(dump_config(config))
    training = read_checkpoint(trained / CHECKPOINT)["training"]
    save_as(trained, {"training": training | {"trained_agent": "/home/ann/runs/before"}})
    results = json.loads((trained / "results.json").read_text())
    reason = "random: update 7: loss nan. Diagnostic checkpoint: /home/ann/runs/1/controls/random/checkpoints/x.pt"
    write_results(trained, results | {"controls_gone_bad": {"random": reason}})
    with unchecked():
        assert main(["export", str(trained), "--out", str(tmp_path / "out")]) == 0
    handed_on = json.loads((tmp_path / "out" / "results.json").read_text())
    assert handed_on["controls_gone_bad"] == {"random": "random: update 7: loss nan"}
    shared = load_config(tmp_path / "out" / "config.yaml")
    assert (shared.images.source, shared.training.trained_agent) == ("photographs", "before")
    assert shared.model_dump(exclude={"images", "run", "training"}) == config.model_dump(
        exclude={"images", "run", "training"}
    )
    for file in (tmp_path / "out").iterdir():
        assert b"/home/ann" not in file.read_bytes()
        assert str(tmp_path).encode() not in file.read_bytes()
    with ZipFile(tmp_path / "out" / STEP) as archive:  # nor where the code lay
        assert not [
            name for name in archive.namelist() if str(Path(__file__).parents[2]).encode() in archive.read(name)
        ]


def test_a_name_of_images_that_markdown_would_read_is_shown_as_it_is(tmp_path: Path) -> None:
    trained = run(tmp_path / "run")
    save_as(trained, {"images": "cats|dogs & ~more~"})
    with unchecked():
        assert main(["export", str(trained), "--out", str(tmp_path / "out"), "--no-graph"]) == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert r"cats\|dogs \& \~more\~ | % | 95 % interval |" in card
    assert r"on cats\|dogs \& \~more\~." in card


def test_what_was_trained_on_a_gpu_is_not_asked_for_one(tmp_path: Path) -> None:
    trained = run(tmp_path / "run")
    config = load_config(trained / "config.yaml", {"run.device": "cuda", "run.cuda_graph": True})
    (trained / "config.yaml").write_text(dump_config(config))
    with unchecked():
        assert main(["export", str(trained), "--out", str(tmp_path / "out")]) == 0
    shared = load_config(tmp_path / "out" / "config.yaml").run
    assert (shared.device, shared.cuda_graph) == ("auto", None)


def test_an_export_is_not_trained_on_under_its_own_name(
    exports: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copied(exports["reinforce"], tmp_path / "shared")
    before = {file: file.read_bytes() for file in folder.iterdir()}
    assert main(["train", "--resume", str(folder)]) == 2
    assert f"--resume {folder}: an export, which has no training to go on with" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in folder.iterdir()} == before


def test_an_export_is_held_against_runs_with_the_errors_of_its_own(tmp_path: Path) -> None:
    run, other, folder = tmp_path / "run", tmp_path / "other", tmp_path / "export"
    few = ["--images.source", "digits", "--training.episodes", "64", "--evaluation.controls", "none"]
    few += ["--run.tensorboard", "false", "--run.pictures", "0", "--evaluation.signal", "0", "--run.threads", "1"]
    for place, sensor in ((run, "crop"), (other, "stn")):
        method = {"crop": "reinforce", "stn": "pathwise"}[sensor]
        eye = ["--sensor.kind", sensor, "--training.method", method, "--run.folder", str(place)]
        assert main(["train", *few, *eye]) == 0
    trained = json.loads((run / "results.json").read_text())
    assert main(["export", str(run), "--out", str(folder), "--no-graph"]) == 0
    exported = json.loads((folder / "results.json").read_text())
    assert exported.pop("config")["run"]["folder"] is None
    assert trained.pop("config")["run"]["folder"] == str(run)
    assert exported == trained
    of_export, of_run = (gather([where]).runs[0] for where in (folder, run))
    assert of_export.measured == of_run.measured
    assert of_export.gaps == ("It is an export: its controls are not in it.",)
    assert [point.error for point in of_export.curve] == [point.error for point in of_run.curve]
    assert [point.seconds for point in of_export.curve] == pytest.approx([point.seconds for point in of_run.curve])
    assert main(["compare", str(folder), str(other), "--out", str(tmp_path / "out"), "--no-time"]) == 0
    told = (tmp_path / "out" / "comparison.md").read_text()
    assert re.search(r"paired, [\d,]+ images", told)
    assert "not finished" not in told


def test_an_export_of_older_weights_than_were_measured_has_no_results(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where the newest checkpoint is damaged, and one before it is read."""
    trained = tmp_path / "run"
    shutil.copytree(runs["reinforce"], trained)
    best = read_checkpoint(trained / CHECKPOINT)["best"]
    save_as(trained, {"best": best | {"episodes": best["episodes"] - 8}})
    assert main(["export", str(trained), "--out", str(tmp_path / "out"), "--no-graph"]) == 0
    assert "tells the error of other weights" in capsys.readouterr().err
    assert not (tmp_path / "out" / "results.json").exists()
    assert "not measured" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8").lower()


def test_an_export_of_a_run_that_is_not_finished_has_no_results(runs: dict[str, Path], tmp_path: Path) -> None:
    trained = tmp_path / "run"
    shutil.copytree(runs["reinforce"], trained)
    (trained / "results.json").unlink()
    assert main(["export", str(trained), "--out", str(tmp_path / "out"), "--no-graph"]) == 0
    assert not (tmp_path / "out" / "results.json").exists()
    (found,) = gather([tmp_path / "out"]).runs
    assert found.gaps[0] == "It is an export without results.json, as of a run that was not finished."


def test_an_export_is_no_run_to_export_or_to_train_into(
    exports: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copied(exports["reinforce"], tmp_path / "shared")
    before = {file: file.read_bytes() for file in folder.iterdir()}
    for words, said in (
        (
            ["export", str(folder), "--out", str(tmp_path / "again")],
            f"run {folder}: an export already; copy the folder",
        ),
        (["train", "smoke", "--run.folder", str(folder)], f"run.folder: {folder} is an export; choose another"),
        (["train", "smoke", "--run.folder", str(folder), "--run.overwrite", "true"], "is an export; choose another"),
    ):
        assert main(words) == 2
        assert said in capsys.readouterr().err
    assert {file: file.read_bytes() for file in folder.iterdir()} == before


def test_an_export_with_damaged_results_is_told_what_helps(exports: dict[str, Path], tmp_path: Path) -> None:
    folder = copied(exports["reinforce"], tmp_path / "shared")
    (folder / "results.json").write_text("{")
    (found,) = gather([folder]).runs
    assert found.measured is None
    assert re.fullmatch(r"results\.json cannot be read \(.*\): export the run again\.", found.gaps[0])
    assert len(found.gaps) == 1


def test_a_link_within_the_folder_is_followed(exports: dict[str, Path], tmp_path: Path) -> None:
    """As the Hub's client makes them; one that leads out of it is refused, see test_damaged_runs.py."""
    folder = copied(exports["reinforce"], tmp_path / "linked")
    os.replace(folder / WEIGHTS, folder / "within")
    (folder / WEIGHTS).symlink_to("within")
    read_export(folder)


# -------------------------------------------------------------------- the Hub


class Client:
    """Notes what it was asked for, and what lay in the folder by then."""

    def __init__(self, *, private: bool = True) -> None:
        self.asked: list[Any] = []
        self.private = private

    def repo_info(self, *, repo_id: str) -> Any:
        return SimpleNamespace(private=self.private)

    def create_repo(self, **given: Any) -> str:
        self.asked.append(given)
        return f"https://hub/{given['repo_id']}"

    def upload_folder(self, *, folder_path: str, repo_id: str, commit_message: str) -> None:
        self.asked.append((repo_id, {file.name for file in Path(folder_path).iterdir()}))


def test_a_push_uploads_the_whole_folder_to_the_repository(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = Client()
    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(HfApi=lambda: client))
    arguments = ["export", str(runs["reinforce"]), "--out", str(tmp_path / "out"), "--push-to-hub", "me/ram"]
    with unchecked():
        assert main([*arguments, "--private"]) == 0
    made, (repository, uploaded) = client.asked
    assert made == {"repo_id": "me/ram", "private": True, "exist_ok": True}
    assert repository == "me/ram"
    assert uploaded == {file.name for file in (tmp_path / "out").iterdir()} >= {WEIGHTS, "README.md"}
    assert "https://hub/me/ram" in capsys.readouterr().out


def test_what_is_to_be_private_is_not_pushed_to_what_is_public(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = Client(private=False)
    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(HfApi=lambda: client))
    arguments = ["export", str(runs["reinforce"]), "--out", str(tmp_path / "out"), "--private"]
    with unchecked():
        assert main([*arguments, "--push-to-hub", "me/ram"]) == 2
    assert "it is there, and public: nothing was uploaded" in capsys.readouterr().err
    assert len(client.asked) == 1
    assert main(arguments) == 2
    assert "--private: expected --push-to-hub OWNER/NAME beside it" in capsys.readouterr().err


def test_a_push_without_the_client_says_what_to_install_and_writes_nothing(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    arguments = ["export", str(runs["reinforce"]), "--out", str(tmp_path / "out"), "--push-to-hub", "me/ram"]
    assert main(arguments) == 2
    assert "pip install huggingface_hub (in a checkout: pip install -e '.[hub]')" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_the_graph_neither_the_file_nor_a_word_of_it_is_there_and_the_agent_loads(
    runs: dict[str, Path], exports: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    assert main(["export", str(runs["reinforce"]), "--out", str(folder), "--no-graph"]) == 0
    assert {file.name for file in folder.iterdir()} == {file.name for file in exports["reinforce"].iterdir()} - {STEP}
    assert STEP not in (folder / "README.md").read_text() + (folder / AGENT).read_text()
    assert (folder / WEIGHTS).read_bytes() == (exports["reinforce"] / WEIGHTS).read_bytes()
    read_export(folder)


def test_a_folder_that_holds_something_is_not_written_to(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").write_text("mine")
    assert main(["export", str(runs["reinforce"]), "--out", str(tmp_path)]) == 2
    assert "--out: " in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


def test_what_vouches_for_the_files_of_an_export_is_written_last(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full at the weights leaves nothing that passes for an export."""

    def full(path: Path, content: bytes) -> None:
        raise OSError(28, f"No space left on device: {path.name}")

    monkeypatch.setattr("ram_agent.export.write_whole", full)
    with unchecked():
        main(["export", str(runs["reinforce"]), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out" / AGENT).exists()
    written: list[str] = []
    monkeypatch.setattr("ram_agent.export.write_whole", lambda path, content: written.append(path.name))
    with unchecked():
        main(["export", str(runs["reinforce"]), "--out", str(tmp_path / "again")])
    assert written[-1] == AGENT
    assert set(written) == {AGENT, WEIGHTS, STEP}
