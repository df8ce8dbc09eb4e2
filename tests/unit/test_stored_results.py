"""`results.json` as it is laid out and read back."""

import json
from pathlib import Path
from typing import Any

import pytest

from ram_agent.results import validation_seconds, write_results
from ram_agent.stored import read_errors, read_results
from tests.making import make_measured


def test_results_are_read_back_as_they_were_and_lists_of_numbers_take_a_line(tmp_path: Path) -> None:
    results: dict[str, Any] = {
        "name": 'a "[\n 1,\n 2\n]" b',
        "wrong_images": list(range(400)),
        "learning_curve_seconds": [1.5, None, -2e-7],
        "error_by_glimpse": [90.0],
        "none": [],
        "texts": ["1", "2"],
        "points": [{"episodes": 1, "shares": [1, 2]}, {"episodes": 2}],
        "nested": [[1, 2], [3]],
        "switches": [True, False],
    }
    write_results(tmp_path, results)
    assert read_results(tmp_path) == read_results(tmp_path / "results.json") == results
    lines = (tmp_path / "results.json").read_text().splitlines()
    assert f'  "wrong_images": {json.dumps(results["wrong_images"])},' in lines
    assert '  "learning_curve_seconds": [1.5, null, -2e-07],' in lines
    assert '      "shares": [1, 2]' in lines
    assert len(lines) < 40


def test_seconds_of_a_learning_curve_lie_between_those_of_the_training_rows() -> None:
    """Of rows as a run has them, and as its file has them: 150 is half way from 10 s to 30 s, 250 lies beyond."""
    rows = [{"step": 100, "time/seconds": 10.0}, {"step": 150, "eval/error": 40.0}, {"step": 200, "time/seconds": 30.0}]
    rows.append({"step": 250, "eval/error": 20.0})
    assert validation_seconds(rows) == [20.0, 37.5]
    assert validation_seconds([{name: str(value) for name, value in row.items()} for row in rows]) == [20.0, 37.5]
    assert validation_seconds([row for row in rows if "eval/error" in row]) == [None, None]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ([1, 19], None),
        (None, None),
        ([2, 1], "wrong_images: expected places of 20 images, from 0 on, in ascending order"),
        ([1, 1], "wrong_images: expected places of 20 images, from 0 on, in ascending order"),
        ([1, 20], "wrong_images: expected places of 20 images, from 0 on, in ascending order"),
        ([1], "wrong_images: got 1, expected 2, which test_error says"),
        ([-1, 1], "wrong_images.0: input should be greater than or equal to 0, got -1"),
        ([True, 3], "wrong_images.0: input should be a valid integer, got True"),
        ("ab", "wrong_images: input should be a valid tuple, got 'ab'"),
    ],
)
def test_answers_that_cannot_be_are_refused(wrong: Any, said: str | None) -> None:
    """Of 20 images two, which is a tenth."""
    numbers = make_measured(10.0) | {"test_images": 20, "wrong_images": wrong}
    if said is None:
        assert read_errors(numbers).wrong_images == (wrong and tuple(wrong))
        return
    with pytest.raises(ValueError, match=r".") as refused:
        read_errors(numbers)
    assert str(refused.value) == said
