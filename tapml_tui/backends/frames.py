"""Frames between us and a worker process: a msgpack header and raw tensor blocks.

    magic "TTf1" | u32 header bytes | u64 bytes of all blocks | header | blocks

The header is a map; its key "blocks" lists the size of each block. Both sizes are checked before
anything is allocated, so that a worker gone mad cannot make us allocate what it likes. There is
no pickle: a frame can say nothing but plain data.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, BinaryIO, TypeAlias

import msgpack
import numpy as np

MAGIC = b"TTf1"
MAX_HEADER = 64 << 20
MAX_BLOCKS = 16 << 30
_ANY_NAME = "surrogatepass"  # Python's text for a path that is no UTF-8 is none either
_PREFIX = struct.Struct("<4sIQ")

Header: TypeAlias = dict[str, Any]


class FrameError(Exception):
    """The stream is no longer one of frames: the worker at its other end has to go."""


def pack(header: Header, blocks: Sequence[memoryview] = ()) -> list[bytes | memoryview]:
    """The pieces of one frame, to be written in order."""
    body = msgpack.packb({**header, "blocks": [block.nbytes for block in blocks]}, unicode_errors=_ANY_NAME)
    return [_PREFIX.pack(MAGIC, len(body), sum(block.nbytes for block in blocks)), body, *blocks]


def read(stream: BinaryIO) -> tuple[Header, list[np.ndarray]] | None:
    """The next frame, or None where the stream ends.

    Returns:
        The header, and every block as a writable uint8 array of its own.

    Raises:
        FrameError: If it is no frame, is larger than allowed, or ends in the middle.
    """
    prefix = stream.read(_PREFIX.size)
    if not prefix:
        return None
    if len(prefix) < _PREFIX.size:
        raise FrameError("a frame ends in its prefix")
    magic, header_bytes, block_bytes = _PREFIX.unpack(prefix)
    if magic != MAGIC:
        raise FrameError(f"not a frame: it begins with {magic!r}")
    if header_bytes > MAX_HEADER or block_bytes > MAX_BLOCKS:
        raise FrameError(f"a frame claims {header_bytes} + {block_bytes} bytes, more than allowed")
    body = stream.read(header_bytes)
    if len(body) < header_bytes:
        raise FrameError("a frame ends in its header")
    try:
        header = msgpack.unpackb(body, strict_map_key=False, unicode_errors=_ANY_NAME)
        sizes = [int(size) for size in header.pop("blocks")]
    except (ValueError, KeyError, TypeError, AttributeError, msgpack.UnpackException) as error:
        raise FrameError(f"a frame's header cannot be read: {error}") from None
    if min(sizes, default=0) < 0 or sum(sizes) != block_bytes:
        raise FrameError("a frame's blocks do not add up")
    blocks = [_read_block(stream, size) for size in sizes]
    return header, blocks


def _read_block(stream: BinaryIO, size: int) -> np.ndarray:
    block = np.empty(size, dtype=np.uint8)
    view = block.data
    done = 0
    while done < size:
        count = stream.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            raise FrameError("a frame ends in a block")
        done += count
    return block
