"""All metrics in one pass, against what a naive implementation says of the whole arrays."""

from __future__ import annotations

import itertools
import math
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tapml_tui.compare import chunks, compare
from tapml_tui.compare.blocks import BlockMap
from tapml_tui.compare.distances import exact_distance, ulp_distance
from tapml_tui.compare.histogram import Histogram
from tapml_tui.compare.metrics import Measuring, Metrics, measure
from tapml_tui.compare.noise import Tolerance, noise_of

Array = npt.NDArray[Any]
FLOATS = [
    np.float64,
    np.float32,
    np.float16,
    ml_dtypes.bfloat16,
    ml_dtypes.float8_e4m3fn,
    ml_dtypes.float8_e5m2,
]
LAW = Tolerance(1e-3, 1e-2)


def bits_of(dtype: Any) -> Any:
    return np.dtype(f"u{np.dtype(dtype).itemsize}")


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Array, Array]:
    """Any bits at all, often near each other: NaN, Inf, subnormals and both zeros are among them."""
    dtype = np.dtype(draw(st.sampled_from(FLOATS)))
    shape = draw(hnp.array_shapes(max_dims=3, max_side=9))
    reference = draw(hnp.arrays(bits_of(dtype), shape))
    steps = draw(hnp.arrays(np.int8, shape, elements=st.integers(-3, 3)))
    actual = (
        (reference + steps.astype(bits_of(dtype))) if draw(st.booleans()) else draw(hnp.arrays(bits_of(dtype), shape))
    )
    return reference.view(dtype), actual.view(dtype)


def close(found: float | None, expected: float, relative: float = 1e-5, absolute: float = 0.0) -> bool:
    return found is not None and math.isclose(found, expected, rel_tol=relative, abs_tol=absolute)


@given(pairs())
def test_metrics_are_what_the_definitions_say(pair: tuple[Array, Array]) -> None:
    reference, actual = pair
    found = measure(reference, actual, LAW)
    with np.errstate(all="ignore"):
        r, a = reference.astype(np.longdouble), actual.astype(np.longdouble)
        finite = np.isfinite(r) & np.isfinite(a)
        r, a = r[finite], a[finite]
        error = np.abs(a - r)
        nonzero = np.abs(r) > 0
        relative = error[nonzero] / np.abs(r[nonzero])
    assert found.count == reference.size
    assert found.nan == (int(np.isnan(reference).sum()), int(np.isnan(actual).sum()))
    assert found.nan_differ == int((np.isnan(reference) != np.isnan(actual)).sum())
    assert found.inf == (int(np.isinf(reference).sum()), int(np.isinf(actual).sum()))
    assume(error.size and float(error.max()) < 1e300 and float(np.abs(r).max()) < 1e150)
    assert close(found.max_abs, float(error.max()), absolute=1e-300)
    assert close(found.mean_abs, float(error.mean()), absolute=1e-300)
    if relative.size and float(relative.max()) < 1e30:
        assert close(found.max_rel, float(relative.max()), absolute=1e-40)
        assert close(found.mean_rel, float(relative.mean()), absolute=1e-40)
    squared = float((error**2).sum())
    if 1e-290 < squared < 1e290:
        assert close(found.rmse, math.sqrt(squared / error.size))
        power = float((r**2).sum())
        if 1e-290 < power < 1e290:
            assert close(found.snr_db, 10 * math.log10(power / squared), absolute=1e-3)
            other = float((a**2).sum())
            if power * 1e-3 < other < power * 1e3:
                cosine = float((r * a).sum()) / math.sqrt(power) / math.sqrt(other)
                assert close(found.cosine, cosine, absolute=1e-6)
    wrong = np.isnan(reference) | np.isnan(actual)
    with np.errstate(all="ignore"):
        wide, other_wide = reference.astype(np.float64), actual.astype(np.float64)
        infinite = (np.isinf(wide) | np.isinf(other_wide)) & ~wrong
        wrong |= infinite & (wide != other_wide)
    assert found.inf_differ == int((infinite & (wide != other_wide)).sum())
    assert found.zeros + sum(count for _, count in found.histogram) == int(finite.sum()) + int(
        (~finite & ~(wide != other_wide)).sum() + (np.isnan(wide) & np.isnan(other_wide)).sum()
    )
    assert (found.worst is None) == (not wrong.any() and float(error.max()) == 0)
    if found.first is not None:
        assert found.outside and found.worst is not None and found.fraction == found.outside / found.count
    if wrong.any():
        assert found.needed == (math.inf, math.inf, math.inf)


