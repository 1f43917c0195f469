"""Which operators would overflow in a narrower type, told from the sizes of recorded values alone.

An operator overflows if an element of its result does, or what it sums on the way: the mean of 1000 squares of
10 is 100, and their sum does not fit into float16. What is inside is forecast only where the recorded sizes
prove it, and is named, because a kernel that sums in float32 is spared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

LIMITS = {
    "float16": 65504.0,
    "bfloat16": (2 - 2.0**-7) * 2.0**127,
    "float8_e5m2": 57344.0,
    "float8_e4m3fn": 448.0,
}
"""The largest finite number of each type (IEEE 754-2019; OCP 8-bit Floating Point Specification 1.0, table 2)."""

_FLOAT32, _FLOAT64 = (2 - 2.0**-23) * 2.0**127, (2 - 2.0**-52) * 2.0**1023
"""Models mask with the lowest of these, or with what bfloat16 makes of it, and mean minus infinity."""

_MEANS = frozenset({"mean", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"})
_KNOWN_INSIDE = _MEANS | {"rms_norm", "linalg_vector_norm"}
_NAMED = 4


class Size(NamedTuple):
    """What is known of a tensor: how many elements, and `peak` and `rms` of the finite ones as in a trace's `Value`."""

    elements: int
    peak: float | None
    rms: float | None


class Largest(NamedTuple):
    """The largest magnitude of an operator, and where in it: "" for its result."""

    magnitude: float
    where: str = ""


def headroom(peak: float, dtype: str) -> float:
    """How many times larger a value could be before it leaves `dtype`; below 1 it has left it."""
    return LIMITS[dtype] / peak if peak else math.inf


def largest(op: str, args: Sequence[object], inputs: Sequence[Size], outputs: Sequence[Size]) -> Largest:
    """The largest magnitude that an operator certainly meets.

    Args:
        op: "aten.mean.dim".
        args: Its positional arguments, of which only numbers are looked at.
        inputs: Its tensor inputs in argument order; needed only if `looks_inside(op)`.
        outputs: Its tensor outputs.
    """
    result = max((size.peak for size in outputs if size.peak is not None and not _masks(size.peak)), default=0.0)
    inner = _inside(op, args, inputs[0], outputs[0]) if inputs and outputs and looks_inside(op) else ()
    return max(Largest(result), *inner, key=lambda found: found.magnitude) if inner else Largest(result)


def looks_inside(op: str) -> bool:
    """Whether `largest` knows what arises within this operator."""
    return _name(op) in _KNOWN_INSIDE


@lru_cache(1024)
def _name(op: str) -> str:
    return op.removeprefix("aten.").partition(".")[0]


def _inside(op: str, args: Sequence[object], source: Size, result: Size) -> tuple[Largest, ...]:
    """What arises within an operator; nothing of it is a guess."""
    name = _name(op)
    if not result.elements or source.peak is None or source.rms is None or _masks(source.peak):
        return ()
    each = source.elements / result.elements
    if name in _MEANS and result.peak is not None:  # the mean of n elements is their sum divided by n
        return (Largest(result.peak * each, "the sum before it is divided"),)
    if name == "rms_norm":
        return (Largest(source.peak**2, "the square of its largest input"),)
    if name == "linalg_vector_norm" and (len(args) < 2 or args[1] == 2):
        # One of the sums is not below their average: as many times the mean square as there are elements in each.
        return (Largest(max(source.peak**2, source.rms**2 * each), "the sum of squares"),)
    return ()


def _masks(peak: float) -> bool:
    least = 1 - 2.0**-7
    return least * _FLOAT32 <= peak <= _FLOAT32 or peak >= least * _FLOAT64


def forecast(nodes: Sequence[tuple[str, Largest]], dtype: str) -> str:
    """What is to be said of a model on a target that computes in `dtype`.

    Args:
        nodes: Name and largest magnitude of every operator that has one.
        dtype: One of `LIMITS`.

    Returns:
        A sentence, "" if there are no nodes.
    """
    if not nodes:
        return ""
    beyond = [node for node in nodes if headroom(node[1].magnitude, dtype) < 1]
    if not beyond:
        top = max(nodes, key=lambda node: node[1].magnitude)
        times = headroom(top[1].magnitude, dtype)
        room = f"fits {math.floor(times):,} times" if math.isfinite(times) else "is the largest"
        return f"no node would overflow in {dtype}: {_said(*top)} {room}"
    named = ", ".join(_said(*node) for node in beyond[:_NAMED])
    more = f" and {len(beyond) - _NAMED} more" if len(beyond) > _NAMED else ""
    return f"{len(beyond)} of {len(nodes)} nodes would overflow in {dtype}: {named}{more}"


def _said(name: str, found: Largest) -> str:
    return f"{name} ({found.magnitude:.3g}{f' in {found.where}' if found.where else ''})"
