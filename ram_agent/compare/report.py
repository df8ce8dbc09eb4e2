"""What a comparison says: what was compared, errors and pairs (`errors.py`), what is missing, pictures, cost, runs."""

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import fmean, median

import torch

from ram_agent.compare.curves import SIGNAL_OVER
from ram_agent.compare.document import Block, Bullets, Gallery, Heading, Paragraph, Picture, Table
from ram_agent.compare.errors import differences, error_table, how_to_read
from ram_agent.compare.examine import BATCHES, PICTURED
from ram_agent.compare.gather import Run
from ram_agent.compare.methods import differing, of_other_names
from ram_agent.compare.plots import known_measures
from ram_agent.compare.subjects import Compared, Pictures, Subject
from ram_agent.full_image import NETWORKS
from ram_agent.gradient_signal import TAG
from ram_agent.machine import machine
from ram_agent.timing import show
from ram_agent.words import NOTHING, count, listed, mean
from ram_agent.world import LANES

TITLE = "Runs compared"


def missing_of(compared: Compared) -> list[str]:
    """What is missing, a sentence each."""
    return [*_gaps(compared.subjects), *compared.trouble]


def report(compared: Compared, pictures: Pictures) -> list[Block]:
    """The whole report."""
    missing = missing_of(compared)
    blocks: list[Block] = [Heading(TITLE, 1), *_introduction(compared, missing)]
    blocks += [Heading("Test error"), error_table(compared.subjects), Paragraph(how_to_read(compared.subjects))]
    blocks += [Heading("Which is better"), *differences(compared)]
    if missing:
        blocks += [Heading("What is missing"), Bullets(tuple(missing))]
    if pictures.curves or pictures.by_glimpse:
        blocks += _curves(compared, pictures)
    blocks += _signal(compared, pictures)
    if pictures.fixations:
        blocks += _gaze(pictures)
    if any(subject.parameters for subject in compared.subjects):
        blocks += _cost(compared)
    return blocks + _origins(compared)


# -------------------------------------------------------------------- what was compared


def _introduction(compared: Compared, missing: Sequence[str]) -> list[Block]:
    methods = [subject.method for subject in compared.subjects]
    runs = {run.whole for method in methods for run in method.named}
    unfinished = {run.whole for method in methods for run in method.runs if not (run.measured or run.given_up)}
    text = (
        f"{count(len(runs), 'run')} with {count(len(methods), 'method')}, on images of "
        f"{listed(compared.datasets)}. Runs of one name that differ in their seed alone are one method; controls are "
        "methods of their own."
    )
    if "digits" in compared.datasets:
        text += " No number on the embedded digits is an MNIST number."
    if unfinished:
        were = "is" if len(unfinished) == 1 else "are"
        text += f" {count(len(unfinished), 'run')} {were} not finished: learning curves, no test error."
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
    names = [
        f"{listed(alike)} differ in their name alone, and are no seeds of one method for it: if they are meant to be, "
        "write one `name` into their `config.yaml`, and name the run folders where it is a sweep's rows that differ."
        for alike in of_other_names(methods)
    ]
    files = {run.whole for method in methods for run in method.named if run.kind == "results"}
    if files:
        of = "A run is" if len(files) == 1 else f"{len(files)} runs are"
        names.append(
            f"{of} known by the file of results alone (see the runs below): where such agents look is not drawn."
        )
    lacking: dict[str, dict[str, None]] = {}  # what is missing → of which runs; files of results by their method
    for method in methods:
        for run in method.named:
            for gap in run.gaps:
                lacking.setdefault(gap, {})[method.name if run.kind == "results" else str(run.folder)] = None
    said = names + [f"{', '.join(runs)}: {gap}" for gap, runs in lacking.items()]
    return said + [
        f"{run.place}: the same method and seed ({run.seed}) as {kept.place}; it counts nowhere below."
        for method in methods
        for run in method.doubles
        for kept in method.runs
        if kept.seed == run.seed
    ]


# -------------------------------------------------------------------- pictures and cost


