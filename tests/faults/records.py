"""What came of one kernel of the suite."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

BENIGN = "benign"
GROSS, PERCENT, EIGHTFOLD = "gross", "1%", "8x"
STRENGTHS = (GROSS, PERCENT, EIGHTFOLD)


@dataclass(frozen=True)
class Record:
    """One kernel, judged.

    Attributes:
        mode: "isolated" or "chained".
        operator: Namespace and name.
        dtype: Of the output.
        kind: Of fault, or the name of a benign variant.
        strength: Of `STRENGTHS`, or `BENIGN`.
        found: Whether we raise an alarm about it.
        factor: x times the floor.
        peers: The criteria of others that raise one.
        envelopes: Its largest error, in units of the largest of the benign variants at the same place; 0 where every
            element is, or is next to, a healthy one, or between them: a rounding that falls the other way.
        diagnosis: The kind that our diagnosis names first, "" if it says nothing.
        note: What is to be said of it besides: where, which node, what else lit up.
        weak: A wrong kernel that is none: its output lies within the benign envelope.
    """

    mode: str
    operator: str
    dtype: str
    kind: str
    strength: str
    found: bool
    factor: float
    peers: frozenset[str]
    envelopes: float
    diagnosis: str = ""
    note: str = ""

    @property
    def benign(self) -> bool:
        """Whether it must pass."""
        return self.strength == BENIGN

    @property
    def weak(self) -> bool:
        """Whether it is a wrong kernel whose output lies within the benign envelope: not counted."""
        return not self.benign and self.envelopes <= 1.0

    def to_json(self) -> dict[str, Any]:
        """What `from_json` takes."""
        return {**asdict(self), "found": bool(self.found), "peers": sorted(self.peers)}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Record:
        """The record that `to_json` told."""
        return cls(**{**told, "peers": frozenset(told["peers"])})

    def __str__(self) -> str:
        """One line for a list of findings."""
        where = f"{self.mode} {self.operator.partition('.')[2]} {self.dtype} {self.kind} {self.strength}"
        return f"{where}: x{self.factor:.3g}, {self.envelopes:.3g} envelopes {self.note}"


def faults(records: Iterable[Record]) -> list[Record]:
    """The wrong kernels that count."""
    return [record for record in records if not record.benign and not record.weak]


def largest_error(reference: np.ndarray, actual: np.ndarray) -> float:
    """Largest |actual - reference| in float64; infinite where one of them is not finite and the other not the same."""
    return float(_errors(reference, actual).max(initial=0.0))


def within(low: np.ndarray, high: np.ndarray, actual: np.ndarray) -> bool:
    """Whether every element is between two healthy ones, or the next number of the dtype beyond."""
    infinity = np.array(np.inf, actual.dtype)
    below, above = np.nextafter(low, -infinity), np.nextafter(high, infinity)
    with np.errstate(invalid="ignore"):  # a NaN may be a signalling one
        least, most, wide = (one.astype(np.float64) for one in (below, above, actual))
    return bool(((least <= wide) & (wide <= most)).all())


def _errors(reference: np.ndarray, actual: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        one, other = reference.astype(np.float64), actual.astype(np.float64)
        error = np.abs(one - other)
    error[one == other] = 0.0
    return np.nan_to_num(error, nan=np.inf, posinf=np.inf)
