"""Files of images made by hand, and a mirror that serves them: what the tests of images stand on."""

import gzip
import struct
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from envs.images import ImageData, ImageError, ImageSet

CLOSED = "http://127.0.0.1:9/"  # the discard port: nothing listens there
FILES = {
    ("train", "images"): "train-images-idx3-ubyte",
    ("train", "labels"): "train-labels-idx1-ubyte",
    ("test", "images"): "t10k-images-idx3-ubyte",
    ("test", "labels"): "t10k-labels-idx1-ubyte",
}


def idx(array: np.ndarray) -> bytes:
    """IDX bytes of `array`, from the format's description alone."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + bytes(array.ravel().tolist())


def pictures(count: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def cycle(count: int, classes: int = 3) -> np.ndarray:
    return np.arange(count, dtype=np.uint8) % classes


def pack(array: np.ndarray) -> bytes:
    return gzip.compress(idx(array), mtime=0)


def write_idx(folder: Path, arrays: dict[tuple[str, str], np.ndarray], packed: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for slot, array in arrays.items():
        path = folder / (FILES[slot] + ".gz" * packed)
        path.write_bytes(pack(array) if packed else idx(array))
    return folder


def refused(call: Callable[[], object], *fragments: str) -> None:
    """`call` must raise an ImageError of one line that holds every fragment."""
    with pytest.raises(ImageError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for fragment in fragments:
        assert fragment in message


def rows(images: ImageSet) -> list[tuple[bytes, int]]:
    """Each image with its label, in an order of their own, to compare sets as sets."""
    return sorted(
        (pixels.numpy().tobytes(), int(label)) for pixels, label in zip(images.pixels, images.labels, strict=True)
    )


def everything(data: ImageData) -> list[tuple[bytes, int]]:
    return sorted(rows(data.train) + rows(data.validation) + rows(data.test))


class Mirror(BaseHTTPRequestHandler):
    """Serves what its server's `files` hold; None means silence until the server's `closing` is set."""

    server: "MirrorServer"

    def do_GET(self) -> None:
        content = self.server.files.get(self.path.lstrip("/"), b"")
        self.server.asked.append(self.path.lstrip("/"))
        if content is None:
            self.server.closing.wait(30)
            return
        self.send_response(200 if content else 404)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


class MirrorServer(ThreadingHTTPServer):
    def __init__(self, files: dict[str, bytes | None]):
        super().__init__(("127.0.0.1", 0), Mirror)
        self.files = files
        self.asked: list[str] = []
        self.closing = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what some tests are about."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"


def packed_files(arrays: dict[tuple[str, str], np.ndarray]) -> dict[str, bytes | None]:
    return {FILES[slot] + ".gz": pack(array) for slot, array in arrays.items()}


Serve = Callable[[dict[str, bytes | None]], MirrorServer]
Tiny = dict[tuple[str, str], np.ndarray]
