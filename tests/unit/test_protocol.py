"""The protocol of every number: weights are chosen by validation alone, and the test set is shown once, to them.

Errors are counted here image by image, by an agent that plays single episodes; what is evaluated when, and by which
weights, is noted down while an experiment runs.
"""

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from ram_agent import agents, experiment, monitoring, results
from ram_agent.board import whole_rows
from ram_agent.checkpoint import read_checkpoint
from ram_agent.cli.world import ConfiguredWorld
from ram_agent.config import Config
from ram_agent.evaluation import TEST_SEED
from ram_agent.experiment import run_experiment
from ram_agent.kinds import rebuild_policy
from ram_agent.policy import Policy
from ram_agent.stored import final_results
from tests.making import make_config, make_world

IMAGES = {"validation": 37, "test": 61}
START, END, VOTES = 0.5, 0.2, 6


class Shown(NamedTuple):
    """One call that evaluates: what was shown to which weights, and how."""

    split: str
    scenes: int
    std: float
    votes: int
    weights: dict[str, torch.Tensor]
    error: float


class Protocol(NamedTuple):
    config: Config
    world: ConfiguredWorld
    results: dict[str, Any]
    checkpoint: dict[str, Any]
    shown: list[Shown]
    signals: list[tuple[str, float, int]]
    """Split, std and number of the update at every measurement of the signal."""
    watched: list[tuple[str, dict[str, torch.Tensor]]]
    """Split and weights of every picture that training drew."""
    pictured: list[tuple[str, dict[str, torch.Tensor]]]
    """And of those in `figures/`."""
    kept: list[str]
    """Checkpoints in the run folder."""


@pytest.fixture(scope="module")
def protocol(tmp_path_factory: pytest.TempPathFactory) -> Protocol:
    config = make_config(
        training={
            "episodes": 320,
            "learning_rate": 0.01,
            "learning_rate_schedule": "constant",
            "weight_average": 16,
            "window_std": START,
            "window_std_end": END,
        },
        evaluation={"every": 64, "votes": VOTES, "signal": 2},
        run={"pictures": 3, "keep": 2, "seed": 2, "checkpoint_every": 64},
    )
    world, folder = make_world(config, **IMAGES), tmp_path_factory.mktemp("run")
    shown: list[Shown] = []
    signals: list[tuple[str, float, int]] = []
    watched: list[tuple[str, dict[str, torch.Tensor]]] = []
    pictured: list[tuple[str, dict[str, torch.Tensor]]] = []
    evaluate, gradient_signal, watch = results.evaluate, monitoring.gradient_signal, monitoring.watch

    def weights_of(policy: Policy) -> dict[str, torch.Tensor]:
        return {name: value.clone() for name, value in policy.state_dict().items()}

    def evaluated(policy: Policy, env: Any, scenes: int, *, std: float = 0.0, votes: int = 1, **more: Any) -> Any:
        found = evaluate(policy, env, scenes, std=std, votes=votes, **more)
        shown.append(Shown(env.scenes.split, scenes, std, votes, weights_of(policy), found.error))
        return found

    def measured(policy: Policy, env: Any, training: Any, *, std: float, number: int, **more: Any) -> Any:
        signals.append((env.scenes.split, std, number))
        return gradient_signal(policy, env, training, std=std, number=number, **more)

    def drawn(policy: Policy, env: Any, *more: Any) -> Any:
        watched.append((env.scenes.split, weights_of(policy)))
        return watch(policy, env, *more)

    def pictures(policy: Policy, env: Any, *more: Any) -> Any:
        pictured.append((env.scenes.split, weights_of(policy)))
        return watch(policy, env, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "watch", pictures)
        patch.setattr(results, "evaluate", evaluated)
        patch.setattr(monitoring, "evaluate", evaluated)
        patch.setattr(monitoring, "gradient_signal", measured)
        patch.setattr(monitoring, "watch", drawn)
        numbers, _ = run_experiment(config, world, folder)
    kept = sorted(path.name for path in (folder / agents.CHECKPOINT).parent.glob("*.pt"))
    return Protocol(
        config, world, numbers, read_checkpoint(folder / agents.CHECKPOINT), shown, signals, watched, pictured, kept
    )


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(value, theirs[name]) for name, value in ours.items())


@torch.no_grad()
def wrong_by_hand(protocol: Protocol, weights: dict[str, torch.Tensor], split: str) -> list[int]:
    """Every image of a split once, in an environment of one lane, at mean locations: which are answered wrongly."""
    policy = rebuild_policy(protocol.checkpoint["blueprint"])
    policy.load_state_dict(weights)
    env, wrong = protocol.world.environment(split, 1), []
    for image in range(IMAGES[split]):
        observation, info = env.reset(seed=[TEST_SEED], options={"scene": torch.tensor([image])})
        assert int(info["target"][0]) == image % 4, "the images of a split are shown in their order"
        state = policy.initial_state(1)
        for _ in range(env.glimpses):
            hidden, state = policy.look(observation["glimpse"], observation["window"], state)
            move = {"window": policy.move(hidden).mean, "label": policy.answer(hidden).argmax(dim=-1)}
            observation, reward, *_ = env.step(move)
        wrong += [image] if reward[0] == 0 else []
    return wrong


