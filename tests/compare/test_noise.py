"""The window of the rule: what is healthy passes, what is off by eight times as much does not.

The source sums in 64 lanes, as a CPU's vectors do, and is measured against float64. Variants sum in other
orders, take functions that are off by 4 ULP, or round to the dtype once more on the way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapml_tui.compare import compare
from tapml_tui.compare.arithmetic import Arithmetic, exponentials, normalisation
from tapml_tui.compare.noise import noise_of
from tapml_tui.compare.precision import half_ulp, precision
from tests import sampling
from tests.compare.injected_faults import MISSED_BY_AVERAGES
from trace_format.model import Floor

Array = npt.NDArray[Any]
F = np.float32
DTYPES = [np.float32, np.float16, ml_dtypes.bfloat16]
FUNCTION_ULPS = 4.0
ROWS, COLUMNS = 24, 96


def generator(name: str) -> np.random.Generator:
    return np.random.default_rng(sampling.rng(name).getrandbits(64))


def one_by_one(terms: Array) -> Array:
    return np.add.accumulate(terms.astype(F), axis=-1, dtype=F)[..., -1]


def backwards(terms: Array) -> Array:
    return one_by_one(terms[..., ::-1])


def in_blocks(terms: Array) -> Array:
    blocks = terms.reshape(*terms.shape[:-1], -1, 16)
    return one_by_one(one_by_one(blocks))


def in_lanes(terms: Array) -> Array:
    """64 running sums, as many as fit, and these added in a tree."""
    lanes = math.gcd(64, terms.shape[-1])
    sums = one_by_one(np.moveaxis(terms.reshape(*terms.shape[:-1], -1, lanes), -1, -2))
    while sums.shape[-1] > 1 and sums.shape[-1] % 2 == 0:
        sums = sums[..., ::2] + sums[..., 1::2]
    return one_by_one(sums)


def in_double(terms: Array) -> Array:
    return terms.astype(np.float64).sum(axis=-1).astype(F)


ORDERS: list[Callable[[Array], Array]] = [one_by_one, backwards, in_blocks, in_lanes, in_double]


def off_by_ulps(exact: Array, random: np.random.Generator) -> Array:
    """A function that is guaranteed to 4 ULP: anything within."""
    result = exact.astype(F)
    return (result + random.uniform(-FUNCTION_ULPS, FUNCTION_ULPS, result.shape) * np.spacing(np.abs(result))).astype(F)


@dataclass
class Operator:
    """Results of one operator on one input: the truth, the source's, healthy ones."""

    truth: Array
    source: Array
    healthy: list[Array] = field(default_factory=list)
    arithmetic: Arithmetic = field(default_factory=Arithmetic)

    def rounded(self, dtype: Any) -> Operator:
        return Operator(self.truth, self.source.astype(dtype), [h.astype(dtype) for h in self.healthy], self.arithmetic)

    @property
    def floor(self) -> Floor:
        wide = self.source.astype(np.float64)
        error = np.abs(wide - self.truth)
        unit = precision(self.source.dtype)
        assert unit is not None
        half = half_ulp(np.abs(wide), unit)
        excess = max(0.0, float((error - half).max()))
        rms = float(np.sqrt((error**2).mean()))
        return Floor(float(error.max()), rms, "float64", float((error / half).max()) / 2, excess)

    def factor(self, actual: Array) -> float:
        return compare(self.source, actual, floor=self.floor, **self.arithmetic._asdict()).factor

    @property
    def largest_benign(self) -> float:
        wide = self.source.astype(np.float64)
        return max(float(np.abs(h.astype(np.float64) - wide).max()) for h in self.healthy)


def again(array: Array, dtype: Any) -> Array:
    """Rounded to the dtype and back."""
    return array.astype(dtype).astype(F)


def linear(n: int, dtype: Any, random: np.random.Generator) -> Operator:
    x, w = (random.normal(size=s).astype(dtype).astype(F) for s in ((ROWS, 1, n), (1, COLUMNS, n)))
    bias = random.normal(size=COLUMNS).astype(dtype).astype(F) * F(math.sqrt(n))
    products = x * w
    truth = (x.astype(np.float64) * w.astype(np.float64)).sum(axis=-1) + bias
    healthy = [total(products) + bias for total in ORDERS]
    if dtype is not F:
        healthy.append(again(one_by_one(products), dtype) + bias)
    return Operator(truth, in_lanes(products) + bias, healthy, Arithmetic(n, functions=False))


