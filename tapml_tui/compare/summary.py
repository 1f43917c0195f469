"""What a view says of a tensor before it shows a single element."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tapml_tui.compare.precision import CHUNK, precision


@dataclass(frozen=True, slots=True)
class Summary:
    """Statistics of one array, over its finite elements.

    Attributes:
        dtype: Its name.
        shape: Sizes.
        minimum: Smallest finite element (real part where complex), None if there is none.
        maximum: Largest finite element.
        mean: Mean of the finite elements.
        rms: Root mean square of the finite elements.
        nan: How many NaN.
        inf: How many infinities.
        zeros: How many zeros.
    """

    dtype: str
    shape: tuple[int, ...]
    minimum: float | int | None
    maximum: float | int | None
    mean: float | None
    rms: float | None
    nan: int
    inf: int
    zeros: int


@np.errstate(invalid="ignore")  # a NaN may be a signalling one
def summarize(array: np.ndarray) -> Summary:
    """The statistics of an array, read in chunks: its memory does not grow with the array."""
    whole = precision(array.dtype) is None
    low = high = None
    total = squares = 0.0
    finite_count = nan = inf = zeros = 0
    flat = array.reshape(-1)
    for start in range(0, flat.size, CHUNK):
        chunk = flat[start : start + CHUNK]
        wide = chunk.astype(np.complex128).real if array.dtype.kind == "c" else chunk.astype(np.float64)
        zeros += int((chunk == 0).sum())
        if not whole:
            nan_here, inf_here = np.isnan(wide), np.isinf(wide)
            nan += int(nan_here.sum())
            inf += int(inf_here.sum())
            if nan_here.any() or inf_here.any():
                wide = wide[~(nan_here | inf_here)]
        if not wide.size:
            continue
        finite_count += wide.size
        total += float(wide.sum())
        squares += float(np.square(wide).sum())
        # Integers are kept as such: float64 does not hold all of int64.
        least, most = (int(chunk.min()), int(chunk.max())) if whole else (float(wide.min()), float(wide.max()))
        low = least if low is None else min(low, least)
        high = most if high is None else max(high, most)
    return Summary(
        dtype=str(array.dtype),
        shape=array.shape,
        minimum=low,
        maximum=high,
        mean=total / finite_count if finite_count else None,
        rms=float(np.sqrt(squares / finite_count)) if finite_count else None,
        nan=nan,
        inf=inf,
        zeros=zeros,
    )
