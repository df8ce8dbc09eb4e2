"""Running the jobs of a sweep: hand them to workers, watch them end, write down how it stands."""

import json
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ram_agent.checkpoint import is_checkpointed
from ram_agent.config import dump_config
from ram_agent.files import write_whole
from ram_agent.interruption import ASKING, heard_by
from ram_agent.run_files import CHECKPOINT
from ram_agent.stored import final_results
from ram_agent.sweep import DigestOf, Standing, command, in_order, last_line, standing_of, summarise
from ram_agent.table import SWEEP, Job
from ram_agent.workers import Outcome, Running, Task, Workers
from ram_agent.writing import Writing


@dataclass
class Record:
    """What sweep.json says of a job."""

    row: str
    seed: int
    folder: str
    status: str
    """done, to resume, new, running or failed; done may have come with trouble, which the log tells."""
    test_error: float | None = None
    started: float | None = None
    """Of its last process, like `ended`: seconds since 1970."""
    ended: float | None = None


class Runner:
    """Runs what is left of a table; `out`/sweep.json always says how it stands."""

    def __init__(
        self,
        out: Path,
        standings: Mapping[Job, Standing],
        workers: Workers,
        *,
        keep_going: bool = True,
        digest_of: DigestOf | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        self.out, self.standings, self.workers, self.keep_going = out, dict(standings), workers, keep_going
        self.digest_of, self.say = digest_of, say
        self.waiting = in_order(standings)
        self.running: dict[Job, Running] = {}
        self.seen: set[Job] = set()
        """Jobs that have begun to run; Ray keeps others waiting."""
        self.withdrawn: set[Job] = set()
        self.failures: dict[Job, str] = {}
        self.troubles: dict[Job, str] = {}
        """What jobs met that are done all the same."""
        self.signals: list[int] = []
        self.passed_on = 0
        self.records = self._records()
        self.writing = Writing(out, say=say, so="the trainings go on, and the next news tries again")

    def run(self) -> int:
        """Returns the exit status: 0, 1 where a job failed or met trouble, or 128 + the signal that ended it."""
        with heard_by(self.signals.append):
            self._write()  # where that cannot be done, nothing has begun yet
            try:
                self._run()
            finally:  # where the loop has broken, trainings are left that nobody watches
                while any(running.outcome() is None for running in self.running.values()):
                    self._pass_on(max(1, len(self.signals)))
                    time.sleep(0.05)
        return 128 + self.signals[0] if self.signals else int(bool(self.failures or self.troubles))

    def _run(self) -> None:
        while self.running or self.waiting:
            if self.signals:
                self._pass_on(len(self.signals))
            elif self.failures and not self.keep_going:
                self._withdraw()
            while self.waiting and len(self.running) < self.workers.lanes and not self.signals:
                self._start(self.waiting.pop(0))
            for job in list(self.running):
                self._look_at(job)
            time.sleep(0.05)

    def _pass_on(self, signals: int) -> None:
        """The first signal asks the jobs to save and end, the second ends them."""
        self.waiting = []
        while self.passed_on < min(signals, 2):
            for running in self.running.values():
                running.stop()
            self.passed_on += 1

    def _withdraw(self) -> None:
        """Start no more: neither here nor at Ray."""
        self.waiting = []
        for job in self.running.keys() - self.seen - self.withdrawn:
            self.running[job].stop()
            self.withdrawn.add(job)

    def _start(self, job: Job) -> None:
        try:
            # Who trains by hand may have been here since.
            standing = self.standings[job] = standing_of(job, self.digest_of)
            results = final_results(job.folder)
        except ValueError as error:
            self._fail(job, str(error))
            return
        if results:
            self._done(job, results)
            return
        try:
            if standing == "new":
                write_whole(job.settings, dump_config(job.config).encode())
            task = Task(command(job, standing), job.log, standing == "to resume", Path.cwd())
            self.running[job] = self.workers.start(task)
        except OSError as error:
            self._fail(job, f"cannot start: {error.strerror or error}")

    def _look_at(self, job: Job) -> None:
        running = self.running[job]
        outcome = running.outcome()
        if job not in self.seen and running.started():
            self.seen.add(job)
            self.records[job].status, self.records[job].started = "running", time.time()
            self._tell(job, "started" if self.standings[job] == "new" else "resumed")
        if outcome:
            del self.running[job]
            self._end(job, outcome)

    def _end(self, job: Job, outcome: Outcome) -> None:
        record = self.records[job]
        if job in self.seen:
            record.started, record.ended = outcome.started, outcome.ended
        try:
            results = final_results(job.folder)
        except ValueError as error:
            self._fail(job, str(error))
            return
        if results:
            if outcome.status and not self.signals:  # a signal may have been too late
                self.troubles[job] = _how_it_ended(job, outcome)
            self._done(job, results)
            return
        left = "to resume" if is_checkpointed(job.folder / CHECKPOINT) else "new"
        if self.signals or job in self.withdrawn:
            record.status = left
            if job in self.seen:
                self._tell(job, "stopped, " + ("saved" if left == "to resume" else "before its first save"))
        else:
            # Killed from outside, it has done nothing wrong: the next sweep goes on with it.
            self._fail(job, _how_it_ended(job, outcome), left if _killed(outcome) else "failed")

    def _done(self, job: Job, results: Mapping[str, Any]) -> None:
        record = self.records[job]
        record.status, record.test_error = "done", results["test_error"]
        done = sum(each.status == "done" for each in self.records.values())
        measured = f"test error {record.test_error:.2f} % [{results['dataset']['name']}]"
        trouble = f"; {self.troubles[job]}" if job in self.troubles else ""
        self._tell(job, f"done: {measured}, {done} of {len(self.records)}{trouble}")

    def _fail(self, job: Job, reason: str, status: str = "failed") -> None:
        self.failures[job] = reason
        self.records[job].status = status
        self._tell(job, f"failed, {reason}")

    def _tell(self, job: Job, news: str) -> None:
        width = max(len(str(each)) for each in self.records)
        self.say(f"{datetime.now():%H:%M:%S}  {job!s:{width}}  {news}")
        self.writing.attempt(SWEEP, self._write)

    def _records(self) -> dict[Job, Record]:
        """How it stands before the start; when the jobs ran, an earlier sweep of this table has written down."""
        try:
            before = json.loads((self.out / SWEEP).read_text(encoding="utf-8"))["jobs"]
            times = {(old["row"], old["seed"]): (old["started"], old["ended"]) for old in before}
        except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
            times = {}  # the folders of the runs say all that is needed
        records = {}
        for job, standing in self.standings.items():
            results = final_results(job.folder)
            error = results["test_error"] if results else None
            records[job] = Record(
                job.row, job.seed, str(job.folder), standing, error, *times.get((job.row, job.seed), (None, None))
            )
        return records

    def _write(self) -> None:
        content = {
            "rows": [summary._asdict() for summary in summarise(list(self.records))],
            "jobs": [asdict(record) for record in self.records.values()],
        }
        write_whole(self.out / SWEEP, (json.dumps(content, indent=2) + "\n").encode())


def _killed(outcome: Outcome) -> bool:
    """Whether a signal ended it: at once, or asked it to save and end."""
    return outcome.status < 0 or outcome.status - 128 in ASKING


def _how_it_ended(job: Job, outcome: Outcome) -> str:
    if outcome.status >= 0:
        return f"exit status {outcome.status}: {last_line(job.log)}"
    number = -outcome.status
    memory = ", out of memory?" if number == getattr(signal, "SIGKILL", None) else ""
    return f"ended by signal {number} ({signal.strsignal(number)}{memory}): {last_line(job.log)}"
