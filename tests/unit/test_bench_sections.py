"""What the sections count, and what they say of software that is not there."""

import sys

import pytest
import torch

from ram_agent.bench.environment import ABSENT, NEIGHBOUR, environment_tables
from ram_agent.bench.picture import cost_by_canvas
from ram_agent.bench.sensor import SIDES, least_bytes, sensor_tables
from ram_agent.bench.settings import Settings
from ram_agent.bench.training import THEIRS, training_tables
from ram_agent.sensor import Bilinear, Crop, Gaussian

SMOKE = Settings(torch.device("cpu"), rounds=1, batch=4, smoke=True)


def test_the_least_bytes_of_a_glimpse_are_those_counted_by_hand() -> None:
    canvas = torch.zeros(1, 1, 60, 60, dtype=torch.uint8)  # a byte a pixel is read, four a sample are written
    itself = 4 * 3 * 12 * 12
    centre = torch.zeros(1, 6)
    assert least_bytes(Gaussian(), centre, canvas) == 60 * 60 + itself
    assert least_bytes(Crop(), centre[:, :2], canvas) == 48 * 48 + itself
    assert least_bytes(Crop(scales=1), centre[:, :2], canvas) == 12 * 12 + 4 * 12 * 12
    corner = torch.tensor([[1.0, 1.0]])  # the centre of the window lies on the corner: a quarter of it on the canvas
    assert least_bytes(Crop(reach=1.0), corner, canvas) == 24 * 24 + itself
    one, two = Bilinear(strides=(1.0, 1.0)), Bilinear(strides=(2.0, 2.0))
    assert least_bytes(one, centre[:, :4], canvas) == 48 * 48 + itself
    assert least_bytes(two, centre[:, :4], canvas) == 60 * 60 + itself  # wider than the canvas: clipped to it
    assert least_bytes(two, centre[:, :4], torch.zeros(1, 3, 240, 240, dtype=torch.uint8)) == 3 * (96 * 96 + itself)


def test_what_is_not_installed_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ap_gym", None)
    rows = environment_tables(SMOKE)[0].records()
    assert [(row["note"], row["steps/s"]) for row in rows if row["environment"] == NEIGHBOUR] == [(ABSENT, None)]
    assert ABSENT == "not installed: pip install 'ram-agent[bench]'"


def test_training_goes_on_without_stable_baselines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "envs.sb3", None)
    rows = training_tables(SMOKE)[0].records()
    absent = [row for row in rows if row["glimpses/s"] is None]
    assert [row["learner"] for row in absent] == list(THEIRS)
    assert all(str(row["note"]).startswith("not available") for row in absent)
    assert len(rows) == 6 + 2 + len(THEIRS)  # three attentions at two cores, hard attention also in half precision


def test_canvases_beyond_the_memory_bound_are_skipped_with_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ram_agent.bench.sensor.LARGEST", 60 * 60)
    rows = sensor_tables(SMOKE)[0].records()
    skipped = [(row["side"], row["batch"]) for row in rows if str(row["note"]).startswith("skipped")]
    assert skipped == [(60, 4)]
    assert len(rows) == 3 * 3 + 1


def test_the_picture_has_a_curve_for_each_kernel_over_the_sides_that_were_measured() -> None:
    table = sensor_tables(SMOKE)[0]
    (axes,) = cost_by_canvas(table).axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert len(axes.lines) == 3
    for line in axes.lines:
        assert list(line.get_xdata()) == [28, 60]
    gaussian, stn, _ = axes.lines
    rows = {(row["kernel"], row["side"]): row for row in table.records() if row["batch"] == 4}
    for line, name in ((gaussian, "gaussian"), (stn, "stn")):
        both, prepare = rows[name, 28]["µs with gradient"], rows[name, 28]["µs prepare"]
        # Preparation is spread over the glimpses. With a single round the median of sums is the sum of medians.
        assert line.get_ydata()[0] == pytest.approx(both.median + prepare.median / 6)
    assert max(SIDES) == 480
