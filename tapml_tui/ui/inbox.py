"""From the engine's thread to the screen's: events are kept until the screen asks, one wake-up at a time.

A run of a thousand nodes a second would otherwise fill the screen's queue with messages that
each repaint the same rows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

from tapml_tui.backends.protocol import KernelText, LogLine
from tapml_tui.engine.events import Changed, Event


@dataclass(slots=True)
class Batch:
    """Everything since the last look: `changed` is the newest snapshot's event, or None."""

    changed: Changed | None = None
    kernels: list[KernelText] = field(default_factory=list)
    log: deque[LogLine] = field(default_factory=lambda: deque(maxlen=2000))


class Inbox:
    """Takes events from any thread; gives them out in batches."""

    def __init__(self) -> None:
        """An empty box that wakes nobody yet."""
        self._lock = Lock()
        self._batch = Batch()
        self._waiting = False
        self.wake: Callable[[], object] = lambda: None

    def put(self, event: Event) -> None:
        """Keep an event, and wake the screen unless it has been woken already.

        The end of a run wakes it all the same: it may have put off looking at the beginning.
        """
        ended = False
        with self._lock:
            if isinstance(event, Changed):
                self._batch.changed = event
                ended = not event.snapshot.running
            elif isinstance(event, KernelText):
                self._batch.kernels.append(event)
            else:
                self._batch.log.append(event)
            first, self._waiting = not self._waiting, True
        if first or ended:
            self.wake()

    def take(self) -> Batch:
        """Everything that has come; the next event wakes the screen again."""
        with self._lock:
            batch, self._batch = self._batch, Batch()
            self._waiting = False
            return batch
