"""Scaled dot-product attention, done wrongly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tapml_tui.compare.diagnosis.evidence import Floats
from tapml_tui.compare.diagnosis.reductions import dropped
from tapml_tui.compare.diagnosis.result import Kind
from tapml_tui.compare.diagnosis.sums import in_sequence, narrow, product
from tapml_tui.compare.diagnosis.variant import WORK, Variant


def attention(inputs: list[npt.NDArray[Any]], reference: Floats) -> Iterator[tuple[Floats, Iterator[Variant]]]:
    """`softmax(q k' / sqrt(d) + mask) v`, with the mask that is given, a causal one, or none."""
    if len(inputs) < 3 or any(array.ndim < 3 for array in inputs[:3]):
        return
    query, key, value = (array.astype(np.float64) for array in inputs[:3])
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2] or reference.ndim != query.ndim:
        return
    if query.shape[-3] != key.shape[-3] and query.shape[-3] % key.shape[-3] == 0:  # grouped queries
        shared = query.shape[-3] // key.shape[-3]
        key, value = np.repeat(key, shared, axis=-3), np.repeat(value, shared, axis=-3)
    if query.size * key.shape[-2] > WORK or query.shape[:-2] != key.shape[:-2]:
        return
    scores = query @ np.swapaxes(key, -1, -2)
    scale = 1.0 / np.sqrt(query.shape[-1])
    rows, columns = scores.shape[-2:]
    causal = np.tril(np.ones((rows, columns), bool))
    given = [_as_addend(array) for array in inputs[3:] if array.ndim >= 2]
    for mask in [*given, np.zeros(1), _as_addend(causal)]:
        yield _attended(scores * scale + mask, value), _wrong(query, key, value, mask, causal)


def _as_addend(mask: npt.NDArray[Any]) -> Floats:
    return np.where(mask, 0.0, -np.inf) if mask.dtype.kind == "b" else mask.astype(np.float64)


def _attended(scores: Floats, value: Floats, axis: int = -1) -> Floats:
    return np.asarray(_weights(scores, axis) @ value)


def _weights(scores: Floats, axis: int = -1, summed: slice = slice(None)) -> Floats:
    top = scores.max(axis=axis, keepdims=True)
    weights = np.exp(scores - np.where(np.isfinite(top), top, 0.0))
    total = weights.take(range(scores.shape[axis])[summed], axis).sum(axis=axis, keepdims=True)
    return np.asarray(np.divide(weights, total, out=np.zeros_like(weights), where=total > 0.0))


def _wrong(query: Floats, key: Floats, value: Floats, mask: Floats, causal: npt.NDArray[np.bool_]) -> Iterator[Variant]:
    scores, scale = query @ np.swapaxes(key, -1, -2), 1.0 / np.sqrt(query.shape[-1])
    scaled = scores * scale
    hidden = np.broadcast_to(mask < -1e4, scores.shape)
    if hidden.any():
        yield Variant(Kind.MASK, "the mask is missing: what it hides is attended to", _attended(scaled, value))
        inverted = np.where(hidden, 0.0, -np.inf)
        yield Variant(
            Kind.MASK,
            "the mask is inverted: what it hides is attended to, and nothing else",
            _attended(scaled + inverted, value),
        )
        seen = causal.shape[0] == causal.shape[1] and np.array_equal(hidden.reshape(-1, *causal.shape)[0], ~causal)
        if seen:
            for step, words in ((1, "one position too many"), (-1, "one position too few")):
                shifted = np.where(np.tril(np.ones(causal.shape, bool), step), 0.0, -np.inf)
                yield Variant(Kind.MASK, f"the causal mask lets {words} through", _attended(scaled + shifted, value))
    elif causal.size > 1:
        words = "a causal mask is applied, and should not be"
        yield Variant(Kind.MASK, words, _attended(np.where(causal, scaled, -np.inf), value))
    words = f"the scores are not scaled by 1/sqrt({query.shape[-1]})"
    yield Variant(Kind.SLICE_SCALE, words, _attended(scores + mask, value))
    yield Variant(Kind.WRONG_AXIS, "softmax along the queries instead of the keys", _attended(scaled + mask, value, -2))
    for name, dtype in narrow(scores.size * (query.shape[-1] + value.shape[-1])):
        coarse = product(query, np.swapaxes(key, -1, -2), dtype) * scale + mask
        top = coarse.max(axis=-1, keepdims=True)
        raised = np.exp(coarse - np.where(np.isfinite(top), top, 0.0))
        total = in_sequence(raised, (-1,), dtype)
        weights = np.divide(raised, total, out=np.zeros_like(raised), where=total > 0.0)
        yield Variant(Kind.LOW_PRECISION, f"all sums are carried in {name}", product(weights, value, dtype))
    for terms, left_out in dropped(scores.shape[-1]):
        some = _attended((scaled + mask)[..., terms], value[..., terms, :])
        yield Variant(Kind.MISSING_TERM, f"over the keys, {left_out}", some)
        weights = _weights(scaled + mask)
        yield Variant(Kind.MISSING_TERM, f"of the values, {left_out}", weights[..., terms] @ value[..., terms, :])
        total = _weights(scaled + mask, summed=terms)
        yield Variant(Kind.MISSING_TERM, f"of the sums of softmax, {left_out}", total @ value)
    for terms, left_out in dropped(query.shape[-1]):
        fewer = query[..., terms] @ np.swapaxes(key[..., terms], -1, -2) * scale + mask
        yield Variant(Kind.MISSING_TERM, f"of every score, {left_out}", _attended(fewer, value))
        if key.shape[-2] > query.shape[-1] - len(range(query.shape[-1])[terms]) and terms.start == 0:
            count = query.shape[-1] - terms.stop
            keys = slice(0, key.shape[-2] - count)
            every = _weights(fewer, summed=keys)[..., keys] @ value[..., keys, :]
            yield Variant(Kind.MISSING_TERM, f"every sum leaves its last terms out ({count})", every)
