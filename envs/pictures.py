"""Picture files, folders of them (a folder a class), and pictures scaled and laid on black."""

import os
import shlex
import warnings
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps

from envs.parts import SPLIT_NAMES, ImageWarning, Part, refusal, scaled_in_python

BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm", ".pbm"}
GREY_MODES = {"1", "L", "LA"}
PALETTE_MODES = {"P", "PA"}
COLOUR_MODES = {"RGB", "RGBA", "CMYK", "YCbCr"}
NAMED = 5
"""Class folders that a warning names."""


def _visible(folder: Path) -> list[Path]:
    """In the order of their names, by which images are dealt: paths are in another one on Windows."""
    return sorted((entry for entry in folder.iterdir() if not entry.name.startswith(".")), key=lambda entry: entry.name)


def is_picture(path: Path) -> bool:
    """Whether a file's name says that it is a picture."""
    return path.suffix.lower() in PICTURE_SUFFIXES


def read_picture_folder(folder: Path, size: tuple[int, int] | None = None) -> dict[str, Part]:
    """Pictures in class folders, these inside of train/, validation/ and test/ where there are such.

    size: (height, width) to scale them to; None: they are of one size.
    """
    tops = {top: SPLIT_NAMES.get(top.name.lower()) for top in _visible(folder) if top.is_dir()}
    if None in tops.values() or not tops:
        return {"all": _read_class_folders(folder, size)}
    if len(set(tops.values())) < len(tops):
        found = ", ".join(top.name for top in tops)
        raise refusal("split folders", folder, "one folder a split", found, "merge those that mean the same")
    parts = {split: _read_class_folders(top, size) for top, split in tops.items() if split}
    channels = max(part.pixels.shape[3] for part in parts.values())  # likewise of all splits
    return {split: part._replace(pixels=in_channels(part.pixels, channels)) for split, part in parts.items()}


def _below(folder: Path) -> int:
    """How many pictures lie in a sub-folder of a class folder, however deep."""
    count = 0
    for _, folders, names in os.walk(folder):  # which follows no links
        folders[:] = [name for name in folders if not name.startswith(".")]
        count += sum(is_picture(Path(name)) and not name.startswith(".") for name in names)
    return count


def _read_class_folders(folder: Path, size: tuple[int, int] | None) -> Part:
    files: dict[Path, list[Path]] = {}
    unread: dict[Path, int] = {}
    for entry in _visible(folder):
        if entry.is_dir():
            within = _visible(entry)  # many, and listed once
            files[entry] = [file for file in within if is_picture(file)]
            others = (each for each in within if not is_picture(each))
            if deeper := sum(_below(each) for each in others if each.is_dir() and not each.is_symlink()):
                unread[entry] = deeper
            if not files[entry]:
                expected = "pictures (png, jpg, bmp, gif, ...)"
                found, remedy = "none", "add some or remove the folder"
                if deeper:
                    found, remedy = f"none but {deeper:,} in sub-folders of it", "move them up into it"
                raise refusal("class folder", entry, expected, found, remedy)
    if unread:
        _warn_of_unread(folder, unread)
    if not files:
        expected = "IDX files such as train-images-idx3-ubyte.gz, or a folder of pictures for each class"
        raise refusal("image source", folder, expected, *_found_instead(folder))
    pictures: list[np.ndarray] = []
    first, *_ = names = [file for group in files.values() for file in group]
    for file in names:
        pixels = _read_at(file, size)
        height, width, _ = pictures[0].shape if pictures else pixels.shape
        if pixels.shape[:2] != (height, width):  # told at once: photographs of many sizes may not all fit into memory
            found = f"{pixels.shape[0]}x{pixels.shape[1]}"
            expected = f"{height}x{width} (height x width) as in {first}"
            how = f"--images.size 28,28, say (in Python: {scaled_in_python(28, 28)})"
            remedy = f"have all scaled to one size, no larger than the canvas: {how}"
            raise refusal("picture size", file, expected, found, remedy)
        pictures.append(pixels)
    channels = max(pixels.shape[2] for pixels in pictures)  # one colour picture makes all of them RGB
    stacked = np.stack([in_channels(pixels, channels) for pixels in pictures])
    labels = np.array([entry.name for entry, group in files.items() for _ in group])
    return Part(stacked, str(folder), labels, str(folder))


