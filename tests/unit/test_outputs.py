"""What cannot be written is known before the work: the option, the path and the remedy in one line."""

import subprocess
from pathlib import Path

import pytest

from ram_agent.cli.outputs import check_file, check_folder
from ram_agent.config import ConfigError


def refused(check, *given: object) -> str:
    with pytest.raises(ConfigError) as caught:
        check(*given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_can_be_written_passes_and_nothing_is_made(tmp_path: Path) -> None:
    check_folder("--out", tmp_path)
    check_folder("--out", tmp_path / "new" / "below")
    check_file("--confusion", str(tmp_path / "new" / "a.PNG"), ".png")
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_named_with_option_and_remedy(tmp_path: Path) -> None:
    (file := tmp_path / "file").write_text("kept")
    assert refused(check_folder, "--out", file) == f"--out: {file} is a file, expected a folder; choose another"
    below = refused(check_folder, "--out", file / "below" / "it")
    assert below == f"--out: cannot make {file}/below/it: Not a directory; choose a folder that can be written"
    assert "--confusion: cannot make" in refused(check_file, "--confusion", str(file / "below" / "a.png"), ".png")
    assert file.read_text() == "kept"


def test_permissions_that_root_has_and_a_file_system_refuses_are_no_proof() -> None:
    """In /proc nobody can make anything, though root is told it could."""
    assert "--out: cannot make /proc/out: " in refused(check_folder, "--out", Path("/proc/out"))
    assert "--out: cannot write in /proc: " in refused(check_folder, "--out", Path("/proc"))


def test_a_read_only_disk_is_known_before_anything_is_written(tmp_path: Path) -> None:
    (disk := tmp_path / "disk").mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", disk], capture_output=True)
    if made.returncode:
        pytest.skip(f"mount is not permitted here: {made.stderr.decode().strip()}")
    try:
        assert f"cannot make {disk}/new: Read-only file system" in refused(check_folder, "--out", disk / "new")
        assert f"cannot write in {disk}: Read-only file system" in refused(
            check_file, "--confusion", str(disk / "a.png"), ".png"
        )
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_name_too_long_is_one_line(tmp_path: Path) -> None:
    assert "File name too long" in refused(check_folder, "--out", tmp_path / ("a" * 300))


@pytest.mark.parametrize("name", ["a.jpg", "a.png.pdf", "matrix"])
def test_a_picture_is_not_written_under_the_suffix_of_another_format(name: str, tmp_path: Path) -> None:
    said = refused(check_file, "--confusion", str(tmp_path / name), ".png")
    assert said.startswith(f"--confusion: got {tmp_path / name}, expected a name that ends in .png: ")