@given(pairs())
def test_metrics_and_verdict_agree(pair: tuple[Array, Array]) -> None:
    law = noise_of(pair[0].dtype, None, 1.0, terms=4.0)
    found, verdict = measure(*pair, law), compare(*pair, rms=1.0, terms=4.0)
    assert (found.outside, found.factor, found.nan, found.inf) == (
        verdict.outside,
        verdict.factor,
        verdict.nan,
        verdict.inf,
    )
    assert (found.worst.index if found.worst else None) == verdict.worst


def told(metrics: Metrics) -> list[object]:
    """What does not depend on whether a chunk was measured in float32 or, for its NaN and Inf, in float64."""
    values = {name: getattr(metrics, name) for name in Metrics.__dataclass_fields__}
    blocks, histogram = values.pop("blocks"), values.pop("histogram")
    largest = [] if blocks is None else np.nan_to_num(blocks, posinf=1e300).reshape(-1).tolist()
    return [*values.pop("needed"), *values.values(), float(sum(count for _, count in histogram)), *largest]


@given(pairs(), st.lists(st.integers(0, 40), max_size=5))
def test_it_does_not_matter_in_which_pieces_the_elements_come(pair: tuple[Array, Array], cuts: list[int]) -> None:
    reference, actual = pair
    whole = measure(reference, actual, LAW)
    # What overflows the working dtype is no number to add up.
    with np.errstate(all="ignore"):
        apart = np.abs(actual.astype(np.longdouble) - reference.astype(np.longdouble))
        relative = apart[reference != 0] / np.abs(reference[reference != 0].astype(np.longdouble))
        assume(not (np.isfinite(relative) & (relative > 1e30)).any())
    measuring = Measuring(reference.shape, reference.dtype, actual.dtype, LAW)
    edges = sorted({0, reference.size, *(cut for cut in cuts if cut < reference.size)})
    for start, stop in itertools.pairwise(edges):
        measuring.feed(reference.reshape(-1)[start:stop], actual.reshape(-1)[start:stop])
    pieces = measuring.result()
    for one, other in zip(told(pieces), told(whole), strict=True):
        if isinstance(one, float) and isinstance(other, float):
            assert close(one, other, 1e-6, 1e-6) or one == other or (math.isnan(one) and math.isnan(other))
        else:
            assert str(one) == str(other)  # NaN is not equal to itself


def test_chunks_agree_with_the_whole_and_with_strides(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    reference = random.normal(size=(37, 100)).astype(np.float32)
    actual = reference + random.normal(size=reference.shape).astype(np.float32) * np.float32(1e-3)
    whole = measure(reference, actual, LAW)
    turned = measure(reference.T.copy().T, actual.T.copy().T, LAW)
    monkeypatch.setattr(chunks, "CHUNK", 64)
    small = measure(reference, actual, LAW)
    for other in (turned, small):
        assert (other.outside, other.worst, other.first, other.histogram) == (
            whole.outside,
            whole.worst,
            whole.first,
            whole.histogram,
        )
        np.testing.assert_array_equal(other.blocks, whole.blocks)
        assert other.rmse == pytest.approx(whole.rmse) and other.pearson == pytest.approx(whole.pearson)


def test_more_than_was_announced_is_refused() -> None:
    measuring = Measuring((3,), np.dtype(np.float32), np.dtype(np.float32))
    with pytest.raises(ValueError, match="more elements"):
        measuring.feed(np.zeros(4, np.float32), np.zeros(4, np.float32))
    with pytest.raises(ValueError, match="differ in shape"):
        measuring.feed(np.zeros(3, np.float32), np.zeros(2, np.float32))
    with pytest.raises(ValueError, match="shapes differ"):
        measure(np.zeros(3), np.zeros(4))


@given(hnp.arrays(np.int64, 7), hnp.arrays(np.int64, 7))
def test_integers_are_measured_exactly(reference: Array, actual: Array) -> None:
    found = measure(reference, actual)
    errors = [abs(a - r) for r, a in zip(reference.tolist(), actual.tolist(), strict=True)]
    assert found.max_abs == found.max_ulp == max(errors)
    assert found.outside == sum(error > 0 for error in errors) == found.count - found.zeros
    assert close(found.mean_abs, sum(errors) / 7, absolute=1e-9)


@given(hnp.arrays(np.uint64, 5), hnp.arrays(np.int64, 5))
def test_integers_of_two_kinds_too(reference: Array, actual: Array) -> None:
    expected = [abs(a - r) for r, a in zip(reference.tolist(), actual.tolist(), strict=True)]
    assert [int(d) for d in exact_distance(reference, actual)] == expected


def test_bool_and_complex() -> None:
    flags = np.array([True, False, True])
    found = measure(flags, np.array([True, True, True]))
    assert (found.max_abs, found.outside, found.zeros) == (1, 1, 2)
    reference = np.array([3 + 4j, 1j], np.complex64)
    found = measure(reference, reference.conj(), LAW)
    assert found.max_abs == pytest.approx(8.0) and found.rmse == pytest.approx(math.sqrt((64 + 4) / 2))
    assert found.cosine == pytest.approx((9 - 16 - 1) / 26) and found.worst is not None


@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data())
def test_steps_between_numbers_are_counted_across_zero(dtype: Any, data: st.DataObject) -> None:
    word = bits_of(dtype)
    bits = data.draw(hnp.arrays(word, (2, 6)))
    reference, actual = bits[0].view(dtype), bits[1].view(dtype)
    sign = 1 << (8 * word.itemsize - 1)
    expected = 0
    for left, right in zip(*bits.tolist(), strict=True):
        pair = np.array([left, right], word).view(dtype)
        if np.isfinite(pair).all():
            places = [-(b - sign) if b >= sign else b for b in (left, right)]
            expected = max(expected, abs(places[0] - places[1]))
    assert ulp_distance(reference, actual) == expected


