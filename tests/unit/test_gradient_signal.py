"""The signal-to-noise ratio of gradient estimators: its formula, what it is of, and that measuring changes nothing."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ram_agent.agents import train_agent
from ram_agent.checkpoint import read_checkpoint
from ram_agent.config import Config, ConfigError
from ram_agent.gradient_signal import SignalToNoise, gradient_signal
from ram_agent.interruption import Interruption
from ram_agent.learner import LEARNERS, Learner
from ram_agent.rollout import rollout
from ram_agent.schedule import noise_seed
from tests.making import make_config, make_env, make_images, make_policy, make_world

HARD = {"none", "learned", "leave_one_out", "straight_through"}


# -------------------------------------------------------------------- the formula


def measured(gradients: Tensor) -> SignalToNoise:
    found = SignalToNoise()
    for gradient in gradients:
        found.add(gradient)
    return found


def test_the_ratio_of_two_gradients_by_hand() -> None:
    found = measured(torch.tensor([[1.0, 0.0], [3.0, 0.0]]))
    assert found.noise == 2  # (1 + 1) / (2 - 1)
    assert found.signal == 3  # 2² - 2 / 2
    assert found.ratio == 1.5


def test_signal_and_noise_are_those_of_numpys_mean_and_covariance() -> None:
    gradients = 3 + torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    found = measured(gradients)
    noise = np.trace(np.cov(gradients.double().numpy().T))
    assert found.noise == pytest.approx(noise, rel=1e-9)
    assert found.signal == pytest.approx((gradients.double().numpy().mean(axis=0) ** 2).sum() - noise / 7, rel=1e-9)


@pytest.mark.parametrize("batches", [2, 5])
@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_signal_and_noise_are_unbiased_for_a_known_mean_and_covariance(scale: float, batches: int) -> None:
    """Gradients N(mean, A Aᵀ): signal |mean|², noise trace(A Aᵀ). 500 measurements each; z-scores below 5.

    Without the correction, |ḡ|² has a z-score beyond 5 in all cases.
    """
    generator = torch.Generator().manual_seed(1)
    mean = scale * torch.randn(4, dtype=torch.float64, generator=generator)
    mixing = torch.randn(4, 4, dtype=torch.float64, generator=generator)
    draws = torch.randn(500, batches, 4, dtype=torch.float64, generator=generator)
    found = [measured(gradients) for gradients in mean + draws @ mixing.T]
    for values, truth in (
        ([each.signal for each in found], mean.square().sum()),
        ([each.noise for each in found], mixing.square().sum()),
    ):
        column = torch.tensor(values, dtype=torch.float64)
        assert abs(column.mean() - truth) < 5 * column.std() / len(column) ** 0.5
    raw = torch.tensor([each.signal + each.noise / batches for each in found], dtype=torch.float64)
    assert abs(raw.mean() - mean.square().sum()) > 5 * raw.std() / len(raw) ** 0.5


def test_the_ratio_is_that_of_the_truth_and_does_not_depend_on_scale() -> None:
    gradients = torch.tensor([0.5, -1.0]) + torch.randn(4000, 2, generator=torch.Generator().manual_seed(2))
    ratio = measured(gradients).ratio
    assert ratio == pytest.approx(1.25 / 2, rel=0.1)
    assert measured(1e-4 * gradients).ratio == pytest.approx(ratio, rel=1e-4)


def test_signal_below_what_can_be_told_from_nothing_may_be_negative() -> None:
    assert measured(torch.tensor([[1.0], [-1.0]])).ratio == -0.5


def test_batches_that_all_say_the_same_have_no_ratio() -> None:
    assert measured(torch.zeros(3, 2)).ratio is None
    assert measured(torch.ones(3, 2)).ratio is None


# -------------------------------------------------------------------- what it is of


def learner_of(method: str, sensor: str = "crop", *, env: dict[str, Any] | None = None, **settings: Any) -> Learner:
    """A small learner that is past its first weights: a head whose last layer is 0 hides the one before, and a
    classifier near 0 gives every episode the same return."""
    lanes = settings.get("batch", 8) * settings.get("episodes_per_image", 1)
    world = make_env(lanes, tensors=True, sensor=sensor, **(env or {}))
    policy = make_policy(world, head=LEARNERS[method].head, detach_location=False)
    with torch.no_grad():
        policy.window_head.outer.weight.normal_(std=0.5, generator=torch.Generator().manual_seed(5))  # type: ignore[union-attr]
        policy.classifier.weight.normal_(std=5, generator=torch.Generator().manual_seed(6))
    return LEARNERS[method](policy, world, seed=3, **settings)


def signal_of(learner: Learner, batches: int = 6, std: float = 0.3, **settings: Any) -> dict[str, float]:
    same: dict[str, Any] = {"batches": batches, "std": std, "seed": 3, "number": 2} | settings
    return gradient_signal(learner.policy, learner.env, learner.training, **same)


def by_the_learner(learner: Learner, term: str, batches: int = 6, std: float = 0.3) -> float:
    """The ratio of what a learner itself backpropagates, on the same scenes with the same noise."""
    lanes, per_image = learner.env.num_envs, learner.training.episodes_per_image
    generator, gradients = torch.Generator(), []
    scenes = torch.full((lanes,), noise_seed(3, 0, "signal scenes") >> 1)
    for batch in range(2 * batches, 3 * batches):
        generator.manual_seed(noise_seed(3, batch, "signal"))
        shown = batch * lanes + torch.arange(lanes) // per_image
        episode = rollout(learner.policy, learner.env, std=std, seed=scenes, scenes=shown, generator=generator)
        losses, _ = learner.losses(episode, std)
        learner.policy.zero_grad()
        getattr(losses, term).backward()
        parts = [weight.grad.flatten() for weight in learner.policy.window_head.parameters()]  # type: ignore[union-attr]
        gradients.append(torch.cat(parts).double().numpy())
    covariance = np.trace(np.cov(np.array(gradients).T))
    return float(((np.mean(gradients, axis=0) ** 2).sum() - covariance / batches) / covariance)


@pytest.mark.parametrize("reward", ["success", "probability", "log_likelihood"])
@pytest.mark.parametrize("baseline", ["none", "learned", "leave_one_out"])
def test_score_functions_are_those_that_reinforce_trains_by(baseline: str, reward: str) -> None:
    per_image = {"episodes_per_image": 2, "batch": 4} if baseline == "leave_one_out" else {"episodes_per_image": 1}
    learner = learner_of("reinforce", baseline=baseline, reward=reward, **per_image)
    assert signal_of(learner)[baseline] == pytest.approx(by_the_learner(learner, "reinforce"), rel=1e-3)


@pytest.mark.parametrize("every_look", [False, True])
@pytest.mark.parametrize(("method", "sensor"), [("straight_through", "crop"), ("pathwise", "gaussian")])
def test_backpropagation_is_that_which_its_learner_trains_by(method: str, sensor: str, every_look: bool) -> None:
    learner = learner_of(method, sensor, classify_every_look=every_look)
    assert signal_of(learner)[method] == pytest.approx(by_the_learner(learner, "classification"), rel=1e-3)


def test_a_policy_with_hard_windows_is_looked_at_alike_whoever_trains_it() -> None:
    """The same weights under either head give the same figures."""
    sampled, carrying = learner_of("reinforce"), learner_of("straight_through")
    carrying.policy.load_state_dict(sampled.policy.state_dict())
    ours, theirs = signal_of(sampled), signal_of(carrying)
    assert ours.keys() == HARD
    assert theirs.keys() == HARD - {"learned"}  # no one has taught its baseline
    assert theirs == {name: pytest.approx(ours[name], rel=1e-6) for name in theirs}


@pytest.mark.parametrize(
    ("method", "sensor", "settings", "names"),
    [
        ("reinforce", "crop", {"baseline": "none"}, HARD - {"learned"}),
        ("reinforce", "crop", {"baseline": "leave_one_out", "episodes_per_image": 2, "batch": 4}, HARD - {"learned"}),
        ("reinforce", "crop", {"batch": 7}, HARD - {"leave_one_out"}),  # seven are not several at each of fewer
        ("reinforce", "stn", {}, HARD - {"straight_through"} | {"pathwise"}),
        ("pathwise", "stn", {}, {"pathwise"}),
    ],
)
def test_each_policy_has_the_estimators_that_make_sense_for_it(
    method: str, sensor: str, settings: dict[str, Any], names: set[str]
) -> None:
    assert signal_of(learner_of(method, sensor, **settings)).keys() == names


@pytest.mark.parametrize("method", ["reinforce", "straight_through", "pathwise"])
def test_one_look_moves_nothing_and_has_no_ratio(method: str) -> None:
    sensor = "gaussian" if method == "pathwise" else "crop"
    assert signal_of(learner_of(method, sensor, env={"glimpses": 1})) == {}


def test_a_control_has_nothing_to_train_and_no_ratio() -> None:
    env = make_env(8, tensors=True)
    learner = LEARNERS["pathwise"](make_policy(env, head="random"), env)
    assert signal_of(learner) == {}


def test_a_return_that_is_always_nothing_has_no_ratio_and_is_no_error() -> None:
    learner = learner_of("reinforce", reward="probability", baseline="none")
    with torch.no_grad():  # below chance for every image: a class that is none
        learner.policy.classifier.weight.zero_()
        learner.policy.classifier.bias.copy_(torch.tensor([0.0, 0.0, 0.0, 0.0]))
    assert "none" not in signal_of(learner)


# -------------------------------------------------------------------- which is better


def test_baselines_raise_the_ratio_and_backpropagation_is_above_them() -> None:
    """Half way to seeing which row is bright: the eye must move to it. Measured at 0.07, 0.30, 1.35 and 2.07."""
    env = make_env(64, tensors=True, scene="plain", size=(10, 12), scales=1, first_window="centre")
    settings = {"window_std": 0.3, "learning_rate": 3e-3, "reward": "log_likelihood"}
    learner = LEARNERS["reinforce"](make_policy(env, hidden=24), env, seed=1, **settings)
    for _ in range(60):
        learner.update()
    found = signal_of(learner, batches=60)
    assert 0 < 2 * found["none"] < min(found["learned"], found["leave_one_out"])
    assert found["straight_through"] > max(found["none"], found["learned"], found["leave_one_out"])


# -------------------------------------------------------------------- measuring changes nothing


def test_measuring_touches_no_weight_no_gradient_and_no_generator_and_says_the_same_again() -> None:
    learner = learner_of("reinforce")
    learner.update()
    before = {name: value.clone() for name, value in learner.policy.state_dict().items()}
    gradients = [None if weight.grad is None else weight.grad.clone() for weight in learner.policy.parameters()]
    drawn, own = torch.get_rng_state(), learner.generator.get_state()
    first = signal_of(learner)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert torch.equal(learner.generator.get_state(), own)
    assert all(torch.equal(value, before[name]) for name, value in learner.policy.state_dict().items())
    for weight, gradient in zip(learner.policy.parameters(), gradients, strict=True):
        assert (weight.grad is None) if gradient is None else torch.equal(weight.grad, gradient)  # type: ignore[arg-type]
    assert signal_of(learner) == first
    assert signal_of(learner, number=3) != first
    assert signal_of(learner, seed=4) != first


def configure(method: str, signal: int, **sections: dict[str, Any]) -> Config:
    kind = {"pathwise": "stn"}.get(method, "crop")
    plain = {
        "sensor": {"kind": kind},
        "training": {"method": method},
        "evaluation": {"signal": signal, "controls": ["random"]},
        "run": {"tensorboard": False},
    }
    return make_config(**plain | sections)


def train(config: Config, folder: Path, role: str = "learned") -> list[dict[str, str]]:
    interruption = Interruption()
    folder.mkdir(parents=True, exist_ok=True)
    with interruption.watching():
        train_agent(config, make_world(config), folder, role, resume=False, interruption=interruption)
    with (folder / ("." if role == "learned" else f"controls/{role}") / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("method", ["reinforce", "straight_through", "pathwise"])
def test_a_training_that_is_measured_ends_with_the_weights_of_one_that_is_not(method: str, tmp_path: Path) -> None:
    saved = []
    for signal in (3, 0):
        train(configure(method, signal), tmp_path / str(signal))
        saved.append(read_checkpoint(tmp_path / str(signal) / "checkpoints" / "agent.pt"))
    for part in ("policy", "optimizer"):
        weights = [torch.cat([value.flatten() for value in tensors(each["learner"][part])]) for each in saved]
        assert torch.equal(*weights)
    assert saved[0]["best"]["error"] == saved[1]["best"]["error"]


def tensors(tree: Any) -> list[Tensor]:
    if isinstance(tree, Tensor):
        return [tree.double()]
    return [found for value in tree.values() for found in tensors(value)] if isinstance(tree, dict) else []


@pytest.mark.parametrize(
    ("method", "names"),
    [("reinforce", HARD), ("straight_through", HARD - {"learned"}), ("pathwise", {"pathwise"})],
)
def test_each_evaluation_writes_a_ratio_for_each_estimator(method: str, names: set[str], tmp_path: Path) -> None:
    rows = train(configure(method, 3), tmp_path)
    columns = {name for name in rows[0] if name.startswith("gradient/")}
    assert columns == {f"gradient/snr_{name}" for name in names}
    for column in columns:
        steps = [int(row["step"]) for row in rows if row[column]]
        assert steps == [int(row["step"]) for row in rows if row["eval/error"]] == [24, 48, 72, 80]
        assert len({row[column] for row in rows if row[column]}) == 4


def test_without_batches_or_with_one_look_there_is_no_column_and_controls_have_none(tmp_path: Path) -> None:
    one_look = configure("reinforce", 3, environment={"glimpses": 1})
    for name, config, role in (
        ("off", configure("reinforce", 0), "learned"),
        ("still", one_look, "learned"),
        ("control", configure("reinforce", 3), "random"),
    ):
        rows = train(config, tmp_path / name, role)
        assert rows
        assert not [column for column in rows[0] if column.startswith("gradient/")]


def test_one_batch_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^evaluation\.signal: expected 2 or more batches"):
        make_config(evaluation={"signal": 1})


def test_scenes_are_not_those_of_the_training() -> None:
    """By what an environment is asked for, and by what it shows then."""
    learner = learner_of("reinforce", env={"images": make_images(train=4000)})
    reset, asked, seen = learner.env.reset, set(), set()

    def noted(*, seed: Any, options: Any) -> Any:
        begun = reset(seed=seed, options=options)
        asked.update(zip(seed.tolist(), options["scene"].tolist(), strict=True))
        seen.update(canvas.numpy().tobytes() for canvas in learner.env.canvas)
        return begun

    learner.env.reset = noted  # type: ignore[method-assign]
    for _ in range(3):
        learner.update()
    trained = asked.copy(), seen.copy()
    assert len(trained[0]) == 3 * 8
    asked.clear(), seen.clear()
    for number in range(3):
        signal_of(learner, number=number)
    assert len(asked) >= 3 * 6 * 8
    assert not trained[0] & asked
    assert not trained[1] & seen


@pytest.mark.parametrize(("lanes", "several"), [(8, 4), (6, 2)])
def test_leave_one_out_is_measured_over_four_episodes_an_image_or_two_where_the_training_has_one(
    lanes: int, several: int
) -> None:
    one = learner_of("reinforce", batch=lanes)
    of_it = {"baseline": "leave_one_out", "batch": lanes // several, "episodes_per_image": several}
    expected = by_the_learner(learner_of("reinforce", **of_it), "reinforce")
    assert signal_of(one)["leave_one_out"] == pytest.approx(expected, rel=1e-3)
