"""Who is held against whom: methods on the same scenes, the better one first, the difference the way it is told; and
what is drawn and told of those that were examined.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ram_agent.compare import comparison
from ram_agent.compare.comparison import _pairs
from ram_agent.compare.document import Paragraph, Table
from ram_agent.compare.examine import Examined
from ram_agent.compare.gather import Run
from ram_agent.compare.methods import Method
from ram_agent.compare.report import _cost
from ram_agent.compare.statistics import holm
from ram_agent.compare.subjects import Compared, Subject
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
    runs, answered, examined = [], {}, {}
    for seed, wrong in enumerate(errors, start=1):
        measured = read_errors(make_measured(100 * wrong / IMAGES) | {"test_images": IMAGES})
        facts: dict[str, Any] = {"episodes": 1, "seconds": 1.0, "threads": 1, "device": "cpu", "processes": 1}
        runs.append(
            Run(
                folder=Path(name),
                role="learned",
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
        answered[seed] = np.arange(IMAGES) < wrong
        examined[seed] = Examined(np.full(IMAGES, label), np.zeros((1, 1), np.float32), GAZE)
    return Subject(Method(name, tuple(runs), ()), answered, examined)


@pytest.mark.parametrize("turned", [False, True])
def test_the_better_of_two_is_named_first_and_is_better_by_the_difference_of_the_means(turned: bool) -> None:
    """In whichever order they were given; 2.0, 3.0 and 4.0 % against 5.0, 7.0 and 6.0."""
    good, bad = subject("good", 20, 30, 40), subject("bad", 50, 70, 60)
    (pair,) = _pairs([bad, good] if turned else [good, bad], [])
    assert (pair.better, pair.other, pair.seeds) == ("good", "bad", (3, 3))
    assert pair.over_images.paired
    assert pair.over_images.difference.value == pytest.approx(-3.0)
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
    assert (alone.p, alone.p_over_seeds) == (alone.over_images.p, alone.over_seeds and alone.over_seeds.p)
    pairs = _pairs([a, b, c], [])
    over_images = [pair.over_images.p for pair in pairs]
    over_seeds = [pair.over_seeds.p for pair in pairs if pair.over_seeds]
    assert len(over_images) == len(over_seeds) == 3
    assert [pair.p for pair in pairs] == holm(over_images)
    assert [pair.p_over_seeds for pair in pairs] == holm(over_seeds)
    assert min(pair.p for pair in pairs) == pytest.approx(3 * min(over_images))


def with_runs(of: Subject, **facts: Any) -> Subject:
    """The facts, such as sha256, run by run."""
    runs = [
        replace(run, **{name: values[number] for name, values in facts.items()})
        for number, run in enumerate(of.method.runs)
    ]
    return replace(of, method=replace(of.method, runs=tuple(runs)))


def test_a_run_that_was_not_examined_does_not_speak_for_those_that_were() -> None:
    """The first one does not know its images, and its weights are lost: its error counts all the same."""
    a, b = subject("a", 20, 30), subject("b", 30)
    a = replace(with_runs(a, sha256=["", "a" * 64]), examined={2: a.examined[2]}, wrong={2: a.wrong[2]})
    (pair,) = _pairs([a, b], [])
    assert (pair.better, pair.seeds, pair.over_images.paired) == ("a", (2, 1), False)


def test_answers_are_compared_without_anybody_looking_again() -> None:
    """As a run stored them: its weights may be anywhere."""
    good, bad = (replace(each, examined={}) for each in (subject("good", 20), subject("bad", 50)))
    (pair,) = _pairs([bad, good], [])
    assert (pair.better, pair.over_seeds) == ("good", None)
    assert pair.over_images.paired
    assert pair.over_images.difference.value == pytest.approx(-3.0)


def forgotten(of: Subject) -> Subject:
    """Whose runs stored no answers, and cannot look again."""
    return replace(of, wrong={}, examined={})


def test_where_answers_are_not_known_errors_are_compared_as_if_on_images_of_their_own() -> None:
    """By the errors as stored: 2, 3, 4 % against 5, 7, 6 %, and both against one whose answers are known."""
    good, bad, known = subject("good", 20, 30, 40), subject("bad", 50, 70, 60), subject("known", 90)
    pairs = _pairs([forgotten(bad), forgotten(good), known], [])
    assert [(pair.better, pair.other, pair.seeds) for pair in pairs] == [
        ("good", "bad", (3, 3)),
        ("bad", "known", (3, 1)),
        ("good", "known", (3, 1)),
    ]
    assert not any(pair.over_images.paired for pair in pairs)
    assert [pair.over_images.difference.value for pair in pairs] == pytest.approx([-3.0, -3.0, -6.0])
    assert pairs[0].over_seeds
    assert pairs[0].over_seeds.value == pytest.approx(-3.0)
    assert [pair.p for pair in pairs] == holm([pair.over_images.p for pair in pairs])


def test_a_seed_whose_answers_are_not_known_counts_all_the_same() -> None:
    """2, 6 and 6.1 % against 4, 4.1 and 4.2 %: by the first seed alone, whose answers are known, a would be better."""
    a, b = subject("a", 20, 60, 61), subject("b", 40, 41, 42)
    some = replace(a, wrong={1: a.wrong[1]}, examined={})
    for known in (a, some, forgotten(a)):
        (pair,) = _pairs([known, b], [])
        assert (pair.better, pair.seeds) == ("b", (3, 3))
        assert pair.over_seeds
        assert pair.over_seeds.p > 0.5
        assert pair.over_images.paired == (known is a)


def test_answers_on_unlike_numbers_of_images_are_not_paired() -> None:
    """A run that does not know its images may have had others."""
    a, b = subject("a", 20, 60), subject("b", 40)
    (pair,) = _pairs([replace(a, wrong={1: a.wrong[1], 2: a.wrong[2][:500]}), b], [])
    assert not pair.over_images.paired


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The names of the methods in each picture of paths; figures are empty files."""
    rows: list[list[str]] = []
    monkeypatch.setattr(comparison, "paths_side_by_side", lambda gazes: rows.append(list(gazes)))
    monkeypatch.setattr(comparison, "write_figure", lambda figure, path: path.touch())
    return rows


