"""Images: every source gives what its files hold, and whatever cannot be used is refused in one clear line.

Oracles: IDX bytes built by hand with struct, NumPy's and Pillow's own files, scikit-learn's array of the
digits, the published facts about MNIST. Nothing here reaches beyond 127.0.0.1.
"""

import gzip
import hashlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import zoom
from scipy.spatial.distance import cdist
from sklearn.datasets import load_digits

import envs.idx
import envs.images
import envs.mnist
from envs.images import ImageData, ImageError, ImageSet, load_images, load_test_images, read_idx

REAL_MNIST = os.environ.get("RAM_AGENT_DATA")  # before the fixture below hides it
CLOSED = "http://127.0.0.1:9/"  # the discard port: nothing listens there
FILES = {
    ("train", "images"): "train-images-idx3-ubyte",
    ("train", "labels"): "train-labels-idx1-ubyte",
    ("test", "images"): "t10k-images-idx3-ubyte",
    ("test", "labels"): "t10k-labels-idx1-ubyte",
}


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache, no RAM_AGENT_DATA, no proxy, no mirror. Returns the cache folder."""
    cache = tmp_path / "cache" / "mnist"
    monkeypatch.delenv("RAM_AGENT_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(envs.mnist, "cache_folder", lambda: cache)
    monkeypatch.setattr(envs.mnist, "MIRRORS", (CLOSED,))
    return cache


def idx(array: np.ndarray) -> bytes:
    """IDX bytes of `array`, from the format's description alone."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + bytes(array.ravel().tolist())


def pictures(count: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def cycle(count: int, classes: int = 3) -> np.ndarray:
    return np.arange(count, dtype=np.uint8) % classes


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], np.ndarray]:
    """A stand-in for MNIST, 24 + 6 images of 5x4, whose hashes the module is made to expect."""
    arrays = {
        ("train", "images"): pictures(24, 5, 4),
        ("train", "labels"): cycle(24, 10),
        ("test", "images"): pictures(6, 5, 4, seed=1),
        ("test", "labels"): cycle(6, 10),
    }
    content = {slot: hashlib.sha256(idx(array)).hexdigest() for slot, array in arrays.items()}
    packed = {FILES[slot] + ".gz": hashlib.sha256(pack(array)).hexdigest() for slot, array in arrays.items()}
    monkeypatch.setattr(envs.mnist, "CONTENT_SHA256", content)
    monkeypatch.setattr(envs.mnist, "PACKED_SHA256", packed)
    return arrays


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


# --- IDX ---


@pytest.mark.parametrize("shape", [(7,), (3, 4), (5, 3, 2), (2, 3, 4, 3)])
@pytest.mark.parametrize("packed", [False, True])
def test_idx_reads_what_the_format_says(tmp_path: Path, shape: tuple[int, ...], packed: bool) -> None:
    array = pictures(*shape)
    path = tmp_path / "any-name"
    path.write_bytes(pack(array) if packed else idx(array))
    read = read_idx(path)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, array)


GOOD = idx(np.arange(12, dtype=np.uint8).reshape(3, 2, 2))
PACKED = gzip.compress(GOOD, mtime=0)


@pytest.mark.parametrize(
    ("content", "expected", "found"),
    [
        (b"", "00 00 08", "an empty file"),
        (b"\0\0\x08", "00 00 08", "00 00 08"),
        (b"\0\0\x0d\x03" + GOOD[4:], "00 00 08", "00 00 0d 03"),  # float32
        (b"\x89PNG" + GOOD[4:], "00 00 08", "89 50 4e 47"),
        (b"\0\0\x08\x00" + GOOD[4:], "1 to 4 dimensions", "00 00 08 00"),
        (b"\0\0\x08\x05" + GOOD[4:], "1 to 4 dimensions", "00 00 08 05"),
        (GOOD[:10], "16 bytes for 3 dimensions", "10 bytes"),
        (GOOD[:-1], "12 bytes of values for sizes (3, 2, 2)", "found 11"),
        (GOOD + b"\0", "12 bytes of values for sizes (3, 2, 2)", "found more"),
        (struct.pack(">HBB2I", 0, 8, 2, 2**16, 2**16 + 1), "at most 268,435,456 bytes", "4,295,032,832"),
        (struct.pack(">HBB2I", 0, 8, 2, 2**14, 2**13), "134,217,728 bytes of values", "found 0"),
        (gzip.compress(GOOD[:-1], mtime=0), "12 bytes of values", "found 11"),
        (gzip.compress(GOOD + bytes(10**6), mtime=0), "12 bytes of values", "found more"),
        (PACKED[:-9], "a readable file", "EOFError"),  # a cut download
        (PACKED[:-8] + b"\0\0\0\0" + PACKED[-4:], "a readable file", "CRC check failed"),
        (PACKED[:12] + b"\xff" + PACKED[13:], "a readable file", "error"),
    ],
    ids=[
        "empty",
        "cut in the magic number",
        "float32",
        "another format",
        "no dimension",
        "five dimensions",
        "cut in the header",
        "cut by a byte",
        "a byte too many",
        "promises too much",
        "promises more than is there",
        "packed, cut before packing",
        "packed, goes on",
        "packed, cut after packing",
        "packed, wrong checksum",
        "packed, damaged",
    ],
)
def test_idx_refuses_what_is_not_whole(tmp_path: Path, content: bytes, expected: str, found: str) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    refused(lambda: read_idx(path), str(path), expected, found, "fetch the file again")


