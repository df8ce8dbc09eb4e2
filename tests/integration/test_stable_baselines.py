"""Stable-Baselines3's algorithms under our protocol: trained as they are by themselves, measured as our own are."""

import os
import signal
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
import yaml
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.utils import set_random_seed

from envs.sb3 import make_sb3_env
from ram_agent.agents import train_agent
from ram_agent.building import build_learner, build_policy
from ram_agent.checkpoint import read_checkpoint
from ram_agent.cli import main
from ram_agent.compare.examine import examine, find_wrong, revive
from ram_agent.compare.gather import gather
from ram_agent.config import Config, ConfigError, SB3Method, dump_config
from ram_agent.evaluation import TEST_SEED, evaluate
from ram_agent.experiment import run_experiment
from ram_agent.finite import NumbersGoneBad
from ram_agent.grid_policy import GridPolicy, GridWindowHead
from ram_agent.interruption import Interruption
from ram_agent.run_files import CHECKPOINT
from ram_agent.schedule import noise_seed
from ram_agent.stable_baselines import SEEDS, StableBaselines, algorithm_class
from tests.extras import needs_sb3_contrib
from tests.making import make_config, make_images, make_world
from tests.resuming import assert_same_runs, table

METHODS = [
    pytest.param(method, marks=needs_sb3_contrib) if method == "recurrent_ppo" else method
    for method in get_args(SB3Method)
]
LANES, LOOKS, GRID = 8, 3, 4


def configure(method: str, training: dict[str, Any] | None = None, **sections: dict[str, Any]) -> Config:
    """Ten updates of eight episodes."""
    own = {} if method == "a2c" else {"n_epochs": 2, "batch_size": 12, "clip_range": 0.3}
    return make_config(
        policy={"grid": GRID, "encoder": "conv"},
        training={"method": method, "batch": LANES, "episodes": 80, "learning_rate": 0.003, "clip": 0.7}
        | (training or {}),
        sb3={"gamma": 0.9, "ent_coef": 0.01, "reward": "each_look"} | own,
        **{"run": {"tensorboard": False, "seed": 4, "pictures": 0}, **sections},
    )


def learner_of(config: Config) -> StableBaselines:
    learner = build_learner(config, make_world(config))
    assert isinstance(learner, StableBaselines)
    return learner


def weights(model: Any) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


# -------------------------------------------------------------------- learning


