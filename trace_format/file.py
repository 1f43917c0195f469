"""A mapped trace file: the magic checked, records read by offset."""

from __future__ import annotations

import errno
import mmap
import os
import stat
from pathlib import Path

from trace_format.checksum import crc32
from trace_format.codec import Head, decode_head
from trace_format.errors import (
    CannotOpen,
    FileChanged,
    IndexInvalid,
    Malformed,
    NotATrace,
    TraceError,
    Truncated,
    UnsupportedVersion,
)
from trace_format.model import Provenance
from trace_format.records import (
    MAGIC,
    MAGIC_STEM,
    MAJOR,
    MARKER,
    MINOR,
    Buffer,
    Op,
    Record,
    body_seed,
    check_body,
    op_name,
    read_body,
    read_header,
)
from trace_format.text import printable

_CHUNK = 1 << 20
_PIECE = 16 << 20
_COPIED = 8 << 20  # of tables, together


def map_file(descriptor: int, shown: str) -> mmap.mmap:
    """Map a whole file read-only.

    Raises:
        CannotOpen: If the system cannot.
    """
    try:
        return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError, OverflowError) as error:
        raise CannotOpen(f"cannot map {shown}: {error}") from None


def identity(info: os.stat_result) -> tuple[int, int]:
    """What a file is, whatever its name."""
    return info.st_dev, info.st_ino


def check_mapped(data: Buffer, end: int) -> None:
    """Look before a mapping is read: what was cut away since is no error there, but the end of the process.

    Raises:
        FileChanged: If the file ends before `end` by now.
    """
    if isinstance(data, mmap.mmap) and data.size() < end:
        raise FileChanged("the file became shorter while it was open: open it again", end)


def check_at(path: str | os.PathLike[str], right: tuple[int, int]) -> None:
    """See that another process would find the same file.

    Raises:
        FileChanged: If it would not.
    """
    try:
        same = identity(os.stat(path)) == right
    except OSError:
        same = False
    if not same:
        raise FileChanged(f"{printable(str(path))} was removed or replaced while it was open: open it again")


class _Unmapped:
    """A file that slices like its mapping, but whose pages stay out of our memory.

    A fault maps 16 pages around the one that is touched: a few thousand small records, scattered
    between tensors, would make hundreds of MiB resident.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __getitem__(self, window: slice) -> bytes:
        found = os.pread(self._descriptor, window.stop - window.start, window.start)
        if len(found) < window.stop - window.start:
            raise Truncated("the file became shorter while it was read", window.start)
        return found


class TraceFile:
    """A trace or a run, mapped read-only. `header_end` is where the records after the header begin."""

    def __init__(self, path: str | os.PathLike[str], *, tolerant: bool = False) -> None:
        """Map a file and read its header.

        Args:
            path: The file.
            tolerant: Go on without a header that is damaged.

        Raises:
            CannotOpen: If it is not there, may not be read, or is no regular file.
            NotATrace: If it begins as something else.
            UnsupportedVersion: If it has a later major version.
            Truncated, RecordDamaged, Malformed: If the header is not whole.
        """
        shown = printable(str(path))
        try:
            self.path = Path(os.path.realpath(path))
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            raise CannotOpen(f"cannot open {shown}: {getattr(error, 'strerror', None) or error}") from None
        try:
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode):
                raise CannotOpen(f"{shown} is no regular file")
            self.size, self.identity = info.st_size, identity(info)
            if self.size == 0:
                raise NotATrace(f"{shown} is empty")
            self.data = map_file(descriptor, shown)
            self._descriptor = descriptor
            self._unmapped = _Unmapped(descriptor)
            self._room = _COPIED
        except BaseException:
            os.close(descriptor)
            raise
        try:
            try:
                self.header_end, self.head = self._read_head(shown)
            except TraceError:
                if not tolerant or self.find(MARKER, 0) < 0:
                    raise
                self.header_end, self.head = len(MAGIC), Head("trace", MINOR, None, Provenance())
        except BaseException:
            self.close()
            raise

    def _read_head(self, shown: str) -> tuple[int, Head]:
        magic = self.data[: len(MAGIC)]
        if not (magic.startswith(MAGIC_STEM) or MAGIC_STEM.startswith(magic)):
            raise NotATrace(f"{shown} is not a trace: it begins with other bytes")
        if len(magic) < len(MAGIC):
            raise Truncated(f"{shown} is only {self.size} bytes long")
        if magic[-1] != MAJOR:
            raise UnsupportedVersion(
                f"{shown} is of format version {magic[-1]}, this program reads version {MAJOR}; use a newer one"
            )
        record = read_header(self.data, len(MAGIC), self.size)
        if record.opcode != Op.HEADER:
            raise Malformed(f"{shown} does not begin with a header", record.offset)
        return record.end, decode_head(read_body(self.data, record))

    def record(self, offset: int, opcode: Op) -> Record:
        """The record at an offset, which must be of a kind.

        Raises:
            IndexInvalid: If it is of another.
            RecordDamaged, Truncated, LimitExceeded: If it is none.
        """
        record = read_header(self._unmapped, offset, self.size)
        if record.opcode != opcode:
            raise IndexInvalid(f"a {op_name(record.opcode)} record where a {op_name(opcode)} should be", offset)
        return record

    def body(self, offset: int, opcode: Op) -> bytes:
        """A checked copy of the body of the record at an offset."""
        return read_body(self._unmapped, self.record(offset, opcode))

    def table(self, offset: int, opcode: Op) -> memoryview:
        """A body, checked: a copy, or a view where that would be large.

        A copy outlives what may happen to the file, and the screen looks at tables all the time. What is
        large is read past the mapping, which thus stays out of our memory.

        Raises:
            RecordDamaged: If its checksum does not match.
        """
        record = self.record(offset, opcode)
        crc, end = body_seed(self._unmapped, record), record.body + record.body_size
        copied = bytearray() if record.body_size <= self._room else None
        for at in range(record.body, end, _CHUNK):
            piece = self._unmapped[at : min(at + _CHUNK, end)]
            crc = crc32(piece, crc)
            if copied is not None:
                copied += piece
        check_body(self._unmapped, record, crc)
        if copied is None:
            return memoryview(self.data)[record.body : end]
        self._room -= len(copied)
        return memoryview(copied).toreadonly()

    def find(self, pattern: bytes, start: int, end: int | None = None) -> int:
        """Offset of the first `pattern` (no zero in it) in [start, end), or -1.

        Holes are skipped: a file of a terabyte may have no bytes. Interrupts get through between the pieces.
        """
        end = self.size if end is None else end
        while start < end:
            start, stop = self._extent(start, end)
            for at in range(start, stop, _PIECE):
                found = self.data.find(pattern, at, min(at + _PIECE + len(pattern) - 1, stop))
                if found >= 0:
                    return found
            start = stop
        return -1

    def _extent(self, start: int, end: int) -> tuple[int, int]:
        """The next bytes at or after `start` that are no hole, as far as the system tells."""
        try:
            start = os.lseek(self._descriptor, start, os.SEEK_DATA)
            return start, min(os.lseek(self._descriptor, start, os.SEEK_HOLE), end)
        except OSError as error:
            return (end if error.errno == errno.ENXIO else start), end
        except AttributeError:  # it does not tell
            return start, end

    def check_unchanged(self) -> None:
        """See `Trace.check_unchanged`."""
        check_mapped(self.data, self.size)
        check_at(self.path, self.identity)

    def close(self) -> None:
        """Unmap the file, unless an array still looks at it: then the map goes with the last of them."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        try:
            self.data.close()
        except BufferError:
            return
