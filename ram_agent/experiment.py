"""One experiment, start to end: train the agent, train its controls alike, measure all on the test set once, write it
down.

Environments come from outside, through `World`: this package never imports them.
"""

import json
import platform
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from types import FrameType
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from ram_agent.animation import gaze_frames
from ram_agent.checkpoint import CheckpointError
from ram_agent.config import Config, dump_config
from ram_agent.evaluation import TEST_SEED, evaluate
from ram_agent.figures import error_by_glimpse, learning_curves
from ram_agent.files import write_whole
from ram_agent.full_image import NETWORKS, FullImagePolicy, WholeCanvas, rebuild_policy
from ram_agent.gaze import glimpse_paths, glimpse_strip
from ram_agent.learner import LEARNERS, Learner
from ram_agent.monitoring import Best, Board, Checkpoints, Pictures, Validation, watch
from ram_agent.parallel import ALONE, Ranks
from ram_agent.pictures import write_figure, write_gif
from ram_agent.policy import Policy, RecurrentAttentionPolicy
from ram_agent.rollout import GlimpseEnvironment

CHECKPOINT = Path("checkpoints") / "agent.pt"
"""Where a run folder keeps its learner."""


@dataclass(frozen=True)
class Dataset:
    """What images an experiment stands on; said beside every number."""

    name: str
    sha256: str
    notice: str
    classes: tuple[str, ...]


@runtime_checkable
class World(Protocol):
    """Where environments come from."""

    @property
    def dataset(self) -> Dataset: ...
    def environment(self, split: str, lanes: int) -> GlimpseEnvironment: ...
    def images_in(self, split: str) -> int: ...


@dataclass
class Interruption:
    """The first SIGINT or SIGTERM asks the learner at hand to stop after its update; the second acts at once."""

    received: int = 0
    learner: Learner | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        previous = {number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        if self.learner:
            self.learner.stop_requested = True
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)


@dataclass
class Agent:
    """A trained policy with what training knows of it."""

    look: str
    """`learned`, or the kind of control."""
    learner: Learner
    validation: Validation
    board: Board

    @property
    def best(self) -> Best:
        assert self.validation.best is not None, "an agent is validated at the end of its training"
        return self.validation.best


def run_experiment(
    config: Config, world: World, folder: Path, *, resume: bool = False, ranks: Ranks = ALONE
) -> tuple[dict[str, Any], int]:
    """Train, measure, write the run folder; returns the results and the signal that interrupted it, or 0.

    An interrupted run has been saved, holds validation errors alone, and goes on with `resume=True`. Of several ranks
    all train; the first alone measures, writes and has results.
    """
    config = ranks.share(settle(config, world))
    torch.set_num_threads(config.run.threads)
    torch.set_float32_matmul_precision("high" if config.training.precision == "tf32" else "highest")
    if ranks.leads:
        (folder / "config.yaml").write_text(dump_config(config), encoding="utf-8")
        if world.dataset.notice:
            (folder / "NOTICE.txt").write_text(world.dataset.notice + "\n", encoding="utf-8")
    interruption = Interruption()
    agents: list[Agent] = []
    with interruption.watching():
        for look in ("learned", *config.evaluation.controls):
            train = train_agent if ranks.leads else assist
            agents += train(config, world, folder, look, resume=resume, interruption=interruption, ranks=ranks)
            if interruption.received:
                break
    if not ranks.leads:
        return {}, interruption.received
    if interruption.received:
        results = describe_run(config, world, agents) | {"interrupted": True}
    else:
        results = describe_run(config, world, agents) | measure(config, world, agents)
        write_pictures(config, world, agents, results, folder)
    _write_json(folder / "results.json", results)
    for agent in agents:
        _close(config, agent, results)
    return results, interruption.received


def settle(config: Config, world: World) -> Config:
    """Write down what was left open, which images and how many threads, so that a resumed run does not decide anew."""
    source = world.dataset.name if config.images.source == "auto" else config.images.source
    threads = config.run.threads or fastest_threads()
    return config.model_copy(
        update={
            "images": config.images.model_copy(update={"source": source}),
            "run": config.run.model_copy(update={"threads": threads}),
        }
    )


