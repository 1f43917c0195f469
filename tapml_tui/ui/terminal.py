"""The terminal that we are on: whether there is one, how calm it wants to be, whether it is still there."""

from __future__ import annotations

import select
import sys
from collections.abc import Mapping


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


def hung_up(descriptor: int = 0) -> bool:
    """Whether the other end of a terminal is gone: then reading gives nothing, at once and for ever.

    Who leads no session of its own gets no SIGHUP, and would go on without anybody in front of it.
    """
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0))
