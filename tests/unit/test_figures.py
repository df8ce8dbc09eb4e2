"""Pictures of a run: the data that went in stands in the picture, at the right place, and files are whole."""

import io
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle
from PIL import Image

from ram_agent import figures
from ram_agent.figures import RIGHT, UNSEEN, WRONG, Gaze
from ram_agent.sensor import make_sensor

CLASSES = tuple("0123456789")


def make_gaze(
    lanes: int = 3,
    looks: int = 4,
    size: tuple[int, int] = (24, 36),
    channels: int = 1,
    scales: int = 2,
    kind: str = "crop",
) -> Gaze:
    """Random canvases, looked at at random places; even lanes answer right, odd ones wrong."""
    generator = torch.Generator().manual_seed(0)
    canvas = torch.rand(lanes, channels, *size, generator=generator)
    sensor = make_sensor(kind, size=6, scales=scales)
    actions = 2 * torch.rand(looks, lanes, sensor.window_parameters, generator=generator) - 1
    windows = [sensor.window(action) for action in actions]
    target = torch.arange(lanes) % 10
    answers = (target + torch.arange(lanes) % 2).expand(looks, lanes) % 10
    return Gaze(
        canvas,
        torch.stack([sensor.boxes(window, size) for window in windows]),
        torch.stack([sensor(canvas, window) for window in windows]),
        target,
        answers,
        torch.linspace(0.1, 0.9, looks)[:, None].expand(looks, lanes),
        CLASSES,
    )


SHAPES = [
    {},
    {"channels": 3},
    {"lanes": 1, "looks": 1, "scales": 1},
    {"size": (60, 20), "lanes": 5},
    {"kind": "gaussian", "channels": 3},
    {"kind": "stn", "looks": 12},
]


def render(figure: Figure) -> np.ndarray:
    agg = FigureCanvasAgg(figure)
    agg.draw()
    return np.asarray(agg.buffer_rgba())[..., :3].copy()


def has_colour(picture: np.ndarray, colour: str) -> bool:
    wanted = np.rint(255 * np.array(to_rgb(colour)))
    return bool((abs(picture.astype(float) - wanted).max(axis=-1) <= 1).any())


# ---------------------------------------------------------------- where the agent looked


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_gaze_can_be_drawn(shape: dict) -> None:
    gaze = make_gaze(**shape)
    assert render(figures.glimpse_paths(gaze)).std() > 0
    assert render(figures.glimpse_strip(gaze, len(gaze.target) - 1)).std() > 0
    assert len(figures.gaze_frames(gaze, 1, 2)) == len(gaze.boxes) + 1


def test_paths_put_canvas_windows_and_dots_where_the_sensor_had_them() -> None:
    gaze = make_gaze(channels=3)
    figure = figures.glimpse_paths(gaze)
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
    figure = figures.glimpse_paths(gaze._replace(canvas=canvas, boxes=torch.tensor([[[[0.0, 16.0, 6.0, 22.0]]]])))
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
    axes = figures.glimpse_paths(make_gaze()).axes
    assert [(ax.get_title(), ax.title.get_color()) for ax in axes] == [
        ("0 → 0 ✓", RIGHT),
        ("1 → 2 ✗", WRONG),
        ("2 → 2 ✓", RIGHT),
    ]


def test_a_strip_shows_every_scale_of_every_look_and_the_belief_below() -> None:
    gaze = make_gaze(channels=3, looks=3, scales=2)
    figure = figures.glimpse_strip(gaze, 1)
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


# ---------------------------------------------------------------- animation


@pytest.mark.parametrize("shape", SHAPES)
def test_an_animation_has_one_frame_a_look_and_the_verdict(shape: dict) -> None:
    gaze = make_gaze(**shape)
    frames = figures.gaze_frames(gaze, 2, 1)
    assert len(frames) == len(gaze.boxes) + 1
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
    four, many = figures.gaze_frames(gaze, 2, 2)[0], figures.gaze_frames(gaze, 9, 2)[0]
    assert four.shape == many.shape
    assert figures.gaze_frames(gaze, 1, 2)[0].shape[0] < four.shape[0]


