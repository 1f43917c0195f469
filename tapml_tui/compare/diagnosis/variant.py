"""One way to do an operator wrongly, and how far a computation is from a result."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tapml_tui.compare.diagnosis.evidence import Floats
from tapml_tui.compare.diagnosis.result import Kind

LIMIT = 1 << 22
"""Elements of inputs up to which operators are computed again."""

WORK = 1 << 27
"""Multiplications that one computation may cost: a tenth of a second."""

CLOSE = 0.02
"""How far, at most, rounding in any dtype takes a result from what float64 gives."""


@dataclass(frozen=True)
class Variant:
    """A result that a wrong kernel would have.

    Attributes:
        kind: Which kind of wrong.
        words: What was done.
        values: What comes out, of the shape of the result.
    """

    kind: Kind
    words: str
    values: Floats


def distance(computed: Floats, reference: Floats) -> float:
    """Root mean square of the difference, in that of the reference; infinite where one of them is not finite."""
    finite = np.isfinite(reference).reshape(-1)
    expected, got = reference.reshape(-1)[finite], computed.reshape(-1)[finite]
    energy = float(np.mean(expected**2)) if expected.size else 0.0
    if energy == 0.0 or not np.isfinite(got).all():
        return math.inf
    return math.sqrt(float(np.mean((got - expected) ** 2)) / energy)
