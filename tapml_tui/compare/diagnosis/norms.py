"""Layer, RMS and batch norm, done wrongly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tapml_tui.compare.diagnosis.evidence import Floats
from tapml_tui.compare.diagnosis.reductions import dropped
from tapml_tui.compare.diagnosis.result import Kind
from tapml_tui.compare.diagnosis.sums import in_sequence, narrow
from tapml_tui.compare.diagnosis.variant import Variant

_EPSILONS = (0.0, 1e-12, 1e-8, 1e-7, 1e-6, 1e-5, 1e-3, 1e-2, 1e-1)


@dataclass(frozen=True)
class _Norm:
    """How to normalise: what is wrong with it is one field replaced."""

    x: Floats
    weight: Floats | None
    bias: Floats | None
    axes: tuple[int, ...]
    centred: bool
    epsilon: float
    terms: slice | None = None
    divisor: int = 0
    carried: Any = None

    def computed(self) -> Floats:
        """The result."""
        some = self.x if self.terms is None else self.x[..., self.terms]
        count = int(np.prod([some.shape[axis] for axis in self.axes])) + self.divisor
        mean = self._total(some) / count if self.centred else 0.0
        square = self._total(np.square(some - mean)) / count
        result = (self.x - mean) / np.sqrt(square + self.epsilon)
        if self.weight is not None:
            result = result * self.weight
        return np.asarray(result if self.bias is None else result + self.bias)

    def _total(self, terms: Floats) -> Floats:
        if self.carried is not None:
            return in_sequence(terms, self.axes, self.carried)
        return np.asarray(terms.sum(axis=self.axes, keepdims=True))


def normalized(inputs: list[npt.NDArray[Any]], reference: Floats) -> Iterator[tuple[Floats, Iterator[Variant]]]:
    """Layer norm and RMS norm, over the axes that their weight has."""
    x = inputs[0].astype(np.float64)
    vectors = [array for array in inputs[1:] if array.dtype.kind == "f" and array.size > 1]
    weight, bias = (vectors[0] if vectors else None), (vectors[1] if len(vectors) > 1 else None)
    count = weight.ndim if weight is not None else 1
    axes = tuple(range(x.ndim - count, x.ndim))
    for centred in (True, False):
        for epsilon in (1e-5, 1e-6, 1e-12):
            norm = _Norm(x, weight, bias, axes, centred, epsilon)
            yield norm.computed(), _wrong(norm)


def _wrong(norm: _Norm) -> Iterator[Variant]:
    size = norm.x.shape[-1]
    if norm.bias is not None:
        yield Variant(Kind.BIAS, "the bias is missing", replace(norm, bias=None).computed())
    if norm.weight is not None:
        yield Variant(
            Kind.SLICE_SCALE,
            "the weight is missing: each column lacks its factor",
            replace(norm, weight=None).computed(),
        )
    if norm.centred:
        yield Variant(Kind.SLICE_OFFSET, "the mean is not subtracted", replace(norm, centred=False).computed())
    else:
        yield Variant(
            Kind.SLICE_OFFSET, "a mean is subtracted, and should not be", replace(norm, centred=True).computed()
        )
    for epsilon in _EPSILONS:
        if epsilon != norm.epsilon:
            words = f"each row has another factor, as with an epsilon of {epsilon:g} instead of {norm.epsilon:g}"
            yield Variant(Kind.SLICE_SCALE, words, replace(norm, epsilon=epsilon).computed())
    for name, dtype in narrow(norm.x.size):
        words = f"the sums of the statistics of each row are carried in {name}"
        yield Variant(Kind.LOW_PRECISION, words, replace(norm, carried=dtype).computed())
    for other in range(norm.x.ndim - 1):
        words = f"normalised along axis {other} instead of axis {norm.axes[-1]}"
        yield Variant(Kind.WRONG_AXIS, words, replace(norm, axes=(other,)).computed())
    for terms, words in dropped(size):
        left = len(range(size)[terms])
        for divisor in (0, size - left):
            if len(norm.axes) == 1:
                wrong = replace(norm, terms=terms, divisor=divisor)
                yield Variant(Kind.MISSING_TERM, f"in the statistics of each row {words}", wrong.computed())


def batch_norm(inputs: list[npt.NDArray[Any]], reference: Floats) -> Iterator[tuple[Floats, Iterator[Variant]]]:
    """Batch norm in evaluation, with weight, bias, running mean and variance."""
    if len(inputs) < 3 or inputs[0].ndim < 2:
        return
    x = inputs[0].astype(np.float64)
    column = (-1, *([1] * (x.ndim - 2)))
    vectors = [array.astype(np.float64).reshape(column) for array in inputs[1:] if array.size == x.shape[1]]
    if len(vectors) not in (2, 4):
        return
    one, zero = np.ones_like(vectors[0]), np.zeros_like(vectors[0])
    weight, bias, mean, variance = vectors if len(vectors) == 4 else (one, zero, *vectors)

    def computed(w: Floats, b: Floats, m: Floats, v: Floats, epsilon: float) -> Floats:
        return np.asarray((x - m) / np.sqrt(v + epsilon) * w + b)

    def wrong(epsilon: float) -> Iterator[Variant]:
        yield Variant(Kind.BIAS, "the bias is missing", computed(weight, zero, mean, variance, epsilon))
        yield Variant(Kind.SLICE_SCALE, "the weight is missing", computed(one, bias, mean, variance, epsilon))
        yield Variant(Kind.SLICE_OFFSET, "the mean is not subtracted", computed(weight, bias, zero, variance, epsilon))
        for other in _EPSILONS:
            words = f"each channel has another factor, as with an epsilon of {other:g} instead of {epsilon:g}"
            yield Variant(Kind.SLICE_SCALE, words, computed(weight, bias, mean, variance, other))

    for epsilon in (1e-5, 1e-3):
        yield computed(weight, bias, mean, variance, epsilon), wrong(epsilon)
