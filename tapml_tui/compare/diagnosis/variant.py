"""One way to do an operator wrongly, and whether an operator was done rightly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tapml_tui.compare.diagnosis.evidence import Floats
from tapml_tui.compare.diagnosis.result import Kind

LIMIT = 1 << 22
"""Elements of inputs up to which operators are computed again."""

WORK = 1 << 27
"""Multiplications that one computation may cost: a tenth of a second."""

_CLOSE = 0.02


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


def matches(computed: Floats, reference: Floats) -> bool:
    """Whether this is the reference, up to the rounding of any dtype."""
    finite = np.isfinite(reference).reshape(-1)
    expected, got = reference.reshape(-1)[finite], computed.reshape(-1)[finite]
    if not expected.size or not np.isfinite(got).all():
        return False
    return float(np.mean((got - expected) ** 2)) <= _CLOSE**2 * float(np.mean(expected**2))
