"""What RL-Zoo's users type: `--track`, `-i/--trained-agent`, `-P/--progress`."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ram_agent.beginning import begin_with
from ram_agent.building import build_policy
from ram_agent.checkpoint import read_checkpoint
from ram_agent.cli import main
from ram_agent.config import Config, ConfigError, dump_config, load_config
from ram_agent.experiment import run_experiment
from ram_agent.export import write_export
from ram_agent.kinds import rebuild_policy
from ram_agent.policy import Policy
from ram_agent.run_files import CHECKPOINT
from ram_agent.tracking import TrackingError, tracked, wandb_client
from tests.making import make_config, make_world, unchecked

OWN = {"run": {"tensorboard": False, "pictures": 0}}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    config = make_config(**OWN)
    run_experiment(config, make_world(config), folder)
    return folder


def fresh(**sections: dict[str, Any]) -> Policy:
    config = make_config(**sections)
    return build_policy(make_world(config).environment("train", 1), config, "learned")


def same(policy: Policy, weights: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, weights[name]) for name, value in policy.state_dict().items())


# -------------------------------------------------------------------- -i, --trained-agent


def test_training_begins_with_the_best_weights_of_a_run_or_of_an_export(trained: Path, tmp_path: Path) -> None:
    saved = read_checkpoint(trained / CHECKPOINT)
    best = saved["best"]["weights"]
    exported = rebuild_policy(saved["blueprint"])
    exported.load_state_dict(best)
    with unchecked():  # torch.export traces symbolic shapes
        write_export(tmp_path / "export", exported, {"training": saved["training"], "seed": 1})  # type: ignore[arg-type]
    for source in (trained, tmp_path / "export"):
        policy = fresh()
        assert not same(policy, best)
        begin_with(policy, source)
        assert same(policy, best)


def test_another_way_to_train_may_take_over(trained: Path) -> None:
    policy = fresh(training={"method": "straight_through"})
    begin_with(policy, trained)
    assert same(policy, read_checkpoint(trained / CHECKPOINT)["best"]["weights"])


def test_a_run_is_begun_so_and_its_controls_are_not(trained: Path, tmp_path: Path) -> None:
    """At a rate too small to be seen the agent stays what it was, and its controls stay fresh."""
    slow = {"trained_agent": str(trained), "learning_rate": 1e-9}
    config = make_config(training=slow, evaluation={"controls": ["random"]}, **OWN)
    results, _ = run_experiment(config, make_world(config), tmp_path)
    begun = read_checkpoint(trained / CHECKPOINT)["best"]
    assert results["validation_error"] == begun["error"]
    learned = read_checkpoint(tmp_path / CHECKPOINT)["learner"]["policy"]
    assert all(torch.allclose(value, begun["weights"][name], atol=1e-6) for name, value in learned.items())
    control = read_checkpoint(tmp_path / "controls" / "random" / CHECKPOINT)["learner"]["policy"]
    assert not torch.allclose(control["core.cell.weight_hh"], learned["core.cell.weight_hh"], atol=1e-3)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"policy": {"hidden": 16}}, "policy.hidden 12, here 16"),
        ({"sensor": {"scales": 1}}, r"glimpse_shape \[2, 4, 4\], here \[1, 4, 4\]"),
        ({"training": {"method": "ppo"}}, "head sampled, here ppo"),
    ],
)
def test_an_agent_of_other_shapes_is_refused_by_what_differs(
    sections: dict[str, dict[str, Any]], message: str, trained: Path
) -> None:
    refused = rf"^training\.trained_agent: .* has other shapes than this agent: .*{message}.*; without a config, "
    with pytest.raises(ConfigError, match=refused):
        begin_with(fresh(**sections), trained)


@pytest.mark.parametrize(("soft", "then"), [("stn", "crop"), ("gaussian", "crop"), ("gaussian", "stn")])
def test_a_window_of_fewer_numbers_begins_where_one_of_more_ended(
    soft: str, then: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Hard from soft: told the same place, and the middle of all other ranges, both look on at the same one."""
    own = OWN | {"sensor": {"kind": soft, "size": 4, "scales": 2}, "training": {"method": "pathwise"}}
    own |= {"policy": {"scan": 2}, "environment": {"glimpses": 3}, "evaluation": {"controls": []}}
    config = make_config(**own)
    run_experiment(config, make_world(config), tmp_path)
    saved = read_checkpoint(tmp_path / CHECKPOINT)
    before = rebuild_policy(saved["blueprint"])
    before.load_state_dict(saved["best"]["weights"])
    method = "pathwise" if then == "stn" else "straight_through"
    after = fresh(**own | {"sensor": {"kind": then, "size": 4, "scales": 2}, "training": {"method": method}})
    capsys.readouterr()
    begin_with(after, tmp_path, saved["classes"])
    many, few = len(before.blueprint.first_window), len(after.blueprint.first_window)
    assert f"have {many} numbers, here {few}: the first ones go on" in capsys.readouterr().err
    glimpse, window = torch.rand(5, 2, 4, 4), torch.rand(5, few)
    given = torch.cat([window, torch.zeros(5, many - few)], dim=1)
    there, here = before.initial_state(5), after.initial_state(5)
    for _ in range(2):  # two places of the scan
        seen_there, there = before.look(glimpse, given, there)
        seen_here, here = after.look(glimpse, window, here)
        assert torch.allclose(seen_there, seen_here, atol=1e-6)
        assert torch.equal(before.answer(seen_there).argmax(1), after.answer(seen_here).argmax(1))
        assert torch.allclose(before.move(seen_there).mean[:, :few], after.move(seen_here).mean, atol=1e-6)


