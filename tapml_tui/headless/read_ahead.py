"""Files read in the background, for who works on what is there already."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tapml_tui.interpreter import giving_way

_BLOCK = 2 << 20
_AHEAD = 1 << 30  # bytes: what is read too far ahead is forgotten by the system before it is needed
_SWITCH_SECONDS = 1e-4  # after which Python lets the thread that reads go on to the next block: the disk waits for it
_DONE = object()
_NOTHING: Iterator[None] = iter(())


class Arrival:
    """How far a file is in memory."""

    def __init__(self) -> None:
        """Nothing of it yet."""
        self._end = 0
        self._moved = threading.Condition()

    def reached(self, end: int) -> None:
        """It is in memory up to `end`."""
        with self._moved:
            self._end = end
            self._moved.notify_all()

    def wait(self, end: int, meanwhile: Iterator[None] = _NOTHING) -> int:
        """Wait until it is in memory up to `end`, or will not be, and do something meanwhile; returns how far it is."""
        while self._end < end and next(meanwhile, _DONE) is not _DONE:
            pass
        with self._moved:
            self._moved.wait_for(lambda: self._end >= end)
            return self._end


@contextmanager
def read_ahead(*paths: str) -> Iterator[list[Arrival]]:
    """Have files read in the background, one after the other.

    Who touches a page of a mapping that is not there yet stops all of Python, and makes the disk seek. What cannot
    be opened or read is said by who needs it.
    """
    done, arrivals = threading.Event(), [Arrival() for _ in paths]

    def read() -> None:
        with open(os.devnull, "wb", buffering=0) as nowhere:
            for path, arrival in zip(paths, arrivals, strict=True):
                with suppress(OSError, ValueError), open(path, "rb", buffering=0, opener=_at_once) as file:
                    end = 0
                    while end < _AHEAD // len(paths) and not done.is_set():
                        moved = os.sendfile(nowhere.fileno(), file.fileno(), end, _BLOCK)
                        if not moved:
                            break
                        end += moved
                        arrival.reached(end)
                arrival.reached(sys.maxsize)

    thread = threading.Thread(target=read)
    with giving_way(_SWITCH_SECONDS):
        thread.start()
        try:
            yield arrivals
        finally:
            done.set()
            thread.join()


def _at_once(path: str, flags: int) -> int:
    """Without waiting for somebody to write, should it be a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)
