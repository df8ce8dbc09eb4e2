"""Who is held against whom: methods on the same scenes, the better one first, the difference the way it is told."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ram_agent.compare.comparison import _pairs
from ram_agent.compare.examine import Examined
from ram_agent.compare.gather import Run
from ram_agent.compare.methods import Method
from ram_agent.compare.statistics import holm
from ram_agent.compare.subjects import Subject
from ram_agent.config import load_config
from ram_agent.gaze import Gaze
from ram_agent.stored import read_errors
from tests.making import make_measured

IMAGES = 1000
NOTHING = torch.zeros(1, 1, 1, 1, 1, 1)
GAZE = Gaze(NOTHING[0, 0], torch.zeros(1, 1, 1, 4), NOTHING, *torch.zeros(3, 1, 1).int(), ("a",))._replace(
    target=torch.zeros(1).int(), probability=torch.zeros(1, 1)
)


def subject(name: str, *errors: int, label: int = 0, **settings: Any) -> Subject:
    """A method whose seeds were wrong about so many of the thousand images, the first ones."""
    changed = {field.replace("__", "."): value for field, value in settings.items()}
    measured = read_errors(make_measured(1.0) | {"test_images": IMAGES})
    runs, examined = [], {}
    for seed, wrong in enumerate(errors, start=1):
        facts: dict[str, Any] = {"episodes": 1, "seconds": 1.0, "threads": 1, "device": "cpu", "processes": 1}
        runs.append(
            Run(
                folder=Path(name),
                look="learned",
                config=load_config(None, {"name": name, "run.seed": seed} | changed),
                dataset="mnist",
                sha256="a" * 64,
                measured=measured,
                validation_error=1.0,
                parameters=1,
                pixels=1,
                curve=(),
                gaps=(),
                **facts,
            )
        )
        target = np.full(IMAGES, label)
        examined[seed] = Examined(np.arange(IMAGES) < wrong, target, np.zeros((1, 1), np.float32), GAZE)
    return Subject(Method(name, tuple(runs), ()), examined)


@pytest.mark.parametrize("turned", [False, True])
def test_the_better_of_two_is_named_first_and_is_better_by_the_difference_of_the_means(turned: bool) -> None:
    """In whichever order they were given; 2.0, 3.0 and 4.0 % against 5.0, 7.0 and 6.0."""
    good, bad = subject("good", 20, 30, 40), subject("bad", 50, 70, 60)
    (pair,) = _pairs([bad, good] if turned else [good, bad], [])
    assert (pair.better, pair.other, pair.seeds) == ("good", "bad", (3, 3))
    assert pair.paired.difference.value == pytest.approx(-3.0)
    assert pair.over_seeds is not None
    assert pair.over_seeds.value == pytest.approx(-3.0)
    assert pair.over_seeds.half_width == pytest.approx(2.7764 * np.sqrt(1 / 3 + 1 / 3), rel=1e-3)  # t of 4 degrees


@pytest.mark.parametrize(
    "other",
    [{"scene__kind": "translated"}, {"scene__height": 80}, {"scene__width": 80}, {"scene__clutter": 6},
     {"scene__clutter_size": 6}],
)  # fmt: skip
def test_methods_on_other_scenes_are_not_paired(other: dict[str, Any]) -> None:
    trouble: list[str] = []
    assert _pairs([subject("a", 20), subject("b", 30, **other)], trouble) == []
    assert trouble == []


def test_clutter_that_is_not_there_makes_no_other_scenes() -> None:
    translated = {"scene__kind": "translated"}
    assert len(_pairs([subject("a", 20, **translated), subject("b", 30, scene__clutter=7, **translated)], [])) == 1


def test_methods_that_were_shown_other_labels_are_not_paired_and_that_is_told() -> None:
    trouble: list[str] = []
    assert _pairs([subject("a", 20), subject("b", 30, label=1)], trouble) == []
    assert trouble == ["a and b were shown other labels: not paired."]


def test_p_is_adjusted_for_the_number_of_pairs() -> None:
    """Three methods, three pairs: the clearest has thrice its p, and one alone its own."""
    a, b, c = (subject(name, *(base + step for step in (0, 1, 3))) for name, base in (("a", 20), ("b", 24), ("c", 60)))
    (alone,) = _pairs([a, b], [])
    assert (alone.p, alone.p_over_seeds) == (alone.paired.p, alone.over_seeds and alone.over_seeds.p)
    pairs = _pairs([a, b, c], [])
    over_seeds = [pair.over_seeds.p for pair in pairs if pair.over_seeds]
    assert len(over_seeds) == 3
    assert [pair.p for pair in pairs] == holm([pair.paired.p for pair in pairs])
    assert [pair.p_over_seeds for pair in pairs] == holm(over_seeds)
    clearest = min(pairs, key=lambda pair: pair.paired.p)
    assert clearest.p == pytest.approx(3 * clearest.paired.p)
