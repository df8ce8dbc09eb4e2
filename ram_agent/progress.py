"""What a long work says of itself: lines, and the progress bar of a training run: error, reward, episodes per second.

Nothing of it is worth the work: where it cannot be said, as to a terminal that is closed or to a log on a full disk, it
is not.
"""

import sys
from contextlib import suppress
from types import TracebackType
from typing import Any

from tqdm import tqdm


class Unheard:
    """A stream of text that may refuse what is written to it."""

    def __init__(self, stream: Any) -> None:
        self._wrapped = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._wrapped.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._wrapped.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)

    def __eq__(self, other: object) -> bool:
        """tqdm asks so whether a line and a bar go to one place."""
        return self._wrapped == getattr(other, "_wrapped", other)

    __hash__ = object.__hash__


def warn(line: str) -> None:
    """A line on standard error that leaves a progress bar whole."""
    tell(f"warning: {line}")


def tell(line: str) -> None:
    """The same for what is no warning."""
    tqdm.write(line, file=Unheard(sys.stderr))  # type: ignore[arg-type]


def say(line: str) -> None:
    """A line on standard output, whose reader may have had enough (`| head`), which is an end: `BrokenPipeError`."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        raise
    except OSError:
        pass


class ProgressBar:
    """A bar over episodes on standard error; draws nothing where `shown` is false."""

    def __init__(self, total: int, done: int, shown: bool, title: str) -> None:
        # A file or a pipe gets a line now and then instead of a thousand.
        interval = 0.5 if sys.stderr.isatty() else 20.0
        self._bar = tqdm(
            file=Unheard(sys.stderr),  # type: ignore[arg-type]
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
