"""Picture files, and folders of them: a folder a class."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from envs.parts import SPLIT_NAMES, Part, refusal

BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm", ".pbm"}
GREY_MODES = {"1", "L", "LA"}
PALETTE_MODES = {"P", "PA"}
COLOUR_MODES = {"RGB", "RGBA", "CMYK", "YCbCr"}


def _visible(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def read_picture_folder(folder: Path) -> dict[str, Part]:
    """Pictures in class folders, these inside of train/, validation/ and test/ where there are such."""
    tops = {top: SPLIT_NAMES.get(top.name.lower()) for top in _visible(folder) if top.is_dir()}
    if None in tops.values() or not tops:
        return {"all": _read_class_folders(folder)}
    if len(set(tops.values())) < len(tops):
        found = ", ".join(top.name for top in tops)
        raise refusal("split folders", folder, "one folder a split", found, "merge those that mean the same")
    return {split: _read_class_folders(top) for top, split in tops.items() if split}


def _read_class_folders(folder: Path) -> Part:
    files: dict[Path, list[Path]] = {}
    for entry in _visible(folder):
        if entry.is_dir():
            files[entry] = [file for file in _visible(entry) if file.suffix.lower() in PICTURE_SUFFIXES]
            if not files[entry]:
                expected = "pictures (png, jpg, bmp, gif, ...)"
                raise refusal("class folder", entry, expected, "none", "add some or remove the folder")
    if not files:
        expected = "IDX files such as train-images-idx3-ubyte.gz, or a folder of pictures for each class"
        raise refusal("image source", folder, expected, "neither", "give the folder that holds them")
    pictures = [(file, read_picture(file)) for group in files.values() for file in group]
    first, (height, width, _) = pictures[0][0], pictures[0][1].shape
    for file, pixels in pictures:
        if pixels.shape[:2] != (height, width):
            found = f"{pixels.shape[0]}x{pixels.shape[1]}"
            expected = f"{height}x{width} (height x width) as in {first}"
            raise refusal("picture size", file, expected, found, "resize or crop all pictures to one size")
    channels = max(pixels.shape[2] for _, pixels in pictures)  # one colour picture makes all of them RGB
    stacked = np.stack([np.broadcast_to(pixels, (height, width, channels)) for _, pixels in pictures])
    labels = np.array([entry.name for entry, group in files.items() for _ in group])
    return Part(stacked, str(folder), labels, str(folder))


def read_picture(file: Path) -> np.ndarray:
    """(H, W, 1) if grey, else (H, W, 3). What is transparent becomes background, which is 0."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file) as opened:
                picture = opened.copy()
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
