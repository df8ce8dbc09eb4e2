"""Searching settings: trainings with settings that Optuna suggests, judged by the validation split alone.

A trial is the agent's training, without controls and without the measuring that follows it: the world that a search
sees has no test split. All that is known is in Optuna's journal in the search's folder, so that the same command goes
on where it was. Which settings trial n gets depends on its number, the seed and the trials before it, not on when it
was interrupted.
"""

import json
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.vec_env import VecEnv

from ram_agent.agents import introduce, learn, make_learner
from ram_agent.algorithm import Algorithm
from ram_agent.board import Board
from ram_agent.checkpoint import CheckpointError
from ram_agent.config import Config, ConfigError, changed_config, dump_config, parse_config
from ram_agent.evaluation import Evaluation
from ram_agent.experiment import settle, tune_torch
from ram_agent.extras import to_install
from ram_agent.files import held, write_whole
from ram_agent.finite import NumbersGoneBad
from ram_agent.interruption import Interruption
from ram_agent.machine import memory_reason, ran_out_of_memory
from ram_agent.monitoring import Validation
from ram_agent.parallel import ALONE
from ram_agent.precision import fastest_precision
from ram_agent.rollout import GlimpseEnvironment
from ram_agent.schedule import noise_seed
from ram_agent.space import Range
from ram_agent.threads import fastest_threads
from ram_agent.world import Dataset, World, whole_split

STOPPING = (
    "stopping: ends the update or validation at hand; the same command tries this trial again; once more ends now"
)


LIVES = 3
KILLED = f"given up: the search was killed at it {LIVES} times, as by the kernel where memory runs out"


def check_optuna() -> None:
    """Raise `ConfigError` where Optuna, an extra, is not installed."""
    if find_spec("optuna") is None:
        raise ConfigError(f"search: Optuna is not installed; {to_install('optuna', 'search')}")


@dataclass(frozen=True)
class Unseen:
    """A world without its test split: what a search chooses by must not be what its result is measured on."""

    world: World

    @property
    def dataset(self) -> Dataset:
        return self.world.dataset

    @property
    def device(self) -> torch.device:
        return self.world.device

    def environment(self, split: str, lanes: int) -> GlimpseEnvironment:
        self._refuse(split)
        return self.world.environment(split, lanes)

    def vec_env(self, lanes: int) -> VecEnv:
        return self.world.vec_env(lanes)

    def images_in(self, split: str) -> int:
        self._refuse(split)
        return self.world.images_in(split)

    def labels_in(self, split: str) -> Sequence[int]:
        self._refuse(split)
        return self.world.labels_in(split)

    def _refuse(self, split: str) -> None:
        if split == "test":
            raise PermissionError("a search never sees the test set")