def make_learner(
    config: Config, world: World, folder: Path, look: str, *, resume: bool, interruption: Interruption, ranks: Ranks
) -> tuple[Learner, Path, Mapping[str, Any] | None]:
    """The learner of the agent, or of one control: the same agent but for where it looks, hence nothing to estimate.

    Also its folder, and what was saved of it if it goes on where it was.
    """
    training = config.training
    if look != "learned":
        folder = folder / "controls" / look
        training = training.model_copy(
            update={"method": "pathwise", "episodes": config.evaluation.control_episodes or training.episodes}
        )
    env = seen_by(look, world.environment("train", training.batch * training.looks))
    torch.manual_seed(config.run.seed)
    policy = build_policy(env, config, look)
    learner = LEARNERS[training.method](
        policy, env, training, seed=config.run.seed, ranks=ranks, cuda_graph=config.run.cuda_graph
    )
    interruption.learner = learner
    learner.stop_requested = bool(interruption.received)  # the signal may have come before there was a learner
    saved = None
    if ranks.share(resume and (folder / CHECKPOINT).exists()):
        saved = learner.restore(folder / CHECKPOINT)
        check_images(saved, world)
    return learner, folder, saved


def assist(
    config: Config, world: World, folder: Path, look: str, *, resume: bool, interruption: Interruption, ranks: Ranks
) -> list[Agent]:
    """Train along with the first rank: play lanes of one's own and average gradients, no more."""
    learner, _, saved = make_learner(config, world, folder, look, resume=resume, interruption=interruption, ranks=ranks)
    steps = learner.training.episodes * learner.env.glimpses
    learner.learn(steps, log_interval=2**62, reset_num_timesteps=saved is None)
    interruption.received = ranks.largest(interruption.received)
    return []


