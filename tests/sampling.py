"""How many random cases a test draws, and from which seed.

`make test` draws a fresh small sample each time and prints the seed; `TAPML_SEED=N` repeats
one. `make soak` sets `TAPML_SOAK` and runs the same tests with the full counts.
"""

from __future__ import annotations

import functools
import os
import random
from collections.abc import Callable
from typing import ParamSpec

P = ParamSpec("P")

SOAK = bool(os.environ.get("TAPML_SOAK"))
SEED = int(os.environ.get("TAPML_SEED") or random.SystemRandom().randrange(1 << 32))
# Workers of pytest-xdist and subprocesses inherit the seed that the header shows.
os.environ["TAPML_SEED"] = str(SEED)


_CHUNKS = int(os.environ.get("TAPML_SOAK_CHUNKS") or 1)


def count(quick: int, full: int) -> int:
    """`quick` in `make test`; in `make soak` this chunk's share of `full`."""
    return max(quick, -(-full // _CHUNKS)) if SOAK else quick


_draw = ""


def rng(name: str) -> random.Random:
    """A generator of its own for the test `name`: the same for the same seed, whatever else ran."""
    return random.Random(f"{SEED}/{_draw}{name}")


def but_for_chance(test: Callable[P, None]) -> Callable[P, None]:
    """For a law with a tail, which one sample of some hundreds is beyond: two in a row are no chance."""

    @functools.wraps(test)
    def either(*args: P.args, **kwargs: P.kwargs) -> None:
        global _draw
        try:
            test(*args, **kwargs)
        except AssertionError:
            _draw = "again/"
            try:
                test(*args, **kwargs)
            finally:
                _draw = ""

    return either
