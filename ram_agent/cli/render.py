"""`render`: where a run looks, as pictures."""

from pathlib import Path
from typing import Any

import torch

from ram_agent.animation import gaze_frames
from ram_agent.cli.job import Job
from ram_agent.cli.trained import other_data_options, trained_agent
from ram_agent.config import ConfigError
from ram_agent.gaze import glimpse_paths, glimpse_strip
from ram_agent.monitoring import watch
from ram_agent.options import Parser
from ram_agent.pictures import write_figure, write_gif

COUNT = 12
"""Images of a set that are drawn; of picture files, all."""


def render_options(commands: Any) -> Parser:
    parser = commands.add_parser("render", help="draw where a trained run looks: PNG and GIF")
    other_data_options(parser)
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        help="where the pictures go [default: RUN/figures, of other images RUN/figures/<their name>]",
    )
    parser.add_argument(
        "--count", type=int, metavar="COUNT", help=f"how many images [default: {COUNT}, of picture files all]"
    )
    return parser


def render_run(given: Any) -> Job:
    """Write glimpse_paths.png, glimpse_paths.gif (of the first four), glimpse_strip.png (of the first)."""
    if given.count is not None and given.count < 1:
        raise ConfigError(f"--count: expected 1 or more images, got {given.count}")
    trained = trained_agent(given)
    world = trained.world
    target = Path(given.run) / "figures"
    if given.out:
        target = Path(given.out)
    elif given.images:
        target = target / world.dataset.name.replace("/", "_")
    target.mkdir(parents=True, exist_ok=True)
    there = world.images_in("test")
    env = world.environment("test", min(given.count or (there if trained.shown else COUNT), there))

    def job() -> int:
        gaze = watch(trained.policy, env)
        if trained.shown:
            gaze = gaze._replace(target=torch.full_like(gaze.target, -1))
        files = [target / name for name in ("glimpse_paths.png", "glimpse_paths.gif", "glimpse_strip.png")]
        write_figure(glimpse_paths(gaze), files[0])
        write_gif(gaze_frames(gaze), files[1])
        write_figure(glimpse_strip(gaze, 0), files[2])
        print("\n".join(map(str, files)))
        return 0

    return job
