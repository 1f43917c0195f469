"""How far the values of two runs are apart, at the speed at which they come from the disk."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TypeAlias

import numpy as np

from tapml_tui.compare.distances import max_abs
from tapml_tui.interpreter import giving_way
from trace_format import Run, RunOutput, RunRecord
from trace_format.value_codec import value_bytes

_BLOCK = 1 << 26
_AHEAD = 1 << 30  # bytes: what is read too far ahead is forgotten by the system before it is needed
_THREADS = 2  # checksums and subtractions of what is large leave Python to others meanwhile; more wait for each other
_SWITCH_SECONDS = 2e-4  # after which Python lets the thread that reads go on to the next file: the disk waits for it
_LARGE = 1 << 20  # bytes: below it, two threads would wait for each other's Python

Pair: TypeAlias = tuple[RunRecord, RunRecord]
_Key: TypeAlias = tuple[str, bytes | None, bytes | None]


@contextmanager
def read_ahead(*paths: str) -> Iterator[Mapping[str, threading.Event]]:
    """Have files read in the background, one after the other; each event says that one is in memory.

    Who touches a page of a mapping that is not there yet stops all of Python, and makes the disk seek. What cannot
    be opened or read is said by who needs it.
    """
    done, there = threading.Event(), {path: threading.Event() for path in paths}

    def read() -> None:
        with open(os.devnull, "wb", buffering=0) as nowhere:
            for path, ready in there.items():
                # The system moves them: after each block that we read ourselves we would wait for Python.
                with suppress(OSError, ValueError), open(path, "rb", buffering=0, opener=_at_once) as file:
                    for start in range(0, _AHEAD // len(paths), _BLOCK):
                        if done.is_set() or not os.sendfile(nowhere.fileno(), file.fileno(), start, _BLOCK):
                            break
                ready.set()

    thread = threading.Thread(target=read)
    with giving_way(_SWITCH_SECONDS):
        thread.start()
        try:
            yield there
        finally:
            done.set()
            thread.join()


def _at_once(path: str, flags: int) -> int:
    """Without waiting for somebody to write, should it be a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


def distances(run_a: Run, run_b: Run, pairs: Sequence[Pair | None]) -> list[float | None]:
    """Largest absolute difference over the outputs of each pair; None where they cannot be subtracted.

    Equal bytes are not looked at, and nothing twice.

    Raises:
        BlockDamaged: If bytes are not what was written.
    """
    known: dict[_Key, float] = {}
    outputs = [_subtractable(pair) for pair in pairs]
    each = {_key(*both): both for found in outputs for both in found}
    large = [(key, both) for key, both in each.items() if _is_large(both[0])]

    def subtract(left: Iterable[tuple[_Key, tuple[RunOutput, RunOutput]]]) -> None:
        for key, (a, b) in left:
            known[key] = 0.0 if a.digest == b.digest else max_abs(run_a.array(a), run_b.array(b))

    subtract((key, both) for key, both in each.items() if not _is_large(both[0]))
    if large:
        left = iter(large)  # all threads take from the same
        with ThreadPoolExecutor(_THREADS) as pool:
            for one in [pool.submit(subtract, left) for _ in range(_THREADS)]:
                one.result()
    return [_largest([known[_key(*both)] for both in found]) for found in outputs]


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
