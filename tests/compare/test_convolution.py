"""Convolutions as products of matrices: the same sums as by hand, and what is a little wrong in half types is found."""

from __future__ import annotations

import itertools
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tapml_tui.compare import compare, convolution, sums
from tapml_tui.compare.convolution import Geometry
from tapml_tui.compare.precision import precision
from tests.compare.test_noise import Array, generator
from trace_format.model import Floor

PLAIN = Geometry((1, 1), (0, 0), (1, 1), 1)


def by_hand(x: Array, weight: Array, geometry: Geometry) -> Array:
    (up, left), (top, side), (rows, columns), groups = geometry
    wide = np.pad(x, ((0, 0), (0, 0), (top, top), (side, side)))
    each, shared = weight.shape[0] // groups, weight.shape[1]
    high, broad = (
        (size - gap * (kernel - 1) - 1) // step + 1
        for size, gap, kernel, step in zip(wide.shape[2:], (rows, columns), weight.shape[2:], (up, left), strict=True)
    )
    result = np.empty((x.shape[0], weight.shape[0], high, broad))
    for out, i, j in itertools.product(range(weight.shape[0]), range(high), range(broad)):
        channels = slice(out // each * shared, (out // each + 1) * shared)
        window = wide[:, channels, i * up :: rows, j * left :: columns][..., : weight.shape[2], : weight.shape[3]]
        result[:, out, i, j] = (window * weight[out]).sum(axis=(1, 2, 3))
    return result


@pytest.mark.parametrize(
    "geometry",
    [
        PLAIN,
        Geometry((2, 1), (1, 2), (1, 1), 1),
        Geometry((1, 3), (0, 1), (2, 1), 2),
        Geometry((1, 1), (1, 1), (1, 1), 4),
    ],
)
def test_the_sums_are_those_of_a_convolution(geometry: Geometry) -> None:
    random = generator(f"convolution/{geometry}")
    x, weight = random.normal(size=(2, 4, 9, 8)), random.normal(size=(8, 4 // geometry.groups, 3, 2))
    unit = precision(np.dtype(np.float16))
    assert unit is not None
    known = convolution.known(x, weight, geometry, unit)
    expected = by_hand(x, weight, geometry)
    assert known is not None and known.straying.shape == expected.shape
    np.testing.assert_allclose(known.truth, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16], ids=["float16", "bfloat16"])
def test_three_percent_are_found_and_a_rounding_of_half_of_the_sum_is_healthy(dtype: Any) -> None:
    random, geometry = generator(f"convolution/{np.dtype(dtype).name}"), Geometry((1, 1), (1, 1), (1, 1), 1)
    x, weight = (random.normal(size=size).astype(dtype) for size in ((2, 16, 8, 8), (16, 16, 3, 3)))
    wide, kernel = x.astype(np.float64), weight.astype(np.float64)
    exact, half = by_hand(wide, kernel, geometry), by_hand(wide[:, :8], kernel[:, :8], geometry)
    source, other = exact.astype(dtype), (half.astype(dtype).astype(np.float64) + (exact - half)).astype(dtype)
    unit, floor = precision(np.dtype(dtype)), Floor(1.0, 1e-3, "float64", 0.5, 0.0)
    assert unit is not None
    facts = {"floor": floor, "known": convolution.known(x, weight, geometry, unit), "terms": 144.0, "functions": False}
    assert compare(source, other, **facts).passed
    assert not compare(source, (exact + 0.03 * exact.std()).astype(dtype), **facts).passed


def test_what_does_not_fit_or_is_too_much_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight, unit = np.ones((2, 4, 9, 8)), np.ones((8, 4, 3, 2)), precision(np.dtype(np.float16))
    assert unit is not None
    assert convolution.known(x, weight, PLAIN, unit) is not None
    assert convolution.known(x, weight, PLAIN._replace(groups=2), unit) is None
    assert convolution.known(x, weight, PLAIN._replace(gaps=(5, 1)), unit) is None
    assert convolution.known(x[:0], weight, PLAIN, unit) is None
    assert convolution.known(x, weight, PLAIN._replace(edges=(1 << 40, 1 << 40)), unit) is None
    monkeypatch.setattr(sums, "MOST_SQUARES", 2 * 4 * 7 * 7 * 6 - 1)
    assert convolution.known(x, weight, PLAIN, unit) is None
