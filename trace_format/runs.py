"""Runs: what was computed, appended to a file of the trace format under a lock.

A run has no footer and is never renamed. A record is in it when all of it is: what a crash left
half-written at the end is cut off by the next one who opens it for appending.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeAlias, TypeVar

import numpy.typing as npt

from trace_format import codec
from trace_format.codec import Head, element_count
from trace_format.errors import (
    BlockDamaged,
    CannotOpen,
    DiskFull,
    Malformed,
    NotATrace,
    RunLocked,
    TensorMissing,
    TraceError,
    Truncated,
    Unwritable,
    WrongBase,
)
from trace_format.file import TraceFile
from trace_format.model import Block, Provenance, RunOutput, RunRecord
from trace_format.output import FULL, Output
from trace_format.records import (
    HEADER,
    MAGIC,
    MINOR,
    Buffer,
    Op,
    Record,
    block_count,
    body_limit,
    layout,
    pack_record,
    read_body,
)
from trace_format.run_codec import decode_result, encode_result
from trace_format.scan import walk
from trace_format.storage import Stored, check_size
from trace_format.tensors import plain_bytes, write_tensor
from trace_format.text import printable

T = TypeVar("T")

_WORTH_A_MAP = 1 << 20  # bytes

Arrive: TypeAlias = Callable[[int], int]
"""Waits until a file is in memory up to an offset; returns how far it is."""


def _at_hand(end: int) -> int:
    """Nobody has it read in the background: the system does when bytes are touched."""
    return sys.maxsize


def open_run(path: str | os.PathLike[str], base_content_id: str, *, create: bool = True) -> Run:
    """Open a run for appending, under a lock. A context manager.

    Args:
        path: The file.
        base_content_id: `Trace.content_id` of the trace that it belongs to.
        create: Whether to make a new one where there is none.

    Raises:
        RunLocked: If another process has it open for appending.
        WrongBase: If it belongs to another trace.
        CannotOpen: If the file cannot be had.
        TraceError: If it is no run.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if create else 0)
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        raise CannotOpen(f"cannot open the run {printable(str(path))}: {error.strerror}") from None
    try:
        _lock(descriptor, path)
        _begin(descriptor, path, bytes.fromhex(base_content_id))
        return Run(path, descriptor)
    except BaseException:
        os.close(descriptor)
        raise


def read_run(path: str | os.PathLike[str], arrive: Arrive = _at_hand) -> Run:
    """Open a run for reading, as far as it is whole now. A context manager.

    Args:
        path: The file.
        arrive: Asked before bytes are touched, for who has the file read in the background.

    Raises:
        TraceError: If it cannot be opened, or is no run.
    """
    return Run(path, None, arrive)


def _lock(descriptor: int, path: str | os.PathLike[str]) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise RunLocked(
            f"the run {printable(str(path))} is open in another session; close that one, or give this one another file"
        ) from None


def _begin(descriptor: int, path: str | os.PathLike[str], base: bytes) -> None:
    """Write the header if there is none yet, or check whose run it is."""
    head = MAGIC + pack_record(len(MAGIC), Op.HEADER, codec.encode_head(Head("run", MINOR, base, Provenance())))
    there = os.pread(descriptor, len(head), 0)
    if len(there) < len(head) and head.startswith(there):  # new, or torn while it was begun
        os.pwrite(descriptor, head, 0)
        return
    with suppress(Truncated):
        file = TraceFile(path)
        file.close()
        if file.head.kind != "run":
            raise NotATrace(f"{printable(str(path))} is a trace and no run; it is never written again")
        if file.head.base != base:
            raise WrongBase(f"the run {printable(str(path))} belongs to another trace, or to another carving of it")


class _Kept(NamedTuple):
    """A tensor record, and the checksums of its blocks."""

    record: Record
    checksums: bytes


