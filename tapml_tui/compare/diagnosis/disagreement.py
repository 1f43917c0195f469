"""When metrics disagree: a cosine that others would pass, of a result that is clearly wrong."""

from __future__ import annotations

import math

import numpy as np

from tapml_tui.compare.diagnosis.evidence import Evidence, Floats
from tapml_tui.compare.diagnosis.result import Kind

_PASSES = 0.99
"""From here on a cosine, or a correlation, counts as right elsewhere."""

_CLEARLY = 0.05
"""Of the root mean square of the reference: how far an element has to be off for that to mislead."""

_TELLING = frozenset(
    {Kind.SCALE, Kind.OFFSET, Kind.SIGN, Kind.SATURATED, Kind.TAIL, Kind.PERIODIC, Kind.SLICE}
    | {Kind.SLICE_SCALE, Kind.SLICE_OFFSET, Kind.BIAS, Kind.INPUT}
)
"""What says why: the direction stays, or few elements are wrong."""


def blinded(evidence: Evidence, kind: Kind) -> str:
    """What to say first where a metric that is blind to this fault is near one: "cosine 1.0000, but ", or ""."""
    if kind not in _TELLING or not evidence.finite.all():
        return ""
    reference, actual = evidence.reference.reshape(-1), evidence.actual.reshape(-1)
    size = math.sqrt(float(np.mean(np.square(reference))))
    if float(np.abs(actual - reference).max()) < _CLEARLY * size:
        return ""
    centred = (reference - reference.mean(), actual - actual.mean())
    for name, likeness in (("cosine", _cosine(reference, actual)), ("Pearson correlation", _cosine(*centred))):
        if likeness >= _PASSES:
            return f"{name} {_cut(likeness)}, but "
    return ""


def _cosine(left: Floats, right: Floats) -> float:
    lengths = math.sqrt(float(left @ left)) * math.sqrt(float(right @ right))
    return float(left @ right) / lengths if lengths > 0.0 else 0.0


def _cut(likeness: float) -> str:
    """Four digits, not rounded up to one."""
    return f"{1.0 if likeness > 1.0 - 1e-7 else math.floor(likeness * 1e4) / 1e4:.4f}"
