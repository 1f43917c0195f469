"""Values that a user forces: out of a .npy file, in place of what a node computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tapml_tui.backends.protocol import TensorSpec
from trace_format.dtypes import numpy_dtype


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
        array = np.load(Path(file).expanduser(), mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise CannotForce(f"{file} cannot be read as .npy: {error}") from None
    if not isinstance(array, np.ndarray):
        raise CannotForce(f"{file} is no single array: save it with numpy.save")
    wanted = numpy_dtype(spec.dtype)
    if array.dtype != wanted and array.dtype.kind in "Vu" and array.itemsize == wanted.itemsize and wanted.kind == "V":
        array = array.view(wanted)
    if array.dtype != wanted or array.shape != spec.shape:
        has, needs = f"{array.dtype} {list(array.shape)}", f"{spec.dtype} {list(spec.shape)}"
        raise CannotForce(f"{file} is {has}, the operator gives {needs}")
    return array
