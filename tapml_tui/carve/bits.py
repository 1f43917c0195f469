"""The bytes of tensors as a trace holds them, and whether two are the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from tapml_tui.operators import dtype_name, to_numpy

ALIGNMENT = 64
"""Bytes in a trace lie at multiples of this; kernels may take another path for data that does not."""

_COPIED = 1 << 18  # bytes: up to here two copies and one comparison of memory are faster than an array of truths


def as_recorded(value: torch.Tensor) -> torch.Tensor:
    """The tensor as a trace holds it: contiguous, plain bits, aligned; itself if it is so already."""
    plain = _contiguous(value)
    return plain.clone() if plain.data_ptr() % ALIGNMENT else plain


def _contiguous(value: torch.Tensor) -> torch.Tensor:
    # Only complex tensors are conjugates; each of these questions lets the other thread in, who may not come out soon.
    if (value.is_complex() and value.is_conj()) or value.is_neg():
        value = value.resolve_conj().resolve_neg()
    return value if value.is_contiguous() else value.contiguous()


def recordable(dtype: torch.dtype) -> bool:
    """Whether a trace has this type."""
    try:
        dtype_name(dtype)
    except ValueError:
        return False
    return True


def same_bits(a: Any, b: Any) -> bool:
    """Equal bit by bit: NaN equals itself, and -0.0 does not equal 0.0."""
    if not isinstance(a, torch.Tensor) or not isinstance(b, torch.Tensor):
        return type(a) is type(b) and bool(a == b)
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.data_ptr() == b.data_ptr() and a.is_contiguous() and b.is_contiguous():  # views, when they are made again
        return True
    if not recordable(a.dtype):
        return bool(torch.equal(a, b))
    one, other = to_numpy(a), to_numpy(b)
    if one.nbytes <= _COPIED:
        return one.tobytes() == other.tobytes()
    return bool(np.array_equal(_bits(one), _bits(other)))


def _bits(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return array.reshape(-1).view(f"u{min(array.itemsize, 8)}")


def same_memory(a: Any, b: Any) -> bool:
    """Whether two recorded tensors are the same bytes in the same place, whatever their shapes."""
    return (
        isinstance(b, torch.Tensor)
        and a.data_ptr() == b.data_ptr()
        and a.numel() == b.numel()
        and a.dtype == b.dtype
        and a.numel() > 0
    )
