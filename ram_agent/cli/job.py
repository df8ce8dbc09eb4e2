"""What a command is made of."""

from collections.abc import Callable

Job = Callable[[], int]
"""What a command does once everything it was given has proved right; returns the exit status."""


class Refused(Exception):
    """A command that cannot begin; the message is one line."""
