"""The words of a judgement: status, verdict, and one comparison of two arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tapml_tui.compare.noise import Law


class Status(StrEnum):
    """What became of a node. Nothing compared is never a pass."""

    NOT_RUN = "not_run"
    PASSED = "passed"
    UNSUPPORTED = "unsupported"
    FAILED = "failed"
    ERROR = "error"


class Verdict(StrEnum):
    """Whose fault it is, in a chained run."""

    NONE = ""
    CLEAN = "CLEAN"
    HEALED = "HEALED"
    INHERITED = "INHERITED"
    AMPLIFIED = "AMPLIFIED"
    LOCAL = "LOCAL"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One output, compared element by element with its reference.

    Attributes:
        passed: Whether every element is within what it is allowed.
        reason: One sentence, "" if it passed: what is wrong, with the number.
        factor: Worst error in units of what that element may be off ("x times the floor"); above 1 it fails.
        limit: The factor up to which an element passes.
        floor: What the worst element may be off (where nothing differs: a typical one), in the value's unit.
        floor_origin: "float64" (it was measured), "exact", "bound", or "override" (the user's own tolerance).
        compared: How many elements were compared.
        outside: How many of them were outside.
        max_abs: Largest absolute error.
        max_rel: Largest error relative to the reference element, where that is not zero.
        nan: NaN count in (reference, actual).
        inf: Inf count in (reference, actual).
        worst: Index of the element with the largest factor, or None if nothing differs.
        worst_values: (reference, actual) there, as Python numbers.
        override: In words, what the user allows instead of the rule, "" if nothing.
        law: What each element may be off; None where bits must agree, or nothing was compared.
    """

    passed: bool
    reason: str = ""
    factor: float = 0.0
    limit: float = 1.0
    floor: float = 0.0
    floor_origin: str = "float64"
    compared: int = 0
    outside: int = 0
    max_abs: float = 0.0
    max_rel: float = 0.0
    nan: tuple[int, int] = (0, 0)
    inf: tuple[int, int] = (0, 0)
    worst: tuple[int, ...] | None = None
    worst_values: tuple[complex | float | int | bool, complex | float | int | bool] | None = None
    override: str = ""
    law: Law | None = field(default=None, repr=False, compare=False)
