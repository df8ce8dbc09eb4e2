"""Finished runs looked at once more, here: their best weights on the test set, where they look, what they cost."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch.utils.flop_counter import FlopCounterMode

from ram_agent.building import best_policy, build_policy, seen_by
from ram_agent.checkpoint import fitting
from ram_agent.compare.gather import Run
from ram_agent.config import Config
from ram_agent.evaluation import TEST_SEED, evaluate
from ram_agent.export import read_trained
from ram_agent.full_image import WholeCanvas
from ram_agent.gaze import Gaze, centres, count_fixations, of_each_class
from ram_agent.policy import Policy
from ram_agent.rollout import GlimpseEnvironment, rollout
from ram_agent.spectator import watch
from ram_agent.timing import compare as time_in_turn
from ram_agent.world import LANES, World, check_images

PICTURED = 6
"""Test images in the picture of glimpse paths: the first ones of each class, whatever became of them."""
BATCHES = (1, 256)
ROUNDS, LIMIT = 9, 20.0
"""Timings of each method, and the seconds after which no further round begins."""

WorldOf = Callable[[Config], World]


@dataclass(frozen=True)
class Revived:
    """A trained agent that can look again."""

    run: Run
    policy: Policy
    world: World
    best_at_episode: int | None = None
    """When it had these weights, where that is known."""

    def environment(self, lanes: int) -> GlimpseEnvironment:
        """The test split, as this agent sees it."""
        return seen_by(self.run.role, self.world.environment("test", lanes))

    def few(self, lanes: int) -> GlimpseEnvironment:
        """No more lanes than test images."""
        return self.environment(min(lanes, self.world.images_in("test")))


@dataclass(frozen=True)
class Examined:
    """What one run did, at mean locations, with `LANES` test images at most, evenly over a split that may lie class by
    class.
    """

    target: Int[np.ndarray, " images"]
    fixations: Float[np.ndarray, "rows columns"]
    """Looks per cell of the canvas, but for the first look, which no agent chooses."""
    gaze: Gaze
    """Of a few of them, to be drawn."""


def revive(run: Run, world_of: WorldOf) -> Revived:
    """Raises `CheckpointError`, `ValueError` or `OSError` where the checkpoint or the images are not to be had."""
    file, saved = read_trained(run.folder)
    world = world_of(run.config)
    with fitting(file):
        check_images(saved, world)
        best = saved.get("best")
        return Revived(run, best_policy(saved, world.device), world, best["episodes"] if best else None)


def untrained(run: Run, world_of: WorldOf) -> Revived:
    """An agent of its configuration with fresh weights, on which what it costs does not depend.

    Raises `ValueError` or `OSError` where the images are not to be had.
    """
    world = world_of(run.config)
    policy = build_policy(seen_by(run.role, world.environment("test", 1)), run.config, run.role)
    return Revived(run, policy.eval(), world)


def examine(agent: Revived) -> Examined:
    """Where it looks."""
    env = agent.few(LANES)
    images = agent.world.images_in("test")
    gaze = watch(agent.policy, env, [lane * images // env.num_envs for lane in range(env.num_envs)])
    points, (height, width) = centres(gaze.boxes[:, :, 0].numpy()), gaze.canvas.shape[-2:]
    fixations = count_fixations(points, (height, width))
    chosen = of_each_class(gaze.target.tolist(), PICTURED)
    return Examined(gaze.target.numpy(), fixations, _of(gaze, chosen))


def find_wrong(agent: Revived) -> Bool[np.ndarray, " images"]:
    """Which test images it answers wrongly at mean locations.

    Measured as at the end of a training: the same scenes, as many at once, the same generator.
    """
    env = agent.few(LANES)
    generator = torch.Generator(env.device).manual_seed(TEST_SEED)
    return evaluate(agent.policy, env, agent.world.images_in("test"), generator=generator).wrong[-1]


@contextmanager
def _in_matrices() -> Iterator[None]:
    """Without the libraries to which an LSTM over a sequence (RecurrentPPO's) is one operation, counted as none."""
    before = torch.backends.cudnn.enabled, torch.backends.mkldnn.enabled
    torch.backends.cudnn.enabled = torch.backends.mkldnn.enabled = False
    try:
        yield
    finally:
        torch.backends.cudnn.enabled, torch.backends.mkldnn.enabled = before


@torch.no_grad()
def count_flops(agent: Revived) -> float:
    """Floating-point operations of one evaluation episode of one image.

    Counted are products of matrices and convolutions, a multiplication and an addition as two; the rest is not. An eye
    is a part of its agent's cost; of a network over the whole canvas, which has none, what the environment reads is
    taken off.
    """
    env = agent.few(8)
    shown = _shown(env, agent.world.images_in("test"))
    with _in_matrices(), FlopCounterMode(display=False) as counter:
        rollout(agent.policy, env, **shown)
    counted = counter.get_total_flops()
    if isinstance(env, WholeCanvas):
        with FlopCounterMode(display=False) as counter:
            env.reset(seed=shown["seed"], options={"scene": shown["scenes"]})
        counted -= counter.get_total_flops()
    return counted / env.num_envs


def milliseconds(agents: Mapping[str, Revived]) -> dict[str, dict[int, float]]:
    """Per image, the median of rounds in turn over all agents: name → batch → time. One thread; scenes included."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        candidates = {
            f"{name} {batch}": (_episode(agent, batch), batch) for name, agent in agents.items() for batch in BATCHES
        }
        timings = time_in_turn(candidates, ROUNDS, limit=LIMIT)
    finally:
        torch.set_num_threads(threads)
    return {name: {batch: timings[f"{name} {batch}"].cost(1e3).median for batch in BATCHES} for name in agents}


def _episode(agent: Revived, batch: int) -> Callable[[], object]:
    env = agent.environment(batch)
    shown = _shown(env, agent.world.images_in("test"))

    @torch.no_grad()
    def play() -> object:
        return rollout(agent.policy, env, **shown).reward.cpu()  # waits for the device

    return play


def _shown(env: GlimpseEnvironment, images: int) -> dict[str, Any]:
    """The first scenes of the test set, from the start again where there are fewer than lanes."""
    generator = torch.Generator(env.device).manual_seed(TEST_SEED)
    lanes = np.arange(env.num_envs)
    return {"seed": np.full(len(lanes), TEST_SEED), "scenes": lanes % images, "generator": generator}


def _of(gaze: Gaze, lanes: list[int]) -> Gaze:
    """Some episodes alone; a whole batch of canvases would be kept in memory otherwise."""
    return gaze._replace(
        canvas=gaze.canvas[lanes],
        boxes=gaze.boxes[:, lanes],
        glimpses=gaze.glimpses[:, lanes],
        target=gaze.target[lanes],
        answers=gaze.answers[:, lanes],
        probability=gaze.probability[:, lanes],
    )
