"""What a run writes while it goes: TensorBoard, `metrics.csv`, validation, checkpoints, pictures.

Everything hangs on Stable-Baselines3's logger and callbacks. Every tag is defined in docs/tensorboard.md.
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger, TensorBoardOutputFormat
from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # type: ignore[attr-defined]
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[attr-defined]
from torch import Tensor
from torch.utils.tensorboard.writer import FileWriter, SummaryWriter

from ram_agent.algorithm import Algorithm
from ram_agent.animation import gaze_frames
from ram_agent.dashboard import layout_summary, settings_summaries
from ram_agent.evaluation import TEST_SEED, Evaluation, at_rest, evaluate
from ram_agent.figures import confusion_matrix, error_by_glimpse, fixation_map
from ram_agent.files import write_whole
from ram_agent.fonts import legible
from ram_agent.gaze import Gaze, count_fixations, glimpse_paths, glimpse_strip
from ram_agent.pictures import encode_gif
from ram_agent.policy import Policy
from ram_agent.precision import products_in_full
from ram_agent.rollout import GlimpseEnvironment, rollout
from ram_agent.sensor import to_pixels
from ram_agent.signal import gradient_signal
from ram_agent.writing import Attempted, Events, Writing, watch_events

SCRUBBED = 10
"""Pictures of a tag that TensorBoard keeps unless told otherwise (`--samples_per_plugin`); of more, a random few."""


class MetricsFile(KVWriter):
    """`metrics.csv`: one row per dump, whatever columns turn up. A resumed run goes on where its checkpoint was."""

    def __init__(self, path: Path, images: str, resume_at: int | None = None) -> None:
        self.path, self.images = path, images
        self.rows: list[dict[str, Any]] = []
        self._columns: dict[str, None] = {}
        self.torn = False
        """Whether the last row may stand there in part."""
        if resume_at is not None and path.exists():
            self.rows = [row for row in whole_rows(path) if int(row["step"]) <= resume_at]
            self._columns = {key: None for row in self.rows for key in row}
            self._rewrite()

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        row = {"step": step, "images": self.images}
        row |= {
            key: value
            for key, value in key_values.items()
            if isinstance(value, float | int) and "csv" not in (key_excluded.get(key) or ())
        }
        new_columns = not self.rows or not row.keys() <= self._columns.keys()
        self.rows.append(row)
        self._columns |= dict.fromkeys(row)
        if new_columns or self.torn:
            self._rewrite()
        else:
            self.torn = True
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
        folder.mkdir(parents=True, exist_ok=True)
        writing = writing or Writing(folder)
        self.metrics = MetricsFile(folder / "metrics.csv", images, resume_at)
        self.writer: SummaryWriter | None = None
        outputs: list[KVWriter] = [Attempted(self.metrics, "metrics.csv", writing)]
        if tensorboard:
            output = TensorBoardOutputFormat(str(folder))
            self.writer = output.writer
            events = watch_events(self._events.event_writer)
            # Steps after the checkpoint happen again: at the start of a session TensorBoard forgets all from its step
            # on. Of the first such start it forgets nothing, so that a run that begins must say so too.
            self._events.add_event(
                Event(step=0 if resume_at is None else resume_at + 1, session_log=SessionLog(status=SessionLog.START))
            )
            outputs.append(Attempted(Events(output, events), "TensorBoard's events", writing))
        self.logger = Logger(str(folder), outputs)

    @property
    def _events(self) -> FileWriter:
        """Of a board with a writer."""
        assert self.writer is not None
        return self.writer._get_file_writer()

    def text(self, tag: str, text: str, step: int = 0) -> None:
        if self.writer:
            self.writer.add_text(tag, text, step)

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
        if self.writer:
            self._events.add_summary(layout_summary(glimpses))

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


class Best(NamedTuple):
    """The weights with the lowest validation error so far: what a run is judged by. The test set has no say."""

    error: float
    episodes: int
    weights: dict[str, Tensor]


class Validation(BaseCallback):
    """Every `every` episodes, and at the end: error on the validation split; keeps the best weights."""

    model: Algorithm  # type: ignore[assignment]

    def __init__(self, env: GlimpseEnvironment, scenes: int, every: int, total: int, board: Board) -> None:
        super().__init__()
        self.env, self.scenes, self.every, self.total, self.board = env, scenes, every, total, board
        self.best: Best | None = None

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        if _due(self.model, self.every, self.total):
            self.evaluate()

    def evaluate(self, *, record: bool = True) -> Evaluation:
        """Evaluate now; `record` it in the run's curves."""
        learner = self.model
        learner.check_numbers(weights=True)
        generator = torch.Generator(learner.device).manual_seed(TEST_SEED)
        result = evaluate(learner.judged, self.env, self.scenes, generator=generator)
        if self.best is None or result.error < self.best.error:
            weights = {name: value.detach().clone() for name, value in learner.judged.state_dict().items()}
            self.best = Best(result.error, learner.episodes, weights)
        if not record:
            return result
        logger = self.board.logger
        logger.record("eval/error", result.error)
        logger.record("eval/reward", 1 - result.error / 100)
        logger.record("eval/best_error", self.best.error)
        for look, error in enumerate(result.error_by_glimpse, start=1):
            logger.record(f"eval_by_glimpse/error_{look}", error)
        logger.dump(learner.episodes)
        if self.board.writer and _due(learner, pictured_every(self.every, self.total), self.total):
            self._draw(result)
        return result

    def _draw(self, result: Evaluation) -> None:
        learner, board = self.model, self.board
        confusion = torch.from_numpy(result.confusion(learner.policy.blueprint.classes))
        board.figure("mistakes/confusion_matrix", confusion_matrix(confusion, self.env.class_names), learner.episodes)
        height, width = self.env.canvas.shape[-2:]
        points = to_pixels(torch.from_numpy(result.fixations), (height, width)).numpy()
        density = torch.from_numpy(count_fixations(points, (height, width)))
        board.figure("gaze/fixations", fixation_map(density), learner.episodes)
        curve = error_by_glimpse({"validation": result.error_by_glimpse})
        board.figure("mistakes/error_by_glimpse", curve, learner.episodes)


