"""Inputs that are added with another weight, and other faults that inputs explain."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from tapml_tui.compare.diagnosis import Diagnosis, Kind, diagnose
from tests import sampling


def normal(*shape: int) -> np.ndarray:
    random = np.random.default_rng(sampling.rng("addends").randrange(1 << 32))
    return random.normal(size=shape).astype(np.float32)


def said(
    right: np.ndarray, wrong: np.ndarray, *inputs: np.ndarray, operator: str = "aten.add.Tensor"
) -> Diagnosis | None:
    return diagnose(right.astype(inputs[0].dtype), wrong.astype(inputs[0].dtype), inputs=inputs, operator=operator)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_an_ignored_alpha(dtype: type) -> None:
    x, y = normal(2, 3, 32, 64).astype(dtype)
    found = said(x + 0.5 * y.astype(np.float64), x + y.astype(np.float64), x, y)
    assert found is not None and found.kind is Kind.INPUT
    assert "input 1 is added 1 times instead of 0.5 times, as if alpha were 1: the difference is 0.5 times input 1" in (
        found.sentence
    )
    found = said(x - 2.0 * y.astype(np.float64), x - y.astype(np.float64), x, y, operator="aten.sub.Tensor")
    assert found is not None and "as if alpha were 1" in found.sentence


def test_a_residual_that_is_not_added_and_a_bias_that_is_added_twice() -> None:
    x, y = normal(2, 3, 32, 64)
    found = said(np.maximum(x, 0) + y, np.maximum(x, 0), x, y, operator="mine.block.default")
    assert found is not None and found.sentence.endswith("the difference is -1 times input 1")
    bias = normal(64)
    found = said(x + bias, x + 2 * bias, x, bias)
    assert found is not None and "added 2 times instead of 1 times" in found.sentence


def test_scales_and_offsets_of_a_sum_are_told_from_its_addends() -> None:
    x, y = normal(2, 3, 32, 64)
    for wrong, kind in (((x + y) * 1.001, Kind.SCALE), ((x + y) + 0.001, Kind.OFFSET), (x.copy(), Kind.STALE)):
        found = said(x + y, wrong, x, y)
        assert found is not None and found.kind is kind


def test_sums_in_half_precision_and_operands_that_were_rounded() -> None:
    x, weight = np.split(normal(72, 256), [24])
    right = x @ weight.T
    total = np.zeros(right.shape, np.float16)
    for k in range(x.shape[1]):
        total = (total + np.outer(x[:, k], weight[:, k]).astype(np.float32)).astype(np.float16)
    kernel = {"allowance": 1e-4, "inputs": (x, weight), "operator": "aten.linear.default"}
    found = diagnose(right, total.astype(np.float32), **kernel)  # type: ignore[arg-type]
    assert found is not None and (found.kind, found.sentence) == (
        Kind.LOW_PRECISION,
        "the sums of products are carried in float16",
    )
    rounded = x.astype(ml_dtypes.bfloat16).astype(np.float32) @ weight.T
    found = diagnose(right, rounded, **kernel)  # type: ignore[arg-type]
    assert found is not None and found.sentence == "input 0 is rounded to bfloat16 first"


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_weak_faults_where_values_only_move(dtype: type) -> None:
    """A hundredth off, where that is one unit in the last place or none."""
    table = normal(40, 96).astype(dtype)
    wide = table.astype(np.float64)
    for wrong, kind in (
        (wide * 0.9975, Kind.SCALE),
        (wide + 0.004, Kind.OFFSET),
        (wide + 0.005 * (np.roll(wide, 1, 1) - wide), Kind.SHIFTED),
    ):
        found = diagnose(table, wrong.astype(dtype), allowance=0.0, operator="aten.embedding.default")
        assert found is not None and found.kind is kind, found


def test_one_element_beyond_its_allowance_has_no_words() -> None:
    values = normal(24, 64)
    actual = values.copy()
    actual[5, 7] += 1.1e-4
    noise = 0.9e-4 * np.sin(np.arange(values.size)).reshape(values.shape)
    assert diagnose(values, (actual + noise * (actual == values)).astype(np.float32), allowance=1e-4) is None


def test_every_kth_element_in_memory() -> None:
    values = normal(24, 64)
    actual = values.copy()
    actual.reshape(-1)[3::5] = 0.0
    found = diagnose(values, actual)
    assert found is not None and found.kind is Kind.PERIODIC and "every 5th element (3, 8, 13, ...)" in found.sentence
