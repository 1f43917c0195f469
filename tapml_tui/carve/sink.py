"""The thread that hashes and writes while the next node is computed."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from tapml_tui.operators import dtype_name, to_numpy

if TYPE_CHECKING:
    from trace_format import TraceWriter

MAX_WAITING_BYTES = 256 << 20
"""Values computed and not yet written: computing waits above it."""

_HASHED_AHEAD = 1 << 17
_BATCH_BYTES = 1 << 20
_BATCH_TASKS = 64


class Digest:
    """The SHA-256 of a tensor: `requested` when the sink has it in its queue, known when it has written it."""

    __slots__ = ("requested", "value")

    def __init__(self) -> None:
        self.requested = False
        self.value: bytes | None = None


class Sink:
    """Runs writing tasks on its own thread, in order, with a bound on what waits.

    Tasks go over in batches: a thread that wakes up for every small tensor costs the computing
    thread more than the writing itself. A task that raises ends the sink; the error comes out of
    the next call.
    """

    def __init__(self, writer: TraceWriter) -> None:
        self.writer = writer
        self.written = 0
        self._queue: queue.SimpleQueue[list[Callable[[], object]] | None] = queue.SimpleQueue()
        self._batch: list[Callable[[], object]] = []
        self._batch_bytes = 0
        self._waiting = 0
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="carve-writer", daemon=True)
        self._thread.start()

    def tensor(self, tensor: torch.Tensor, digest: Digest) -> None:
        """Write the bytes of a contiguous tensor, which nobody may change any more."""
        nbytes = tensor.numel() * tensor.itemsize
        array = to_numpy(tensor)
        # The SHA-256 of what is large takes longer than writing it: it is not begun when its turn has come.
        ahead = self.writer.hash_ahead(array) if nbytes >= _HASHED_AHEAD else None

        def write() -> None:
            digest.value = self.writer.add_tensor(array, dtype_name(tensor.dtype), ahead)
            with self._changed:
                self.written += nbytes
                self._waiting -= nbytes
                self._changed.notify()

        digest.requested = True
        with self._changed:
            self._waiting += nbytes
        self._batch_bytes += nbytes
        self.submit(write)
        if self._waiting > MAX_WAITING_BYTES:
            self._flush()
            with self._changed:
                self._changed.wait_for(lambda: self._waiting <= MAX_WAITING_BYTES or self._error is not None)

    def submit(self, task: Callable[[], object]) -> None:
        """Run `task` on the sink's thread after everything before it.

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
        if self._batch:
            self._queue.put(self._batch)
        self._batch, self._batch_bytes = [], 0

    def _work(self) -> None:
        while (batch := self._queue.get()) is not None:
            if self._error is not None:
                continue
            try:
                for task in batch:
                    task()
            except BaseException as error:  # handed to the thread that computes
                with self._changed:
                    self._error = error
                    self._changed.notify()