def train_agent(
    config: Config,
    world: World,
    folder: Path,
    look: str,
    *,
    resume: bool,
    interruption: Interruption,
    ranks: Ranks = ALONE,
) -> list[Agent]:
    """Train the agent, or one control, watched over, logged and saved."""
    learner, folder, saved = make_learner(
        config, world, folder, look, resume=resume, interruption=interruption, ranks=ranks
    )
    training, env = learner.training, learner.env
    resume_at = learner.episodes if saved else None
    board = Board(folder, world.dataset.name, tensorboard=config.run.tensorboard, resume_at=resume_at)
    learner.set_logger(board.logger)
    total, every = training.episodes, config.evaluation.every
    images = world.images_in("validation")
    validation = Validation(
        seen_by(look, world.environment("validation", min(images, 500))), images, every, total, board
    )
    checkpoints = Checkpoints(
        folder / CHECKPOINT,
        config.run.checkpoint_every,
        total,
        validation,
        images=world.dataset.name,
        sha256=world.dataset.sha256,
        classes=list(world.dataset.classes),
    )
    callbacks = [validation, checkpoints]
    if config.run.pictures and look == "learned":
        callbacks.insert(
            1, Pictures(world.environment("validation", min(images, config.run.pictures)), every, total, board)
        )
    if saved:
        validation.best = Best(**saved["best"]) if saved["best"] else None
    else:
        board.text("config", f"```yaml\n{dump_config(config)}```")
        board.text("images", f"{world.dataset.name}, sha256 {world.dataset.sha256}. {world.dataset.notice}")
    learner.learn(
        total * env.glimpses,
        callback=callbacks,
        log_interval=max(1, config.run.log_every // learner.lanes),
        progress_bar=config.run.progress,
        progress_title=f"{look} [{world.dataset.name}]",
        reset_num_timesteps=resume_at is None,
    )
    interruption.received = ranks.largest(interruption.received)
    if interruption.received:
        checkpoints.save()
        if validation.best is None:  # the table needs a number; what is saved goes on as if there had been no stop
            validation.evaluate(record=False)
    return [Agent(look, learner, validation, board)]


def check_images(saved: Mapping[str, Any], world: World) -> None:
    """Raise `CheckpointError` where a run's checkpoint was made from other images than those at hand."""
    if saved["sha256"] != world.dataset.sha256:
        raise CheckpointError(
            f"images: the run was trained on {saved['images']} (sha256 {saved['sha256'][:12]}), "
            f"these are {world.dataset.name} (sha256 {world.dataset.sha256[:12]}); name the same ones"
        )


def seen_by(look: str, env: GlimpseEnvironment) -> GlimpseEnvironment:
    """The environment as an agent or a control sees it: through the eye, or the whole canvas at once."""
    return WholeCanvas(env) if look in NETWORKS else env


def best_policy(saved: Mapping[str, Any], device: torch.device) -> Policy:
    """The policy of a checkpoint with its best weights by validation, or, where it has none, its last."""
    policy = rebuild_policy(saved["blueprint"]).to(device)
    policy.load_state_dict(saved["best"]["weights"] if saved["best"] else saved["learner"]["policy"])
    return policy


def build_policy(env: GlimpseEnvironment, config: Config, look: str) -> Policy:
    """The factory: which policy is what an agent or a control looks with, which head goes with which training."""
    head = {"reinforce": "sampled", "pathwise": "pathwise"}[config.training.method] if look == "learned" else look
    first, canvas = config.environment.first_window, (config.scene.height, config.scene.width)
    kind = FullImagePolicy if look in NETWORKS else RecurrentAttentionPolicy
    return kind(
        env.single_observation_space["glimpse"].shape,
        env.sensor.rest(canvas) if isinstance(first, str) else first,
        int(env.single_action_space["label"].n),
        head=head,
        config=config.policy,
    ).to(env.device)


# -------------------------------------------------------------------- measuring


def measure(config: Config, world: World, agents: list[Agent]) -> dict[str, Any]:
    """The test set, measured here and nowhere else: the best weights of each agent by its validation error."""
    images = world.images_in("test")
    env = world.environment("test", min(images, 500))
    numbers: dict[str, Any] = {}
    for agent in agents:
        policy = agent.learner.policy
        last = {name: value.clone() for name, value in policy.state_dict().items()}
        policy.load_state_dict(agent.best.weights)
        result = test_errors(
            policy, seen_by(agent.look, env), images, agent.learner.window_std(1.0), config.evaluation.votes
        )
        policy.load_state_dict(last)
        if agent.look == "learned":
            numbers = {**result, "controls": {}}
        else:
            numbers["controls"][agent.look] = {**result, "episodes": agent.learner.episodes}
    return numbers


def test_errors(policy: Policy, env: GlimpseEnvironment, images: int, std: float, votes: int) -> dict[str, Any]:
    """Test error at mean locations first; sampled and M-vote errors beside it (the same without exploration)."""
    generator = torch.Generator(next(policy.parameters()).device).manual_seed(TEST_SEED)
    mean = evaluate(policy, env, images, generator=generator)
    sampled = voted = mean
    if policy.window_head.samples:
        sampled = evaluate(policy, env, images, std=std, generator=generator)
        voted = evaluate(policy, env, images, std=std, votes=votes, generator=generator)
    return {
        "test_error": mean.error,
        "test_error_ci95": mean.interval,
        "test_error_sampled": sampled.error,
        "test_error_voted": voted.error,
        "votes": votes,
        "test_images": images,
        "error_by_glimpse": mean.error_by_glimpse,
    }


def describe_run(config: Config, world: World, agents: list[Agent]) -> dict[str, Any]:
    """Everything a number needs beside it to be repeated."""
    learner = agents[0].learner
    sensor, planes = learner.env.sensor, learner.policy.blueprint.glimpse_shape[0]
    dataset = world.dataset
    return {
        "name": config.name,
        "dataset": {"name": dataset.name, "sha256": dataset.sha256, "notice": dataset.notice},
        "validation_error": agents[0].best.error,
        "validation_errors": {agent.look: agent.best.error for agent in agents},
        "best_at_episode": agents[0].best.episodes,
        "episodes": learner.episodes,
        "seconds": learner.seconds,
        "episodes_per_second": learner.episodes / max(learner.seconds, 1e-9),
        "parameters": sum(parameter.numel() for parameter in learner.policy.parameters()),
        "glimpse_pixels": learner.env.glimpses * planes * sensor.size**2,
        "seed": config.run.seed,
        "device": str(learner.device),
        "threads": torch.get_num_threads(),
        "processes": learner.ranks.size,
        "versions": versions(),
        "config": config.model_dump(mode="json"),
    }


def final_results(folder: Path) -> dict[str, Any] | None:
    """The results of a run that was measured on the test set, which happens once; None of any other. Raises
    `ValueError`.
    """
    file = folder / "results.json"
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{file}: not JSON ({error}); remove it, and the run goes on from its checkpoint") from None
    return results if "test_error" in results else None


def versions() -> dict[str, str]:
    """Of everything that can change a number."""
    found = {"python": platform.python_version()}
    for package in ("ram-agent", "torch", "numpy", "gymnasium", "stable-baselines3"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def write_pictures(config: Config, world: World, agents: list[Agent], results: dict[str, Any], folder: Path) -> None:
    """`figures/`: glimpse paths on test images (PNG, GIF), one of them look by look, learning curves, error by look."""
    agent = agents[0]
    target = folder / "figures"
    target.mkdir(exist_ok=True)
    if config.run.pictures:
        agent.learner.policy.load_state_dict(agent.best.weights)
        lanes = min(world.images_in("test"), config.run.pictures)
        gaze = watch(agent.learner.policy, world.environment("test", lanes))
        write_figure(glimpse_paths(gaze), target / "glimpse_paths.png")
        write_gif(gaze_frames(gaze), target / "glimpse_paths.gif")
        write_figure(glimpse_strip(gaze, 0), target / "glimpse_strip.png")
    errors = {"learned": results} | results["controls"]
    by_glimpse = {f"{look} [{world.dataset.name}]": measured["error_by_glimpse"] for look, measured in errors.items()}
    write_figure(error_by_glimpse(by_glimpse), target / "error_by_glimpse.png")
    rows = [
        {**row, "time/episodes": row["step"]} for row in agent.board.metrics.rows
    ]  # validation rows have no other time
    curves = learning_curves(rows)
    curves.text(0.995, 0.005, f"images: {world.dataset.name}", ha="right", va="bottom", fontsize=7, color="#777777")
    write_figure(curves, target / "learning_curves.png")


def fastest_threads() -> int:
    """1 or all of torch's threads, whichever multiplies faster here and now.

    On a machine that others use too, two threads have been seen 70 times slower than one.
    """
    available = torch.get_num_threads()
    return 1 if available == 1 else min((1, available), key=_product_seconds)


def _product_seconds(threads: int) -> float:
    """The slowest tenth of the products of one step: what a busy core does to threads shows there."""
    torch.set_num_threads(threads)
    left, right = torch.rand(256, 512), torch.rand(512, 1024)
    times = []
    for _ in range(100):
        started = perf_counter()
        torch.mm(left, right)
        times.append(perf_counter() - started)
    return float(np.quantile(times, 0.9))


def _close(config: Config, agent: Agent, results: dict[str, Any]) -> None:
    measured = results if agent.look == "learned" else results.get("controls", {}).get(agent.look, {})
    if "test_error" in measured:
        settings = {"look": agent.look, "seed": config.run.seed} | {
            f"{section}.{name}": value
            for section, values in config.model_dump(mode="json").items()
            if isinstance(values, dict) and section not in ("run", "evaluation")
            for name, value in values.items()
        }
        names = ("test_error", "test_error_sampled", "test_error_voted")
        numbers = {name.replace("test_", "test/"): measured[name] for name in names}
        agent.board.results(settings, numbers, agent.learner.episodes)
    agent.board.close()


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_whole(path, (json.dumps(content, indent=2) + "\n").encode())
