"""The rule in an exported test against `compare`: the same verdict and the same sentence on any data."""

from __future__ import annotations

import random

import ml_dtypes
import numpy as np
import pytest

from tapml_tui.compare import compare, compare_indices
from tapml_tui.compare.overrides import Override
from tapml_tui.export import exported_test
from tests.sampling import count, rng
from trace_format.model import Floor

DTYPES = [
    "float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "complex64", "complex128",
    "int8", "int32", "int64", "uint8", "bool",
]  # fmt: skip


def dtype_of(name: str) -> np.dtype:
    return np.dtype(getattr(ml_dtypes, name)) if hasattr(ml_dtypes, name) else np.dtype(name)


def arrays(dice: random.Random, name: str) -> tuple[np.ndarray, np.ndarray]:
    """A reference and something that is near it, or not."""
    numbers = np.random.default_rng(dice.randrange(1 << 32))
    dtype, shape = dtype_of(name), dice.choice([(), (7,), (4, 33), (2, 3, 5), (70000,)])
    wide = numbers.normal(size=shape) * 10.0 ** dice.randint(-3, 2)
    if name.startswith("complex"):
        wide = wide + 1j * numbers.normal(size=shape)
    reference = np.asarray(wide * (20 if dtype.kind in "iu" else 1)).astype(dtype)
    noise = numbers.normal(size=shape) * 10.0 ** dice.randint(-9, 0)
    sparse = numbers.random(size=shape) < dice.choice([0.01, 1.0])
    with np.errstate(over="ignore", invalid="ignore"):
        actual = np.asarray(np.where(sparse, reference.astype(wide.dtype) * (1 + noise), reference)).astype(dtype)
    if dtype.kind not in "iub":
        for array in (reference, actual):
            for special in (np.nan, np.inf, -np.inf, -0.0):
                if dice.random() < 0.1 and array.size:
                    array.reshape(-1)[dice.randrange(array.size)] = special
    return reference, actual


@pytest.mark.parametrize("name", DTYPES)
def test_it_says_what_compare_says(name: str) -> None:
    dice = rng(f"{__name__} {name}")
    passed = 0
    for _ in range(count(60, 2000)):
        reference, actual = arrays(dice, name)
        floor = dice.choice([None, Floor(1e-6, 1e-7), Floor(0.01, 0.003), Floor(0.0, 0.0, "exact")])
        chained, nan_too = dice.random() < 0.3, dice.random() < 0.2
        override = dice.choice([None, None, Override("*", times=4.0), Override("*", atol=1e-3, rtol=0.01)])
        terms = dice.choice([None, 1.0, 300.0])
        with np.errstate(all="ignore"):
            right = compare(
                reference, actual, floor=floor, terms=terms, chained=chained, inherited_nan=nan_too, override=override
            )
            wide = np.abs(reference.astype(np.complex128 if reference.dtype.kind == "c" else np.float64))
            allowed = right.law.allowance(wide) if right.law is not None else None
            reason = exported_test.judge(reference, actual, allowed, nan_too=nan_too)
        assert reason == right.reason
        assert (not reason) == right.passed
        passed += right.passed
    assert passed


def test_shapes_dtypes_and_nothing() -> None:
    one = np.ones((2, 3), np.float32)
    for actual in (np.ones((3, 2), np.float32), np.ones((2, 3), np.float64), np.ones((), np.float32)):
        assert exported_test.judge(one, actual, None) == compare(one, actual).reason
    assert exported_test.judge(one[:0], one[:0], None) == compare(one[:0], one[:0]).reason


def test_ties_of_indices_are_judged_alike() -> None:
    dice = rng(__name__)
    for _ in range(count(200, 5000)):
        numbers = np.random.default_rng(dice.randrange(1 << 32))
        values = numbers.integers(0, 4, size=(3, 6)).astype(np.float32)
        dim = dice.choice([None, 0, 1, -1])
        reference = np.argsort(values, axis=1 if dim is None else dim, kind="stable")
        if dim is None:
            reference = np.asarray(values.argmax())
            actual = np.asarray(dice.choice([reference, numbers.integers(0, 19), 17]), np.int64)
        else:
            actual = values.shape[dim] - 1 - np.argsort(np.flip(values, dim), axis=dim, kind="stable")
            if dice.random() < 0.5:
                actual.reshape(-1)[dice.randrange(actual.size)] = numbers.integers(0, 8)
        right = compare_indices(values, reference, actual, dim, floor=Floor(0.0, 0.0, "exact"))
        assert exported_test.judge_choice(values, reference, actual, dim) == right.reason
