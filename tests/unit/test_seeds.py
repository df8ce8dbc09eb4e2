"""Seeds as users write them."""

from typing import Any

import numpy as np
import pytest
import torch

from envs.glimpse import GlimpseVectorEnv
from envs.seeds import _whole, lane_seeds


@pytest.mark.parametrize(
    "seed",
    [
        7,
        np.int32(7),
        np.array(7),
        torch.tensor(7),
        [7, 8, 9],
        (7, 8, 9),
        np.array([7, 8, 9]),
        np.array([7, 8, 9], np.uint16),
    ],
    ids=repr,
)
def test_a_seed_means_the_same_however_it_is_written(seed: Any) -> None:
    named, seeds = lane_seeds(seed, 3)
    assert named.all()
    assert seeds.tolist() == [7, 8, 9]


@pytest.mark.parametrize("seed", [[2**63 + 5, 1, 2], np.array([2**63 + 5, 1, 2], np.uint64)], ids=["list", "array"])
def test_seeds_of_64_bits_mean_the_same_however_they_are_written(seed: Any) -> None:
    assert lane_seeds(seed, 3)[1].tolist() == [5, 1, 2]


def test_seeds_know_no_bound_and_lanes_may_have_none() -> None:
    named, seeds = lane_seeds([None, 2**63 + 5, 1], 3)
    assert named.tolist() == [False, True, True]
    assert seeds.tolist()[1:] == [5, 1]


@pytest.mark.parametrize(
    ("seed", "said"),
    [
        (-1, "seed: got -1, expected a whole number from 0 up"),
        (True, "seed: got True, expected a whole number from 0 up"),
        ([-1, 2, 3], "seed: got -1"),
        (np.array([1.0, 2.0, 3.0]), "seed: got"),
        (np.array([1, 2, -3]), "seed: got"),
        (torch.tensor([1.0, 2.0, 3.5]), "seed: got tensors of torch.float32, expected whole numbers from 0 up"),
        (torch.tensor([True, False, True]), "seed: got tensors of torch.bool"),
        ([1, 2], "seed: got 2 seeds, expected one integer or one for each of 3 lanes"),
    ],
    ids=repr,
)
def test_what_is_no_seed_is_refused(seed: Any, said: str) -> None:
    env = GlimpseVectorEnv(3, images="digits")
    with pytest.raises(ValueError, match=said):
        env.reset(seed=seed)


@pytest.mark.parametrize("seed", [1.5, "abc", np.float64(3), [1]], ids=repr)
def test_a_seed_of_another_type_is_refused(seed: Any) -> None:
    """Asked of what asks it: where types are checked, as in these tests, it comes no further."""
    with pytest.raises(ValueError, match=r"seed: got .*, expected a whole number from 0 up"):
        _whole(seed)