class SeedsAsOurs(BaseCallback):
    """Draws what our learner draws: its generators follow from the number of the update."""

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        set_random_seed(noise_seed(4, self.num_timesteps // (LANES * LOOKS)) % SEEDS)


@pytest.mark.parametrize("method", METHODS)
def test_a_training_is_the_algorithms_own_to_the_bit(method: str) -> None:
    config = configure(method, training={"learning_rate_schedule": "constant"})
    ours = learner_of(config)
    env = make_world(config).vec_env(LANES)
    env.seed(noise_seed(4, 0, "lanes") % SEEDS)
    theirs = algorithm_class(method)(
        "MultiInputLstmPolicy" if method == "recurrent_ppo" else "MultiInputPolicy",
        env,
        n_steps=LOOKS,
        learning_rate=0.003,
        max_grad_norm=0.7,
        policy_kwargs=ours.policy.settings,  # type: ignore[arg-type]
        device="cpu",
        **config.sb3.given,
        **({"use_rms_prop": False} if method == "a2c" else {}),  # type: ignore[arg-type]
    )
    theirs.policy.load_state_dict(ours.model.policy.state_dict())
    before = weights(ours.policy)
    theirs.learn(5 * LANES * LOOKS, callback=SeedsAsOurs())
    ours.learn(5 * LANES * LOOKS)
    assert torch.equal(weights(ours.policy), weights(theirs.policy))
    assert not torch.equal(weights(ours.policy), before)
    assert ours.num_timesteps == theirs.num_timesteps == 5 * LANES * LOOKS
    assert ours.episodes == 5 * LANES


def test_the_learning_rate_follows_its_schedule_over_the_whole_training() -> None:
    learner = learner_of(configure("a2c"))
    rates = []
    for _ in range(10):
        learner.update()
        rates.append(learner.optimizer.param_groups[0]["lr"])
    np.testing.assert_allclose(rates, 0.003 * 0.5 * (1 + np.cos(np.pi * np.arange(10) / 10)))


def test_what_an_update_tells_is_what_the_algorithm_logged_and_the_episodes_came_to() -> None:
    learner = learner_of(configure("ppo"))
    facts = learner.update()
    logged = learner.model.logger.name_to_value
    for name in ("loss", "value_loss", "entropy_loss", "policy_gradient_loss", "approx_kl", "clip_fraction"):
        assert facts[f"train/{name}"] == pytest.approx(logged[f"train/{name}"])
    assert "train/learning_rate" not in facts  # the run says it already
    wins = learner.model.ep_success_buffer
    assert wins is not None
    assert len(wins) == LANES
    assert facts["rollout/error"] == pytest.approx(100 * (1 - np.mean(wins)))
    assert 0 < facts["rollout/fixation_spread"] < 1


def test_a_weight_gone_bad_ends_the_training_by_name() -> None:
    learner = learner_of(configure("ppo"))
    learner.update()
    with torch.no_grad():
        learner.model.policy.action_net.bias[0] = float("nan")
    with pytest.raises(NumbersGoneBad, match=r"network\.action_net\.bias NaN or infinite"):
        learner.update()


@needs_sb3_contrib
def test_answers_gone_bad_end_the_training_though_the_weights_are_sound() -> None:
    """A rate so high that finite weights make infinite logits, which Stable-Baselines3 refuses with a page of them."""
    learner = learner_of(configure("recurrent_ppo", training={"learning_rate": 1e25, "clip": 1e6}))
    with pytest.raises(NumbersGoneBad, match=r"^update \d: its step made \S.* NaN .* learning rate .* too high"):
        learner.learn(4 * LANES * learner.env.glimpses)


# -------------------------------------------------------------------- the policy, seen as one of ours


@pytest.mark.parametrize("method", METHODS)
def test_our_evaluation_and_evaluate_policy_see_the_same_agent(method: str) -> None:
    config = configure(method)
    learner, world = learner_of(config), make_world(config)
    with torch.no_grad():  # a policy that is not the same everywhere
        learner.model.policy.action_net.weight.mul_(30)
    ours = evaluate(learner.policy, world.environment("test", 12), 12)
    scene, sensor = config.scene, config.sensor
    twin = make_sb3_env(
        12,
        GRID,
        images=make_images(),
        split="test",
        scene=scene.kind,
        size=(scene.height, scene.width),
        glimpse_size=sensor.size,
        scales=sensor.scales,
        glimpses=LOOKS,
    )
    twin._seeds = [TEST_SEED] * 12  # one seed in all lanes, which `VecEnv.seed` has no way to say
    twin.set_options([{"scene": image} for image in range(12)])
    rewards, _ = evaluate_policy(learner.model, twin, n_eval_episodes=12, return_episode_rewards=True)
    assert [reward == 0 for reward in rewards] == ours.wrong[-1].tolist()
    assert len(np.unique(ours.answers)) > 1
    assert len(np.unique(ours.fixations[1:].round(3))) > 2


def test_a_cell_is_drawn_as_often_as_its_probability_says() -> None:
    head, draws = GridWindowHead(2), 20_000
    probability = torch.tensor([0.1, 0.2, 0.3, 0.4, 1.0])  # a label's logit follows, which is not the head's
    hidden = probability.log().expand(draws, -1)
    generator = torch.Generator().manual_seed(0)
    drawn = head(hidden, 1.0, generator).window
    for cell, location in enumerate(head.locations):
        share = (drawn == location).all(dim=1).float().mean()
        assert share == pytest.approx(float(probability[cell]), abs=0.015)  # four standard errors
    assert (head(hidden, 0.0, generator).window == torch.tensor([0.5, 0.5])).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_policy_is_rebuilt_from_its_blueprint(method: str) -> None:
    config = configure(method)
    policy = build_policy(make_world(config).environment("train", 2), config, "learned")
    again = GridPolicy.rebuild(policy.blueprint.as_plain())
    again.load_state_dict(policy.state_dict())
    glimpse, window = torch.rand(2, 2, 4, 4), torch.rand(2, 2)
    mine, state = policy.look(glimpse, window, policy.initial_state(2))
    other, _ = again.look(glimpse, window, again.initial_state(2))
    assert torch.equal(mine, other)
    assert len(state) == 2 * (method == "recurrent_ppo")
    assert mine.shape == (2, GRID**2 + 4)


# -------------------------------------------------------------------- runs


def train(config: Config, folder: Path, *, resume: bool = False) -> None:
    interruption = Interruption()
    folder.mkdir(parents=True, exist_ok=True)
    with interruption.watching():
        train_agent(config, make_world(config), folder, "learned", resume=resume, interruption=interruption)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_was_stopped_and_resumed_is_the_run_that_never_was(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(method)
    train(config, tmp_path / "whole")
    original, updates = StableBaselines.update, iter(range(10))

    def update(learner: StableBaselines, on_step: Any = None) -> Any:
        facts = original(learner, on_step)
        if next(updates) == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return facts

    with monkeypatch.context() as patch:
        patch.setattr(StableBaselines, "update", update)
        train(config, tmp_path / "stopped")
    assert read_checkpoint(tmp_path / "stopped" / CHECKPOINT)["learner"]["updates"] == 5
    train(config, tmp_path / "stopped", resume=True)
    assert_same_runs(tmp_path / "stopped", tmp_path / "whole")
    assert table(tmp_path / "whole")[0]["train/value_loss"]


def test_a_saved_learner_is_loaded_with_its_settings(tmp_path: Path) -> None:
    config = configure("ppo")
    learner = learner_of(config)
    learner.update()
    learner.save(tmp_path / "agent.pt")
    again = StableBaselines.load(tmp_path / "agent.pt", make_world(config).vec_env(LANES))
    assert again.settings == config.sb3
    for each in (learner, again):
        each.update()
    assert torch.equal(weights(again.policy), weights(learner.policy))


def test_the_folder_of_a_run_is_its_best_agent(tmp_path: Path) -> None:
    config = configure("ppo")
    learner = learner_of(config)
    best = {name: value.clone() for name, value in learner.policy.state_dict().items()}
    expected = weights(learner.policy)
    learner.update()
    learner.save(tmp_path / CHECKPOINT, best={"error": 50.0, "episodes": 0, "weights": best})
    again = StableBaselines.load(tmp_path, make_world(config).vec_env(LANES))
    assert torch.equal(weights(again.policy), expected)
    assert not torch.equal(weights(learner.policy), expected)
    assert again.model.policy is again.policy.network


def test_it_predicts_for_the_environment_that_it_was_given() -> None:
    """Stable-Baselines3's own evaluation takes it, and its answers are its model's."""
    learner = learner_of(configure("ppo"))
    seen = learner.lanes_env.reset()
    actions, _ = learner.predict(seen, deterministic=True)
    expected, _ = learner.model.predict(seen, deterministic=True)
    np.testing.assert_array_equal(actions, expected)
    reward, _ = evaluate_policy(learner, learner.lanes_env, n_eval_episodes=2 * LANES)
    assert 0 <= reward <= 1


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run with a memory, its control beside it."""
    pytest.importorskip("sb3_contrib", reason="RecurrentPPO is an extra: pip install -e '.[sb3]'")
    folder = tmp_path_factory.mktemp("finished")
    config = configure(
        "recurrent_ppo", evaluation={"controls": ["random"], "every": 40}, run={"seed": 4, "pictures": 2}
    )
    run_experiment(config, make_world(config), folder)
    return folder


def test_a_run_leaves_what_every_run_leaves(finished: Path) -> None:
    left = {str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()}
    assert {"config.yaml", "metrics.csv", "results.json", "checkpoints/agent.pt", "figures/glimpse_paths.png"} <= left
    assert any(name.startswith("events.out") for name in left)
    results = yaml.safe_load((finished / "results.json").read_text())
    assert results["episodes"] == 80
    assert results["versions"]["sb3-contrib"] != "not installed"
    for name in ("test_error", "test_error_sampled", "test_error_voted"):
        assert 0 <= results[name] <= 100
    assert results["controls"]["random"]["episodes"] == 80


def test_compare_takes_such_a_run_as_any_other(finished: Path) -> None:
    run, control = gather([finished]).runs
    assert (run.role, control.role) == ("learned", "random")
    assert not run.gaps
    assert run.config.training.method == "recurrent_ppo"
    assert len(run.curve) == 2
    agent = revive(run, make_world)
    assert len(examine(agent).gaze.target)
    assert run.wrong is not None
    assert np.array_equal(find_wrong(agent), run.wrong)


def test_such_a_run_is_not_exported_and_says_why(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["export", str(finished), "--out", str(tmp_path / "exported")]) == 2
    assert "an agent of Stable-Baselines3's (recurrent_ppo) is not exported" in capsys.readouterr().err


# -------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"sensor": {"kind": "stn"}}, r"sensor\.kind: expected crop for training\.method ppo"),
        ({"training": {"episodes_per_image": 2}}, r"training\.episodes_per_image: expected 1 .*, got 2"),
        ({"training": {"optimizer": "muon"}}, r"training\.optimizer: expected adam .*, got muon"),
        ({"training": {"window_rate": 0.5}}, r"training\.window_rate: expected 1\.0 .*, got 0\.5"),
        (
            {"training": {"reward": "success"}},
            r"training\.reward: expected probability .*use sb3\.reward",
        ),
        ({"training": {"baseline": "none"}}, r"training\.baseline: expected learned .*, got none"),
        ({"training": {"reinforce_weight": 0.3}}, r"training\.reinforce_weight: expected 1\.0 .*, got 0\.3"),
        ({"training": {"baseline_weight": 0.3}}, r"training\.baseline_weight: expected 1\.0 .*sb3\.vf_coef"),
        (
            {"training": {"window_std": 0.2}},
            r"training\.window_std: expected 0\.1 .*probabilities of cells.*, got 0\.2",
        ),
        ({"training": {"classification_weight": 0.5}}, r"training\.classification_weight: expected 1\.0 .*, got 0\.5"),
        ({"policy": {"detach_location": True}}, r"policy\.detach_location: expected False .*, got True"),
        ({"training": {"lookahead": 8}}, r"training\.lookahead: expected 0 .*, got 8"),
        ({"training": {"weight_average": 800}}, r"training\.weight_average: expected 0 .*, got 800"),
        ({"training": {"precision": "bfloat16"}}, r"training\.precision: expected float32 or tf32 .*, got bfloat16"),
        ({"training": {"batch": 1}, "environment": {"glimpses": 1}}, r"training\.batch: .* 2 steps or more .*, got 1"),
        (
            {"training": {"method": "recurrent_ppo", "batch": 43}, "environment": {"glimpses": 3}},
            r"sb3\.batch_size: expected a divisor of .* = 129 .*, got none",
        ),
        ({"training": {"classify_every_look": True}}, r"training\.classify_every_look: expected False"),
        ({"training": {"method": "a2c"}, "sb3": {"n_epochs": 2}}, r"sb3\.n_epochs: expected no such setting"),
        ({"training": {"method": "recurrent_ppo"}, "policy": {"core": "gru"}}, r"policy\.core: expected lstm"),
        (
            {"training": {"method": "reinforce"}, "sb3": {"gamma": 0.9}},
            r"sb3\.gamma: .* training\.method reinforce, got 0\.9",
        ),
        ({"sb3": {"batch_size": 7}}, r"sb3\.batch_size: expected a divisor of .* = 24, got 7"),
        ({"sb3": {"n_epoch": 2}}, r"sb3\.n_epoch: unknown setting .did you mean sb3\.n_epochs"),
        ({"sb3": {"reward": "log_probability"}}, r"sb3\.reward: got 'log_probability'"),
        ({"policy": {"grid": 1}}, r"policy\.grid: got 1"),
        ({"run": {"cuda_graph": True}}, r"run\.cuda_graph: expected False"),
    ],
)
def test_settings_that_do_not_go_with_an_algorithm_are_refused_by_name(
    sections: dict[str, dict[str, Any]], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make_config(**{**sections, "training": {"method": "ppo", "batch": LANES} | sections.get("training", {})})


def test_without_sb3_contrib_there_is_a_remedy_and_no_run_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "sb3_contrib.ppo_recurrent", None)
    (tmp_path / "config.yaml").write_text(dump_config(configure("recurrent_ppo", images={"source": "digits"})))
    run = tmp_path / "run"
    assert main(["train", str(tmp_path / "config.yaml"), "--run.folder", str(run)]) == 2
    assert "recurrent_ppo needs sb3-contrib" in capsys.readouterr().err
    assert not run.exists()


def test_another_number_of_lanes_is_refused_by_name() -> None:
    config = configure("a2c")
    world = make_world(config)
    policy = build_policy(world.environment("train", 1), config, "learned")
    assert isinstance(policy, GridPolicy)
    with pytest.raises(ValueError, match=r"^env: got 3 lanes, expected training\.batch = 8"):
        StableBaselines(policy, world.vec_env(3), config.training)
