"""Names of dtypes, and tensors to and from numpy without a copy.

numpy has no bfloat16 or float8 of its own: `ml_dtypes` brings them, and torch does not know
those, so such tensors cross as integers of the same width and are viewed on the other side.
"""

from __future__ import annotations

import warnings

import ml_dtypes
import numpy as np
import torch

# Mapped traces are read-only on purpose, and nobody writes through them: see `from_numpy`.
warnings.filterwarnings("ignore", message="The given buffer is not writable")

_NATIVE = (
    "bool",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "float32",
    "float64",
    "complex64",
    "complex128",
)
_EXTENDED = (
    "bfloat16",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e5m2",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
)

_NUMPY: dict[str, np.dtype] = {name: np.dtype(name) for name in _NATIVE} | {
    name: np.dtype(getattr(ml_dtypes, name)) for name in _EXTENDED
}
_TORCH: dict[str, torch.dtype] = {name: getattr(torch, name) for name in _NUMPY}
_NAMES: dict[torch.dtype, str] = {dtype: name for name, dtype in _TORCH.items()}
_PLAIN = frozenset(_TORCH[name] for name in _NATIVE)
_SAME_WIDTH: dict[int, torch.dtype] = {1: torch.uint8, 2: torch.int16}


def dtype_name(dtype: torch.dtype) -> str:
    """`torch.float32` -> "float32".

    Raises:
        ValueError: For a dtype that a trace cannot hold (quantised and sub-byte types).
    """
    try:
        return _NAMES[dtype]
    except KeyError:
        raise ValueError(f"{dtype} cannot be recorded: a trace has no such type") from None


def torch_dtype(name: str) -> torch.dtype:
    """The torch dtype of a name: `torch.float32` for "float32".

    Raises:
        ValueError: For a name that torch does not have, or that a trace cannot hold.
    """
    try:
        return _TORCH[name]
    except KeyError:
        raise ValueError(f"torch has no dtype {name[:40]!r} that can be executed here") from None


def numpy_dtype(name: str) -> np.dtype:
    """The numpy dtype of a name, from `ml_dtypes` for "bfloat16" and "float8_...".

    Raises:
        ValueError: As `torch_dtype`.
    """
    try:
        return _NUMPY[name]
    except KeyError:
        raise ValueError(f"no dtype {name[:40]!r}") from None


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """A C-contiguous array with the bits of `tensor`; shares memory where it is contiguous on the CPU.

    A 0-d tensor gives a 0-d array.
    """
    if tensor.dtype in _PLAIN and tensor.is_contiguous():
        try:  # a thousand times when carving: a context manager would take as long as the call
            plain: np.ndarray = tensor.numpy()
            return plain
        except (RuntimeError, TypeError):  # of a gradient, another device, a conjugate: see below
            pass
    tensor = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    name = dtype_name(tensor.dtype)
    raw = tensor.view(_SAME_WIDTH[tensor.itemsize]) if name in _EXTENDED else tensor
    array: np.ndarray = raw.numpy()
    return array.view(_NUMPY[name])


def from_numpy(array: np.ndarray, dtype: str | None = None) -> torch.Tensor:
    """A tensor over the memory of `array`, no copy.

    The array may be read-only: whoever writes into the tensor must clone it first, as
    `call_unit` does for operators that write into their inputs.

    Args:
        array: C-contiguous.
        dtype: Name of the dtype; by default that of the array.

    Raises:
        ValueError: For a dtype that torch does not have.
    """
    target = torch_dtype(dtype or array.dtype.name)
    if not array.flags.c_contiguous:
        array = np.array(array, order="C")
    if array.nbytes == 0:  # frombuffer refuses empty buffers
        return torch.empty(array.shape, dtype=target)
    return torch.frombuffer(array.reshape(-1).view(np.uint8), dtype=target).reshape(array.shape)


def seen_as(tensor: torch.Tensor, dtype: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The same bytes as a tensor of another dtype and shape; the tensor itself where that is what it is.

    Raises:
        ValueError: As `torch_dtype`.
        RuntimeError: If they are not as many bytes.
    """
    wanted = torch_dtype(dtype)
    if tensor.dtype is wanted and tensor.shape == shape:
        return tensor
    return tensor.contiguous().reshape(-1).view(wanted).reshape(shape)
