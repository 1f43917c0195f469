"""Fixed-width tables within one record body: packed to bytes, and read back as views.

A body is a count, that many (offset, size) pairs, and the arrays, each aligned to 8.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_format.errors import IndexInvalid
from trace_format.records import Buffer, align

_COUNT = struct.Struct("<Q")
_PLACE = struct.Struct("<QQ")
_MOST_ARRAYS = 64


def pack_tables(arrays: Sequence[npt.NDArray[Any] | bytes]) -> bytes:
    """The arrays as one body."""
    parts = [array if isinstance(array, bytes) else array.tobytes() for array in arrays]
    at = _COUNT.size + _PLACE.size * len(parts)
    places, data = [], []
    for part in parts:
        places.append(_PLACE.pack(at, len(part)))
        padded = align(len(part), 8)
        data += [part, bytes(padded - len(part))]
        at += padded
    return b"".join([_COUNT.pack(len(parts)), *places, *data])


class Tables:
    """The arrays of a body, as views of it. More arrays than are asked for are no error."""

    def __init__(self, body: Buffer) -> None:
        """Read the places.

        Raises:
            IndexInvalid: If they are not within the body.
        """
        self._body = memoryview(body)
        size = len(self._body)
        if size < _COUNT.size:
            raise IndexInvalid("a table of the footer is too short")
        (count,) = _COUNT.unpack(self._body[: _COUNT.size])
        if count > _MOST_ARRAYS or _COUNT.size + count * _PLACE.size > size:
            raise IndexInvalid("a table of the footer has an impossible number of columns")
        self._places = [_PLACE.unpack_from(self._body, _COUNT.size + i * _PLACE.size) for i in range(count)]
        if any(at > size or length > size - at for at, length in self._places):
            raise IndexInvalid("a column of the footer is not within it")

    def column(self, number: int, dtype: npt.DTypeLike, length: int | None = None) -> npt.NDArray[Any]:
        """One array.

        Raises:
            IndexInvalid: If it is not there, or has not `length` elements.
        """
        if number >= len(self._places):
            raise IndexInvalid("a column of the footer is missing")
        at, size = self._places[number]
        kind = np.dtype(dtype)
        if size % kind.itemsize or (length is not None and size != length * kind.itemsize):
            raise IndexInvalid("a column of the footer has an impossible length")
        array = np.frombuffer(self._body[at : at + size], kind)
        array.flags.writeable = False
        return array


class Strings:
    """A table of strings: their ends, and one blob of UTF-8."""

    def __init__(self, ends: npt.NDArray[np.uint64], blob: npt.NDArray[np.uint8]) -> None:
        """Check that the ends fit the blob.

        Raises:
            IndexInvalid: If they do not.
        """
        if len(ends) == 0 or ends[0] != 0 or ends[-1] != len(blob) or np.any(ends[1:] < ends[:-1]):
            raise IndexInvalid("a table of strings has impossible ends")
        self.ends = ends
        self.blob = blob

    @staticmethod
    def pack(strings: Iterable[str]) -> list[npt.NDArray[Any] | bytes]:
        """The two columns of a table of strings."""
        encoded = [string.encode() for string in strings]
        ends = np.zeros(len(encoded) + 1, "<u8")
        np.cumsum([len(item) for item in encoded], out=ends[1:])
        return [ends, b"".join(encoded)]

    def __len__(self) -> int:
        """How many strings."""
        return len(self.ends) - 1

    def __getitem__(self, number: int) -> str:
        """One string."""
        return self.encoded(number).decode(errors="replace")

    def encoded(self, number: int) -> bytes:
        """The UTF-8 of one string."""
        return bytes(self.blob[int(self.ends[number]) : int(self.ends[number + 1])])
