"""The worst elements, against a sort of everything."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from tapml_tui.compare.worst import worst_elements
from tests.sampling import rng


def test_they_are_those_of_a_full_sort() -> None:
    random = np.random.default_rng(rng("worst").randrange(1 << 32))
    reference = random.normal(size=(37, 5, 911)).astype(np.float32)
    actual = (reference + random.normal(size=reference.shape) * 10.0 ** random.integers(-9, 0, reference.shape)).astype(
        np.float32
    )
    law = lambda magnitude: 1e-7 + 1e-6 * magnitude  # noqa: E731
    found = worst_elements(reference, actual, 100, law)
    r, a = reference.astype(np.float64), actual.astype(np.float64)
    factor = np.abs(a - r) / law(np.abs(r))
    assert [one.factor for one in found] == np.sort(factor, axis=None)[::-1][:100].tolist()
    assert all(factor[one.index] == one.factor for one in found)


@pytest.mark.parametrize("dtype", [np.int64, np.bool_, np.complex64, ml_dtypes.bfloat16, np.float16])
def test_what_does_not_differ_is_not_among_them(dtype: type) -> None:
    reference = np.arange(12).reshape(3, 4).astype(dtype)
    actual = reference.copy()
    actual[2, 1] = 0
    found = worst_elements(reference, actual, 100, None)
    assert [(one.index, one.factor) for one in found] == [((2, 1), np.inf)]


def test_a_nan_comes_first_also_one_on_both_sides_as_nothing_vouches_for_it() -> None:
    reference = np.array([1.0, np.nan, np.inf, 2.0, -np.inf])
    actual = np.array([1.5, np.nan, np.inf, np.nan, np.inf])
    found = worst_elements(reference, actual, 100, lambda magnitude: np.full_like(magnitude, 0.1))
    assert [one.index for one in found] == [(1,), (3,), (4,), (0,)]


def test_integers_that_float64_cannot_tell_apart_differ() -> None:
    reference = np.array([2**60, 5], np.int64)
    found = worst_elements(reference, reference + np.array([1, 0]), 3, None)
    assert [one.index for one in found] == [(0,)]


def test_other_shapes_and_nothing_have_none() -> None:
    assert worst_elements(np.zeros(3), np.ones(4), 5, None) == ()
    assert worst_elements(np.zeros((0, 3)), np.zeros((0, 3)), 5, None) == ()
