"""What is measured while a value is written: its size, and its distance to replays in the unit and in ULPs."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest

from trace_format import Floor

pytestmark = pytest.mark.torch

FLOATS = ("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")


def against(replayed, bounded=False):
    from tapml_tui.carve.measure import Against

    return Against(np.asarray(replayed), bounded)


def dtype_of(name):
    return np.dtype(getattr(ml_dtypes, name, None) or name)


@pytest.mark.parametrize("name", FLOATS)
def test_ulps_are_steps_of_the_source_s_own_element(name):
    """Three neighbours away on the grid of its dtype is three units, at every magnitude."""
    from tapml_tui.carve.measure import measure

    info = ml_dtypes.finfo(dtype_of(name))
    smallest, tiny = float(info.smallest_subnormal), float(info.smallest_normal)
    steps = {1.0: float(info.eps), 1.5: float(info.eps), -4.0: 4 * float(info.eps)}
    if name != "float64":  # half of its smallest number is none
        steps |= {tiny: smallest, 0.0: smallest}
    for element, step in steps.items():
        value = np.array([element], dtype_of(name))
        floor = measure(value, (against([element + 3 * step]),)).floors[0]
        assert floor == Floor(3 * step, 3 * step, "float64", 3.0, 2.5 * step), element


def test_the_largest_of_each_may_be_of_different_elements():
    from tapml_tui.carve.measure import measure

    value = np.array([1024.0, 1.0, 0.0], np.float32)
    measured = measure(value, (against([1024 + 2**-13, 1 + 2**-21, 0.0]),))
    assert measured.floors == (Floor(2**-13, pytest.approx(2**-13 / math.sqrt(3), rel=1e-4), "float64", 4.0, 2**-14),)
    assert (measured.peak, measured.rms) == (1024.0, pytest.approx(math.sqrt((1024**2 + 1) / 3)))


def test_what_is_not_finite_counts_nothing():
    from tapml_tui.carve.measure import measure

    value = np.array([np.nan, np.inf, -3.0, 1.0, 4.0], np.float32)
    measured = measure(value, (against([1.0, np.inf, -3.0, np.nan, -np.inf]), against([0.0, 0.0, -3.5, 1.0, 4.0])))
    assert (measured.peak, measured.rms) == (4.0, pytest.approx(math.sqrt(26 / 3)))
    assert measured.floors[0] == Floor(0.0, 0.0, "float64", 0.0, 0.0)
    assert measured.floors[1].max_abs == 0.5 and measured.floors[1].ulps == 2.0**21


@pytest.mark.parametrize("value", [[], [np.nan], [np.inf, -np.inf]])
def test_without_a_finite_element_there_is_no_size(value):
    from tapml_tui.carve.measure import measure

    measured = measure(np.array(value, np.float16), (against(value),))
    assert measured == (None, None, (Floor(0.0, 0.0, "float64", 0.0, 0.0),))


@pytest.mark.parametrize("name", ["int64", "bool", "uint8"])
def test_what_does_not_float_has_no_size_and_keeps_its_floor(name):
    from tapml_tui.carve.measure import EXACT, measure

    assert measure(np.ones(3, name), (EXACT, None)) == (None, None, (EXACT, None))


def test_numbers_too_large_to_be_squared_have_a_peak():
    from tapml_tui.carve.measure import measure

    assert measure(np.array([1e200, -3e300])).peak == 3e300
    assert measure(np.array([1e200, -3e300])).rms is None


def test_complex_elements_are_measured_by_their_magnitude():
    from tapml_tui.carve.measure import measure

    value = np.array([3 + 4j, 0], np.complex64)
    measured = measure(value, (against([3 + 4j + 6e-6 + 8e-6j, 0]),))
    assert measured.peak == 5.0
    assert measured.floors[0].max_abs == pytest.approx(1e-5)
    assert measured.floors[0].ulps == pytest.approx(1e-5 / 2**-21)


def test_where_there_is_no_replay_the_bound_stands():
    from tapml_tui.carve.measure import BOUND_ULPS, Against, measure

    value = np.array([8.0, 0.0], np.float32)
    epsilon = float(np.finfo(np.float32).eps)
    bound, both = measure(value, (Against(None, bounded=True), against([8.0, 1e-3], bounded=True))).floors
    assert bound == Floor(BOUND_ULPS * epsilon * 8, epsilon * math.sqrt(32), "bound")
    assert both == Floor(bound.max_abs + 1e-3, bound.rms + 1e-3 / math.sqrt(2), "bound")
    assert math.isinf(both.ulps) and math.isinf(both.excess)


def test_half_a_unit_is_owed_and_no_excess():
    from tapml_tui.carve.measure import measure

    (floor,) = measure(np.array([1.0, 2.0], np.float32), (against([1 + 2**-24, 2.0]),)).floors
    assert (floor.ulps, floor.excess) == (0.5, 0.0)


def test_large_tensors_are_measured_as_small_ones():
    from tapml_tui.carve.measure import CHUNK, measure

    rng = np.random.default_rng(0)
    value = rng.standard_normal((3, CHUNK + 17)).astype(np.float32)
    replayed = value.astype(np.float64) + rng.standard_normal(value.shape) * 1e-7
    measured = measure(value, (against(replayed),))
    error = np.abs(value - replayed)
    assert measured.peak == np.abs(value).max()
    assert measured.rms == pytest.approx(np.sqrt(np.square(value, dtype=np.float64).mean()))
    assert measured.floors[0].max_abs == error.max()
    assert measured.floors[0].rms == pytest.approx(np.sqrt(np.square(error).mean()))
    units = np.spacing(np.abs(value)).astype(np.float64)
    assert measured.floors[0].ulps == pytest.approx((error / units).max())
    assert measured.floors[0].excess == pytest.approx((error - units / 2).max())
