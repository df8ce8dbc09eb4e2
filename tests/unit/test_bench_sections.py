"""What the sections count, and what they say of software that is not there."""

import sys
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from ram_agent import replay
from ram_agent.bench import training
from ram_agent.bench.environment import ABSENT, NEIGHBOUR, environment_tables
from ram_agent.bench.picture import cost_by_canvas
from ram_agent.bench.sensor import SIDES, least_bytes, sensor_tables
from ram_agent.bench.settings import Settings
from ram_agent.bench.subject import make_learner
from ram_agent.bench.training import THEIRS, training_tables
from ram_agent.sensor import Bilinear, Crop, Gaussian
from ram_agent.timing import Candidate, Timing

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
    assert ABSENT == "not installed: pip install ap_gym (in a checkout: pip install -e '.[bench]')"


def test_training_goes_on_without_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sb3_contrib", None)
    rows = training_tables(SMOKE)[0].records()
    absent = [row for row in rows if row["glimpses/s"] is None]
    assert [row["learner"] for row in absent] == [name for name in THEIRS if name.startswith("RecurrentPPO")]
    for row in absent:
        assert row["note"] == "not installed: pip install sb3-contrib (in a checkout: pip install -e '.[bench]')"
    assert len(rows) == 6 + 2 + len(THEIRS)  # three attentions at two cores, hard attention also in half precision


def test_what_is_timed_of_a_cuda_graph_is_its_replays(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the GPU: what happened from a candidate's first timed call on, its warming up included."""
    happened: list[str] = []
    told: dict[str, list[str]] = {}

    def timed(candidates: Mapping[str, Candidate], *_: Any, **__: Any) -> dict[str, Timing]:
        for name, (function, _) in candidates.items():
            happened.clear()
            function()
            told[name] = happened.copy()
        return dict.fromkeys(candidates, Timing((1.0,)))

    def stand_in(kind: str, batch: int, device: torch.device, **settings: Any) -> Any:
        return make_learner(kind, batch, torch.device("cpu"), **settings)

    monkeypatch.setattr(replay, "aside_cuda", lambda function, _: (happened.append("aside"), function())[1])
    monkeypatch.setattr(replay, "record_cuda", lambda function, _: lambda: (happened.append("replay"), function())[1])
    monkeypatch.setattr(training, "make_learner", stand_in)
    monkeypatch.setattr(training, "compare", timed)
    monkeypatch.setattr(training, "CORES", training.CORES[:1])
    monkeypatch.setattr(training, "THEIRS", ())
    training_tables(Settings(torch.device("cuda"), batch=2))
    graphs = [calls for name, calls in told.items() if "CUDA graph" in name]
    assert graphs == [["replay"]] * 3 * 2  # of three attentions, in full and half precision
    assert [calls for name, calls in told.items() if "CUDA graph" not in name] == [[]] * 3 * 2


def test_canvases_beyond_the_memory_bound_are_skipped_with_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ram_agent.bench.sensor.LARGEST", 60 * 60)
    rows = sensor_tables(SMOKE)[0].records()
    skipped = [(row["side"], row["batch"]) for row in rows if str(row["note"]).startswith("skipped")]
    assert skipped == [(60, 4)]
    assert len(rows) == 3 * 3 + 1


def test_the_kernel_that_ratios_are_against_has_the_ratio_1() -> None:
    """In all, with its share of the preparation, which a Gaussian has."""
    rows = [row for row in sensor_tables(SMOKE)[0].records() if row["kernel"] == "gaussian"]
    assert rows
    for row in rows:
        for ratio in ("ratio", "ratio forward", "ratio with gradient"):
            assert row[ratio] == pytest.approx(1)


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