def test_the_agent_has_seen_what_it_read_and_nothing_else() -> None:
    gaze = make_gaze(lanes=1, looks=3, scales=1, channels=3)
    seen = figures._Seen(gaze, 0, zoom=2)
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
    seen = figures._Seen(gaze._replace(boxes=boxes, glimpses=glimpses), 0, zoom=1)
    seen.add(0)
    seen.add(1)
    level = seen.picture[..., 0]
    assert (level[9:15, 9:21] == round(0.9 * 255)).all()
    assert level[7, 20] == round(0.5 * 255)
    assert level[2, 2] == round(0.1 * 255)
    assert level[2, 35] == UNSEEN


# ---------------------------------------------------------------- files


def test_a_gif_holds_every_frame_for_its_time_loops_and_keeps_its_colours(tmp_path: Path) -> None:
    frames = figures.gaze_frames(make_gaze())
    path = tmp_path / "figures" / "paths.gif"  # the folder is made
    figures.write_gif(frames, path, fps=4, hold=3)
    assert path.read_bytes() == figures.encode_gif(frames, fps=4, hold=3)
    durations = []
    with Image.open(path) as animation:
        assert animation.n_frames == len(frames)
        assert animation.info["loop"] == 0
        for number, frame in enumerate(frames):
            animation.seek(number)
            durations.append(animation.info["duration"])
            decoded = np.asarray(animation.convert("RGB"), float)
            assert (decoded[:5] == 255).all()
            assert abs(decoded - frame).mean() < 4
    assert durations == [250] * (len(frames) - 1) + [3000]


def test_a_gif_needs_a_frame_and_a_speed() -> None:
    with pytest.raises(ValueError, match="frames: got none"):
        figures.encode_gif([])
    with pytest.raises(ValueError, match="fps: got 0"):
        figures.encode_gif([np.zeros((4, 4, 3), np.uint8)], fps=0)


