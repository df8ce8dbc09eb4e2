"""What a comparison says: first what was compared, then the errors, then a plain sentence for every pair."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median

import torch

from ram_agent.bench.report import machine, show
from ram_agent.compare.document import Block, Bullets, Gallery, Heading, Paragraph, Picture, Table
from ram_agent.compare.examine import BATCHES, LANES, PICTURED, Examined
from ram_agent.compare.gather import SIGNAL, Run
from ram_agent.compare.methods import Method, differing
from ram_agent.compare.seeds import SIGNAL_OVER
from ram_agent.compare.statistics import Estimate, Paired, over_images, over_seeds
from ram_agent.full_image import NETWORKS

NOTHING = "–"


@dataclass(frozen=True)
class Subject:
    """A method with what was found out about it here."""

    method: Method
    examined: Mapping[int, Examined] = field(default_factory=dict)
    """By seed."""
    parameters: int | None = None
    flops: float | None = None
    milliseconds: Mapping[int, float] | None = None
    """Per image, by batch."""
    device: str = ""


@dataclass(frozen=True)
class Pair:
    """Two methods on the same test set, the one with the lower error first."""

    better: str
    other: str
    paired: Paired
    seeds: tuple[int, int]
    over_seeds: Estimate | None
    """The same difference with an interval over seeds; None for fewer than three of any."""


@dataclass(frozen=True)
class Compared:
    subjects: tuple[Subject, ...]
    pairs: tuple[Pair, ...]
    trouble: tuple[str, ...]
    """What could not be looked at again."""
    evaluated: bool

    @property
    def datasets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(run.dataset for subject in self.subjects for run in subject.method.runs))


@dataclass(frozen=True)
class Pictures:
    """Names of files beside the report; None where there was nothing to draw."""

    curves: str | None
    by_glimpse: str | None
    signal: str | None
    fixations: tuple[Picture, ...]
    paths: tuple[str, ...]


def report(compared: Compared, pictures: Pictures) -> list[Block]:
    """The whole report."""
    missing = [*_gaps(compared.subjects), *compared.trouble]
    blocks: list[Block] = [Heading("Runs compared", 1), *_introduction(compared, missing)]
    blocks += [Heading("Test error"), _errors(compared.subjects), Paragraph(_how_to_read(compared.subjects))]
    blocks += [Heading("Which is better"), *_differences(compared)]
    if missing:
        blocks += [Heading("What is missing"), Bullets(tuple(missing))]
    if pictures.curves or pictures.by_glimpse:
        blocks += _curves(compared, pictures)
    blocks += _signal(compared, pictures)
    if pictures.fixations:
        blocks += _gaze(pictures)
    if any(subject.examined for subject in compared.subjects):
        blocks += _cost(compared)
    return blocks + _origins(compared)


# -------------------------------------------------------------------- what was compared


def _introduction(compared: Compared, missing: Sequence[str]) -> list[Block]:
    methods = [subject.method for subject in compared.subjects]
    folders = {_folder(run) for method in methods for run in (*method.runs, *method.doubles)}
    unfinished = sorted({_folder(run) for method in methods for run in method.runs if not run.measured})
    text = (
        f"{_count(len(folders), 'run folder')} with {_count(len(methods), 'method')}, on images of "
        f"{_and(compared.datasets)}. Runs that differ in their seed alone are one method; controls are methods of "
        "their own."
    )
    if "digits" in compared.datasets:
        text += " No number on the embedded digits is an MNIST number."
    if unfinished:
        were = "is" if len(unfinished) == 1 else "are"
        text += f" {_count(len(unfinished), 'run folder')} {were} not finished: learning curves, no test error."
    if missing:
        text += " What is missing is listed below."
    blocks: list[Block] = [Paragraph(text)]
    fields, settings = differing(methods)
    if fields:
        rows = [
            (method.name, *(mine[name] or "unknown" for name in fields))
            for method, mine in zip(methods, settings, strict=True)
        ]
        blocks += [
            Paragraph("The settings in which methods differ (the rest is alike, but for seeds and bookkeeping):"),
            Table(("method", *fields), tuple(rows)),
        ]
    return blocks


def _gaps(subjects: Iterable[Subject]) -> list[str]:
    methods = [subject.method for subject in subjects]
    said = [f"{run.folder}: {gap}" for method in methods for run in (*method.runs, *method.doubles) for gap in run.gaps]
    return said + [
        f"{run.folder}: the same method and seed ({run.config.run.seed}) as {kept.folder}; it counts nowhere below."
        for method in methods
        for run in method.doubles
        for kept in method.runs
        if kept.config.run.seed == run.config.run.seed
    ]


def _folder(run: Run) -> str:
    return str(run.folder if run.look == "learned" else run.folder.parents[1])


# -------------------------------------------------------------------- errors


def _errors(subjects: Sequence[Subject]) -> Table:
    several = {run.measured.votes for subject in subjects for run in subject.method.finished if run.measured}
    votes = _and([f"{votes}" for votes in sorted(several)]) if several else "M"
    columns = (
        "method", "images", "=error at mean locations (%)", "95 % over seeds", "95 % over test images",
        "=at sampled locations (%)", f"={votes}-vote (%)", "=seeds", "=episodes", "=seconds of updates",
        "=threads", "device", "=parameters", "=pixels read per image",
    )  # fmt: skip
    return Table(columns, tuple(_error_row(subject) for subject in subjects))


def _error_row(subject: Subject) -> tuple[str, ...]:
    method = subject.method
    runs = method.finished or method.runs
    measured = [run.measured for run in runs if run.measured]
    seeds = str(len(runs)) if len(method.finished) in (0, len(method.runs)) else f"{len(runs)} of {len(method.runs)}"
    if subject.parameters is None:
        parameters = _mean(run.parameters for run in runs)
    else:
        parameters = f"{subject.parameters:,}"
    return (
        method.name,
        runs[0].dataset,
        _mean((each.error for each in measured), 2),
        *_intervals(runs),
        _mean((each.sampled for each in measured), 2),
        _mean((each.voted for each in measured), 2),
        seeds,
        _mean(run.episodes for run in runs),
        _mean(run.seconds for run in runs),
        _set(run.threads for run in runs),
        _set(run.device or None for run in runs),
        parameters,
        _mean(run.pixels for run in runs),
    )


def _intervals(runs: Sequence[Run]) -> tuple[str, str]:
    """Over seeds, and over test images."""
    finished = [run.measured for run in runs if run.measured]
    if not finished:
        known = [run.validation_error for run in runs if run.validation_error is not None]
        lowest = f"; lowest validation error {min(known):.2f} %" if known else ""
        return f"not finished{lowest}", NOTHING
    errors = [measured.error for measured in finished]
    low, high = finished[0].interval
    if len(finished) > 1:
        low, high = over_images(errors, min(measured.images for measured in finished))
    images = f"{low:.2f} to {high:.2f}"
    estimate = over_seeds(errors)
    if not estimate:
        return "one seed: none", images
    low, high = max(0, estimate.value - estimate.half_width), min(100, estimate.value + estimate.half_width)
    return f"{low:.2f} to {high:.2f} ({len(finished)} seeds)", images


def _how_to_read(subjects: Sequence[Subject]) -> str:
    images = _set(run.measured.images for subject in subjects for run in subject.method.finished if run.measured)
    return (
        f"Errors are means over seeds, on the test set ({images} images), of the weights that were best on the "
        "validation split. The headline is the error at mean locations: one pass, nothing drawn. Beside it stand one "
        "pass at sampled locations and the vote of several such passes, which costs as many times the looks; methods "
        "that draw nothing have the same error thrice. The interval over seeds (Student's t) is about training again: "
        "with two seeds it is very wide, with one there is none. The interval over test images (Wilson) is about other "
        "images for these trained agents and says nothing of other seeds; for several seeds it is that of their mean "
        "error, and at most too wide. Seconds are of updates, on the machine that trained; they compare only where "
        "machine, threads and device are the same."
    )


# -------------------------------------------------------------------- pairs


def _differences(compared: Compared) -> list[Block]:
    if not compared.evaluated:
        return [Paragraph("Not asked (`--no-evaluate`): it takes the weights and the images.")]
    if not compared.pairs:
        return [Paragraph("No two methods could be evaluated here on the same test set.")]
    count = len(compared.pairs)
    how = (
        "Every run's best weights were shown the test set once more, and methods are compared image by image. The "
        "interval (95 %, normal approximation of the mean of paired differences) is over images, for these weights. "
        "Methods on other images or in other scenes are not paired."
    )
    unseen = [subject.method.name for subject in compared.subjects if not subject.examined]
    if unseen:
        how += f" In no pair, because not evaluated here: {'; '.join(unseen)} (see what is missing)."
    if count > 1:
        how += (
            f" These are {count} comparisons, each at 95 %: one in twenty would show a difference where there is none."
        )
    columns = (
        "lower error", "higher error", "=difference (points)", "=only the first right", "=only the second right",
        "=McNemar's exact p", "=the same over seeds (points)",
    )  # fmt: skip
    rows = tuple(
        (
            pair.better,
            pair.other,
            _points(pair.paired.difference),
            f"{pair.paired.only_first_right:,}",
            f"{pair.paired.only_second_right:,}",
            f"{pair.paired.p:.2g}" if pair.paired.p >= 1e-4 else "< 0.0001",
            _points(pair.over_seeds) if pair.over_seeds else NOTHING,
        )
        for pair in compared.pairs
    )
    note = (
        "Where a method has several seeds, an image counts for the method that was right on it more often; p is then "
        "a sign test's."
    )
    several = any(max(pair.seeds) > 1 for pair in compared.pairs)
    return [
        Bullets(tuple(map(sentence, compared.pairs))),
        Paragraph(how + (f" {note}" if several else "")),
        Table(columns, rows),
    ]


def sentence(pair: Pair) -> str:
    """What the numbers allow to say of two methods, and no more.

    A difference counts as shown if the paired interval leaves 0 out, the exact test agrees, and, with three or more
    seeds each, the interval over seeds leaves 0 out too.
    """
    difference = pair.paired.difference
    first, second = pair.seeds
    seeds = f"{first} seeds each" if first == second else f"{first} and {second} seeds"
    seeds = "one seed each" if first == second == 1 else seeds
    basis = f"paired, {pair.paired.images:,} images, {seeds}"
    points = _points(difference)
    if not (difference.differs and pair.paired.p < 0.05):
        return f"{pair.better} and {pair.other}: no difference is shown ({points} points, {basis})."
    if pair.over_seeds is None:
        few = f"{pair.better} is better than {pair.other} by {points} points ({basis}; "
        return few + "of these trained agents: other seeds may differ)."
    if not pair.over_seeds.differs:
        return (
            f"{pair.better} and {pair.other}: no difference is shown beyond the scatter of seeds. These trained agents "
            f"differ by {points} points ({basis}), but ± {pair.over_seeds.half_width:.2f} over seeds."
        )
    return (
        f"{pair.better} is better than {pair.other} by {points} points ({basis}; "
        f"± {pair.over_seeds.half_width:.2f} over seeds)."
    )


def _points(difference: Estimate) -> str:
    """How much lower the first error is."""
    return f"{-difference.value + 0.0:.2f} ± {difference.half_width:.2f}"


# -------------------------------------------------------------------- pictures and cost


def _curves(compared: Compared, pictures: Pictures) -> list[Block]:
    methods = [subject.method for subject in compared.subjects]
    several = any(len(method.runs) > 1 for method in methods)
    shade = " A line is the mean over a method's seeds, the shade their range." if several else ""
    blocks: list[Block] = [Heading("Learning and looking")]
    if pictures.curves:
        text = (
            "Validation error at mean locations during training, against episodes, seconds of updates and pixels read "
            "(episodes times pixels per image)." + shade
        )
        if several:
            text += (
                " The mean reaches as far as every finished seed does. Thin lines enter no mean: finished seeds beyond "
                "that, and unfinished ones (where no seed is finished, the mean is over those)."
            )
        blocks.append(Picture(pictures.curves, text))
    if pictures.by_glimpse:
        text = "Test error if the agent had to answer after each glimpse." + shade
        if any(run.look in NETWORKS for method in methods for run in method.finished):
            text += " A network that sees the whole canvas at once has no glimpses: its error is drawn level."
        blocks.append(Picture(pictures.by_glimpse, text))
    return blocks


def _signal(compared: Compared, pictures: Pictures) -> list[Block]:
    """Medians and the picture, or why there are none."""
    rows, without = [], []
    for method in (subject.method for subject in compared.subjects):
        runs = [run for run in method.finished or method.runs if run.signal]
        for estimator in dict.fromkeys(estimator for run in runs for estimator in run.signal):
            seeds = [[value for _, value in run.signal[estimator]] for run in runs if estimator in run.signal]
            count = _mean(map(len, seeds))
            rows.append((method.name, estimator, f"{fmean(map(median, seeds)):.3g}", str(len(seeds)), count))
        if not runs and method.runs[0].look == "learned":
            without.append(method.name)
    columns = f"`{SIGNAL}<estimator>`"
    if not rows:
        said = f"Gradient signal-to-noise through training is left out: no run's metrics.csv has a column {columns}."
        return [Paragraph(said)]
    text = (
        f"As the trainings wrote it at evaluations ({columns} in metrics.csv): higher is less noise, below 0 is lost "
        "in it. A median is over the evaluations of a seed; shown is the mean over seeds."
    )
    if without:
        text += f" No such column: {_and(without)}."
    blocks: list[Block] = [Heading("Gradient signal-to-noise through training"), Paragraph(text)]
    if pictures.signal:
        caption = (
            "Signal-to-noise of the gradient of each estimator (dashes) of each method (ink and mark): mean over "
            f"seeds, running mean over {SIGNAL_OVER} evaluations."
        )
        blocks.append(Picture(pictures.signal, caption))
    return [*blocks, Table(("method", "estimator", "=median", "=seeds", "=evaluations"), tuple(rows))]


def _gaze(pictures: Pictures) -> list[Block]:
    blocks: list[Block] = [
        Heading("Where they look"),
        Paragraph(
            f"Centres of the windows on the first {LANES} test images at mean locations, all seeds together; without "
            "the first glimpse, which no agent chooses. Each map has a colour scale of its own."
        ),
        Gallery(pictures.fixations),
    ]
    caption = (
        f"Glimpse paths on the first {PICTURED} test images, one seed a method: the same image in a column. Above each "
        "the label and the answer."
    )
    return blocks + [Picture(file, caption) for file in pictures.paths]


def _cost(compared: Compared) -> list[Block]:
    seen = [subject for subject in compared.subjects if subject.examined]
    timed = any(subject.milliseconds for subject in seen)
    columns = ["method", "=MFLOP", "=pixels read", "=parameters"]
    columns += [f"=ms at batch {batch}" for batch in BATCHES] if timed else []
    rows = []
    for subject in seen:
        flops = NOTHING if subject.flops is None else f"{subject.flops / 1e6:,.2f}"
        row = [subject.method.name, flops, _mean(run.pixels for run in subject.method.runs), f"{subject.parameters:,}"]
        times = subject.milliseconds or {}
        row += [show(times[batch]) if batch in times else NOTHING for batch in BATCHES] if timed else []
        rows.append(tuple(row))
    text = (
        "Of one evaluation episode at mean locations, per image. Floating-point operations are those of products of "
        "matrices and convolutions, a multiplication and an addition as two; pooling and what is done element by "
        "element is not counted."
    )
    if timed:
        facts = machine(torch.device(seen[0].device)) | {"threads": 1}
        where = ", ".join(f"{name} {value}" for name, value in facts.items())
        text += (
            " Milliseconds are medians of rounds in turn, measured here on one thread, with the making of the scenes; "
            f"{where}."
        )
    return [Heading("Cost per image"), Paragraph(text), Table(tuple(columns), tuple(rows))]


def _origins(compared: Compared) -> list[Block]:
    """Where every number comes from, a row a run."""
    runs = [run for subject in compared.subjects for run in subject.method.runs]
    hashes = dict.fromkeys((run.dataset, run.sha256) for run in runs if run.sha256)
    versions = Counter(_versions(run) for run in runs if run.versions)
    text = "The whole configuration of each is `config.yaml` in its folder."
    text += "".join(f" Images {name}: sha256 {sha256}." for name, sha256 in hashes)
    columns = ["folder", "method", "=seed", "=test error (%)", "images", "=threads", "=processes", "device"]
    usual = versions.most_common(1)[0][0] if versions else "versions that are not known"
    text += f" Trained with {usual}" + (", where the table does not say otherwise." if len(versions) > 1 else ".")
    columns += ["versions"] if len(versions) > 1 else []
    rows = []
    for subject in compared.subjects:
        for run in subject.method.runs:
            error = f"{run.measured.error:.2f}" if run.measured else NOTHING
            images = f"{run.dataset} {run.sha256[:12]}".rstrip()
            threads = NOTHING if run.threads is None else str(run.threads)
            row = [str(run.folder), subject.method.name, str(run.config.run.seed), error, images, threads]
            row += [str(run.processes), run.device or NOTHING]
            other = _versions(run)
            row += ["" if other == usual else other or "unknown"] if "versions" in columns else []
            rows.append(tuple(row))
    return [Heading("The runs"), Paragraph(text), Table(tuple(columns), tuple(rows))]


def _versions(run: Run) -> str:
    return ", ".join(f"{name} {version}" for name, version in run.versions.items())


# -------------------------------------------------------------------- words and numbers


def _mean(values: Iterable[float | None], digits: int = 0) -> str:
    """Times below ten seconds, which only trials have, get a digit more; counts are whole and stay so."""
    known = [value for value in values if value is not None]
    if not known:
        return NOTHING
    mean = fmean(known)
    return f"{mean:,.{digits or int(mean < 10 and not mean.is_integer())}f}"


def _set(values: Iterable[object]) -> str:
    known = dict.fromkeys(
        f"{value:,}" if isinstance(value, int) else str(value) for value in values if value is not None
    )
    return ", ".join(known) or NOTHING


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
