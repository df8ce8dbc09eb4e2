"""Pictures of where the eye looked: the data that went in stands in the picture, at the right place."""

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.patches import Circle, Rectangle

from envs import rendering
from ram_agent import gaze as pictures
from ram_agent.animation import gaze_frames
from ram_agent.figures import INK, confusion_matrix, overhang
from ram_agent.gaze import RIGHT, WRONG, farthest, glimpse_paths, glimpse_strip, of_each_class, time_colours
from ram_agent.sensor import make_sensor
from tests.drawing import SHAPES, has_colour, make_gaze, render


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_gaze_can_be_drawn(shape: dict) -> None:
    gaze = make_gaze(**shape)
    assert render(glimpse_paths(gaze)).std() > 0
    assert render(glimpse_strip(gaze, len(gaze.target) - 1)).std() > 0


def test_a_run_s_pictures_have_the_colours_of_an_environment_s_frames() -> None:
    """Neither may import the other."""
    assert pictures.SCALE_COLOURS == rendering.SCALE_COLOURS
    assert to_rgb(pictures.BACKDROP) == tuple(value / 255 for value in rendering.BACKDROP)


def test_paths_put_canvas_windows_and_dots_where_the_sensor_had_them() -> None:
    gaze = make_gaze(channels=3)
    figure = glimpse_paths(gaze)
    for lane, ax in enumerate(figure.axes):
        windows = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
        assert len(windows) == len(gaze.boxes)
        for window, box in zip(windows, gaze.boxes[:, lane, 0], strict=True):
            x0, y0, x1, y1 = box.tolist()
            np.testing.assert_allclose(window.get_bbox().extents, (x0, y0, x1, y1), rtol=1e-6)
        dots = [patch.center for patch in ax.patches if isinstance(patch, Circle)]
        np.testing.assert_allclose(dots, (gaze.boxes[:, lane, 0, :2] + gaze.boxes[:, lane, 0, 2:]) / 2, rtol=1e-6)


def test_names_of_classes_that_fill_a_line_are_cut_in_the_middle() -> None:
    names = ("n02085620-Chihuahua_and_others", "German_short-haired_pointer_dog", *map(str, range(8)))
    gaze = make_gaze(lanes=2)._replace(classes=names)
    told = [ax.get_title() for ax in glimpse_paths(gaze).axes]
    assert told[0] == "n0208562…_others →\nn0208562…_others ✓"
    ticks = confusion_matrix(np.eye(10, dtype=np.int64), names).axes[0].get_xticklabels()
    assert [tick.get_text() for tick in ticks][:2] == ["n0208562…_others", "German_s…ter_dog"]


def test_a_photograph_is_drawn_reduced_with_its_windows_where_they_were() -> None:
    gaze = make_gaze(lanes=1, size=(24, 36), channels=3)
    small = gaze.reduced(10)  # by 4
    assert small.canvas.shape == (1, 3, 6, 9)
    np.testing.assert_allclose(small.canvas[0, :, 1, 2], gaze.canvas[0, :, 4:8, 8:12].mean(dim=(1, 2)), rtol=1e-6)
    np.testing.assert_allclose(small.boxes * 4, gaze.boxes)
    odd = gaze.reduced(8)  # by 5: the last square is cut
    np.testing.assert_allclose(odd.canvas[0, :, 4, 7], gaze.canvas[0, :, 20:, 35:].mean(dim=(1, 2)), rtol=1e-6)
    assert gaze.reduced() is gaze
    for frame in gaze_frames(make_gaze(lanes=1, size=(3000, 2000)).reduced()):
        assert max(frame.shape) < 1100


def test_pixel_i_of_a_canvas_is_drawn_between_the_edges_i_and_i_plus_1() -> None:
    gaze = make_gaze(lanes=1, looks=1, scales=1)
    canvas = torch.zeros(1, 1, 24, 36)
    canvas[0, 0, 3, 30] = 1
    figure = glimpse_paths(gaze._replace(canvas=canvas, boxes=torch.tensor([[[[0.0, 16.0, 6.0, 22.0]]]])))
    picture = render(figure)
    for dx, dy, bright in (
        (0.5, 0.5, True),
        (-0.5, 0.5, False),
        (1.5, 0.5, False),
        (0.5, -0.5, False),
        (0.5, 1.5, False),
    ):
        across, up = figure.axes[0].transData.transform((30 + dx, 3 + dy))
        assert bool(picture[round(len(picture) - 1 - up), round(across)].min() > 250) is bright


