"""Softmax, cumulative and plain reductions, done wrongly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from tapml_tui.compare.diagnosis.evidence import Floats
from tapml_tui.compare.diagnosis.result import Kind
from tapml_tui.compare.diagnosis.sums import ROUNDINGS, in_sequence, narrow, running
from tapml_tui.compare.diagnosis.variant import Variant

DROPPED = (1, 2, 3, 4, 8, 16, 32, 64)


def dropped(size: int) -> Iterator[tuple[slice, str]]:
    """The terms that are left when the last or first ones are left out, and words for it."""
    for count in DROPPED:
        if count < size:
            yield slice(0, size - count), f"the last {count} of {size} terms are left out" if count > 1 else (
                f"the last of {size} terms is left out"
            )  # fmt: skip
    yield slice(1, size), f"the first of {size} terms is left out"


def softmax(inputs: list[npt.NDArray[Any]], reference: Floats) -> Iterator[tuple[Floats, Iterator[Variant]]]:
    """Softmax or its logarithm, whichever gives the reference."""
    x = inputs[0].astype(np.float64)

    def log(axis: int, terms: slice = slice(None)) -> Floats:
        top = x.max(axis=axis, keepdims=True)
        total = np.exp(x - top).take(range(x.shape[axis])[terms], axis).sum(axis=axis, keepdims=True)
        return np.asarray(x - top - np.log(total))

    def coarse(axis: int, dtype: Any) -> Floats:
        top = x.max(axis=axis, keepdims=True)
        return np.asarray(x - top - np.log(in_sequence(np.exp(x - top), (axis,), dtype)))

    for axis in range(x.ndim):
        for function in (np.exp, lambda values: values):
            yield (
                function(log(axis)),
                chain(
                    _softmax_wrong(log, function, axis, x),
                    (
                        Variant(
                            Kind.LOW_PRECISION,
                            f"the sums along axis {axis} are carried in {name}",
                            function(coarse(axis, dtype)),
                        )
                        for name, dtype in narrow(x.size)
                    ),
                ),
            )


def _softmax_wrong(
    log: Callable[..., Floats], function: Callable[[Floats], Floats], axis: int, x: Floats
) -> Iterator[Variant]:
    for other in range(x.ndim):
        if other != axis and x.shape[other] > 1:
            yield Variant(Kind.WRONG_AXIS, f"computed along axis {other} instead of axis {axis}", function(log(other)))
    for terms, words in dropped(x.shape[axis]):
        yield Variant(Kind.MISSING_TERM, f"of every sum along axis {axis} {words}", function(log(axis, terms)))


def cumsum(inputs: list[npt.NDArray[Any]], reference: Floats) -> Iterator[tuple[Floats, Iterator[Variant]]]:
    """Cumulative sum."""
    x = inputs[0].astype(np.float64)
    for axis in range(x.ndim):
        yield np.cumsum(x, axis), _cumsum_wrong(x, axis)


def _cumsum_wrong(x: Floats, axis: int) -> Iterator[Variant]:
    for other in range(x.ndim):
        if other != axis:
            words = f"summed along axis {other} instead of axis {axis}"
            yield Variant(Kind.WRONG_AXIS, words, np.cumsum(x, other))
    right = np.cumsum(x, axis)
    yield Variant(Kind.MISSING_TERM, f"every sum along axis {axis} leaves its own last term out", right - x)
    first = x.take([0], axis)
    yield Variant(Kind.MISSING_TERM, f"every sum along axis {axis} leaves the first term out", right - first)
    for lag in DROPPED[1:]:
        if lag < x.shape[axis]:
            before = np.concatenate(
                [np.zeros_like(x.take(range(lag), axis)), right.take(range(x.shape[axis] - lag), axis)], axis
            )
            yield Variant(Kind.MISSING_TERM, f"every sum along axis {axis} leaves its last {lag} terms out", before)
    for terms, words in dropped(x.shape[axis]):
        if terms.start == 0:
            fewer = x.copy()
            fewer[(*[slice(None)] * axis, slice(terms.stop, None))] = 0.0
            yield Variant(Kind.MISSING_TERM, f"along axis {axis} {words} of all sums", np.cumsum(fewer, axis))
    for name, dtype in narrow(x.size):
        yield Variant(Kind.LOW_PRECISION, f"the sums along axis {axis} are carried in {name}", running(x, axis, dtype))
    back = np.flip(np.cumsum(np.flip(x, axis), axis), axis)
    yield Variant(Kind.PERMUTED, f"summed from the end of axis {axis} to its beginning", back)
    yield Variant(Kind.STALE, "nothing is summed: the input is copied", x)


def reduction(inputs: list[npt.NDArray[Any]], reference: Floats) -> Iterator[tuple[Floats, Iterator[Variant]]]:
    """Mean, sum, largest, smallest over one or more axes."""
    x = inputs[0].astype(np.float64)
    if x.size == reference.size or not x.size:
        return
    for function in (np.mean, np.sum, np.amax, np.amin):
        for count in range(1, x.ndim + 1):
            for axes in combinations(range(x.ndim), count):
                kept = x.size // int(np.prod([x.shape[axis] for axis in axes]))
                if kept == reference.size:
                    yield function(x, axis=axes), _reduced_wrongly(x, reference, function, axes)


def _reduced_wrongly(
    x: Floats, reference: Floats, function: Callable[..., Any], axes: tuple[int, ...]
) -> Iterator[Variant]:
    for other in combinations(range(x.ndim), len(axes)):
        if other != axes:
            result = np.asarray(function(x, axis=other))
            if result.size == reference.size:
                said, right = (", ".join(map(str, those)) for those in (other, axes))
                words = f"reduced along axis {said} instead of axis {right}"
                yield Variant(Kind.WRONG_AXIS, words, result.reshape(reference.shape))
    for name, dtype in narrow(x.size if function in (np.mean, np.sum) else ROUNDINGS + 1):
        coarse = in_sequence(x, axes, dtype) / (x.size / reference.size if function is np.mean else 1.0)
        yield Variant(Kind.LOW_PRECISION, f"the sums are carried in {name}", coarse.reshape(reference.shape))
    axis = axes[-1]
    for terms, words in dropped(x.shape[axis]):
        left = x.take(range(x.shape[axis])[terms], axis)
        result = np.asarray(function(left, axis=axes))
        if function is np.mean:
            result = result * left.shape[axis] / x.shape[axis]
        yield Variant(Kind.MISSING_TERM, f"along axis {axis} {words}", result.reshape(reference.shape))
