"""How far the values of two runs are apart, at the speed at which they come from the disk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tapml_tui.compare.distances import max_abs
from trace_format import Run, RunOutput, RunRecord, TraceError
from trace_format.text import printable
from trace_format.value_codec import value_bytes

_THREADS = 2  # checksums and subtractions of what is large leave Python to others meanwhile; more wait for each other
_LARGE = 1 << 20  # bytes: below it, two threads would wait for each other's Python

Pair: TypeAlias = tuple[RunRecord, RunRecord]
_Key: TypeAlias = tuple[str, bytes | None, bytes | None]


def distances(run_a: Run, run_b: Run, pairs: Sequence[Pair | None]) -> list[float | None]:
    """Largest absolute difference over the outputs of each pair; None where they cannot be subtracted.

    Equal bytes are not looked at, and nothing twice.

    Raises:
        TraceError: If bytes are not what was written, or not there: of which file, it says.
    """
    known: dict[_Key, float] = {}
    outputs = [_subtractable(pair) for pair in pairs]
    each = {_key(*both): both for found in outputs for both in found}
    large = [(key, both) for key, both in each.items() if _is_large(both[0])]

    def subtract(left: Iterable[tuple[_Key, tuple[RunOutput, RunOutput]]]) -> None:
        for key, (a, b) in left:
            known[key] = 0.0 if a.digest == b.digest else max_abs(_array(run_a, a), _array(run_b, b))

    subtract((key, both) for key, both in each.items() if not _is_large(both[0]))
    if large:
        left = iter(large)  # all threads take from the same
        with ThreadPoolExecutor(_THREADS) as pool:
            for one in [pool.submit(subtract, left) for _ in range(_THREADS)]:
                one.result()
    return [_largest([known[_key(*both)] for both in found]) for found in outputs]


def _array(run: Run, output: RunOutput) -> npt.NDArray[Any]:
    try:
        return run.array(output)
    except TraceError as error:
        raise type(error)(f"{printable(str(run.path))}: {error.message}", error.offset) from None


def _largest(found: list[float]) -> float | None:
    """NaN if one of them is."""
    if len(found) < 2:  # of nearly every node
        return found[0] if found else None
    return float(np.max(found))


def _subtractable(pair: Pair | None) -> tuple[tuple[RunOutput, RunOutput], ...]:
    """The outputs of both, if all of them are kept and alike in dtype and shape."""
    if pair is None or len(pair[0].outputs) != len(pair[1].outputs):
        return ()
    found = tuple(zip(pair[0].outputs, pair[1].outputs, strict=True))
    possible = all((a.dtype, a.shape) == (b.dtype, b.shape) and a.digest and b.digest for a, b in found)
    return found if possible else ()


def _key(a: RunOutput, b: RunOutput) -> _Key:
    return a.dtype, a.digest, b.digest


def _is_large(output: RunOutput) -> bool:
    return value_bytes(output.dtype, output.shape, ()) >= _LARGE
