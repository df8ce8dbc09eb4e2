"""Frames: what is drawn lies where the sensor looked."""

import numpy as np
import pytest
import torch

from envs.rendering import BACKDROP, SCALE_COLOURS, draw_frame, layout
from ram_agent.sensor import Crop, Window


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


def extent(frame: np.ndarray, colour: tuple[int, ...]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of all pixels of exactly this colour, inclusive."""
    rows, columns = np.nonzero((frame == colour).all(axis=-1))
    return columns.min(), rows.min(), columns.max(), rows.max()


def scene_of(frame: np.ndarray, size: tuple[int, int], scales: int, side: int, scale: int | None = None) -> np.ndarray:
    plan = layout(size, scales, side, scale)
    return frame[plan.scene_top : plan.scene_top + plan.scene[1], : plan.scene[0]]


def test_a_box_around_one_bright_pixel_encloses_it_and_nothing_else() -> None:
    canvas = torch.zeros(1, 6, 12)
    canvas[0, 1, 8] = 1  # row 1, column 8: a swap of the axes would put the box elsewhere
    box = torch.tensor([[[8.0, 1.0, 9.0, 2.0]]])
    frame = draw_frame(canvas, box, torch.zeros(1, 1, 4, 4), scale=40)
    scene = scene_of(frame, (6, 12), 1, 4, 40)
    white, outline = extent(scene, (255, 255, 255)), extent(scene, rgb(SCALE_COLOURS[0]))
    assert white[2] - white[0] == white[3] - white[1] == 40 - 3  # less the outline's inner halves
    assert outline == (white[0] - 2, white[1] - 2, white[2] + 2, white[3] + 2)


def test_what_lies_in_the_drawn_window_is_what_the_tile_beside_it_shows() -> None:
    size, side, zoom = (14, 22), 8, 12
    canvas = torch.rand(3, *size, generator=torch.Generator().manual_seed(0))
    sensor = Crop(size=side, scales=1)
    window = Window(torch.tensor([[0.4, -0.2]]), torch.ones(1, 2), torch.zeros(1, 2))
    glimpse, box = sensor(canvas[None], window)[0], sensor.boxes(window, size)
    frame = draw_frame(canvas, box, glimpse, scale=zoom)

    left, top, right, bottom = extent(scene_of(frame, size, 1, side, zoom), rgb(SCALE_COLOURS[0]))
    assert (right - left - 1, bottom - top - 1) == (side * zoom, side * zoom)
    plan = layout(size, 1, side, zoom)
    (tile_x, tile_y), step = plan.tiles[0], plan.tile // side
    compared = 0
    for row in range(side):
        for column in range(side):
            if 2 <= row <= 5 and 2 <= column <= 5:
                continue  # under the dot
            y, x = plan.scene_top + top + 1 + row * zoom + zoom // 2, left + 1 + column * zoom + zoom // 2
            seen = frame[tile_y + row * step + step // 2, tile_x + column * step + step // 2]
            assert (frame[y, x] == seen).all()
            assert (seen == np.rint(255 * glimpse[0, :, row, column].numpy())).all()
            compared += 1
    assert compared == side * side - 16


def test_the_windows_drawn_are_those_of_the_latest_look_each_in_its_colour() -> None:
    first = [[2.0, 2.0, 6.0, 6.0], [0.0, 0.0, 8.0, 8.0]]
    latest = [[20.0, 10.0, 24.0, 14.0], [18.0, 8.0, 26.0, 16.0]]
    frame = draw_frame(torch.zeros(1, 20, 30), torch.tensor([first, latest]), torch.zeros(2, 1, 4, 4), scale=10)
    scene = scene_of(frame, (20, 30), 2, 4, 10)
    plan = layout((20, 30), 2, 4, 10)
    for k, (x0, y0, x1, y1) in enumerate(latest):
        (left, top), (right, bottom) = plan.edge(x0, y0), plan.edge(x1, y1)
        assert extent(scene, rgb(SCALE_COLOURS[k])) == (left - 1, top - 1, right, bottom)


def test_the_path_runs_through_the_centres_of_all_looks() -> None:
    boxes = torch.tensor([[[2.0, 2.0, 6.0, 6.0]], [[22.0, 2.0, 26.0, 6.0]], [[22.0, 12.0, 26.0, 16.0]]])
    size, glimpse = (20, 30), torch.zeros(1, 1, 4, 4)
    with_path = draw_frame(torch.zeros(1, *size), boxes, glimpse, scale=10)
    alone = draw_frame(torch.zeros(1, *size), boxes[-1:], glimpse, scale=10)
    rows, columns = np.nonzero((with_path != alone).any(axis=-1))
    plan = layout(size, 1, 4, 10)
    (left, top), (right, bottom) = plan.edge(4.0, 4.0), plan.edge(24.0, 14.0)
    assert abs(columns.min() - (left - 7)) <= 1  # the first dot's radius
    assert abs(rows.min() - plan.scene_top - (top - 7)) <= 1
    assert columns.max() <= right + 9
    assert rows.max() <= plan.scene_top + bottom + 9
    between = with_path[int(plan.scene_top + top), int((left + right) / 2)]
    assert between.min() > 100  # a line along the first move, y = 4


def test_glimpses_stand_finest_first_in_frames_of_their_windows_colours() -> None:
    levels = (0.2, 0.6, 1.0)
    glimpse = torch.tensor(levels)[:, None, None, None].expand(3, 1, 8, 8)
    frame = draw_frame(torch.zeros(1, 40, 40), torch.zeros(1, 3, 4), glimpse)
    plan = layout((40, 40), 3, 8)
    assert plan.tiles[0][1] < plan.tiles[1][1] < plan.tiles[2][1]
    for k, (left, top) in enumerate(plan.tiles):
        tile = frame[top : top + plan.tile, left : left + plan.tile]
        assert (tile == round(255 * levels[k])).all()
        around = frame[top - 1 : top + plan.tile + 1, left - 1 : left + plan.tile + 1]
        assert (around[0] == rgb(SCALE_COLOURS[k])).all()
        assert (around[:, -1] == rgb(SCALE_COLOURS[k])).all()


def test_colour_canvases_keep_their_channels_in_order() -> None:
    canvas = torch.tensor([0.0, 0.5, 1.0])[:, None, None].expand(3, 10, 10)
    frame = draw_frame(canvas, torch.zeros(0, 1, 4), torch.zeros(1, 3, 4, 4), scale=10)
    plan = layout((10, 10), 1, 4, 10)
    x, y = plan.edge(5.0, 5.0)
    assert tuple(frame[plan.scene_top + int(y), int(x)]) == (0, 128, 255)
    assert tuple(frame[0, 0]) == BACKDROP


@pytest.mark.parametrize("size", [(60, 60), (27, 61), (20, 120), (90, 30), (28, 28), (500, 300)])
@pytest.mark.parametrize("scales", [1, 4])
def test_every_frame_of_an_environment_has_one_even_size_wherever_the_eye_looks(
    size: tuple[int, int], scales: int
) -> None:
    glimpse = torch.zeros(scales, 1, 12, 12)
    shapes = set()
    for shift in (-1e4, 0.0, 5.3, 1e4):
        boxes = torch.tensor([0.0, 0.0, 12.0, 12.0]).expand(2, scales, 4) + shift
        frame = draw_frame(torch.zeros(1, *size), boxes, glimpse)
        assert frame.dtype == np.uint8
        shapes.add(frame.shape)
    ((height, width, channels),) = shapes
    assert (height % 2, width % 2, channels) == (0, 0, 3)


def test_an_eye_that_may_leave_the_canvas_has_room_around_it() -> None:
    """At the corners of `reach` all of a dot is in the frame; up to the border nothing changes."""
    assert layout((20, 30), 1, 4, 10, reach=1.0) == layout((20, 30), 1, 4, 10, reach=0.5) == layout((20, 30), 1, 4, 10)
    wide, sensor = layout((20, 30), 1, 4, 10, reach=2.0), Crop(4, 1, reach=2.0)
    box = sensor.boxes(sensor.window(torch.tensor([[1.0, 1.0]])), (20, 30))[None, 0]
    frame = draw_frame(torch.zeros(1, 20, 30), box, torch.zeros(1, 1, 4, 4), scale=10, reach=2.0)
    assert frame.shape[:2] == wide.frame[::-1]
    left, top, right, bottom = box[0, 0].tolist()
    (x0, y0), (x1, y1) = wide.edge(left, top), wide.edge(right, bottom)
    scene = frame[wide.scene_top : wide.scene_top + wide.scene[1], : wide.scene[0]]
    assert extent(scene, rgb(SCALE_COLOURS[0])) == (x0 - 1, y0 - 1, x1, y1)


def test_a_window_outside_the_scene_does_not_spill_over_the_glimpses() -> None:
    canvas, glimpse = torch.zeros(1, 30, 30), torch.zeros(1, 1, 6, 6)
    inside = torch.tensor([[[10.0, -2.0, 16.0, 4.0]]])  # high enough not to hide behind the glimpse
    plan = layout((30, 30), 1, 6)
    beside = [
        draw_frame(canvas, inside + torch.tensor([shift, 0.0, shift, 0.0]), glimpse)[:, plan.scene[0] :]
        for shift in (0.0, 30.0)
    ]
    assert (beside[0] == beside[1]).all()


def test_values_beyond_the_range_are_clamped_and_gradients_are_no_obstacle() -> None:
    canvas = torch.full((1, 10, 10), 1.7, requires_grad=True)
    frame = draw_frame(canvas, torch.zeros(0, 1, 4), torch.full((1, 1, 4, 4), -0.3), scale=4)
    assert {0, 255} <= set(np.unique(frame))


def test_impossible_requests_name_the_field() -> None:
    with pytest.raises(ValueError, match="channels: got 2"):
        draw_frame(torch.zeros(2, 8, 8), torch.zeros(1, 1, 4), torch.zeros(1, 2, 4, 4))
    with pytest.raises(ValueError, match="scale: got 0"):
        draw_frame(torch.zeros(1, 8, 8), torch.zeros(1, 1, 4), torch.zeros(1, 1, 4, 4), scale=0)
