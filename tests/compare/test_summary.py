import ml_dtypes
import numpy as np
import pytest

from tapml_tui.compare import summarize


def test_statistics_leave_nan_and_inf_out() -> None:
    summary = summarize(np.array([[1.0, -3.0, np.nan], [np.inf, 0.0, 2.0]], np.float32))
    assert (summary.minimum, summary.maximum, summary.mean) == (-3.0, 2.0, 0.0)
    assert (summary.nan, summary.inf, summary.zeros, summary.shape) == (1, 1, 1, (2, 3))
    assert summary.rms == pytest.approx(np.sqrt(14 / 4))


def test_large_integers_keep_their_value() -> None:
    assert summarize(np.array([2**63 - 1, -1], np.int64)).maximum == 2**63 - 1


@pytest.mark.parametrize("array", [np.zeros((0, 3), np.float32), np.full(2, np.nan, np.float32)])
def test_without_finite_elements_there_is_no_range(array: np.ndarray) -> None:
    summary = summarize(array)
    assert summary.minimum is None and summary.mean is None


@pytest.mark.parametrize("dtype", [np.bool_, np.complex64, ml_dtypes.bfloat16, ml_dtypes.float8_e5m2, ml_dtypes.int4])
def test_every_dtype(dtype: object) -> None:
    summary = summarize(np.array([0, 1, 1, 0]).astype(dtype))
    assert (summary.minimum, summary.maximum, summary.mean, summary.zeros) == (0, 1, 0.5, 2)


def test_zero_dimensions() -> None:
    assert summarize(np.array(4, np.int32)).mean == 4.0