def test_idx_refuses_a_file_that_is_not_there(tmp_path: Path) -> None:
    refused(lambda: read_idx(tmp_path / "gone"), str(tmp_path / "gone"), "FileNotFoundError", "No such file")


def test_idx_unpacks_no_more_than_the_header_promises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(GOOD + bytes(50_000_000)))
    asked: list[int] = []
    unpack = gzip.GzipFile.read

    def read(self: gzip.GzipFile, size: int | None = -1) -> bytes:
        asked.append(-1 if size is None else size)
        return unpack(self, size)

    monkeypatch.setattr(gzip.GzipFile, "read", read)
    refused(lambda: read_idx(path), "found more")
    assert min(asked) > 0
    assert sum(asked) <= len(GOOD) + 1


@pytest.mark.parametrize("packed", [False, True])
def test_folder_of_idx_files_keeps_its_test_split_and_gives_a_twelfth_to_validation(
    tmp_path: Path, packed: bool
) -> None:
    arrays = {
        ("train", "images"): pictures(36, 6, 5),
        ("train", "labels"): cycle(36),
        ("test", "images"): pictures(9, 6, 5, seed=1),
        ("test", "labels"): cycle(9),
    }
    data = load_images(str(write_idx(tmp_path / "fashion", arrays, packed)))
    assert (data.name, data.image_size, data.channels, data.notice) == ("fashion", (6, 5), 1, "")
    assert data.classes == ("0", "1", "2")
    assert [len(data.train), len(data.validation), len(data.test)] == [33, 3, 9]
    assert data.validation.labels.tolist().count(1) == 1  # the shares of the classes are kept
    np.testing.assert_array_equal(data.test.pixels[:, 0].numpy(), arrays["test", "images"])
    np.testing.assert_array_equal(data.test.labels.numpy(), arrays["test", "labels"])
    source = [
        (image.tobytes(), int(label))
        for image, label in zip(arrays["train", "images"], arrays["train", "labels"], strict=True)
    ]
    assert sorted(rows(data.train) + rows(data.validation)) == sorted(source)
    assert data.train.pixels.dtype == torch.uint8
    assert data.train.labels.dtype == torch.int64


def test_folder_of_idx_files_takes_other_names_colour_and_a_validation_split(tmp_path: Path) -> None:
    for split, count in (("train", 6), ("val", 4), ("test", 5)):
        colour = pictures(count, 4, 4, 3, seed=count)
        (tmp_path / f"{split}-images.idx4-ubyte").write_bytes(idx(colour))
        (tmp_path / f"{split}-labels.idx1-ubyte.gz").write_bytes(pack(cycle(count)))
    data = load_images(str(tmp_path))
    assert [len(data.train), len(data.validation), len(data.test)] == [6, 4, 5]
    assert (data.channels, data.image_size) == (3, (4, 4))
    np.testing.assert_array_equal(data.test.pixels[:, 2].numpy(), pictures(5, 4, 4, 3, seed=5)[..., 2])
    refused(lambda: load_images(str(tmp_path), validation=2), str(tmp_path), "its own validation split", "found 2")


def test_folder_of_idx_files_is_refused_where_it_is_incomplete(
    tmp_path: Path, tiny: dict[tuple[str, str], np.ndarray]
) -> None:
    folder = write_idx(tmp_path / "set", tiny)
    (folder / FILES["test", "labels"]).unlink()
    refused(
        lambda: load_images(str(folder)),
        str(folder),
        "the labels of the test split",
        FILES["test", "images"],
        "add",
    )
    (folder / FILES["train", "images"]).unlink()
    (folder / FILES["train", "labels"]).unlink()
    (folder / FILES["test", "labels"]).write_bytes(idx(tiny["test", "labels"]))
    refused(lambda: load_images(str(folder)), str(folder), "a train split", "only test")
    assert len(load_test_images(str(folder))[1]) == 6


def test_images_and_labels_must_match_in_number(tmp_path: Path) -> None:
    arrays = {("train", "images"): pictures(12, 3, 3), ("train", "labels"): cycle(11)}
    folder = write_idx(tmp_path, arrays)
    refused(
        lambda: load_images(str(folder)),
        FILES["train", "labels"],
        "one for each of the 12 images",
        FILES["train", "images"],
        "found shape (11,)",
    )


# --- MNIST ---


