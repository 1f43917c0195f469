"""A noise floor where none was recorded, and one for other inputs than the recorded ones."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tapml_tui.compare.precision import precision, rounding
from tapml_tui.compare.summary import summarize
from trace_format.model import Floor


def rounding_bound(reference: np.ndarray, terms: float) -> Floor | None:
    """What rounding alone may do to a result that sums `terms` products per element.

    `rounding` times the root mean square of the reference, which stands for the partial sums.

    Returns:
        None for dtypes that are compared exactly.
    """
    unit = precision(reference.dtype)
    if unit is None:
        return None
    size = rounding(unit, terms) * (summarize(reference).rms or 0.0)
    return Floor(size, size, "bound")


def terms_of(inputs: Sequence[tuple[int, ...]], output: tuple[int, ...], *, multiplies: bool) -> float:
    """How many terms an element of the output sums, guessed from shapes.

    For (M, K) x (K, N) the sizes give sqrt(MK * KN / MN) = K; for a reduction, input over output.

    Args:
        inputs: Shapes of the inputs.
        output: Shape of the output.
        multiplies: Whether it sums products of two inputs.
    """
    result = math.prod(output)
    sizes = sorted((math.prod(shape) for shape in inputs), reverse=True)
    if not result or not sizes:
        return 1.0
    if multiplies and len(sizes) > 1:
        return max(1.0, math.sqrt(sizes[0] * sizes[1] / result))
    return max(1.0, sizes[0] / result)


def magnitude(array: np.ndarray) -> float:
    """The largest finite absolute value, 0 if there is none."""
    summary = summarize(array)
    return float(max(abs(summary.minimum or 0), abs(summary.maximum or 0)))


def scaled(floor: Floor, growths: Sequence[tuple[float, float]]) -> Floor:
    """A floor for inputs of another size than those that it was measured on.

    Rounding errors are relative to what is rounded, so the floor grows with the largest of the
    inputs and the output: a kernel is not to blame that what it reads has exploded upstream.

    Args:
        floor: Measured on the recorded inputs.
        growths: (recorded magnitude, magnitude now) of each input and output.
    """
    ratio = max([now / before for before, now in growths if before > 0 and math.isfinite(now)], default=1.0)
    return Floor(floor.max_abs * max(1.0, ratio), floor.rms * max(1.0, ratio), floor.origin)
