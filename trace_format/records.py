"""Framing: a file is a magic, records, a trailer. See SPEC.md, "Records"."""

from __future__ import annotations

import struct
from enum import IntEnum
from mmap import mmap
from typing import NamedTuple, Protocol, TypeAlias

from trace_format import limits
from trace_format.checksum import crc32
from trace_format.errors import LimitExceeded, RecordDamaged, Truncated

MAJOR = 1
MINOR = 1
MAGIC_STEM = b"\x89TPML\r\n"
MAGIC = MAGIC_STEM + bytes([MAJOR])

MARKER = b"\xf5TPR"
HEADER = struct.Struct("<4sIQII")  # marker, opcode, bulk size, body size, CRC of what precedes it
_CHECKED_PART = struct.Struct("<4sIQI")
CHECKED = _CHECKED_PART.size
CRC = struct.Struct("<I")
KEY = struct.Struct("<IQI")  # opcode, bulk size, body size
TRAILER = struct.Struct("<QII8s")  # offset of the summary, CRC of that offset, 0, magic

Buffer: TypeAlias = bytes | bytearray | memoryview | mmap


class Sliced(Protocol):
    """A file that gives the bytes of a window of it: a mapping, or something that reads."""

    def __getitem__(self, window: slice, /) -> bytes | bytearray | memoryview:
        """The bytes from `window.start` to `window.stop`."""


class Op(IntEnum):
    """Kinds of records. Unknown ones are skipped."""

    HEADER = 1
    TENSOR = 2
    SOURCE = 3
    GRAPH = 4
    NODE = 5
    CASE = 6
    VALUE = 7
    WEIGHTS = 8
    NOTE = 9
    RESULT = 10
    # The footer. It repeats, in tables, what the records before it say.
    GRAPH_INDEX = 32
    VALUE_INDEX = 33
    TENSOR_INDEX = 34
    SOURCE_INDEX = 35
    SUMMARY = 36


FOOTER_OPS = range(32, 64)
_SMALL = frozenset({Op.NODE, Op.CASE, Op.VALUE, Op.NOTE, Op.RESULT})
_TABLES = frozenset(FOOTER_OPS) - {Op.SUMMARY} | {Op.TENSOR}


class Record(NamedTuple):
    """Where the parts of a record lie, all inside the file."""

    offset: int
    opcode: int
    bulk: int
    bulk_size: int
    body: int
    body_size: int
    end: int


def align(offset: int, to: int) -> int:
    """The next multiple of `to`."""
    return -(-offset // to) * to


def block_count(size: int) -> int:
    """How many blocks, each with a checksum, so many bytes have."""
    return -(-size // limits.BLOCK)


def layout(offset: int, opcode: int, bulk_size: int, body_size: int) -> Record:
    """Where the parts of a record that begins at `offset` lie."""
    bulk = offset + HEADER.size
    if bulk_size:
        bulk = align(bulk, limits.ALIGNMENT)
    body = bulk + bulk_size
    return Record(offset, opcode, bulk, bulk_size, body, body_size, (body + body_size + CRC.size + 7) & ~7)


def header_bytes(record: Record) -> bytes:
    """The header of a record. Its CRC is seeded with the offset: a copy of it elsewhere is no record."""
    head = _CHECKED_PART.pack(MARKER, record.opcode, record.bulk_size, record.body_size)
    return head + CRC.pack(crc32(head, record.offset & 0xFFFFFFFF))


def tail_bytes(record: Record, header: bytes, body: Buffer) -> bytes:
    """CRC of the body, seeded with that of the header, and padding."""
    padding = record.end - record.body - record.body_size - CRC.size
    return CRC.pack(crc32(body, int.from_bytes(header[CHECKED:], "little"))) + bytes(padding)


def pack_record(offset: int, opcode: int, body: bytes) -> bytes:
    """A whole record without bulk bytes."""
    return record_bytes(layout(offset, opcode, 0, len(body)), body)


def record_bytes(record: Record, body: bytes) -> bytes:
    """A record without bulk bytes whose layout is known."""
    header = header_bytes(record)
    return header + body + tail_bytes(record, header, body)


def content_key(record: Record) -> bytes:
    """What of a record's header goes into the content id, before its body."""
    return KEY.pack(record.opcode, record.bulk_size, record.body_size)


def read_header(data: Sliced, offset: int, size: int) -> Record:
    """The record that begins at `offset`.

    Args:
        data: The file.
        offset: Where.
        size: Size of the file.

    Raises:
        Truncated: If the file ends before the record does.
        RecordDamaged: If there is no intact header.
        LimitExceeded: If it claims more than the format allows.
    """
    if offset < 0 or offset + HEADER.size > size:
        raise Truncated("the file ends where a record should begin", offset)
    raw = bytes(data[offset : offset + HEADER.size])
    marker, opcode, bulk_size, body_size, crc = HEADER.unpack(raw)
    if marker != MARKER or crc32(raw[:CHECKED], offset & 0xFFFFFFFF) != crc:
        raise RecordDamaged("no intact record header", offset)
    if bulk_size > limits.MAX_TENSOR_BYTES:
        raise LimitExceeded(
            f"a record claims {bulk_size} bytes of data, the limit is {limits.MAX_TENSOR_BYTES}", offset
        )
    limit = body_limit(opcode)
    if body_size > limit:
        raise LimitExceeded(f"a record claims {body_size} bytes of structure, the limit is {limit}", offset)
    record = layout(offset, opcode, bulk_size, body_size)
    if record.end > size:
        raise Truncated(f"the file ends {record.end - size} bytes before the end of a record", offset)
    return record


def body_limit(opcode: int) -> int:
    """Largest body of a kind of record."""
    if opcode in _SMALL:
        return limits.MAX_NODE_BODY
    return limits.MAX_INDEX_BODY if opcode in _TABLES else limits.MAX_RECORD_BODY


def read_body(data: Sliced, record: Record) -> bytes:
    """A copy of the body, checked.

    Raises:
        RecordDamaged: If the CRC does not match.
    """
    body = bytes(data[record.body : record.body + record.body_size])
    check_body(data, record, crc32(body, body_seed(data, record)))
    return body


def check_body(data: Sliced, record: Record, crc: int) -> None:
    """Compare a body's CRC with the stored one.

    Raises:
        RecordDamaged: If they differ.
    """
    at = record.body + record.body_size
    if CRC.unpack(data[at : at + CRC.size])[0] != crc:
        raise RecordDamaged(f"the checksum of a {op_name(record.opcode)} record does not match", record.offset)


def body_seed(data: Sliced, record: Record) -> int:
    """Where the CRC of a body starts from: the CRC of its header."""
    at = record.offset + CHECKED
    return int.from_bytes(data[at : at + CRC.size], "little")


def op_name(opcode: int) -> str:
    """Name of a record kind, for messages."""
    try:
        return Op(opcode).name.lower()
    except ValueError:
        return f"unknown ({opcode})"


def trailer_bytes(summary: int) -> bytes:
    """The end of a complete trace: where its summary is, and the magic once more."""
    raw = summary.to_bytes(8, "little")
    return TRAILER.pack(summary, crc32(raw), 0, MAGIC)


def read_trailer(data: Buffer, size: int) -> int | None:
    """Offset of the summary, or None if the file does not end as a complete trace does."""
    if size < len(MAGIC) + TRAILER.size:
        return None
    raw = bytes(data[size - TRAILER.size : size])
    summary, crc, _, magic = TRAILER.unpack(raw)
    return int(summary) if magic == MAGIC and crc32(raw[:8]) == crc else None
