"""Who watches a trained agent, for pictures alone: what it looked at, what it saw there, what it thought."""

from collections.abc import Sequence
from pathlib import Path

import torch

from ram_agent.animation import gaze_frames
from ram_agent.evaluation import TEST_SEED, at_rest
from ram_agent.gaze import Gaze, glimpse_paths, glimpse_strip
from ram_agent.pictures import write_figure, write_gif
from ram_agent.policy import Policy
from ram_agent.precision import products_in_full
from ram_agent.rollout import GlimpseEnvironment, rollout


@torch.no_grad()
def watch(policy: Policy, env: GlimpseEnvironment, scenes: Sequence[int] | None = None) -> Gaze:
    """Play N scenes of an environment, 0 … N-1 unless told which, at mean locations; note all that a picture needs.

    Of canvases too large to draw it notes a reduced copy (`Gaze.reduced`).
    """
    generator = torch.Generator(next(policy.parameters()).device).manual_seed(TEST_SEED)
    shown = range(env.num_envs) if scenes is None else scenes
    with at_rest(policy), products_in_full():
        episode = rollout(policy, env, seed=[TEST_SEED] * env.num_envs, scenes=shown, generator=generator)
    canvas, sensor = env.canvas, env.sensor
    retina, size = sensor.prepare(canvas), (canvas.shape[-2], canvas.shape[-1])
    windows = [sensor.window(action) for action in episode.windows]
    probability, answers = episode.logits.softmax(dim=-1).max(dim=-1)
    return Gaze(
        canvas=canvas.cpu(),
        boxes=torch.stack([sensor.boxes(window, size) for window in windows]).cpu(),
        glimpses=torch.stack([sensor.read(retina, window) for window in windows]).cpu(),
        target=episode.target.cpu(),
        answers=answers.cpu(),
        probability=probability.cpu(),
        classes=tuple(env.class_names),
    ).reduced()


def write_gaze(gaze: Gaze, folder: Path) -> list[Path]:
    """The pictures of a gaze: the paths of all scenes, the first four of them moving, the first one look by look."""
    paths, moving, strip = (folder / name for name in ("glimpse_paths.png", "glimpse_paths.gif", "glimpse_strip.png"))
    write_figure(glimpse_paths(gaze), paths)
    write_gif(gaze_frames(gaze), moving)
    write_figure(glimpse_strip(gaze, 0), strip)
    return [paths, moving, strip]
