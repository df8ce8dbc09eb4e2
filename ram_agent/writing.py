"""A run whose files cannot be written: a full disk, one that is read-only, a folder that is gone.

It says so once. Then it goes on, and tries again at each next file (`run.on_write_error: continue`), or it stops in
order (`stop`). What lies on the disk already is not touched by a write that fails.
"""

import errno
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from stable_baselines3.common.logger import KVWriter

from ram_agent.progress import warn

BLOCK = 4096
"""Bytes; a disk that takes them in one piece has room to begin."""


class Writing:
    """Writes of one run folder, or of one agent's within it."""

    def __init__(
        self,
        folder: Path,
        give_up: Callable[[str], object] | None = None,
        say: Callable[[str], None] = warn,
        so: str = "training goes on and tries again; make room, or press Ctrl-C",
        within: Path | None = None,
    ) -> None:
        self.folder, self.give_up, self.say = folder, give_up, say
        self.within = within or folder
        """The folder of the run, which nobody makes anew; in it `folder` is made where it is missing."""
        self.so = "stopping after this update" if give_up else so
        self.trouble: dict[str, str] = {}
        """What could not be written at the last attempt, and why."""

    def attempt(self, what: str, write: Callable[[], object]) -> None:
        """Call `write`, unless the run's folder is gone; an `OSError` is not the end of the run."""
        try:
            if not self.within.is_dir():
                raise FileNotFoundError(errno.ENOENT, "the run folder has vanished", str(self.within))
            self.folder.mkdir(parents=True, exist_ok=True)
            write()
        except OSError as error:
            reason = f"cannot write {what} in {self.folder}: {error.strerror or error}"
            if not self.trouble:
                self.say(f"{reason}; {self.so}")
            self.trouble[what] = reason
            if self.give_up:
                self.give_up(reason)
        else:
            if self.trouble.pop(what, None) and not self.trouble:
                self.say(f"{self.folder} can be written again")


class Attempted(KVWriter):
    """An output of a logger whose disk may fail it."""

    def __init__(self, output: KVWriter, what: str, writing: Writing) -> None:
        self.output, self.what, self.writing = output, what, writing

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        self.writing.attempt(self.what, lambda: self.output.write(key_values, key_excluded, step))

    def close(self) -> None:
        self.writing.attempt(self.what, self.output.close)


class EventFile:
    """TensorBoard's file, flushed by a thread of its own: keeps what the disk refuses, and offers it again.

    A record that was cut short would hide all after it, so each flush begins where the last one that succeeded ended.
    The thread flushes when it thinks fit, and so does the training: one at a time.
    """

    ROOM = 2**24
    """Bytes that wait at most; what comes after them from a disk that stays full is dropped."""

    def __init__(self, path: Path, length: int) -> None:
        self.path, self.length = path, length
        self.waiting = bytearray()
        self.lock = threading.Lock()
        self.closed = False
        self.error: OSError | None = None

    def write(self, data: bytes) -> None:
        with self.lock:
            if len(self.waiting) < self.ROOM:
                self.waiting += data

    def flush(self) -> None:
        with self.lock:
            if not self.waiting:
                return
            try:
                with self.path.open("r+b", buffering=0) as file:
                    file.truncate(self.length)
                    file.seek(self.length)
                    left = memoryview(bytes(self.waiting))
                    while left:
                        left = left[file.write(left) :]
            except OSError as error:
                self.error = error
                return
            self.length += len(self.waiting)
            self.waiting.clear()
            self.error = None

    def close(self) -> None:
        self.flush()
        self.closed = True


def watch_events(writer: Any) -> EventFile:
    """Have an event writer of TensorBoard write to an `EventFile`, from here on."""
    records = writer._async_writer._writer
    writer.flush()
    path = Path(writer._file_name)
    records._writer = EventFile(path, path.stat().st_size)
    return records._writer


class Events(KVWriter):
    """TensorBoard's output, in whose thread a disk fails unseen: this raises what it met.

    It is begun, in `begin`, as soon as the disk takes it.
    """

    def __init__(self, folder: Path, begin: Callable[[], tuple[KVWriter, EventFile]]) -> None:
        self.folder, self.begin = folder, begin
        self.begun: tuple[KVWriter, EventFile] | None = None
        self.waiting: list[tuple[dict[str, Any], dict[str, Any], int]] = []
        """Rows from before it was begun."""

    def open(self) -> tuple[KVWriter, EventFile]:
        if self.begun is None:
            with TemporaryFile(dir=self.folder) as probe:  # what TensorBoard's thread meets at its start ends it, aloud
                probe.write(bytes(BLOCK))
                probe.flush()
            self.begun = self.begin()
        return self.begun

    def write(self, key_values: Mapping[str, Any], key_excluded: Mapping[str, Any], step: int = 0) -> None:
        self.waiting.append((dict(key_values), dict(key_excluded), step))
        output, file = self.open()
        for row in self.waiting:
            output.write(*row)
        self.waiting.clear()
        if file.error:
            raise file.error

    def close(self) -> None:
        if self.begun is None:
            return
        output, file = self.begun
        output.close()
        if file.error:
            raise file.error
