"""JSON that every parser reads.

JSON has no word for the floats that are no numbers, and Python's own `NaN` and `Infinity` are refused
by other languages. Here they are the strings "NaN", "Infinity" and "-Infinity"; a complex number is the
list [real, imaginary]. Everything outside of ASCII is escaped, so that no name out of a trace reaches a terminal raw.
"""

from __future__ import annotations

import json
import math
from typing import Any


def dumps(document: object, *, indent: int | None = None) -> str:
    """`document` (dicts, lists, tuples, numbers, text, None) as JSON."""
    return json.dumps(_plain(document), allow_nan=False, indent=indent)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, complex):
        return [_plain(value.real), _plain(value.imag)]
    return value
