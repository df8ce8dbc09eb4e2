"""What a command is made of."""

from collections.abc import Callable

Prepared = Callable[[], int]
"""What a command does once everything it was given has proved right; returns the exit status."""

NUMBERS_GONE_BAD = 3
"""Exit status of a training that met NaN or infinity."""


class Refused(Exception):
    """A command that cannot begin, or came to nothing; the message is one line."""
