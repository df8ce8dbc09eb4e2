"""Where jobs run: processes of this machine, or Ray tasks that start the same processes on Ray's.

A job is a process of its own either way. It holds the lock of its log for as long as it lives, so that nobody starts
it twice, not even after whoever started it was killed.
"""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from ram_agent.config import ConfigError
from ram_agent.extras import to_install
from ram_agent.files import hold


class Outcome(NamedTuple):
    status: int
    """The process's; negative: the signal that killed it."""
    started: float
    ended: float
    """Seconds since 1970."""


class Task(NamedTuple):
    """One process to run."""

    command: Sequence[str]
    log: Path
    again: bool
    """Whether the log goes on, rather than begins anew."""
    here: Path
    """The folder to run in."""


@runtime_checkable
class Running(Protocol):
    """A task that was handed over."""

    def started(self) -> bool: ...
    def outcome(self) -> Outcome | None:
        """How it ended; None as long as it has not."""
        ...

    def stop(self) -> None:
        """Ask it to finish its update, save and end; a second time: end at once."""
        ...


@runtime_checkable
class Workers(Protocol):
    lanes: int
    """How many tasks to hand over at a time."""

    def start(self, task: Task) -> Running: ...


def launch(task: Task) -> "subprocess.Popen[bytes]":
    """Start the process, its output to the log. Raises `BlockingIOError` where one with this log is alive."""
    task.log.parent.mkdir(parents=True, exist_ok=True)
    with task.log.open("ab") as log:
        hold(log.fileno())  # the open file is the child's too: it ends with the child
        if not task.again:
            log.truncate(0)
        log.write(f"$ {' '.join(task.command)}\n".encode())
        log.flush()
        # A session of its own: Ctrl-C in the terminal reaches the sweep alone, which passes it on once.
        return subprocess.Popen(
            task.command,
            cwd=task.here,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


# -------------------------------------------------------------------- this machine


class LocalWorkers:
    """As many processes at a time as there are workers."""

    def __init__(self, workers: int) -> None:
        self.lanes = workers

    def start(self, task: Task) -> Running:
        return _LocalProcess(task)


class _LocalProcess:
    def __init__(self, task: Task) -> None:
        self.began = time.time()
        self.process = launch(task)
        self.asked = False

    def started(self) -> bool:
        return True

    def outcome(self) -> Outcome | None:
        status = self.process.poll()
        return None if status is None else Outcome(status, self.began, time.time())

    def stop(self) -> None:
        self.process.kill() if self.asked else self.process.terminate()
        self.asked = True


# -------------------------------------------------------------------- Ray


def check_ray() -> None:
    """Raise `ConfigError` where Ray, an extra, is not installed."""
    if find_spec("ray") is None:
        raise ConfigError(f"--backend ray: Ray is not installed; {to_install('ray', 'ray')}, or take local")


class RayWorkers:
    """All tasks are handed to Ray at once, which decides where and when each runs.

    Ray is the cluster that `RAY_ADDRESS` names, which must see the same folders, or one of this machine with as many
    places as there are workers. A task takes as many of Ray's CPUs as its training has threads, and its share of the
    GPUs.
    """

    def __init__(self, workers: int, threads: int) -> None:
        self.ray = ray = import_module("ray")
        self.lanes = 2**31
        # By itself Ray would take a cluster that was started on this machine, which has its own number of processors.
        place = {} if "RAY_ADDRESS" in os.environ else {"address": "local", "num_cpus": workers * threads}
        try:
            ray.init(include_dashboard=False, log_to_driver=False, **place)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ConfigError(f"--backend ray: Ray does not start: {' '.join(str(error).split())}") from None
        largest = max(node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"])
        if largest < threads:  # Ray would wait for such a machine for ever
            raise ConfigError(
                f"--workers: got {workers}, with which a training has {threads} of this machine's cores, and Ray's "
                f"largest machine has {largest:g}; give more workers"
            )
        gpus = ray.cluster_resources().get("GPU", 0.0)
        share = 1 / ceil(workers / gpus) if gpus else 0.0  # a fraction has to be free on one GPU
        self.task: Any = ray.remote(num_cpus=threads, num_gpus=share, max_retries=0)(_run)

    def start(self, task: Task) -> Running:
        return _RayTask(self.ray, self.task, task)


class _RayTask:
    def __init__(self, ray: Any, remote: Any, task: Task) -> None:
        self.ray, self.log = ray, task.log
        self.before = _touched(task.log)
        self.began = time.time()
        self.reference = remote.remote(task)

    def started(self) -> bool:
        return _touched(self.log) != self.before

    def outcome(self) -> Outcome | None:
        ready, _ = self.ray.wait([self.reference], timeout=0)
        if not ready:
            return None
        try:
            return self.ray.get(self.reference)
        except self.ray.exceptions.TaskCancelledError:  # before it began
            return Outcome(-signal.SIGTERM, self.began, time.time())
        except self.ray.exceptions.RayError as error:  # its machine is gone, or could not start the process
            with self.log.open("a", encoding="utf-8") as log:
                log.write(f"Ray: {' '.join(str(error).split())}\n")
            return Outcome(1, self.began, time.time())

    def stop(self) -> None:
        self.ray.cancel(self.reference)


def _touched(log: Path) -> int:
    return log.stat().st_mtime_ns if log.exists() else 0


def _run(task: Task) -> Outcome:
    """Run the process to its end, in a Ray worker; `ray.cancel` comes as a `KeyboardInterrupt`."""
    began = time.time()
    process = launch(task)
    asked = 0
    while True:
        try:
            while process.poll() is None:
                time.sleep(0.1)  # a blocking wait would not be woken
            return Outcome(process.returncode, began, time.time())
        except KeyboardInterrupt:
            process.kill() if asked else process.terminate()
            asked += 1
