"""The body of a value record: msgpack, to and from `Value`."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

from trace_format import limits
from trace_format.codec import element_count
from trace_format.dtypes import item_size
from trace_format.errors import LimitExceeded, Malformed
from trace_format.model import Floor, InputRef, NodeRef, Value
from trace_format.wire import Fields, encode_argument, encode_reference, pack, text, unpack


class StoredValue(NamedTuple):
    """A value with its place."""

    case: int
    ref: NodeRef | InputRef
    value: Value


def encode_value(stored: StoredValue) -> bytes:
    """Body of a value record, one that `decode_value` takes.

    Raises:
        Malformed, LimitExceeded, UnknownDtype: As `decode_value` would.
    """
    v = stored.value
    value_bytes(v.dtype, v.shape, v.strides)
    if v.tensor is not None and (not v.dtype or len(v.tensor) != 32):
        raise Malformed("a tensor without a dtype, or without a SHA-256")
    if v.scalar is not None and not isinstance(v.scalar, (int, float, bool, str)):
        raise Malformed("a scalar that is none")
    fields = [
        stored.case, encode_reference(stored.ref), text(v.dtype), list(v.shape), list(v.strides), v.tensor,
        encode_argument(v.scalar), v.reproducible, _encode_floor(v.isolated), _encode_floor(v.chained), text(v.note),
    ]  # fmt: skip
    if v.peak is not None or v.rms is not None:
        fields += [None if size is None else _finite(size) for size in (v.peak, v.rms)]
    return pack(fields)


@lru_cache(4096)
def value_bytes(dtype: str, shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """How many bytes a value of this form is; refuses what no value can be.

    Cached: a model has thousands of values and few forms.

    Raises:
        Malformed, LimitExceeded, UnknownDtype: As `decode_value` would.
    """
    if max(len(shape), len(strides)) > limits.MAX_RANK:
        raise LimitExceeded(f"a value has more than {limits.MAX_RANK} dimensions")
    if not all(type(n) is int for n in shape + strides):
        raise Malformed("an integer is missing")
    if any(not 0 <= n <= limits.MAX_ELEMENTS for n in shape) or any(abs(n) > limits.MAX_TENSOR_BYTES for n in strides):
        raise LimitExceeded(f"a size or a stride is out of range: {list(shape)}, {list(strides)}"[:300])
    return element_count(shape) * (item_size(dtype) if dtype else 0)


def _encode_floor(floor: Floor | None) -> object:
    if floor is None:
        return None
    fields = [_size(floor.max_abs), _size(floor.rms), text(floor.origin)]
    later = [None if math.isinf(size) else _size(size) for size in (floor.ulps, floor.excess)]
    while later and later[-1] is None:
        later.pop()
    return [*fields, *later]


def _size(number: float) -> float:
    if not number >= 0:  # a NaN too: as a bound it would let anything pass
        raise Malformed(f"a size of {number}")
    return float(number)


def _finite(number: float) -> float:
    if math.isinf(number):
        raise Malformed("a size without an end")
    return _size(number)


def decode_value(body: bytes) -> StoredValue:
    """Inverse of `encode_value`."""
    f = Fields(unpack(body))
    case, ref = f.integer(0, limits.MAX_CASES - 1), f.any()
    if type(ref) not in (NodeRef, InputRef):
        raise Malformed("a value of nothing")
    dtype, shape = f.text(), f.integers(limits.MAX_RANK, 0, limits.MAX_ELEMENTS)
    strides = f.integers(limits.MAX_RANK, -limits.MAX_TENSOR_BYTES, limits.MAX_TENSOR_BYTES)
    tensor, scalar, reproducible = f.optional_digest(), f.any(), f.flag()
    if scalar is not None and type(scalar) not in (int, float, bool, str):
        raise Malformed("a scalar that is none")
    isolated, chained = _decode_floor(f.any()), _decode_floor(f.any())
    if dtype:
        item_size(dtype)
    elif tensor is not None:
        raise Malformed("a tensor without a dtype")
    element_count(shape)
    note = f.text()
    peak, rms = _decode_later(f), _decode_later(f)
    return StoredValue(
        case, ref, Value(dtype, shape, strides, tensor, scalar, reproducible, isolated, chained, note, peak, rms)
    )


def _decode_floor(item: Any) -> Floor | None:
    if item is None:
        return None
    f = Fields(item)
    max_abs, rms, origin = _size(f.real()), _size(f.real()), f.text()
    ulps, excess = _decode_later(f), _decode_later(f)
    return Floor(max_abs, rms, origin, math.inf if ulps is None else ulps, math.inf if excess is None else excess)


def _decode_later(f: Fields) -> float | None:
    """A size that version 1.0 did not have: nil, or missing, where it is not known."""
    return None if f.ended or (number := f.optional_real()) is None else _finite(number)
