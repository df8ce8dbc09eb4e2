"""The comparison from runs to files: group, look again, hold against one another, draw, write."""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from statistics import fmean

import numpy as np
from jaxtyping import Bool

from ram_agent.checkpoint import CheckpointError
from ram_agent.compare.document import Picture, html, markdown
from ram_agent.compare.examine import (
    Examined,
    Revived,
    WorldOf,
    count_flops,
    examine,
    find_wrong,
    milliseconds,
    revive,
    untrained,
)
from ram_agent.compare.gather import Gathered, Run
from ram_agent.compare.methods import Method, group
from ram_agent.compare.numbers import numbers
from ram_agent.compare.plots import errors_by_glimpse, gradient_signal, paths_side_by_side, validation_curves
from ram_agent.compare.report import TITLE, missing_of, report
from ram_agent.compare.statistics import between_seeds, holm, paired, unpaired
from ram_agent.compare.subjects import Compared, Pair, Pictures, Subject
from ram_agent.figures import LABEL, fixation_map
from ram_agent.files import write_whole
from ram_agent.full_image import NETWORKS
from ram_agent.pictures import write_figure
from ram_agent.policy import count_parameters

REPORT = "comparison.md"
PICTURES = (
    "validation_error.png", "error_by_glimpse.png", "gradient_signal.png", "fixations_[0-9]*_*.png",
    "glimpse_paths_[0-9]*.png",
)  # fmt: skip
"""All that a comparison draws, as patterns."""


Failed = dict[str, dict[str, None]]
"""What went wrong → where: missing images, say, are told once for all runs."""


@dataclass(frozen=True)
class TestSet:
    """What makes two test sets the same: the images and how they lie on canvases."""

    sha256: str
    scene: tuple[object, ...]
    images: int