def _curves(compared: Compared, pictures: Pictures) -> list[Block]:
    methods = [subject.method for subject in compared.subjects]
    several = any(len(method.runs) > 1 for method in methods)
    shade = " A line is the mean over a method's seeds, the shade their range." if several else ""
    blocks: list[Block] = [Heading("Learning and looking")]
    if pictures.curves:
        against = known_measures(run for method in methods for run in method.runs)
        text = f"Validation error at mean locations during training, against {listed(against)}." + shade
        if "pixels seen" in against:
            text += (
                " Pixels are those of every look of every episode, and of every window that `training.lookahead` tried."
            )
        if several:
            text += (
                " The mean reaches as far as every finished seed does. Thin lines enter no mean: finished seeds beyond "
                "that, and unfinished ones (where no seed is finished, the mean is over those)."
            )
        blocks.append(Picture(pictures.curves, text))
    if pictures.by_glimpse:
        text = "Test error if the agent had to answer after each glimpse." + shade
        if any(run.role in NETWORKS for method in methods for run in method.finished):
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
            evaluations = mean(map(len, seeds))
            rows.append((method.name, estimator, f"{fmean(map(median, seeds)):.3g}", str(len(seeds)), evaluations))
        if not runs and method.runs[0].role == "learned":
            without.append(method.name)
    columns = f"`{TAG}<estimator>`"
    if not rows:
        said = f"Gradient signal-to-noise through training is left out: no run's metrics.csv has a column {columns}."
        return [Paragraph(said)]
    text = (
        f"As the trainings wrote it at evaluations ({columns} in metrics.csv): higher is less noise, below 0 is lost "
        "in it. A median is over the evaluations of a seed; shown is the mean over seeds."
    )
    if without:
        text += f" No such column: {listed(without)}."
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
            f"Centres of the windows on {LANES} images, evenly over the test set (on all, where there are fewer), at "
            "mean locations, all seeds together; without the first glimpse, which no agent chooses, and hence without "
            "methods of one glimpse. Each map has a colour scale of its own."
        ),
        Gallery(pictures.fixations),
    ]
    caption = (
        f"Glimpse paths on {PICTURED} of these images, the first of each class, one seed a method: the same image in a "
        "column. Above each the label and the answer."
    )
    return blocks + [Picture(file, caption) for file in pictures.paths]


def _cost(compared: Compared) -> list[Block]:
    seen = [subject for subject in compared.subjects if subject.parameters]
    timed = any(subject.milliseconds for subject in seen)
    columns = ["method", "=MFLOP", "=pixels seen", "=parameters"]
    columns += [f"=ms at batch {batch}" for batch in BATCHES] if timed else []
    devices = dict.fromkeys(subject.device for subject in seen)
    columns += ["device"] if timed and len(devices) > 1 else []
    rows = []
    for subject in seen:
        flops = NOTHING if subject.flops is None else f"{subject.flops / 1e6:,.2f}"
        row = [subject.method.name, flops, mean(run.pixels for run in subject.method.runs), f"{subject.parameters:,}"]
        times = subject.milliseconds or {}
        row += [show(times[batch]) if batch in times else NOTHING for batch in BATCHES] if timed else []
        row += [subject.device] if "device" in columns else []
        rows.append(tuple(row))
    text = (
        "Of one evaluation episode at mean locations, per image. Floating-point operations are those of products of "
        "matrices and convolutions, a multiplication and an addition as two; pooling and what is done element by "
        "element is not counted. Pixels seen are those that the network is given, of all glimpses at all scales: one "
        "of a coarse scale is the mean of several of the canvas, one of a soft glimpse a weighted mean of many."
    )
    if fresh := [subject.method.name for subject in seen if subject.fresh]:
        text += f" Of {listed(fresh)} no weights are at hand: these numbers are of fresh ones in the same shape."
    if timed:
        facts = {name: value for each in devices for name, value in machine(torch.device(each)).items()}
        facts |= {"threads": 1, "device": listed(list(devices))}
        where = ", ".join(f"{name} {value}" for name, value in facts.items())
        text += (
            " Milliseconds are medians of rounds in turn, measured here on one thread, with the making of the scenes "
            "and, of a network over the whole canvas, too, one read by the eye of its run; "
            f"{where}."
        )
    return [Heading("Cost per image"), Paragraph(text), Table(tuple(columns), tuple(rows))]


def _origins(compared: Compared) -> list[Block]:
    """Where every number comes from, a row a run."""
    runs = [run for subject in compared.subjects for run in subject.method.runs]
    hashes = dict.fromkeys((run.dataset, run.sha256) for run in runs if run.sha256)
    versions = Counter(_versions(run) for run in runs if run.versions)
    text = "The whole configuration of each is `config.yaml` in its folder, or stands in its results."
    text += "".join(f" Images {name}: sha256 {sha256}." for name, sha256 in hashes)
    columns = ["run", "method", "=seed", "=test error (%)", "images", "=threads", "=processes", "device"]
    usual = versions.most_common(1)[0][0] if versions else "versions that are not known"
    text += f" Trained with {usual}" + (", where the table does not say otherwise." if len(versions) > 1 else ".")
    columns += ["versions"] if len(versions) > 1 else []
    rows = []
    for subject in compared.subjects:
        for run in subject.method.runs:
            error = f"{run.measured.test_error:.2f}" if run.measured else NOTHING
            images = f"{run.dataset} {run.sha256[:12]}".rstrip()
            threads = NOTHING if run.threads is None else str(run.threads)
            row = [run.place, subject.method.name, str(run.seed), error, images, threads]
            row += [str(run.processes), run.device or NOTHING]
            other = _versions(run)
            row += ["" if other == usual else other or "unknown"] if "versions" in columns else []
            rows.append(tuple(row))
    return [Heading("The runs"), Paragraph(text), Table(tuple(columns), tuple(rows))]


def _versions(run: Run) -> str:
    return ", ".join(f"{name} {version}" for name, version in run.versions.items())
