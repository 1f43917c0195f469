"""The criteria of others, with their defaults: each says whether two arrays agree."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np


def _flat(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64).reshape(-1)


def _close(rtol: float, atol: float) -> Callable[[np.ndarray, np.ndarray], bool]:
    return lambda reference, actual: bool(np.allclose(_flat(actual), _flat(reference), rtol=rtol, atol=atol))


def _mlc_debug_compare(reference: np.ndarray, actual: np.ndarray) -> bool:
    """`mlc_llm.testing.debug_compare`: np.testing.assert_allclose(rtol=1e-2, atol=1), for which NaN equals NaN."""
    return bool(np.allclose(_flat(actual), _flat(reference), rtol=1e-2, atol=1.0, equal_nan=True))


def _cosine(reference: np.ndarray, actual: np.ndarray) -> bool:
    one, other = _flat(reference), _flat(actual)
    sizes = np.linalg.norm(one) * np.linalg.norm(other)
    return bool(one @ other >= 0.99 * sizes) if sizes else bool((one == other).all())


def _pearson(reference: np.ndarray, actual: np.ndarray) -> bool:
    one, other = _flat(reference), _flat(actual)
    return _cosine(one - one.mean(), other - other.mean())


def _snr(reference: np.ndarray, actual: np.ndarray) -> bool:
    one, other = _flat(reference), _flat(actual)
    noise = ((one - other) ** 2).sum()
    return bool((one**2).sum() >= 100.0 * noise)  # 20 dB


def _mse(reference: np.ndarray, actual: np.ndarray) -> bool:
    return bool(((_flat(reference) - _flat(actual)) ** 2).mean() <= 1e-4)


@cache
def _simple() -> Callable[..., Any]:
    from polygraphy.comparator import CompareFunc
    from polygraphy.logger import G_LOGGER

    G_LOGGER.module_severity = G_LOGGER.CRITICAL
    return CompareFunc.simple()


def _polygraphy(reference: np.ndarray, actual: np.ndarray) -> bool:
    """Polygraphy's own comparator with its defaults: numpy only, no TensorRT."""
    from polygraphy.comparator import IterationResult

    results = [IterationResult({"out": one.astype(np.float32)}) for one in (reference, actual)]
    with contextlib.redirect_stdout(io.StringIO()):
        return all(bool(result) for result in _simple()(*results).values())


CRITERIA: dict[str, Callable[[np.ndarray, np.ndarray], bool]] = {
    "mlc debug_compare": _mlc_debug_compare,
    "allclose 1e-5": _close(1e-5, 1e-5),
    "allclose 1e-3": _close(1e-3, 1e-3),
    "cosine 0.99": _cosine,
    "PCC 0.99": _pearson,
    "SNR 20 dB": _snr,
    "MSE 1e-4": _mse,
    "Polygraphy": _polygraphy,
}
"""By name: whether two arrays agree."""


def judged(reference: np.ndarray, actual: np.ndarray) -> frozenset[str]:
    """The names of the criteria that find a fault."""
    with np.errstate(all="ignore"):
        return frozenset(name for name, agree in CRITERIA.items() if not agree(reference, actual))
