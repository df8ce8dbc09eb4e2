"""The command line. Here the agent and the environments are tied together (and in `bench`, which measures both)."""

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import torch

import ram_agent
from envs.glimpse import GlimpseVectorEnv
from envs.images import ImageData, load_images, load_test_images
from envs.scenes import Split
from ram_agent.animation import gaze_frames
from ram_agent.bench import suite
from ram_agent.bench.settings import Settings
from ram_agent.checkpoint import CheckpointError, read_checkpoint
from ram_agent.compare.comparison import compare
from ram_agent.compare.gather import gather
from ram_agent.config import Config, ConfigError, load_config, nearest, override, parse_config
from ram_agent.experiment import (
    CHECKPOINT,
    Dataset,
    best_policy,
    check_images,
    final_results,
    run_experiment,
    test_errors,
)
from ram_agent.gaze import glimpse_paths
from ram_agent.monitoring import watch
from ram_agent.options import Parser, add_config_options, overrides
from ram_agent.parallel import join_ranks, leave_ranks
from ram_agent.pictures import write_figure, write_gif
from ram_agent.policy import Policy
from ram_agent.report import results_table
from ram_agent.runner import Runner
from ram_agent.search import Search, check_optuna
from ram_agent.sensor import make_sensor
from ram_agent.space import read_space
from ram_agent.sweep import State, command, in_order, state_of, summarise, summary_table
from ram_agent.table import Job as Training
from ram_agent.table import read_jobs
from ram_agent.workers import LocalWorkers, RayWorkers, check_ray, cores

FOLDERS_OF_CONFIGS = (Path(__file__).parent / "configs", Path(__file__).parent.parent / "configs")
"""In a wheel, and in a checkout."""


class World:
    """The environments that a configuration describes, all over one set of images."""

    def __init__(self, config: Config, images: ImageData | None = None) -> None:
        self.config = config
        self.device = find_device(config.run.device)
        if images is None:
            images = load_images(config.images.source, config.images.folder)
        self.images = images.to(self.device)

    @property
    def dataset(self) -> Dataset:
        notice, _, _ = self.images.notice.partition(" (")  # the reasons, in brackets, are for the terminal
        return Dataset(self.images.name, self.images.sha256, notice, self.images.classes)

    @cached_property
    def sensor(self) -> Any:
        return make_sensor(**self.config.sensor.model_dump())

    def environment(self, split: str, lanes: int) -> GlimpseVectorEnv:
        """A vector environment over one split, in torch."""
        assert split in get_args(Split)
        scene, environment = self.config.scene, self.config.environment
        return GlimpseVectorEnv(
            lanes,
            images=self.images,
            split=split,  # type: ignore[arg-type]
            scene=scene.kind,
            size=(scene.height, scene.width),
            clutter=scene.clutter,
            clutter_size=scene.clutter_size,
            sensor=self.sensor,
            glimpses=environment.glimpses,
            first_window=environment.first_window,
            device=self.device,
            tensors=True,
        )

    def images_in(self, split: str) -> int:
        return len(self.images.split(split))  # type: ignore[arg-type]


def check_graph(config: Config, device: torch.device, processes: int) -> None:
    """Raise `ConfigError` where updates cannot be replayed."""
    if config.run.cuda_graph and (device.type != "cuda" or processes > 1 or config.training.optimizer != "adam"):
        raise ConfigError(
            f"run.cuda_graph: got true with device {device}, {processes} process(es) and training.optimizer "
            f"{config.training.optimizer}; it takes a CUDA device, one process and adam"
        )