class Watched(Validation):
    """Validation that reports to a trial, and ends one that is worse than half of those that came to their end."""

    def __init__(self, trial: Any, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.trial, self.pruned, self.reports = trial, False, 0

    @property
    def over(self) -> bool:
        """Whether the training came to its end, or was given up."""
        return self.pruned or self.model.episodes >= self.total

    def evaluate(self, *, record: bool = True) -> Evaluation:
        result = super().evaluate(record=record)
        if self.model.episodes < self.total:  # one that has ended costs no more
            self.reports += 1
            self.trial.report(result.error, self.reports)
            self.pruned = bool(self.trial.should_prune())
            self.model.stop_requested |= self.pruned
        return result


class Search:
    """Trials of one config over one space, in one folder."""

    def __init__(
        self,
        config: Config,
        space: Mapping[str, Range],
        world_of: Callable[[Config], World],
        out: Path,
        say: Callable[[str], None] = print,
    ) -> None:
        self.config, self.space, self.world_of, self.out, self.say = config, space, world_of, out, say
        self.optuna = optuna = import_module("optuna")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.states = optuna.trial.TrialState

    def run(self, trials: int) -> int:
        """Go on until so many trials have ended; returns 0, or the signal that interrupted it.

        Raises `ConfigError` where the folder holds another search, `BlockingIOError` where one is at work in it.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        # A second signal is an exception: what is at hand is tried again, and was not killed.
        interruption = Interruption(answer=STOPPING, then=signal.default_int_handler)
        with held(self.out):
            self.study = self._study()
            self._settle()
            self._pick_up()
            self._write_best()
            with interruption.watching():
                while not interruption.received and (number := len(self._ended())) < trials:
                    self._try(number + 1, trials, interruption)
        return interruption.received

    @property
    def last_words(self) -> str:
        """What became of the last trial that was not trained to its end."""
        *_, last = self.study.get_trials(deepcopy=False, states=[self.states.PRUNED])
        return last.user_attrs.get("outcome", KILLED)

    @property
    def best(self) -> Any:
        """The trial with the lowest validation error of those that were trained to their end; None before one was."""
        complete = self.study.get_trials(deepcopy=False, states=[self.states.COMPLETE])
        return min(complete, key=lambda trial: trial.value, default=None)

    # ---------------------------------------------------------------- the journal

    def _study(self) -> Any:
        study = self.optuna.create_study(
            storage=self._storage(),
            study_name="search",
            load_if_exists=True,
            direction="minimize",
            pruner=self.optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2),
        )
        ours = {
            "config": _searched(self.config),
            "space": {name: range.model_dump(mode="json") for name, range in self.space.items()},
            "images": self.world_of(self.config).dataset.sha256,
        }
        for part, content in ours.items():
            theirs = study.user_attrs.get(part, content)
            if (_of_today(theirs) if part == "config" else theirs) != content:
                raise ConfigError(f"--out: {self.out} holds a search with another {part}; choose another folder")
            study.set_user_attr(part, content)
        return study

    def _storage(self) -> Any:
        journal, storages = self.out / "journal.log", self.optuna.storages
        _mend(journal)
        try:
            lock = storages.journal.JournalFileOpenLock(str(journal))  # the usual one is a link: not everybody's
            return storages.JournalStorage(storages.journal.JournalFileBackend(str(journal), lock_obj=lock))
        except OSError:
            raise
        except Exception as error:  # whatever Optuna meets in what it has not written
            raise ConfigError(
                f"--out: Optuna cannot read {journal} ({type(error).__name__}); delete it to begin anew, or choose "
                "another folder"
            ) from None

    def _settle(self) -> None:
        """Measure once what trials would each measure by themselves; a search that goes on keeps to it."""
        if "settled" in self.study.user_attrs:
            return
        threads = self.config.run.threads or fastest_threads()
        torch.set_num_threads(threads)
        fastest = fastest_precision(self.world_of(self.config).device)
        self.study.set_user_attr("settled", {"threads": threads, "precision": fastest})

    def _settled(self, config: Config) -> Config:
        """Threads and precision written down where they were left open."""
        settled = self.study.user_attrs["settled"]
        changed = {"run.threads": config.run.threads or settled["threads"]}
        if config.training.precision == "fastest":
            changed["training.precision"] = settled["precision"]
        return changed_config(config, changed)

    def _pick_up(self) -> None:
        """What was running when an earlier search was killed is tried again with the same settings, but not for ever:
        they may need memory that the machine has not, for which its kernel kills without a word.
        """
        for trial in self._running():
            killed = [*self._killed, trial.params]
            self.study.set_user_attr("killed", killed)
            if killed.count(trial.params) < LIVES:
                self._again(trial.number, trial.params)
            else:
                self.study.tell(trial.number, state=self.states.PRUNED)
                self.say(f"trial {trial.number}  {KILLED}  {trial.params}")

    def _running(self) -> list[Any]:
        return self.study.get_trials(states=[self.states.RUNNING])

    @property
    def _killed(self) -> list[dict[str, Any]]:
        """The settings at which a search was killed, as often as it was, but for those that have ended since."""
        return self.study.user_attrs.get("killed", [])

    def _again(self, number: int, settings: Mapping[str, Any]) -> None:
        self.study.tell(number, state=self.states.FAIL)
        self.study.enqueue_trial(dict(settings))

    def _ended(self) -> list[Any]:
        return self.study.get_trials(deepcopy=False, states=[self.states.COMPLETE, self.states.PRUNED])

    # ---------------------------------------------------------------- one trial

    def _try(self, number: int, of: int, interruption: Interruption) -> None:
        seed = noise_seed(self.config.run.seed, number, "trial") % 2**32
        self.study.sampler = self.optuna.samplers.TPESampler(seed=seed)
        trial = self.study.ask()
        settings = {name: range.drawn(trial, name) for name, range in self.space.items()}
        trial.set_user_attr("settings", settings)
        try:
            outcome = self._outcome(trial, settings, interruption)
        except BaseException as error:
            if not ran_out_of_memory(error):  # no fault of these settings, and the search ends with word of it
                with suppress(OSError):  # as of a disk that is full
                    for running in self._running():
                        self._again(running.number, running.params)
                raise
            interruption.learner = None  # what it holds is the next one's
            outcome = self._give_up(trial, memory_reason(error))
        if outcome is None:
            self._again(trial.number, trial.params)
            return
        if trial.params in self._killed:
            self.study.set_user_attr("killed", [other for other in self._killed if other != trial.params])
        best = f"best {self.best.value:.2f} %" if self.best else "no best yet"
        shown = [
            f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in settings.items()
        ]
        named = f"trial {trial.number} ({number} of {of})"
        self.say(f"{datetime.now():%H:%M:%S}  {named}  {outcome}  ({best})  {'  '.join(shown)}")

    def _outcome(self, trial: Any, settings: Mapping[str, Any], interruption: Interruption) -> str | None:
        """Train by these settings and tell the study; what came of it, in words, or None if it was interrupted."""
        try:
            config = self._settled(self._with(settings))
            world = Unseen(self.world_of(config))
            _check_scenes(world)
            config = settle(config, world)
            tune_torch(config)
            learner, folder, _ = make_learner(
                config,
                world,
                self.out / f"trial{trial.number}",
                "learned",
                resume=False,
                interruption=interruption,
                ranks=ALONE,
            )
        except (ConfigError, CheckpointError) as error:  # settings that do not go together, or not with what is at hand
            return self._give_up(trial, f"refused: {error}")
        try:
            validation = self._train(learner, config, world, folder, trial)
        except NumbersGoneBad as error:  # as at the upper end of a range of rates: no end of the search
            return self._give_up(trial, f"diverged: {error}")
        if interruption.received and not validation.over:
            return None
        assert validation.best is not None, "an agent is validated before it is judged"
        if validation.pruned:
            return self._give_up(trial, f"pruned at {validation.best.error:.2f} %")
        self.study.tell(trial, validation.best.error)
        self._write_best()
        return f"{validation.best.error:.2f} %"

    def _give_up(self, trial: Any, outcome: str) -> str:
        trial.set_user_attr("outcome", outcome)
        self.study.tell(trial, state=self.states.PRUNED)
        return outcome

    def _with(self, settings: Mapping[str, Any]) -> Config:
        return changed_config(self.config, settings)

    def _train(self, learner: Algorithm, config: Config, world: World, folder: Path, trial: Any) -> Watched:
        """The agent's training as `train_agent` does it, watched by the trial; nothing is measured after it."""
        board = Board(folder, world.dataset.name, tensorboard=config.run.tensorboard)
        introduce(board, config, world)
        learner.set_logger(board.logger)
        env, images = whole_split(world, "validation")
        validation = Watched(trial, env, images, config.evaluation.every, config.training.episodes, board)
        try:
            learn(learner, [validation], config, f"trial {trial.number} [{world.dataset.name}]", anew=True)
            if validation.best:
                board.results(
                    trial.user_attrs["settings"], {"eval/best_error": validation.best.error}, learner.episodes
                )
        finally:
            learner.release()
            board.close()
        return validation

    def _write_best(self) -> None:
        """`best.yaml`: the config with the settings that were best so far, for `train.py`."""
        best = self.best
        if best is None:
            return
        config = self._with({**best.user_attrs["settings"], "name": f"{self.config.name}_searched"})
        images = self.world_of(config).dataset.name
        header = (
            f"# Found by ram-agent search, trial {best.number}: {best.value:.2f} % on validation images of {images},\n"
            "# the lowest of all trials and hence flattering. Not measured on the test set.\n"
            f"# Searched: {', '.join(self.space)}\n"
        )
        write_whole(self.out / "best.yaml", (header + dump_config(config)).encode())


def _searched(config: Config) -> dict[str, Any]:
    """What makes a search the same; how it is run does not, nor where the images lie, of which there is a digest."""
    tree = config.model_dump(mode="json")
    return tree | {"run": {"seed": config.run.seed}, "images": {"size": tree["images"]["size"]}}


def _of_today(stored: dict[str, Any]) -> dict[str, Any]:
    """What an earlier version wrote down, with the fields that have come since: nobody set them then."""
    try:
        return _searched(parse_config(stored))
    except ConfigError:  # which this version refuses: another one
        return stored


def _check_scenes(world: World) -> None:
    """Raise `ConfigError` for scenes, an eye or a first window that cannot be."""
    try:
        world.environment("train", 1)
    except ValueError as error:  # environments know of no configuration
        raise ConfigError(str(error)) from None


def _mend(journal: Path) -> None:
    """Remove what a process that ended while it wrote has left: an unfinished last entry, and Optuna's lock.

    Optuna would write on behind such an entry and then read neither, and wait for the lock, for ever at times. What the
    entry told is done again. Only for a journal that nobody else writes to.
    """
    journal.with_name(f"{journal.name}.lock").unlink(missing_ok=True)
    if not journal.exists():
        return
    with journal.open("r+b") as file:
        *others, last = file.readlines() or [b""]
        if all(map(_is_whole, others)) and not _is_whole(last):
            file.truncate(sum(map(len, others)))


def _is_whole(entry: bytes) -> bool:
    try:
        json.loads(entry)
    except ValueError:
        return False
    return entry.endswith(b"\n")
