"""The errors of every method, and a plain sentence for every pair of them."""

from collections.abc import Sequence

from ram_agent.compare.document import Block, Bullets, Paragraph, Table
from ram_agent.compare.gather import Run
from ram_agent.compare.statistics import SHOWN, Estimate, Split, interval_over_seeds, over_images
from ram_agent.compare.subjects import Compared, Pair, Subject
from ram_agent.stored import TestErrors
from ram_agent.words import NOTHING, distinct, listed, mean


def error_table(subjects: Sequence[Subject]) -> Table:
    several = {run.measured.votes for subject in subjects for run in subject.method.finished if run.measured}
    votes = listed([f"{votes}" for votes in sorted(several)]) if several else "M"
    columns = (
        "method", "images", "=error at mean locations (%)", "95 % over seeds", "95 % over test images",
        "=at sampled locations (%)", f"={votes}-vote (%)", "=seeds", "=episodes", "=seconds of updates",
        "=threads", "device", "=parameters", "=pixels seen per image",
    )  # fmt: skip
    return Table(columns, tuple(_error_row(subject) for subject in subjects))


def _error_row(subject: Subject) -> tuple[str, ...]:
    method = subject.method
    runs = method.finished or method.runs
    measured = [run.measured for run in runs if run.measured]
    seeds = str(len(runs)) if len(method.finished) in (0, len(method.runs)) else f"{len(runs)} of {len(method.runs)}"
    if subject.parameters is None:
        parameters = mean(run.parameters for run in runs)
    else:
        parameters = f"{subject.parameters:,}"
    return (
        method.name,
        runs[0].dataset,
        mean((each.test_error for each in measured), 2),
        *_intervals(runs),
        mean((each.test_error_sampled for each in measured), 2),
        mean((each.test_error_voted for each in measured), 2),
        seeds,
        mean(run.episodes for run in runs),
        mean(run.seconds for run in runs),
        distinct(run.threads for run in runs),
        distinct(run.device or None for run in runs),
        parameters,
        mean(run.pixels for run in runs),
    )


def _intervals(runs: Sequence[Run]) -> tuple[str, str]:
    """Over seeds, and over test images."""
    finished = [run.measured for run in runs if run.measured]
    if not finished:
        known = [run.validation_error for run in runs if run.validation_error is not None]
        lowest = f"; lowest validation error {min(known):.2f} %" if known else ""
        return f"{'no result' if all(run.given_up for run in runs) else 'not finished'}{lowest}", NOTHING
    errors = [measured.test_error for measured in finished]
    images = "{:.2f} to {:.2f}".format(*interval_over_images(finished))
    between = interval_over_seeds(errors)
    if not between:
        return "one seed: none" if len(errors) == 1 else f"{len(errors)} seeds, all alike: none", images
    return f"{between[0]:.2f} to {between[1]:.2f} ({len(finished)} seeds)", images


def interval_over_images(finished: Sequence[TestErrors]) -> tuple[float, float]:
    """Of one seed as its run stored it, else of the mean."""
    if len(finished) == 1:
        return finished[0].test_error_ci95
    return over_images([each.test_error for each in finished], min(each.test_images for each in finished))


def how_to_read(subjects: Sequence[Subject]) -> str:
    finished = [run.measured for subject in subjects for run in subject.method.finished if run.measured]
    images = f" ({distinct(measured.test_images for measured in finished)} images)" if finished else ""
    mixed = [subject.method.name for subject in subjects if len(_codes(subject)) > 1]
    other = (
        f" Not all seeds were trained by the same code (`code` in the table of runs), so what changed in it is part of "
        f"their scatter: {'; '.join(mixed)}."
    )
    return (
        f"Errors are means over seeds, on the test set{images}, of the weights that were best on the "
        "validation split. The headline is the error at mean locations: one pass, nothing drawn. Beside it stand one "
        "pass at sampled locations and the vote of several such passes, which costs as many times the looks; methods "
        "that look alike at every pass have the same error thrice. The interval over seeds (Student's t) is about "
        "training again: with two seeds it is very wide, with one there is none. The interval over test images "
        "(Wilson) is about other images for these trained agents and says nothing of other seeds; for several seeds it "
        "is that of their mean error, and at most too wide. Seconds are of updates, on the machine that trained; they "
        "compare only where machine, threads and device are the same."
    ) + (other if mixed else "")


def _codes(subject: Subject) -> set[str]:
    """The digests of what trained the runs of a method; older ones do not know theirs."""
    runs = subject.method.finished or subject.method.runs
    return {run.versions["code"] for run in runs if "code" in run.versions}


