"""Steps per second of the environment, beside Gymnasium's way of making many of one, and beside a public neighbour."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from envs.glimpse import GlimpseVectorEnv
from envs.single import GlimpseEnv
from ram_agent.bench.report import Table
from ram_agent.bench.settings import Settings, announce
from ram_agent.bench.subject import GLIMPSES, digits
from ram_agent.extras import to_install
from ram_agent.timing import Candidate, Cell, compare

LANES = (1, 16, 64, 256, 1024, 4096)
MOST_SINGLES = 256
"""Lanes up to which environments that step one by one are timed: beyond, a round takes seconds and shows nothing."""
OURS, TENSORS = "GlimpseVectorEnv", "GlimpseVectorEnv, tensors"
SINGLES, NEIGHBOUR = "SyncVectorEnv of GlimpseEnv", "ap_gym CircleSquare-v0"
ABSENT = f"not installed: {to_install('ap_gym', 'bench')}"


def environment_tables(settings: Settings) -> list[Table]:
    """One row an environment and number of lanes."""
    every = (1, 4) if settings.smoke else LANES
    neighbour = neighbour_maker()
    rows: list[tuple[Cell, ...]] = []
    for lanes in every:
        announce(f"environment, {lanes} lanes")
        environments = _environments(lanes, settings, every)
        if neighbour and lanes <= MOST_SINGLES:
            environments[NEIGHBOUR] = neighbour(lanes)
        candidates = {name: _episode(env) for name, env in environments.items()}
        timings = compare(candidates, settings.rounds, clock=settings.clock)
        ours = timings[OURS]
        for name, timing in timings.items():
            times = ours.ratio(timing) if len(timings) > 1 else None
            rows.append((name, lanes, times, timing.rate, timing.cost(1e6), len(timing.seconds), None))
        for env in environments.values():
            env.close()
    if neighbour is None:
        rows.append((NEIGHBOUR, None, None, None, None, None, ABSENT))
    note = (
        f"Whole episodes, reset included. Ours: cluttered 60x60, {GLIMPSES} crops of 3 x 12x12, NumPy in and out "
        "but for `tensors`. ap_gym's is another task (28x28, glimpses of 5x5, 16 steps), the nearest public one; its "
        "thread that prepares images ahead is off. Ratio: how many times as fast GlimpseVectorEnv is at as many lanes."
    )
    columns = ("environment", "lanes", "ratio", "steps/s", "µs per step", "rounds", "note")
    return [Table("environment", "Environment", note, columns, tuple(rows))]


def neighbour_maker() -> Callable[[int], Any] | None:
    """ap_gym's vector environment by its number of lanes, or None where it is not installed."""
    try:
        import ap_gym  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None

    def make(lanes: int) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # theirs, about themselves
            # Its thread would work on while others are timed, and is a second one where all here have `--threads`.
            perception = replace(gymnasium.spec("CircleSquare-v0").kwargs["image_perception_config"], prefetch=False)
            return ap_gym.make_vec("CircleSquare-v0", num_envs=lanes, image_perception_config=perception)

    return make


def _environments(lanes: int, settings: Settings, every: tuple[int, ...]) -> dict[str, Any]:
    images, device = digits(settings.device), settings.device
    environments: dict[str, Any] = {OURS: GlimpseVectorEnv(lanes, images=images, glimpses=GLIMPSES, device=device)}
    if lanes in (256, every[-1] if settings.smoke else None):
        environments[TENSORS] = GlimpseVectorEnv(lanes, images=images, glimpses=GLIMPSES, device=device, tensors=True)
    if lanes <= MOST_SINGLES:

        def make() -> GlimpseEnv:
            return GlimpseEnv(images=images, glimpses=GLIMPSES, device=device)

        environments[SINGLES] = SyncVectorEnv([make] * lanes, autoreset_mode=AutoresetMode.DISABLED)
    return environments


def _episode(env: Any) -> Candidate:
    """One episode in every lane with fixed actions, and how many steps that is."""
    steps = GLIMPSES if env.spec is None or not env.spec.max_episode_steps else env.spec.max_episode_steps
    env.action_space.seed(0)
    action = env.action_space.sample()
    if getattr(env, "tensors", False):
        action = {name: torch.as_tensor(value, device=env.device) for name, value in action.items()}

    def play() -> None:
        env.reset(seed=1)
        for _ in range(steps):
            env.step(action)

    return play, steps * env.num_envs
