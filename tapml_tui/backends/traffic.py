"""Counting what crosses the line to a device."""

from __future__ import annotations

from collections import deque

from tapml_tui.backends.protocol import Traffic

WINDOW = 3.0
"""Seconds over which a rate is taken."""


class Meter:
    """Bytes of a session, and how many there were of late."""

    def __init__(self) -> None:
        """Start at nothing."""
        self._up = self._down = 0
        self._recent: deque[tuple[float, int]] = deque()

    def add(self, up: int, down: int, now: float) -> None:
        """Count what crossed, by a clock in seconds."""
        self._up += up
        self._down += down
        self._recent.append((now, up + down))

    def read(self, queued: int, now: float) -> Traffic:
        """What there was so far; `queued` requests wait."""
        while self._recent and self._recent[0][0] < now - WINDOW:
            self._recent.popleft()
        return Traffic(self._up, self._down, sum(size for _, size in self._recent) / WINDOW, queued)
