"""Pictures of how well a run did: the data that went in stands in the picture, at the right place."""

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure

from ram_agent import figures
from tests.drawing import render


def lines(figure: Figure, panel: int) -> dict[str, list[tuple[float, float]]]:
    drawn = {}
    for line in figure.axes[panel].lines:
        label = str(line.get_label())
        if not label.startswith("_"):
            points = np.asarray(line.get_xydata()).tolist()
            drawn[label] = [(x, y) for x, y in points]
    return drawn


def test_curves_join_the_rows_that_have_them() -> None:
    rows = [
        {"step": 100, "rollout/error": 90.0, "train/loss": 2.5, "train/reinforce_loss": -0.5},
        {"step": 200, "rollout/error": float("nan"), "eval/error": 80.0, "train/loss": ""},
        {"step": 300, "rollout/error": 70.0, "train/loss": 1.5, "note": None},
    ]
    figure = figures.learning_curves(rows)
    render(figure)
    assert lines(figure, 0) == {"training": [(100, 90), (300, 70)], "validation": [(200, 80)]}
    assert lines(figure, 1) == {"total": [(100, 2.5), (300, 1.5)], "reinforce": [(100, -0.5)]}
    assert figure.axes[0].get_ylim()[0] == 0


def test_curves_bear_having_no_rows() -> None:
    assert render(figures.learning_curves([])).std() > 0


def test_curves_know_the_learner_s_names_and_leave_out_terms_that_it_does_not_have() -> None:
    rows = [{"step": n, "rollout/error": 50.0, "train/baseline_loss": 0.0, "train/loss": 1.0} for n in (1, 2)]
    figure = figures.learning_curves(rows)
    assert lines(figure, 0) == {"training": [(1, 50), (2, 50)]}
    assert lines(figure, 1) == {"total": [(1, 1), (2, 1)]}


def test_an_error_that_falls_by_more_than_ten_times_is_drawn_on_a_logarithmic_axis() -> None:
    def scale(last: float) -> str:
        rows = [{"step": 1, "eval/error": 90.0}, {"step": 2, "eval/error": last}]
        return figures.learning_curves(rows).axes[0].get_yscale()

    assert [scale(last) for last in (5.0, 20.0, 0.0)] == ["log", "linear", "linear"]


def test_a_confusion_matrix_has_targets_in_rows_and_their_shares_as_colour() -> None:
    counts = np.array([[3, 1, 0], [0, 0, 0], [0, 5, 5]])
    figure = figures.confusion_matrix(counts, "abc")
    ax = figure.axes[0]
    shown = np.asarray(ax.images[0].get_array())
    np.testing.assert_allclose(shown, [[75, 25, 0], [0, 0, 0], [0, 50, 50]])
    numbers = {text.get_position(): text.get_text() for text in ax.texts}
    assert numbers == {(0, 0): "3", (1, 0): "1", (1, 2): "5", (2, 2): "5"}  # (column, row)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("answer", "target")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b", "c"]
    bottom, top = ax.get_ylim()
    assert bottom > top  # the first target stands above
    render(figure)


@pytest.mark.parametrize(("number", "written"), [(12, True), (13, False), (40, False)])
def test_only_small_confusion_matrices_carry_numbers(number: int, written: bool) -> None:
    counts = np.ones((number, number), int)
    figure = figures.confusion_matrix(counts, [str(k) for k in range(number)])
    assert bool(figure.axes[0].texts) is written
    render(figure)


def test_error_by_glimpse_counts_from_one() -> None:
    figure = figures.error_by_glimpse({"crop": [50, 20, 10], "random": [80, 70]})
    assert lines(figure, 0) == {"crop": [(1, 50), (2, 20), (3, 10)], "random": [(1, 80), (2, 70)]}
    level = figures.error_by_glimpse({"crop": [50, 20, 10], "cnn": [5]})  # which sees the whole canvas at once
    assert lines(level, 0)["cnn"] == [(1, 5), (2, 5), (3, 5)]
    for curves in ({"crop": [0.0]}, {}):
        render(figures.error_by_glimpse(curves))


def test_a_fixation_map_shows_shares_with_the_first_row_on_top() -> None:
    density = np.zeros((4, 8))
    density[0, 7], density[2, 1] = 3, 1
    figure = figures.fixation_map(density)
    picture, ax = render(figure), figure.axes[0]
    assert np.asarray(ax.images[0].get_array()).sum() == pytest.approx(100)
    brightness = {}
    for place, (x, y) in {"upper right": (7 / 8, -3 / 4), "lower left": (-5 / 8, 1 / 4), "empty": (0.1, 0.7)}.items():
        across, up = ax.transData.transform((x, y))
        brightness[place] = int(picture[round(len(picture) - 1 - up), round(across)].astype(int).sum())
    assert brightness["upper right"] > brightness["lower left"] > brightness["empty"]
    box = ax.get_window_extent()
    assert box.width / box.height == pytest.approx(2, rel=0.01)  # cells are square
    render(figures.fixation_map(np.zeros((3, 3))))


def test_nothing_imports_pyplot_or_an_environment() -> None:
    drawing = "ram_agent.animation, ram_agent.figures, ram_agent.gaze, ram_agent.pictures"
    code = f"import sys, {drawing}; sys.exit('matplotlib.pyplot' in sys.modules or 'envs' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