def error_by_hand(protocol: Protocol, weights: dict[str, torch.Tensor], split: str) -> float:
    """In percent."""
    return 100 * len(wrong_by_hand(protocol, weights, split)) / IMAGES[split]


def test_weights_are_chosen_by_the_error_on_all_validation_images(protocol: Protocol) -> None:
    best, curve = protocol.checkpoint["best"], protocol.results["learning_curve"]
    episodes, errors = ([point[name] for point in curve] for name in ("episodes", "validation_error"))
    assert errors[-1] > min(errors), "the last weights are to be told from the best"
    assert protocol.results["validation_error"] == pytest.approx(min(errors))
    assert protocol.results["validation_error"] == pytest.approx(error_by_hand(protocol, best["weights"], "validation"))
    last = protocol.checkpoint["learner"]["average"]["policy"]
    assert errors[-1] == pytest.approx(error_by_hand(protocol, last, "validation"))
    first = episodes[errors.index(min(errors))]
    assert protocol.results["best_at_episode"] == best["episodes"] == first


def test_the_headline_is_the_error_of_the_chosen_weights_on_all_test_images(protocol: Protocol) -> None:
    wrong = wrong_by_hand(protocol, protocol.checkpoint["best"]["weights"], "test")
    assert protocol.results["test_error"] == pytest.approx(100 * len(wrong) / IMAGES["test"])
    assert protocol.results["test_images"] == IMAGES["test"]
    assert 0 < len(wrong) < IMAGES["test"]
    assert protocol.results["wrong_images"] == wrong


def test_nothing_but_validation_is_shown_before_the_end_and_then_the_test_set_to_the_chosen_weights_alone(
    protocol: Protocol,
) -> None:
    *during, mean, sampled, voted = protocol.shown
    assert len(during) == 5  # 320 episodes, every 64
    assert {(each.split, each.scenes, each.std, each.votes) for each in during} == {("validation", 37, 0.0, 1)}
    chosen = protocol.checkpoint["best"]["weights"]
    for shown, std, votes in [(mean, 0.0, 1), (sampled, END, 1), (voted, END, VOTES)]:
        assert (shown.split, shown.scenes, shown.votes) == ("test", 61, votes)
        assert shown.std == pytest.approx(std)
        assert same(shown.weights, chosen)
    stored = [protocol.results[f"test_error{part}"] for part in ("", "_sampled", "_voted")]
    assert stored == [mean.error, sampled.error, voted.error]
    assert len(set(stored)) == 3, "they are to be told apart"


def test_a_ctrl_c_while_pictures_are_drawn_finds_a_finished_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its numbers stand in results.json, and whoever has these has the last row of the curves, too."""
    monkeypatch.setattr(experiment, "write_pictures", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    config = make_config(training={"episodes": 32, "batch": 8})
    with pytest.raises(KeyboardInterrupt):
        run_experiment(config, make_world(config), tmp_path)
    results = final_results(tmp_path)
    assert results is not None
    assert float(whole_rows(tmp_path / "metrics.csv")[-1]["test/error"]) == pytest.approx(results["test_error"])


def test_the_signal_is_measured_on_training_images_at_the_exploration_of_the_time(protocol: Protocol) -> None:
    assert [split for split, _, _ in protocol.signals] == 5 * ["train"]
    for number, (_, std, update) in enumerate(protocol.signals, start=1):
        assert update == 8 * number  # 8 episodes an update
        assert std == pytest.approx(START + (END - START) * number / 5)


def test_pictures_of_a_training_are_of_validation_images_seen_by_the_weights_that_are_judged(
    protocol: Protocol,
) -> None:
    assert [split for split, _ in protocol.watched] == 5 * ["validation"]
    learner = protocol.checkpoint["learner"]
    assert same(protocol.watched[-1][1], learner["average"]["policy"])
    assert not same(protocol.watched[-1][1], learner["policy"])


def test_as_many_checkpoints_are_kept_as_the_config_says(protocol: Protocol) -> None:
    assert protocol.kept == ["agent-000004.pt", "agent-000005.pt", "agent.pt"]  # the last by its short name, too


def test_the_pictures_at_the_end_are_of_the_chosen_weights_on_test_images(protocol: Protocol) -> None:
    ((split, weights),) = protocol.pictured
    assert split == "test"
    assert same(weights, protocol.checkpoint["best"]["weights"])


def test_each_agent_has_a_validation_error_of_its_own(tmp_path: Path) -> None:
    config = make_config(
        training={"learning_rate": 0.01, "episodes": 160},
        evaluation={"controls": ["oracle", "cnn"], "signal": 0},
        run={"tensorboard": False},
    )
    numbers, _ = run_experiment(config, make_world(config), tmp_path)
    controls = tmp_path / "controls"
    found = {}
    for look, folder in [("learned", tmp_path), ("oracle", controls / "oracle"), ("cnn", controls / "cnn")]:
        rows = whole_rows(folder / "metrics.csv")
        found[look] = min(float(row["eval/error"]) for row in rows if row["eval/error"])
    assert len(set(found.values())) > 1
    assert numbers["validation_errors"] == pytest.approx(found)
