"""The agents of an experiment: the one that learns to look, and its controls; each made, trained, saved alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ram_agent.algorithm import Algorithm
from ram_agent.beginning import begin_with
from ram_agent.board import Board
from ram_agent.building import build_learner, seen_by
from ram_agent.checkpoint import check_weights, fitting, is_checkpointed, read_newest
from ram_agent.config import Config, TrainingConfig, dump_config
from ram_agent.files import remove_partials
from ram_agent.finite import NumbersGoneBad
from ram_agent.gaze import of_each_class
from ram_agent.interruption import Interruption
from ram_agent.monitoring import Best, Checkpoints, Periodic, Pictures, Signal, Validation
from ram_agent.parallel import ALONE, Ranks
from ram_agent.progress import tell
from ram_agent.run_files import CHECKPOINT, DIAGNOSTIC, EVENTS, agent_folder
from ram_agent.world import World, check_images, whole_split
from ram_agent.writing import Writing


@dataclass
class Agent:
    """A trained policy with what training knows of it."""

    role: str
    """`learned`, or the kind of control."""
    learner: Algorithm
    validation: Validation
    board: Board
    checkpoints: Checkpoints

    @property
    def training(self) -> TrainingConfig:
        """How it was trained, as it is told: of a control, whose windows nothing learns, with no method."""
        training = self.learner.training
        return training if self.role == "learned" else training.model_copy(update={"method": "none"})

    @property
    def best(self) -> Best:
        assert self.validation.best is not None, "an agent is validated at the end of its training"
        return self.validation.best


def make_learner(
    config: Config, world: World, folder: Path, role: str, *, resume: bool, interruption: Interruption, ranks: Ranks
) -> tuple[Algorithm, Path, Mapping[str, Any] | None]:
    """The learner of the agent, or of one control; its folder, and what was saved of it if it goes on where it was."""
    folder = agent_folder(folder, role)
    learner = build_learner(config, world, role, ranks)
    interruption.learner = learner
    learner.stop_requested = interruption.asked  # the signal may have come before there was a learner
    saved = None
    if ranks.share(resume and is_checkpointed(folder / CHECKPOINT)):
        saved = read_newest(folder / CHECKPOINT)
        with fitting(folder / CHECKPOINT):
            check_images(saved, world)  # before the weights, which do not fit another number of classes
            learner.go_on(saved, folder / CHECKPOINT)
            if saved["best"]:
                check_weights(learner.policy, Best(**saved["best"]).weights)
    elif role == "learned" and config.training.trained_agent:
        source, classes = Path(config.training.trained_agent), world.dataset.classes if ranks.leads else ()
        learner.show_others_than(begin_with(learner.policy, source, classes))
    return learner, folder, saved


def train_agent(
    config: Config,
    world: World,
    run_folder: Path,
    role: str,
    *,
    resume: bool,
    interruption: Interruption,
    ranks: Ranks = ALONE,
) -> list[Agent]:
    """Train the agent, or one control, watched over, logged and saved."""
    learner, folder, saved = make_learner(
        config, world, run_folder, role, resume=resume, interruption=interruption, ranks=ranks
    )
    remove_partials(folder)
    resume_at = learner.episodes if saved else -1 if resume else None
    told = any(folder.glob(EVENTS))
    writing = Writing(folder, interruption.give_up if config.run.on_write_error == "stop" else None, within=run_folder)
    agent, callbacks = _watched(learner, config, world, role, writing, resume_at)
    if saved:
        agent.validation.best = Best(**saved["best"]) if saved["best"] else None
    if not (saved and told):  # a resumed run may be the first that TensorBoard is told of
        introduce(agent.board, config.model_copy(update={"training": agent.training}), world)
    try:
        learn(learner, callbacks, config, f"{role} [{world.dataset.name}]", anew=saved is None)
    except Exception as error:
        agent.board.close()
        if not isinstance(error, NumbersGoneBad):
            raise
        raise NumbersGoneBad(f"{role}: {error}. {_diagnose(agent.checkpoints, folder, str(error))}") from None
    learner.release()
    interruption.agree(ranks)
    if interruption.asked:
        agent.checkpoints.save()
        if agent.validation.best is None:  # the table needs a number; what is saved goes on as if never stopped
            saved_in = "" if agent.checkpoints.unsaved else f"saved in {folder}; "
            tell(f"{saved_in}measuring its error on the validation split, for the table")
            agent.validation.evaluate(record=False)
    return [agent]


def _watched(
    learner: Algorithm,
    config: Config,
    world: World,
    role: str,
    writing: Writing,
    resume_at: int | None,
) -> tuple[Agent, list[Periodic]]:
    """An agent that is to be trained with its board in the folder of `writing`, and what is done beside its updates, in
    this order: validation, signal-to-noise and pictures of one that learns to look, checkpoints.
    """
    total, every, folder = learner.training.episodes, config.evaluation.every, writing.folder
    board = Board(folder, world.dataset.name, tensorboard=config.run.tensorboard, resume_at=resume_at, writing=writing)
    learner.set_logger(board.logger)
    validating, images = whole_split(world, "validation")
    validation = Validation(seen_by(role, validating), images, every, total, board)
    shown: list[Periodic] = []
    if config.evaluation.signal and role == "learned":
        own = world.environment("train", learner.env.num_envs)
        shown.append(Signal(own, config.evaluation.signal, every, total, board))
    if config.run.pictures and role == "learned":
        scenes = of_each_class(world.labels_in("validation"), config.run.pictures)
        shown.append(Pictures(world.environment("validation", len(scenes)), scenes, every, total, board))
    checkpoints = Checkpoints(
        folder / CHECKPOINT,
        config.run.checkpoint_every,
        total,
        validation,
        keep=config.run.keep,
        writing=writing,
        images=world.dataset.name,
        sha256=world.dataset.sha256,
        classes=list(world.dataset.classes),
        image_size=list(world.dataset.image_size),
    )
    return Agent(role, learner, validation, board, checkpoints), [validation, *shown, checkpoints]


def introduce(board: Board, config: Config, world: World) -> None:
    """What TensorBoard shows of a training before there are numbers."""
    board.layout(config.environment.glimpses)
    board.text("config", f"```yaml\n{dump_config(config)}```")
    board.text("images", f"{world.dataset.name}, sha256 {world.dataset.sha256}. {world.dataset.notice}")


def learn(learner: Algorithm, callbacks: Sequence[Periodic], config: Config, title: str, *, anew: bool) -> None:
    """All episodes of the learner's training that are left; with `anew` it counts from 0. The first rank alone logs."""
    leads = learner.ranks.leads
    learner.learn(
        learner.training.episodes * learner.env.glimpses - learner.num_timesteps,
        callback=list(callbacks),
        log_interval=max(1, config.run.log_every // learner.lanes) if leads else 2**62,
        progress_bar=config.run.progress and leads,
        progress_title=title,
        reset_num_timesteps=anew,
    )


def _diagnose(checkpoints: Checkpoints, folder: Path, reason: str) -> str:
    """Save how it stood, beside the good checkpoint, which is left alone; what to do next."""
    try:
        checkpoints.save_diagnostic(folder / DIAGNOSTIC, reason)
    except OSError as error:
        return f"No diagnostic checkpoint: {error.strerror or error}"
    good = f"the last good one is {folder / CHECKPOINT}" if (folder / CHECKPOINT).exists() else "no good one yet"
    return f"Diagnostic checkpoint: {folder / DIAGNOSTIC}, {good}; resumed, this run meets it again: begin another"


def assist(
    config: Config, world: World, folder: Path, role: str, *, resume: bool, interruption: Interruption, ranks: Ranks
) -> list[Agent]:
    """Train along with the first rank: play lanes of one's own and average gradients, no more."""
    learner, _, saved = make_learner(config, world, folder, role, resume=resume, interruption=interruption, ranks=ranks)
    learn(learner, [], config, role, anew=saved is None)
    interruption.agree(ranks)
    return []
