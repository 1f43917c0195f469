"""The sums of products behind an output that is small enough to look at each of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tapml_tui.backends.protocol import Call, UnitInput
from tapml_tui.compare.precision import precision
from tapml_tui.compare.sums import straying
from tapml_tui.engine.units import Binding
from tapml_tui.engine.values import Stored, load

_FIRST = {"linear": 0, "mm": 0, "bmm": 0, "matmul": 0, "addmm": 1, "baddbmm": 1}
"""Which argument is the first factor; the second one follows. All but linear take that transposed."""


def straying_of(binding: Binding, inputs: Sequence[Stored | None], reference: np.ndarray) -> np.ndarray | None:
    """How far each sum of products of these inputs may stray from `reference`.

    None for what is no such sum, and for a large one.
    """
    unit, factors = precision(reference.dtype), _factors(binding.unit.calls[0])
    if unit is None or factors is None:
        return None
    rows, columns = (load(one) if one is not None else None for one in (inputs[at] for at in factors))
    if rows is None or columns is None or rows.ndim < 2 or columns.ndim < 2:
        return None
    transposed = ".linear." not in binding.unit.calls[0].op
    strays = straying(rows, columns.swapaxes(-1, -2) if transposed else columns, unit)
    return strays if strays is None or strays.shape == reference.shape else None


def _factors(call: Call) -> tuple[int, int] | None:
    """Which inputs of the unit are multiplied; None where something else is done, also to the sums (`alpha`)."""
    first = _FIRST.get((*call.op.split(".", 2), "", "")[1])
    if first is None or call.kwargs or len(call.args) < first + 2:
        return None
    left, right = call.args[first : first + 2]
    return (left.index, right.index) if isinstance(left, UnitInput) and isinstance(right, UnitInput) else None