def _warn_of_unread(folder: Path, unread: dict[Path, int]) -> None:
    count, named = sum(unread.values()), ", ".join(entry.name for entry in [*unread][:NAMED])
    more = f" and {len(unread) - NAMED} more" if len(unread) > NAMED else ""
    what, are = (f"{count:,} pictures", "are") if count > 1 else ("1 picture", "is")
    line = f"{folder}: {what} in sub-folders of {named}{more} {are} not read; move up what belongs to the class"
    warnings.warn(" ".join(line.splitlines()), ImageWarning, stacklevel=2)


def _found_instead(folder: Path) -> tuple[str, str]:
    """What a folder without class folders has in their place, and the remedy."""
    suffixes = Counter(entry.suffix for entry in _visible(folder) if is_picture(entry))
    if not suffixes:
        return "neither", "give the folder that holds them"
    shown = " ".join(f"{shlex.quote(str(folder))}/*{suffix}" for suffix, _ in suffixes.most_common())
    remedy = f"put them into a folder for each class, or, to be shown to an agent: evaluate, render --images {shown}"
    return "pictures without labels", remedy


def _read_at(file: Path, size: tuple[int, int] | None) -> np.ndarray:
    """Scaled one by one: a folder of photographs as they are would not fit into memory."""
    pixels = read_picture(file)
    return pixels if size is None else lay(pixels, size, size).pixels


class Laid(NamedTuple):
    """A picture, scaled, in the middle of a black canvas."""

    pixels: UInt8[np.ndarray, "height width channels"]
    corner: tuple[int, int]
    """(x, y) of the picture's upper left corner on the canvas."""
    scale: tuple[float, float]
    """Pixels of the canvas that a pixel of the picture is (wide, high)."""

    def on_picture(self, points: Float[np.ndarray, "*batch 2"]) -> Float[np.ndarray, "*batch 2"]:
        """(x, y) in pixels of the canvas → in pixels of the picture."""
        return (points - np.array(self.corner)) / np.array(self.scale)


def lay(pixels: UInt8[np.ndarray, "tall wide channels"], within: tuple[int, int], canvas: tuple[int, int]) -> Laid:
    """A picture, whole and in its own proportions, as large as `within` allows, in the middle of `canvas`.

    Sizes are (height, width). Smaller pictures are enlarged; Lanczos, at 8 bits.
    """
    height, width, channels = pixels.shape
    scale = min(within[0] / height, within[1] / width)
    tall, wide = max(1, round(height * scale)), max(1, round(width * scale))
    if (tall, wide) != (height, width):
        picture = Image.fromarray(pixels if channels > 1 else pixels[..., 0])
        scaled = np.asarray(picture.resize((wide, tall), Image.Resampling.LANCZOS))
        pixels = scaled.reshape(tall, wide, channels)
    row, column = (canvas[0] - tall) // 2, (canvas[1] - wide) // 2
    laid = np.zeros((*canvas, channels), np.uint8)
    laid[row : row + tall, column : column + wide] = pixels
    return Laid(laid, (column, row), (wide / width, tall / height))


def in_channels(pixels: UInt8[np.ndarray, "*batch height width channels"], channels: int) -> np.ndarray:
    """Grey pictures in three equal channels, coloured ones by their luminance (ITU-R 601, as Pillow has it)."""
    if pixels.shape[-1] == channels:
        return pixels
    if channels == 3:
        return np.broadcast_to(pixels, (*pixels.shape[:-1], 3))
    return np.asarray(Image.fromarray(pixels).convert("L"))[..., None]


def read_picture(file: Path) -> np.ndarray:
    """(H, W, 1) if grey, else (H, W, 3), turned as its EXIF says. What is transparent becomes background, which is 0.

    Raises: ImageError.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file) as opened:
                picture = ImageOps.exif_transpose(opened)
    except (OSError, EOFError, SyntaxError, ValueError, *BOMBS) as error:
        found = f"{type(error).__name__} ({error})"
        raise refusal("picture", file, "a readable picture", found, "replace or remove it") from error
    mode = picture.mode
    if mode not in GREY_MODES | PALETTE_MODES | COLOUR_MODES:
        raise refusal("picture", file, "8 bits a channel", f"mode {mode}", "convert it to 8 bits")
    if mode in {"LA", "PA", "RGBA"} or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "black"), picture)
    pixels = np.asarray(picture.convert("RGB"))
    # A palette says nothing about colour: GIF stores grey pictures with one, too.
    grey = mode in GREY_MODES or (mode in PALETTE_MODES and bool((pixels == pixels[..., :1]).all()))
    return pixels[..., :1] if grey else pixels