@pytest.mark.parametrize("below", ["", "mnist", "MNIST/raw"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("place", ["folder", "variable", "cache"])
def test_mnist_is_found(
    below: str,
    packed: bool,
    place: str,
    tiny: dict[tuple[str, str], np.ndarray],
    tmp_path: Path,
    isolated: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = isolated if place == "cache" else tmp_path / "data"
    write_idx(base / below, tiny, packed)
    if place == "variable":
        monkeypatch.setenv("RAM_AGENT_DATA", str(base))
    for source in ("mnist", "auto"):
        data = load_images(source, base if place == "folder" else None)
        assert (data.name, data.notice) == ("mnist", "")
        assert [len(data.train), len(data.validation), len(data.test)] == [22, 2, 6]
        np.testing.assert_array_equal(data.test.pixels[:, 0].numpy(), tiny["test", "images"])


def test_mnist_in_the_folder_that_was_named_wins(
    tiny: dict[tuple[str, str], np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = write_idx(tmp_path / "damaged", tiny | {("test", "labels"): cycle(6, 5)})
    monkeypatch.setenv("RAM_AGENT_DATA", str(damaged))
    assert load_images("mnist", write_idx(tmp_path / "good", tiny)).name == "mnist"
    refused(lambda: load_images("mnist"), str(damaged))


@pytest.mark.parametrize("source", ["mnist", "auto"])
def test_mnist_that_is_damaged_or_another_set_is_refused_and_never_replaced(
    source: str, tiny: dict[tuple[str, str], np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    altered = tiny["train", "images"].copy()
    altered[3, 2, 1] ^= 1
    folder = write_idx(tmp_path / "data", tiny | {("train", "images"): altered})
    file = str(folder / FILES["train", "images"])
    known = hashlib.sha256(idx(tiny["train", "images"])).hexdigest()
    found = hashlib.sha256(idx(altered)).hexdigest()
    refused(
        lambda: load_images(source, folder),
        "MNIST content (train images)",
        file,
        known,
        found,
        "delete the file",
    )
    monkeypatch.setenv("RAM_AGENT_DATA", str(folder))
    refused(lambda: load_images(source), file, known, found)
    (folder / FILES["train", "images"]).write_bytes(idx(tiny["train", "images"])[:-7])
    refused(lambda: load_images(source), file, "480 bytes", "found 473")


@pytest.mark.parametrize("source", ["mnist", "auto"])
def test_folder_without_mnist_is_refused_though_mnist_is_at_hand_elsewhere(
    source: str, tiny: dict[tuple[str, str], np.ndarray], tmp_path: Path, isolated: Path
) -> None:
    write_idx(isolated, tiny)
    empty = tmp_path / "empty"
    refused(lambda: load_images(source, empty), str(empty), "found none of them", "--images.folder")
    write_idx(empty, {("train", "images"): tiny["train", "images"]})
    refused(lambda: load_images(source, empty), str(empty), "found only train-images-idx3-ubyte")


def test_mnist_hash_does_not_depend_on_packing_but_on_content(
    tiny: dict[tuple[str, str], np.ndarray], tmp_path: Path
) -> None:
    plain, packed = write_idx(tmp_path / "plain", tiny), write_idx(tmp_path / "packed", tiny, packed=True)
    hashes = {load_images("mnist", plain).sha256, load_images("mnist", packed).sha256}
    hashes.add(load_images(str(packed)).sha256)
    assert len(hashes) == 1
    labels = tiny["test", "labels"].copy()
    labels[[0, 1]] = labels[[1, 0]]
    relabelled = load_images(str(write_idx(tmp_path / "other", tiny | {("test", "labels"): labels})))
    assert {relabelled.sha256} != hashes


@pytest.mark.skipif(not REAL_MNIST, reason="RAM_AGENT_DATA names no folder with MNIST")
def test_real_mnist_has_its_published_numbers() -> None:
    data = load_images("mnist", REAL_MNIST)
    assert [len(data.train), len(data.validation), len(data.test)] == [55_000, 5_000, 10_000]
    assert (data.image_size, data.channels, data.classes) == ((28, 28), 1, tuple("0123456789"))
    counts = data.train.labels.bincount() + data.validation.labels.bincount()
    assert counts.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert data.test.labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert data.test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    both = torch.cat([data.train.pixels, data.validation.pixels]).float() / 255
    assert both.mean().item() == pytest.approx(0.1307, abs=1e-4)  # the numbers of every MNIST tutorial
    assert both.std().item() == pytest.approx(0.3081, abs=1e-4)


# --- Download ---


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


@pytest.fixture
def serve() -> Iterator[Callable[[dict[str, bytes | None]], MirrorServer]]:
    servers: list[MirrorServer] = []

    def start(files: dict[str, bytes | None]) -> MirrorServer:
        servers.append(MirrorServer(files))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return servers[-1]

    yield start
    for server in servers:
        server.closing.set()
        server.shutdown()
        server.server_close()
    for thread in threading.enumerate():
        if thread.name == "fetch-mnist":
            thread.join(10)


def packed_files(arrays: dict[tuple[str, str], np.ndarray]) -> dict[str, bytes | None]:
    return {FILES[slot] + ".gz": pack(array) for slot, array in arrays.items()}


Serve = Callable[[dict[str, bytes | None]], MirrorServer]
Tiny = dict[tuple[str, str], np.ndarray]


@pytest.mark.parametrize("source", ["mnist", "auto"])
def test_download_fills_the_cache_once(
    source: str, serve: Serve, tiny: Tiny, isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(packed_files(tiny))
    monkeypatch.setattr(envs.mnist, "MIRRORS", (server.url,))
    data = load_images(source)
    assert (data.name, data.notice) == ("mnist", "")
    np.testing.assert_array_equal(data.test.pixels[:, 0].numpy(), tiny["test", "images"])
    assert sorted(path.name for path in isolated.iterdir()) == sorted(packed_files(tiny))  # no temporary file left
    assert load_images(source).sha256 == data.sha256
    assert len(server.asked) == 4


def test_download_goes_on_to_the_next_mirror(serve: Serve, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = serve({})
    good = serve(packed_files(tiny))
    monkeypatch.setattr(envs.mnist, "MIRRORS", (CLOSED, empty.url, good.url))
    assert load_images("mnist").name == "mnist"
    assert empty.asked


def test_download_with_the_wrong_content_is_thrown_away(
    serve: Serve, tiny: Tiny, isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swapped = packed_files(tiny) | {"t10k-labels-idx1-ubyte.gz": pack(cycle(6, 5))}
    server = serve(swapped)
    monkeypatch.setattr(envs.mnist, "MIRRORS", (server.url,))
    refused(lambda: load_images("mnist"), server.url, "t10k-labels-idx1-ubyte.gz", "does not match")
    assert "t10k-labels-idx1-ubyte.gz" not in {path.name for path in isolated.iterdir()}
    assert load_images("auto").name == "digits"
    good = serve(packed_files(tiny))
    monkeypatch.setattr(envs.mnist, "MIRRORS", (good.url,))
    assert load_images("mnist").name == "mnist"
    assert good.asked == ["t10k-labels-idx1-ubyte.gz"]  # what was right was kept


def test_download_leaves_a_silent_mirror_in_time_for_the_next(
    serve: Serve, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = serve(dict.fromkeys(packed_files(tiny)))
    good = serve(packed_files(tiny))
    monkeypatch.setattr(envs.mnist, "MIRRORS", (silent.url, good.url))
    monkeypatch.setattr(envs.images, "AUTO_SECONDS", 6.0)
    assert load_images("auto").name == "mnist"
    assert len(silent.asked) == 1


def test_auto_does_not_wait_for_name_resolution_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def hang(*_: object, **__: object) -> list[object]:
        release.wait(30)
        raise socket.gaierror("let go by the test")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setattr(envs.mnist, "MIRRORS", ("http://mirror.invalid/",))
    monkeypatch.setattr(envs.images, "AUTO_SECONDS", 0.3)
    start = time.monotonic()
    data = load_images("auto")
    assert time.monotonic() - start < 15
    assert data.name == "digits"
    assert "gave up after 0.3 s" in data.notice
    release.set()
    for thread in threading.enumerate():
        if thread.name == "fetch-mnist":
            thread.join(10)


def test_download_that_trickles_is_stopped_at_the_deadline(
    serve: Serve, tiny: Tiny, isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []

    def trickle(self: Mirror) -> None:
        self.send_response(200)
        self.end_headers()
        while not self.server.closing.wait(0.02):
            self.wfile.write(bytes(2**16))
            sent.append(2**16)

    monkeypatch.setattr(Mirror, "do_GET", trickle)
    monkeypatch.setattr(envs.mnist, "MIRRORS", (serve({}).url,))
    start = time.monotonic()
    monkeypatch.setattr(envs.images, "FETCH_SECONDS", 0.3)
    refused(lambda: load_images("mnist"), "no download", "RAM_AGENT_DATA")
    assert time.monotonic() - start < 15
    for thread in threading.enumerate():
        if thread.name == "fetch-mnist":
            thread.join(5)
            assert not thread.is_alive()  # stopped by itself while the server still sends
    assert sent
    assert not list(isolated.iterdir())


def test_auto_without_network_falls_back_to_the_digits_and_says_so() -> None:
    start = time.monotonic()
    data = load_images("auto")
    assert time.monotonic() - start < 15
    assert data.name == "digits"
    assert data.notice.startswith(
        "MNIST is not at hand: using the 1,797 embedded 8x8 digits; no number of this run is an MNIST number"
    )
    assert "ConnectionRefusedError" in data.notice
    assert "\n" not in data.notice
    assert data.sha256 == load_images("digits").sha256
    assert load_images("digits").notice == ""


def test_mnist_without_network_names_where_it_looked_and_the_remedies(
    isolated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remedies = ("--images.folder", "RAM_AGENT_DATA", "connect to the network")
    refused(
        lambda: load_images("mnist"),
        str(isolated),
        "(RAM_AGENT_DATA is not set)",
        CLOSED,
        "refused",
        *remedies,
    )
    monkeypatch.setenv("RAM_AGENT_DATA", str(tmp_path / "data"))
    refused(lambda: load_images("mnist"), str(tmp_path / "data"), str(isolated), *remedies)


def test_download_can_be_forbidden(serve: Serve, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(packed_files(tiny))
    monkeypatch.setattr(envs.mnist, "MIRRORS", (server.url,))
    refused(lambda: load_images("mnist", download=False), "no download (not asked for)")
    assert load_images("auto", download=False).name == "digits"
    assert server.asked == []


# --- The embedded digits ---


def test_digits_are_those_of_scikit_learn_in_the_layout_of_mnist() -> None:
    data = load_images("digits")
    assert [len(data.train), len(data.validation), len(data.test)] == [1197, 240, 360]
    assert (data.name, data.image_size, data.channels) == ("digits", (28, 28), 1)
    assert data.classes == tuple("0123456789")
    canvas = torch.cat([data.train.pixels, data.validation.pixels, data.test.pixels])[:, 0].numpy()
    labels = torch.cat([data.train.labels, data.validation.labels, data.test.labels]).numpy()
    inner = canvas[:, 4:24, 4:24]
    assert canvas.sum() == inner.sum()  # a border of four zeros
    assert inner.max() == 255
    small, target = load_digits(return_X_y=True)
    # SciPy's cubic spline is another kernel than Pillow's, but nearer to it than any two digits to each other.
    spline = zoom(small.reshape(-1, 8, 8), (1, 2.5, 2.5), order=3, grid_mode=True, mode="nearest")
    distance = cdist(inner.reshape(-1, 400) / 255 * 16, spline.clip(0, 16).reshape(-1, 400))
    nearest = distance.argmin(axis=1)
    assert sorted(nearest) == list(range(1797))  # each once: no image in two splits
    np.testing.assert_array_equal(labels, target[nearest])
    assert distance.min(axis=1).max() / 20 < 1  # root mean square a pixel, of 16 grey levels


def test_digits_keep_the_shares_of_the_classes_in_every_split() -> None:
    data = load_images("digits")
    shares = torch.from_numpy(np.bincount(load_digits(return_X_y=True)[1])) / 1797
    for split in ("train", "validation", "test"):
        images = data.split(split)
        assert ((images.labels.bincount() - shares * len(images)).abs() <= 2).all()


def test_digits_are_the_same_for_everybody() -> None:
    # python -c "from envs.images import load_images; print(load_images('digits').sha256)"
    assert load_images("digits").sha256 == "50a6c68a135d08d9b2ab77d5cf71bc9ddc00bae983d29677877b1ac97c5af457"


@pytest.mark.parametrize("validation", [0, -1, 1437])
def test_validation_must_leave_something_to_train_on(validation: int) -> None:
    refused(
        lambda: load_images("digits", validation=validation),
        "validation images of digits",
        "1 to 1,436 of 1,437",
        f"found {validation:,}",
    )


def test_validation_can_be_chosen() -> None:
    data = load_images("digits", validation=100)
    assert [len(data.train), len(data.validation), len(data.test)] == [1337, 100, 360]


# --- .npz ---


def save(path: Path, **arrays: object) -> str:
    np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]
    return str(path)


@pytest.mark.parametrize("images_name", ["images", "x", "X", "data"])
@pytest.mark.parametrize("labels_name", ["labels", "y", "targets"])
def test_npz_without_splits_is_dealt_70_10_20(tmp_path: Path, images_name: str, labels_name: str) -> None:
    pixels, labels = pictures(100, 6, 5), cycle(100, 4)
    path = save(tmp_path / "set.npz", **{images_name: pixels, labels_name: labels, "note": np.array("n")})
    data = load_images(path)
    assert [len(data.train), len(data.validation), len(data.test)] == [70, 10, 20]
    assert data.name == "set.npz"
    expected = sorted((image.tobytes(), int(label)) for image, label in zip(pixels, labels, strict=True))
    assert everything(data) == expected
    assert data.test.labels.bincount().tolist() == [5, 5, 5, 5]
    assert load_images(path).sha256 == data.sha256
    name, test, classes = load_test_images(path)
    assert (name, classes) == ("set.npz", ("0", "1", "2", "3"))
    np.testing.assert_array_equal(test.pixels[:, 0].numpy(), pixels)
    np.testing.assert_array_equal(test.labels.numpy(), labels)


@pytest.mark.parametrize(
    "names",
    [
        ("x_train", "y_train", "x_test", "y_test", "x_val", "y_val"),
        (
            "train_images",
            "train_labels",
            "test_images",
            "test_labels",
            "val_images",
            "val_labels",
        ),  # MedMNIST
        ("X_train", "Y_train", "X_test", "Y_test", "X_valid", "Y_valid"),
    ],
)
def test_npz_with_splits_keeps_them(tmp_path: Path, names: tuple[str, ...]) -> None:
    counts = (24, 6, 5)
    arrays: dict[str, object] = {}
    for split, count in enumerate(counts):
        arrays[names[2 * split]] = pictures(count, 4, 4, seed=split)
        arrays[names[2 * split + 1]] = cycle(count)[:, None]  # (n, 1) as CIFAR-10 and MedMNIST have them
    data = load_images(save(tmp_path / "three.npz", **arrays))
    assert [len(data.train), len(data.validation), len(data.test)] == [24, 5, 6]
    for images, split in ((data.train, 0), (data.test, 1), (data.validation, 2)):
        np.testing.assert_array_equal(images.pixels[:, 0].numpy(), arrays[names[2 * split]])
    for name in names[4:]:
        del arrays[name]
    path = save(tmp_path / "two.npz", **arrays)
    data = load_images(path)
    assert [len(data.train), len(data.validation), len(data.test)] == [22, 2, 6]
    np.testing.assert_array_equal(load_test_images(path)[1].pixels[:, 0].numpy(), arrays[names[2]])


def test_npz_layouts_all_give_the_same_images(tmp_path: Path) -> None:
    grey, colour = pictures(20, 6, 6), pictures(20, 5, 6, 3)
    labels = cycle(20)
    for name, array in {
        "square": grey,
        "flat": grey.reshape(20, 36),
        "last": grey[..., None],
        "first": grey[:, None],
    }.items():
        _, test, _ = load_test_images(save(tmp_path / f"{name}.npz", x=array, y=labels))
        np.testing.assert_array_equal(test.pixels.numpy(), grey[:, None])
    for name, array in {"nhwc": colour, "nchw": colour.transpose(0, 3, 1, 2)}.items():
        path = save(tmp_path / f"{name}.npz", x=array, y=labels)
        _, test, _ = load_test_images(path)
        assert test.pixels.is_contiguous()
        np.testing.assert_array_equal(test.pixels.permute(0, 2, 3, 1).numpy(), colour)
        data = load_images(path)
        assert (data.image_size, data.channels) == ((5, 6), 3)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([0, 7, 255], np.uint8), [0, 7, 255]),
        (np.array([0, 7, 255], np.int64), [0, 7, 255]),
        (np.array([False, True, True]), [0, 255, 255]),
        (np.array([0, 0.5, 1], np.float64), [0, 128, 255]),
        (np.array([0, 0.2, 1], np.float16), [0, 51, 255]),
        (np.array([0, 0.1, 0.3], np.float32), [0, 26, 76]),
        (np.array([0, 100.6, 255], np.float32), [0, 101, 255]),
    ],
)
def test_npz_values_become_eight_bits(tmp_path: Path, values: np.ndarray, expected: list[int]) -> None:
    images = np.broadcast_to(values[:, None, None], (3, 2, 2))
    _, test, _ = load_test_images(save(tmp_path / "a.npz", images=images, labels=[0, 1, 2]))
    assert test.pixels.dtype == torch.uint8
    assert test.pixels[:, 0, 0, 0].tolist() == expected


def test_npz_splits_share_one_scale(tmp_path: Path) -> None:
    """A test split that happens to be dark is still 0..255."""
    train, test = np.full((8, 2, 2), 200.0), np.full((4, 2, 2), 1.0)
    path = save(tmp_path / "a.npz", x_train=train, y_train=cycle(8), x_test=test, y_test=cycle(4))
    assert load_test_images(path)[1].pixels.unique().tolist() == [1]


@pytest.mark.parametrize(
    ("labels", "classes", "mapped"),
    [
        ([3, 7, 3, 1], ("1", "3", "7"), [1, 2, 1, 0]),
        ([0, 10, 2, 10], ("0", "2", "10"), [0, 2, 1, 2]),
        (["dog", "cat", "cat", "eel"], ("cat", "dog", "eel"), [1, 0, 0, 2]),
        ([True, False, True, True], ("0", "1"), [1, 0, 1, 1]),
    ],
)
def test_labels_are_mapped_in_sorted_order_and_keep_their_names(
    tmp_path: Path, labels: list[object], classes: tuple[str, ...], mapped: list[int]
) -> None:
    _, test, names = load_test_images(save(tmp_path / "a.npz", x=pictures(4, 3, 3), y=labels))
    assert names == classes
    assert test.labels.tolist() == mapped


def test_labels_of_all_splits_are_counted_together(tmp_path: Path) -> None:
    path = save(
        tmp_path / "a.npz",
        x_train=pictures(12, 3, 3),
        y_train=cycle(12),
        x_test=pictures(2, 3, 3),
        y_test=[2, 1],
    )
    _, test, classes = load_test_images(path)
    assert classes == ("0", "1", "2")
    assert test.labels.tolist() == [2, 1]


class Payload:
    """Makes a folder when unpickled."""

    def __init__(self, folder: Path):
        self.folder = str(folder)

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (self.folder,)


def test_npz_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    made = tmp_path / "made"
    hostile = np.empty(1, dtype=object)
    hostile[0] = Payload(made)
    path = save(tmp_path / "a.npz", images=hostile, labels=[0])
    refused(lambda: load_images(path), path, "without pickles", "allow_pickle=False", "numpy.savez")
    hostile.dump(path)  # a bare pickle under the same name
    refused(lambda: load_images(path), path, "without pickles")
    assert not made.exists()
    np.load(path, allow_pickle=True)
    assert made.exists()  # the payload was live


NAN = np.zeros((4, 2, 2))
NAN[2, 1, 1] = np.nan
GREY = pictures(4, 2, 2)


@pytest.mark.parametrize(
    ("arrays", "fragments"),
    [
        ({"x": NAN, "y": cycle(4)}, ["pixels", "[x]", "finite values", "image 2"]),
        ({"x": np.where(np.isnan(NAN), np.inf, 0), "y": cycle(4)}, ["[x]", "NaN or infinity in image 2"]),
        ({"x": np.full((4, 2, 2), -1), "y": cycle(4)}, ["[x]", "0..255", "-1..-1"]),
        ({"x": np.full((4, 2, 2), 256), "y": cycle(4)}, ["[x]", "0..255", "256..256"]),
        ({"x": np.full((4, 2, 2), 300.0), "y": cycle(4)}, ["[x]", "0..255", "300..300"]),
        ({"x": np.full((4, 2, 2), -0.5), "y": cycle(4)}, ["[x]", "0..1", "-0.5..-0.5"]),
        ({"x": np.full((4, 2, 2), 1.01), "y": cycle(4)}, ["[x]", "0..1", "1.01..1.01", "scale or clip"]),
        ({"x": GREY.astype(complex), "y": cycle(4)}, ["[x]", "integers, floats or bool", "complex128"]),
        ({"x": GREY, "y": cycle(3)}, ["[y]", "one for each of the 4 images", "[x]", "found shape (3,)"]),
        ({"x": GREY, "y": np.eye(4)}, ["[y]", "one for each", "found shape (4, 4)", "argmax"]),
        ({"x": GREY, "y": [0, 1, -1, 2]}, ["[y]", "0 or more", "-1 for image 2"]),
        ({"x": GREY, "y": [0.0, 1.0, 2.0, 3.0]}, ["[y]", "integers or text", "float64"]),
        ({"x": GREY, "y": [5, 5, 5, 5]}, ["[y]", "two classes or more", "only '5'"]),
        ({"x": GREY[:0], "y": cycle(0)}, ["[x]", "one or more", "shape (0, 2, 2)"]),
        ({"x": pictures(4, 0, 2), "y": cycle(4)}, ["[x]", "shape (4, 0, 2)"]),
        ({"x": pictures(4, 5), "y": cycle(4)}, ["[x]", "square images", "shape (4, 5)"]),
        ({"x": pictures(4), "y": cycle(4)}, ["[x]", "shape (4,)"]),
        ({"x": np.uint8(3), "y": cycle(4)}, ["[x]", "shape ()"]),
        ({"x": pictures(4, 5, 5, 2), "y": cycle(4)}, ["[x]", "1 or 3 channels", "shape (4, 5, 5, 2)"]),
        ({"x": pictures(4, 3, 5, 3), "y": cycle(4)}, ["[x]", "shape (4, 3, 5, 3)"]),  # which is the channel?
        ({"x": GREY}, ["images and labels", "found x", "add what is missing"]),
        ({"pixels_of_cats": GREY, "y": cycle(4)}, ["images and labels", "found pixels_of_cats, y"]),
        ({"x": GREY, "images": GREY, "y": cycle(4)}, ["each once", "found x, images, y"]),
        ({"x": GREY, "y": cycle(4), "x_test": GREY, "y_test": cycle(4)}, ["each once", "x_test"]),
        ({"x_test": GREY, "y_test": cycle(4)}, ["a train split", "only test"]),
        (
            {"x_train": GREY, "y_train": cycle(4), "x_val": GREY, "y_val": cycle(4)},
            ["a test split", "only train, validation"],
        ),
        (
            {"x_train": GREY, "y_train": cycle(4), "x_test": pictures(4, 2, 3), "y_test": cycle(4)},
            ["image shape", "[x_test]", "(1, 2, 2)", "[x_train]", "found (1, 2, 3)"],
        ),
        (
            {"x_train": GREY, "y_train": cycle(4), "x_test": GREY, "y_test": list("abcd")},
            ["one kind in all splits", "text"],
        ),
        ({"x": GREY[:2], "y": cycle(2)}, ["validation images", "found 1"]),
    ],
)
def test_npz_refusals(tmp_path: Path, arrays: dict[str, object], fragments: list[str]) -> None:
    path = save(tmp_path / "a.npz", **arrays)
    refused(lambda: load_images(path), "a.npz", "expected", "found", *fragments)


@pytest.mark.parametrize(
    ("cut", "found"), [(0, "EOFError"), (1, "ValueError"), (100, "BadZipFile"), (400, "BadZipFile")]
)
def test_npz_that_is_cut_short_is_refused(tmp_path: Path, cut: int, found: str) -> None:
    path = Path(save(tmp_path / "a.npz", x=pictures(40, 4, 4), y=cycle(40)))
    path.write_bytes(path.read_bytes()[:cut])
    refused(lambda: load_images(str(path)), str(path), "a .npz file", found)


def test_npz_with_damaged_content_or_a_bare_array_is_refused(tmp_path: Path) -> None:
    path = Path(save(tmp_path / "a.npz", x=pictures(40, 4, 4), y=cycle(40)))
    content = bytearray(path.read_bytes())
    content[400] ^= 255
    path.write_bytes(content)
    refused(lambda: load_images(str(path)), str(path), "BadZipFile")
    with path.open("wb") as file:
        np.save(file, pictures(40, 4, 4))
    refused(lambda: load_images(str(path)), str(path), "a .npz file", "TypeError")


# --- Folders of pictures ---


def draw(folder: Path, name: str, pixels: np.ndarray, mode: str | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(pixels)
    (picture.convert(mode) if mode else picture).save(folder / name)
    return folder / name


def test_picture_folder_has_a_class_for_each_folder(tmp_path: Path) -> None:
    source = pictures(30, 6, 5)
    for index, pixels in enumerate(source):
        suffix = ("png", "bmp", "GIF")[index % 3]
        draw(tmp_path / "set" / ("ox", "ant", "bee")[index // 10], f"{index:02}.{suffix}", pixels)
    (tmp_path / "set" / "README.txt").write_text("not a class")
    (tmp_path / "set" / "ant" / "notes.txt").write_text("not a picture")
    (tmp_path / "set" / ".cache").mkdir()
    name, test, classes = load_test_images(str(tmp_path / "set"))
    assert (name, classes) == ("set", ("ant", "bee", "ox"))
    assert test.labels.tolist() == [0] * 10 + [1] * 10 + [2] * 10
    np.testing.assert_array_equal(test.pixels[:, 0].numpy(), np.roll(source, -10, axis=0))
    data = load_images(str(tmp_path / "set"))
    assert [len(data.train), len(data.validation), len(data.test)] == [21, 3, 6]
    assert (data.channels, data.image_size) == (1, (6, 5))


@pytest.mark.parametrize("held_out", ["validation", "val", None])
def test_picture_folder_keeps_its_splits(tmp_path: Path, held_out: str | None) -> None:
    counts = {"train": 12, "test": 3} | ({held_out: 2} if held_out else {})
    for split, count in counts.items():
        for name in ("a", "b"):
            for index in range(count):
                draw(tmp_path / split / name, f"{index}.png", pictures(1, 4, 4, seed=index)[0])
    data = load_images(str(tmp_path))
    assert [len(data.train), len(data.validation), len(data.test)] == ([24, 4, 6] if held_out else [22, 2, 6])
    assert data.test.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.classes == ("a", "b")


def test_picture_colours(tmp_path: Path) -> None:
    colour, grey = pictures(1, 4, 4, 3)[0], pictures(1, 4, 4)[0]
    draw(tmp_path / "a", "1.png", colour)
    draw(tmp_path / "b", "1.png", grey)
    _, test, _ = load_test_images(str(tmp_path))
    np.testing.assert_array_equal(test.pixels[0].permute(1, 2, 0).numpy(), colour)
    np.testing.assert_array_equal(test.pixels[1].numpy(), np.stack([grey] * 3))


def test_picture_modes(tmp_path: Path) -> None:
    """What is transparent is background whatever colour lies under it; one-bit pictures are 0 and 255."""
    grey = pictures(1, 4, 4)[0]
    mask = np.array([[0, 255] * 2] * 4, np.uint8)
    Image.merge("LA", [Image.fromarray(grey), Image.fromarray(mask)]).save(draw(tmp_path / "a", "1.png", grey))
    draw(tmp_path / "b", "1.png", mask, mode="1")
    _, test, _ = load_test_images(str(tmp_path))
    np.testing.assert_array_equal(test.pixels[0, 0].numpy(), np.where(mask == 255, grey, 0))
    np.testing.assert_array_equal(test.pixels[1, 0].numpy(), mask)


def test_picture_jpeg_and_colour_palette(tmp_path: Path) -> None:
    """Against Pillow's own decoding; a palette with colours is RGB."""
    colour = np.kron(pictures(1, 2, 2, 3)[0], np.ones((8, 8, 1), np.uint8))
    jpeg = draw(tmp_path / "a", "1.jpeg", colour)
    draw(tmp_path / "b", "1.gif", np.zeros_like(colour) + np.array([255, 0, 0], np.uint8), mode="P")
    _, test, _ = load_test_images(str(tmp_path))
    with Image.open(jpeg) as picture:
        np.testing.assert_array_equal(test.pixels[0].permute(1, 2, 0).numpy(), np.asarray(picture))
    assert test.pixels[1].flatten(1).unique(dim=1).tolist() == [[255], [0], [0]]


def test_picture_folder_refusals(tmp_path: Path) -> None:
    source = str(tmp_path / "set")
    (tmp_path / "set").mkdir()
    refused(lambda: load_images(source), source, "a folder of pictures for each class", "found neither")
    draw(tmp_path / "set" / "a", "1.png", pictures(1, 4, 4)[0])
    refused(lambda: load_images(source), source, "two classes or more", "only 'a'")
    odd = draw(tmp_path / "set" / "b", "2.png", pictures(1, 4, 5)[0])
    refused(lambda: load_images(source), str(odd), "4x4", "found 4x5", "--images.size 4,4")
    odd.write_bytes(odd.read_bytes()[:40])
    refused(lambda: load_images(source), str(odd), "a readable picture", "Error")
    odd.write_text("not a picture")
    refused(lambda: load_images(source), str(odd), "a readable picture", "UnidentifiedImageError")
    odd.unlink()
    refused(lambda: load_images(source), str(odd.parent), "pictures (png", "found none")
    deep = draw(tmp_path / "set" / "b", "3.png", np.zeros((4, 4), np.uint16))
    refused(lambda: load_images(source), str(deep), "8 bits a channel", "mode I")


def test_picture_folder_with_two_names_for_one_split_is_refused(tmp_path: Path) -> None:
    for split in ("train", "val", "valid"):
        draw(tmp_path / split / "a", "1.png", pictures(1, 4, 4)[0])
    refused(lambda: load_images(str(tmp_path)), str(tmp_path), "one folder a split", "train, val, valid")


# --- Names, and what is handed on ---


@pytest.mark.parametrize("load", [load_images, load_test_images])
def test_unknown_source_lists_the_names_and_the_nearest(load: Callable[[str], object], tmp_path: Path) -> None:
    refused(lambda: load("minst"), "auto, mnist, digits", "'minst'", "did you mean 'mnist'?")
    refused(lambda: load("digit"), "did you mean 'digits'?")
    (tmp_path / "fashion.npz").touch()
    wrong = str(tmp_path / "fashon.npz")
    refused(lambda: load(wrong), repr(wrong), f"did you mean {str(tmp_path / 'fashion.npz')!r}?")
    refused(lambda: load(""), "auto, mnist, digits", "found ''")


def test_source_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.touch()
    refused(lambda: load_images(str(path)), str(path), "a folder or a .npz file", "'.tar'", "give the folder")


def test_foreign_data_never_bears_the_name_of_mnist(tmp_path: Path) -> None:
    write_idx(tmp_path / "mnist", {("train", "images"): pictures(20, 3, 3), ("train", "labels"): cycle(20)})
    assert load_images(str(tmp_path / "mnist")).name == f"{tmp_path.name}/mnist"


def test_test_images_of_the_built_in_sources_are_their_test_split() -> None:
    for source in ("digits", "auto"):
        name, test, classes = load_test_images(source)
        assert (name, len(test), classes) == ("digits", 360, tuple("0123456789"))
        assert rows(test) == rows(load_images("digits").test)


def test_splits_by_name_and_device() -> None:
    data = load_images("digits")
    assert data.split("validation") is data.validation
    refused(lambda: data.split("tset"), "train, validation, test", "'tset'")
    moved = data.to("meta")
    for split in ("train", "validation", "test"):
        assert moved.split(split).pixels.device.type == "meta"
        assert moved.split(split).labels.device.type == "meta"
        assert len(moved.split(split)) == len(data.split(split))
    assert (moved.name, moved.sha256) == (data.name, data.sha256)
