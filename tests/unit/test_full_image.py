"""Networks over the whole canvas: their size by hand, what they see, and that they go through the same machinery."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ram_agent.building import build_policy, seen_by
from ram_agent.evaluation import TEST_SEED, evaluate
from ram_agent.experiment import run_experiment
from ram_agent.full_image import NETWORKS, FullImagePolicy, WholeCanvas
from ram_agent.learner import REINFORCE, Pathwise, StraightThrough
from ram_agent.policy import RecurrentAttentionPolicy
from ram_agent.report import _against, results_table
from tests.making import make_config, make_env, make_world


def build(head: str, shape: tuple[int, int, int] = (1, 18, 22), classes: int = 4) -> FullImagePolicy:
    torch.manual_seed(0)
    return FullImagePolicy(shape, (0.0, 0.0), classes, head=head)


def make_learner(head: str, lanes: int = 8, **settings: str) -> Pathwise:
    return Pathwise(build(head), WholeCanvas(make_env(lanes, tensors=True, **settings)), seed=2)


# -------------------------------------------------------------------- networks


@pytest.mark.parametrize(
    ("head", "shape", "classes", "count"),
    [
        # 60 x 60: 8 maps of 11 x 11.
        ("cnn", (1, 60, 60), 10, (100 + 1) * 8 + (8 * 11 * 11 + 1) * 256 + 257 * 10),
        # 18 x 22 in three colours: 8 maps of 2 x 3.
        ("cnn", (3, 18, 22), 4, (300 + 1) * 8 + (8 * 2 * 3 + 1) * 256 + 257 * 4),
        ("fc", (1, 60, 60), 10, 3601 * 256 + 257 * 256 + 257 * 10),
        ("fc", (3, 18, 22), 4, (3 * 18 * 22 + 1) * 256 + 257 * 256 + 257 * 4),
        # Convolutions without a bias, a scale and a shift a map.
        ("modern_cnn", (1, 60, 60), 10, 9 * (32 + 32 * 64 + 64 * 128) + 2 * (32 + 64 + 128) + 129 * 10),
        ("modern_cnn", (1, 5, 7), 10, 94_186),
    ],
)
def test_parameters_are_as_many_as_counted_by_hand(
    head: str, shape: tuple[int, int, int], classes: int, count: int
) -> None:
    policy = build(head, shape, classes)
    assert sum(parameter.numel() for parameter in policy.parameters()) == count
    hidden, state = policy.look(torch.rand(3, *shape), torch.zeros(3, 2), policy.initial_state(3))
    assert policy.answer(hidden).shape == (3, classes)
    assert state == ()


def test_the_papers_networks_are_what_the_paper_says() -> None:
    canvas = torch.rand(3, 1, 18, 22, generator=torch.Generator().manual_seed(1))
    weights = {head: list(build(head).parameters()) for head in ("cnn", "fc")}
    kernel, shift, wide, bias, last, end = weights["cnn"]
    seen = torch.relu(F.conv2d(canvas, kernel, shift, stride=5)).flatten(1)
    convolved = torch.relu(seen @ wide.T + bias) @ last.T + end
    first, one, second, two, last, end = weights["fc"]
    connected = torch.relu(torch.relu(canvas.flatten(1) @ first.T + one) @ second.T + two) @ last.T + end
    for head, expected in (("cnn", convolved), ("fc", connected)):
        policy = build(head)
        torch.testing.assert_close(policy.answer(policy.look(canvas, torch.zeros(3, 2), ())[0]), expected)


@pytest.mark.parametrize("head", NETWORKS)
def test_a_network_sees_the_whole_canvas(head: str) -> None:
    canvas = torch.rand(8, 1, 20, 25, requires_grad=True, generator=torch.Generator().manual_seed(1))
    hidden, _ = build(head, (1, 20, 25)).look(canvas, torch.zeros(8, 2), ())
    (gradient,) = torch.autograd.grad(hidden.square().sum(), canvas)
    assert (gradient.abs().amax(dim=(0, 1)) > 0).all()


# -------------------------------------------------------------------- one look at everything


def test_the_canvas_is_the_glimpse_and_the_first_step_the_answer() -> None:
    inner = make_env(6, tensors=True)
    env = WholeCanvas(inner)
    observation, info = env.reset(seed=1, options={"scene": np.arange(6)})
    plain, told = make_env(6, tensors=True).reset(seed=1, options={"scene": np.arange(6)})
    assert torch.equal(observation["glimpse"], inner.canvas)
    assert torch.equal(observation["window"], plain["window"])
    assert torch.equal(info["target"], told["target"])
    assert observation["glimpse"].shape[1:] == env.single_observation_space["glimpse"].shape
    answer = info["target"].clone()
    answer[:2] = (answer[:2] + 1) % 4
    _, reward, over, cut, info = env.step({"window": observation["window"], "label": answer})
    assert reward.tolist() == [0, 0, 1, 1, 1, 1]
    assert over.all()
    assert not cut.any()
    assert torch.equal(info["is_success"], reward.bool())


@pytest.mark.parametrize("head", NETWORKS)
def test_a_network_learns_what_its_canvases_show(head: str) -> None:
    """Rows of light in noise, four classes: chance is 75 %. Every weight has a part in it."""
    learner = make_learner(head, lanes=32, scene="plain")
    before = [parameter.clone() for parameter in learner.policy.parameters()]
    learner.learn(100 * 32)
    assert learner.episodes == learner.num_timesteps == 100 * 32  # one step an episode
    assert not any(torch.equal(*pair) for pair in zip(before, learner.policy.parameters(), strict=True))
    test = WholeCanvas(make_env(12, split="test", scene="plain", tensors=True))
    assert evaluate(learner.policy, test, 12).error < 30


def test_measuring_is_by_what_batch_norm_learned_and_teaches_it_nothing() -> None:
    learner = make_learner("modern_cnn")
    learner.learn(5 * 8)
    before = {name: value.clone() for name, value in learner.policy.state_dict().items()}
    whole = evaluate(learner.policy, WholeCanvas(make_env(12, split="test", tensors=True)), 12)
    single = evaluate(learner.policy, WholeCanvas(make_env(1, split="test", tensors=True)), 12)
    assert np.array_equal(whole.answers, single.answers)  # whoever else is in the batch
    assert all(torch.equal(value, before[name]) for name, value in learner.policy.state_dict().items())
    assert learner.policy.training
    assert whole.error_by_glimpse == [whole.error]
    assert whole.confusion(4).sum() == 12


def test_answers_to_test_scenes_are_those_of_the_bare_network() -> None:
    policy = build("fc")
    env = make_env(12, split="test", tensors=True)
    env.reset(seed=[TEST_SEED] * 12, options={"scene": np.arange(12)})
    expected = policy.classifier(policy.network(env.canvas)).argmax(dim=-1)
    assert np.array_equal(evaluate(policy, WholeCanvas(env), 12).answers, expected.numpy()[None])


@pytest.mark.parametrize("head", NETWORKS)
def test_a_checkpoint_brings_the_network_back(head: str, tmp_path: Path) -> None:
    learner = make_learner(head)
    learner.learn(5 * 8)
    learner.save(tmp_path / "agent")
    again = Pathwise.load(tmp_path / "agent", learner.env)
    assert isinstance(again.policy, FullImagePolicy)
    assert again.policy.blueprint == learner.policy.blueprint
    observation = learner.env.reset(seed=9)[0]
    for each in (learner, again):
        each.policy.eval()
    assert np.array_equal(learner.predict(observation)[0]["label"], again.predict(observation)[0]["label"])


def test_asking_changes_no_answer_and_no_weight_whatever_the_company() -> None:
    """Batch norm answers by what it learned, be a picture asked about alone or among others."""
    learner = make_learner("modern_cnn").learn(8 * 4)
    before = {name: value.clone() for name, value in learner.policy.state_dict().items()}
    canvas = np.random.default_rng(3).random((6, 1, 18, 22), dtype=np.float32)
    window = np.zeros((6, 2), np.float32)
    among = learner.predict({"glimpse": canvas, "window": window}, deterministic=True)[0]["label"]
    alone = [learner.predict({"glimpse": canvas[i], "window": window[i]})[0]["label"] for i in range(6)]
    assert among.tolist() == [int(label) for label in alone]
    assert all(torch.equal(value, before[name]) for name, value in learner.policy.state_dict().items())
    assert learner.policy.training


def test_reinforce_has_nothing_to_teach_a_network_that_does_not_move() -> None:
    env = WholeCanvas(make_env(4, tensors=True))
    for Learner in (REINFORCE, StraightThrough):
        with pytest.raises(ValueError, match=r"cannot train a policy of kind 'cnn'; use .*Pathwise"):
            Learner(build("cnn"), env)


# -------------------------------------------------------------------- in an experiment


def test_the_factory_gives_every_control_its_policy_and_its_view() -> None:
    config = make_config()
    env = make_world(config).environment("train", 2)
    for role in ("learned", "random", *NETWORKS):
        view = seen_by(role, env)
        kind = FullImagePolicy if role in NETWORKS else RecurrentAttentionPolicy
        assert isinstance(build_policy(view, config, role), kind)
        assert isinstance(view, WholeCanvas) == (role in NETWORKS)


def test_an_experiment_reports_every_control_alike(tmp_path: Path) -> None:
    controls = ["raster", "oracle", *NETWORKS]
    config = make_config(evaluation={"controls": controls}, run={"tensorboard": False})
    results, _ = run_experiment(config, make_world(config), tmp_path)
    assert list(results["controls"]) == controls
    assert len({frozenset(numbers) for numbers in results["controls"].values()}) == 1  # the same numbers of each
    for role, numbers in results["controls"].items():
        assert len(numbers["error_by_glimpse"]) == (1 if role in NETWORKS else 3)
        assert numbers["error_by_glimpse"][-1] == numbers["test_error"]
        assert numbers["test_error_ci95"][0] < numbers["test_error"] < numbers["test_error_ci95"][1]
        assert (tmp_path / "controls" / role / "metrics.csv").is_file()
    table = results_table(results)
    for label in (
        "raster, trained alike ",
        "oracle, trained alike ",
        *(f"{name}, the whole canvas " for name in NETWORKS),
    ):
        assert f"\n  {label}" in table
    for role, numbers in results["controls"].items():
        points = numbers["test_error"] - results["test_error"]
        told = f"the policy has {abs(points):.1f} points {'less' if points >= 0 else 'more'} error than {role}"
        assert sum(f"\n  {line}\n" in table for line in (told, f"{told}: the intervals overlap")) == 1
    assert (tmp_path / "figures" / "error_by_glimpse.png").is_file()


def measured(controls: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "some",
        "config": make_config(training={"episodes": 200}).model_dump(),
        "dataset": {"name": "digits", "notice": ""},
        "test_error": 10.0,
        "test_error_ci95": (9.0, 11.0),
        "test_error_sampled": 10.0,
        "test_error_voted": 10.0,
        "votes": 3,
        "test_images": 100,
        "error_by_glimpse": [10.0],
        "episodes": 200,
        "seconds": 1.0,
        "episodes_per_second": 200.0,
        "device": "cpu",
        "threads": 1,
        "parameters": 7,
        "glimpse_pixels": 16,
        "controls": controls,
    }


@pytest.mark.parametrize(
    ("training", "episodes", "told"),
    [
        ({"method": "ppo"}, 200, "by right answers"),
        ({"trained_agent": "runs/before"}, 200, "from scratch"),
        ({}, 100, "100 episodes"),
    ],
)
def test_a_control_that_was_not_trained_alike_is_not_said_to_be(
    training: dict[str, str], episodes: int, told: str
) -> None:
    numbers = {"test_error": 20.0, "test_error_ci95": (18.0, 22.0), "episodes": episodes}
    results = measured({"random": numbers, "cnn": numbers})
    results["config"]["training"] |= training
    table = results_table(results)
    assert f"random, {told} " in table
    assert f"cnn, the whole canvas, {told} " in table
    assert "trained alike" not in table
    assert "few test images" not in table
    assert "few test images" in results_table(results | {"test_images": 99})
    assert ", 1 image of digits, " in results_table(results | {"test_images": 1})
    assert "the policy has" not in table


@pytest.mark.parametrize(
    ("training", "told"),
    [
        ({"episodes_per_image": 4}, "4 times the images"),
        ({"lookahead": 8}, "not looking ahead"),
        ({"episodes_per_image": 2, "lookahead": 1}, "2 times the images, not looking ahead"),
    ],
)
def test_what_a_control_is_shown_otherwise_is_said_beside_its_error(training: dict[str, int], told: str) -> None:
    numbers = {"test_error": 20.0, "test_error_ci95": (18.0, 22.0), "episodes": 200}
    results = measured({"random": numbers, "cnn": numbers})
    results["config"]["training"] |= training
    table = results_table(results)
    assert f"random, {told} " in table
    assert f"cnn, the whole canvas, {told} " in table
    assert f" error than random, {told}" in table
    assert "trained alike" not in table


def test_one_is_told_in_the_singular() -> None:
    one = measured({})
    one["config"]["environment"]["glimpses"] = one["config"]["scene"]["clutter"] = one["episodes"] = 1
    one["config"]["scene"]["kind"] = "cluttered"
    table = results_table(one)
    assert "with 1 patch, 1 glimpse of " in table
    assert "  1 episode in " in table
    assert ", 1 thread, " in table
    several = results_table(measured({}) | {"threads": 2})
    assert ", 2 threads, " in several
    assert " glimpses of " in several


def test_a_control_that_no_interval_tells_from_the_agent_is_no_gain_of_the_policy() -> None:
    agent = {"test_error": 10.0, "test_error_ci95": [8.0, 12.0]}
    apart = {"test_error": 13.0, "test_error_ci95": [12.5, 15.0]}
    assert _against("random", apart, agent) == "the policy has 3.0 points less error than random"
    assert _against("oracle", agent, apart) == "the policy has 3.0 points more error than oracle"
    for error, interval, told in ((13.0, [11.5, 15.0], "3.0 points less"), (9.0, [7.0, 11.0], "1.0 points more")):
        against = _against("random", {"test_error": error, "test_error_ci95": interval}, agent)
        assert against == f"the policy has {told} error than random: the intervals overlap"
