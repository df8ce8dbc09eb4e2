"""Shapes are checked in all tests but the fuzz tests, whichever have run before in this process."""

import pytest
import torch

from ram_agent.estimators import leave_one_out
from tests.making import unchecked


def test_an_array_of_another_shape_is_refused() -> None:
    with pytest.raises(Exception, match="returns"):
        leave_one_out(torch.rand(4, 2), 2)  # type: ignore[arg-type]


def test_what_is_unchecked_ends_with_its_block_and_blocks_may_stand_in_one_another() -> None:
    with unchecked():
        with unchecked():
            pass
        leave_one_out(torch.rand(4, 2), 2)  # type: ignore[arg-type]
    with pytest.raises(Exception, match="returns"):
        leave_one_out(torch.rand(4, 2), 2)  # type: ignore[arg-type]
