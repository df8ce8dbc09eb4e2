"""What Stable-Baselines3 expects of an algorithm: learn, predict, logger, callbacks; saved and loaded whole.

What happens in an update is not said here, but in `learner.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar, cast

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, ConvertCallback
from stable_baselines3.common.logger import Logger, configure
from torch import Tensor

from ram_agent.checkpoint import (
    CheckpointError,
    fitting,
    give_weights,
    judged_weights,
    keep_checkpoint,
    numbered,
    read_newest,
    write_checkpoint,
)
from ram_agent.config import TrainingConfig, parse_section
from ram_agent.evaluation import at_rest
from ram_agent.export import read_saved, read_trained
from ram_agent.finite import Circumstances, Divergence, Guard, NumbersGoneBad, bad_parameters, describe
from ram_agent.heads import LearnedWindowHead
from ram_agent.kinds import rebuild_policy
from ram_agent.metrics import Running
from ram_agent.optimizers import MULTIPLE
from ram_agent.parallel import ALONE, Ranks
from ram_agent.policy import Policy
from ram_agent.progress import ProgressBar, warn
from ram_agent.rollout import GlimpseEnvironment, check_lanes

Own = TypeVar("Own", bound="Algorithm")

ASK_EVERY = 16
"""Updates between two questions to a GPU whether all numbers are finite (on the CPU the answer costs nothing), and of
ranks to each other whether to stop."""

SHOWN = "images_shown"
"""What an export calls how many images its training has been through."""

KEPT = ("batch", "episodes_per_image", "optimizer")
"""Settings without which a training cannot go on: its updates are counted in episodes, its optimiser has a state."""


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Numbers next to 0, such as come of the tails of Gaussians, count as 0: processors are slow at them."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


class Actions(dict[str, np.ndarray]):
    """A batch of dict actions that answers to both conventions.

    `actions["window"]` is the batch, as Gymnasium's vector environments take it; `actions[i]` is the action of lane i,
    as Stable-Baselines3's `DummyVecEnv` takes it.
    """

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, int | np.integer):
            return {name: values[key] for name, values in self.items()}
        return super().__getitem__(key)

    def __len__(self) -> int:
        return len(super().__getitem__("label"))


class Algorithm(ABC):
    """Counts, learns update by update, answers single observations, saves itself.

    `num_timesteps` counts steps of single lanes, as in Stable-Baselines3: T per episode.
    """

    optimizer: torch.optim.Optimizer
    terms: Sequence[str] = ()
    """Names of what the guard examines in each update."""

    def __init__(
        self,
        policy: Policy,
        env: GlimpseEnvironment,
        training: TrainingConfig,
        *,
        seed: int = 0,
        ranks: Ranks = ALONE,
        tensorboard_log: str | Path | None = None,
        verbose: int = 0,
    ) -> None:
        if not 0 <= seed < 2**63:
            raise ValueError(f"seed: got {seed}, expected a whole number from 0 to 2**63 - 1")
        self.policy = policy
        self.env = env
        self.training = training
        self.seed = seed
        self.device = next(policy.parameters()).device
        self.ranks = ranks
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self.tensorboard_log = str(tensorboard_log) if tensorboard_log is not None else None
        self.verbose = verbose
        self.num_timesteps = 0
        self.updates = 0
        self.earlier_updates = 0
        """Those before `learn` began to count anew, or of the training that this one begins with: what they showed and
        drew is not shown and drawn again."""
        self.total_episodes = training.episodes
        self.trained = False
        """Whether the weights are those that a training ended with, or was judged by: they act as at its end."""
        self._lanes_counted = self.lanes
        """Episodes of an update that is counted: of those of a checkpoint as it says, until counting begins anew."""
        self.seconds = 0.0
        """Time spent in updates, over all sessions of this run; on a GPU as of the last time that it was waited for."""
        self.stop_requested = False
        """Set by a signal handler: `learn` finishes the update at hand, forgets that it was asked, and returns."""
        self.running = Running()
        self.guard = Guard(self.device, self.terms)
        self.divergence = Divergence(training.clip, isinstance(policy.window_head, LearnedWindowHead))
        self._logger: Logger | None = None

    @abstractmethod
    def update(self, on_step: Callable[[], object] | None = None) -> dict[str, Tensor]:
        """One episode in every lane and one step of the optimiser; returns what happened, on the device."""

    @abstractmethod
    def window_std(self, progress: float) -> float:
        """Exploration at that fraction of the training."""

    @abstractmethod
    def circumstances(self) -> Circumstances:
        """What a diagnosis of numbers gone bad goes by."""

    @property
    def progress(self) -> float:
        """Fraction of the training that is done, 0 to 1; what was trained elsewhere is at its end until it learns."""
        return 1.0 if self.trained else min(1.0, self.episodes / max(1, self.total_episodes))

    @property
    def judged(self) -> Policy:
        """The policy that is validated, kept where it is the best, and acts: the one that learns, or its average."""
        return self.policy

    @property
    def lanes(self) -> int:
        """Episodes that one update plays, all ranks together."""
        return self.env.num_envs * self.ranks.size

    def check_number_of_lanes(self) -> None:
        """Raise `ValueError` where the environment has another number of lanes than an update is made of."""
        if self.env.num_envs != self.training.lanes_per_process:
            raise ValueError(
                f"env: got {self.env.num_envs} lanes, expected batch x episodes_per_image = {self.training.batch} x "
                f"{self.training.episodes_per_image} to learn from; make it with as many, or give another batch or "
                "episodes_per_image"
            )

    @property
    def largest_parameter(self) -> float:
        """The largest absolute value among the policy's weights."""
        return max(float(value.detach().abs().amax()) for value in self.policy.parameters())

    @property
    def draw(self) -> int:
        """The number of the update at hand among all of this learner's: its images and its noise follow from it."""
        return self.earlier_updates + self.updates

    @property
    def episodes(self) -> int:
        """Episodes played so far, by all ranks together."""
        return self.updates * self._lanes_counted

    # ---------------------------------------------------------------- learning

    def learn(
        self: Own,
        total_timesteps: int,
        callback: Callable[..., bool] | BaseCallback | list[BaseCallback] | None = None,
        log_interval: int = 40,
        progress_bar: bool = False,
        reset_num_timesteps: bool = True,
        progress_title: str = "training",
    ) -> Own:
        """Train for at least `total_timesteps` steps of single lanes (T per episode), in whole updates; returns self.

        Schedules run over `total_timesteps`. `log_interval` is in updates; the last row takes in what is left over.
        With `reset_num_timesteps=False` counting goes on where it was, and schedules run over all steps, those before
        included, as in Stable-Baselines3: of n steps that were stopped or loaded, `n - num_timesteps` are what is left.
        Either way other images are shown, and other noise drawn, than before.

        Raises `NumbersGoneBad` at NaN or infinity in a loss, the gradient or a weight, the weights being those before
        it, and `ValueError` where the environment has other lanes than an update is made of, or another number of
        processes trained so far, and counting is to go on.
        """
        self.check_number_of_lanes()
        if reset_num_timesteps:
            self.earlier_updates = -(-self.draw * self._lanes_counted // self.lanes)
            self._lanes_counted = self.lanes
            self.num_timesteps = self.updates = 0
            self.seconds, self.running = 0.0, Running()
        elif self._lanes_counted != self.lanes:
            raise ValueError(
                f"reset_num_timesteps: got False, expected True: updates of {self._lanes_counted:,} episodes were "
                f"counted so far, in several processes, and here they are of {self.lanes:,}"
            )
        self.trained = False
        total_timesteps += self.num_timesteps
        self.total_episodes = -(-total_timesteps // self.env.glimpses)
        callbacks = _as_callback(callback)
        callbacks.init_callback(cast(BaseAlgorithm, self))
        callbacks.on_training_start({"self": self, "total_timesteps": total_timesteps}, globals())
        going_on = True

        def on_step() -> None:
            nonlocal going_on
            self.num_timesteps += self.lanes
            going_on = callbacks.on_step() and going_on

        progress = ProgressBar(self.total_episodes, self.episodes, progress_bar, progress_title)
        with progress as bar, denormals_flushed():
            while self.episodes < self.total_episodes and not self._stops(self.stop_requested or not going_on):
                callbacks.on_rollout_start()
                started = perf_counter()
                self.running.add(self.update(on_step))
                self.seconds += perf_counter() - started
                bar.advance(self.lanes)
                if self.device.type == "cpu" or self.updates % ASK_EVERY == 0:
                    self.check_numbers()
                left = self.total_episodes - self.episodes
                # The last row takes in what is left over: the mean of a few updates alone would jump.
                if left <= 0 or (self.updates % log_interval == 0 and left >= log_interval * self.lanes):
                    self._log(bar)
                callbacks.on_rollout_end()
        self.stop_requested = False
        self.check_numbers()
        callbacks.on_training_end()
        return self

    def check_numbers(self, *, weights: bool = False) -> None:
        """Raise `NumbersGoneBad` if an update met NaN or infinity; counters then stand at the last one that did not.

        With `weights`, also where the last step has made a weight so: what is saved or measured must not be.
        """
        asked = perf_counter()
        found = self.guard.ask()
        if self.device.type != "cpu":  # `update` has only ordered what is waited for here
            self.seconds += perf_counter() - asked
        if found:
            self.updates -= found.skipped
            self.num_timesteps -= found.skipped * self.lanes * self.env.glimpses
            self.guard.reset()  # it is told here, and whoever goes on is to be told of what comes then
            self.running = Running(self.seconds)  # which holds those numbers
            raise NumbersGoneBad(describe(self.updates + 1, found, bad_parameters(self.policy), self.circumstances()))
        if weights and (bad := bad_parameters(self.policy)):
            raise NumbersGoneBad(describe(self.updates, None, bad, self.circumstances()))

    def _stops(self, asked: bool) -> bool:
        """Whether to stop. Ranks must together; they ask each other now and then, since asking takes time."""
        if self.ranks.size == 1:
            return asked
        return self.updates % ASK_EVERY == 0 and self.ranks.largest(int(asked)) > 0

    def _log(self, bar: ProgressBar) -> None:
        self.check_numbers()
        means, updates, seconds = self.running.flush(self.seconds)
        speed = updates * self.lanes / max(seconds, 1e-9)
        for line in self.divergence.warnings(means):
            warn(line)
        bar.show(error=means["rollout/error"], reward=means["rollout/reward"])
        for tag, value in means.items():
            self.logger.record(tag, value)
        self.logger.record("train/learning_rate", float(self.optimizer.param_groups[0]["lr"]))
        self.logger.record("train/window_std", self.window_std(self.progress))
        self.logger.record("time/episodes_per_second", speed)
        self.logger.record("time/glimpses_per_second", speed * self.env.glimpses)
        self.logger.record("time/episodes", self.episodes)
        self.logger.record("time/seconds", self.seconds)
        self.logger.dump(self.episodes)

    def release(self) -> None:  # noqa: B027  # most have nothing to give back
        """Give back memory that updates alone need; another update takes it again."""

    # ---------------------------------------------------------------- acting

    @torch.no_grad()
    def predict(
        self,
        observation: Mapping[str, np.ndarray | Tensor],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[dict[str, Any], tuple[np.ndarray, ...]]:
        """One step for one observation or a batch: the action, and the state to hand in with the next observation.

        `episode_start` marks lanes whose episode just began: their state starts anew.
        """
        glimpse = torch.as_tensor(observation["glimpse"], dtype=torch.float32, device=self.device)
        window = torch.as_tensor(observation["window"], dtype=torch.float32, device=self.device)
        single = glimpse.dim() == 3
        if single:
            glimpse, window = glimpse[None], window[None]
        policy = self.judged
        before = policy.initial_state(len(glimpse))
        if state is not None:
            began = np.zeros(len(glimpse)) if episode_start is None else np.atleast_1d(episode_start)
            keep = torch.as_tensor(~began.astype(bool), dtype=torch.float32, device=self.device)[:, None]
            before = tuple(torch.as_tensor(part, device=self.device) * keep for part in state)
        with at_rest(policy):
            hidden, after = policy.look(glimpse, window, before)
        std = 0.0 if deterministic else self.window_std(self.progress)
        move = policy.move(hidden, std, self.generator)
        actions = Actions(window=move.window.cpu().numpy(), label=policy.answer(hidden).argmax(dim=-1).cpu().numpy())
        return actions[0] if single else actions, tuple(part.cpu().numpy() for part in after)

    # ---------------------------------------------------------------- what callbacks ask for

    @property
    def logger(self) -> Logger:
        """Stable-Baselines3's logger; made on first use from `tensorboard_log` and `verbose`."""
        if self._logger is None:
            formats = ["stdout"] * (self.verbose > 0) + ["tensorboard"] * (self.tensorboard_log is not None)
            # `configure` would leave an empty folder under /tmp for each logger that writes nothing.
            self._logger = configure(self.tensorboard_log, formats) if formats else Logger(None, [])
        return self._logger

    def set_logger(self, logger: Logger) -> None:
        self._logger = logger

    @property
    def n_envs(self) -> int:
        return self.env.num_envs

    def get_env(self) -> GlimpseEnvironment:
        return self.env

    def get_vec_normalize_env(self) -> None:
        """Observations are in [0, 1] already; Stable-Baselines3's callbacks ask."""
        return None

    # ---------------------------------------------------------------- saving

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs; plain values and tensors."""
        return {
            "policy": self.policy.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "updates": self.updates,
            "earlier_updates": self.earlier_updates,
            "processes": self.ranks.size,
            "num_timesteps": self.num_timesteps,
            "total_episodes": self.total_episodes,
            "seconds": self.seconds,
            "running": self.running.state_dict(),
            "lowest_norm": self.divergence.lowest,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        give_weights(self.policy, state["policy"])
        own = [
            {name: group[name] for name in ("lr", "capturable", MULTIPLE) if name in group}
            for group in self.optimizer.param_groups
        ]
        self.optimizer.load_state_dict(state["optimizer"])
        for group, kept in zip(self.optimizer.param_groups, own, strict=True):
            # Where this learner keeps its learning rate, which a replay reads; its value is the schedule's. And what
            # is this learner's own setting.
            group |= kept
        self.updates = state["updates"]
        self._lanes_counted = state["processes"] * self.training.lanes_per_process
        self.earlier_updates = state["earlier_updates"]
        self.num_timesteps = state["num_timesteps"]
        self.total_episodes = state["total_episodes"]
        self.seconds = state["seconds"]
        self.running.load_state_dict(state["running"], self.device)
        self.divergence.lowest = state["lowest_norm"]
        self.guard.reset()

    def save(self, path: str | Path, *, keep: int | None = None, **extra: Any) -> None:
        """Write everything to one file (`.pt` is added where there is no suffix); atomic.

        With `keep`, that many are kept, numbered, with their digests (see `checkpoint.py`); without, as many as are
        there already. `extra` entries, plain values and tensors, are kept beside the learner's own.
        """
        content = {
            "learner": self.state_dict(),
            "blueprint": self.policy.blueprint.as_plain(),
            "training": self.training.model_dump(),
            "seed": self.seed,
            **extra,
        }
        path = _with_suffix(path)
        if keep := keep or len(numbered(path)):
            keep_checkpoint(path, content, keep)
        else:
            write_checkpoint(path, content)

    def restore(self, path: str | Path) -> dict[str, Any]:
        """Go on from what `save` wrote for a learner of the same shape; returns all of the file (see `go_on`).

        Where that is damaged, and earlier ones were kept, it says so and goes on from the youngest that is whole.
        """
        saved = read_newest(_with_suffix(path))
        self.go_on(saved, path)
        return saved

    def go_on(self, saved: Mapping[str, Any], path: str | Path) -> None:
        """Go on from the content of a file that `save` wrote, and that lies at `path`.

        Raises `CheckpointError`, also where another number of processes saved it, whose updates are others, or another
        seed, batch or optimiser. Other settings are those of this learner.
        """
        with fitting(path):
            processes = saved["learner"]["processes"]
            if processes != self.ranks.size:
                launcher = f"torchrun --nproc-per-node {processes}" if processes > 1 else "python"
                raise CheckpointError(
                    f"processes: got {self.ranks.size}, expected {processes} as saved in {path}; go on with "
                    f"{launcher} -m ram_agent train --resume and the run's folder"
                )
            kept = {name: (getattr(self.training, name), saved["training"][name]) for name in KEPT}
            for name, (value, before) in {"seed": (self.seed, saved["seed"]), **kept}.items():
                if value != before:
                    raise CheckpointError(
                        f"{name}: got {value!r}, expected {before!r} as saved in {path}; make the learner with that, "
                        "or take `load`, which makes one as it was"
                    )
            self.load_state_dict(saved["learner"])

    @classmethod
    def load(cls: type[Own], path: str | Path, env: Any, device: str | torch.device = "cpu") -> Own:
        """Read what `save` wrote and go on in `env`, such as the class is made with. Raises `CheckpointError`.

        A folder is a run's, or what `ram-agent export` wrote: the weights that it is judged by (of a run the best in
        validation), and a training that begins anew, with as many images an update as `env` has lanes for. The
        training of a run goes on from its file, `RUN/checkpoints/agent.pt`, with the weights that it had come to.
        To act, our own learners take an `env` of any number of lanes; `learn` refuses one that it cannot learn in.
        """
        check_lanes(env)
        if Path(path).is_dir():
            return cls._judged_in(Path(path), env, device)
        saved = read_saved(_with_suffix(path))
        with fitting(path):
            policy, settings = rebuild_policy(saved["blueprint"]).to(device), cls.saved_settings(saved)
        learner = cls(policy, env, **settings)
        with fitting(path):
            learner.load_state_dict(saved["learner"])
        return learner

    @classmethod
    def _judged_in(cls: type[Own], folder: Path, env: Any, device: str | torch.device) -> Own:
        """What a folder is judged by, and a training anew."""
        file, saved = read_trained(folder)
        with fitting(file):
            policy, settings = rebuild_policy(saved["blueprint"]).to(device), cls.saved_settings(saved)
        training = settings["training"]
        batch = max(1, env.num_envs // training.episodes_per_image)
        learner = cls(policy, env, **settings | {"training": training.model_copy(update={"batch": batch})})
        with fitting(file):
            give_weights(learner.policy, judged_weights(saved))
            learner.show_others_than(saved)
        learner.trained = True
        return learner

    def show_others_than(self, saved: Mapping[str, Any]) -> None:
        """Begin behind the images of the training that saved this: with its seed they would come once more, in the same
        scenes and under the same noise.
        """
        if saved["seed"] == self.seed:
            self.earlier_updates = -(-images_shown(saved) // (self.training.batch * self.ranks.size))

    @classmethod
    def saved_settings(cls, saved: Mapping[str, Any]) -> dict[str, Any]:
        """What a learner was made with that was saved, but for policy and environment."""
        return {"training": parse_section(TrainingConfig, saved["training"]), "seed": saved["seed"]}


def images_shown(saved: Mapping[str, Any]) -> int:
    """How many images a training had been through when this was saved, those counted that it began behind; of an export
    that does not say, as many as it was to be through.
    """
    training = saved["training"]
    if "learner" not in saved:
        return saved.get(SHOWN, -(-training["episodes"] // training["episodes_per_image"]))
    state = saved["learner"]
    return (state["earlier_updates"] + state["updates"]) * state["processes"] * training["batch"]


def _as_callback(callback: Callable[..., bool] | BaseCallback | list[BaseCallback] | None) -> BaseCallback:
    if isinstance(callback, BaseCallback):
        return callback
    return ConvertCallback(callback) if callable(callback) else CallbackList(callback or [])


def _with_suffix(path: str | Path) -> Path:
    path = Path(path)
    return path if path.suffix else path.with_suffix(".pt")
