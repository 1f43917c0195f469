"""Where the bytes of tensors are, and that they are right: only the blocks that are touched are checked."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_format import limits
from trace_format.checksum import crc32
from trace_format.codec import Weight, Weights, decode_weights, element_count
from trace_format.dtypes import item_size, numpy_dtype
from trace_format.errors import (
    BlockDamaged,
    IndexInvalid,
    Malformed,
    SizeMismatch,
    TensorMissing,
    WeightsChanged,
)
from trace_format.file import TraceFile, check_at, check_mapped
from trace_format.index import TensorIndex
from trace_format.model import Block
from trace_format.records import Buffer, Op, block_count
from trace_format.safetensors_file import SafetensorsFile
from trace_format.text import printable

_KEPT = 4096


class Stored:
    """The bytes of one tensor in a mapped file."""

    def __init__(
        self,
        path: str,
        data: Buffer,
        offset: int,
        nbytes: int,
        checksums: bytes,
        *,
        start: int = 0,
        file: tuple[int, int] | None = None,
    ) -> None:
        """Nothing is looked at yet.

        Args:
            path: The file.
            data: What of it is at hand.
            offset: Where the bytes are in `data`.
            nbytes: How many.
            checksums: One CRC for each block of them.
            start: Where in the file `data` begins.
            file: What must still be at `path` when another process shall map it.
        """
        self._file = file
        self.path, self.offset, self.nbytes = path, offset, nbytes
        self._start = start
        self._data = data
        self._checksums = np.frombuffer(checksums, "<u4")
        self._checked = bytearray(len(self._checksums))

    def check(self, start: int, stop: int) -> None:
        """Check the blocks that bytes [start, stop) touch, each once.

        Raises:
            BlockDamaged: If one is not what was written.
            FileChanged: If they are not there any more.
        """
        check_mapped(self._data, self._start + self.offset + stop)
        for block in range(start // limits.BLOCK, block_count(stop)):
            if not self._checked[block]:
                self._check_block(block)
                self._checked[block] = True

    def _check_block(self, block: int) -> None:
        first = block * limits.BLOCK
        last = min(first + limits.BLOCK, self.nbytes)
        with memoryview(self._data) as whole, whole[self.offset + first : self.offset + last] as view:
            right = crc32(view) == self._checksums[block]
        if not right:
            raise BlockDamaged(
                f"bytes {first} to {last} of a tensor are not what was written", self._start + self.offset + first
            )

    def elements(self, dtype: str, start: int, count: int) -> npt.NDArray[Any]:
        """Elements [start, start + count), flat, read-only, without a copy."""
        size = item_size(dtype)
        self.check(start * size, (start + count) * size) if count else None
        if count == 0:
            return np.zeros(0, numpy_dtype(dtype))
        array = np.frombuffer(self._data, numpy_dtype(dtype), count, self.offset + start * size)
        array.flags.writeable = False
        return array

    def view(self) -> memoryview:
        """The bytes. Release it, or the file stays mapped."""
        check_mapped(self._data, self._start + self.offset + self.nbytes)
        return memoryview(self._data)[self.offset : self.offset + self.nbytes]

    def checked_view(self) -> memoryview:
        """The bytes, checked. Release it, or the file stays mapped."""
        self.check(0, self.nbytes)
        return self.view()

    def block(self) -> Block:
        """Where they are, checked, for another process to map.

        Raises:
            BlockDamaged: If they are not what was written.
            FileChanged: If another process would find another file there.
        """
        self.check(0, self.nbytes)
        if self._file is not None:
            check_at(self.path, self._file)
        return Block(self.path, self._start + self.offset, self.nbytes)


class Tensors:
    """The tensors of a trace by SHA-256, in it or in a .safetensors beside it."""

    def __init__(self, file: TraceFile, index: TensorIndex) -> None:
        """Open no weights yet."""
        self._file = file
        self._index = index
        self._weights: dict[int, Weights] = {}
        self._files: dict[str, SafetensorsFile] = {}
        self.stored = lru_cache(_KEPT)(self._find)

    def size(self, digest: bytes) -> int | None:
        """Bytes of a tensor, None if it is not there."""
        found = self._index.find(digest)
        return None if found is None else found[1]

    def _find(self, digest: bytes) -> Stored:
        found = self._index.find(digest)
        if found is None:
            raise TensorMissing(f"the tensor {digest.hex()[:16]} is not in the trace")
        record, nbytes, item = found
        if item >= 0:
            return self._weight(record, item, digest, nbytes)
        place = self._file.record(record, Op.TENSOR)
        body = self._file.body(record, Op.TENSOR)
        if len(body) != 32 + 4 * block_count(place.bulk_size):
            raise Malformed("a tensor has another number of checksums than blocks", record)
        if body[:32] != digest or place.bulk_size != nbytes:
            raise IndexInvalid("the table of tensors names another tensor", record)
        path, file = str(self._file.path), self._file.identity
        return Stored(path, self._file.data, place.bulk, nbytes, body[32:], file=file)

    def _weight(self, record: int, item: int, digest: bytes, nbytes: int) -> Stored:
        weights = self.weights(record)
        if item >= len(weights.tensors) or weights.tensors[item].digest != digest:
            raise IndexInvalid("the table of tensors names another weight", record)
        weight = weights.tensors[item]
        if weight.nbytes != nbytes:
            raise IndexInvalid("the table of tensors gives a weight another size", record)
        return self.locate(weights, weight)

    def weights(self, record: int) -> Weights:
        """What a weights record says."""
        if record not in self._weights:
            self._weights[record] = decode_weights(self._file.body(record, Op.WEIGHTS))
        return self._weights[record]

    def locate(self, weights: Weights, weight: Weight) -> Stored:
        """A weight in its file.

        Raises:
            WeightsUnsafe, WeightsMissing: If the file cannot be used.
            WeightsChanged: If it is another one than when the trace was made.
        """
        file = self._files.get(weights.file)
        if file is None:
            file = self._files[weights.file] = SafetensorsFile(self._file.path.parent, weights.file)
        shown = printable(weights.file)
        if file.size != weights.size:
            raise WeightsChanged(f"{shown!r} has {file.size} bytes, {weights.size} when the trace was made")
        entry = file.entries.get(weight.name)
        if entry is None or (entry.dtype, entry.shape) != (weight.dtype, weight.shape):
            raise WeightsChanged(f"{shown!r} has no {printable(weight.name)!r} as when the trace was made")
        return Stored(str(file.path), file.data, entry.offset, entry.nbytes, weight.checksums, file=file.identity)

    def close(self) -> None:
        """Unmap the weights."""
        for file in self._files.values():
            file.close()
        self._files.clear()


def check_size(dtype: str, shape: tuple[int, ...], nbytes: int) -> int:
    """How many elements a value has.

    Raises:
        SizeMismatch: If they are not that many bytes.
    """
    count = element_count(shape)
    if count * item_size(dtype) != nbytes:
        raise SizeMismatch(f"{dtype} {list(shape)} is {count * item_size(dtype)} bytes, its tensor has {nbytes}")
    return count
