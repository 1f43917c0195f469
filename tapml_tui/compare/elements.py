"""Single elements as Python numbers, and as text that tells two of them apart."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from tapml_tui.compare.precision import precision

Number: TypeAlias = complex | float | int | bool


def plain(element: object) -> Number:
    """A Python number that prints well, of a numpy or ml_dtypes scalar."""
    array = np.asarray(element)
    match array.dtype.kind:
        case "b":
            return bool(array)
        case "i" | "u":
            return int(array)
        case "c":
            return complex(array)
    return float(array) if precision(array.dtype) is not None else int(array)


def told_apart(*values: Number) -> list[str]:
    """Numbers in six digits, or in all of them where six make them look equal."""
    short = [repr(value) if isinstance(value, int) else f"{value:.6g}" for value in values]
    return short if len(set(short)) == len(short) else [repr(value) for value in values]
