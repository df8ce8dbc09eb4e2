"""What a report is written from: methods with what was found out about them, pairs of them, pictures."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool

from ram_agent.compare.document import Picture
from ram_agent.compare.examine import Examined
from ram_agent.compare.gather import Run
from ram_agent.compare.methods import Method
from ram_agent.compare.statistics import Contrast, Welch


@dataclass(frozen=True)
class Subject:
    """A method with what was found out about it here."""

    method: Method
    wrong: Mapping[int, Bool[np.ndarray, " images"]] = field(default_factory=dict)
    """By seed: which test images it took for another class at mean locations, as far as that is known."""
    examined: Mapping[int, Examined] = field(default_factory=dict)
    """By seed."""
    parameters: int | None = None
    flops: float | None = None
    milliseconds: Mapping[int, float] | None = None
    """Per image, by batch."""
    device: str = ""
    fresh: bool = False
    """Whether operations and milliseconds are those of fresh weights."""

    @property
    def shown(self) -> Run:
        """A run that was examined, one that knows its images where there is any."""
        return self._of(self.examined)

    @property
    def judged(self) -> Run:
        """Likewise, of all that were measured."""
        return self._of(self.errors)

    @property
    def answers(self) -> Bool[np.ndarray, "seeds images"] | None:
        """Which test images were answered wrongly; None where that is not known of every seed that was measured."""
        if not self.wrong or self.wrong.keys() != self.errors.keys() or len(set(map(len, self.wrong.values()))) > 1:
            return None
        return np.stack(list(self.wrong.values()))

    @property
    def errors(self) -> Mapping[int, float]:
        """By seed, of all that were measured, in percent: by the answers, where they are known, else as stored."""
        stored = {run.seed: run.measured.test_error for run in self.method.finished if run.measured}
        return stored | {seed: float(100 * wrong.mean()) for seed, wrong in self.wrong.items()}

    def _of(self, seeds: Collection[int]) -> Run:
        runs = [run for run in self.method.runs if run.seed in seeds]
        return next((run for run in runs if run.sha256), runs[0])


@dataclass(frozen=True)
class Pair:
    """Two methods on the same test set, the one with the lower error first."""

    better: str
    other: str
    over_images: Contrast
    seeds: tuple[int, int]
    over_seeds: Welch | None
    """The same difference over seeds; None for fewer than three of any."""
    p: float
    """`over_images.p`, adjusted for the number of pairs."""
    p_over_seeds: float | None
    """`over_seeds.p`, adjusted for the number of pairs that have one."""


@dataclass(frozen=True)
class Compared:
    subjects: tuple[Subject, ...]
    pairs: tuple[Pair, ...]
    trouble: tuple[str, ...]
    """What could not be looked at again."""

    @property
    def datasets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(run.dataset for subject in self.subjects for run in subject.method.runs))


@dataclass(frozen=True)
class Pictures:
    """Names of files beside the report; None where there was nothing to draw."""

    curves: str | None
    by_glimpse: str | None
    signal: str | None
    fixations: tuple[Picture, ...]
    paths: tuple[str, ...]
