"""What a diagnosis says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Kinds of wrong that there are words for."""

    SCALE = "scale"
    OFFSET = "offset"
    SIGN = "sign"
    SATURATED = "saturated"
    OVERFLOW = "overflow"
    NAN = "nan"
    UNWRITTEN = "unwritten"
    UNINITIALISED = "uninitialised"
    TAIL = "tail"
    PERIODIC = "periodic"
    SLICE = "slice"
    TRANSPOSED = "transposed"
    PERMUTED = "permuted"
    SHIFTED = "shifted"
    BROADCAST = "broadcast"
    WRONG_INDEX = "wrong_index"
    WRONG_AXIS = "wrong_axis"
    STALE = "stale"
    MASK = "mask"
    SLICE_SCALE = "slice_scale"
    SLICE_OFFSET = "slice_offset"
    BIAS = "bias"
    INPUT = "input"
    MISSING_TERM = "missing_term"
    FORMULA = "formula"
    CAST = "cast"
    LOW_PRECISION = "low_precision"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The simplest explanation that fits.

    Attributes:
        kind: Which kind of wrong.
        sentence: What is wrong, with its numbers. Printable: it holds nothing out of a trace but
            the names of axes that the caller passed.
        residual: What the explanation leaves over: the root mean square of the remaining error, in
            allowances.
        freedom: How many numbers it was free to choose. Both rank explanations (`arbiter`).
    """

    kind: Kind
    sentence: str
    residual: float = 0.0
    freedom: float = 1.0
