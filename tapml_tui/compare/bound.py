"""A noise floor for other inputs than the recorded ones."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tapml_tui.compare.summary import summarize
from trace_format.model import Floor


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
    ratio = max([1.0, *(now / before for before, now in growths if before > 0 and math.isfinite(now))])
    return floor._replace(max_abs=floor.max_abs * ratio, rms=floor.rms * ratio, excess=floor.excess * ratio)
