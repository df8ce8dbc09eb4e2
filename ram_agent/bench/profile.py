"""Where the time of a training step goes.

Methods are wrapped from outside while it is measured; the product's code knows nothing of it. A part's time is
exclusive: what a wrapped method spends in another wrapped one counts there, so that parts never count twice.
"""

import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, NamedTuple

import torch

from ram_agent.algorithm import denormals_flushed
from ram_agent.bench.report import Table
from ram_agent.bench.settings import Settings, announce
from ram_agent.bench.subject import NAMES, make_learner
from ram_agent.learner import Learner
from ram_agent.timing import FEWEST, Cell, Spread

REST = "the rest of the step"
WHOLE = "whole step"
LIMIT = 20.0
"""Seconds after which no further round begins."""


class Part(NamedTuple):
    """A method, and what its time counts as."""

    label: str
    owner: Any
    method: str


def parts(learner: Learner) -> list[Part]:
    """All that is told apart. The one place to change when methods of the product are renamed."""
    policy, env, sensor = learner.policy, learner.env, learner.env.sensor
    return [
        Part("scene", type(env.scenes), "__call__"),  # type: ignore[attr-defined]  # a call looks at the class alone
        Part("sensor", sensor, "prepare"),
        Part("sensor", sensor, "window"),
        Part("sensor", sensor, "read"),
        Part("glimpse network", policy.glimpse, "forward"),
        Part("core", policy.core, "forward"),
        Part("heads", policy, "move"),
        Part("heads", policy.classifier, "forward"),
        Part("heads", policy.baseline, "forward"),
        Part("loss", learner, "losses"),
        Part("backward", torch.Tensor, "backward"),
        Part("optimiser", torch.nn.utils, "clip_grad_norm_"),
        Part("optimiser", learner.optimizer, "zero_grad"),
        Part("optimiser", learner.optimizer, "step"),
        Part("logging", learner, "_gaze"),
        Part("logging", learner.running, "add"),
        Part("environment rest", env, "reset"),
        Part("environment rest", env, "step"),
    ]


class Stopwatch:
    """Exclusive seconds by label."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.seconds: dict[str, float] = {}
        self._clock = clock
        self._inner = [0.0]
        """Seconds already counted elsewhere, for each wrapped call that is under way."""

    def timed(self, label: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, timed."""
        self.seconds.setdefault(label, 0.0)

        @wraps(function)
        def run(*arguments: Any, **options: Any) -> Any:
            self._inner.append(0.0)
            started = self._clock()
            try:
                return function(*arguments, **options)
            finally:
                elapsed = self._clock() - started
                self.seconds[label] += elapsed - self._inner.pop()
                self._inner[-1] += elapsed

        return run


@contextmanager
def watched(watch: Stopwatch, methods: list[Part]) -> Iterator[None]:
    """Within it the methods are timed; behind it everything is as it was."""
    undo: list[tuple[Any, str, bool, Any]] = []
    try:
        for label, owner, name in methods:
            function = getattr(owner, name)
            undo.append((owner, name, name in vars(owner), vars(owner).get(name)))
            _put(owner, name, watch.timed(label, function))
        yield
    finally:
        for owner, name, own, value in reversed(undo):
            if own:
                _put(owner, name, value)
            elif isinstance(owner, type):
                delattr(owner, name)
            else:
                object.__delattr__(owner, name)


def profile(learners: Mapping[str, Learner], settings: Settings) -> dict[str, list[dict[str, float]]]:
    """Seconds by part, `REST` and `WHOLE`, for each update of each learner; learners take turns."""
    clock = settings.clock
    seconds: dict[str, list[dict[str, float]]] = {name: [] for name in learners}
    for learner in learners.values():
        learner.running.add(learner.update())
    began = clock()
    for number in range(settings.rounds):
        if number >= FEWEST and clock() - began > LIMIT:
            break
        for name, learner in learners.items():
            watch = Stopwatch(clock)
            with watched(watch, parts(learner)), denormals_flushed():
                started = clock()
                learner.running.add(learner.update())
                whole = clock() - started
            rest = whole - sum(watch.seconds.values())
            seconds[name].append({**watch.seconds, REST: rest, WHOLE: whole})
    return seconds


def profile_tables(settings: Settings) -> list[Table]:
    """One row a part, one pair of columns an attention."""
    announce("profile")
    learners = {name: make_learner(kind, settings.batch, settings.device) for kind, name in NAMES.items()}
    seconds = profile(learners, settings)
    labels = list(next(iter(seconds.values()))[0])
    rows: list[tuple[Cell, ...]] = []
    for label in labels:
        shares = [sum(s[label] for s in rounds) / sum(s[WHOLE] for s in rounds) for rounds in seconds.values()]
        costs = [Spread.of([1e3 * s[label] for s in rounds]) for rounds in seconds.values()]
        rows.append((label, *(100 * share for share in shares), *costs))
    note = (
        f"One update at batch {settings.batch}, LSTM core, and its logging. A part's time is exclusive. The sensor is "
        "preparation, windows and reading, forward; its gradient counts as backward. Shares are of sums over rounds."
    )
    columns = ("part", *(f"{name} %" for name in seconds), *(f"{name} ms" for name in seconds))
    return [Table("profile", "Where the time goes", note, columns, tuple(rows))]


def _put(owner: Any, name: str, value: Any) -> None:
    if isinstance(owner, type | types.ModuleType):
        setattr(owner, name, value)
    else:
        object.__setattr__(owner, name, value)  # sensors are frozen, and a network's own takes note of everything
