"""One episode in every lane: policy × environment → `Episode`. Hard and soft attention, training and test: one path."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from gymnasium.vector import AutoresetMode
from jaxtyping import Float, Int
from torch import Tensor

from ram_agent.controls import Hint
from ram_agent.core import State
from ram_agent.policy import Policy
from ram_agent.sensor import Sensor


@runtime_checkable
class GlimpseEnvironment(Protocol):
    """What is asked of a vector environment: `envs.GlimpseVectorEnv` with `tensors=True`, or another like it.

    A rollout asks for all but `canvas` and `class_names`, which pictures and reports show, and `peek`, by which a
    training looks ahead.
    """

    num_envs: int
    glimpses: int
    device: torch.device
    sensor: Sensor
    single_observation_space: Any
    single_action_space: Any

    @property
    def canvas(self) -> Float[Tensor, "lanes channels height width"]: ...
    @property
    def class_names(self) -> Sequence[str]: ...
    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]: ...
    def step(self, actions: dict[str, Any]) -> tuple[dict[str, Any], Any, Any, Any, dict[str, Any]]: ...
    def peek(self, window: Any) -> Any: ...


class Episode(NamedTuple):
    """T looks in N lanes, time first."""

    windows: Float[Tensor, "time lanes parameters"]
    """Where each look went, as actions in [-1, 1]."""
    means: Float[Tensor, "moves lanes parameters"]
    """Means of the T - 1 moves that were looked at; no further move is ever drawn."""
    samples: Float[Tensor, "moves lanes parameters"]
    """What was drawn about them, unclamped."""
    hidden: Float[Tensor, "time lanes hidden"]
    logits: Float[Tensor, "time lanes classes"]
    """What the agent would have answered after each look; the environment heard the last."""
    states: tuple[State, ...]
    """What the agent remembered after each look."""
    target: Int[Tensor, " lanes"]
    reward: Float[Tensor, " lanes"]


def rollout(
    policy: Policy,
    env: GlimpseEnvironment,
    *,
    std: float | Tensor = 0.0,
    seed: Any = None,
    scenes: Any = None,
    generator: torch.Generator | None = None,
    on_step: Callable[[], object] | None = None,
) -> Episode:
    """Play one whole episode in each lane of `env`.

    `std` is the exploration of a sampling policy (0: mean locations); `scenes` names the scene of each lane, otherwise
    the environment counts on; `on_step` is called after every step of the environment. Raises `ValueError` where `env`
    is not played so (see `check_rules`).
    """
    check_rules(env, PLAYED_BY)
    options = None if scenes is None else {"scene": scenes}
    observation, info = env.reset(seed=seed, options=options)
    target, place = info["target"], info.get("place")
    state = policy.initial_state(env.num_envs)
    no_answer = torch.zeros_like(target)
    hiddens, states, windows, moves = [], [], [], []
    for look in range(1, env.glimpses):
        hidden, state = policy.look(observation["glimpse"], observation["window"], state)
        move = policy.move(hidden, std, generator, Hint(look, env.glimpses, env.sensor.reach, place))
        hiddens.append(hidden)
        states.append(state)
        windows.append(observation["window"])
        moves.append(move)
        observation, *_ = env.step({"window": move.window, "label": no_answer})
        if on_step:
            on_step()
    hidden, state = policy.look(observation["glimpse"], observation["window"], state)
    hiddens.append(hidden)
    states.append(state)
    windows.append(observation["window"])
    hidden = torch.stack(hiddens)
    logits = policy.answer(hidden)
    window = observation["window"]
    _, reward, *_ = env.step({"window": window, "label": logits[-1].argmax(dim=-1)})
    if on_step:
        on_step()
    nothing = window.new_zeros(0, *window.shape)
    return Episode(
        windows=torch.stack(windows),
        means=torch.stack([move.mean for move in moves]) if moves else nothing,
        samples=torch.stack([move.sample for move in moves]) if moves else nothing,
        hidden=hidden,
        logits=logits,
        states=tuple(states),
        target=target,
        reward=reward,
    )


PLAYED_BY = ("moves", "early_answer")
"""The rules that a rollout is played by; what is paid does not matter to it, where a label is what answers."""


def check_lanes(env: Any) -> None:
    """Raise `ValueError` for an environment that has no lanes, as those of `gymnasium.make` have none."""
    if not hasattr(env, "num_envs"):
        single = type(getattr(env, "unwrapped", env)).__name__
        raise ValueError(
            f"env: got a {single} without lanes, expected a vector environment in torch, such as "
            'GlimpseVectorEnv(64, images="digits", tensors=True) of envs.glimpse; make one with the same settings'
        )


def check_rules(env: GlimpseEnvironment, rules: Sequence[str] | None = None) -> None:
    """Raise `ValueError` where an environment has no lanes, works in NumPy, resets itself, or one of its rules is not
    as usual, or where an action of it answers otherwise than by a label.

    `rules` names those that matter; None: all, for to learners it matters what is paid, too.
    """
    check_lanes(env)
    if not getattr(env, "tensors", True):
        raise ValueError("env: got tensors=False, expected True: policies work in torch; make it with tensors=True")
    played = getattr(env, "rules", None)  # another environment may have none
    for name, expected in vars(type(played)()).items() if played else ():
        if (rules is None or name in rules) and (value := getattr(played, name)) != expected:
            raise ValueError(
                f"env: got {name}={value!r}, expected {expected!r}: here policies choose absolute places, answer after "
                f"the last look, and learn from right or wrong; make it without {name}, or take an algorithm of your "
                "own"
            )
    if "label" not in getattr(env.single_action_space, "spaces", ()):
        raise ValueError(
            f"env: got actions {env.single_action_space}, expected a dict with a window and a label, which policies "
            "answer with; make it with another reward, or not as the discrete twin"
        )
    mode = getattr(env, "autoreset_mode", AutoresetMode.DISABLED)
    if mode != AutoresetMode.DISABLED:
        raise ValueError(
            f"env: got autoreset_mode={mode.value!r}, expected {AutoresetMode.DISABLED.value!r}: a rollout begins "
            "every episode itself; make it without"
        )
