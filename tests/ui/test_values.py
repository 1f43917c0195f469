"""Windows on tensors of any rank, against numpy."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tapml_tui.ui import numbers, values
from tapml_tui.ui.lines import text_of


@given(hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=6), st.data())
def test_a_window_shows_the_elements_of_its_axis(shape: tuple[int, ...], data: st.DataObject) -> None:
    array = np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)
    position = tuple(data.draw(st.integers(-2, 8)) for _ in shape)
    axis = data.draw(st.integers(-1, 5))
    count = data.draw(st.integers(1, 9))
    window = values.read_window(array, array + 1, position, axis, count)
    if 0 in shape:
        assert window.reference == ()
        return
    if not shape:
        assert window.reference == (0,)
        return
    assert all(0 <= at < extent for at, extent in zip(window.position, shape, strict=True))
    assert window.reference is not None
    assert window.actual is not None
    index = list(window.position)
    for offset, value in enumerate(window.reference):
        index[window.axis] = window.first + offset
        assert value == array[tuple(index)]
        assert window.actual[offset] == value + 1
    assert window.first <= window.position[window.axis] < window.first + len(window.reference)
    assert len(window.reference) == min(count, shape[window.axis])
    assert values.draw(window, 36)


def test_sides_of_other_shapes_are_not_put_side_by_side(array: np.ndarray) -> None:
    window = values.read_window(array, array[:1], (0, 0, 0), 2, 4)
    assert window.actual is None


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, np.float16, np.complex64, np.bool_])
def test_every_dtype_is_drawn(dtype: type) -> None:
    array = np.array([[0, 1], [1, 0]]).astype(dtype)
    window = values.read_window(array, array, (0, 0), 1, 2)
    assert window.reference is not None
    assert len(window.reference) == 2
    assert values.describe(values.summarise(array), name="source")
    assert "=" in text_of(values.draw(window, 40))


def test_a_summary_counts_what_is_not_finite() -> None:
    summary = values.summarise(np.array([1.0, np.nan, -2.0, np.inf], np.float32))
    assert (summary.low, summary.high, summary.nan, summary.inf) == (-2.0, 1.0, 1, 1)
    assert "1 NaN, 1 Inf" in text_of(values.describe(summary, name="target"))


def test_a_summary_of_much_says_how_much_it_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "SUMMARY_LIMIT", 10)
    assert "10 of 100" in text_of(values.describe(values.summarise(np.ones(100, np.float32)), name="source"))


def test_the_marked_element_and_the_difference_are_shown() -> None:
    reference = np.array([1.0, 2.0, 3.0], np.float32)
    text = text_of(values.draw(values.read_window(reference, reference * [1, 0, 1], (1,), 0, 3), 40))
    assert "→  1" in text
    assert "-2" in text.splitlines()[3]


@pytest.mark.parametrize(
    ("value", "width", "text"),
    [
        (-1.4901161e-08, 8, "-1.5e-08"),
        (-1.4901161e-08, 12, "-1.4901e-08"),
        (0.1234567, 8, "0.12346"),
        (-12345.678, 6, "-12346"),
        (float("nan"), 8, "nan"),
        (-123456, 4, "-12…"),
    ],
)
def test_a_number_keeps_its_exponent_where_there_is_little_room(value: float, width: int, text: str) -> None:
    assert numbers.narrow(value, width) == text
