"""Sums that are carried in a narrower dtype, term after term: what a kernel with too narrow an accumulator gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from tapml_tui.compare.diagnosis.evidence import Floats

NARROW: tuple[tuple[str, Any], ...] = (("float16", np.float16), ("bfloat16", ml_dtypes.bfloat16))
"""What accumulators are by mistake."""

ROUNDINGS = 1 << 23
"""How many roundings of an accumulator are worth it: a tenth of a second."""


def in_sequence(terms: Floats, axes: tuple[int, ...], dtype: Any) -> Floats:
    """The sum over axes, rounded to `dtype` after each term; summed axes are kept, of size one."""
    axes = tuple(axis % terms.ndim for axis in axes)
    kept = [1 if axis in axes else size for axis, size in enumerate(terms.shape)]
    rows = np.moveaxis(terms, axes, range(len(axes))).reshape(
        -1, *(s for a, s in enumerate(terms.shape) if a not in axes)
    )
    total = np.zeros(rows.shape[1:], np.float32)
    for term in rows.astype(np.float32):
        total = (total + term).astype(dtype).astype(np.float32)
    return total.astype(np.float64).reshape(kept)


def running(terms: Floats, axis: int, dtype: Any) -> Floats:
    """The cumulative sum along an axis, rounded to `dtype` after each term."""
    rows = np.moveaxis(terms, axis, 0).astype(np.float32)
    sums = np.empty_like(rows)
    total = np.zeros(rows.shape[1:], np.float32)
    for place, term in enumerate(rows):
        total = (total + term).astype(dtype).astype(np.float32)
        sums[place] = total
    return np.moveaxis(sums, 0, axis).astype(np.float64)


def product(left: Floats, right: Floats, dtype: Any) -> Floats:
    """`left @ right`, every sum of products rounded to `dtype` after each term."""
    first, second = left.astype(np.float32), right.astype(np.float32)
    total: npt.NDArray[np.float32] = np.zeros((1, 1), np.float32)
    for k in range(left.shape[-1]):
        total = (total + first[..., k, None] * second[..., k, None, :]).astype(dtype).astype(np.float32)
    return total.astype(np.float64)


def narrow(roundings: int) -> Iterator[tuple[str, Any]]:
    """The narrower dtypes with their names, if so many roundings are not too many."""
    if roundings <= ROUNDINGS:
        yield from NARROW
