"""The moving picture: a frame a look, and beside it what was read and nothing else."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from ram_agent.animation import UNSEEN, _Seen, gaze_frames
from ram_agent.gaze import RIGHT, WRONG
from tests.drawing import SHAPES, has_colour, make_gaze


@pytest.mark.parametrize("shape", SHAPES)
def test_an_animation_has_one_frame_a_look_and_the_verdict(shape: dict) -> None:
    gaze = make_gaze(**shape)
    frames = gaze_frames(gaze, 2, 1)
    assert len(frames) == len(gaze.boxes) + 1
    assert len(gaze_frames(gaze, 1, 2)) == len(frames)
    assert len({frame.shape for frame in frames}) == 1
    height, width, channels = frames[0].shape
    assert (height % 2, width % 2, channels, frames[0].dtype) == (0, 0, 3, np.uint8)
    assert all((a != b).any() for a, b in pairwise(frames))
    assert has_colour(frames[-1], RIGHT) or shape.get("channels") == 3
    if len(gaze.target) > 1:
        assert has_colour(frames[-1], WRONG)
        assert not has_colour(frames[-2], WRONG) or gaze.canvas.shape[1] == 3


def test_no_more_episodes_are_drawn_than_there_are() -> None:
    gaze = make_gaze(lanes=3)
    four, many = gaze_frames(gaze, 2, 2)[0], gaze_frames(gaze, 9, 2)[0]
    assert four.shape == many.shape
    assert gaze_frames(gaze, 1, 2)[0].shape[0] < four.shape[0]


def test_the_agent_has_seen_what_it_read_and_nothing_else() -> None:
    gaze = make_gaze(lanes=1, looks=3, scales=1, channels=3)
    seen = _Seen(gaze, 0, zoom=2)
    expected = np.full((24, 36, 3), UNSEEN, np.uint8)
    canvas = np.rint(255 * gaze.canvas[0].permute(1, 2, 0).numpy()).astype(np.uint8)
    for look in range(3):
        seen.add(look)
        x0, y0, x1, y1 = (max(0, int(edge)) for edge in gaze.boxes[look, 0, 0])
        expected[y0:y1, x0:x1] = canvas[y0:y1, x0:x1]
        assert (seen.picture == expected.repeat(2, axis=0).repeat(2, axis=1)).all()


def test_a_coarse_look_never_hides_what_was_seen_finely() -> None:
    gaze = make_gaze(lanes=1, looks=2, scales=3)
    boxes = torch.tensor([[9.0, 9, 15, 15], [6, 6, 18, 18], [0, 0, 24, 24]]).repeat(2, 1, 1, 1)
    boxes[1] += torch.tensor([6.0, 0, 6, 0])  # the second look's coarser scales cover the first look's finest
    glimpses = torch.tensor([0.9, 0.5, 0.1]).view(1, 1, 3, 1, 1, 1).expand(2, 1, 3, 1, 6, 6)
    seen = _Seen(gaze._replace(boxes=boxes, glimpses=glimpses), 0, zoom=1)
    seen.add(0)
    seen.add(1)
    level = seen.picture[..., 0]
    assert (level[9:15, 9:21] == round(0.9 * 255)).all()
    assert level[7, 20] == round(0.5 * 255)
    assert level[2, 2] == round(0.1 * 255)
    assert level[2, 35] == UNSEEN
