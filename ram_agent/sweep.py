"""Many trainings: which are done, which go on, in which order, and what they come to over seeds.

Everything that is known of a job is read from its run folder, so that a sweep that was interrupted, or killed, goes on
with the same command. `table.py` says what the jobs are, `runner.py` runs them.
"""

import json
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ram_agent.checkpoint import is_checkpointed, read_newest
from ram_agent.compare.statistics import interval_over_seeds
from ram_agent.config import Config, ConfigError, ImagesConfig, load_config
from ram_agent.files import holds_something, in_use
from ram_agent.run_files import CHECKPOINT, CONFIG
from ram_agent.stored import final_results, whole_results
from ram_agent.table import Job
from ram_agent.world import PLACES

Standing = Literal["done", "to resume", "new"]
DigestOf = Callable[[ImagesConfig], str]
"""The sha256 of images."""
SETTLED = ("mnist", "digits")
"""What `images.source auto` comes to."""
KEPT = ("folder", "seed", "overwrite", "threads")
"""Of how a run is run, what stays as it was when the run goes on."""


# -------------------------------------------------------------------- jobs and their folders


def standing_of(job: Job, digest_of: DigestOf | None = None) -> Standing:
    """Read from the folder. Raises `ConfigError` where that holds another experiment, or one that is being trained.

    By `digest_of` images that lie elsewhere than when the job ran are told from others; without, they are others.
    """
    if in_use(job.log):
        raise ConfigError(f"{job.folder}: a process is training it (it holds {job.log}); wait for it, or end it")
    if in_use(job.folder):
        raise ConfigError(f"{job.folder}: a process is training in it; wait for it, or end it")
    results = final_results(job.folder)
    if results is None and not is_checkpointed(job.folder / CHECKPOINT):
        return "new"
    names = [*different(job.config, load_config(job.folder / CONFIG))]
    if names and not ({*names} <= {*PLACES} and _lie_elsewhere(job, results, digest_of)):
        name = next((name for name in names if name not in PLACES), names[0])
        raise ConfigError(
            f"{job.folder}: was run with another {name} than the table asks for; "
            "choose another --out, or move the folder away"
        )
    return "to resume" if results is None else "done"


def _lie_elsewhere(job: Job, results: Mapping[str, Any] | None, digest_of: DigestOf | None) -> bool:
    """Whether the images that the table names are those of the run, at another place than then."""
    if digest_of is None:
        return False
    trained_on = results["dataset"] if results else read_newest(job.folder / CHECKPOINT)
    return digest_of(job.config.images) == trained_on["sha256"]


def different(asked: Config, ran: Config) -> Iterator[str]:
    """The fields in which two experiments differ; how they are run is no part of them, the seed is."""
    ours, theirs = (config.model_dump(exclude={"name"}) for config in (asked, ran))
    for tree in (ours, theirs):
        tree["run"] = {"seed": tree["run"]["seed"]}
        if asked.training.precision == "fastest":  # likewise
            tree["training"]["precision"] = "fastest"
    if asked.images.source == "auto" and ran.images.source in SETTLED:
        ours["images"] |= {"source": ran.images.source, "folder": ran.images.folder}
    for section, fields in ours.items():
        yield from (f"{section}.{name}" for name, value in fields.items() if theirs[section][name] != value)


def in_order(standings: Mapping[Job, Standing]) -> list[Job]:
    """What is left to do: first what was interrupted, then the first seed of every row before the second of any."""
    return sorted((job for job in standings if standings[job] != "done"), key=lambda job: standings[job] != "to resume")


def command(job: Job, standing: Standing) -> list[str]:
    """The training as it would be typed in the folder that the sweep runs in.

    A module there (`envs`, say) is not taken for ours: `-P`. Only in the checkout are they ours.
    """
    at_home = Path.cwd() == Path(__file__).resolve().parents[1]
    train = [sys.executable, *([] if at_home else ["-P"]), "-m", "ram_agent", "train"]
    if standing == "to resume":
        return [*train, "--resume", str(job.folder), *_changed_since(job), "--run.progress", "false"]
    leftovers = job.folder.is_dir() and holds_something(job.folder)
    return [*train, str(job.settings), *(["--run.overwrite", "true"] if leftovers else [])]


def _changed_since(job: Job) -> Iterator[str]:
    """Options for what the table says today of how a run is run, and of where its images lie. It keeps the threads that
    it began with: so it ends as if it had never been stopped.
    """
    ran = load_config(job.folder / CONFIG)
    moved = [name for name in different(job.config, ran) if name in PLACES]
    changed = {name: getattr(job.config.images, name.partition(".")[2]) for name in moved}
    changed |= {
        f"run.{name}": value
        for name, value in job.config.run.model_dump().items()
        if name not in (*KEPT, "progress") and value != getattr(ran.run, name)
    }
    for name, value in changed.items():
        yield from (f"--{name}", value if isinstance(value, str) else json.dumps(value))


def last_line(log: Path) -> str:
    """What a training said last."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return "no log"
    return next((line.strip() for line in reversed(lines) if line.strip()), "nothing")


# -------------------------------------------------------------------- what they come to


class Summary(NamedTuple):
    """One row over its seeds."""

    row: str
    seeds: list[int]
    """That are done."""
    of: int
    images: list[str]
    """What they were measured on: one name, or there is no mean."""
    test_error: float | None
    """In percent, mean over seeds."""
    test_error_ci95_over_seeds: tuple[float, float] | None
    """Student's t over seeds: how training varies, not how many test images there are. From two seeds on."""


def summarise(jobs: Sequence[Job]) -> list[Summary]:
    """A line for each row, in the order of the table."""
    summaries = []
    for row in dict.fromkeys(job.row for job in jobs):
        of_row = [job for job in jobs if job.row == row]
        results = {job.seed: final for job in of_row if (final := whole_results(job.folder))}
        images = _images_of(results.values())
        errors = [final["test_error"] for final in results.values()] if len(images) == 1 else []
        mean = statistics.fmean(errors) if errors else None
        summaries.append(Summary(row, list(results), len(of_row), images, mean, interval_over_seeds(errors)))
    return summaries


def _images_of(results: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of the images that runs were measured on, with the beginning of the sha256 where a name alone does not
    tell them apart.
    """
    sets = {(result["dataset"]["name"], result["dataset"].get("sha256", "")) for result in results}
    alike = Counter(name for name, _ in sets)
    return sorted(name if alike[name] == 1 else f"{name} {sha256[:12]}" for name, sha256 in sets)


def summary_table(summaries: Sequence[Summary]) -> str:
    """The table at the end of a sweep."""
    width = max(3, *(len(summary.row) for summary in summaries))
    lines = [f"{'row':{width}}  seeds  test error, % (95 % t-interval over seeds)  images"]
    for row, seeds, of, images, mean, interval in summaries:
        shown = "-" if mean is None else f"{mean:.2f}"
        if mean is not None:
            none = "one seed" if len(seeds) == 1 else "all seeds alike"
            shown += f" ({interval[0]:.2f} to {interval[1]:.2f})" if interval else f" ({none}: no interval)"
        elif images:
            shown = "no mean over different images"
        lines.append(f"{row:{width}}  {f'{len(seeds)}/{of}':5}  {shown:42}  {', '.join(images)}".rstrip())
    return "\n".join(lines)
