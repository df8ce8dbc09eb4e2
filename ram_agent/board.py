"""Where a run's numbers and pictures go while it is trained: TensorBoard and `metrics.csv`.

Every tag is defined in docs/tensorboard.md.
"""

import csv
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import KVWriter, Logger, TensorBoardOutputFormat
from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # type: ignore[attr-defined]
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[attr-defined]
from torch.utils.tensorboard.writer import FileWriter, SummaryWriter

from ram_agent.dashboard import layout_summary, settings_summaries
from ram_agent.files import write_whole
from ram_agent.fonts import legible
from ram_agent.run_files import METRICS
from ram_agent.writing import Attempted, EventFile, Events, Writing, watch_events


class MetricsFile(KVWriter):
    """`metrics.csv`: one row per dump, whatever columns turn up. A resumed run goes on where its checkpoint was."""

    def __init__(self, path: Path, images: str, resume_at: int | None = None) -> None:
        self.path, self.images = path, images
        self.rows: list[dict[str, Any]] = []
        self._columns: dict[str, None] = {}
        self.torn = False
        """Whether the file may lack the last row, or have it in part: the next write is of all rows."""
        if resume_at is not None and path.exists():
            self.rows = [row for row in whole_rows(path) if int(row["step"]) <= resume_at]
            self._columns = {key: None for row in self.rows for key in row}
            self.torn = True

    def mend(self) -> None:
        """Write all rows, where the file may not have them so."""
        if self.torn:
            self._rewrite()
            self.torn = False

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        row = {"step": step, "images": self.images}
        row |= {
            key: value
            for key, value in key_values.items()
            if isinstance(value, float | int) and "csv" not in (key_excluded.get(key) or ())
        }
        anew = self.torn or not self.rows or not row.keys() <= self._columns.keys() or not self.path.exists()
        self.rows.append(row)
        self._columns |= dict.fromkeys(row)
        self.torn = True
        if anew:
            self._rewrite()
        else:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, list(self._columns)).writerow(row)
        self.torn = False

    def _rewrite(self) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(self._columns))
        writer.writeheader()
        writer.writerows(self.rows)
        write_whole(self.path, text.getvalue().encode())

    def close(self) -> None:
        """Every row is on the disk already."""


def whole_rows(path: Path) -> list[dict[str, Any]]:
    """Rows that a process which was killed, or a full disk, has not cut short."""
    text = path.read_text(encoding="utf-8", errors="replace").replace("\0", "")
    whole, end, _ = text.rpartition("\n")
    reader = csv.DictReader(io.StringIO(whole + end, newline=""))
    return [row for row in reader if (row.get("step") or "").isdigit() and None not in row and None not in row.values()]


class Board:
    """A run's logger: TensorBoard events and `metrics.csv` in one folder, scalars and pictures.

    With `resume_at`, what stands there holds up to that many episodes: all later steps happen again. Below 0 none of it
    holds, as where a run was killed before its first checkpoint.
    """

    def __init__(
        self,
        folder: Path,
        images: str,
        *,
        tensorboard: bool,
        resume_at: int | None = None,
        writing: Writing | None = None,
    ) -> None:
        if writing is None:
            folder.mkdir(parents=True, exist_ok=True)
            writing = Writing(folder)
        self.folder, self.resume_at = folder, resume_at
        self._preface: list[Callable[[SummaryWriter], object]] = []
        """What TensorBoard is to show before all numbers, until its file is begun."""
        self.metrics = MetricsFile(folder / METRICS, images, resume_at)
        writing.attempt(METRICS, self.metrics.mend)
        self.writer: SummaryWriter | None = None
        """None without TensorBoard, and as long as the disk does not take its file."""
        outputs: list[KVWriter] = [Attempted(self.metrics, METRICS, writing)]
        if tensorboard:
            events, what = Events(folder, self._begin_events), "TensorBoard's events"
            writing.attempt(what, events.open)
            outputs.append(Attempted(events, what, writing))
        self.logger = Logger(str(folder), outputs)

    def _begin_events(self) -> tuple[KVWriter, EventFile]:
        output = TensorBoardOutputFormat(str(self.folder))
        self.writer = output.writer
        file = watch_events(self._events.event_writer)
        # Steps after the checkpoint happen again: at the start of a session TensorBoard forgets all from its step
        # on. Of the first such start it forgets nothing, so that a run that begins must say so too.
        step = 0 if self.resume_at is None else self.resume_at + 1
        self._events.add_event(Event(step=step, session_log=SessionLog(status=SessionLog.START)))
        for show in self._preface:
            show(self.writer)
        self._preface.clear()
        return output, file

    def _show(self, show: Callable[[SummaryWriter], object]) -> None:
        """Now, or as soon as the file is begun."""
        if self.writer:
            show(self.writer)
        else:
            self._preface.append(show)

    @property
    def _events(self) -> FileWriter:
        """Of a board with a writer."""
        assert self.writer is not None
        return self.writer._get_file_writer()

    def text(self, tag: str, text: str) -> None:
        self._show(lambda writer: writer.add_text(tag, text, 0))

    def picture(self, tag: str, encoded: bytes, size: tuple[int, int], step: int) -> None:
        """A PNG or a GIF (height, width) as an image summary; TensorBoard plays GIFs."""
        if self.writer:
            image = Summary.Image(encoded_image_string=encoded, height=size[0], width=size[1], colorspace=3)
            self._events.add_summary(Summary(value=[Summary.Value(tag=tag, image=image)]), step)

    def figure(self, tag: str, figure: Any, step: int) -> None:
        """A matplotlib figure as a picture."""
        file = io.BytesIO()
        legible(figure)
        figure.savefig(file, format="png", dpi=100)
        png = file.getvalue()
        width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))  # as its header has them
        self.picture(tag, png, (height, width), step)

    def layout(self, glimpses: int) -> None:
        """The page of TensorBoard that shows the curves of all runs on the same axes."""
        self._show(lambda _: self._events.add_summary(layout_summary(glimpses)))

    def results(self, settings: Mapping[str, Any], numbers: Mapping[str, float], step: int) -> None:
        """Final scalars, and the hparams table in the same event file."""
        if self.writer:
            for summary in settings_summaries(settings, list(numbers)):
                self._events.add_summary(summary)
        for tag, value in numbers.items():
            self.logger.record(tag, value)
        self.logger.dump(step)

    def flush(self) -> None:
        """Have everything on the disk: a thread of TensorBoard's writes when it thinks fit."""
        if self.writer:
            self.writer.flush()

    def close(self) -> None:
        self.logger.close()
