"""The terminal that we are on: whether there is one, how calm it wants to be, whether it is still there."""

from __future__ import annotations

import logging
import os
import select
import sys
import threading
from collections.abc import Mapping

_LOG = logging.getLogger(__name__)

HANGUP = 128 + 1
"""Exit code, as a shell reports who was ended by SIGHUP."""


def calm_terminal(environment: Mapping[str, str]) -> dict[str, str]:
    """Textual's settings, which it reads when it is imported; what the user has set stays.

    Over SSH every frame crosses the network: 15 a second. Nothing is animated anywhere,
    because an answer that slides in is an answer that comes later.
    """
    settings = {"TEXTUAL_ANIMATIONS": "none", "TEXTUAL_SMOOTH_SCROLL": "0"}
    if "SSH_CONNECTION" in environment or "SSH_TTY" in environment:
        settings["TEXTUAL_FPS"] = "15"
    return {name: value for name, value in settings.items() if name not in environment}


def in_a_terminal() -> bool:
    """Whether Textual can read keys (from stdin) and paint (on stderr)."""
    return all(stream is not None and stream.isatty() for stream in (sys.__stdin__, sys.__stderr__))


def leave_with_the_terminal(descriptor: int = 0) -> None:
    """End this process at once when the other end of its terminal goes away.

    The system sends SIGHUP to those only whose session the terminal controls. Others would go on without anybody in
    front of them: reading gives nothing, at once and for ever, and who paints waits for ever. What the
    user did is on the disk already, and the workers end when we do.
    """

    def watch() -> None:
        wait_for_hangup(descriptor)
        _LOG.warning("the terminal is gone")
        os._exit(HANGUP)

    threading.Thread(target=watch, name="terminal", daemon=True).start()


def wait_for_hangup(descriptor: int) -> None:
    """Return when the other end of a terminal is gone."""
    poll = select.poll()
    poll.register(descriptor, 0)  # nothing but what is always reported: POLLHUP and errors
    while not poll.poll():
        pass