class Signal(BaseCallback):
    """Beside each evaluation: how much of the window head's gradient is signal, estimator by estimator."""

    model: Algorithm  # type: ignore[assignment]

    def __init__(self, env: GlimpseEnvironment, batches: int, every: int, total: int, board: Board) -> None:
        super().__init__()
        self.env, self.batches, self.every, self.total, self.board = env, batches, every, total, board

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        if _due(self.model, self.every, self.total):
            self.measure()

    def measure(self) -> None:
        """Measure now."""
        learner = self.model
        ratios = gradient_signal(
            learner.policy,
            self.env,
            learner.training,
            batches=self.batches,
            std=learner.window_std(learner.progress),
            seed=learner.seed,
            number=learner.updates,
        )
        if not ratios:
            return
        for estimator, ratio in ratios.items():
            self.board.logger.record(f"gradient/snr_{estimator}", ratio)
        self.board.logger.dump(learner.episodes)


class Checkpoints(BaseCallback):
    """Every `every` episodes, and at the end, the whole learner with the best weights so far; `keep` of these."""

    model: Algorithm  # type: ignore[assignment]

    def __init__(
        self,
        path: Path,
        every: int,
        total: int,
        validation: Validation,
        *,
        keep: int = 3,
        writing: Writing | None = None,
        **extra: Any,
    ) -> None:
        super().__init__()
        self.writing = writing
        self.path, self.every, self.total, self.validation, self.keep = path, every, total, validation, keep
        self.extra = extra

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        if _due(self.model, self.every, self.total):
            self.save()

    def save(self) -> None:
        """Save now. Raises `NumbersGoneBad` rather than put bad weights in the place of good ones.

        What was drawn before is on the disk first: a run that goes on from here does not draw it again.
        """
        self.model.check_numbers(weights=True)
        self.validation.board.flush()
        if self.writing:
            self.writing.attempt("a checkpoint", lambda: self._save(self.path, keep=self.keep))
        else:
            self._save(self.path, keep=self.keep)

    def save_diagnostic(self, path: Path, reason: str) -> None:
        """Save how a training stood whose numbers have gone bad."""
        self._save(path, diagnosis=reason)

    def _save(self, path: Path, **more: Any) -> None:
        best = self.validation.best
        self.model.save(path, best=best._asdict() if best else None, **self.extra, **more)


class Pictures(BaseCallback):
    """Beside evaluations: where the eye goes on the same images and what it sees there, as pictures and moving."""

    model: Algorithm  # type: ignore[assignment]

    def __init__(self, env: GlimpseEnvironment, scenes: Sequence[int], every: int, total: int, board: Board) -> None:
        super().__init__()
        self.env, self.scenes, self.every, self.total, self.board = env, scenes, every, total, board

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        if self.board.writer and _due(self.model, pictured_every(self.every, self.total), self.total):
            gaze = watch(self.model.judged, self.env, self.scenes)
            step = self.model.episodes
            self.board.figure("gaze/paths", glimpse_paths(gaze), step)
            self.board.figure("gaze/strip", glimpse_strip(gaze, 0), step)
            frames = gaze_frames(gaze)
            self.board.picture("gaze/animation", encode_gif(frames), frames[0].shape[:2], step)


@torch.no_grad()
def watch(policy: Policy, env: GlimpseEnvironment, scenes: Sequence[int] | None = None) -> Gaze:
    """Play N scenes of an environment, 0 … N-1 unless told which, at mean locations; note all that a picture needs."""
    generator = torch.Generator(next(policy.parameters()).device).manual_seed(TEST_SEED)
    shown = range(env.num_envs) if scenes is None else scenes
    with at_rest(policy), products_in_full():
        episode = rollout(policy, env, seed=[TEST_SEED] * env.num_envs, scenes=shown, generator=generator)
    canvas, sensor = env.canvas, env.sensor
    retina, size = sensor.prepare(canvas), (canvas.shape[-2], canvas.shape[-1])
    windows = [sensor.window(action) for action in episode.windows]
    probability, answers = episode.logits.softmax(dim=-1).max(dim=-1)
    return Gaze(
        canvas=canvas.cpu(),
        boxes=torch.stack([sensor.boxes(window, size) for window in windows]).cpu(),
        glimpses=torch.stack([sensor.read(retina, window) for window in windows]).cpu(),
        target=episode.target.cpu(),
        answers=answers.cpu(),
        probability=probability.cpu(),
        classes=tuple(env.class_names),
    )


def pictured_every(every: int, total: int) -> int:
    """Episodes between pictures, a multiple of `every`: as many in a run as TensorBoard keeps of a tag."""
    return every * math.ceil(total / (SCRUBBED * every))


def _due(learner: Algorithm, every: int, total: int) -> bool:
    """Whether this update crossed a multiple of `every`, or was the last."""
    now, before = learner.episodes, learner.episodes - learner.lanes
    return now // every > before // every or now >= total