@pytest.mark.parametrize("broken", ["write", "replace"])
@pytest.mark.parametrize("name", ["curves.png", "paths.gif"])
def test_a_failing_write_leaves_the_old_file_and_nothing_else(
    name: str, broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    path.write_bytes(b"old")
    write = Path.write_bytes

    def half(self: Path, data: bytes) -> int:
        write(self, data[: len(data) // 2])
        raise OSError("disk full")

    def refuse(*_: object) -> None:
        raise OSError("disk full")

    if broken == "write":
        monkeypatch.setattr(Path, "write_bytes", half)
    else:
        monkeypatch.setattr(os, "replace", refuse)
    frames = [np.zeros((4, 4, 3), np.uint8)]
    with pytest.raises(OSError, match="disk full"):
        figures.write_figure(Figure(), path) if name.endswith("png") else figures.write_gif(frames, path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == [name]


def test_a_figure_is_written_at_a_fixed_resolution_and_to_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        figures.write_figure(figures.error_by_glimpse({"crop": [50, 20, 10]}), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(io.BytesIO((tmp_path / "a.png").read_bytes())) as picture:
        assert picture.size == (round(4.2 * figures.DPI), round(2.9 * figures.DPI))
    assert (tmp_path / "a.png").stat().st_mode & 0o444 == 0o444 & ~current_umask()


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_nothing_imports_pyplot_or_an_environment() -> None:
    code = "import sys, ram_agent.figures; sys.exit('matplotlib.pyplot' in sys.modules or 'envs' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---------------------------------------------------------------- how well it did


def lines(figure: Figure, panel: int) -> dict[str, list[tuple[float, float]]]:
    drawn = {}
    for line in figure.axes[panel].lines:
        label = str(line.get_label())
        if not label.startswith("_"):
            points = np.asarray(line.get_xydata()).tolist()
            drawn[label] = [(x, y) for x, y in points]
    return drawn


def test_curves_join_the_rows_that_have_them() -> None:
    rows = [
        {"time/episodes": 100, "train/error": 90.0, "train/loss": 2.5, "train/reinforce_loss": -0.5},
        {"time/episodes": 200, "train/error": float("nan"), "eval/error": 80.0, "train/loss": ""},
        {"time/episodes": 300, "train/error": 70.0, "train/loss": 1.5, "note": None},
        {"train/error": 1.0},
    ]
    figure = figures.learning_curves(rows)
    render(figure)
    assert lines(figure, 0) == {"training": [(100, 90), (300, 70)], "validation": [(200, 80)]}
    assert lines(figure, 1) == {"total": [(100, 2.5), (300, 1.5)], "reinforce": [(100, -0.5)]}
    assert figure.axes[0].get_ylim()[0] == 0


def test_curves_fall_back_on_the_reward_and_bear_having_no_rows() -> None:
    figure = figures.learning_curves([{"time/episodes": 5, "rollout/reward": 0.25}])
    assert lines(figure, 0) == {"training": [(5, 0.25)]}
    assert figure.axes[0].get_ylabel() == "mean reward"
    assert render(figures.learning_curves([])).std() > 0


def test_curves_know_the_learner_s_names_and_leave_out_terms_that_it_does_not_have() -> None:
    rows = [{"time/episodes": n, "rollout/error": 50.0, "train/baseline_loss": 0.0, "train/loss": 1.0} for n in (1, 2)]
    figure = figures.learning_curves(rows)
    assert lines(figure, 0) == {"training": [(1, 50), (2, 50)]}
    assert lines(figure, 1) == {"total": [(1, 1), (2, 1)]}


def test_an_error_that_falls_by_more_than_ten_times_is_drawn_on_a_logarithmic_axis() -> None:
    def scale(last: float) -> str:
        rows = [{"time/episodes": 1, "eval/error": 90.0}, {"time/episodes": 2, "eval/error": last}]
        return figures.learning_curves(rows).axes[0].get_yscale()

    assert [scale(last) for last in (5.0, 20.0, 0.0)] == ["log", "linear", "linear"]


def test_a_confusion_matrix_has_targets_in_rows_and_their_shares_as_colour() -> None:
    counts = torch.tensor([[3, 1, 0], [0, 0, 0], [0, 5, 5]])
    figure = figures.confusion_matrix(counts, "abc")
    ax = figure.axes[0]
    shown = np.asarray(ax.images[0].get_array())
    np.testing.assert_allclose(shown, [[75, 25, 0], [0, 0, 0], [0, 50, 50]])
    numbers = {text.get_position(): text.get_text() for text in ax.texts}
    assert numbers == {(0, 0): "3", (1, 0): "1", (1, 2): "5", (2, 2): "5"}  # (column, row)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("answer", "target")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b", "c"]
    bottom, top = ax.get_ylim()
    assert bottom > top  # the first target stands above
    render(figure)


@pytest.mark.parametrize(("number", "written"), [(12, True), (13, False), (40, False)])
def test_only_small_confusion_matrices_carry_numbers(number: int, written: bool) -> None:
    counts = torch.ones(number, number, dtype=torch.int64)
    figure = figures.confusion_matrix(counts, [str(k) for k in range(number)])
    assert bool(figure.axes[0].texts) is written
    render(figure)


def test_error_by_glimpse_counts_from_one() -> None:
    figure = figures.error_by_glimpse({"crop": [50, 20, 10], "random": [80, 70]})
    assert lines(figure, 0) == {"crop": [(1, 50), (2, 20), (3, 10)], "random": [(1, 80), (2, 70)]}
    for curves in ({"crop": [0.0]}, {}):
        render(figures.error_by_glimpse(curves))


def test_a_fixation_map_shows_shares_with_the_first_row_on_top() -> None:
    density = torch.zeros(4, 8)
    density[0, 7], density[2, 1] = 3, 1
    figure = figures.fixation_map(density)
    picture, ax = render(figure), figure.axes[0]
    assert np.asarray(ax.images[0].get_array()).sum() == pytest.approx(100)
    brightness = {}
    for place, (x, y) in {"upper right": (7 / 8, -3 / 4), "lower left": (-5 / 8, 1 / 4), "empty": (0.1, 0.7)}.items():
        across, up = ax.transData.transform((x, y))
        brightness[place] = int(picture[round(len(picture) - 1 - up), round(across)].astype(int).sum())
    assert brightness["upper right"] > brightness["lower left"] > brightness["empty"]
    box = ax.get_window_extent()
    assert box.width / box.height == pytest.approx(2, rel=0.01)  # cells are square
    render(figures.fixation_map(torch.zeros(3, 3)))
