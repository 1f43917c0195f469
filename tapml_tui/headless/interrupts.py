"""Ctrl+C while results are being written down: noticed, never in the middle of something."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """While this context is open, interrupts raise nothing; whoever listens is told, as often as they come.

    Outside of the main thread, which alone gets signals, it changes nothing.

    Attributes:
        pressed: Whether one came.
    """

    def __init__(self) -> None:
        """Nothing came yet, nobody listens."""
        self.pressed = False
        self._tell: Callable[[], None] = lambda: None
        self._before: dict[signal.Signals, Any] = {}

    def listen(self, tell: Callable[[], None]) -> None:
        """Call `tell` from the signal handler: it must be reentrant."""
        self._tell = tell

    def __enter__(self) -> Interrupts:
        """Take the signals over."""
        if threading.current_thread() is threading.main_thread():
            self._before = {one: signal.signal(one, self._press) for one in _SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Give them back."""
        for one, handler in self._before.items():
            signal.signal(one, handler)

    def _press(self, number: int, frame: FrameType | None) -> None:
        self.pressed = True
        self._tell()
