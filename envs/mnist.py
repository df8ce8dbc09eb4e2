"""MNIST (LeCun et al. 1998), found or fetched, and verified; and the embedded digits that stand in for it."""

import hashlib
import os
import struct
import time
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pooch
from PIL import Image

from envs.idx import find_idx, read_idx_folder
from envs.parts import ImageError, Part, refusal

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
# SHA-256 of the four files as the mirrors serve them: what a download is held against.
PACKED_SHA256 = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
# SHA-256 of their content, unpacked: what every file is held against. Gzip may pack equal bytes differently.
CONTENT_SHA256 = {
    ("train", "images"): "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ("train", "labels"): "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ("test", "images"): "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ("test", "labels"): "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
REMEDIES = (
    "give the folder that holds the four IDX files as --images.folder, or name it in the environment "
    "variable RAM_AGENT_DATA, or connect to the network (the source mnist waits longer for it than auto)"
)


class MnistNotAtHand(ImageError):
    """MNIST lies nowhere that was looked and could not be fetched. A damaged MNIST is a plain ImageError."""


def cache_folder() -> Path:
    """Where a download is kept, e.g. `~/.cache/ram-agent/mnist`."""
    return Path(pooch.os_cache("ram-agent")) / "mnist"


def load_mnist(folder: str | Path | None, fetch_seconds: float) -> dict[str, Part]:
    """MNIST as published: "train" (60,000) and "test" (10,000), pixels (n, 28, 28) and labels (n,) in uint8.

    Looks in `folder` and nowhere else where one is given; else in the folder that RAM_AGENT_DATA names, then
    in the user's cache; in each also in `mnist` and `MNIST/raw`. What is in none of them is fetched into the
    cache, for at most `fetch_seconds` (0: not at all).
    Raises: MnistNotAtHand; ImageError where `folder` holds no MNIST or a file is not MNIST to the byte.
    """
    if folder is not None:
        files = _find(Path(folder).expanduser())
        if not _complete(files):
            raise refusal(
                "MNIST",
                folder,
                "train and t10k images and labels as IDX files, there or in mnist/ or MNIST/raw/",
                _listing(files),
                "give another --images.folder, or none to use RAM_AGENT_DATA, the cache or the network",
            )
        return _read_verified(files)
    named = os.environ.get("RAM_AGENT_DATA")
    places = [*([Path(named).expanduser()] if named else []), cache_folder()]
    for place in places:
        if _complete(files := _find(place)):
            return _read_verified(files)
    failure = _fetch(cache_folder(), fetch_seconds) if fetch_seconds > 0 else "not asked for"
    if failure:
        looked = ", ".join(str(place) for place in places)
        unset = "" if named else " (RAM_AGENT_DATA is not set)"
        found = f"none of them complete{unset} and no download ({failure})"
        raise MnistNotAtHand(f"MNIST: looked in {looked}: expected its four IDX files, found {found}; {REMEDIES}")
    return _read_verified(find_idx(cache_folder()))


def _find(place: Path) -> dict[tuple[str, str], Path]:
    """IDX files of the first complete folder among `place` and its customary sub-folders, else of `place`."""
    folders = [find_idx(folder) for folder in (place, place / "mnist", place / "MNIST" / "raw")]
    return next((files for files in folders if _complete(files)), folders[0])


def _complete(files: dict[tuple[str, str], Path]) -> bool:
    return CONTENT_SHA256.keys() <= files.keys()


def _listing(files: dict[tuple[str, str], Path]) -> str:
    return "only " + ", ".join(path.name for path in files.values()) if files else "none of them"


def _read_verified(files: dict[tuple[str, str], Path]) -> dict[str, Part]:
    files = {slot: files[slot] for slot in CONTENT_SHA256}
    parts = read_idx_folder(next(iter(files.values())).parent, files)
    for (split, role), expected in CONTENT_SHA256.items():
        array = parts[split].pixels if role == "images" else parts[split].labels
        header = struct.pack(f">4B{array.ndim}I", 0, 0, 0x08, array.ndim, *array.shape)
        digest = hashlib.sha256(header)
        digest.update(array.data)
        if digest.hexdigest() != expected:
            raise refusal(
                f"MNIST content ({split} {role})",
                files[split, role],
                f"sha256 {expected}",
                digest.hexdigest(),
                "delete the file to have it fetched again; for another set give its folder as the source",
            )
    return parts


class _Deadline:
    """Stops a late download: pooch tells its progress bar about every chunk, and this one may object."""

    total = 0

    def __init__(self, moment: float):
        self.moment = moment

    def update(self, _: int) -> None:
        if time.monotonic() > self.moment:
            raise TimeoutError("out of time")

    def reset(self) -> None:
        """Part of pooch's protocol."""

    def close(self) -> None:
        """Part of pooch's protocol."""


def _fetch(target: Path, seconds: float) -> str:
    """Fetches what `target` lacks, mirror after mirror; "" where all is there, else why not.

    Runs in a daemon thread because name resolution obeys no time-out: whatever hangs, the caller goes on
    after `seconds`.
    """
    moment = time.monotonic() + seconds
    # A silent mirror may use up a third of the time, so that its neighbour still has its turn.
    timeout = min(10.0, seconds / 3)
    failures: list[str] = []
    done: list[bool] = []
    pooch.get_logger().setLevel("WARNING")  # what went wrong is in our own line, all of it
    http_downloader: Any = pooch.HTTPDownloader  # its type hints know neither progress bars nor pooch.retrieve

    def visit_mirrors() -> None:
        for mirror in MIRRORS:
            downloader = http_downloader(_Deadline(moment), chunk_size=2**16, timeout=timeout)
            try:
                for name, sha256 in PACKED_SHA256.items():
                    pooch.retrieve(mirror + name, known_hash=sha256, fname=name, path=target, downloader=downloader)
            except Exception as error:  # of requests, urllib3, ssl, socket, pooch or the disk: the next mirror may do
                failures.append(f"{mirror}: {_root(error)}")
            else:
                done.append(True)
                return
            if time.monotonic() > moment:
                return

    worker = Thread(target=visit_mirrors, name="fetch-mnist", daemon=True)
    worker.start()
    worker.join(seconds)
    if done:
        return ""
    if worker.is_alive():
        failures.append(f"gave up after {seconds:g} s")
    return " | ".join(" ".join(failure.split()) for failure in failures)


def _root(error: BaseException) -> str:
    """What went wrong at the bottom: requests and urllib3 each wrap it in a long message of their own."""
    while reason := error.__cause__ or error.__context__:
        error = reason
    return f"{type(error).__name__}: {str(error)[:300]}"


def load_digits() -> Part:
    """The 1,797 digits of 8x8 pixels, 0..16, in scikit-learn (UCI, optical recognition of digits).

    Laid out as MNIST is: each smoothly enlarged to 20x20 in the middle of 28x28 zeros. Pillow enlarges 8-bit
    images in whole numbers, so that all machines get the same pixels.
    """
    # Its file, without it: importing scikit-learn takes a second and 80 MB, and this is all that is wanted of it.
    package = find_spec("sklearn")
    assert package is not None, "a dependency of ours"
    assert package.origin is not None
    table = np.loadtxt(Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    small = np.rint(table[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    canvas = np.zeros((len(small), 28, 28), dtype=np.uint8)
    for image, place in zip(small, canvas, strict=True):
        place[4:24, 4:24] = np.asarray(Image.fromarray(image).resize((20, 20), Image.Resampling.BICUBIC))
    return Part(canvas, "the embedded digits", table[:, -1].astype(np.int64), "the embedded digits")
