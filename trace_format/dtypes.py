"""Names of dtypes and what numpy calls them.

Elements are stored little-endian; sub-byte types as ml_dtypes has them, one element to a byte.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from trace_format.errors import UnknownDtype
from trace_format.text import printable

ITEM_SIZES = {
    "bool": 1,
    "int8": 1,
    "int16": 2,
    "int32": 4,
    "int64": 8,
    "uint8": 1,
    "uint16": 2,
    "uint32": 4,
    "uint64": 8,
    "float16": 2,
    "float32": 4,
    "float64": 8,
    "complex64": 8,
    "complex128": 16,
}
NUMPY_DTYPES = frozenset(ITEM_SIZES)
ITEM_SIZES |= {
    "bfloat16": 2,
    "float8_e3m4": 1,
    "float8_e4m3": 1,
    "float8_e4m3b11fnuz": 1,
    "float8_e4m3fn": 1,
    "float8_e4m3fnuz": 1,
    "float8_e5m2": 1,
    "float8_e5m2fnuz": 1,
    "float8_e8m0fnu": 1,
    "float6_e2m3fn": 1,
    "float6_e3m2fn": 1,
    "float4_e2m1fn": 1,
    "int2": 1,
    "int4": 1,
    "uint2": 1,
    "uint4": 1,
}


def item_size(name: str) -> int:
    """Bytes of one stored element.

    Raises:
        UnknownDtype: For a name that the format does not have.
    """
    size = ITEM_SIZES.get(name)
    if size is None:
        raise UnknownDtype(f"unknown dtype {printable(name, 40)!r}: a later version of the format may have it")
    return size


@cache
def numpy_dtype(name: str) -> np.dtype[Any]:
    """The numpy dtype of a name, little-endian.

    Raises:
        UnknownDtype: For a name that the format does not have.
    """
    item_size(name)
    if name in NUMPY_DTYPES:
        return np.dtype(name).newbyteorder("<")
    import ml_dtypes  # late: most commands never need it

    dtype: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
    return dtype


def dtype_name(dtype: np.dtype[Any]) -> str:
    """The format's name of a numpy dtype.

    Raises:
        UnknownDtype: If it has none.
    """
    item_size(dtype.name)
    return dtype.name
