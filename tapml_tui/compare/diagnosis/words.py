"""Numbers, indices and axes as an engineer would say them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

_LISTED = 4


def number(value: float) -> str:
    """Four significant digits, integers as such."""
    return f"{value:.4g}"


def multiple(scale: float) -> str:
    """A factor, with as many digits as tell it from 1."""
    away = abs(scale - 1.0)
    if away >= 0.095 or away == 0.0:
        return f"{scale:.3g}"
    return f"{scale:.{1 - math.floor(math.log10(away))}f}"


def blended(strength: float) -> str:
    """What to add to a sentence when only part of the result is wrong: "" at full strength."""
    return "" if abs(strength - 1.0) < 0.02 else f" (mixed in with a weight of {strength:.2g})"


def axis_names(shape: tuple[int, ...], operator: str, given: Sequence[str]) -> tuple[str, ...]:
    """The singular name of each axis: what the caller says, or what the operator suggests."""
    count = len(shape)
    if len(given) == count:
        return tuple(given)
    if count == 1:
        return ("element",)
    if count == 4 and any(word in operator for word in ("conv", "pool", "batch_norm")):
        return ("image", "channel", "row", "column")
    if count == 4 and any(word in operator for word in ("softmax", "attention", "matmul", "bmm")):
        return ("batch", "head", "row", "column")
    return (*(f"axis-{axis} slice" for axis in range(count - 2)), *("row", "column")[-count:])


def plural(name: str) -> str:
    """Of an axis name."""
    return f"{name[:-1]}es" if name == "indexs" else name + ("es" if name.endswith(("x", "ch", "s")) else "s")


def listed(indices: Sequence[int] | np.ndarray) -> str:
    """The first few, then how many more."""
    shown = ", ".join(str(int(i)) for i in indices[:_LISTED])
    more = len(indices) - _LISTED
    return shown if more <= 0 else f"{shown} and {more} more"


def where_axis(axis: int, ndim: int) -> str:
    """Says the axis where the name alone might leave a doubt."""
    return f" (axis {axis})" if ndim > 1 else ""
