"""Sums whose terms are known: no healthy order strays further, and little room is left above those that do."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from tapml_tui.compare import compare
from tapml_tui.compare.metrics import measure
from tapml_tui.compare.noise import FLOAT32, Known
from tapml_tui.compare.precision import precision
from tapml_tui.compare.sums import MOST_TERMS, known
from tests.compare.test_noise import ORDERS, again, generator
from trace_format.model import Floor


def products(n: int, *, falling: bool) -> tuple[np.ndarray, np.ndarray]:
    """Rows of x and of w; with `falling`, the first terms are much larger than the last ones."""
    random = generator(f"sums/{n}/{falling}")
    x, w = (random.normal(size=(size, n)).astype(np.float32) for size in (16, 24))
    return (x * np.geomspace(16, 1, n)).astype(np.float32) if falling else x, w


@pytest.mark.parametrize("falling", [False, True])
@pytest.mark.parametrize("n", [2, 16, 64, 1024])
def test_no_order_strays_further(n: int, falling: bool) -> None:
    x, w = products(n, falling=falling)
    allowed = known(x, w, FLOAT32).straying
    assert allowed is not None and allowed.shape == (16, 24)
    exact = x.astype(np.float64) @ w.T.astype(np.float64)
    terms = x[:, None] * w[None]
    shuffled = generator("shuffle").permutation(n)
    orders = [order for order in ORDERS if n % 16 == 0 or order.__name__ != "in_blocks"]
    for sums in [*(order(terms) for order in orders), ORDERS[0](terms[..., shuffled])]:
        error = np.abs(sums - exact)
        assert (error <= allowed).all()
    typical = np.sqrt((np.abs(ORDERS[0](terms) - exact) ** 2).mean())
    assert allowed.min() < 16 * typical


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16], ids=["float16", "bfloat16"])
@pytest.mark.parametrize("n", [16, 384])
def test_half_of_a_sum_may_be_rounded_to_a_half_type(n: int, dtype: np.dtype) -> None:
    x, w = (factor.astype(dtype) for factor in products(n, falling=False))
    unit = precision(np.dtype(dtype))
    assert unit is not None
    allowed = known(x, w, unit).straying
    exact = x.astype(np.float64) @ w.T.astype(np.float64)
    terms = x.astype(np.float32)[:, None] * w.astype(np.float32)[None]
    for order in (slice(None), slice(None, None, -1), generator("halves").permutation(n)):
        parts = np.split(terms[..., order], 2, axis=-1)
        sums = again(ORDERS[0](parts[0]), dtype) + ORDERS[0](parts[1])
        assert (np.abs(sums - exact) <= allowed).all()
    assert allowed.mean() < 4 * unit.roundoff * np.sqrt((exact**2).mean())


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16], ids=["float16", "bfloat16"])
@pytest.mark.parametrize("weights", ["signed", "positive", "few large"])
def test_any_part_of_a_sum_may_be_rounded_on_the_way(weights: str, dtype: np.dtype) -> None:
    """With the truth known, little room is left: all of it has to be where a rounding may take the result."""
    random, unit = generator(f"parts/{weights}/{dtype}"), precision(np.dtype(dtype))
    assert unit is not None
    for _ in range(8):
        x, w = random.normal(size=(64, 32)), random.normal(size=(128, 32))
        if weights == "positive":
            x, w = np.abs(x), np.abs(w)
        if weights == "few large":
            x = np.exp(3 * x) / np.exp(3 * x).sum(axis=-1, keepdims=True)
        x, w = x.astype(dtype).astype(np.float64), w.astype(dtype).astype(np.float64)
        part = random.random(32) < random.uniform(0.2, 0.8)
        exact = x @ w.T
        rounded = again((x[:, part] @ w[:, part].T).astype(np.float32), dtype)
        source, other = exact.astype(dtype), (rounded + x[:, ~part] @ w[:, ~part].T).astype(dtype)
        floor = Floor(1.0, 1e-3, "float64", 0.5, 0.0)
        facts = {"floor": floor, "terms": 32.0, "functions": False, "known": known(x, w, unit)}
        assert compare(source, other, **facts).passed
        wrong = (exact + 8 * np.abs(other.astype(np.float64) - exact).max()).astype(dtype)
        assert not compare(source, wrong, **facts).passed


def test_a_bias_does_not_hide_that_the_sums_before_it_were_small() -> None:
    """Eight times what a sequential sum errs passes by the size of the result, and not by that of the sums."""
    x, w = products(64, falling=False)
    bias = np.float32(300.0)
    terms = x[:, None] * w[None] * np.float32(2.0**-7)
    exact = terms.sum(axis=-1, dtype=np.float64) + bias
    source, other = exact.astype(np.float32), ORDERS[0](terms) + bias
    half = float(np.spacing(np.abs(source)).max()) / 2
    facts = {"floor": Floor(half, half / 2, "float64", 0.5, 0.0), "terms": 64.0, "functions": False}
    allowed = known(x, w * np.float32(2.0**-7), FLOAT32).straying
    wrong = source + np.float32(4 * half)
    assert compare(source, wrong, **facts).passed
    judged = compare(source, wrong, known=Known(allowed, None), **facts)
    assert not judged.passed and judged.outside == source.size
    again_by_magnitudes = measure(source, wrong, judged.law)
    assert again_by_magnitudes.factor == pytest.approx(judged.factor) and again_by_magnitudes.outside > 0
    assert compare(source, other, known=Known(allowed, None), **facts).passed


def test_a_row_of_larger_sums_than_others_may_err_more() -> None:
    x, w = products(64, falling=False)
    x[3] *= 1000
    x, w = x.astype(np.float16), w.astype(np.float16)
    terms = x.astype(np.float32)[:, None] * w.astype(np.float32)[None]
    halves = [ORDERS[0](half) for half in np.split(terms, 2, axis=-1)]
    source, other = (
        (halves[0] + halves[1]).astype(np.float16),
        (again(halves[0], np.float16) + halves[1]).astype(np.float16),
    )
    facts = {"terms": 64.0, "functions": False, "floor": Floor(0.0, 0.0, "float64", 0.5, 0.0)}
    judged = compare(source, other, known=known(x, w, precision(source.dtype)), **facts)
    assert judged.passed and measure(source, other, judged.law).outside == 0


def test_matrices_are_enough_for_types_that_round_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = (factor.astype(np.float16) for factor in products(384, falling=False))
    unit = precision(x.dtype)
    fine = known(x, w, unit).straying
    monkeypatch.setattr("tapml_tui.compare.sums.MOST_TERMS", 1)
    coarse = known(x, w, unit).straying
    assert (coarse <= fine * (1 + 1e-3)).all() and (coarse > 0.3 * fine).all()  # float32 errs a thousandth of it
    assert known(x, w, FLOAT32) is None
    monkeypatch.setattr("tapml_tui.compare.sums.MOST_SQUARES", 1)
    assert known(x, w, unit) is None


def test_the_target_may_be_off_from_the_truth_and_not_from_the_source() -> None:
    """A sum that the source has rounded up: the target may round it down, and not further up."""
    reference = np.array([1.0, 2.0], np.float16)
    ulp = np.spacing(reference).astype(np.float64)
    found = Known(0.6 * ulp, reference - 0.45 * ulp)
    facts = {"known": found, "floor": Floor(1.0, 1.0, "float64", 0.5, 0.0), "rms": 1.0}
    assert compare(reference, (reference - ulp).astype(np.float16), **facts).passed
    assert not compare(reference, (reference + ulp).astype(np.float16), **facts).passed
    assert compare(reference, reference, **facts).factor == 0.0
    unknown = {**facts, "known": Known(0.6 * ulp, None)}
    assert compare(reference, (reference + ulp).astype(np.float16), **unknown).passed


def test_beyond_the_truth_a_result_is_measured_from_the_truth() -> None:
    """The source has used up nearly all that a healthy result may stray: next to nothing is left on its far side."""
    reference = np.full(2, 1.0, np.float16)
    straying = 64 * np.spacing(reference).astype(np.float64)
    found = Known(straying, reference - 0.9375 * straying)
    facts = {"known": found, "floor": Floor(1.0, 1.0, "float64", 0.5, 1.0), "rms": 1.0}
    ulp = np.spacing(reference)
    grid = [compare(reference, (reference + by * ulp).astype(np.float16), **facts) for by in range(70)]
    assert grid[4].passed and grid[4].factor > 0.5
    assert not grid[64].passed and 1.5 < grid[64].factor < 2.0
    assert [one.factor for one in grid] == sorted(one.factor for one in grid)


def test_what_is_not_known_limits_nothing() -> None:
    x, w = np.ones((2, 4), np.float32), np.ones((3, 4), np.float32)
    assert known(x, w[:, :3], FLOAT32) is None
    assert known(x[0], w, FLOAT32) is None
    assert known(np.ones((5, 2, 4), np.float32), np.ones((4, 3, 4), np.float32), FLOAT32) is None
    assert known(x[:0], w, FLOAT32) is None
    wide = np.broadcast_to(np.float32(1), (MOST_TERMS // 4, 8))
    assert known(wide, w.repeat(2, axis=1), FLOAT32) is None
    x[1, 2] = np.inf
    limits = known(x, w, FLOAT32).straying
    assert limits is not None and np.isinf(limits[1]).all() and np.isfinite(limits[0]).all()


def test_elements_that_are_not_finite_leave_the_others_judged() -> None:
    reference = np.array([1.0, np.nan, 1.0, np.inf], np.float32)
    actual = np.array([1.0, np.nan, 1.0001, np.inf], np.float32)
    facts = {"terms": 64.0, "functions": False, "inherited_nan": True, "rms": 1.0}
    strays = np.full(4, 1e-7)
    assert compare(reference, actual, known=Known(strays, None), **facts).worst == (2,)
    assert compare(reference, reference, known=Known(strays, None), **facts).passed


@pytest.mark.parametrize("n", [36, 100, 777])
@pytest.mark.parametrize("repeated", ["all", "in turn", "nearly"])
def test_equal_terms_err_alike(n: int, repeated: str) -> None:
    """Attention over tokens that a fault upstream made equal: each rounding goes the same way."""
    random = generator(f"alike/{n}/{repeated}")
    values = random.normal(size=(400, 3 if repeated == "in turn" else 1))
    w = np.tile(values, (1, -(-n // values.shape[1])))[:, :n].astype(np.float32)
    if repeated == "nearly":
        w = (w * (1 + random.uniform(-1e-6, 1e-6, w.shape))).astype(np.float32)
    x = np.full((1, n), 1 / n, np.float32)
    allowed = known(x, w, FLOAT32)
    terms = (x[:, None] * w[None]).astype(np.float32)
    one, other = (
        ORDERS[0](terms),
        terms.reshape(*terms.shape[:-1], -1, 4 if n % 4 == 0 else 7).sum(axis=-2).sum(axis=-1),
    )
    for sums in (one, other):
        assert (np.abs(sums - allowed.truth) <= allowed.straying).all()
    floor = Floor(0.0, 0.0, "float64", 0.5, 0.0)
    assert compare(one, other, floor=floor, terms=float(n), functions=False, known=allowed).passed
    wrong = (one * (1 + np.float32(n * 2.0**-22))).astype(np.float32)  # four times what any order may do
    assert not compare(one, wrong, floor=floor, terms=float(n), functions=False, known=allowed).passed


def test_zeros_and_chance_make_nothing_alike() -> None:
    x, w = products(64, falling=False)
    x[:, ::2] = 0
    half = known(x, w, FLOAT32).straying
    alone = known(np.ascontiguousarray(x[:, 1::2]), np.ascontiguousarray(w[:, 1::2]), FLOAT32).straying
    assert half is not None and alone is not None
    assert (half <= 2 * alone).all()
