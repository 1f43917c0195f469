"""A .safetensors file beside a trace: opened and parsed as hostile input.

https://github.com/huggingface/safetensors#format: a 64-bit length, that much JSON, the bytes.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any, NamedTuple

from trace_format import limits
from trace_format.codec import element_count
from trace_format.dtypes import item_size
from trace_format.errors import Malformed, WeightsMissing, WeightsUnsafe
from trace_format.file import identity, map_file
from trace_format.text import printable

_DTYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32", "I32": "int32",
    "U64": "uint64", "I64": "int64", "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu",
}  # fmt: skip


class Entry(NamedTuple):
    """One tensor: where its bytes are in the file."""

    dtype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int


class SafetensorsFile:
    """A mapped .safetensors. Tensors of dtypes that the trace does not have are left out."""

    def __init__(self, folder: Path, name: str) -> None:
        """Open `name` in `folder`.

        Raises:
            WeightsUnsafe: If it is not a plain file name, or a link, or no regular file.
            WeightsMissing: If it is not there or may not be read.
            Malformed: If it is no .safetensors.
        """
        self.path = folder / plain_name(name)
        shown = printable(name)
        try:
            # No link is followed, and a pipe does not keep us waiting.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EMLINK):
                raise WeightsUnsafe(
                    f"{shown!r} beside the trace is a symbolic link; put the file itself there"
                ) from None
            raise WeightsMissing(
                f"the weights {shown!r} cannot be read ({error.strerror}); put the file into the trace's folder"
            ) from None
        try:
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode):
                raise WeightsUnsafe(f"{shown!r} beside the trace is no regular file")
            self.size, self.identity = info.st_size, identity(info)
            if self.size < 8:
                raise Malformed(f"{shown!r} is too short for a .safetensors file")
            self.data = map_file(descriptor, shown)
        finally:
            os.close(descriptor)
        self.entries = self._parse(shown)

    def _parse(self, shown: str) -> dict[str, Entry]:
        length = int.from_bytes(self.data[:8], "little")
        if length > min(self.size - 8, limits.MAX_SAFETENSORS_HEADER):
            raise Malformed(f"{shown!r} claims a header of {length} bytes")
        try:
            header = json.loads(self.data[8 : 8 + length], object_pairs_hook=_no_twins)
            if not isinstance(header, dict):
                raise ValueError("the header is no object")
            start = 8 + length
            known = {}
            for name, entry in header.items():
                if name != "__metadata__" and entry["dtype"] in _DTYPES:
                    known[name] = _entry(entry, start, self.size)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise Malformed(f"{shown!r} is no .safetensors file: {printable(str(error), 80)}") from None
        if len(known) > limits.MAX_WEIGHTS:
            raise Malformed(f"{shown!r} has more than {limits.MAX_WEIGHTS} tensors")
        return known

    def close(self) -> None:
        """Unmap the file, unless an array still looks at it."""
        try:
            self.data.close()
        except BufferError:
            return  # the map goes with the last array


def plain_name(name: str) -> str:
    """The name, if it is that of a .safetensors file and nothing more.

    Raises:
        WeightsUnsafe: If it has a folder in it, or anything else that could lead elsewhere.
    """
    if name != os.path.basename(name) or "\\" in name or "\0" in name or not name.endswith(".safetensors"):
        raise WeightsUnsafe(f"{printable(name, 80)!r} is not the name of a .safetensors file in the trace's folder")
    if len(os.fsencode(name.encode(errors="replace"))) > 255:
        raise WeightsUnsafe("the name of the .safetensors file is too long")
    return name


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError("a name occurs twice")
    return entries


def _entry(entry: dict[str, Any], start: int, size: int) -> Entry:
    dtype, shape = _DTYPES[entry["dtype"]], tuple(entry["shape"])
    first, last = entry["data_offsets"]
    if not all(type(number) is int and 0 <= number <= limits.MAX_TENSOR_BYTES for number in (*shape, first, last)):
        raise ValueError("a size is no size")
    if len(shape) > limits.MAX_RANK or last < first or start + last > size:
        raise ValueError("a tensor is not within the file")
    if element_count(shape) * item_size(dtype) != last - first:
        raise ValueError("dtype and shape of a tensor do not make its bytes")
    return Entry(dtype, shape, start + first, last - first)
