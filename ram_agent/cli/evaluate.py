"""`evaluate`: the test errors of a run, on its own images or on others; its answers to picture files."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ram_agent.cli.notice import loud
from ram_agent.cli.outputs import check_file
from ram_agent.cli.picture_files import tell
from ram_agent.cli.prepared import Prepared
from ram_agent.cli.trained import Trained, other_data_options, trained_agent
from ram_agent.config import ConfigError
from ram_agent.figures import confusion_matrix
from ram_agent.options import Parser
from ram_agent.pictures import write_figure
from ram_agent.progress import warn
from ram_agent.report import FEW, TOO_FEW, hardest_first, images_of
from ram_agent.results import test_errors
from ram_agent.words import NOTHING
from ram_agent.world import whole_split

HARDEST = 20
"""Classes that the table shows, those with the largest errors."""


def evaluate_options(commands: Any) -> Parser:
    parser = commands.add_parser(
        "evaluate",
        help="measure a trained run, on its own test set or on other images; ask it about picture files",
        usage="%(prog)s RUN [--images SOURCE ...] [--confusion FILE] [--section.field VALUE ...]",
    )
    other_data_options(parser)
    parser.add_argument(
        "--confusion",
        metavar="FILE",
        help="draw the matrix of targets and answers there, a .png; its folder is made where it is missing",
    )
    return parser


def evaluate_run(given: Any) -> Prepared:
    """Print test errors of a run as a table, or its answers to picture files; leaves the run folder untouched."""
    if given.confusion:
        check_file("--confusion", given.confusion, ".png")
    trained = trained_agent(given)
    if given.confusion and trained.shown:
        raise ConfigError("--confusion: expected images with labels, got picture files; give them as class folders")

    def answer() -> int:
        env = trained.world.environment("test", trained.world.images_in("test"))
        for line in tell(trained.policy, env, trained.shown):
            print(line)
        return 0

    def measure() -> int:
        config, world = trained.config, trained.world
        env, images = whole_split(world, "test")
        numbers, answered = test_errors(
            trained.policy, env, images, config.training.last_window_std, config.evaluation.votes
        )
        if world.dataset.notice:
            loud(world.images.notice)
        if trained.unmeasured:
            warn(trained.unmeasured)
        for line in _table(given.run, trained, numbers):
            print(line)
        if given.confusion:
            confusion = answered.confusion(len(env.class_names))
            write_figure(confusion_matrix(confusion, env.class_names), given.confusion)
            print(f"  {given.confusion}")
        return 0

    return answer if trained.shown else measure


def _table(run: str, trained: Trained, numbers: Mapping[str, Any]) -> Iterator[str]:
    scene = trained.config.scene
    low, high = numbers["test_error_ci95"]
    canvas = f"{scene.kind} {scene.height}x{scene.width}"
    yield f"{run} on {images_of(numbers['test_images'], trained.world.dataset.name)}, {canvas}"
    if trained.unfinished:
        yield f"  not finished: {trained.unfinished}"
    yield f"  error, mean location      {numbers['test_error']:7.2f} %   95 % over test images {low:.2f} to {high:.2f}"
    yield f"  error, sampled location   {numbers['test_error_sampled']:7.2f} %"
    yield f"  error, {numbers['votes']:>2}-vote            {numbers['test_error_voted']:7.2f} %"
    yield f"  error after each glimpse  {'  '.join(f'{error:.1f}' for error in numbers['error_by_glimpse'])}"
    if numbers["test_images"] < FEW:
        yield f"  {TOO_FEW}"
    yield from _by_class(numbers["error_by_class"], trained.classes)


def _by_class(measured: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> Iterator[str]:
    """The hardest classes, and those of no test image."""
    ordered, without = hardest_first(measured, classes)
    hardest, named = ordered[:HARDEST], without[:HARDEST]
    wide = max(map(len, [fared["name"] for fared in hardest] + named))
    some = f" ({len(hardest)} of {len(ordered)})" if len(hardest) < len(ordered) else ""
    yield f"  error by class, the hardest first{some}:"
    for fared in hardest:
        taken_for = f"   most often taken for {fared['taken_for']}" if fared["taken_for"] else ""
        yield f"    {fared['name']:<{wide}} {fared['error']:7.2f} % of {fared['images']:,}{taken_for}"
    for name in named:
        yield f"    {name:<{wide}} {NOTHING:>7}   of 0"
    if len(without) > len(named):
        yield f"    {len(without) - len(named):,} more classes of 0 images"
