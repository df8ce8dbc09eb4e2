"""`render`: where a run looks, as pictures."""

from pathlib import Path
from typing import Any

from ram_agent.animation import gaze_frames
from ram_agent.cli.job import Job
from ram_agent.cli.trained import other_data_options, trained_agent
from ram_agent.config import ConfigError
from ram_agent.gaze import glimpse_paths
from ram_agent.monitoring import watch
from ram_agent.options import Parser
from ram_agent.pictures import write_figure, write_gif


def render_options(commands: Any) -> Parser:
    parser = commands.add_parser("render", help="draw where a trained run looks: PNG and GIF")
    other_data_options(parser)
    parser.add_argument("--out", metavar="FOLDER", help="where the pictures go [default: RUN/figures]")
    parser.add_argument("--count", type=int, default=12, help="how many images [default: 12]")
    return parser


def render_run(given: Any) -> Job:
    """Write glimpse_paths.png and glimpse_paths.gif."""
    if given.count < 1:
        raise ConfigError(f"--count: expected 1 or more images, got {given.count}")
    _, policy, world, _ = trained_agent(given)
    target = Path(given.out) if given.out else Path(given.run) / "figures"
    target.mkdir(parents=True, exist_ok=True)
    env = world.environment("test", min(given.count, world.images_in("test")))

    def job() -> int:
        gaze = watch(policy, env)
        write_figure(glimpse_paths(gaze), target / "glimpse_paths.png")
        write_gif(gaze_frames(gaze), target / "glimpse_paths.gif")
        print(f"{target / 'glimpse_paths.png'}\n{target / 'glimpse_paths.gif'}")
        return 0

    return job
