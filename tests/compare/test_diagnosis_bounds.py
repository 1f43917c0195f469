"""What the diagnosis never does: name noise, fail, grow; and what it does with large arrays."""

from __future__ import annotations

import tracemalloc

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tapml_tui.compare.diagnosis import Diagnosis, diagnose
from trace_format.text import printable

DTYPES = [np.dtype(d) for d in (np.float64, np.float32, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn)]
OPERATORS = ("", "aten.linear.default", "aten.softmax.int", "aten.layer_norm.default", "aten.add.Tensor", "aten.gelu.x")
SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, max_side=9)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays of any bits, of one shape and dtype."""
    dtype, shape = draw(st.sampled_from(DTYPES)), draw(SHAPES)
    raw = np.dtype(f"u{dtype.itemsize}")
    return tuple(draw(arrays.arrays(raw, shape)).view(dtype) for _ in range(2))  # type: ignore[return-value]


@settings(max_examples=60, deadline=None)
@given(pair=pairs(), inputs=st.lists(pairs(), max_size=2), operator=st.sampled_from(OPERATORS))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of casting signalling NaNs, which these bits may be
def test_whatever_the_bits_are_there_is_a_printable_answer(
    pair: tuple[np.ndarray, np.ndarray], inputs: list[tuple[np.ndarray, np.ndarray]], operator: str
) -> None:
    reference, actual = pair
    found = diagnose(reference, actual, inputs=[one for one, _ in inputs], operator=operator, stale=[actual.copy()])
    if found is not None:
        assert isinstance(found, Diagnosis) and found.sentence == printable(found.sentence)


@settings(max_examples=60, deadline=None)
@given(shape=SHAPES, dtype=st.sampled_from(DTYPES[1:4]), seed=st.integers(0, 2**32 - 1), share=st.floats(0.0, 1.0))
def test_within_the_allowance_nothing_is_said(shape: tuple[int, ...], dtype: np.dtype, seed: int, share: float) -> None:
    random = np.random.default_rng(seed)
    reference = random.normal(size=shape).astype(dtype)
    wide = reference.astype(np.float64)
    allowance = np.abs(wide) * 2.0**-5 + 2.0**-5
    actual = (wide + share * 0.8 * allowance * random.uniform(-1.0, 1.0, shape)).astype(dtype)
    assert diagnose(reference, actual, allowance=lambda values: np.abs(values) * 2.0**-5 + 2.0**-5) is None


def large(rows: int = 4096, columns: int = 4096) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((rows, columns), np.float32)


@pytest.mark.slow
def test_64_mib_are_looked_at_in_bounded_memory() -> None:
    values = large()
    wrong = np.random.default_rng(1).standard_normal(values.shape, np.float32)  # nothing fits, so all is tried
    tracemalloc.start()
    assert diagnose(values, wrong) is None
    assert tracemalloc.get_traced_memory()[1] < 512 << 20
    tracemalloc.stop()


@pytest.mark.slow
def test_where_slices_were_left_out_the_sentence_says_about() -> None:
    values = large(64, 65536)
    actual = values.copy()
    actual[:, 65504:] = 0.0
    found = diagnose(values, actual)
    assert found is not None and found.sentence.endswith(
        "columns 65504..65535 are zero: the last 32 of 65536, a tile tail"
    )
    actual[:, 40_000:] = 0.0
    found = diagnose(values, actual)
    assert found is not None and "about the last" in found.sentence