def compared(*subjects: Subject) -> Compared:
    return Compared(subjects, (), ())


def test_paths_stand_below_one_another_only_where_the_images_are_known_to_be_the_same(
    drawn: list[list[str]], tmp_path: Path
) -> None:
    unknown = [with_runs(subject(name, 20), sha256=[""]) for name in "bc"]
    pictures = comparison.draw(compared(subject("a", 20), *unknown, subject("d", 20)), tmp_path)
    assert drawn == [["a", "d"], ["b"], ["c"]]
    assert pictures.paths == ("glimpse_paths_1.png", "glimpse_paths_2.png", "glimpse_paths_3.png")


def test_where_an_agent_looks_that_never_chooses_is_not_drawn(drawn: list[list[str]], tmp_path: Path) -> None:
    one = subject("one", 20, environment__glimpses=1)
    pictures = comparison.draw(compared(one, subject("many", 20)), tmp_path)
    assert [picture.caption for picture in pictures.fixations] == ["many"]


def test_pictures_of_an_earlier_comparison_are_removed_and_nothing_else(drawn: list[list[str]], tmp_path: Path) -> None:
    pictures = ["validation_error.png", "gradient_signal.png", "fixations_07_old.png", "glimpse_paths_3.png"]
    own = ["notes.md", "glimpse_paths.png", "fixations_of_mine.png", "own.png"]
    for name in (*pictures, *own):
        (tmp_path / name).touch()
    comparison.draw(compared(subject("a", 20)), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= {*pictures, *own}  # no comparison has written here yet
    (tmp_path / "comparison.md").touch()
    kept = {"comparison.md", "error_by_glimpse.png", "fixations_01_a.png", "glimpse_paths_1.png", *own}
    comparison.draw(compared(subject("a", 20)), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == kept


def test_times_name_the_device_of_each_where_they_are_not_one() -> None:
    """`meta` is a device that every machine has."""
    a, b = (replace(subject(name, 20), flops=1.0, parameters=1, milliseconds={1: 1.0}) for name in "ab")
    for other, columns, said in (("cpu", 6, "device cpu."), ("meta", 7, "device cpu and meta.")):
        methods = compared(replace(a, device="cpu"), replace(b, device=other))
        *_, text, table = _cost(methods)
        assert isinstance(text, Paragraph)
        assert isinstance(table, Table)
        assert text.text.endswith(said)
        assert len(table.columns) == columns
        assert [row[-1] for row in table.rows] == (["cpu", "meta"] if other == "meta" else ["–", "–"])