def find_device(name: str) -> torch.device:
    """A device that is there; `auto` takes CUDA where it is. Raises `ConfigError`."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"run.device: got {name!r}, expected auto, cpu, cuda or another that is here: {reason}"
        ) from None


def main(arguments: Sequence[str] | None = None, program: str = "ram-agent") -> int:
    """Run one command; returns the exit status. What a user can get wrong is one line and status 2."""
    parser = Parser(prog=program, description="Recurrent visual attention: train, measure and watch glimpse agents.")
    parser.add_argument("--version", action="version", version=f"ram-agent {ram_agent.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add = {
        "train": _train_options,
        "sweep": _sweep_options,
        "search": _search_options,
        "evaluate": _evaluate_options,
        "render": _render_options,
        "compare": _compare_options,
        "bench": _bench_options,
    }
    parsers = {name: add_options(commands) for name, add_options in add.items()}
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if program != "ram-agent" and arguments and arguments[0] in parsers:
        parsers[arguments[0]].prog = program
        given = parsers[arguments[0]].parse_all(arguments[1:])
        given.command = arguments[0]
    else:
        known, _ = parser.parse_known_args(arguments)
        given = parsers[known.command].parse_all(arguments[arguments.index(known.command) + 1 :])
        given.command = known.command
    given.arguments = arguments
    prepare = {
        "train": train,
        "sweep": sweep_table,
        "search": search_settings,
        "evaluate": evaluate_run,
        "render": render_run,
        "compare": compare_runs,
        "bench": bench_project,
    }[given.command]
    try:
        try:
            job = prepare(given)
        except (ValueError, OSError) as error:  # what cannot be made ready is the user's to mend
            raise Refused(" ".join(str(error).split())) from None
        return job()
    except (Refused, CheckpointError, OSError) as error:
        print(f"{program}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        return 130


class Refused(Exception):
    """A command that cannot begin; the message is one line."""


Job = Callable[[], int]
"""What a command does once everything it was given has proved right; returns the exit status."""


# -------------------------------------------------------------------- train


def _train_options(commands: Any) -> Parser:
    parser = commands.add_parser(
        "train",
        help="train an agent and its controls, measure them, write a run folder",
        usage="%(prog)s [CONFIG] [--section.field VALUE ...] [--resume RUN]",
    )
    parser.add_argument(
        "config", nargs="?", metavar="CONFIG", help="a YAML file, or a name in configs/ [default: default]"
    )
    parser.add_argument("--resume", metavar="RUN", help="go on with an interrupted run")
    add_config_options(parser)
    return parser


def train(given: Any) -> Job:
    """Train from a config, or go on with a run; under torchrun, together with the other processes."""
    ranks = join_ranks()
    if given.resume:
        config, folder = _resumed(given)
        world = World(config)
        check_graph(config, world.device, ranks.size)
        if (folder / "NOTICE.txt").is_file():  # said of these images when the run began, and still true
            notice = (folder / "NOTICE.txt").read_text(encoding="utf-8").strip()
            world.images = replace(world.images, notice=notice)
    else:
        config = load_config(find_config(given.config or "default"), overrides(given))
        world = World(config)  # before the folder: what fails here leaves nothing behind
        check_graph(config, world.device, ranks.size)
        world.environment("train", 1)  # likewise: scenes or a first window that cannot be
        folder = ranks.share(new_run_folder(config) if ranks.leads else Path())

    def together() -> int:
        try:
            return job() if ranks.leads else assist()
        finally:
            leave_ranks()

    def assist() -> int:
        _, interrupted_by = run_experiment(config, world, folder, resume=bool(given.resume), ranks=ranks)
        return 128 + interrupted_by if interrupted_by else 0

    def job() -> int:
        if world.dataset.notice:
            _loud(world.images.notice)
        print(f"run folder: {folder}", flush=True)
        results, interrupted_by = run_experiment(config, world, folder, resume=bool(given.resume), ranks=ranks)
        print("\n" + results_table(results) + "\n")
        if config.run.tensorboard:
            print(f"  watch it:  tensorboard --logdir {folder}")
        if interrupted_by:
            print(f"  go on:     python train.py --resume {folder}")
            return 128 + interrupted_by
        return 0

    return together


def find_config(name: str, kind: str = "config", below: str = ".") -> Path:
    """A path as it is, or the name of a config that came with the package, in `below`. Raises `ConfigError`."""
    path = Path(name)
    if path.exists():
        return path
    folders = [folder / below for folder in reversed(FOLDERS_OF_CONFIGS)]
    shipped = {file.stem: file for folder in folders for file in sorted(folder.glob("*.yaml"))}
    if name in shipped:
        return shipped[name]
    raise ConfigError(
        f"{kind} {name}: no such file{nearest(path.stem, sorted(shipped))}; shipped: {', '.join(sorted(shipped))}"
    )


def new_run_folder(config: Config) -> Path:
    """Make the folder of a new run: the one asked for, which must not hold a run yet, or a numbered one under runs/."""
    if config.run.folder is None:
        number = 1
        while True:
            folder = Path("runs") / (config.name if number == 1 else f"{config.name}-{number}")
            try:
                folder.mkdir(parents=True)
                return folder
            except FileExistsError:
                number += 1
    folder = Path(config.run.folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if not config.run.overwrite:
            raise ConfigError(
                f"run.folder: {folder} exists and is not empty; choose another, go on with --resume {folder}, "
                "or replace it with --run.overwrite true"
            )
        _clear_run(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"run.folder: cannot make {folder}: {error.strerror or error}") from None
    return folder


def _clear_run(folder: Path) -> None:
    """Remove a run that is to be replaced; a folder that is not a run's is left alone."""
    if not (folder / "config.yaml").is_file():
        raise ConfigError(
            f"run.overwrite: {folder} does not hold a run of ram-agent (no config.yaml); nothing was removed"
        )
    shutil.rmtree(folder)


