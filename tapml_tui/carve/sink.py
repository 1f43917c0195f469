"""Where values go to be hashed and written: a thread that does it while the next node is computed."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from functools import partial

from tapml_tui.carve.ahead import Ahead, sha256
from tapml_tui.carve.entry import Entry
from trace_format import TraceWriter

MAX_WAITING_BYTES = 256 << 20
"""Values computed and not yet written: computing waits above it."""

_BATCH_BYTES = 1 << 20
_BATCH_TASKS = 64


class Sink:
    """Runs writing tasks on its own thread, in order, with a bound on what waits.

    Tasks go over in batches: a thread that wakes up for every small tensor costs the computing
    thread more than the writing itself. Where nothing waits and nothing in a batch is large, it is not
    handed over at all: two threads would take turns with the interpreter. A task that raises ends the
    sink; the error comes out of the next call.
    """

    def __init__(self, writer: TraceWriter, ahead: Ahead) -> None:
        self.writer = writer
        self._ahead = ahead
        self._queue: queue.SimpleQueue[tuple[list[Callable[[], object]], int] | None] = queue.SimpleQueue()
        self._batch: list[Callable[[], object]] = []
        self._batch_bytes = 0
        self._submitted = self._done = 0  # bytes; each is written by one thread at a time
        self._handed = self._finished = 0  # batches that went to the thread; likewise
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="carve-writer", daemon=True)
        self._thread.start()

    def put(self, entry: Entry) -> None:
        """Have a value written, after everything before it."""
        stored, array = entry.stored, entry.array
        if stored is not None and array is not None and not stored.requested:
            stored.requested = True
            stored.ahead = stored.ahead or self._ahead.begin(array)
            if stored.ahead is None:  # hashed here: of the two threads the other one is busier
                stored.digest = sha256(array)
        nbytes = entry.nbytes
        self._submitted += nbytes
        self._batch_bytes += nbytes
        self.submit(partial(entry.write, self.writer))
        if self._submitted - self._done > MAX_WAITING_BYTES:
            self._flush()
            with self._changed:
                self._changed.wait_for(
                    lambda: self._submitted - self._done <= MAX_WAITING_BYTES or self._error is not None
                )

    @property
    def written(self) -> int:
        """Bytes of the trace so far."""
        return self.writer.size_bytes

    def submit(self, task: Callable[[], object]) -> None:
        """Run `task` after everything before it.

        Raises:
            BaseException: What an earlier task raised.
        """
        if self._error is not None:
            raise self._error
        self._batch.append(task)
        if self._batch_bytes >= _BATCH_BYTES or len(self._batch) >= _BATCH_TASKS:
            self._flush()

    def close(self) -> None:
        """Wait until everything is written.

        Raises:
            BaseException: What a task raised.
        """
        self.stop()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """As `close`, without raising."""
        if self._thread.is_alive():
            self._flush()
            self._queue.put(None)
            self._thread.join()

    def _flush(self) -> None:
        batch, nbytes = self._batch, self._batch_bytes
        self._batch, self._batch_bytes = [], 0
        if nbytes <= 2 * _BATCH_BYTES and self._handed == self._finished:
            self._run(batch, nbytes)
        elif batch:
            self._handed += 1
            self._queue.put((batch, nbytes))

    def _work(self) -> None:
        while (given := self._queue.get()) is not None:
            self._run(*given)
            self._finished += 1

    def _run(self, batch: list[Callable[[], object]], nbytes: int) -> None:
        if self._error is not None:
            return
        try:
            for task in batch:
                task()
        except BaseException as error:  # handed to the thread that computes
            self._error = error
        with self._changed:
            self._done += nbytes
            self._changed.notify()
