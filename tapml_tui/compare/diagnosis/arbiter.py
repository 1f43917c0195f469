"""Which explanation wins: the simplest that fits.

The groups are asked in turn, from explanations that leave nothing open to those that leave much. The
first group in which one fits ends the search; within it, the one that leaves least over wins. So every
value twice as large is a scale, and not a scale for each row; and one row scaled is that row, because a
scale for all does not fit (`fitting`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tapml_tui.compare.diagnosis import (
    addends,
    ceilings,
    coarse,
    masks,
    moves,
    regions,
    rounding,
    rows,
    scaled,
    slices,
    specials,
    values,
    variants,
)
from tapml_tui.compare.diagnosis import (
    stale as staleness,
)
from tapml_tui.compare.diagnosis.disagreement import blinded
from tapml_tui.compare.diagnosis.evidence import AllowanceLaw, Evidence, gather
from tapml_tui.compare.diagnosis.result import Diagnosis

Explanation: TypeAlias = Callable[[Evidence], Diagnosis | None]

_ORDER: tuple[tuple[Explanation, ...], ...] = (
    (values.constant,),
    (masks.mask,),
    (specials.garbage,),
    (specials.not_a_number,),
    (specials.overflow,),
    (rounding.coarse_arguments,),
    (
        staleness.stale,
        staleness.copied,
        addends.bias_input,
        variants.done_wrongly,
        values.scale,
        values.offset,
        addends.multiple_of_input,
        values.lost_sign,
        ceilings.saturated,
        moves.layouts,
        moves.shifted,
        moves.reversed_axis,
        moves.broadcast,
        scaled.scaled_slices,
        rows.taken_from_others,
        rounding.cast,
    ),
    (slices.slice_scale, slices.slice_offset, coarse.coarse_statistics),
    (regions.regional,),
    (values.some_signs, specials.lost_nan),
    (rounding.one_sided,),
    (coarse.low_precision,),
)
_SMALLEST = 0.03
"""Of an allowance: who leaves less than that over leaves nothing over."""
_CONVINCING = 10.0
_FEW_NUMBERS = 3.0
_INDEPENDENT = 4096
"""Elements that are witnesses at most: the noise of the reference is in every explanation, more or less of it."""


def diagnose(
    reference: npt.NDArray[Any],
    actual: npt.NDArray[Any],
    *,
    allowance: npt.NDArray[Any] | float | AllowanceLaw | None = None,
    inputs: Sequence[npt.NDArray[Any]] = (),
    operator: str = "",
    stale: Sequence[npt.NDArray[Any]] = (),
    axes: Sequence[str] = (),
) -> Diagnosis | None:
    """Say in words what kind of wrong `actual` is.

    At most `evidence.LOOKED_AT` elements are looked at: larger arrays are thinned along their axes, with
    both ends of each axis kept in one piece, so that tiles, rows and columns stay what they are.

    Args:
        reference: What the source computed.
        actual: What the target computed, of the same shape; any dtype.
        allowance: How far each element may be off: an array that broadcasts to the shape, a number, or
            a function of float64 values. None: a few ULPs of the larger of element and mean square.
        inputs: What the kernel read, in the order of its arguments.
        operator: Its name, such as "aten.softmax.int".
        stale: Earlier outputs and other cases' outputs, which a kernel that wrote nothing may show.
        axes: Singular names of the axes ("batch", "head", "row", "column"), if known.

    Returns:
        None where nothing fails, where shapes differ, or where nothing fits.
    """
    if reference.shape != actual.shape or reference.size == 0:
        return None
    with np.errstate(all="ignore"):
        evidence = gather(
            reference, actual, allowance=allowance, inputs=inputs, operator=operator, stale=stale, axes=axes
        )
        if not evidence.fails:
            return None
        for group in _ORDER:
            fitting: list[Diagnosis] = []
            for explain in group:
                one = explain(evidence)
                if one is not None and _worth(one, evidence):
                    fitting.append(one)
                    if one.freedom <= 1.0 and 0.0 < one.residual <= _SMALLEST:
                        break  # nothing simpler can be said, and nothing is left over
            if fitting:
                found = min(fitting, key=lambda one: _length(one, evidence.reference.size))
                return replace(found, sentence=blinded(evidence, found.kind) + found.sentence)
    return None


def _worth(found: Diagnosis, evidence: Evidence) -> bool:
    """Whether it explains more than so many free numbers would explain of noise."""
    size = evidence.reference.size
    if found.freedom > _FEW_NUMBERS and not evidence.convincing:
        return False
    nothing = 2.0 * size * math.log(max(float(np.sqrt(np.mean(np.square(evidence.error)))), _SMALLEST))
    left = 2.0 * size * math.log(max(found.residual, _SMALLEST))
    return found.freedom <= 2.0 or nothing - left > found.freedom * math.log(size)


def _length(found: Diagnosis, size: int) -> float:
    """What it takes to tell the error with this explanation: Schwarz's criterion (Annals of Statistics 6, 1978)."""
    left = 2.0 * min(size, _INDEPENDENT) * math.log(max(found.residual, _SMALLEST))
    return left + found.freedom * (math.log(size) + _CONVINCING)