def mean(n: int, dtype: Any, random: np.random.Generator) -> Operator:
    x = random.normal(size=(ROWS * COLUMNS, n)).astype(dtype).astype(F)
    healthy = [total(x) / F(n) for total in ORDERS]
    arithmetic = Arithmetic(n, functions=False, hidden=0.0)
    return Operator(x.astype(np.float64).mean(axis=-1), in_lanes(x) / F(n), healthy, arithmetic)


def softmax(n: int, dtype: Any, random: np.random.Generator) -> Operator:
    x = (3 * random.normal(size=(ROWS, n))).astype(dtype).astype(F)
    shifted = x - x.max(axis=-1, keepdims=True)
    wide = np.exp(shifted.astype(np.float64))
    exact = wide.astype(F)
    healthy = [e / total(e)[:, None] for total in ORDERS for e in (exact, off_by_ulps(wide, random))]
    if dtype is not F:
        healthy += [e / one_by_one(e)[:, None] for e in (again(exact, dtype), np.exp(again(shifted, dtype)))]
    truth = wide / wide.sum(axis=-1, keepdims=True)
    return Operator(truth, exact / in_lanes(exact)[:, None], healthy, Arithmetic(exponentials(n)))


def layer_norm(n: int, dtype: Any, random: np.random.Generator) -> Operator:
    x = (2 * random.normal(size=(ROWS, n)) + 1).astype(dtype).astype(F)
    weight, bias = (random.normal(size=n).astype(dtype).astype(F) for _ in range(2))

    def centred(total: Callable[[Array], Array]) -> tuple[Array, Array]:
        shifted = x - (total(x) / F(n))[:, None]
        return shifted, total(shifted * shifted) / F(n) + F(1e-5)

    def result(shifted: Array, variance: Array, inverse: Callable[[Array], Array]) -> Array:
        return shifted * inverse(variance.astype(np.float64))[:, None]

    healthy = []
    for total in ORDERS:
        shifted, variance = centred(total)
        for inverse in (lambda v: (1 / np.sqrt(v)).astype(F), lambda v: off_by_ulps(1 / np.sqrt(v), random)):
            normal = result(shifted, variance, inverse)
            healthy.append(normal * weight + bias)
            if dtype is not F:
                healthy += [again(normal, dtype) * weight + bias, again(normal * weight, dtype) + bias]
    wide = x.astype(np.float64)
    wide -= wide.mean(axis=-1, keepdims=True)
    truth = wide / np.sqrt((wide**2).mean(axis=-1, keepdims=True) + 1e-5) * weight + bias
    source = result(*centred(in_lanes), lambda v: (1 / np.sqrt(v)).astype(F)) * weight + bias
    return Operator(truth, source, healthy, normalisation(n))


def silu(n: int, dtype: Any, random: np.random.Generator) -> Operator:
    x = (3 * random.normal(size=(ROWS, n))).astype(dtype).astype(F)
    wide = np.exp(-x.astype(np.float64))
    healthy = [x / (F(1) + e) for e in (wide.astype(F), off_by_ulps(wide, random), off_by_ulps(wide, random))]
    healthy.append(x * off_by_ulps(1 / (1 + wide), random))
    if dtype is not F:
        healthy.append(x * again((1 / (1 + wide)).astype(F), dtype))
    return Operator(x / (1 + wide), x / (F(1) + wide.astype(F)), healthy, Arithmetic(1.0))


def gelu(n: int, dtype: Any, random: np.random.Generator) -> Operator:
    """Its tail is the difference of two numbers near 1."""
    x = (2 * random.normal(size=(ROWS, n))).astype(dtype).astype(F)
    erfc = np.vectorize(math.erfc)(-x.astype(np.float64) * math.sqrt(0.5))
    half, exact = F(0.5) * x, erfc - 1
    healthy = [half * (F(1) + e) for e in (exact.astype(F), off_by_ulps(exact, random), off_by_ulps(exact, random))]
    healthy += [half + half * off_by_ulps(exact, random)]
    return Operator(
        0.5 * x.astype(np.float64) * erfc, half * (F(1) + exact.astype(F)), healthy, Arithmetic(1.0, share=0.5)
    )


CASES = [
    *((linear, n) for n in (32, 384, 4096)),
    *((mean, n) for n in (32, 384, 4096)),
    *((softmax, n) for n in (32, 128, 2048)),
    *((layer_norm, n) for n in (64, 384, 2048)),
    (silu, 512),
    (gelu, 256),
]


def made(make: Callable[..., Operator], n: int, dtype: Any) -> Operator:
    name = f"{make.__name__}/{n}/{np.dtype(dtype).name}"
    return make(n, dtype, generator(name)).rounded(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: np.dtype(d).name)
