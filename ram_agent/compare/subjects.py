"""What a report is written from: methods with what was found out about them, pairs of them, pictures."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ram_agent.compare.document import Picture
from ram_agent.compare.examine import Examined
from ram_agent.compare.gather import Run
from ram_agent.compare.methods import Method
from ram_agent.compare.statistics import Paired, Welch


@dataclass(frozen=True)
class Subject:
    """A method with what was found out about it here."""

    method: Method
    examined: Mapping[int, Examined] = field(default_factory=dict)
    """By seed."""
    parameters: int | None = None
    flops: float | None = None
    milliseconds: Mapping[int, float] | None = None
    """Per image, by batch."""
    device: str = ""

    @property
    def shown(self) -> Run:
        """A run that was examined, one that knows its images where there is any."""
        runs = [run for run in self.method.runs if run.config.run.seed in self.examined]
        return next((run for run in runs if run.sha256), runs[0])


@dataclass(frozen=True)
class Pair:
    """Two methods on the same test set, the one with the lower error first."""

    better: str
    other: str
    paired: Paired
    seeds: tuple[int, int]
    over_seeds: Welch | None
    """The same difference over seeds; None for fewer than three of any."""
    p: float
    """`paired.p`, adjusted for the number of pairs."""
    p_over_seeds: float | None
    """`over_seeds.p`, adjusted for the number of pairs that have one."""


@dataclass(frozen=True)
class Compared:
    subjects: tuple[Subject, ...]
    pairs: tuple[Pair, ...]
    trouble: tuple[str, ...]
    """What could not be looked at again."""
    evaluated: bool

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
