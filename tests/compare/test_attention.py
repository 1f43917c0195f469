"""Attention in half types: what rounds once on the way passes, one percent of the output's scale does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tapml_tui.compare import attention, compare
from tapml_tui.compare.noise import FLOAT32, Known
from tapml_tui.compare.precision import precision
from tests.compare.test_noise import Array, again, generator
from trace_format.model import Floor

SHAPE = (3, 4, 24, 16)
SCALE = SHAPE[-1] ** -0.5
HALVES = pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16], ids=["float16", "bfloat16"])
SHARPNESS = pytest.mark.parametrize("sharpness", [0.1, 1.0, 8.0])


class Case:
    """Inputs in a half type; the larger `sharpness`, the fewer keys have weight."""

    def __init__(self, dtype: Any, sharpness: float) -> None:
        random = generator(f"attention/{np.dtype(dtype).name}/{sharpness}")
        scaled = random.normal(size=SHAPE) * sharpness
        self.dtype = dtype
        self.query, self.key, self.value = (
            one.astype(dtype).astype(np.float64)
            for one in (scaled, random.normal(size=SHAPE), random.normal(size=SHAPE) + random.normal(size=SHAPE[-1]))
        )
        self.mask = random.random(size=(SHAPE[0], 1, SHAPE[2], SHAPE[2])) < 0.7
        self.mask |= np.eye(SHAPE[2], dtype=bool)
        self.exact = self.weighed(self.scores())
        self.source = self.flash().astype(dtype)  # as PyTorch's on CPUs
        error = np.abs(self.source.astype(np.float64) - self.exact)
        self.floor = Floor(error.max(), np.sqrt((error**2).mean()), "float64", excess=error.max())

    def half(self, array: Array) -> Array:
        return again(array.astype(np.float32), self.dtype).astype(np.float64)

    def scores(self, query: Array | None = None) -> Array:
        return (self.query if query is None else query) @ self.key.swapaxes(-1, -2) * SCALE

    def exponentials(self, scores: Array) -> Array:
        seen = np.where(self.mask, scores, -np.inf)
        return np.exp(seen - seen.max(axis=-1, keepdims=True))

    def weights(self, scores: Array) -> Array:
        exponentials = self.exponentials(scores)
        return exponentials / exponentials.sum(axis=-1, keepdims=True)

    def weighed(self, scores: Array) -> Array:
        return self.weights(scores) @ self.value

    def flash(self) -> Array:
        exponentials = self.exponentials(self.scores())
        return self.half(exponentials) @ self.value / exponentials.sum(axis=-1, keepdims=True)

    def known(self) -> Known:
        unit = precision(np.dtype(self.dtype))
        assert unit is not None
        inputs = (one.astype(self.dtype) for one in (self.query, self.key, self.value))
        known = attention.known(*inputs, unit, mask=self.mask, scale=SCALE)
        assert known is not None
        return known

    def factor(self, result: Array) -> float:
        return compare(self.source, result.astype(self.dtype), floor=self.floor, known=self.known()).factor


def added_from_rounded(case: Case) -> Array:
    rounded = case.half(case.exponentials(case.scores()))
    return rounded @ case.value / rounded.sum(axis=-1, keepdims=True)


def split(case: Case) -> Array:
    weights = case.weights(case.scores())
    return case.half(weights[..., :9] @ case.value[..., :9, :]) + weights[..., 9:] @ case.value[..., 9:, :]


HEALTHY: dict[str, Callable[[Case], Array]] = {
    "exact": lambda case: case.exact,
    "weights rounded": Case.flash,
    "weights rounded and added": added_from_rounded,
    "weights rounded when divided": lambda case: case.half(case.weights(case.scores())) @ case.value,
    "scores rounded": lambda case: case.weighed(case.half(case.scores())),
    "query scaled and rounded": lambda case: case.weighed(case.scores(case.half(case.query * SCALE)) / SCALE),
    "partial sum rounded": split,
    "result rounded before it is divided": lambda case: (
        case.half(case.exponentials(case.scores()) @ case.value)
        / case.exponentials(case.scores()).sum(axis=-1, keepdims=True)
    ),
}


@HALVES
@SHARPNESS
@pytest.mark.parametrize("name", HEALTHY)
def test_one_rounding_on_the_way_is_healthy(name: str, dtype: Any, sharpness: float) -> None:
    case = Case(dtype, sharpness)
    known = case.known()
    np.testing.assert_allclose(known.truth, case.exact, rtol=1e-9, atol=1e-12)
    result = HEALTHY[name](case)
    assert (np.abs(result - case.exact) <= known.straying).all()
    assert case.factor(result) <= 1.0


@HALVES
@SHARPNESS
def test_one_percent_of_the_scale_is_found(dtype: Any, sharpness: float) -> None:
    case = Case(dtype, sharpness)
    size = 0.01 * float(np.sqrt((case.exact**2).mean()))
    assert case.factor(case.exact + size) > 2.0
    one_head = case.exact.copy()
    one_head[1, 2] -= size
    assert case.factor(one_head) > 1.0


@HALVES
def test_a_mask_that_is_added_is_the_same(dtype: Any) -> None:
    case, unit = Case(dtype, 1.0), precision(np.dtype(dtype))
    added = np.where(case.mask, 0.0, -1e4).astype(dtype)
    found = attention.known(case.query, case.key, case.value, unit, mask=added, scale=SCALE)
    np.testing.assert_allclose(found.truth, case.exact, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.straying, case.known().straying)


def test_a_row_that_sees_nothing_is_judged_by_the_law() -> None:
    case = Case(np.float16, 1.0)
    case.mask[0, 0, 5] = False
    found = case.known()
    assert np.isnan(found.truth[0, :, 5]).all() and np.isfinite(found.truth[0, :, 4]).all()
    source, nearly, wrong = (case.source.copy() for _ in range(3))
    for array, by in ((source, 0.0), (nearly, 1e-3), (wrong, 0.5)):
        array[0, :, 5] = by
    facts = {"floor": case.floor, "known": found, "terms": 24.0}
    assert compare(source, nearly, **facts).passed
    assert not compare(source, wrong, **facts).passed


def test_what_is_too_much_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    case, unit = Case(np.float16, 1.0), precision(np.dtype(np.float16))
    inputs = (case.query, case.key, case.value)
    assert attention.known(*inputs, unit, mask=None, scale=1.0) is not None
    assert attention.known(*inputs, FLOAT32, mask=None, scale=1.0) is None
    assert attention.known(case.query[0], case.key, case.value, unit, mask=None, scale=1.0) is None
    monkeypatch.setattr(attention, "MOST_SCORES", 24 * 24 - 1)
    assert attention.known(*inputs, unit, mask=None, scale=1.0) is None
    monkeypatch.setattr(attention, "MOST_SCORES", 24 * 24)
    monkeypatch.setattr(attention, "MOST_MULTIPLIED", 12 * 24 * 24 * 32 - 1)
    assert attention.known(*inputs, unit, mask=None, scale=1.0) is None