def _resumed(given: Any) -> tuple[Config, Path]:
    changed = overrides(given)
    wrong = [
        name for name in changed if not name.startswith("run.") or name in ("run.folder", "run.seed", "run.overwrite")
    ]
    if given.config or wrong:
        raise ConfigError(
            f"--resume {given.resume}: goes on with the run's own config, "
            f"{wrong[0] if wrong else given.config} cannot change"
        )
    folder = run_folder(given.resume)
    if final_results(folder):
        raise ConfigError(f"--resume {folder}: the run is finished; its results are in {folder / 'results.json'}")
    return load_config(folder / "config.yaml", changed), folder


def run_folder(name: str) -> Path:
    """An existing run. Raises `ConfigError`."""
    folder = Path(name)
    if not (folder / "config.yaml").is_file():
        raise ConfigError(f"run {folder}: not a run folder (no config.yaml in it)")
    return folder


# -------------------------------------------------------------------- sweep


def _sweep_options(commands: Any) -> Parser:
    parser = commands.add_parser("sweep", help="train every row of a table with every seed; go on where it was")
    parser.add_argument("table", metavar="TABLE", help="a YAML file, or a name in configs/tables/")
    parser.add_argument("--out", metavar="DIR", help="where DIR/<row>/seed<k> go [default: runs/<table>]")
    parser.add_argument("--workers", type=int, default=1, help="trainings at a time [default: 1]")
    parser.add_argument("--backend", choices=["local", "ray"], default="local", help="who runs them [default: local]")
    parser.add_argument("--dry-run", action="store_true", help="show what would run, and start nothing")
    parser.add_argument(
        "--keep-going",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="after a training has failed, start the others all the same [default: yes]",
    )
    return parser


