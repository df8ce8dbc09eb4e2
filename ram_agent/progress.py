"""The progress bar of a training run: error, reward and episodes per second."""

import sys
from types import TracebackType

from tqdm import tqdm


def warn(line: str) -> None:
    """A line on standard error that leaves a progress bar whole."""
    tqdm.write(f"warning: {line}", file=sys.stderr)


def tell(line: str) -> None:
    """The same for what is no warning."""
    tqdm.write(line, file=sys.stderr)


class ProgressBar:
    """A bar over episodes on standard error; draws nothing where `shown` is false."""

    def __init__(self, total: int, done: int, shown: bool, title: str) -> None:
        # A file or a pipe gets a line now and then instead of a thousand.
        interval = 0.5 if sys.stderr.isatty() else 20.0
        self._bar = tqdm(
            total=total,
            initial=done,
            disable=not shown,
            desc=title,
            unit=" episodes",
            unit_scale=True,
            mininterval=interval,
            dynamic_ncols=True,
            leave=True,
        )

    def advance(self, episodes: int) -> None:
        left = self._bar.total - self._bar.n if self._bar.total else episodes  # beyond its total a bar is none
        self._bar.update(min(episodes, left))

    def show(self, *, error: float, reward: float) -> None:
        """Latest means: error in percent, reward."""
        self._bar.set_postfix_str(f"error {error:5.2f} %, reward {reward:.3f}", refresh=False)

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
