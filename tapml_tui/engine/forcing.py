"""Values that a user forces: out of a .npy file, in place of what a node computes."""

from __future__ import annotations

import math
import os
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from tapml_tui.backends.protocol import TensorSpec
from tapml_tui.regular_file import open_regular
from trace_format.dtypes import numpy_dtype
from trace_format.text import printable

_HEADER = 1 << 16  # bytes that are looked at for it; numpy itself takes none above 10000
_VERSIONS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class CannotForce(ValueError):
    """A file that cannot stand for a node's output. The message is for the user."""


def read_forced(file: str, spec: TensorSpec) -> np.ndarray:
    """The array in a .npy file, mapped.

    Args:
        file: Its path.
        spec: Dtype and shape that are wanted. What numpy has no dtype for (bfloat16) may come as raw
            bytes ("V2") or as integers of that width.

    Raises:
        CannotForce: If it is no such array.
    """
    try:
        with open_regular(Path(file).expanduser()) as stream:
            array = _mapped(stream, spec)
    except CannotForce as error:
        raise CannotForce(f"{file} {error}") from None
    except (OSError, RuntimeError) as error:  # no user of that name: a RuntimeError
        why = getattr(error, "strerror", None) or str(error)
        raise CannotForce(f"{file} cannot be read as .npy: {why}") from None
    return array


def _mapped(stream: BinaryIO, spec: TensorSpec) -> npt.NDArray[Any]:
    """The array; what it takes is known to be there before anything is allocated for it."""
    head = BytesIO(stream.read(_HEADER))
    if head.getvalue().startswith(b"PK"):
        raise CannotForce("is no single array: save it with numpy.save")
    try:
        version = np.lib.format.read_magic(head)
        if version not in _VERSIONS:
            raise ValueError(f"version {version[0]}.{version[1]}, which no plain array has")
        shape, fortran, dtype = _VERSIONS[version](head)
        has = f"{dtype} {list(shape)}"
    except Exception as error:  # numpy has Python's own parser read the header, which may raise anything
        why = printable(str(error).partition("\n")[0]) or type(error).__name__
        raise CannotForce(f"cannot be read as .npy: its header is broken ({why}); save it with numpy.save") from None
    wanted = numpy_dtype(spec.dtype)
    raw = dtype.kind in "Vu" and dtype.itemsize == wanted.itemsize and wanted.kind == "V"
    if (dtype != wanted and not raw) or shape != spec.shape:
        raise CannotForce(f"is {printable(has)}, the operator gives {spec.dtype} {list(spec.shape)}")
    start, count = head.tell(), math.prod(spec.shape)
    if os.fstat(stream.fileno()).st_size < start + count * wanted.itemsize:
        raise CannotForce("is cut off: it is shorter than its header says; save it again")
    if not count:
        return np.zeros(spec.shape, wanted)
    return np.memmap(stream, wanted, "r", start, spec.shape, "F" if fortran else "C")
