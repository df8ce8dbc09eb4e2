"""The grid of locations, against cells worked out by hand."""

from typing import Any

import numpy as np
import pytest
import torch

from envs.discrete import DiscreteGlimpseEnv, DiscreteGlimpseVectorEnv
from ram_agent.sensor import grid_locations
from tests.making import make_images, unchecked


def test_cells_go_from_left_to_right_and_then_down() -> None:
    thirds = [[-2 / 3, -2 / 3], [0, -2 / 3], [2 / 3, -2 / 3], [-2 / 3, 0], [0, 0], [2 / 3, 0]]
    np.testing.assert_allclose(grid_locations(3)[:6], np.float32(thirds), atol=1e-7)


def test_nine_cells_a_side_are_ninths_from_corner_to_corner() -> None:
    locations = grid_locations(9)
    ninths = np.float32([-8, -6, -4, -2, 0, 2, 4, 6, 8]) / 9
    np.testing.assert_allclose(locations[:9, 0], ninths, atol=1e-7)
    np.testing.assert_allclose(locations[::9, 1], ninths, atol=1e-7)
    corners = {0: (-1, -1), 8: (1, -1), 72: (-1, 1), 80: (1, 1)}
    for cell, (x, y) in corners.items():
        np.testing.assert_allclose(locations[cell], np.float32([x, y]) * 8 / 9, atol=1e-7)
    np.testing.assert_allclose(locations[5 * 9 + 1], np.float32([-6 / 9, 2 / 9]), atol=1e-7)


@pytest.mark.parametrize("grid", [2, 5, 9])
def test_cells_tile_the_square_evenly(grid: int) -> None:
    locations = grid_locations(grid).numpy()
    assert locations.shape == (grid * grid, 2)
    assert len(np.unique(locations, axis=0)) == grid * grid
    np.testing.assert_allclose(locations, -locations[::-1], atol=1e-7)  # symmetric about the centre
    np.testing.assert_allclose(np.diff(np.unique(locations[:, 0])), 2 / grid, atol=1e-6)


@pytest.mark.parametrize("grid", [1, 0, -3, 2.5])
def test_a_grid_of_no_whole_number_or_fewer_than_two_cells_a_side_is_refused_by_name(grid: int) -> None:
    told = f"^grid: got {grid}, expected a whole number, at least 2 cells a side"
    with unchecked(), pytest.raises(ValueError, match=told):
        grid_locations(grid)


@pytest.mark.parametrize(
    "actions",
    [
        np.zeros((2, 2)),
        np.zeros((2, 3), np.int64),
        np.zeros(2, np.int64),
        {"window": 0, "label": 0},
        [[0, 0], [16, 0]],
        [[0, 0], [-1, 0]],
        torch.zeros(2, 2),
        torch.zeros(3, 2, dtype=torch.long),
        torch.tensor([[0, 0], [16, 0]]),
        torch.tensor([[0, 0], [-1, 0]]),
    ],
)
def test_an_action_of_the_wrong_form_or_off_the_grid_is_refused_by_name(actions: Any) -> None:
    env = DiscreteGlimpseVectorEnv(2, grid=4, images=make_images(), size=(18, 22), clutter_size=4, glimpse_size=4)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"^actions: expected (whole numbers|cells from 0 to 15)"):
        env.step(actions)


def test_what_is_peeked_at_is_shaped_and_seen_as_what_is_observed() -> None:
    settings: dict[str, Any] = {"images": make_images(), "size": (18, 22), "clutter_size": 4, "glimpse_size": 4}
    env = DiscreteGlimpseVectorEnv(2, grid=4, **settings)
    seen, _ = env.reset(seed=0)
    peeked = env.peek(seen["window"])
    assert peeked in env.observation_space["glimpse"]
    np.testing.assert_array_equal(peeked, seen["glimpse"])
    one = DiscreteGlimpseEnv(grid=4, **settings)
    seen, _ = one.reset(seed=0)
    np.testing.assert_array_equal(one.peek(seen["window"]), seen["glimpse"])