# -------------------------------------------------------------------- pairs


def differences(compared: Compared) -> list[Block]:
    pairs = compared.pairs
    if not pairs:
        return [Paragraph("No two methods were measured on the same test set.")]
    how = "Intervals (95 %, normal approximation) and p over images are for these weights."
    if any(pair.over_images.paired for pair in pairs):
        how += (
            " Methods are compared image by image, by which test images each run answered wrongly: as it stored them "
            "or, where it did not, by showing its best weights the test set once more. The interval is of the mean of "
            "paired differences. A test stands beside it, since the images on which two methods differ may be too few "
            "for that approximation: p is that of as large a difference by chance alone, by McNemar's exact test with "
            "one seed each, else by flipping the signs of the paired differences in all ways."
        )
    if not all(pair.over_images.paired for pair in pairs):
        unknown = [each.method.name for each in compared.subjects if each.errors and each.answers is None]
        how += (
            " Not paired, because it is not known of every seed which images it answered wrongly: "
            f"{'; '.join(unknown)}. They are compared by their errors alone, as if on images of their own (Fisher's "
            "exact test, of means over seeds): the interval is rather too wide, and p too large."
        )
    if any(pair.over_seeds for pair in pairs):
        how += " Over seeds, interval and p are Welch's."
    how += " Methods on other images or in other scenes are in no pair."
    named = {name for pair in pairs for name in (pair.better, pair.other)}
    if alone := [each.method.name for each in compared.subjects if each.method.name not in named]:
        how += f" In none are, because without a result or on a test set of their own: {'; '.join(alone)}."
    if len(pairs) > 1:
        how += (
            f" These are {len(pairs)} comparisons. Intervals are those of one alone, but sentences go by p adjusted "
            "for the number of comparisons (Holm 1979), over images and over seeds each: where there is no difference, "
            "one report in twenty shows any."
        )
    columns = (
        "lower error", "higher error", "=difference (points)", "=only the first right", "=only the second right",
        "=p", "=p, adjusted", "=the same over seeds (points)", "=its p, adjusted",
    )  # fmt: skip
    rows = tuple(
        (
            pair.better,
            pair.other,
            _points(pair.over_images.difference),
            *_split(pair.over_images.split),
            _p(pair.over_images.p),
            _p(pair.p),
            _points(pair.over_seeds) if pair.over_seeds else NOTHING,
            NOTHING if pair.p_over_seeds is None else _p(pair.p_over_seeds),
        )
        for pair in pairs
    )
    return [Bullets(tuple(map(sentence, pairs))), Paragraph(how), Table(columns, rows)]


def sentence(pair: Pair) -> str:
    """What the numbers allow to say of two methods, and no more.

    A difference counts as shown if the interval over images leaves 0 out, the test agrees and, with three seeds or more
    each, the test over seeds agrees, too; both tests adjusted for the number of pairs.
    """
    difference = pair.over_images.difference
    first, second = pair.seeds
    seeds = f"{first} seeds each" if first == second else f"{first} and {second} seeds"
    seeds = "one seed each" if first == second == 1 else seeds
    basis = f"{'paired' if pair.over_images.paired else 'not paired'}, {pair.over_images.images:,} images, {seeds}"
    points = _points(difference)
    if not difference.differs or pair.p >= SHOWN:
        return f"{pair.better} and {pair.other}: no difference is shown ({points} points, {basis})."
    if pair.over_seeds is None or pair.p_over_seeds is None:
        few = f"{pair.better} is better than {pair.other} by {points} points ({basis}; "
        return few + "of these trained agents: other seeds may differ)."
    if pair.p_over_seeds >= SHOWN:
        few = ", too little for as many comparisons" if pair.over_seeds.differs else ""
        return (
            f"{pair.better} and {pair.other}: no difference is shown beyond the scatter of seeds. These trained agents "
            f"differ by {points} points ({basis}), but ± {pair.over_seeds.half_width:.2f} over seeds{few}."
        )
    return (
        f"{pair.better} is better than {pair.other} by {points} points ({basis}; "
        f"± {pair.over_seeds.half_width:.2f} over seeds)."
    )


def _split(split: Split | None) -> tuple[str, str]:
    if split is None:
        return NOTHING, NOTHING
    return f"{split.only_first_right:,}", f"{split.only_second_right:,}"


def _p(p: float) -> str:
    return f"{p:.2g}" if p > 1e-4 else "≤ 0.0001"


def _points(difference: Estimate) -> str:
    """How much lower the first error is."""
    return f"{round(-difference.value, 2) + 0.0:.2f} ± {difference.half_width:.2f}"
