"""IDX, the file format of MNIST and of the sets made to replace it (Fashion-MNIST, KMNIST, ...).

A file is `00 00 type ndim`, then `ndim` sizes (big-endian uint32), then the values in row-major order; often
it is gzipped. Source: http://yann.lecun.com/exdb/mnist (section "the IDX file format").
"""

import gzip
import math
import re
import struct
import zlib
from io import BufferedIOBase
from pathlib import Path

import numpy as np

from envs.parts import SPLIT_NAMES, Part, most_bytes, refusal

UBYTE = 0x08  # the type byte of unsigned 8-bit values, the only type that image sets use
MAX_DIMS = 4  # images, height, width, channels
_CHUNK = 2**20
AGAIN = "fetch the file again"

_FILE_NAME = re.compile(r"(train|t10k|test|val|valid|validation)-(images|labels)[-.]idx\d-ubyte(\.gz)?")


def read_idx(path: str | Path) -> np.ndarray:
    """The array that an IDX file of unsigned bytes holds, plain or gzipped (told by content, not by name).

    Returns: uint8 array of 1 to 4 dimensions. Never reads more than the header promises, plus one byte.
    Raises: ImageError where the file cannot be read, is not IDX, is cut short, or goes on after its end.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if packed else path.open("rb") as stream:
            return _read_array(path, stream)
    except (OSError, EOFError, zlib.error) as error:  # of gzip: a bad CRC, a cut file, damaged data
        found = f"{type(error).__name__} ({getattr(error, 'strerror', None) or error})"
        raise refusal("IDX data", path, "a readable file, plain or gzipped", found, AGAIN) from error


def _read_array(path: Path, stream: BufferedIOBase) -> np.ndarray:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:3] != bytes([0, 0, UBYTE]) or not 1 <= magic[3] <= MAX_DIMS:
        expected = f"00 00 08 and 1 to {MAX_DIMS} dimensions (IDX of unsigned bytes)"
        raise refusal("magic number", path, expected, magic.hex(" ") or "an empty file", AGAIN)
    sizes = stream.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        expected = f"{4 + 4 * magic[3]} bytes for {magic[3]} dimensions"
        raise refusal("header", path, expected, f"{4 + len(sizes)} bytes", AGAIN)
    shape = struct.unpack(f">{magic[3]}I", sizes)
    count = math.prod(shape)
    if count > (most := most_bytes(path)):
        found = f"{count:,} promised by sizes {shape}"
        raise refusal("size", path, f"at most {most:,} bytes of values", found, AGAIN)
    values = bytearray()  # grown chunk by chunk: memory follows what is there, not what the header promises
    while len(values) <= count and (chunk := stream.read(min(_CHUNK, count + 1 - len(values)))):
        values += chunk
    if len(values) != count:
        found = "more" if len(values) > count else f"{len(values):,}"
        raise refusal("length", path, f"{count:,} bytes of values for sizes {shape}", found, AGAIN)
    return np.frombuffer(values, dtype=np.uint8).reshape(shape)


def find_idx(folder: Path) -> dict[tuple[str, str], Path]:
    """IDX files that lie in `folder` under their customary names: (split, "images" | "labels") → file.

    Splits are "train", "validation" and "test". Where a file lies there plain and gzipped, the plain one.
    """
    if not folder.is_dir():
        return {}
    found: dict[tuple[str, str], Path] = {}
    for path in sorted(folder.iterdir()):  # sorted puts the plain name before the same name with .gz
        if (match := _FILE_NAME.fullmatch(path.name)) and path.is_file():  # some unpack each into a folder of its name
            found.setdefault((SPLIT_NAMES[match[1]], match[2]), path)
    return found


def read_idx_folder(folder: Path, files: dict[tuple[str, str], Path]) -> dict[str, Part]:
    """The parts, by split, of the `files` that `find_idx` found in `folder`. Raises: ImageError."""
    parts: dict[str, Part] = {}
    for split in dict.fromkeys(split for split, _ in files):
        for role in ("images", "labels"):
            if (split, role) not in files:
                raise refusal(
                    "IDX files",
                    folder,
                    f"the {role} of the {split} split",
                    "only " + ", ".join(file.name for file in files.values()),
                    f"add the {role} file",
                )
        images, labels = files[split, "images"], files[split, "labels"]
        parts[split] = Part(read_idx(images), str(images), read_idx(labels), str(labels))
    return parts
