"""The file that a writer writes: position, buffer, and a reserve for the day the disk is full."""

from __future__ import annotations

import errno
import os
import tempfile
import threading
from pathlib import Path
from typing import IO

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})  # no room, by whatever rule
_BUFFER = 1 << 20  # bytes; one call with several of it was seen to take five times as long
_LARGE = 1 << 16  # from here on copying costs more than a call of the system
_RESERVE_STEP = 1 << 20
_EARLY = 16 << 20  # bytes after which the disk is set to work beside us, so that the end waits for the rest only


class Output:
    """An append-only file that can be cut back, with space held free for what must still fit.

    Small writes are gathered; large ones go to the file at once. OSError comes through.
    """

    def __init__(self, descriptor: int, position: int = 0) -> None:
        """Take over a descriptor, positioned at its end."""
        self._descriptor = descriptor
        self._written = position
        self._pending = bytearray()
        self._reserve: IO[bytes] | None = None
        self._reserved = 0
        self._unsynced = 0
        self._syncing: threading.Thread | None = None
        self._sync_error: OSError | None = None

    @property
    def position(self) -> int:
        """Where the next byte goes."""
        return self._written + len(self._pending)

    def write(self, data: bytes | memoryview) -> None:
        """Append."""
        if len(data) < _LARGE:
            self._pending += data
            if len(self._pending) >= _BUFFER:
                self.flush()
        else:
            self.flush()
            self._write_out(data)

    def flush(self) -> None:
        """Give everything to the system."""
        before = self._written
        try:
            self._write_out(self._pending)
        finally:
            self._pending = self._pending[self._written - before :]

    def _write_out(self, data: bytes | bytearray | memoryview) -> None:
        with memoryview(data) as view:
            at = 0
            while at < len(view):
                count = os.write(self._descriptor, view[at : at + _BUFFER])
                at += count
                self._written += count
                self._unsynced += count
        if self._unsynced >= _EARLY:
            self.sync_early()

    def sync_early(self) -> None:
        """Let the disk begin with what the system was given, unless it is at work already."""
        if self._unsynced and (self._syncing is None or not self._syncing.is_alive()):
            self._unsynced = 0
            self._syncing = threading.Thread(target=self._sync, name="trace-sync", daemon=True)
            self._syncing.start()

    def _sync(self) -> None:
        try:
            os.fsync(self._descriptor)
        except OSError as error:  # the system says it once: `sync` says it again
            self._sync_error = error

    def _wait_for_early(self) -> None:
        if self._syncing is not None:
            self._syncing.join()
            self._syncing = None

    def cut(self, position: int) -> None:
        """Drop what was written from `position` on."""
        if position >= self._written:
            del self._pending[position - self._written :]
        else:
            self._pending.clear()
            os.ftruncate(self._descriptor, position)
            os.lseek(self._descriptor, position, os.SEEK_SET)
            self._written = position

    def hold(self, folder: Path, size: int) -> None:
        """Keep at least `size` bytes, and what is gathered, of the disk in `folder` for later."""
        wanted = size + _BUFFER
        if wanted <= self._reserved:
            return
        if self._reserve is None:
            # A file without a name: nothing is left behind, whatever happens to us.
            self._reserve = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        while self._reserved < wanted:
            self._reserved += self._reserve.write(bytes(_RESERVE_STEP))

    def release(self) -> None:
        """Give the reserve back to the disk."""
        if self._reserve is not None:
            self._reserve.close()
            self._reserve = None

    def sync(self) -> None:
        """Wait until everything is on the disk."""
        self.flush()
        self._wait_for_early()
        if self._sync_error is not None:
            raise self._sync_error
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file. What is gathered and not flushed is dropped."""
        self.release()
        self._wait_for_early()  # its descriptor must not become another file's
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
