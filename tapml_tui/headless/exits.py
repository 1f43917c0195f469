"""How a command ends: its exit code, and errors that say what to do next."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes of `tapml-tui`; scripts rely on them."""

    OK = 0
    FAILED = 1
    """Something failed or broke, or nothing was compared."""
    USAGE = 2
    """Wrong arguments, or an extra is not installed."""
    DEVICE = 3
    """The device could not be had, or was lost and not regained."""
    BAD_TRACE = 4
    """Not a trace, a damaged one, or something of it was lost."""
    INTERRUPTED = 130


class CommandError(Exception):
    """A command that cannot go on, in three sentences for its user.

    Attributes:
        what: What happened.
        why: The cause.
        remedy: What to do next.
        code: How the process ends.
    """

    def __init__(self, what: str, *, why: str = "", remedy: str = "", code: Exit = Exit.USAGE) -> None:
        self.what, self.why, self.remedy, self.code = what, why, remedy, code
        super().__init__(self.what)

    def __str__(self) -> str:
        """The three sentences, a line each."""
        return "\n  ".join(line for line in (self.what, self.why, self.remedy) if line)
