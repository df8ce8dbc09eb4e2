"""No image and no network but what a test makes itself."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import envs.idx
import envs.images
import envs.mnist
from tests.image_files import (
    CLOSED,
    FILES,
    MirrorServer,
    cycle,
    idx,
    pack,
    pictures,
)


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache, no RAM_AGENT_DATA, no proxy, no mirror. Returns the cache folder."""
    cache = tmp_path / "cache" / "mnist"
    monkeypatch.delenv("RAM_AGENT_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(envs.mnist, "cache_folder", lambda: cache)
    monkeypatch.setattr(envs.mnist, "MIRRORS", (CLOSED,))
    return cache


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
