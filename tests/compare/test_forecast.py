"""The forecast of overflows: what the recorded sizes prove, and nothing else."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest

from tapml_tui.compare.forecast import LIMITS, Largest, Size, forecast, headroom, largest


def size_of(array: np.ndarray) -> Size:
    wide = np.abs(array.astype(np.float64))
    return Size(array.size, float(wide.max()), float(np.sqrt(np.square(wide).mean())))


@pytest.mark.parametrize("name", LIMITS)
def test_the_limits_are_those_of_the_types(name: str) -> None:
    assert LIMITS[name] == float(ml_dtypes.finfo(getattr(ml_dtypes, name, None) or np.float16).max)


def test_headroom_is_a_factor() -> None:
    assert headroom(65504 / 2, "float16") == 2.0
    assert headroom(896.0, "float8_e4m3fn") == 0.5
    assert math.isinf(headroom(0.0, "float16"))


def test_the_result_decides_where_nothing_is_known_of_the_inside() -> None:
    found = largest(
        "aten.add.Tensor", (), [Size(4, 1e9, 1e9)], [Size(4, 7.0, 5.0), Size(4, 9.0, 1.0), Size(2, None, None)]
    )
    assert found == Largest(9.0)


def test_the_sum_inside_of_a_mean_is_the_one_that_overflows() -> None:
    squares = np.full((2, 4096), 100, np.float32)
    mean = squares.mean(-1, keepdims=True)
    found = largest("aten.mean.dim", (None, (-1,), True), [size_of(squares)], [size_of(mean)])
    assert found.magnitude == squares.sum(-1).max() > LIMITS["float16"] > mean.max()
    with np.errstate(over="ignore"):  # as a kernel would
        assert np.isinf(np.add.reduce(squares.astype(np.float16), axis=-1, dtype=np.float16)).all()
    assert found.where


def test_the_sum_of_squares_inside_of_a_norm() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((8, 512)).astype(np.float32) * 20
    norm = np.linalg.norm(x, axis=-1)
    found = largest("aten.linalg_vector_norm.default", (None, 2, (-1,)), [size_of(x)], [size_of(norm)])
    sums = np.square(x.astype(np.float64)).sum(-1)
    assert sums.mean() == pytest.approx(found.magnitude) and found.magnitude <= sums.max()
    one = largest("aten.linalg_vector_norm.default", (None, 1), [size_of(x)], [size_of(norm)])
    assert one == Largest(float(norm.max()))  # a sum of magnitudes squares nothing


def test_the_square_inside_of_an_rms_norm() -> None:
    found = largest("aten.rms_norm.default", (), [Size(100, 300.0, 5.0)], [Size(100, 3.0, 1.0)])
    assert found == Largest(90000.0, "the square of its largest input")


def test_operators_of_others_have_no_known_inside() -> None:
    assert largest("mine.mean.default", (), [Size(100, 1.0, 1.0)], [Size(1, 1.0, 1.0)]) == Largest(1.0)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_a_mask_is_no_overflow(dtype: str) -> None:
    lowest = float(ml_dtypes.finfo(getattr(ml_dtypes, dtype, None) or dtype).max)
    assert largest("aten.add.Tensor", (), [], [Size(4, lowest, 1.0)]) == Largest(0.0)
    assert largest("aten.add.Tensor", (), [], [Size(4, lowest / 2, 1.0)]) == Largest(lowest / 2)


def test_what_cannot_be_known_is_left_out() -> None:
    assert largest("aten.mean.default", (), [Size(0, None, None)], [Size(1, None, None)]) == Largest(0.0)
    assert largest("aten.mean.default", (), [], []) == Largest(0.0)


def test_the_sentence_names_the_first_and_counts_the_rest() -> None:
    nodes = [(f"n{i}", Largest(1e5 if i % 2 else 10.0)) for i in range(20)]
    assert forecast(nodes, "float16") == (
        "10 of 20 nodes would overflow in float16: n1 (1e+05), n3 (1e+05), n5 (1e+05), n7 (1e+05) and 6 more"
    )
    assert forecast(nodes[:1], "float16") == "no node would overflow in float16: n0 (10) fits 6,550 times"
    assert "in the sum" in forecast([("m", Largest(7e4, "the sum before it is divided"))], "float16")
    assert forecast([("zeros", Largest(0.0))], "float16").endswith("zeros (0) is the largest")
    assert forecast([], "float16") == ""