def compare(gathered: Gathered, world_of: WorldOf | None, out: Path, *, timed: bool = True) -> list[Path]:
    """Write `comparison.md`, `comparison.html`, their plots and `comparison.json` into `out`; returns the three.

    Without `world_of`, which makes the world that a configuration describes, nothing is evaluated.
    """
    compared = look_again(group(gathered.runs), world_of, timed=timed)
    compared = replace(compared, trouble=gathered.left_out + compared.trouble)
    blocks = report(compared, draw(compared, out))
    found = json.dumps(numbers(compared, missing_of(compared)), indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    files = {REPORT: markdown(blocks), "comparison.html": html(blocks, out, TITLE), "comparison.json": found}
    for name, text in files.items():
        write_whole(out / name, text.encode(errors="backslashreplace"))
    return [out / name for name in files]


def look_again(methods: Sequence[Method], world_of: WorldOf | None, *, timed: bool) -> Compared:
    """Examine every finished run whose weights and images are at hand, and compare methods on the same test set.

    Of a method that has none, only what an agent costs is told, by an unfinished run or by fresh weights.
    """
    trouble: list[str] = []
    failed: Failed = {}
    subjects = [Subject(method, _stored(method)) for method in methods]
    if world_of:
        revived: dict[str, Revived] = {}
        for number, subject in enumerate(subjects):
            subject, agent = _examine(subject, world_of, trouble, failed)
            trained = agent or _unfinished(subject.method, world_of)
            agent = trained or _untrained(subject.method, world_of, trouble, failed)
            if agent:
                revived[subject.method.name] = agent
                subject = replace(
                    subject,
                    parameters=count_parameters(agent.policy),
                    flops=count_flops(agent),
                    device=str(next(agent.policy.parameters()).device),
                    fresh=not trained,
                )
            subjects[number] = subject
        times = milliseconds(revived) if timed and revived else {}
        subjects = [replace(each, milliseconds=times.get(each.method.name)) for each in subjects]
    trouble += [
        f"{', '.join(places)} {'was' if len(places) == 1 else 'were'} not evaluated here: {reason}"
        for reason, places in failed.items()
    ]
    return Compared(tuple(subjects), tuple(_pairs(subjects, trouble)), tuple(trouble))


def _note(failed: Failed, error: Exception, run: Run) -> None:
    failed.setdefault(" ".join(str(error).split()), {})[run.place] = None


def _stored(method: Method) -> dict[int, Bool[np.ndarray, " images"]]:
    """By seed the answers that runs know by themselves, for which nobody has to show them the test set again."""
    return {run.seed: run.wrong for run in method.finished if run.wrong is not None}


def _examine(subject: Subject, world_of: WorldOf, trouble: list[str], failed: Failed) -> tuple[Subject, Revived | None]:
    """The method with what its runs did here, and the first of them that could look again."""
    examined: dict[int, Examined] = {}
    wrong = dict(subject.wrong)
    first = None
    for run in subject.method.finished:
        if run.kind == "results":
            continue
        seed = run.seed
        try:
            agent = revive(run, world_of)
            examined[seed] = examine(agent)
            if seed not in wrong:
                wrong[seed] = find_wrong(agent)
        except (CheckpointError, ValueError, OSError) as error:
            _note(failed, error, run)
            continue
        first = first or agent
        assert run.measured
        measured, here = run.best_at_episode, agent.best_at_episode
        if measured is not None and here is not None and measured != here:
            trouble.append(
                f"{run.folder}: its error is that of its weights of episode {measured:,}; where it looks is that of "
                f"those at hand, of episode {here:,}."
            )
        found = float(100 * wrong[seed].mean())
        if seed not in subject.wrong and abs(found - run.measured.test_error) > 1e-6:
            trouble.append(
                f"{run.folder} stored a test error of {run.measured.test_error:.2f} %; here it has {found:.2f} %. "
                "Another version, device or number of threads can do that; pairs are formed with what was found here."
            )
    return replace(subject, examined=examined, wrong=wrong), first


def _unfinished(method: Method, world_of: WorldOf) -> Revived | None:
    """An agent that is not finished, as it was saved last. None where there is none, which needs no further word."""
    for run in method.runs:
        if not run.measured:
            with suppress(CheckpointError, ValueError, OSError):
                return revive(run, world_of)
    return None


def _untrained(method: Method, world_of: WorldOf, trouble: list[str], failed: Failed) -> Revived | None:
    """An agent with fresh weights. None where it is not the same any more, or where there are no images to show it."""
    run = method.runs[0]
    try:
        agent = untrained(run, world_of)
    except (ValueError, OSError) as error:
        _note(failed, error, run)
        return None
    made = count_parameters(agent.policy)
    if run.parameters in (None, made):
        return agent
    trouble.append(
        f"{run.place}: what it costs is not told: of its configuration this version makes an agent of {made:,} "
        f"parameters, it had {run.parameters:,}."
    )
    return None


def test_set(run: Run) -> TestSet | None:
    """None where it is not known, which is the same as no other."""
    if not run.sha256 or not run.measured:
        return None
    scene = run.config.scene
    clutter = (scene.clutter, scene.clutter_size) if scene.kind == "cluttered" else ()
    return TestSet(run.sha256, (scene.kind, scene.height, scene.width, *clutter), run.measured.test_images)


def _pairs(subjects: Sequence[Subject], trouble: list[str]) -> list[Pair]:
    """All pairs of measured methods on one test set: image by image where both know their answers."""
    pairs = []
    for first, second in combinations([each for each in subjects if each.errors], 2):
        sets = [test_set(each.judged) for each in (first, second)]
        if sets[0] is None or sets[0] != sets[1] or sets[0].images < 2:
            continue
        if not _same_labels(first, second):
            trouble.append(f"{first.method.name} and {second.method.name} were shown other labels: not paired.")
            continue
        better, other = sorted([first, second], key=lambda each: fmean(each.errors.values()))
        ours, theirs = list(better.errors.values()), list(other.errors.values())
        answers, others = better.answers, other.answers
        if answers is None or others is None:
            over_images = unpaired(ours, theirs, sets[0].images)
        else:
            over_images = paired(answers, others)
        over_seeds = between_seeds(ours, theirs)
        pairs.append(
            Pair(
                better=better.method.name,
                other=other.method.name,
                over_images=over_images,
                seeds=(len(ours), len(theirs)),
                over_seeds=over_seeds,
                p=over_images.p,
                p_over_seeds=over_seeds and over_seeds.p,
            )
        )
    return _adjusted(pairs)


def _same_labels(first: Subject, second: Subject) -> bool:
    """What has to be so where the images and the scenes are the same; seen where both could look again."""
    if not (first.examined and second.examined):
        return True
    ours, theirs = (next(iter(each.examined.values())).target for each in (first, second))
    return np.array_equal(ours, theirs)


def _adjusted(pairs: Sequence[Pair]) -> list[Pair]:
    """Every p for the number of them, those over images by themselves and those over seeds by themselves."""
    over_images = holm([pair.over_images.p for pair in pairs])
    over_seeds = iter(holm([pair.over_seeds.p for pair in pairs if pair.over_seeds]))
    return [
        replace(pair, p=p, p_over_seeds=next(over_seeds) if pair.over_seeds else None)
        for pair, p in zip(pairs, over_images, strict=True)
    ]


# -------------------------------------------------------------------- pictures


def draw(compared: Compared, out: Path) -> Pictures:
    """Write the plots that there is something to draw for, in place of those of an earlier comparison, which are there
    until all of these are.
    """
    earlier = {file for pattern in PICTURES for file in out.glob(pattern)} if (out / REPORT).is_file() else set()
    names = {subject.method.name: _label(subject, compared.datasets) for subject in compared.subjects}
    images = compared.datasets[0] if len(compared.datasets) == 1 else "images in brackets"
    runs = {names[each.method.name]: each.method.runs for each in compared.subjects}
    curves = validation_curves(runs, images)
    if curves:
        write_figure(curves, out / "validation_error.png")
    by_glimpse = errors_by_glimpse(runs, images)
    if by_glimpse:
        write_figure(by_glimpse, out / "error_by_glimpse.png")
    signal = gradient_signal(runs, images)
    if signal:
        write_figure(signal, out / "gradient_signal.png")
    fixations = []
    for number, subject in enumerate(compared.subjects, start=1):
        if subject.examined and _has_eye(subject) and subject.shown.config.environment.glimpses > 1:
            name = f"fixations_{number:02d}_{_slug(subject.method.name)}.png"
            density = np.sum([each.fixations for each in subject.examined.values()], axis=0)
            map_of_looks = fixation_map(density)
            map_of_looks.axes[0].set_title(f"images: {subject.method.runs[0].dataset}", fontsize=LABEL)
            write_figure(map_of_looks, out / name)
            fixations.append(Picture(name, names[subject.method.name]))
    pictures = Pictures(
        curves="validation_error.png" if curves else None,
        by_glimpse="error_by_glimpse.png" if by_glimpse else None,
        signal="gradient_signal.png" if signal else None,
        fixations=tuple(fixations),
        paths=tuple(_draw_paths(compared.subjects, names, out)),
    )
    drawn = [pictures.curves, pictures.by_glimpse, pictures.signal, *pictures.paths]
    drawn += [picture.file for picture in fixations]
    for file in earlier - {out / name for name in drawn if name}:
        file.unlink()
    return pictures


def _draw_paths(subjects: Sequence[Subject], names: Mapping[str, str], out: Path) -> list[str]:
    """One picture a test set, so that what stands below one another is the same image."""
    sets: dict[TestSet | Path, list[Subject]] = {}
    for subject in subjects:
        if subject.examined and _has_eye(subject):
            sets.setdefault(test_set(subject.shown) or subject.shown.folder, []).append(subject)
    files = []
    for number, members in enumerate(sets.values(), start=1):
        gazes = {_pictured(each.method, names): each.examined[each.shown.seed].gaze for each in members}
        files.append(f"glimpse_paths_{number}.png")
        write_figure(paths_side_by_side(gazes), out / files[-1])
    return files


def _has_eye(subject: Subject) -> bool:
    """Whether it looks anywhere at all; some controls see the whole canvas at once."""
    return subject.method.runs[0].role not in NETWORKS


def _label(subject: Subject, datasets: Sequence[str]) -> str:
    """The images stand beside every number: in the name, where they are not the same for all."""
    name = subject.method.name
    return name if len(datasets) == 1 else f"{name} [{subject.method.runs[0].dataset}]"


def _pictured(method: Method, names: Mapping[str, str]) -> str:
    """What stands above a row of images: that they are not MNIST is said in the picture."""
    name, dataset = names[method.name], method.runs[0].dataset
    return name if dataset == "mnist" or name.endswith(f"[{dataset}]") else f"{name} [{dataset}]"


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")[:60]
