"""Files of pictures: whole or untouched, the same bytes for the same picture."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from ram_agent.animation import gaze_frames
from ram_agent.figures import error_by_glimpse
from ram_agent.pictures import DPI, encode_gif, write_figure, write_gif
from tests.drawing import make_gaze


def test_a_gif_holds_every_frame_for_its_time_loops_and_keeps_its_colours(tmp_path: Path) -> None:
    frames = gaze_frames(make_gaze())
    path = tmp_path / "figures" / "paths.gif"  # the folder is made
    write_gif(frames, path)
    assert path.read_bytes() == encode_gif(frames)
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
    assert durations == [500] * (len(frames) - 1) + [2000]


def test_a_gif_needs_a_frame() -> None:
    with pytest.raises(ValueError, match="frames: got none"):
        encode_gif([])


@pytest.mark.parametrize("broken", ["write", "replace"])
@pytest.mark.parametrize("name", ["curves.png", "paths.gif"])
def test_a_failing_write_leaves_the_old_file_and_nothing_else(
    name: str, broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    path.write_bytes(b"old")

    def refuse(*_: object) -> None:
        raise OSError("disk full")

    if broken == "write":
        monkeypatch.setattr(os, "fsync", refuse)
    else:
        monkeypatch.setattr(os, "replace", refuse)
    frames = [np.zeros((4, 4, 3), np.uint8)]
    with pytest.raises(OSError, match="disk full"):
        write_figure(Figure(), path) if name.endswith("png") else write_gif(frames, path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == [name]


def test_a_figure_is_written_at_a_fixed_resolution_and_to_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        write_figure(error_by_glimpse({"crop": [50, 20, 10]}), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(io.BytesIO((tmp_path / "a.png").read_bytes())) as picture:
        assert picture.size == (round(4.2 * DPI), round(2.9 * DPI))
    assert (tmp_path / "a.png").stat().st_mode & 0o444 == 0o444 & ~current_umask()


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