@pytest.mark.parametrize(("make", "n"), CASES)
@sampling.but_for_chance
def test_what_is_healthy_passes(make: Callable[..., Operator], n: int, dtype: Any) -> None:
    operator = made(make, n, dtype)
    factors = [operator.factor(healthy) for healthy in operator.healthy]
    assert max(factors) <= 1.0, factors


def eight_times(operator: Operator, random: np.random.Generator) -> Iterator[tuple[str, Array]]:
    """Faults whose largest error is eight times that of the worst healthy variant, or 1% of the largest element."""
    wide, dtype = operator.source.astype(np.float64), operator.source.dtype
    peak = float(np.abs(wide).max())
    for name, size in (("8 x benign", 8 * operator.largest_benign), ("1% of scale", 0.01 * peak)):
        if size < 2.0 ** -(precision(dtype).fraction_bits - 1) * peak and name != "1% of scale":
            continue  # less than two units of the largest element: what is left after rounding is another fault
        noise = random.uniform(-1, 1, wide.shape)
        yield f"{name}: noise", (wide + size * noise / np.abs(noise).max()).astype(dtype)
        yield f"{name}: offset", (wide + size).astype(dtype)
        yield f"{name}: scale", (wide * (1 + size / peak)).astype(dtype)
        tail = np.where(np.arange(wide.shape[-1]) >= wide.shape[-1] - 8, size, 0.0)
        yield f"{name}: last columns", (wide + tail).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: np.dtype(d).name)
@pytest.mark.parametrize(("make", "n"), [case for case in CASES if case != (softmax, 2048)])
@sampling.but_for_chance
def test_what_is_off_by_more_does_not(make: Callable[..., Operator], n: int, dtype: Any) -> None:
    operator = made(make, n, dtype)
    found = {name: operator.factor(wrong) for name, wrong in eight_times(operator, generator("faults"))}
    assert min(found.values()) > 1.0, found


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: np.dtype(d).name)
def test_a_percent_of_scale_is_seen(dtype: Any) -> None:
    operator = made(linear, 384, dtype)
    assert operator.factor((operator.source.astype(F) * F(1.01)).astype(dtype)) > 1.0


def test_one_element_alone_among_larger_ones_is_held_to_its_own_size() -> None:
    reference = np.array([1000.0, 1e-3], F)
    floor = Floor(3e-5, 2e-5, "float64", 0.5, 0.0)
    actual = reference * np.array([1, 1.0001], F)
    facts = {"terms": 1.0, "functions": False}
    assert compare(reference, actual, floor=floor, **facts).worst == (1,)
    assert not compare(reference, actual, floor=floor, **facts).passed
    # Without the law in ULPs, as in a trace of version 1.0, the small one may err like the large one.
    assert compare(reference, actual, floor=Floor(3e-5, 2e-5), **facts).passed


def test_where_the_source_was_lucky_it_does_not_speak_for_others() -> None:
    """Its sum is exact; one that adds otherwise is not, and as good."""
    random = generator("lucky")
    terms = random.normal(size=(4096, 1024)).astype(F)
    source = in_double(terms)
    floor = Floor(0.5 * float(np.spacing(np.abs(source)).max()), 1e-9, "float64", 0.5, 0.0)
    result = compare(source, one_by_one(terms), floor=floor, terms=1024.0, functions=False)
    assert result.passed and result.factor > 0.2
    assert not compare(source, one_by_one(terms), floor=floor, terms=1.0, functions=False).passed


def test_rows_with_larger_sums_than_others_are_known_by_the_error_of_the_source() -> None:
    random = generator("outlier")
    x, w = random.normal(size=(ROWS, 1, 1024)).astype(F), random.normal(size=(1, COLUMNS, 1024)).astype(F)
    x[3] *= 100
    products = x * w
    truth = (x.astype(np.float64) * w).sum(axis=-1)
    operator = Operator(truth, in_lanes(products), [], Arithmetic(1024.0, functions=False))
    assert operator.factor(one_by_one(products)) <= 1.0
    wrong = operator.source.copy()
    wrong[3] *= F(1 + 1e-3)
    assert operator.factor(wrong) > 1.0


@pytest.mark.parametrize(
    "break_it", [*MISSED_BY_AVERAGES, lambda a: np.where(np.arange(a.size).reshape(a.shape) == 4711, np.nan, a)]
)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: np.dtype(d).name)
def test_two_bare_arrays_of_which_nothing_is_known(break_it: Callable[[Array], Array], dtype: Any) -> None:
    """The table of what averages miss: no floor, no operator; neither a false alarm nor a miss."""
    reference = (np.random.default_rng(0).normal(size=(64, 4096)) * 0.05).astype(dtype)
    assert not compare(reference, break_it(reference.astype(F)).astype(dtype)).passed


