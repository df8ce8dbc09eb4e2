"""The training loop: `REINFORCE` for hard attention, `Pathwise` for soft, behind Stable-Baselines3's face.

One update, top to bottom: play one episode in every lane, add up the named losses, step the optimiser. What the two
learners do not share is one method of a few lines: where the gradient of the window comes from.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.logger import Logger, configure
from torch import Tensor, nn

from ram_agent import estimators
from ram_agent.checkpoint import read_checkpoint, write_checkpoint
from ram_agent.config import TrainingConfig, parse_section
from ram_agent.full_image import NETWORKS, rebuild_policy
from ram_agent.metrics import Running
from ram_agent.parallel import ALONE, Ranks
from ram_agent.policy import Policy, RecurrentAttentionPolicy
from ram_agent.progress import ProgressBar
from ram_agent.replay import Replayed
from ram_agent.rollout import Episode, GlimpseEnvironment, rollout


class Losses(NamedTuple):
    """The terms of the loss, unweighted; a term that a learner does not have is 0."""

    classification: Tensor
    reinforce: Tensor
    baseline: Tensor


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


class Learner(ABC):
    """What both estimators share. Settings are the fields of `TrainingConfig`, e.g. `learning_rate=3e-4`.

    `env` is a vector environment whose lanes all play T looks, in torch (`tensors=True`); it has `training.batch` ×
    `training.looks` lanes, the looks at one image in neighbouring lanes. `num_timesteps` counts steps of single lanes,
    as in Stable-Baselines3: T per episode.
    """

    def __init__(
        self,
        policy: Policy,
        env: GlimpseEnvironment,
        training: TrainingConfig | None = None,
        *,
        seed: int = 0,
        ranks: Ranks = ALONE,
        cuda_graph: bool = False,
        tensorboard_log: str | Path | None = None,
        verbose: int = 0,
        **settings: Any,
    ) -> None:
        given = training.model_dump() if training else {"batch": env.num_envs // settings.get("looks", 1)}
        self.training = parse_section(TrainingConfig, given | {"method": self.method} | settings)
        if env.num_envs != self.training.batch * self.training.looks:
            raise ValueError(
                f"env: got {env.num_envs} lanes, expected batch x looks = {self.training.batch} x {self.training.looks}"
            )
        if cuda_graph and (self.training.optimizer != "adam" or ranks.size > 1):
            raise ValueError("cuda_graph: got true, expected false with optimizer sgd or more than one process")
        sampled = self.method == "reinforce"
        if policy.window_head.samples != sampled and (policy.window_head.learns or policy.blueprint.head in NETWORKS):
            raise ValueError(
                f"policy: {type(self).__name__} cannot train a policy of kind {policy.blueprint.head!r}; "
                "use REINFORCE with 'sampled', Pathwise with 'pathwise' and with controls"
            )
        self.policy = policy
        self.env = env
        self.seed = seed
        self.device = next(policy.parameters()).device
        self.ranks = ranks
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self.optimizer = _optimizer(policy, self.training, self.device if cuda_graph else None)
        # What changes from update to update stands in tensors on the device, so that an update is the same every time.
        self._std = torch.zeros((), device=self.device)
        self._first_image = torch.zeros((), dtype=torch.long, device=self.device)
        image = torch.arange(self.training.batch, device=self.device)
        self._image_of_lane = image[:, None].expand(-1, self.training.looks).flatten()
        self._seeds = torch.full((env.num_envs,), seed, device=self.device)
        self._play = ranks.average(_Play(self))
        self._replayed = Replayed(self._compute, self.generator) if cuda_graph else None
        self.tensorboard_log = str(tensorboard_log) if tensorboard_log is not None else None
        self.verbose = verbose
        self.num_timesteps = 0
        self.updates = 0
        self.total_episodes = self.training.episodes
        self.seconds = 0.0
        """Time spent in updates, over all sessions of this run."""
        self.stop_requested = False
        """Set by a signal handler: `learn` finishes the update at hand and returns."""
        self.running = Running()
        self._logger: Logger | None = None

    method: str

    # ---------------------------------------------------------------- the algorithm

    def update(self, on_step: Callable[[], object] | None = None) -> dict[str, Tensor]:
        """One episode in every lane and one step of the optimiser; returns what happened, on the device."""
        self._schedule()
        if self._replayed is None:
            facts = self._compute(on_step)
        else:
            facts = self._replayed()
            for _ in range(self.env.glimpses if on_step else 0):  # a replay has no steps of its own
                on_step()  # type: ignore[misc]
        self.updates += 1
        return facts

    def _schedule(self) -> None:
        """Set what this update differs in from the others: learning rate, exploration, images, noise.

        Nothing of it is random or remembered: an update follows from its number, the seed and the weights.
        """
        number = self.updates * self.ranks.size + self.ranks.rank
        rate = self.training.learning_rate * _decay(self.training.learning_rate_schedule, self.progress)
        for group in self._groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        self._std.fill_(self.window_std(self.progress))
        self._first_image.fill_(number * self.training.batch)
        self.generator.manual_seed(_noise_seed(self.seed, number))

    def _compute(self, on_step: Callable[[], object] | None = None) -> dict[str, Tensor]:
        """What happens on the device: nothing in it waits for a value to come back."""
        total, facts = self._play(on_step)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.training.clip)
        self.optimizer.step()
        return facts | {"train/gradient_norm": norm.detach()}

    def play(self, on_step: Callable[[], object] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """One episode in every lane: the loss, and what happened."""
        training = self.training
        with torch.autocast(self.device.type, torch.bfloat16, enabled=training.precision == "bfloat16"):
            episode = rollout(
                self.policy,
                self.env,
                std=self._std,
                seed=self._seeds,
                scenes=self._first_image + self._image_of_lane,
                generator=self.generator,
                on_step=on_step,
            )
        losses, facts = self.losses(episode, self._std)
        weights = (training.classification_weight, training.reinforce_weight, training.baseline_weight)
        total = torch.stack([weight * loss for weight, loss in zip(weights, losses, strict=True)]).sum()
        return total, {
            "rollout/reward": episode.reward.mean(),
            "rollout/error": 100 * (1 - episode.reward.mean()),
            **self._gaze(episode),
            "train/loss": total.detach(),
            **{f"train/{name}_loss": loss.detach() for name, loss in losses._asdict().items()},
            **facts,
        }

    def losses(self, episode: Episode, std: float | Tensor) -> tuple[Losses, dict[str, Tensor]]:
        """The loss terms of an episode, and facts worth logging."""
        counted = episode.logits if self.training.classify_every_look else episode.logits[-1:]
        target = episode.target.expand(len(counted), -1)
        classification = F.cross_entropy(counted.flatten(0, 1), target.flatten())
        reinforce, baseline, facts = self.window_losses(episode, std)
        return Losses(classification, reinforce, baseline), facts

    @abstractmethod
    def window_losses(self, episode: Episode, std: float | Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Score-function loss, baseline loss, facts."""

    def window_std(self, progress: float) -> float:
        """Exploration, linear from `window_std` to `window_std_end`."""
        start = self.training.window_std
        return start + (self.training.last_window_std - start) * progress

    @torch.no_grad()
    def _gaze(self, episode: Episode) -> dict[str, Tensor]:
        """How the eye moved: spread of the fixations of an episode, in [-1, 1] units; stride and sigma, in pixels."""
        window = self.env.sensor.window(episode.windows.flatten(0, 1))
        centre = window.centre.unflatten(0, episode.windows.shape[:2])
        return {
            "rollout/fixation_spread": centre.std(dim=0, correction=0).mean(),
            "rollout/stride": window.stride.mean(),
            "rollout/sigma": window.sigma.mean(),
        }

    @property
    def _groups(self) -> list[dict[str, Any]]:
        return self.optimizer.param_groups

    @property
    def progress(self) -> float:
        """Fraction of the training that is done, 0 to 1."""
        return min(1.0, self.episodes / self.total_episodes)

    @property
    def lanes(self) -> int:
        """Episodes that one update plays, all ranks together."""
        return self.env.num_envs * self.ranks.size

    @property
    def episodes(self) -> int:
        """Episodes played so far, by all ranks together."""
        return self.updates * self.lanes

    # ---------------------------------------------------------------- Stable-Baselines3's face

    def learn(
        self,
        total_timesteps: int,
        callback: BaseCallback | list[BaseCallback] | None = None,
        log_interval: int = 40,
        progress_bar: bool = False,
        reset_num_timesteps: bool = True,
        progress_title: str = "training",
    ) -> "Learner":
        """Train until `total_timesteps` steps of single lanes (T per episode) are done; returns self.

        Schedules run over `total_timesteps`. `log_interval` is in updates. With `reset_num_timesteps=False` a loaded
        run goes on counting where it was.
        """
        if reset_num_timesteps:
            self.num_timesteps = self.updates = 0
            self.seconds, self.running = 0.0, Running()
        self.total_episodes = max(1, total_timesteps // self.env.glimpses)
        callbacks = _as_callback(callback)
        callbacks.init_callback(cast(BaseAlgorithm, self))
        callbacks.on_training_start({"self": self, "total_timesteps": total_timesteps}, globals())
        going_on = True

        def on_step() -> None:
            nonlocal going_on
            self.num_timesteps += self.lanes
            going_on = callbacks.on_step() and going_on

        with ProgressBar(self.total_episodes, self.episodes, progress_bar, progress_title) as bar:
            while self.episodes < self.total_episodes and self._goes_on(going_on and not self.stop_requested):
                callbacks.on_rollout_start()
                started = perf_counter()
                self.running.add(self.update(on_step))
                self.seconds += perf_counter() - started
                bar.advance(self.lanes)
                if self.updates % log_interval == 0 or self.episodes >= self.total_episodes:
                    self._log(bar)
                callbacks.on_rollout_end()
        callbacks.on_training_end()
        return self

    def _goes_on(self, wanted: bool) -> bool:
        """Whether to play on. Ranks must stop together; they ask each other now and then, since asking takes time."""
        if self.ranks.size == 1:
            return wanted
        return self.updates % 16 != 0 or not self.ranks.largest(int(not wanted))

    def _log(self, bar: ProgressBar) -> None:
        means, updates, seconds = self.running.flush(self.seconds)
        images = updates * self.lanes / max(seconds, 1e-9)
        bar.show(error=means["rollout/error"], reward=means["rollout/reward"])
        for tag, value in means.items():
            self.logger.record(tag, value)
        self.logger.record("train/learning_rate", float(self._groups[0]["lr"]))
        self.logger.record("train/window_std", self.window_std(self.progress))
        self.logger.record("time/images_per_second", images)
        self.logger.record("time/glimpses_per_second", images * self.env.glimpses)
        self.logger.record("time/episodes", self.episodes)
        self.logger.record("time/seconds", self.seconds)
        self.logger.dump(self.episodes)

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
        before = self.policy.initial_state(len(glimpse))
        if state is not None:
            began = np.zeros(len(glimpse)) if episode_start is None else np.asarray(episode_start, dtype=float)
            keep = torch.as_tensor(1 - began, dtype=torch.float32, device=self.device)[:, None]
            before = tuple(torch.as_tensor(part, device=self.device) * keep for part in state)
        hidden, after = self.policy.look(glimpse, window, before)
        std = 0.0 if deterministic else self.window_std(self.progress)
        move = self.policy.move(hidden, std, self.generator)
        actions = Actions(
            window=move.window.cpu().numpy(), label=self.policy.answer(hidden).argmax(dim=-1).cpu().numpy()
        )
        return actions[0] if single else actions, tuple(part.cpu().numpy() for part in after)

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
            "num_timesteps": self.num_timesteps,
            "total_episodes": self.total_episodes,
            "seconds": self.seconds,
            "running": self.running.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.policy.load_state_dict(state["policy"])
        own = [{name: group[name] for name in ("lr", "capturable") if name in group} for group in self._groups]
        self.optimizer.load_state_dict(state["optimizer"])
        for group, kept in zip(self._groups, own, strict=True):
            group |= (
                kept  # where this learner keeps its learning rate, which a replay reads; its value is the schedule's
            )
        self.updates = state["updates"]
        self.num_timesteps = state["num_timesteps"]
        self.total_episodes = state["total_episodes"]
        self.seconds = state["seconds"]
        self.running.load_state_dict(state["running"], self.device)

    def save(self, path: str | Path, **extra: Any) -> None:
        """Write everything to one file (`.pt` is added where there is no suffix); atomic.

        `extra` entries, plain values and tensors, are kept beside the learner's own.
        """
        write_checkpoint(
            _with_suffix(path),
            {
                "learner": self.state_dict(),
                "blueprint": self.policy.blueprint.as_plain(),
                "training": self.training.model_dump(),
                "seed": self.seed,
                **extra,
            },
        )

    def restore(self, path: str | Path) -> dict[str, Any]:
        """Go on from what `save` wrote for a learner of the same shape; returns all of the file."""
        saved = read_checkpoint(_with_suffix(path))
        self.load_state_dict(saved["learner"])
        return saved

    @classmethod
    def load(cls, path: str | Path, env: GlimpseEnvironment, device: str | torch.device = "cpu") -> "Learner":
        """Read what `save` wrote and go on in `env`. Raises `CheckpointError`, naming the file and what is wrong."""
        saved = read_checkpoint(_with_suffix(path))
        policy = rebuild_policy(saved["blueprint"]).to(device)
        learner = cls(policy, env, TrainingConfig.model_validate(saved["training"]), seed=saved["seed"])
        learner.load_state_dict(saved["learner"])
        return learner


class REINFORCE(Learner):
    """Hard attention: the window's gradient is the score function's (Williams 1992; Mnih et al. 2014, section 3.2)."""

    method = "reinforce"

    def window_losses(self, episode: Episode, std: float | Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        training = self.training
        returns = estimators.episode_return(training.reward, episode.reward, episode.logits[-1], episode.target)
        assert isinstance(self.policy, RecurrentAttentionPolicy), "none other has a baseline"
        # b_t sees h_t, from which move t is drawn, and nothing later: it cannot depend on the move that it corrects.
        before_move = episode.hidden[:-1]
        baseline_loss = returns.new_zeros(())
        facts = {}
        if training.baseline == "learned":
            expected = self.policy.baseline(before_move)
            if len(expected):  # with a single look there is no move to foresee
                baseline_loss = F.mse_loss(expected, returns.expand_as(expected))
            facts["train/explained_variance"] = estimators.explained_variance(expected[-1:].detach(), returns[None])
        elif training.baseline == "leave_one_out":
            expected = estimators.leave_one_out(returns, training.looks)
        else:
            expected = torch.zeros_like(returns)
        log_probability = estimators.log_probability(episode.samples, episode.means, std)
        reinforce = estimators.score_function_loss(log_probability, returns - expected)
        return reinforce, baseline_loss, facts


class Pathwise(Learner):
    """Soft attention: the glimpse carries its gradient to the window, and backpropagation takes it to the window head.

    How much of it goes on into the core is the head's affair (`policy.detach_location`, `policy.window_gradient`).
    """

    method = "pathwise"

    def window_losses(self, episode: Episode, std: float | Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        nothing = episode.reward.new_zeros(())
        return nothing, nothing, {}


LEARNERS: dict[str, type[Learner]] = {learner.method: learner for learner in (REINFORCE, Pathwise)}


class _Play(nn.Module):
    """An episode and its loss as the `forward` of a module: of that, DistributedDataParallel averages the gradient."""

    def __init__(self, learner: Learner) -> None:
        super().__init__()
        self.policy = learner.policy  # whose parameters these are
        self.forward = learner.play


def _noise_seed(seed: int, number: int) -> int:
    """For each batch of a run its own: 64 bits of SHA-256."""
    digest = sha256(f"noise {seed} {number}".encode()).digest()
    return int.from_bytes(digest[:8], "little")


def _optimizer(policy: Policy, training: TrainingConfig, replay_on: torch.device | None) -> torch.optim.Optimizer:
    """For updates that are replayed the learning rate stands in a tensor, where the schedule can change it."""
    parameters, rate = list(policy.parameters()), training.learning_rate
    if training.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=0.9)
    if replay_on is None:
        return torch.optim.Adam(parameters, lr=rate, fused=True)
    return torch.optim.Adam(parameters, lr=torch.tensor(rate, device=replay_on), fused=True, capturable=True)


def _decay(schedule: str, progress: float) -> float:
    """Factor of the learning rate."""
    if schedule == "cosine":
        return 0.5 * (1 + float(np.cos(np.pi * progress)))
    return 1 - progress if schedule == "linear" else 1.0


def _as_callback(callback: BaseCallback | list[BaseCallback] | None) -> BaseCallback:
    if isinstance(callback, BaseCallback):
        return callback
    return CallbackList(callback or [])


def _with_suffix(path: str | Path) -> Path:
    path = Path(path)
    return path if path.suffix else path.with_suffix(".pt")
