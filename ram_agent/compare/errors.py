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
    if not compared.pairs:
        return [Paragraph(_unpaired(compared))]
    count = len(compared.pairs)
    how = "Methods on other images or in other scenes are not paired."
    if any(pair.paired for pair in compared.pairs):
        how = (
            "Methods are compared image by image, by which test images each run answered wrongly: as it stored them "
            "or, where it did not, by showing its best weights the test set once more. The interval (95 %, normal "
            "approximation of the mean of paired differences) is over images, for these weights. A test stands beside "
            "it, since the images on which two methods differ may be too few for that approximation: p is that of as "
            "large a difference by chance alone, by McNemar's exact test with one seed each, else by flipping the "
            "signs of the paired differences in all ways. "
        ) + how
    if any(pair.over_seeds for pair in compared.pairs):
        how += " Over seeds, interval and p are Welch's, on this test set."
    paired = {name for pair in compared.pairs for name in (pair.better, pair.other)}
    unknown = [subject.method.name for subject in compared.subjects if subject.errors and not subject.wrong]
    if by_seeds := [name for name in unknown if name in paired]:
        how += f" Over seeds alone, because their answers are not known image by image: {'; '.join(by_seeds)}."
    unseen = [subject.method.name for subject in compared.subjects if subject.method.name not in paired]
    if unseen:
        why = "not finished, on a test set of its own, or its answers not known and its seeds fewer than three"
        how += f" In no pair ({why}): {'; '.join(unseen)}."
    if count > 1:
        how += (
            f" These are {count} comparisons. Intervals are those of one alone, but sentences go by p adjusted for the "
            "number of comparisons (Holm 1979), over images and over seeds each: where there is no difference, one "
            "report in twenty shows any."
        )
    return [Bullets(tuple(map(sentence, compared.pairs))), Paragraph(how), _pair_table(compared.pairs)]


def _pair_table(pairs: Sequence[Pair]) -> Table:
    """Over images, over seeds, or both, as far as anything is known."""
    columns, rows = ["lower error", "higher error"], [[pair.better, pair.other] for pair in pairs]
    if any(pair.paired for pair in pairs):
        columns += ["=difference (points)", "=only the first right", "=only the second right", "=p", "=p, adjusted"]
        for row, pair in zip(rows, pairs, strict=True):
            known = pair.paired
            row += [
                _points(known and known.difference),
                *_split(known and known.split),
                _p(known and known.p),
                _p(pair.p),
            ]
    if any(pair.over_seeds for pair in pairs):
        columns += ["=difference over seeds (points)", "=its p, adjusted"]
        for row, pair in zip(rows, pairs, strict=True):
            row += [_points(pair.over_seeds), _p(pair.p_over_seeds)]
    return Table(tuple(columns), tuple(map(tuple, rows)))


def _unpaired(compared: Compared) -> str:
    """Why there is no pair."""
    text = (
        "No two methods can be held against one another: on no common test set are the answers of both known image by "
        "image, or have both three seeds."
    )
    return text if compared.evaluated else f"{text} Without `--no-evaluate` weights would give answers."


def sentence(pair: Pair) -> str:
    """What the numbers allow to say of two methods, and no more.

    A difference counts as shown if the paired interval leaves 0 out, the test agrees and, with three seeds or more
    each, the test over seeds agrees, too; both tests adjusted for the number of pairs. Where nothing is known image by
    image, the test over seeds decides alone.
    """
    first, second = pair.seeds
    seeds = f"{first} seeds each" if first == second else f"{first} and {second} seeds"
    seeds = "one seed each" if first == second == 1 else seeds
    if not pair.paired:
        return _over_seeds_alone(pair, seeds)
    difference = pair.paired.difference
    basis = f"paired, {pair.paired.images:,} images, {seeds}"
    points = _points(difference)
    if not difference.differs or pair.p is None or pair.p >= SHOWN:
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


def _over_seeds_alone(pair: Pair, seeds: str) -> str:
    assert pair.over_seeds
    assert pair.p_over_seeds is not None
    basis = f"{_points(pair.over_seeds)} points over seeds, {seeds}; not image by image"
    if pair.p_over_seeds >= SHOWN:
        few = ", too little for as many comparisons" if pair.over_seeds.differs else ""
        return f"{pair.better} and {pair.other}: no difference is shown ({basis}{few})."
    return f"{pair.better} is better than {pair.other} ({basis})."


def _split(split: Split | None) -> tuple[str, str]:
    if split is None:
        return NOTHING, NOTHING
    return f"{split.only_first_right:,}", f"{split.only_second_right:,}"


def _p(p: float | None) -> str:
    if p is None:
        return NOTHING
    return f"{p:.2g}" if p > 1e-4 else "≤ 0.0001"


def _points(difference: Estimate | None) -> str:
    """How much lower the first error is."""
    if difference is None:
        return NOTHING
    return f"{round(-difference.value, 2) + 0.0:.2f} ± {difference.half_width:.2f}"
