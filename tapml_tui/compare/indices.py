"""Indices are judged by what they point to: among equals, more than one choice is right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tapml_tui.compare.elementwise import compare
from tapml_tui.compare.result import Comparison
from trace_format.model import Floor


def compare_indices(
    values: np.ndarray,
    reference: np.ndarray,
    actual: np.ndarray,
    dim: int | None,
    *,
    floor: Floor,
    terms: float | None = 1.0,
    chained: bool = False,
) -> Comparison:
    """Compare what `sort`, `topk`, `argmax` and their like say about where something lies.

    A sort that is not stable may order equal elements as it likes, and two candidates that differ by
    less than the noise of `values` are equals. So where indices differ, the elements that they point
    to are compared.

    Args:
        values: What the indices point into.
        reference: Indices of the source.
        actual: Indices that are judged.
        dim: The dimension that they count along; None: in the flattened array.
        floor: Noise floor of `values`.
        terms: See `compare`.
        chained: Whether `floor` is that of the whole model up to here.
    """
    exact = compare(reference, actual)
    if exact.passed or exact.worst is None:
        return exact
    expected, got = _pointed_to(values, reference, dim), _pointed_to(values, actual, dim)
    if expected is None or got is None or _repeats(values, actual, dim):
        return exact
    pointed = compare(expected, got, floor=floor, terms=terms, chained=chained)
    if not pointed.passed:
        return exact
    return replace(exact, passed=True, reason="", outside=0, factor=pointed.factor)


def _pointed_to(values: np.ndarray, indices: np.ndarray, dim: int | None) -> np.ndarray | None:
    """The elements at `indices`, or None if they point outside."""
    if dim is None:
        values, indices, dim = values.reshape(-1), indices.reshape(-1), 0
    if not -values.ndim <= dim < max(values.ndim, 1) or values.ndim == 0:
        return None
    if indices.ndim == values.ndim - 1:
        indices = np.expand_dims(indices, dim)
    if indices.ndim != values.ndim or indices.min() < 0 or indices.max() >= values.shape[dim]:
        return None
    return np.take_along_axis(values, indices, dim)


def _repeats(values: np.ndarray, indices: np.ndarray, dim: int | None) -> bool:
    """Whether an index occurs twice where each may occur once."""
    if dim is None or indices.ndim != values.ndim:
        return False
    return not bool(np.diff(np.sort(indices, axis=dim), axis=dim).all())
