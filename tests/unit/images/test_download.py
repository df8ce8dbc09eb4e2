"""Downloads whole, in time, or not at all. Nothing here reaches beyond 127.0.0.1."""

import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import envs.idx
import envs.images
import envs.mnist
from envs.images import load_images
from tests.image_files import CLOSED, Mirror, Serve, Tiny, cycle, pack, packed_files, refused


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
