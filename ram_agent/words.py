"""Numbers and lists of them in words."""

from collections.abc import Iterable, Sequence
from statistics import fmean

NOTHING = "–"


def mean(values: Iterable[float | None], digits: int = 0) -> str:
    """Times below ten seconds, which only trials have, get a digit more; counts are whole and stay so."""
    known = [value for value in values if value is not None]
    if not known:
        return NOTHING
    mean = fmean(known)
    return f"{mean:,.{digits or int(mean < 10 and not mean.is_integer())}f}"


def distinct(values: Iterable[object]) -> str:
    known = dict.fromkeys(
        f"{value:,}" if isinstance(value, int) else str(value) for value in values if value is not None
    )
    return ", ".join(known) or NOTHING


def count(number: int, what: str, more: str = "") -> str:
    """`1 thread`, `2 threads`; `more` is the plural where that is not by an s alone."""
    return f"{number:,} {what if number == 1 else more or f'{what}s'}"


def listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
