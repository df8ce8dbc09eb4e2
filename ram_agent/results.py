"""What comes out of an experiment: the test set measured once, and all that a number needs beside it."""

import json
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ram_agent import __version__
from ram_agent.agents import Agent
from ram_agent.building import seen_by
from ram_agent.config import Config
from ram_agent.evaluation import TEST_SEED, Evaluation, evaluate
from ram_agent.files import write_whole
from ram_agent.gradient_signal import TAG
from ram_agent.policy import Policy, count_parameters
from ram_agent.progress import tell
from ram_agent.provenance import code
from ram_agent.rollout import GlimpseEnvironment
from ram_agent.run_files import RESULTS
from ram_agent.words import count
from ram_agent.world import World, whole_split

NUMBERS = re.compile(r"\[\n\s+([^\[\]{}\"]+?)\n\s+\]")
"""A list of plain numbers as `json.dumps` indents it; a text holds no line break."""


def measure(config: Config, world: World, agents: list[Agent]) -> tuple[dict[str, Any], Evaluation]:
    """The test set, measured here and nowhere else: the best weights of each agent by its validation error, which its
    policy has from here on.

    Returns the numbers, and what the first agent, the one that learned to look, answered at mean locations.
    """
    env, images = whole_split(world, "test")
    numbers: dict[str, Any] = {}
    answered: list[Evaluation] = []
    for agent in agents:
        policy = agent.learner.policy
        if config.run.progress:  # minutes, where images are many
            passes = 2 + config.evaluation.votes if policy.window_head.varies else 1
            shown = f"{count(images, 'test image')}, {count(passes, 'pass', 'passes')}"
            tell(f"measuring {agent.role} on {shown}")
        policy.load_state_dict(agent.best.weights)
        result, mean = test_errors(
            policy, seen_by(agent.role, env), images, agent.learner.window_std(1.0), config.evaluation.votes
        )
        answered.append(mean)
        if agent.role == "learned":
            numbers = {**result, "controls": {}}
        else:
            numbers["controls"][agent.role] = {**result, **describe_training(agent)}
    return numbers, answered[0]


def test_errors(
    policy: Policy, env: GlimpseEnvironment, images: int, std: float, votes: int
) -> tuple[dict[str, Any], Evaluation]:
    """Test error at mean locations first; sampled and M-vote errors beside it (the same where every pass looks alike).

    Returns the numbers, and the answers at mean locations.
    """
    generator = torch.Generator(next(policy.parameters()).device).manual_seed(TEST_SEED)
    mean = evaluate(policy, env, images, generator=generator)
    sampled = voted = mean
    if policy.window_head.varies:
        sampled = evaluate(policy, env, images, std=std, generator=generator)
        voted = evaluate(policy, env, images, std=std, votes=votes, generator=generator)
    numbers = {
        "test_error": mean.error,
        "test_error_ci95": mean.interval,
        "test_error_sampled": sampled.error,
        "test_error_voted": voted.error,
        "votes": votes,
        "test_images": images,
        "error_by_glimpse": mean.error_by_glimpse,
        "error_by_class": [fared._asdict() for fared in mean.by_class(env.class_names)],
        "wrong_images": np.flatnonzero(mean.wrong[-1]).tolist(),
    }
    return numbers, mean


def describe_run(config: Config, world: World, agents: list[Agent]) -> dict[str, Any]:
    """Everything a number needs beside it to be repeated."""
    learner = agents[0].learner
    sensor, planes = learner.env.sensor, learner.policy.blueprint.glimpse_shape[0]
    dataset = world.dataset
    return {
        "name": config.name,
        "dataset": {"name": dataset.name, "sha256": dataset.sha256, "notice": dataset.notice},
        "validation_error": agents[0].best.error,
        "validation_errors": {agent.role: agent.best.error for agent in agents},
        **describe_training(agents[0]),
        "gradient_signal": signals(agents[0].board.metrics.rows),
        # As the network is given them: one of a coarse scale, or of a soft glimpse, is a mean of many of the canvas.
        "glimpse_pixels": learner.env.glimpses * planes * sensor.size**2,
        "seed": config.run.seed,
        "device": str(learner.device),
        "threads": torch.get_num_threads(),
        "processes": learner.ranks.size,
        "versions": versions(),
        "config": config.model_dump(mode="json"),
    }


def describe_training(agent: Agent) -> dict[str, Any]:
    """How long an agent was trained, how that went, and how large it is."""
    learner, rows = agent.learner, agent.board.metrics.rows
    return {
        "best_at_episode": agent.best.episodes,
        "learning_curve": validations(rows),
        "learning_curve_seconds": validation_seconds(rows),
        "episodes": learner.episodes,
        "seconds": learner.seconds,
        "episodes_per_second": learner.episodes / max(learner.seconds, 1e-9),
        "parameters": count_parameters(learner.policy),
    }


def validations(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, int | float]]:
    """The validation error in percent at each evaluation, from the rows of `metrics.csv`, parsed or as text."""
    return [
        {"episodes": int(row["step"]), "validation_error": float(row["eval/error"])}
        for row in rows
        if row.get("eval/error") not in (None, "")
    ]


def validation_seconds(rows: Sequence[Mapping[str, Any]]) -> list[float | None]:
    """Seconds of updates until each evaluation, likewise; interpolated: only training rows have a time."""
    times = [(0.0, 0.0)]
    times += [
        (float(row["step"]), float(row["time/seconds"])) for row in rows if row.get("time/seconds") not in (None, "")
    ]
    return [_seconds_at(float(point["episodes"]), times) for point in validations(rows)]


def _seconds_at(step: float, times: Sequence[tuple[float, float]]) -> float | None:
    """Linear between the rows around `step`; beyond the last row, at the mean rate up to there."""
    if len(times) < 2:
        return None
    for (before, earlier), (after, later) in pairwise(times):
        if before <= step <= after and after > before:
            return earlier + (later - earlier) * (step - before) / (after - before)
    last, seconds = times[-1]
    return seconds * step / last


def signals(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, int | float]]:
    """The signal-to-noise ratio of each estimator's gradient where it was measured, likewise."""
    points = []
    for row in rows:
        found = {name: float(value) for name, value in row.items() if name.startswith(TAG) and value not in (None, "")}
        if ratios := {name.removeprefix(TAG): ratio for name, ratio in found.items() if isfinite(ratio)}:
            points.append({"episodes": int(row["step"])} | ratios)
    return points


def versions() -> dict[str, str]:
    """Of everything that can change a number, our own code as it was when this process first asked."""
    found = {"python": platform.python_version(), "torch": torch.__version__}  # its metadata may not say which build
    found |= {"ram-agent": __version__, **code()}
    for package in ("numpy", "gymnasium", "stable-baselines3", "sb3-contrib"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def write_results(folder: Path, results: dict[str, Any]) -> None:
    """As JSON; a list of numbers takes a line, however long."""
    text = NUMBERS.sub(lambda found: f"[{' '.join(found[1].split())}]", json.dumps(results, indent=2))
    write_whole(folder / RESULTS, (text + "\n").encode())
