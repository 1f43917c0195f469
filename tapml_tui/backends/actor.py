"""A thread that does one thing after another: what it owns needs no locks."""

from __future__ import annotations

import heapq
import itertools
import queue
import threading
import time
from collections.abc import Callable
from typing import Any


class Timer:
    """A call that is due later, unless it is cancelled."""

    def __init__(self, call: Callable[[], None]) -> None:
        """Wrap the call."""
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        """Do not call."""
        self.cancelled = True


class Actor:
    """Runs posted calls and timers on one thread, in order."""

    def __init__(self, name: str, on_error: Callable[[BaseException], None]) -> None:
        """Make it.

        Args:
            name: Of the thread.
            on_error: Called with an exception that escaped from a call: an error of this
                program. The thread goes on.
        """
        self._calls: queue.SimpleQueue[tuple[Callable[..., None], tuple[Any, ...]] | None] = queue.SimpleQueue()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._on_error = on_error
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin; what was posted before is done then."""
        self._thread.start()

    def post(self, call: Callable[..., None], *args: Any) -> None:
        """Have something done soon. From any thread."""
        self._calls.put((call, args))

    def later(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Have something done after a while. From the actor's own thread."""
        timer = Timer(call)
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), timer))
        return timer

    def now(self) -> float:
        """Seconds on the clock of its timers."""
        return time.monotonic()

    def stop(self, timeout: float) -> None:
        """End after what was posted already. From another thread."""
        self._calls.put(None)
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            try:
                item = self._calls.get(timeout=self._wait())
                if item is None:
                    return
                call, args = item
                call(*args)
            except queue.Empty:
                self._fire()
            except Exception as error:  # the session goes on; the error is shown
                self._on_error(error)

    def _wait(self) -> float | None:
        while self._timers and self._timers[0][2].cancelled:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None

    def _fire(self) -> None:
        try:
            while self._timers and self._timers[0][0] <= time.monotonic():
                _, _, timer = heapq.heappop(self._timers)
                if not timer.cancelled:
                    timer.call()
        except Exception as error:  # as above
            self._on_error(error)


class Watch:
    """The one deadline there is: that of what a worker does at the moment. On the actor's own thread."""

    def __init__(self, actor: Actor, overdue: Callable[[str], None]) -> None:
        """Have `overdue` called with what took too long."""
        self._actor, self._overdue = actor, overdue
        self._timer: Timer | None = None

    def begin(self, seconds: float, why: str) -> None:
        """Something new is done, in place of what was done before."""
        self.end()
        self._timer = self._actor.later(seconds, lambda: self._overdue(why))

    def end(self) -> None:
        """It is done."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
