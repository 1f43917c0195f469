"""How Python's interpreter shares its time, for a while."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def giving_way(seconds: float) -> Iterator[None]:
    """A thread lets go of the interpreter after so long, if another asks for it; Python's own is 5 ms."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, seconds))
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@contextmanager
def uncollected() -> Iterator[None]:
    """Nobody looks for cycles: for who makes many objects that hold none, and would be looked through ever again."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()
