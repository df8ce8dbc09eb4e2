"""`render`: where a run looks, as pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ram_agent.cli.outputs import check_folder
from ram_agent.cli.picture_files import file_names
from ram_agent.cli.prepared import Prepared
from ram_agent.cli.trained import Trained, other_data_options, trained_agent
from ram_agent.config import MOST_PICTURES, ConfigError
from ram_agent.evaluation import evaluate
from ram_agent.gaze import of_each_class
from ram_agent.options import Parser, overrides
from ram_agent.run_files import FIGURES
from ram_agent.spectator import watch, write_gaze
from ram_agent.world import whole_split

COUNT = 12
"""Images of a set that are drawn; of picture files, all."""


def render_options(commands: Any) -> Parser:
    parser = commands.add_parser(
        "render",
        help="draw where a trained run looks: PNG and GIF",
        usage="%(prog)s RUN [--images SOURCE ...] [--out FOLDER] [--count COUNT] [--wrong] [--section.field VALUE ...]",
    )
    other_data_options(parser)
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        help="where the pictures go [default: RUN/figures; of other images or scenes a folder called after them in it]",
    )
    parser.add_argument(
        "--count",
        type=int,
        metavar="COUNT",
        help=f"how many images, {MOST_PICTURES} at most: few viewers show a taller picture "
        f"[default: {COUNT}, of files all]",
    )
    parser.add_argument(
        "--wrong",
        action="store_true",
        help="only test images that it answers wrongly, after a pass over all of them [default folder: figures/wrong]",
    )
    return parser


def render_run(given: Any) -> Prepared:
    """Write the pictures of a gaze; with `--wrong` over the first images that are answered wrongly."""
    if given.count is not None and not 1 <= given.count <= MOST_PICTURES:
        raise ConfigError(
            f"--count: expected 1 to {MOST_PICTURES} images, got {given.count:,}; more make a picture taller than "
            "viewers show"
        )
    trained = trained_agent(given)
    if given.wrong and trained.shown:
        raise ConfigError("--wrong: expected images with labels, got picture files; give them as class folders")
    world = trained.world
    target = Path(given.run) / FIGURES
    if given.out:
        target = Path(given.out)
    elif other := _other(trained, overrides(given), given.images):
        target = target / other
    if given.wrong and not given.out:
        target = target / "wrong"
    check_folder("--out", target)
    there = world.images_in("test")
    asked = given.count or (there if trained.shown else COUNT)
    if asked > MOST_PICTURES:
        raise ConfigError(
            f"--images: got {there:,} picture files, expected at most {MOST_PICTURES} in a picture; "
            f"--count {MOST_PICTURES} draws the first ones"
        )
    count = min(asked, there)

    def job() -> int:
        labels = world.labels_in("test")
        among = _wrong(trained) if given.wrong else range(there)
        scenes = [among[place] for place in of_each_class([labels[scene] for scene in among], count)]
        if trained.shown:
            scenes = list(range(count))  # picture files, as they were named
        if not scenes:
            print(f"none of {there:,} images is answered wrongly: nothing to draw")
            return 0
        if given.count and len(scenes) < given.count:
            what = "picture files" if trained.shown else "test images"
            wrongly = " that it answers wrongly" if given.wrong else ""
            print(f"{given.count} asked for, {len(scenes)} drawn: there are no more {what}{wrongly}")
        target.mkdir(parents=True, exist_ok=True)
        gaze = watch(trained.policy, world.environment("test", len(scenes)), scenes)
        if trained.shown:
            names = file_names([each.file for each in trained.shown])
            gaze = gaze._replace(target=torch.full_like(gaze.target, -1), names=names[:count])
        print("\n".join(map(str, write_gaze(gaze, target))))
        return 0

    return job


def _other(trained: Trained, changed: Mapping[str, Any], images: Sequence[str] | None) -> str:
    """What sets data apart from the run's own, as the name of a folder: its pictures stay what they are."""
    scene = trained.config.scene
    parts = [trained.world.dataset.name.replace("/", "_")] if images or "images.source" in changed else []
    if any(name.startswith("scene.") for name in changed):
        parts.append(f"{scene.kind}_{scene.height}x{scene.width}")
    return "_".join(parts)


def _wrong(trained: Trained) -> list[int]:
    """The test scenes that are answered wrongly at mean locations, in their order."""
    answered = evaluate(trained.policy, *whole_split(trained.world, "test"))
    return np.flatnonzero(answered.wrong[-1]).tolist()
