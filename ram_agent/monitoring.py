"""What happens beside a training, every so many episodes: validation, gradient signal, checkpoints, pictures.

Stable-Baselines3's callbacks; what they find goes to a `Board`.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from stable_baselines3.common.callbacks import BaseCallback
from torch import Tensor

from ram_agent.algorithm import Algorithm
from ram_agent.animation import gaze_frames
from ram_agent.board import Board
from ram_agent.evaluation import TEST_SEED, Evaluation, evaluate
from ram_agent.figures import confusion_matrix, error_by_glimpse, fixation_map
from ram_agent.gaze import count_fixations, glimpse_paths, glimpse_strip
from ram_agent.gradient_signal import TAG, gradient_signal
from ram_agent.pictures import encode_gif
from ram_agent.rollout import GlimpseEnvironment
from ram_agent.sensor import to_pixels
from ram_agent.spectator import watch
from ram_agent.writing import Writing

SCRUBBED = 10
"""Pictures of a tag that TensorBoard keeps unless told otherwise (`--samples_per_plugin`); of more, a random few."""


class Best(NamedTuple):
    """The weights with the lowest validation error so far: what a run is judged by. The test set has no say."""

    error: float
    episodes: int
    weights: dict[str, Tensor]


class Periodic(BaseCallback):
    """Acts every `every` episodes, and at the end."""

    model: Algorithm  # type: ignore[assignment]

    def __init__(self, every: int, total: int) -> None:
        super().__init__()
        self.every, self.total = every, total

    def act(self) -> object:
        raise NotImplementedError

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        if _due(self.model, self.every, self.total):
            self.act()


class Validation(Periodic):
    """Every `every` episodes, and at the end: error on the validation split; keeps the best weights."""

    def __init__(self, env: GlimpseEnvironment, scenes: int, every: int, total: int, board: Board) -> None:
        super().__init__(every, total)
        self.env, self.scenes, self.board = env, scenes, board
        self.best: Best | None = None

    def act(self) -> None:
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
        confusion = result.confusion(learner.policy.blueprint.classes)
        board.figure("mistakes/confusion_matrix", confusion_matrix(confusion, self.env.class_names), learner.episodes)
        height, width = self.env.canvas.shape[-2:]
        points = to_pixels(torch.from_numpy(result.fixations), (height, width)).numpy()
        board.figure("gaze/fixations", fixation_map(count_fixations(points, (height, width))), learner.episodes)
        curve = error_by_glimpse({"validation": result.error_by_glimpse})
        board.figure("mistakes/error_by_glimpse", curve, learner.episodes)


class Signal(Periodic):
    """Beside each evaluation: how much of the window head's gradient is signal, estimator by estimator."""

    def __init__(self, env: GlimpseEnvironment, batches: int, every: int, total: int, board: Board) -> None:
        super().__init__(every, total)
        self.env, self.batches, self.board = env, batches, board

    def act(self) -> None:
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
            self.board.logger.record(TAG + estimator, ratio)
        self.board.logger.dump(learner.episodes)


A_CHECKPOINT = "a checkpoint"
"""What `Checkpoints` writes, by the name that trouble with it has."""


class Checkpoints(Periodic):
    """Every `every` episodes, and at the end, the whole learner with the best weights so far; `keep` of these."""

    def __init__(
        self,
        path: Path,
        every: int,
        total: int,
        validation: Validation,
        *,
        keep: int,
        writing: Writing,
        **extra: Any,
    ) -> None:
        super().__init__(every, total)
        self.path, self.validation, self.keep, self.writing = path, validation, keep, writing
        self.extra = extra

    def act(self) -> None:
        self.save()

    def save(self) -> None:
        """Save now. Raises `NumbersGoneBad` rather than put bad weights in the place of good ones.

        What was drawn before is on the disk first: a run that goes on from here does not draw it again.
        """
        self.model.check_numbers(weights=True)
        self.validation.board.flush()
        self.writing.attempt(A_CHECKPOINT, lambda: self._save(self.path, keep=self.keep))

    @property
    def unsaved(self) -> str:
        """Why the last checkpoint is not on the disk; nothing where it is."""
        return self.writing.trouble.get(A_CHECKPOINT, "")

    def save_diagnostic(self, path: Path, reason: str) -> None:
        """Save how a training stood whose numbers have gone bad."""
        self._save(path, diagnosis=reason)

    def _save(self, path: Path, **more: Any) -> None:
        best = self.validation.best
        self.model.save(path, best=best._asdict() if best else None, **self.extra, **more)


class Pictures(Periodic):
    """Beside evaluations: where the eye goes on the same images and what it sees there, as pictures and moving."""

    def __init__(self, env: GlimpseEnvironment, scenes: Sequence[int], every: int, total: int, board: Board) -> None:
        super().__init__(pictured_every(every, total), total)
        self.env, self.scenes, self.board = env, scenes, board

    def act(self) -> None:
        if not self.board.writer:
            return
        gaze = watch(self.model.judged, self.env, self.scenes)
        step = self.model.episodes
        self.board.figure("gaze/paths", glimpse_paths(gaze), step)
        self.board.figure("gaze/strip", glimpse_strip(gaze, 0), step)
        frames = gaze_frames(gaze)
        self.board.picture("gaze/animation", encode_gif(frames), frames[0].shape[:2], step)


def pictured_every(every: int, total: int) -> int:
    """Episodes between pictures, a multiple of `every`: as many in a run as TensorBoard keeps of a tag."""
    return every * math.ceil(total / (SCRUBBED * every))


def _due(learner: Algorithm, every: int, total: int) -> bool:
    """Whether this update crossed a multiple of `every`, or was the last."""
    now, before = learner.episodes, learner.episodes - learner.lanes
    return now // every > before // every or now >= total