def test_verdicts_say_right_and_wrong_in_words_and_colour() -> None:
    axes = glimpse_paths(make_gaze()).axes
    assert [(ax.get_title(), ax.title.get_color()) for ax in axes] == [
        ("0 → 0 ✓", RIGHT),
        ("1 → 2 ✗", WRONG),
        ("2 → 2 ✓", RIGHT),
    ]


def test_without_a_target_the_belief_stands_in_place_of_a_verdict() -> None:
    gaze = make_gaze(lanes=1)
    gaze = gaze._replace(target=torch.tensor([-1]))
    (ax,) = glimpse_paths(gaze).axes
    assert (ax.get_title(), ax.title.get_color()) == ("0 · 90 %", INK)
    assert [ax.get_xlabel() for ax in glimpse_strip(gaze, 0).axes[-4:]] == [
        f"0 · {share} %" for share in (10, 37, 63, 90)
    ]
    named = gaze._replace(classes=("ankle boot", *gaze.classes[1:]))
    assert glimpse_paths(named).axes[0].get_title() == "ankle boot\n90 %"


def test_a_strip_shows_every_scale_of_every_look_and_the_belief_below() -> None:
    gaze = make_gaze(channels=3, looks=3, scales=2)
    figure = glimpse_strip(gaze, 1)
    looks, scales = 3, 2
    assert len(figure.axes) == (1 + scales) * looks
    for look in range(looks):
        column = figure.axes[look::looks]
        for k in range(scales):
            shown = np.asarray(column[1 + k].images[0].get_array()) / 255
            np.testing.assert_allclose(shown, gaze.glimpses[look, 1, k].permute(1, 2, 0), atol=0.5 / 255 + 1e-6)
        boxes = sorted(tuple(patch.get_bbox().extents) for patch in column[0].patches if isinstance(patch, Rectangle))
        np.testing.assert_allclose(boxes, sorted(map(tuple, gaze.boxes[look, 1].tolist())), rtol=1e-6)
    assert [ax.get_xlabel() for ax in figure.axes[-looks:]] == ["2 · 10 % ✗", "2 · 50 % ✗", "2 · 90 % ✗"]


def test_a_name_stands_above_each_image_and_is_cut_in_the_middle_to_its_width() -> None:
    gaze = make_gaze(lanes=2)._replace(names=("a b.png", "photograph_of_a_garden_in_may_0001.png"))
    plain, figure = glimpse_paths(gaze._replace(names=())), glimpse_paths(gaze)
    assert figure.get_figheight() > plain.get_figheight()  # a line more
    assert [ax.get_title().split("\n")[1] for ax in figure.axes] == [ax.get_title() for ax in plain.axes]
    first, second = (ax.get_title().split("\n")[0] for ax in figure.axes)
    assert first == "a b.png"
    assert (second[:5], second[-8:], "…" in second) == ("photo", "0001.png", True)
    agg = FigureCanvasAgg(figure)
    for ax in figure.axes:
        assert ax.title.get_window_extent(agg.get_renderer()).width <= ax.get_window_extent().width
    assert glimpse_strip(gaze, 1).texts[0].get_text() == f"{gaze.names[1]}\n1 → 2 ✗"
    frames = zip(gaze_frames(gaze), gaze_frames(gaze._replace(names=())), strict=True)
    assert all((frame != other).any() for frame, other in frames)