def sweep_table(given: Any) -> Job:
    """Run what is left of a table and show what it comes to; what is done already is not done again."""
    if given.workers < 1:
        raise ConfigError(f"--workers: expected 1 or more, got {given.workers}")
    if given.backend == "ray":
        check_ray()
    path = find_config(given.table, "table", "tables")
    out = Path(given.out or Path("runs") / path.stem).absolute()
    threads = max(1, cores() // given.workers)
    jobs = read_jobs(path, out, threads, find_config)
    states: dict[Training, State] = {each: state_of(each) for each in jobs}
    left = in_order(states)

    def job() -> int:
        print(f"{path}: {len(jobs)} trainings, {len(jobs) - len(left)} done; to {out}", flush=True)
        if given.dry_run:
            for each in left:
                print(f"  {each!s:24} {states[each]:9}  {' '.join(command(each, states[each]))}")
            return 0
        on_ray = given.backend == "ray" and left
        workers = RayWorkers(given.workers, threads) if on_ray else LocalWorkers(given.workers)
        runner = Runner(out, states, workers, keep_going=given.keep_going, say=lambda line: print(line, flush=True))
        status = runner.run()
        print(f"\n{summary_table(summarise(jobs))}\n\n  written to {out / 'sweep.json'}")
        for failed, reason in runner.failures.items():
            print(f"  failed: {failed}, {reason}\n          all it said: {failed.log}")
        if status > 128:
            print(f"  interrupted; the same command goes on: ram-agent {' '.join(given.arguments)}")
        return status

    return job


# -------------------------------------------------------------------- search


def _search_options(commands: Any) -> Parser:
    parser = commands.add_parser(
        "search",
        help="search settings with Optuna, by the validation error; go on where it was",
        usage="%(prog)s CONFIG --space SPACE [--trials N] [--out DIR] [--section.field VALUE ...]",
    )
    parser.add_argument("config", metavar="CONFIG", help="a YAML file, or a name in configs/")
    parser.add_argument("--space", required=True, metavar="SPACE", help="a YAML file, or a name in configs/spaces/")
    parser.add_argument("--trials", type=int, default=20, metavar="N", help="in all, earlier ones too [default: 20]")
    parser.add_argument("--out", metavar="DIR", help="where the trials and best.yaml go [default: runs/<name>_search]")
    add_config_options(parser)
    return parser


def search_settings(given: Any) -> Job:
    """Train with settings that Optuna suggests and write down the best."""
    check_optuna()
    if given.trials < 1:
        raise ConfigError(f"--trials: expected 1 or more, got {given.trials}")
    config = load_config(find_config(given.config), overrides(given))
    space = read_space(find_config(given.space, "space", "spaces"))
    world = World(config)
    check_graph(config, world.device, 1)
    out = Path(given.out or Path("runs") / f"{config.name}_search")
    search = Search(
        config,
        space,
        lambda changed: World(changed, world.images),
        out,
        say=lambda line: print(line, flush=True),
    )

    def job() -> int:
        if world.dataset.notice:
            _loud(world.images.notice)
        try:
            interrupted_by = search.run(given.trials)
        except ConfigError as error:
            raise Refused(str(error)) from None
        if search.best:
            print(f"\n  best on validation: {search.best.value:.2f} % [{world.dataset.name}]")
            print(f"  train it:  python train.py {out / 'best.yaml'}")
        if interrupted_by:
            print(f"  interrupted; the same command goes on: ram-agent {' '.join(given.arguments)}")
        return 128 + interrupted_by if interrupted_by else 0

    return job


# -------------------------------------------------------------------- evaluate and render


def _evaluate_options(commands: Any) -> Parser:
    parser = commands.add_parser("evaluate", help="measure a trained run, on its own test set or on other images")
    _other_data_options(parser)
    return parser


def _render_options(commands: Any) -> Parser:
    parser = commands.add_parser("render", help="draw where a trained run looks: PNG and GIF")
    _other_data_options(parser)
    parser.add_argument("--out", metavar="FOLDER", help="where the pictures go [default: RUN/figures]")
    parser.add_argument("--count", type=int, default=12, help="how many images [default: 12]")
    return parser


def _other_data_options(parser: Parser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run folder")
    parser.add_argument(
        "--images", metavar="SOURCE", help="other images: mnist, digits, IDX files, .npz, class folders"
    )
    add_config_options(parser, ["images.", "scene.", "run.device", "run.threads"])


def trained_agent(given: Any) -> tuple[Config, Policy, World, float]:
    """The best policy of a run, the world to see it in, and the exploration it ended with.

    Other images are the run's scenes over them; with `--scene.kind plain` and no size, canvases as large as the images.
    """
    folder = run_folder(given.run)
    saved = read_checkpoint(folder / CHECKPOINT)
    changed = overrides(given)
    if given.images:
        changed["images.source"] = given.images
    config = load_config(folder / "config.yaml", changed)
    torch.set_num_threads(config.run.threads or 1)
    images = None
    if "images.source" in changed:
        name, other, classes = load_test_images(config.images.source, config.images.folder)
        own = tuple(saved["classes"])
        if not set(classes) <= set(own):
            raise ConfigError(
                f"images.source: {name} has classes {', '.join(sorted(set(classes) - set(own)))}, "
                f"which this run never learned; it knows {', '.join(own)}"
            )
        labels = torch.tensor([own.index(label) for label in classes])[other.labels]
        other = replace(other, labels=labels)
        images = ImageData(name=name, train=other, validation=other, test=other, classes=own, sha256="", notice="")
        height, width = images.image_size
        sized = {"scene.height", "scene.width"} & changed.keys()
        if config.scene.kind == "plain" and "scene.kind" in changed and not sized:
            config = load_config(folder / "config.yaml", changed | {"scene.height": height, "scene.width": width})
    world = World(config, images)
    if images is None:
        check_images(saved, world)
    if world.images.channels * config.sensor.scales != saved["blueprint"]["glimpse_shape"][0]:
        raise ConfigError(
            f"images: {world.images.channels} colour channels, but this run was trained on "
            f"{saved['blueprint']['glimpse_shape'][0] // config.sensor.scales}"
        )
    return config, best_policy(saved, world.device), world, config.training.last_window_std


def evaluate_run(given: Any) -> Job:
    """Print test errors of a run as a table; other data than its own leaves the run folder untouched."""
    config, policy, world, std = trained_agent(given)
    images = world.images_in("test")
    env = world.environment("test", min(images, 500))

    def job() -> int:
        result = test_errors(policy, env, images, std, config.evaluation.votes)
        scene = config.scene
        low, high = result["test_error_ci95"]
        if world.dataset.notice:
            _loud(world.images.notice)
        print(f"{given.run} on {images:,} images of {world.dataset.name}, {scene.kind} {scene.height}x{scene.width}")
        print(f"  error, mean location      {result['test_error']:7.2f} %   95 % interval {low:.2f} to {high:.2f}")
        print(f"  error, sampled location   {result['test_error_sampled']:7.2f} %")
        print(f"  error, {result['votes']:>2}-vote            {result['test_error_voted']:7.2f} %")
        print(f"  error after each glimpse  {'  '.join(f'{error:.1f}' for error in result['error_by_glimpse'])}")
        return 0

    return job


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


# -------------------------------------------------------------------- compare


def _compare_options(commands: Any) -> Parser:
    parser = commands.add_parser(
        "compare",
        help="hold runs against one another: a report in Markdown and HTML with tables and plots",
        usage="%(prog)s RUN [RUN ...] [--out DIR] [--no-evaluate] [--no-time]",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders, unfinished ones too")
    parser.add_argument(
        "--out", default="comparison", metavar="DIR", help="where report and plots go [default: comparison]"
    )
    parser.add_argument(
        "--no-evaluate",
        action="store_true",
        help="leave out all that needs images or weights: paired differences, fixations, glimpse paths, cost",
    )
    parser.add_argument("--no-time", action="store_true", help="leave out milliseconds per image")
    add_config_options(parser, ["images.folder", "run.device"])
    return parser


def compare_runs(given: Any) -> Job:
    """Write comparison.md, comparison.html and their plots."""
    runs = gather([Path(name) for name in given.runs])
    out = Path(given.out)
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out: {out} is a file, expected a folder")
    out.mkdir(parents=True, exist_ok=True)
    changed = overrides(given)
    if "run.device" in changed:
        find_device(changed["run.device"])
    loaded: dict[tuple[str, str | None], ImageData | Exception] = {}

    def world_of(config: Config) -> World:
        config = parse_config(override(config.model_dump(), changed))
        source = config.images.source, config.images.folder
        if source not in loaded:
            try:
                loaded[source] = load_images(*source)
            except (ValueError, OSError) as error:  # not looked for again: that can take a while
                loaded[source] = error
        images = loaded[source]
        if isinstance(images, Exception):
            raise images
        return World(config, images)

    def job() -> int:
        torch.set_num_threads(1)
        for file in compare(runs, None if given.no_evaluate else world_of, out, timed=not given.no_time):
            print(file)
        return 0

    return job


# -------------------------------------------------------------------- bench


def _bench_options(commands: Any) -> Parser:
    parser = commands.add_parser("bench", help="measure speed and memory of sensor, environment and training here")
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"{', '.join(suite.SECTIONS)} [default: all of them]"
    )
    parser.add_argument("--threads", type=int, default=1, help="torch threads [default: 1]")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda [default: auto]")
    parser.add_argument("--rounds", type=int, help="how often everything is timed in turn [default: 15]")
    parser.add_argument("--updates", type=int, help="updates over which memory is watched [default: 300]")
    parser.add_argument("--batch", type=int, help="images per update [default: 256]")
    parser.add_argument("--json", metavar="FILE", help="write the numbers there too")
    parser.add_argument("--plot", metavar="FILE", help="draw what a glimpse costs against the canvas there, a PNG")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, two rounds: whether it runs")
    return parser


def bench_project(given: Any) -> Job:
    """Print Markdown tables; the images are the embedded digits, which the speed does not depend on."""
    asked = {name: getattr(given, name) for name in ("rounds", "updates", "batch") if getattr(given, name) is not None}
    least = {"rounds": 2, "updates": 10, "batch": 8} if given.smoke else {}
    settings = Settings(find_device(given.device), given.threads, **least | asked, smoke=given.smoke)
    sections = suite.check(given.sections, given.plot)
    for file in filter(None, (given.json, given.plot)):  # what cannot be written is better known before than after
        if Path(file).is_dir():
            raise ConfigError(f"{file}: is a folder, expected a file")
        Path(file).parent.mkdir(parents=True, exist_ok=True)

    def job() -> int:
        for piece in suite.run(sections, settings, given.json, given.plot):
            print(piece, flush=True)
        return 0

    return job


def _loud(notice: str) -> None:
    """One loud line, and the reasons quietly below it."""
    loud, _, reasons = notice.partition(" (")
    line = "!" * (len(loud) + 6)
    print(f"{line}\n!! {loud} !!\n{line}", file=sys.stderr)
    if reasons:
        print(reasons.removesuffix(")"), file=sys.stderr, flush=True)
