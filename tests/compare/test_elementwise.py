import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tapml_tui.compare import compare
from tapml_tui.compare.overrides import Override
from tapml_tui.compare.precision import CHUNK, half_ulp, precision
from tests.compare.injected_faults import MISSED_BY_AVERAGES
from trace_format.model import Floor

FLOATS = [
    np.float16,
    np.float32,
    np.float64,
    ml_dtypes.bfloat16,
    ml_dtypes.float8_e4m3fn,
    ml_dtypes.float8_e5m2,
]
EXACT = Floor(0.0, 0.0, "exact")


def normal(shape: tuple[int, ...] = (7, 33), dtype: object = np.float32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


@pytest.mark.parametrize("dtype", [*FLOATS, np.complex64, np.int8, np.int64, np.bool_, ml_dtypes.int4])
def test_equal_is_a_pass_for_every_dtype(dtype: object) -> None:
    array = np.abs(normal() * 3).astype(np.int8).astype(dtype)
    result = compare(array, array.copy())
    assert result.passed and result.compared == array.size and result.factor == 0.0 and result.worst is None


@pytest.mark.parametrize("dtype", FLOATS)
def test_rounding_once_on_each_side_is_one_ulp(dtype: object) -> None:
    reference = np.array([1.5, 1.5], dtype)
    bits = reference.view(f"u{reference.itemsize}")
    one, two = (np.stack([bits[0], bits[1] + n]).view(dtype) for n in (1, 2))
    strict = {"floor": Floor(0.0, 0.0, "float64", 0.0, 0.0), "terms": 1.0, "functions": False, "hidden": 0.0}
    assert compare(reference, one, **strict).passed
    assert compare(reference, one, **strict).factor == 1.0
    # Between two terms, a type narrower than float32 may be rounded to once more: 0.75 units of the last place here.
    narrow = reference.dtype not in (np.float32, np.float64)
    once_more = compare(reference, one, **{**strict, "terms": 2.0})
    assert once_more.factor == pytest.approx(1 / 1.75) if narrow else once_more.factor > 0.1
    within_a_function = compare(reference, one, **{**strict, "functions": True, "steps": False})
    assert within_a_function.passed and (within_a_function.factor > 0.99 or not narrow)
    assert not compare(reference, two, **strict).passed
    assert compare(reference, two, **strict).worst == (1,)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@given(data=st.data())
def test_half_ulp_agrees_with_numpy(dtype: type, data: st.DataObject) -> None:
    largest = float(np.finfo(dtype).max) / 4  # above that numpy says Inf
    array = data.draw(hnp.arrays(dtype, 8, elements={"min_value": -largest, "max_value": largest}))
    unit = precision(array.dtype)
    assert unit is not None
    expected = np.spacing(np.abs(array)).astype(np.float64) / 2
    smallest = max(unit.half_smallest, math.ulp(0.0))
    np.testing.assert_array_equal(half_ulp(np.abs(array.astype(np.float64)), unit), np.maximum(expected, smallest))


def test_the_floor_decides_where_it_is_larger_than_rounding() -> None:
    reference = np.zeros(100, np.float32)
    actual = reference.copy()
    actual[41] = 1e-4
    facts = {"terms": 1.0, "functions": False}
    inside = compare(reference, actual, floor=Floor(2e-4, 1e-5), **facts)
    assert inside.passed and inside.factor == pytest.approx(0.5) and inside.worst == (41,)
    assert inside.floor == pytest.approx(2e-4)
    outside = compare(reference, actual, floor=Floor(1e-6, 1e-6), **facts)
    assert not outside.passed and outside.outside == 1
    assert "100 x the floor in 1 of 100" in outside.reason and "[41]" in outside.reason
    assert outside.worst_values == (0.0, pytest.approx(1e-4))


@pytest.mark.parametrize("break_it", MISSED_BY_AVERAGES)
def test_bugs_that_averages_miss_are_found(break_it) -> None:
    reference = normal((64, 4096)) * np.float32(0.05)
    assert not compare(reference, break_it(reference).astype(np.float32), floor=Floor(1e-7, 1e-8)).passed


def test_fp16_rounding_is_no_false_alarm() -> None:
    exact = np.random.default_rng(1).normal(size=(64, 512)) * 0.05
    rounded = exact.astype(np.float16)
    disturbed = (exact * (1 + 1e-4)).astype(np.float16)
    assert compare(rounded, disturbed).passed


def test_nan_is_never_a_pass() -> None:
    reference = normal()
    actual = reference.copy()
    actual[3, 5] = np.nan
    alone = compare(reference, actual)
    assert not alone.passed and alone.nan == (0, 1) and alone.worst == (3, 5) and "NaN in 1 of" in alone.reason
    both = compare(actual, actual)
    assert not both.passed and both.nan == (1, 1) and both.reason.startswith("NaN in both")
    lost = compare(actual, reference)
    assert not lost.passed and "no NaN" in lost.reason
    assert not compare(actual, actual, floor=EXACT).passed


def test_inf_must_match() -> None:
    reference = np.array([np.inf, -np.inf, 1.0], np.float32)
    assert compare(reference, reference.copy()).passed
    wrong = compare(reference, np.array([np.inf, np.inf, 1.0], np.float32))
    assert not wrong.passed and wrong.outside == 1 and wrong.inf == (2, 2) and "Inf" in wrong.reason
    assert not compare(np.array([1.0], np.float32), np.array([np.inf], np.float32), floor=Floor(1e30, 1e30)).passed


def test_exact_means_equal_bits() -> None:
    reference = normal()
    actual = reference.copy()
    actual[0, 1] = np.nextafter(actual[0, 1], np.float32(9))
    result = compare(reference, actual, floor=EXACT)
    assert not result.passed and result.outside == 1 and result.floor_origin == "exact" and result.worst == (0, 1)
    assert compare(reference, reference.copy(), floor=EXACT).passed
    assert not compare(np.zeros(1, np.float32), -np.zeros(1, np.float32), floor=EXACT).passed


def test_integers_are_exact_whatever_the_floor() -> None:
    reference = np.array([2**62, 7], np.int64)
    wrong = compare(reference, reference + np.array([1, 0]), floor=Floor(100.0, 100.0))
    assert not wrong.passed and wrong.outside == 1 and wrong.worst == (0,)
    assert wrong.worst_values == (2**62, 2**62 + 1)
    flags = np.array([True, False])
    assert not compare(flags, ~flags).passed


def test_wrong_dtype_and_shape_fail_with_that_reason() -> None:
    reference = normal()
    assert "wrong dtype: float64 instead of float32" in compare(reference, reference.astype(np.float64)).reason
    assert "wrong shape: [33, 7] instead of [7, 33]" in compare(reference, reference.T).reason
    assert not compare(np.ones(1, np.float32), np.ones((), np.float32)).passed
    assert not compare(np.array([True]), np.array([1])).passed


def test_the_coarser_dtype_gives_the_ulp_where_dtypes_may_differ() -> None:
    reference = normal()
    half = reference.astype(np.float16)
    assert compare(reference, half, mixed_dtypes=True).passed
    assert compare(half, reference, mixed_dtypes=True).passed
    assert not compare(reference, half.astype(np.float32)).passed


def test_nothing_compared_is_no_pass() -> None:
    result = compare(np.zeros((0, 4), np.float32), np.zeros((0, 4), np.float32))
    assert not result.passed and result.compared == 0


def test_zero_dimensions() -> None:
    result = compare(np.array(1.0, np.float32), np.array(2.0, np.float32))
    assert not result.passed and result.worst == () and result.worst_values == (1.0, 2.0)


def test_complex_is_judged_by_distance() -> None:
    reference = np.array([3 + 4j], np.complex64)
    assert compare(reference, reference + np.complex64(1e-7j)).passed
    wrong = compare(reference, reference.conj())
    assert not wrong.passed and wrong.max_abs == pytest.approx(8.0)
    assert wrong.worst_values == (3 + 4j, 3 - 4j)


@given(
    where=st.sets(st.integers(0, 3 * CHUNK + 6), max_size=4),
    strided=st.booleans(),
)
def test_chunks_agree_with_the_whole(where: set[int], strided: bool) -> None:
    reference = np.arange(3 * CHUNK + 7, dtype=np.float32) % 1000
    if strided:
        reference = np.stack([reference, reference])[:, ::1][0]
    actual = reference.copy()
    for index in where:
        actual[index] += index + 1000
    result = compare(reference, actual)
    assert result.outside == len(where) and result.compared == reference.size
    assert result.max_abs == float(np.abs(actual - reference).max())
    assert result.passed == (not where)


@given(hnp.arrays(np.float32, 16), hnp.arrays(np.float32, 16))
def test_any_two_arrays_get_an_answer(reference: np.ndarray, actual: np.ndarray) -> None:
    result = compare(reference, actual)
    assert result.compared == 16
    assert result.passed == (result.reason == "") == (result.outside == 0)
    assert result.passed == (result.factor <= 1)


@pytest.mark.parametrize(
    ("expected", "got", "words"),
    [
        (-2.406834125518799, -4.733015537261963, "-2.40683 expected, -4.73302 computed"),
        (1.0, 1.00001, "1 expected, 1.00001 computed"),
        (1.0, 1.0000001192092896, "1.0 expected, 1.0000001192092896 computed"),
    ],
)
def test_the_sentence_has_as_many_digits_as_tell_the_numbers_apart(expected: float, got: float, words: str) -> None:
    reason = compare(np.array([expected]), np.array([got])).reason
    assert reason.endswith(words)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_what_is_allowed_is_not_rounded_before_it_is_decided(dtype: type[np.floating]) -> None:
    reference, actual = np.full(3, 1.0, dtype), np.array([1.0, 1.5, 1.0], dtype)
    for much in (1 - 1e-9, 1 + 1e-9):  # in float32 both are one half
        found = compare(reference, actual, override=Override("*", atol=0.5 * much, rtol=0.0))
        assert (found.passed, found.outside, found.worst) == (much > 1, int(much < 1), (1,))
        assert found.factor == pytest.approx(1 / much, rel=1e-12)
