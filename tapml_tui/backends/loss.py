"""What it means that the session with a device went away: what happened, and whether the kernel that ran did it."""

from __future__ import annotations

from dataclasses import dataclass

from tapml_tui.backends.process import crashed, describe_exit
from tapml_tui.backends.troubles import is_device_lost, is_poisoned


@dataclass(frozen=True)
class Loss:
    """The session went away.

    Attributes:
        words: What happened.
        crashed: The process that ran the kernels died by itself: if a kernel ran, it is to blame.
        deadline: We ended it, because something took too long or was interrupted.
        certain: The kernel did it. At a distance it may have been the line, and somebody else may have killed the
            process.
        log: The last lines that the server wrote.
    """

    words: str
    crashed: bool = False
    deadline: bool = False
    certain: bool = False
    log: str = ""

    @classmethod
    def of_a_call(cls, reason: str, detail: str, *, ours: bool) -> Loss:
        """A call failed, and the session does not answer any more."""
        if is_poisoned(detail):
            return cls("an earlier call spoilt the RPC session; it is made anew")
        if is_device_lost(detail):
            return cls(f"the driver gave the device up: {reason}", crashed=True, certain=True)
        # Of our own server it is known soon what became of the process that ran the kernel.
        return cls(f"the connection was lost: {reason}", crashed=not ours)

    @classmethod
    def of_a_session(cls, code: int, *, line_broke: bool) -> Loss:
        """The process that ran the kernels ended, with an exit code."""
        if line_broke:
            return cls("the RPC session broke off")
        words = f"the process that runs the kernels {describe_exit(code)}"
        return cls(words, crashed=True, certain=crashed(code))