def test_a_window_of_more_numbers_is_refused_where_one_of_fewer_ended(trained: Path) -> None:
    soft = {"sensor": {"kind": "stn"}, "training": {"method": "pathwise"}}
    with pytest.raises(ConfigError, match=r"first_window \[0.0, 0.0\], here \[0.0, 0.0, .*; without a config, "):
        begin_with(fresh(**soft), trained)


def test_as_many_other_classes_are_begun_with_and_told(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = read_checkpoint(trained / CHECKPOINT)["classes"]
    begin_with(fresh(), trained, known)
    assert capsys.readouterr().err == ""
    begin_with(fresh(), trained, [*known[:-1], "zebra"])
    assert capsys.readouterr().err == (
        f"warning: training.trained_agent: {trained} learned other classes, and begins by answering 'zebra' where it "
        f"answered {known[-1]!r}\n"
    )


def test_an_agent_of_other_classes_is_begun_anew_by_its_config_and_not_with_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """-i was typed already; the config that the line names does train."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.savez("three.npz", images=rng.integers(0, 256, (60, 28, 28), dtype=np.uint8), labels=np.arange(60) % 3)
    few = ["--run.tensorboard", "false", "--run.pictures", "0", "--run.threads", "1", "--training.episodes", "64"]
    own = ["--images.source", "digits", "--run.folder", "first", "--evaluation.controls", "none"]
    assert main(["train", "smoke", *own, *few]) == 0
    capsys.readouterr()
    assert main(["train", "-i", "first", "--images.source", "three.npz", *few]) == 2
    told = capsys.readouterr().err
    assert "has other shapes than this agent: classes 10, here 3; the number of classes must be equal, as its" in told
    assert "a new training learns others, by that agent's config, first/results.json, without -i\n" in told
    assert main(["train", "first/results.json", "--images.source", "three.npz", *few]) == 0
    assert load_config(Path("runs", "smoke", "config.yaml")).training.trained_agent is None


@pytest.mark.parametrize("of", ["run", "export", "unfinished"])
def test_without_a_config_that_of_the_agent_is_taken(
    of: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The encoder of `smoke` is not the default's. Options are laid over it, and its folder is left alone."""
    monkeypatch.chdir(tmp_path)
    few = ["--images.source", "digits", "--run.tensorboard", "false", "--run.pictures", "0", "--run.threads", "1"]
    assert main(["train", "smoke", "--training.episodes", "64", "--run.folder", "first", *few]) == 0
    source = "first"
    if of == "export":
        source = "shared"
        assert main(["export", "first", "--out", source, "--no-graph"]) == 0
    if of == "unfinished":
        Path("first", "results.json").unlink()
    before = sorted(Path(source).rglob("*"))
    capsys.readouterr()
    assert main(["train", "-i", source, "--training.episodes", "128"]) == 0
    assert "run folder: runs/smoke" in capsys.readouterr().out
    begun, first = load_config(Path("runs", "smoke", "config.yaml")), load_config(Path("first", "config.yaml"))
    assert begun.policy == first.policy
    assert begun.sensor == first.sensor
    assert (begun.training.episodes, begun.training.trained_agent) == (128, source)
    assert sorted(Path(source).rglob("*")) == before


def test_a_run_is_not_replaced_by_one_that_is_to_begin_with_it(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(trained.rglob("*"))
    replacing = ["--run.folder", str(trained.parent / "." / trained.name), "--run.overwrite", "true"]
    assert main(["train", "smoke", "-i", str(trained), *replacing]) == 2
    told = capsys.readouterr().err
    assert f"holds {trained}, which training.trained_agent begins with; choose another folder" in told
    assert sorted(trained.rglob("*")) == before


def test_a_run_that_is_not_there_is_named_before_a_folder_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(["train", "smoke", "-i", str(tmp_path / "nothing"), "--run.folder", str(run)]) == 2
    assert f"checkpoint {tmp_path / 'nothing' / CHECKPOINT}: no such file" in capsys.readouterr().err
    assert not run.exists()


# -------------------------------------------------------------------- --track


class Client:
    """Stands for wandb: notes what it was asked for."""

    def __init__(self) -> None:
        self.begun: list[dict[str, Any]] = []
        self.codes: list[int] = []

    def init(self, **settings: Any) -> Any:
        self.begun.append(settings)
        return SimpleNamespace(id=settings["id"] or "abc", finish=lambda exit_code: self.codes.append(exit_code))


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    client = Client()
    monkeypatch.setitem(sys.modules, "wandb", client)  # type: ignore[arg-type]
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    return client


def followed() -> Config:
    return make_config(run={"track": True, "seed": 3})


def test_a_run_is_followed_from_its_start_to_its_end(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tracked(followed(), tmp_path):
        assert not client.codes
    (begun,) = client.begun
    assert begun["sync_tensorboard"]
    assert begun["config"] == followed().model_dump(mode="json")
    assert (begun["project"], begun["name"], begun["id"]) == ("ram-agent", "default seed 3", None)
    assert client.codes == [0]
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    with pytest.raises(KeyError), tracked(followed(), tmp_path):
        raise KeyError
    assert (client.begun[1]["project"], client.begun[1]["id"]) == ("mine", "abc")  # the page of before
    assert client.codes == [0, 1]


def test_what_the_client_refuses_is_one_line(client: Client, tmp_path: Path) -> None:
    def refused(**_: Any) -> Any:
        raise RuntimeError("api_key not\nconfigured")

    client.init = refused  # type: ignore[method-assign]
    with (
        pytest.raises(TrackingError, match=r"^run\.track: api_key not configured; log in with `wandb login`"),
        tracked(followed(), tmp_path),
    ):
        pass


def test_a_run_that_the_client_refuses_leaves_nothing_in_its_way(
    client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After `wandb login` the same command is to have the folder that it names."""

    def refused(**_: Any) -> Any:
        raise RuntimeError("api_key not configured")

    client.init = refused  # type: ignore[method-assign]
    run = tmp_path / "run"
    assert main(["train", "smoke", "--track", "--run.folder", str(run)]) != 0
    assert "run.track: api_key not configured" in capsys.readouterr().err
    assert not run.exists()


def test_a_client_that_cannot_be_imported_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> Any:
        raise AttributeError("`np.float_` was removed\nin NumPy 2")

    monkeypatch.setattr("ram_agent.tracking.import_module", broken)
    with pytest.raises(ConfigError, match=r"^run\.track: wandb cannot be imported \(AttributeError `np\.float_` was "):
        wandb_client()


def test_nobody_follows_unasked(client: Client, tmp_path: Path) -> None:
    with tracked(make_config(), tmp_path):
        pass
    assert not client.begun


def test_the_switch_follows_a_training(client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = make_config(
        images={"source": "digits"},
        scene={"height": 30, "width": 30},
        training={"episodes": 16},
        run={"pictures": 0},
    )
    (tmp_path / "config.yaml").write_text(dump_config(config))
    run = tmp_path / "run"
    arguments = ["train", str(tmp_path / "config.yaml"), "--run.folder", str(run)]
    begin, found = client.init, []
    client.init = lambda **settings: found.extend(run.iterdir()) or begin(**settings)  # type: ignore[method-assign]
    assert main([*arguments, "--track", "-P"]) == 0
    assert client.codes == [0]
    assert found == [run / "config.yaml"]  # by which a run that is killed here can be replaced: it has an id already
    assert "16.0/16.0" in capsys.readouterr().err  # the bar that make_config turns off


def test_without_wandb_or_events_there_is_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    run = tmp_path / "run"
    assert main(["train", "smoke", "--track", "--run.folder", str(run)]) == 2
    assert (
        "run.track: needs wandb, which is not installed; pip install wandb (in a checkout: pip install -e '.[track]')"
        in capsys.readouterr().err
    )
    assert main(["train", "smoke", "--track", "--run.tensorboard", "false", "--run.folder", str(run)]) == 2
    assert "run.track: expected run.tensorboard true" in capsys.readouterr().err
    assert not run.exists()