@pytest.mark.slow
def test_bare_arrays_may_be_summed_in_any_order_and_be_half_as_wide() -> None:
    terms = generator("bare").normal(size=(512, 16384)).astype(F)
    source = in_lanes(terms)
    for order in ORDERS:
        assert compare(source, order(terms)).passed
        assert compare(source.astype(np.float16), order(terms).astype(np.float16)).passed
    assert compare(source, source.astype(np.float16), mixed_dtypes=True).passed
    assert compare(source.astype(ml_dtypes.bfloat16), source, mixed_dtypes=True).passed
    assert not compare(source, source.astype(np.float16).astype(F)).passed  # a cast that nobody asked for


def test_chained_the_source_is_one_of_many_that_are_as_good() -> None:
    reference = generator("chain").normal(size=4096).astype(F)
    floor = Floor(1e-5, 2e-6, "float64", math.inf, 1e-5)
    drifted = reference + F(1e-4)
    assert compare(reference, drifted, floor=floor, terms=64.0, chained=True).passed
    assert not compare(reference, drifted, floor=floor, terms=64.0).passed
    assert not compare(reference, reference + F(1e-3), floor=floor, terms=64.0, chained=True).passed


def test_a_float64_value_is_its_own_replay_and_is_still_allowed_to_round() -> None:
    x = generator("double").normal(size=(256, 1024))
    floor = Floor(0.0, 0.0, "float64", 0.0, 0.0)
    source, other = x.sum(axis=1), np.add.accumulate(x, axis=1)[:, -1]
    assert compare(source, other, floor=floor, terms=1024.0).passed
    assert not compare(source, other * (1 + 1e-10), floor=floor, terms=1024.0).passed


def test_subnormals_may_be_flushed_to_zero() -> None:
    reference = np.array([1e-39, 1.0], F)
    floor = Floor(0.0, 0.0, "float64", 0.0, 0.0)
    assert compare(reference, np.array([0.0, 1.0], F), floor=floor, terms=1.0, functions=False).passed


@given(
    dtype=st.sampled_from([*DTYPES, np.float64, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2]),
    max_abs=st.floats(0, 1e3),
    ulps=st.one_of(st.just(math.inf), st.floats(0, 1e4)),
    share=st.floats(0, 1),
    rms=st.floats(0, 1e3),
    terms=st.one_of(st.none(), st.floats(1, 1e6)),
    functions=st.booleans(),
    chained=st.booleans(),
    magnitudes=st.lists(st.floats(0, 1e30), min_size=1, max_size=20),
)
def test_an_allowance_rises_with_the_element_and_is_the_same_in_both_widths(
    dtype: Any, max_abs: float, magnitudes: list[float], **facts: Any
) -> None:
    floor = Floor(max_abs, max_abs / 3, "float64", facts.pop("ulps"), max_abs * facts.pop("share"))
    noise = noise_of(np.dtype(dtype), floor, **facts)
    sizes = np.sort(np.array(magnitudes, F))
    wide = noise.allowance(sizes.astype(np.float64))
    assert (np.diff(wide) >= 0).all() and (wide > 0).all()
    assert (wide >= noise.steepness * sizes.astype(np.float64) * (1 - 1e-12)).all()
    assert noise.at(float(sizes[-1])) == wide[-1]
    if not noise.unit.wide:
        np.testing.assert_allclose(noise.allowance(sizes), wide, rtol=1e-5)


def test_what_must_be_exact_has_no_noise() -> None:
    with pytest.raises(ValueError, match="compared exactly"):
        noise_of(np.dtype(np.int64), None, 1.0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64, ml_dtypes.bfloat16, np.complex64])
@pytest.mark.parametrize("floor", [None, Floor(1e-6, 1e-7), Floor(math.inf, math.inf)])
def test_what_is_no_number_is_nothing_to_warn_of(dtype: type, floor: Floor | None) -> None:
    with np.errstate(all="ignore"):
        values = np.array([1.0, np.nan, np.inf, -np.inf, 1e300]).astype(dtype)
    if dtype is np.float32:
        values.view(np.uint32)[1] = 0x7F800001  # a signalling NaN
    allowed = noise_of(np.dtype(dtype), floor, 1.0, terms=1.0, functions=False).allowed(values)
    assert allowed.dtype == np.float64 and allowed.shape == values.shape
