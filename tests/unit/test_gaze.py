"""Pictures of where the eye looked: the data that went in stands in the picture, at the right place."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.patches import Circle, Rectangle

from envs import rendering
from ram_agent import gaze as pictures
from ram_agent.animation import gaze_frames
from ram_agent.figures import INK, confusion_matrix
from ram_agent.gaze import RIGHT, WRONG, glimpse_paths, glimpse_strip, of_each_class
from tests.drawing import SHAPES, make_gaze, render


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
    assert glimpse_paths(named).axes[0].get_title() == "ankle boot ·\n90 %"


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