def test_a_strip_of_many_looks_goes_on_below_and_shows_each_of_them_once() -> None:
    gaze = make_gaze(looks=27, scales=2)
    figure = glimpse_strip(gaze, 0)
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert titles == ["glimpse 1", *map(str, range(2, 28))]
    assert len(figure.axes) == 27 * 3
    assert figure.get_figwidth() < glimpse_strip(make_gaze(looks=12), 0).get_figwidth()  # nine in each of three rows
    boxes = [ax.get_position() for ax in figure.axes]
    assert not any(one.overlaps(other) for at, one in enumerate(boxes) for other in boxes[:at])
    below = [ax.get_xlabel() for ax in figure.axes if ax.get_xlabel()]
    assert below == [gaze.belief(look, 0) + " ✓" for look in range(27)]
    above, below = ([ax for ax in figure.axes if text(ax)] for text in (Axes.get_title, Axes.get_xlabel))
    for one, other in zip(above, below, strict=True):
        upper, lower = one.get_position(), other.get_position()
        assert (upper.x0 + upper.x1) / 2 == pytest.approx((lower.x0 + lower.x1) / 2)
        assert 0 < (upper.y0 - lower.y1) * figure.get_figheight() < 1.5  # one scale and no other look between them
    for look, ax in enumerate([ax for ax in figure.axes if ax.get_title()]):
        window = [patch for patch in ax.patches if isinstance(patch, Rectangle)][-1]
        np.testing.assert_allclose(window.get_bbox().extents, gaze.boxes[look, 0, 0], rtol=1e-6)


@pytest.mark.parametrize("kind", ["crop", "gaussian"])
def test_an_eye_that_leaves_the_canvas_is_seen_where_it_went(kind: str) -> None:
    """`sensor.reach` above 1: no window and no dot beyond what is shown, and the canvas under them where it was."""
    gaze = make_gaze(kind=kind, reach=3.0)
    assert farthest(gaze) > 12
    assert overhang(np.array([[55.0, 0, 85, 30]]), 60, 60) == 25  # all of a window larger than the margin
    for ax, lane in zip(glimpse_paths(gaze).axes, range(3), strict=True):
        (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
        for patch in ax.patches:
            if isinstance(patch, Rectangle | Circle):
                x0, y0, x1, y1 = patch.get_extents().transformed(ax.transData.inverted()).extents
                assert left <= min(x0, x1) <= max(x0, x1) <= right
                assert top <= min(y0, y1) <= max(y0, y1) <= bottom
        shown, by = np.asarray(ax.images[0].get_array()) / 255, farthest(gaze)
        np.testing.assert_allclose(shown[by:-by, by:-by, 0], gaze.canvas[lane, 0], atol=0.5 / 255 + 1e-6)
    latest = gaze_frames(gaze)[-1]
    assert all(has_colour(latest, colour) for colour in time_colours(len(gaze.boxes)))


@pytest.mark.parametrize("kind", ["crop", "gaussian", "stn"])
@pytest.mark.parametrize("size", [(24, 36), (25, 37)])
def test_an_eye_that_reaches_the_border_at_most_has_the_margin_it_always_had(kind: str, size: tuple[int, int]) -> None:
    gaze = make_gaze(kind=kind, size=size)
    sensor = make_sensor(kind, size=6, reach=1.0)
    corners = torch.tensor([[-1.0, -1], [1, 1], [-1, 1]])
    actions = torch.zeros(3, sensor.window_parameters)
    actions[:, :2] = corners
    gaze = gaze._replace(boxes=sensor.boxes(sensor.window(actions), size)[None])
    assert farthest(gaze) == 0
    assert gaze.within(0) is gaze


def test_images_to_draw_are_of_every_class_in_turn() -> None:
    """As class folders have them, class by class, and as MNIST has them."""
    assert of_each_class([0] * 5 + [1] * 3 + [2], 6) == [0, 5, 8, 1, 6, 2]
    assert of_each_class([7, 2, 1, 0, 4, 1, 4], 6) == [0, 1, 2, 3, 4, 5]
    assert of_each_class([3, 3], 9) == [0, 1]


def test_class_names_are_no_formulas() -> None:
    """With dollars they would be set as TeX, or end in an error."""
    gaze = make_gaze()._replace(classes=("$1", r"$\nope$", "$10"))
    figures = [glimpse_paths(gaze), glimpse_strip(gaze, 0), confusion_matrix(np.ones((3, 3), int), gaze.classes)]
    for figure in figures:
        assert render(figure).std() > 0
    assert len(gaze_frames(gaze)) > 0
    told = [label.get_text() for label in figures[2].axes[0].get_xticklabels()]
    assert told == list(gaze.classes)
    drawn = [label for axes in figures[0].axes for label in (axes.title, axes.xaxis.label)]
    assert all(not label.get_parse_math() for label in drawn if "$" in label.get_text())
