"""What is said of the images where they are not what was hoped for."""

import sys


def loud(notice: str) -> None:
    """One loud line, and the reasons quietly below it."""
    loud, _, reasons = notice.partition(" (")
    line = "!" * (len(loud) + 6)
    print(f"{line}\n!! {loud} !!\n{line}", file=sys.stderr)
    if reasons:
        print(reasons.removesuffix(")"), file=sys.stderr, flush=True)
