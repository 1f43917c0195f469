"""Rows that no model has: healthy kernels agree in few digits there, and are told from wrong ones elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tapml_tui.compare import compare
from tapml_tui.compare.noise import FLOAT32, Known
from tapml_tui.compare.normalisation import layer_norm, softmax
from tests.compare.test_noise import ORDERS, generator
from trace_format.model import Floor

WIDTH = 384
Array = np.ndarray
F = np.float32


def two_passes(x: Array, total: Callable[[Array], Array], epsilon: float) -> Array:
    centred = x - (total(x) / F(x.shape[-1]))[..., None]
    variance = total(centred * centred) / F(x.shape[-1])
    return centred / np.sqrt(variance + F(epsilon))[..., None]


def one_pass(x: Array, total: Callable[[Array], Array], epsilon: float) -> Array:
    mean = total(x) / F(x.shape[-1])
    variance = np.maximum(total(x * x) / F(x.shape[-1]) - mean * mean, F(0))
    return (x - mean[..., None]) / np.sqrt(variance + F(epsilon))[..., None]


def rows(kind: str) -> Array:
    random = generator(f"normalisation/{kind}")
    x = random.normal(size=(64, 1)) * np.ones((64, WIDTH))
    if kind == "one among zeros":
        x[:, 1:] = 0
    if kind == "nearly":
        x += 10.0 ** -random.integers(1, 8, (64, 1)) * random.normal(size=x.shape)
    return x.astype(F)


def judged(x: Array, one: Array, other: Array, found: Known | None) -> bool:
    floor = Floor(1e-6, 1e-7, "float64", 2.0, 5e-7)
    return compare(one, other, floor=floor, terms=WIDTH / 4, functions=True, known=found).passed


@pytest.mark.parametrize("epsilon", [1e-5, 1e-12])
@pytest.mark.parametrize("kind", ["constant", "nearly", "one among zeros"])
def test_no_healthy_kernel_strays_further(kind: str, epsilon: float) -> None:
    x = rows(kind)
    found = layer_norm(x, None, None, width=WIDTH, epsilon=epsilon, unit=FLOAT32)
    assert found is not None
    assert found.truth is not None
    results = [way(x, total, epsilon) for way in (two_passes, one_pass) for total in ORDERS]
    for result in results:
        assert (np.abs(result - found.truth) <= found.straying).all()
    assert all(judged(x, results[0], other, found) for other in results[1:])
    assert not all(judged(x, results[0], other, None) for other in results[1:])  # an average does not know


def test_a_wrong_row_is_found_among_them() -> None:
    x = rows("constant")
    x[7] = generator("ordinary").normal(size=WIDTH)
    right = two_passes(x, ORDERS[0], 1e-5)
    found = layer_norm(x, None, None, width=WIDTH, epsilon=1e-5, unit=FLOAT32)
    wrong = right.copy()
    wrong[7] *= F(1.0001)
    assert judged(x, right, two_passes(x, ORDERS[1], 1e-5), found)
    assert not judged(x, right, wrong, found)


def test_weight_and_bias_are_in_it() -> None:
    random = generator("normalisation/weight")
    x, weight, bias = rows("nearly"), *(random.normal(size=(2, WIDTH)).astype(F))
    plain = layer_norm(x, None, None, width=WIDTH, epsilon=1e-5, unit=FLOAT32)
    found = layer_norm(x.reshape(4, 16, WIDTH), weight, bias, width=WIDTH, epsilon=1e-5, unit=FLOAT32)
    assert plain is not None and plain.truth is not None
    assert found is not None and found.truth is not None
    np.testing.assert_allclose(found.truth.reshape(x.shape), plain.truth * weight + bias)
    np.testing.assert_allclose(found.straying.reshape(x.shape), plain.straying * np.abs(weight))


def test_nothing_is_said_of_rows_that_models_have() -> None:
    x = generator("normalisation/ordinary").normal(size=(8, WIDTH))
    assert layer_norm(x.astype(F), None, None, width=WIDTH, epsilon=1e-5, unit=FLOAT32) is None
    assert layer_norm(rows("constant")[:, :383], None, None, width=WIDTH, epsilon=1e-5, unit=FLOAT32) is None
    assert layer_norm(rows("constant")[:0], None, None, width=WIDTH, epsilon=1e-5, unit=FLOAT32) is None


@pytest.mark.parametrize("columns", [32, 500])
def test_what_a_running_sum_loses_is_lost_to_one_side(columns: int) -> None:
    """A weight of nearly one, and many that are just too small beside it."""
    x = np.zeros((40, columns), F)
    x[:, 0] = np.linspace(14, 18, 40)
    found = softmax(x, -1, FLOAT32)
    assert found is not None
    assert found.truth is not None
    terms = np.exp(x - x.max(axis=-1, keepdims=True))
    results = [
        terms / total(terms)[..., None] for total in (*ORDERS[:2], lambda one: one.astype(float).sum(-1).astype(F))
    ]
    for result in results:
        assert (np.abs(result - found.truth) <= found.straying).all()
        assert judged(x, results[0], result, found)
    assert not judged(x, results[0], results[0] * F(1 + columns * 2.0**-21), found)


def test_where_nothing_is_looked_at_the_weight_is_nothing() -> None:
    x = np.array([[0.0, -np.inf, 3.0], [-np.inf] * 3], F)
    found = softmax(x, 1, FLOAT32)
    assert found is not None
    assert found.straying[0, 1] == 0
    assert np.isinf(found.straying[1]).all()
