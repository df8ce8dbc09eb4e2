"""Curves of several seeds, and the pictures that hold methods against one another."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from ram_agent.compare.curves import bundle, running_mean
from ram_agent.compare.gather import Run, Validated
from ram_agent.compare.plots import errors_by_glimpse, gradient_signal, validation_curves
from ram_agent.config import load_config
from ram_agent.stored import read_errors
from tests.drawing import render
from tests.making import make_measured


def run(
    seed: int = 1, curve: str = "", *, role: str = "learned", by_glimpse: tuple[float, ...] | None = (50, 10)
) -> Run:
    """A run whose validations are written as "episodes/seconds/error ..."; unmeasured where `by_glimpse` is None."""
    points = [tuple(map(float, point.split("/"))) for point in curve.split()]
    measured = by_glimpse and read_errors(make_measured(by_glimpse[-1]) | {"error_by_glimpse": by_glimpse})
    return Run(
        folder=Path("runs") / str(seed),
        role=role,
        config=load_config(None, {"run.seed": seed}),
        dataset="digits",
        sha256="a" * 64,
        measured=measured or None,
        validation_error=None,
        episodes=None,
        seconds=None,
        threads=None,
        device="",
        processes=1,
        parameters=None,
        pixels=10,
        curve=tuple(Validated(int(episodes), seconds, error) for episodes, seconds, error in points),
        gaps=(),
    )


def drawn(figure: Figure | None, panel: int = 0, *, thin: bool = False) -> list[list[list[float]]]:
    """The points of every line, of those that show a mean or of the thin ones."""
    assert figure
    render(figure)
    lines = [line for line in figure.axes[panel].lines if (line.get_linewidth() < 1) is thin]
    return [np.asarray(line.get_xydata()).tolist() for line in lines]


def shades(figure: Figure | None, panel: int = 0) -> list[set[tuple[float, float]]]:
    """The corners of every shade."""
    assert figure
    areas = [area for area in figure.axes[panel].collections if isinstance(area, PolyCollection)]
    return [{(float(x), float(y)) for x, y in area.get_paths()[0].vertices} for area in areas]  # pyright: ignore


def test_a_method_is_the_mean_of_its_seeds_and_their_range():
    seeds = run(1, "100/1/40 200/2/20"), run(2, "100/1/20 200/2/10")
    figure = validation_curves({"hard": seeds}, "digits")
    assert drawn(figure) == [[[100, 30], [200, 15]]]
    assert shades(figure) == [{(100, 20), (100, 40), (200, 10), (200, 20)}]
    assert drawn(figure, 2) == [[[1000, 30], [2000, 15]]]  # 10 pixels an episode
    assert figure
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["hard, mean of 2 seeds"]


def test_windows_tried_by_looking_ahead_are_read_too():
    """Ten pixels at five glimpses; of a control, nothing looks ahead."""
    ahead = load_config(None, {"environment.glimpses": 5, "training.lookahead": 8})
    learned, control = (replace(run(1, "100/1/40 200/2/20", role=role), config=ahead) for role in ("learned", "random"))
    assert drawn(validation_curves({"hard": [learned]}, "digits"), 2) == [[[2600, 40], [5200, 20]]]
    assert drawn(validation_curves({"random": [control]}, "digits"), 2) == [[[1000, 40], [2000, 20]]]


def test_one_seed_is_its_own_line():
    figure = validation_curves({"hard": [run(1, "100/1/40 200/2/20")]}, "digits")
    assert drawn(figure) == [[[100, 40], [200, 20]]]
    assert not shades(figure)
    assert figure
    assert figure.legends[0].get_texts()[0].get_text() == "hard"


def test_an_unfinished_seed_is_thin_and_enters_no_mean():
    seeds = run(1, "100/1/40 200/2/20"), run(2, "100/1/20 200/2/10"), run(3, "100/1/90", by_glimpse=None)
    figure = validation_curves({"hard": seeds}, "digits")
    assert drawn(figure) == [[[100, 30], [200, 15]]]
    assert drawn(figure, thin=True) == [[[100, 90]]]


def test_where_none_is_finished_the_mean_reaches_as_far_as_all_do():
    seeds = run(1, "100/1/40 200/2/20 300/3/5", by_glimpse=None), run(2, "100/1/20 200/2/10", by_glimpse=None)
    figure = validation_curves({"hard": seeds}, "digits")
    assert drawn(figure) == [[[100, 30], [200, 15]]]
    assert drawn(figure, thin=True) == [[[200, 20], [300, 5]]]


def test_seeds_that_took_other_times_are_averaged_at_equal_times():
    """Both know 2 to 4 s; what seed 2 did before and after is its own."""
    first, second = np.array([[2.0, 40], [4, 20]]), np.array([[1.0, 50], [4, 20], [6, 10]])
    found = bundle([first, second])
    np.testing.assert_allclose(found.x, [2, 4])
    np.testing.assert_allclose(found.mean, [40, 20])
    np.testing.assert_allclose([found.low, found.high], [[40, 20], [40, 20]])
    assert [points.tolist() for points in found.alone] == [[[1, 50], [2, 40]], [[4, 20], [6, 10]]]


def test_seeds_that_share_no_stretch_have_no_mean():
    found = bundle([np.array([[1.0, 50], [2, 40]]), np.array([[3.0, 50]])])
    assert not len(found.x)
    assert len(found.alone) == 2
    assert found.seeds == 0
    apart = run(1, "100/1/40 200/2/20"), run(2, "300/3/20 400/4/10")
    figure = validation_curves({"hard": apart}, "digits")
    assert figure
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["hard"]


def test_a_step_that_a_resumed_run_wrote_twice_counts_once():
    found = bundle([np.array([[1.0, 50], [2, 40], [2, 30]])])
    assert found.mean.tolist() == [50, 30]


def test_by_glimpse_is_the_mean_of_the_measured_seeds():
    seeds = run(1, by_glimpse=(60, 20)), run(2, by_glimpse=(40, 10)), run(3, by_glimpse=None)
    figure = errors_by_glimpse({"hard": seeds}, "digits")
    assert drawn(figure) == [[[1, 50], [2, 15]]]
    assert shades(figure) == [{(1, 40), (1, 60), (2, 10), (2, 20)}]
    assert errors_by_glimpse({"hard": seeds[2:]}, "digits") is None


def test_by_glimpse_a_network_over_the_whole_canvas_is_level_and_one_glimpse_is_a_point():
    methods = {
        "hard": [run(by_glimpse=(60, 30, 20))],
        "cnn": [run(role="cnn", by_glimpse=(5,))],
        "one": [run(by_glimpse=(40,))],
    }
    figure = errors_by_glimpse(methods, "digits")
    assert drawn(figure) == [[[1, 60], [2, 30], [3, 20]], [[1, 5], [2, 5], [3, 5]], [[1, 40]]]


def test_a_running_mean_takes_as_many_points_on_either_side_and_keeps_the_ends() -> None:
    heights = [5.0, 1.0, 0.0, 2.0, 9.0, 4.0]
    points = np.column_stack([np.arange(6.0), heights])
    mean = running_mean(points, 5)
    assert mean[:, 0].tolist() == points[:, 0].tolist()
    assert mean[:, 1] == pytest.approx([5, 2, np.mean(heights[:5]), np.mean(heights[1:]), 5, 4])
    assert len(running_mean(points[:0], 5)) == 0


def test_the_signal_is_a_line_for_each_method_and_estimator_that_leaves_no_noise_below_zero_out():
    none = {"learned": ((100, 0.1), (200, 0.01)), "leave_one_out": ((100, 0.2), (200, -0.1))}
    other = {"learned": ((100, 0.3), (200, 0.03))}
    methods = {"hard": [replace(run(1), signal=none), replace(run(2), signal=other)], "cnn": [run(3)]}
    figure = gradient_signal(methods, "digits")
    assert drawn(figure) == [[[100, pytest.approx(0.2)], [200, pytest.approx(0.02)]], [[100, 0.2], [200, -0.1]]]
    assert figure
    assert figure.axes[0].get_yscale() == "symlog"
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["hard, mean of 2 seeds", "estimator learned", "estimator leave_one_out"]
    assert gradient_signal({"cnn": [run(3)]}, "digits") is None


@pytest.mark.parametrize("draw", [validation_curves, errors_by_glimpse])
def test_the_images_stand_in_the_picture(draw):
    figure = draw({"hard": [replace(run(1, "100/1/40"), role="learned")]}, "digits")
    assert "digits" in figure.axes[0].get_ylabel()


def test_a_method_has_one_ink_in_every_picture():
    methods = {"cnn": [run(role="cnn")], "hard": [run(1, "100/1/40 200/2/20")]}
    curves, by_glimpse = validation_curves(methods, "digits"), errors_by_glimpse(methods, "digits")
    assert curves
    assert by_glimpse
    assert curves.axes[0].lines[0].get_color() == by_glimpse.axes[0].lines[1].get_color()
