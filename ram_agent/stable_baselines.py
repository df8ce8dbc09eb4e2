"""Stable-Baselines3's A2C and PPO and sb3-contrib's RecurrentPPO, unmodified, under our protocol.

One update is one call of their `learn` for one rollout: an episode in every lane, then what they make of it. Counting,
logging, validation, checkpoints and stopping are those of `algorithm.py`, for them as for our own learners.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from ram_agent.algorithm import Algorithm
from ram_agent.config import SB3Config, TrainingConfig, parse_section
from ram_agent.finite import Circumstances, NumbersGoneBad, bad_parameters, describe
from ram_agent.grid_policy import RECURRENT, GridPolicy, recurrent_policy
from ram_agent.rollout import GlimpseEnvironment
from ram_agent.schedule import decay, noise_seed

SEEDS = 2**31
"""Stable-Baselines3 seeds NumPy's global generator, which takes 32 bits, and adds the lane's number to the seed."""

THEIRS = ("train/learning_rate", "train/n_updates", "train/clip_range")
"""What they log and the run's own settings or counters say already."""


REFUSED = ("parameter logits", "probability tensor contains")
"""What the errors say, of one version or another, when a policy's answers have become NaN or infinite."""


class StableBaselines(Algorithm):
    """An algorithm of Stable-Baselines3's, `model`, as a learner that a run can train, save and go on with.

    `env` is a `VecEnv` over the discrete twin whose episodes all last T steps (`envs.sb3.make_sb3_env`); it has
    `training.batch` lanes. What is drawn in an update follows from its number and the seed, so that a resumed run goes
    on as if it had never been stopped. `training.method` says which algorithm; raises `ConfigError` where that is not
    installed.
    """

    def __init__(
        self,
        policy: GridPolicy,
        env: VecEnv,
        training: TrainingConfig,
        settings: SB3Config | None = None,
        *,
        seed: int = 0,
    ) -> None:
        if env.num_envs != training.batch:
            raise ValueError(f"env: got {env.num_envs} lanes, expected training.batch = {training.batch}")
        native = cast(GlimpseEnvironment, env.get_attr("unwrapped")[0])
        super().__init__(policy, native, training, seed=seed)
        self.settings = settings or SB3Config()
        self.lanes_env = env
        own: dict[str, Any] = {"use_rms_prop": False} if training.method == "a2c" else {}
        self.model = algorithm_class(training.method)(
            "MultiInputLstmPolicy" if training.method == RECURRENT else "MultiInputPolicy",
            env,
            n_steps=native.glimpses,
            learning_rate=lambda _: self._learning_rate(),
            max_grad_norm=training.clip,
            stats_window_size=env.num_envs,
            policy_kwargs=policy.settings,
            device=self.device,
            **self.settings.given,
            **own,
        )
        self.model.policy.load_state_dict(policy.network.state_dict())
        policy.network = self.model.policy  # one set of weights, seen from either side
        self.model.set_logger(Logger(None, []))  # kept in memory until `update` reads it
        self._continuous = False

    @property
    def optimizer(self) -> torch.optim.Optimizer:  # type: ignore[override]
        return self.model.policy.optimizer

    def update(self, on_step: Callable[[], object] | None = None) -> dict[str, Tensor]:
        """One episode in every lane, and what the algorithm makes of them; returns what happened.

        Raises `NumbersGoneBad` where a weight has become NaN or infinite.
        """
        if not self._continuous:
            self._begin()
        set_random_seed(noise_seed(self.seed, self.draw) % SEEDS, using_cuda=self.device.type == "cuda")
        listener = _Listener(on_step)
        try:
            # Logs every second rollout, hence never: each call is one.
            steps = self.lanes * self.env.glimpses
            self.model.learn(steps, callback=listener, log_interval=2, reset_num_timesteps=False)
        except (ValueError, RuntimeError) as error:  # distributions, or torch's sampling, refuse what is no number
            if not any(part in str(error) for part in REFUSED):
                raise
            bad = bad_parameters(self.policy)
            raise NumbersGoneBad(describe(self.updates + 1, None, bad, self.circumstances())) from None
        self.updates += 1
        self.check_numbers(weights=True)
        return self._facts(listener)

    def _begin(self) -> None:
        """Have every lane play the scenes that are due after so many updates, a series of its own."""
        self.lanes_env.seed(noise_seed(self.seed, 0, "lanes") % SEEDS)
        self.lanes_env.set_options({"scene": self.draw})
        self.model.set_env(self.lanes_env, force_reset=True)
        self._continuous = True

    def _facts(self, listener: "_Listener") -> dict[str, Tensor]:
        """What the algorithm logged, and the episodes of the update. Labels were drawn, not the likeliest ones."""
        told = self.model.logger.name_to_value.items()
        episodes, won = self.model.ep_info_buffer or (), self.model.ep_success_buffer or ()
        centres = self.env.sensor.window(listener.windows).centre
        facts = {
            "rollout/reward": np.mean([episode["r"] for episode in episodes]),
            "rollout/error": 100 * (1 - np.mean(won)),
            "rollout/fixation_spread": centres.std(dim=0, correction=0).mean(),
            **{name: value for name, value in told if name.startswith("train/") and name not in THEIRS},
        }
        return {name: torch.tensor(float(value)) for name, value in facts.items()}

    def predict(  # type: ignore[override]
        self,
        observation: Any,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """As the model has it: cells and labels for what `lanes_env` observes, flat and of one lane or of many."""
        return self.model.predict(observation, state, episode_start, deterministic)

    def _learning_rate(self) -> float:
        """The schedule runs over the whole training; Stable-Baselines3's own progress knows one `learn` alone."""
        return self.training.learning_rate * decay(self.training.learning_rate_schedule, self.progress)

    def window_std(self, progress: float) -> float:
        """Cells are drawn with the probabilities that the policy gives them, to the end: any number but 0 says so."""
        return 1.0

    def circumstances(self) -> Circumstances:
        return Circumstances(
            learning_rate=self._learning_rate(),
            window_std=None,
            smallest_sigma=None,
            largest_parameter=self.largest_parameter,
            precision=self.training.precision,
        )

    def save(self, path: str | Path, *, keep: int | None = None, **extra: Any) -> None:
        super().save(path, keep=keep, sb3=self.settings.model_dump(), **extra)

    @classmethod
    def saved_settings(cls, saved: Mapping[str, Any]) -> dict[str, Any]:
        return {**super().saved_settings(saved), "settings": parse_section(SB3Config, saved["sb3"])}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._continuous = False


class _Listener(BaseCallback):
    """Passes on each step, and keeps where the eye was before the rollout is shuffled."""

    def __init__(self, on_step: Callable[[], object] | None) -> None:
        super().__init__()
        self.on_step_of_ours = on_step
        self.windows: Tensor

    def _on_step(self) -> bool:
        if self.on_step_of_ours:
            self.on_step_of_ours()
        return True

    def _on_rollout_end(self) -> None:
        assert isinstance(self.model, OnPolicyAlgorithm)
        self.windows = torch.as_tensor(self.model.rollout_buffer.observations["window"].copy())


def algorithm_class(method: str) -> type[OnPolicyAlgorithm]:
    """The class of a training method. Raises `ConfigError` where its package is not installed."""
    if method != RECURRENT:
        return {"a2c": A2C, "ppo": PPO}[method]
    recurrent_policy()
    from sb3_contrib import RecurrentPPO

    return RecurrentPPO
