"""What a comparison found, as plain values for `comparison.json`: the numbers of the report and those behind its plots.

None where a number is not known or has no part; errors and differences are in percent and percentage points.
"""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from ram_agent.compare.errors import interval_over_images, sentence
from ram_agent.compare.gather import Run
from ram_agent.compare.methods import Settings, differing
from ram_agent.compare.statistics import Estimate, interval_over_seeds
from ram_agent.compare.subjects import Compared, Pair, Subject
from ram_agent.words import NOTHING


def numbers(compared: Compared, missing: Sequence[str]) -> dict[str, Any]:
    """All methods, all pairs, and what is missing in words."""
    _, settings = differing([subject.method for subject in compared.subjects])
    return {
        "methods": [_method(subject, mine) for subject, mine in zip(compared.subjects, settings, strict=True)],
        "pairs": [_pair(pair) for pair in compared.pairs],
        "missing": list(missing),
    }


def _method(subject: Subject, settings: Settings) -> dict[str, Any]:
    method = subject.method
    finished = [run.measured for run in method.finished if run.measured]
    errors = [measured.test_error for measured in finished]
    pixels = {run.pixels for run in method.runs if run.pixels is not None}
    return {
        "name": method.name,
        "role": method.runs[0].role,
        "images": method.runs[0].dataset,
        "settings": {name: None if value == NOTHING else value for name, value in settings.items()},
        "test_error": fmean(errors) if errors else None,
        "test_error_sampled": fmean(each.test_error_sampled for each in finished) if finished else None,
        "test_error_voted": fmean(each.test_error_voted for each in finished) if finished else None,
        "ci95_over_seeds": interval_over_seeds(errors),
        "ci95_over_images": interval_over_images(finished) if finished else None,
        "parameters": subject.parameters or next((run.parameters for run in method.runs if run.parameters), None),
        "flops": subject.flops,
        "pixels": pixels.pop() if len(pixels) == 1 else None,
        "milliseconds": subject.milliseconds or None,
        "device": subject.device or None,
        "seeds": [_run(run) for run in method.runs],
    }


def _run(run: Run) -> dict[str, Any]:
    measured = run.measured.model_dump(mode="json", exclude={"wrong_images"}) if run.measured else {}
    trained = run.pixels_trained
    return {
        "seed": run.seed,
        "folder": str(run.folder),
        "finished": run.measured is not None,
        **measured,
        "validation_error": run.validation_error,
        "sha256": run.sha256 or None,
        "episodes": run.episodes,
        "seconds": run.seconds,
        "threads": run.threads,
        "processes": run.processes,
        "device": run.device or None,
        "versions": dict(run.versions),
        "validations": [
            {
                "episodes": point.episodes,
                "seconds": point.seconds,
                "pixels": None if trained is None else point.episodes * trained,
                "error": point.error,
            }
            for point in run.curve
        ],
    }


def _pair(pair: Pair) -> dict[str, Any]:
    over_images, over_seeds = pair.over_images, pair.over_seeds
    split = over_images.split
    return {
        "better": pair.better,
        "other": pair.other,
        **_estimate(over_images.difference),
        "images": over_images.images,
        "paired": over_images.paired,
        "seeds": list(pair.seeds),
        "only_better_right": split and split.only_first_right,
        "only_other_right": split and split.only_second_right,
        "p": over_images.p,
        "p_adjusted": pair.p,
        "over_seeds": over_seeds and {**_estimate(over_seeds), "p": over_seeds.p, "p_adjusted": pair.p_over_seeds},
        "sentence": sentence(pair),
    }


def _estimate(difference: Estimate) -> dict[str, Any]:
    low, high = difference.value - difference.half_width, difference.value + difference.half_width
    return {"difference": difference.value, "ci95": [low, high]}
