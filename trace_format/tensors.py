"""Tensor bytes on their way to a file: plain views, checksums, hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_format import limits
from trace_format.checksum import crc32
from trace_format.output import Output
from trace_format.records import Buffer, Record, header_bytes, tail_bytes

_WORTH_A_THREAD = 1 << 17


def plain_bytes(data: npt.NDArray[Any] | Buffer) -> memoryview:
    """The bytes of an array, contiguous and little-endian, or of a buffer. No copy where none is needed."""
    if isinstance(data, np.ndarray):
        array = np.ascontiguousarray(data)
        if array.dtype.byteorder == ">":
            array = array.astype(array.dtype.newbyteorder("<"))
        return array.reshape(-1).view(np.uint8).data
    view = memoryview(data)
    return view.cast("B") if view.nbytes else memoryview(b"")


def blocks(view: memoryview) -> Iterator[memoryview]:
    """The blocks that have a checksum each."""
    for start in range(0, len(view), limits.BLOCK):
        yield view[start : start + limits.BLOCK]


class Hasher:
    """SHA-256, in a thread of its own for what is large: hashing is the slowest part of writing."""

    def __init__(self) -> None:
        """Start no thread yet."""
        self._pool = ThreadPoolExecutor(1, "trace-sha256")

    def begin(self, view: memoryview) -> Callable[[], bytes]:
        """Hash, at the same time as the caller goes on if it is worth it; what is returned gives the digest."""
        if len(view) >= _WORTH_A_THREAD:
            with suppress(RuntimeError):  # closed: writing ended on another thread, which says why
                return self._pool.submit(_sha256, view).result
        digest = _sha256(view)
        return lambda: digest

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown()


def _sha256(view: memoryview) -> bytes:
    return hashlib.sha256(view).digest()


def write_tensor(
    output: Output,
    record: Record,
    view: memoryview,
    digest: Callable[[], bytes],
    sums: Callable[[], bytes] | None = None,
) -> bytes:
    """Write a tensor record where `output` stands.

    Args:
        output: The file.
        record: The layout of the record there.
        view: The bytes.
        digest: Their SHA-256, asked for when the bytes are written: it may be computed meanwhile.
        sums: As `checksums` gives them, likewise; None: they are computed here.

    Returns:
        The record's body.
    """
    header = header_bytes(record)
    output.write(header + bytes(record.bulk - record.offset - len(header)))
    if sums is not None:
        output.write(view)
        body = digest() + sums()
    else:
        computed = bytearray()
        for block in blocks(view):
            computed += crc32(block).to_bytes(4, "little")
            output.write(block)
        body = digest() + bytes(computed)
    output.write(body + tail_bytes(record, header, body))
    return body


def checksums(view: memoryview) -> bytes:
    """CRC-32 of every block, little-endian."""
    return b"".join(crc32(block).to_bytes(4, "little") for block in blocks(view))