class Run:
    """An open run: records by key, the last one of a key counts. Use from one thread."""

    def __init__(self, path: str | os.PathLike[str], descriptor: int | None, arrive: Arrive = _at_hand) -> None:
        """See `open_run` and `read_run`; `descriptor` is that of a locked file, or None to read only."""
        arrive(len(MAGIC) + HEADER.size)
        self._descriptor = descriptor
        self._records: dict[str, RunRecord] = {}
        self._tensors: dict[bytes, _Kept] = {}
        self._checked: dict[bytes, Stored] = {}  # by `check_ahead`
        self.damage: list[str] = []
        self.torn = False  # its end is half a record: a crash left it, or somebody is writing
        self._file = TraceFile(path)
        try:
            if self._file.head.kind != "run" or self._file.head.base is None:
                raise NotATrace(f"{printable(str(path))} is a trace and no run")
            end = self._load(arrive)
            if descriptor is not None:
                os.ftruncate(descriptor, end)
                os.lseek(descriptor, end, os.SEEK_SET)
        except BaseException:
            self._file.close()
            raise
        self._output = None if descriptor is None else Output(descriptor, end)

    def _load(self, arrive: Arrive) -> int:
        """Read all records; returns where the last whole one ends."""
        end = self._file.header_end
        there = arrive(end + HEADER.size)
        for record in walk(self._file, end, self._file.size, self._complain):
            if record.end + HEADER.size > there:  # its body is behind its bytes, the next header behind its body
                there = arrive(record.end + HEADER.size)
            try:
                body = read_body(self._file.data, record)
                if record.opcode == Op.RESULT:
                    result = decode_result(body)
                    self._records[result.key] = result
                elif record.opcode == Op.TENSOR:
                    if len(body) != 32 + 4 * block_count(record.bulk_size):
                        raise Malformed("a tensor has another number of checksums than blocks")
                    self._tensors[body[:32]] = _Kept(record, body[32:])
            except TraceError as error:
                self._complain(error)
                continue
            end = record.end
        return end

    def _complain(self, error: TraceError) -> None:
        if isinstance(error, Truncated):
            self.torn = True
        elif len(self.damage) < 50:
            self.damage.append(str(error))

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._file.path

    @property
    def base(self) -> str:
        """Content id of the trace that it belongs to."""
        return (self._file.head.base or b"").hex()

    def append(self, record: RunRecord, arrays: Sequence[npt.NDArray[Any] | None] = ()) -> RunRecord:
        """Append a record, and the tensors of its outputs where they are given.

        Args:
            record: Its outputs say dtype and shape; their digests are filled in here.
            arrays: One per output, None where there are no bytes to keep.

        Raises:
            Unwritable: If the run is open for reading, or an array is not what its output says.
            DiskFull: If there is no room; the run is as it was before.
        """
        if self._output is None:
            raise Unwritable("the run is open for reading only")
        if arrays and len(arrays) != len(record.outputs):
            raise Unwritable(f"{len(arrays)} arrays for {len(record.outputs)} outputs")
        start = self._output.position
        added: list[bytes] = []
        try:
            outputs = list(record.outputs)
            for place, array in enumerate(arrays):
                if array is not None:
                    outputs[place] = outputs[place]._replace(digest=self._append_tensor(outputs[place], array, added))
            full = record._replace(outputs=tuple(outputs))
            body = encode_result(full)
            if len(body) > body_limit(Op.RESULT):
                raise Unwritable(f"a result of {len(body)} bytes is above the limit of {body_limit(Op.RESULT)}")
            self._output.write(pack_record(self._output.position, Op.RESULT, body))
            self._output.flush()
        except BaseException as error:
            for digest in added:
                del self._tensors[digest]
            self._output.cut(start)
            if isinstance(error, OSError) and error.errno in FULL:
                raise DiskFull(f"the disk is full: a result could not be kept in {self.path.name}") from error
            raise
        self._records[full.key] = full
        return full

    def _append_tensor(self, output: RunOutput, array: npt.NDArray[Any], added: list[bytes]) -> bytes:
        assert self._output is not None
        view = plain_bytes(array)
        check_size(output.dtype, output.shape, len(view))
        digest = hashlib.sha256(view).digest()
        if digest not in self._tensors:
            record = layout(self._output.position, Op.TENSOR, len(view), 32 + 4 * block_count(len(view)))
            body = write_tensor(self._output, record, view, lambda: digest)
            self._tensors[digest] = _Kept(record, body[32:])
            added.append(digest)
        return digest

    def get(self, key: str) -> RunRecord | None:
        """The last record of a key."""
        return self._records.get(key)

    def records(self) -> Iterable[RunRecord]:
        """The last record of every key, in the order in which the keys first came."""
        return tuple(self._records.values())

    def block(self, output: RunOutput) -> Block:
        """Where the bytes of an output are, checked, for another process to map.

        Raises:
            TensorMissing: If they were not kept.
            BlockDamaged: If they are not what was written. They may be appended again.
        """
        return self._take(output, Stored.block)

    def array(self, output: RunOutput) -> npt.NDArray[Any]:
        """The tensor of an output, read-only.

        Raises:
            TensorMissing, BlockDamaged: As `block`.
        """
        count = element_count(output.shape)
        return self._take(output, lambda stored: stored.elements(output.dtype, 0, count)).reshape(output.shape)

    def _take(self, output: RunOutput, take: Callable[[Stored], T]) -> T:
        digest = output.digest
        if digest is None or digest not in self._tensors:
            raise TensorMissing("the bytes of this output were not kept")
        check_size(output.dtype, output.shape, self._tensors[digest].record.bulk_size)
        try:
            return take(self._checked.get(digest) or self._stored(digest))
        except BlockDamaged:
            del self._tensors[digest]
            raise

    def _stored(self, digest: bytes) -> Stored:
        record, checksums = self._tensors[digest]
        data, start = self._bytes(record)
        return Stored(str(self.path), data, record.bulk - start, record.bulk_size, checksums, start=start)

    def check_ahead(self) -> Iterator[None]:
        """Check one tensor after the other, for who has to wait for something else. Damage is said when it is met."""
        for digest in list(self._tensors):
            stored = self._stored(digest)
            with suppress(BlockDamaged):
                stored.check(0, stored.nbytes)
                self._checked[digest] = stored
            yield

    def _bytes(self, record: Record) -> tuple[Buffer, int]:
        """A record's bytes, and where in the file they begin: mapped at opening, or written since."""
        if record.end <= self._file.size:
            return self._file.data, 0
        assert self._descriptor is not None
        if record.bulk_size <= _WORTH_A_MAP:
            return os.pread(self._descriptor, record.end - record.offset, record.offset), record.offset
        # A map of its own, which goes with the array: maps of the whole file would pile up as it grows.
        start = record.offset - record.offset % mmap.ALLOCATIONGRANULARITY
        return mmap.mmap(self._descriptor, record.end - start, access=mmap.ACCESS_READ, offset=start), start

    def close(self) -> None:
        """Let go of the file and its lock. Arrays that were handed out stay valid."""
        if self._output is not None:
            self._output.close()
            self._output = None
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