def test_types_of_less_than_a_byte() -> None:
    values = np.array([-6, -1, 0, 0.5, 6], ml_dtypes.float4_e2m1fn)
    assert ulp_distance(values, values) == 0
    assert ulp_distance(values[3:4], values[2:3]) == 1
    assert ulp_distance(values[:1], values[4:]) == 14


@given(hnp.arrays(np.float32, 50, elements=st.floats(0, width=32, allow_nan=False)), st.booleans())
def test_the_edges_of_a_decade_are_exact(errors: Array, double: bool) -> None:
    errors[:3] = [1e-3, 1.0, 0.0]
    errors = errors.astype(np.float64) if double else errors
    histogram = Histogram()
    zeros = histogram.add(errors[:20]) + histogram.add(errors[20:])
    assert zeros == int((errors == 0).sum())
    for decade, count in histogram.result():
        low, high = float(f"1e{decade}"), float(f"1e{decade + 1}")
        assert count == sum(low <= float(e) < high for e in errors)
    assert sum(count for _, count in histogram.result()) == int(((errors > 0) & np.isfinite(errors)).sum())


@given(
    hnp.array_shapes(min_dims=0, max_dims=3, max_side=20),
    st.integers(1, 6),
    st.integers(1, 6),
    st.booleans(),
    st.integers(1, 50),
)
def test_each_block_has_its_largest_error(
    shape: tuple[int, ...], rows: int, columns: int, folded: bool, piece: int
) -> None:
    error = np.random.default_rng(0).random(shape)
    flat = error.reshape(-1)
    blocks = BlockMap(shape, rows, columns)
    if folded:
        blocks._folded = True
        blocks._largest = np.zeros((blocks._rows.size, blocks._columns.size))
    for start in range(0, flat.size, piece):
        blocks.add(start, flat[start : start + piece])
    found = blocks.result()
    if flat.size < 2:
        assert found is None
        return
    matrix = error.reshape(-1, shape[-1])
    edges = [
        np.append(starts, extent) for starts, extent in zip((blocks._rows, blocks._columns), matrix.shape, strict=True)
    ]
    expected = [
        [matrix[a:b, c:d].max() for c, d in zip(edges[1], edges[1][1:], strict=False)]
        for a, b in zip(edges[0], edges[0][1:], strict=False)
    ]
    np.testing.assert_array_equal(found, expected)
    assert found.shape[0] <= rows and found.shape[1] <= columns


def test_what_was_needed() -> None:
    reference, actual = np.array([1.0, 100.0, 0.0]), np.array([1.1, 101.0, 0.0])
    found = measure(reference, actual, LAW)
    assert found.needed.rtol == pytest.approx(0.1) and found.needed.atol == pytest.approx(1.0)
    assert found.needed.times == found.factor == pytest.approx(0.1 / (1e-3 + 1e-2))
    assert found.first is not None and found.first.index == (0,)
    assert measure(np.zeros(2), np.array([0.0, 1e-9]), LAW).needed.rtol == math.inf


def test_a_scale_that_averages_do_not_see() -> None:
    reference = np.random.default_rng(0).normal(size=4096)
    found = measure(reference, reference * 1.5, LAW)
    assert found.cosine == pytest.approx(1.0) and found.pearson == pytest.approx(1.0)
    assert found.snr_db == pytest.approx(20 * math.log10(2)) and found.fraction > 0.9


def test_nothing_to_correlate_is_no_number() -> None:
    found = measure(np.zeros(4), np.ones(4), LAW)
    assert (found.snr_db, found.cosine, found.pearson) == (None, None, None)
    same = measure(np.ones(4), np.ones(4), LAW)
    assert same.snr_db == math.inf and same.cosine == pytest.approx(1.0) and same.pearson is None
    assert measure(np.zeros(0), np.zeros(0), LAW).count == 0
