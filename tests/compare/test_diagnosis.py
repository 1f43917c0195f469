"""What the diagnosis says of plain faults: kind and sentence, and what is easily confused."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from tapml_tui.compare.diagnosis import Diagnosis, Kind, diagnose

FLOATS = [np.float64, np.float32, np.float16, ml_dtypes.bfloat16]


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def said(reference: np.ndarray, actual: np.ndarray, **more: object) -> Diagnosis:
    found = diagnose(reference, actual, **{"allowance": 1e-5, **more})  # type: ignore[arg-type]
    assert found is not None
    return found


def test_equal_arrays_other_shapes_and_empty_ones_have_no_diagnosis() -> None:
    values = normal(8, 16)
    assert diagnose(values, values.copy()) is None
    assert diagnose(values, values.T) is None
    assert diagnose(values[:0], values[:0]) is None


def test_the_sentence_of_the_issue() -> None:
    values = normal(64, 128)
    actual = values.copy()
    actual[:, 96:] = 0.0
    assert said(values, actual).sentence == "columns 96..127 are zero: the last 32 of 128, a tile tail"
    assert said(values, actual).kind is Kind.TAIL


@pytest.mark.parametrize("dtype", FLOATS)
def test_scale_for_every_dtype(dtype: type) -> None:
    values = normal(32, 48).astype(dtype)
    found = said(values, (values.astype(np.float64) * 1.5).astype(dtype), allowance=None)
    assert found.kind is Kind.SCALE and found.sentence.endswith(", but every value is 1.5 times the reference")
    assert found.sentence.startswith("cosine 1.0000" if np.dtype(dtype).itemsize > 2 else "cosine ")


def test_a_weak_scale_is_told_from_an_offset() -> None:
    values = normal(32, 48).astype(np.float64) + 3.0
    assert said(values, values * 1.00001, allowance=1e-6).sentence == "every value is 1.000010 times the reference"
    assert said(values, values + 2e-5, allowance=1e-6).sentence == "every value is 2e-05 too large"


def test_a_flipped_sign_is_no_mere_scale() -> None:
    values = normal(32, 48)
    assert said(values, -values).kind is Kind.SIGN
    assert said(values, np.abs(values)).kind is Kind.SIGN


def test_zeros_are_unwritten_and_no_scale() -> None:
    values = normal(32, 48)
    assert said(values, np.zeros_like(values)).kind is Kind.UNWRITTEN


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_one_slice_of_any_axis(axis: int) -> None:
    values = normal(6, 20, 30)
    actual = np.moveaxis(values.copy(), axis, 0)
    actual[3] = 7.0 * actual[2]
    found = said(values, np.moveaxis(actual, 0, axis), axes=("head", "row", "column"))
    name = ("head", "row", "column")[axis]
    assert found.kind in (Kind.SLICE, Kind.WRONG_INDEX) and f"{name} 3 of {values.shape[axis]}" in found.sentence


def test_one_row_of_one_matrix() -> None:
    values = normal(3, 12, 32, 32)
    actual = values.copy()
    actual[1, 4, 7] *= 2.0
    found = said(values, actual, operator="aten.matmul.default")
    assert found.kind is Kind.SLICE
    assert all(words in found.sentence for words in ("batch 1 of 3", "head 4 of 12", "row 7 of 32", "2 times"))


def test_every_fourth_column() -> None:
    values = normal(40, 64)
    actual = values.copy()
    actual[:, 3::4] = 0.0
    found = said(values, actual)
    assert found.kind is Kind.PERIODIC and found.sentence.startswith("every 4th column (3, 7, 11, ...) are zero")


def test_a_corner_tile() -> None:
    values = normal(50, 100)
    actual = values.copy()
    actual[48:, 96:] = 0.0
    assert said(values, actual).sentence == (
        "cosine 0.9993, but rows 48..49, columns 96..99 are zero: the last 2 of 50 and the last 4 of 100, a tile tail"
    )


def test_the_end_of_memory() -> None:
    values = normal(50, 37)
    actual = values.copy()
    actual.reshape(-1)[-100:] = 0.0
    found = said(values, actual)
    assert found.kind is Kind.TAIL and "1750..1849 in memory order" in found.sentence


def test_transposed_of_the_same_shape_and_as_a_layout() -> None:
    square, oblong = normal(32, 32), normal(24, 40)
    assert "axes 0 and 1 are exchanged" in said(square, square.T.copy()).sentence
    found = said(oblong, np.ascontiguousarray(oblong.T).reshape(oblong.shape))
    assert found.kind is Kind.TRANSPOSED and "buffer" in found.sentence


def test_heads_laid_out_wrongly() -> None:
    values = normal(20, 48)
    wrong = np.ascontiguousarray(values.reshape(20, 4, 12).transpose(1, 0, 2)).reshape(values.shape)
    assert said(values, wrong).kind is Kind.TRANSPOSED
    mixed = np.ascontiguousarray(values.reshape(20, 4, 12).swapaxes(1, 2)).reshape(values.shape)
    assert said(values, mixed).kind is Kind.PERMUTED


def test_shifts_reversals_and_exchanges() -> None:
    values = normal(30, 40)
    assert "shifted by 1 column (axis 1)" in said(values, np.roll(values, 1, 1)).sentence
    assert "around the end" in said(values, np.roll(values, 1, 1)).sentence
    pushed = np.concatenate([values[:1], values[:-1]])
    found = said(values, pushed)
    assert found.kind is Kind.SHIFTED and "around" not in found.sentence
    assert said(values, values[::-1].copy()).kind is Kind.PERMUTED
    order = np.arange(30)
    order[[4, 9]] = 9, 4
    assert said(values, values[order]).sentence == "rows 4 and 9 (axis 0) are exchanged"
    order[9] = 9
    assert said(values, values[order]).kind is Kind.WRONG_INDEX


def test_a_shift_of_constant_rows_is_no_fault() -> None:
    values = np.repeat(normal(10, 1), 20, axis=1)
    assert diagnose(values, np.roll(values, 1, 1)) is None
    assert said(values, np.roll(values, 1, 0)).kind is Kind.SHIFTED


def test_every_row_a_copy_of_the_first() -> None:
    values = normal(30, 40)
    assert said(values, np.repeat(values[:1], 30, axis=0)).kind is Kind.BROADCAST


@pytest.mark.parametrize(
    ("limit", "name"), [(65504.0, "float16"), (448.0, "e4m3fn"), (57344.0, "e5m2"), (6.0, "ReLU6")]
)
def test_ceilings(limit: float, name: str) -> None:
    values = normal(40, 64).astype(np.float64) * limit
    found = said(values, np.clip(values, -limit, limit))
    assert found.kind is Kind.SATURATED and f"+-{limit:.4g}" in found.sentence and name in found.sentence
    assert said(values, np.minimum(values, limit)).sentence.startswith("values above")
    assert "ReLU" in said(values, np.maximum(values, 0.0)).sentence


def test_overflow_says_from_where_on() -> None:
    values = normal(40, 64) * 4e4
    with np.errstate(over="ignore"):
        actual = values.astype(np.float16).astype(np.float32)
    found = said(values, actual)
    assert found.kind is Kind.OVERFLOW and "float16" in found.sentence


def test_where_a_nan_was_born() -> None:
    values, healthy = normal(40, 64), normal(4, 4)
    actual, sick = values.copy(), healthy.copy()
    actual[7], sick[0, 0] = np.nan, np.nan
    assert said(values, actual, inputs=(healthy,)).sentence == (
        "row 7 of 40 (axis 0) is NaN: born here, no input had any"
    )
    assert said(values, actual, inputs=(sick,)).sentence.endswith("an input had NaN already")


def test_unwritten_memory_holds_unrelated_bits() -> None:
    values = normal(40, 64)
    bits = np.random.default_rng(1).integers(0, 1 << 32, values.shape, dtype=np.uint32)
    assert said(values, bits.view(np.float32)).kind is Kind.UNINITIALISED
    half, tail = values.astype(np.float16), values.astype(np.float16)
    tail[36:] = bits[36:].astype(np.uint16).view(np.float16)
    found = said(half, tail)
    assert found.kind is Kind.UNINITIALISED and "rows 36..39" in found.sentence
    poison = np.full(values.size * 4, 0xCD, np.uint8).view(np.float32).reshape(values.shape)
    found = said(values, poison)
    assert found.kind is Kind.UNINITIALISED and "0xCD" in found.sentence


def test_a_stale_result_and_a_copied_input() -> None:
    values, old = normal(40, 64), normal(40, 64, seed=1)
    assert said(values, old, stale=(old,)).kind is Kind.STALE
    assert "copy of input 1" in said(values, old, inputs=(values[0], old)).sentence
    actual = values.copy()
    actual[32:] = old[32:]
    assert said(values, actual, stale=(old,)).sentence == (
        "rows 32..39 are left from an earlier call: the last 8 of 40, a tile tail"
    )


def test_one_number_for_each_row_or_column() -> None:
    values = normal(40, 64)
    factors, addends = np.linspace(0.5, 1.5, 40)[:, None].astype(np.float32), normal(64)
    assert said(values, values * factors).kind is Kind.SLICE_SCALE
    assert said(values, values - addends).kind is Kind.BIAS
    assert said(values, values - addends[:40, None]).kind is Kind.SLICE_OFFSET
    missing = said(values, values - addends, inputs=(normal(40, 32), normal(64, 32), addends))
    assert "input 2" in missing.sentence


@pytest.mark.parametrize(
    ("dtype", "words"), [(np.float16, "float16"), (ml_dtypes.bfloat16, "bfloat16"), (ml_dtypes.float8_e4m3fn, "e4m3fn")]
)
def test_casts(dtype: type, words: str) -> None:
    values = normal(40, 64)
    found = said(values, values.astype(dtype).astype(np.float32))
    assert found.kind is Kind.CAST and "rounded" in found.sentence and words in found.sentence


def test_truncation() -> None:
    values = normal(40, 64) * 10
    cut = (values.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    assert "truncated to bfloat16" in said(values, cut).sentence
    assert said(values, np.trunc(values)).sentence == "cut off to whole numbers"
    half = values.astype(ml_dtypes.bfloat16)
    found = said(half, cut.astype(ml_dtypes.bfloat16), allowance=1e-9)
    assert found.kind is Kind.CAST and "too small in size" in found.sentence


def test_coarse_sums() -> None:
    terms = np.random.default_rng(0).normal(size=(40, 64, 256))
    total = np.zeros((40, 64), np.float16)
    for k in range(256):
        total += terms[..., k].astype(np.float16)
    found = said(terms.sum(axis=-1).astype(np.float32), total.astype(np.float32))
    assert found.kind is Kind.LOW_PRECISION
    sums = np.cumsum(terms[:, :, :32], axis=-1)
    rounded = sums + np.cumsum(np.random.default_rng(1).normal(size=sums.shape), axis=-1) * 1e-3
    found = said(sums, rounded)
    assert found.kind is Kind.LOW_PRECISION and "grows along axis 2 as the sum gets longer" in found.sentence


def test_masks() -> None:
    scores = normal(4, 16, 16)
    causal = np.tril(np.ones((16, 16), bool))
    hidden = np.where(causal, scores, -np.inf).astype(np.float32)
    found = said(hidden, scores)
    assert found.kind is Kind.MASK and "causal triangle" in found.sentence
    inverted = np.where(causal, -np.inf, scores).astype(np.float32)
    assert "inverted" in said(hidden, inverted).sentence

    def softmax(x: np.ndarray) -> np.ndarray:
        weights = np.exp(x)
        return np.asarray(weights / weights.sum(axis=-1, keepdims=True))

    found = said(softmax(hidden), softmax(scores))
    assert found.kind is Kind.MASK and "causal triangle" in found.sentence


def test_integers_bools_complex_numbers_and_scalars() -> None:
    numbers = np.random.default_rng(0).integers(-1000, 1000, (30, 40))
    assert said(numbers, numbers * 2, allowance=None).kind is Kind.SCALE
    assert said(numbers, numbers + 1, allowance=None).kind is Kind.OFFSET
    flags = numbers > 0
    wrong = flags.copy()
    wrong[5] = ~wrong[5]
    assert "row 5 of 30" in said(flags, wrong, allowance=None).sentence
    waves = normal(30, 40) + 1j * normal(30, 40, seed=1)
    assert said(waves, waves * 1.5).kind is Kind.SCALE
    assert "part" in said(waves, waves.conj()).sentence
    diagnose(np.array(1.0), np.array(2.0))


@pytest.mark.slow
def test_a_large_array_is_looked_at_in_part() -> None:
    values = np.random.default_rng(0).standard_normal((2048, 3000), np.float32)
    actual = values.copy()
    actual[:, 2976:] = 0.0
    assert said(values, actual).sentence == "columns 2976..2999 are zero: the last 24 of 3000, a tile tail"


def test_names_of_axes_are_those_given() -> None:
    values = normal(4, 6, 20, 10)
    actual = values.copy()
    actual[:, 2] *= 3.0
    assert "head 2 of 6" in said(values, actual, operator="aten.softmax.int").sentence
    assert "channel 2 of 6" in said(values, actual, operator="aten.conv2d.default").sentence
    assert "expert 2 of 6" in said(values, actual, axes=("batch", "expert", "token", "feature")).sentence
