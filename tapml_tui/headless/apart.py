"""How far the values of two runs are apart, at the speed at which they come from the disk."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TypeAlias

import numpy as np

from tapml_tui.compare.distances import max_abs
from trace_format import Run, RunOutput, RunRecord

_BLOCK = 1 << 20
_AHEAD = 1 << 30  # bytes: what is read too far ahead is forgotten by the system before it is needed
_THREADS = 2  # checksums and subtractions leave Python to others meanwhile; more wait for each other

Pair: TypeAlias = tuple[RunRecord, RunRecord]


@contextmanager
def read_ahead(*paths: str) -> Iterator[None]:
    """Have files read in the background: who touches a page of a mapping that is not there yet stops all of Python.

    What cannot be opened or read is said by who needs it.
    """
    done = threading.Event()

    def read() -> None:
        block = bytearray(_BLOCK)
        for path in paths:
            with suppress(OSError), open(path, "rb", buffering=0, opener=_at_once) as file:
                for _ in range(_AHEAD // _BLOCK // len(paths)):
                    if done.is_set() or not file.readinto(block):
                        break

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
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
    known: dict[tuple[str, bytes | None, bytes | None], float] = {}
    outputs = [_subtractable(pair) for pair in pairs]
    left = iter({_key(*both): both for found in outputs for both in found}.items())

    def subtract() -> None:
        for key, (a, b) in left:  # both threads take from the same
            known[key] = 0.0 if a.digest == b.digest else max_abs(run_a.array(a), run_b.array(b))

    with ThreadPoolExecutor(_THREADS) as pool:
        for one in [pool.submit(subtract) for _ in range(_THREADS)]:
            one.result()
    return [float(np.max([known[_key(*both)] for both in found])) if found else None for found in outputs]


def _subtractable(pair: Pair | None) -> tuple[tuple[RunOutput, RunOutput], ...]:
    """The outputs of both, if all of them are kept and alike in dtype and shape."""
    if pair is None or len(pair[0].outputs) != len(pair[1].outputs):
        return ()
    found = tuple(zip(pair[0].outputs, pair[1].outputs, strict=True))
    possible = all((a.dtype, a.shape) == (b.dtype, b.shape) and a.digest and b.digest for a, b in found)
    return found if possible else ()


def _key(a: RunOutput, b: RunOutput) -> tuple[str, bytes | None, bytes | None]:
    return a.dtype, a.digest, b.digest
