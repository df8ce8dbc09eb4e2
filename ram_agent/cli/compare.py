"""`compare`: runs held against one another."""

from pathlib import Path
from typing import Any

import torch

from envs.images import SOURCES, ImageData
from ram_agent.cli.folders import NO_PLACE, lies_here
from ram_agent.cli.outputs import check_folder
from ram_agent.cli.prepared import Prepared
from ram_agent.cli.world import ConfiguredWorld, find_device, images_of
from ram_agent.compare.comparison import compare
from ram_agent.compare.gather import gather
from ram_agent.config import Config, ConfigError, ImagesConfig, changed_config
from ram_agent.options import Parser, add_config_options, overrides


def compare_options(commands: Any) -> Parser:
    parser = commands.add_parser(
        "compare",
        help="hold runs, or their results, against one another: a report with tables and plots (Markdown, HTML, JSON)",
        usage="%(prog)s RUN [RUN ...] [--out DIR] [--no-controls] [--no-evaluate] [--no-time]",
    )
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="folders of runs, unfinished ones too, of exports, or of whole sweeps; or a results.json alone, such as "
        "those in results/; RUN:ROLE: one agent of it alone, learned or a control (random, cnn, ...)",
    )
    parser.add_argument(
        "--out", default="comparison", metavar="DIR", help="where report and plots go [default: comparison]"
    )
    parser.add_argument(
        "--no-controls",
        action="store_true",
        help="leave the controls out: each is a method, and the more pairs of methods, the less a difference shows",
    )
    parser.add_argument(
        "--no-evaluate",
        action="store_true",
        help="leave out all that needs images or weights: fixations, glimpse paths, cost, and paired differences of "
        "runs that did not store their answers",
    )
    parser.add_argument("--no-time", action="store_true", help="leave out milliseconds per image")
    add_config_options(parser, ["images.folder", "run.device"], default="each run's own")
    return parser


def compare_runs(given: Any) -> Prepared:
    """Write comparison.md, comparison.html, their plots and comparison.json."""
    out = Path(given.out)
    check_folder("--out", out)
    gathered = gather([Path(name) for name in given.runs], controls=not given.no_controls)
    changed = overrides(given)
    if "run.device" in changed:
        find_device(changed["run.device"])
    loaded: dict[ImagesConfig, ImageData | Exception] = {}
    exported = [run for run in gathered.runs if run.kind == "export"]
    beside = [run for run in gathered.runs if run.kind == "run"]
    placed = [run.config.images for run in beside]
    placeless = [run.config.images for run in exported if run.config.images not in placed]
    # An export keeps the name of its images, not where they lie; a run beside it may know, best one on the very same.
    known = {
        export.config.images: max(namesakes, key=lambda run: run.sha256 == export.sha256).config.images
        for export in exported
        if (namesakes := [run for run in beside if Path(run.config.images.source).name == export.config.images.source])
    }

    def world_of(config: Config) -> ConfiguredWorld:
        by_name = config.images in placeless
        if by_name and (near := known.get(config.images)):
            config = changed_config(config, {"images.source": near.source, "images.folder": near.folder})
        config = changed_config(config, changed)
        source = config.images
        if by_name and not lies_here(source.source):
            raise ConfigError(NO_PLACE.format(source.source, "compare a run on the same images with it"))
        if source not in loaded:
            try:
                loaded[source] = images_of(source)
            except (ValueError, OSError) as error:  # not looked for again: that can take a while
                moved = "; where they have moved: images.source in the run's config.yaml"
                loaded[source] = ConfigError(f"{error}{'' if source.source in SOURCES else moved}")
        images = loaded[source]
        if isinstance(images, Exception):
            raise images
        return ConfiguredWorld(config, images)

    def job() -> int:
        torch.set_num_threads(1)
        out.mkdir(parents=True, exist_ok=True)
        for file in compare(gathered, None if given.no_evaluate else world_of, out, timed=not given.no_time):
            print(file)
        return 0

    return job
