"""The little that judging must know about operators: which outputs are indices."""

from __future__ import annotations

from typing import NamedTuple

from tapml_tui.backends.protocol import Call, CallArgument, UnitInput

_DIMENSION = {"sort": 1, "argsort": 1, "topk": 2, "kthvalue": 2, "max": 1, "min": 1, "median": 1, "mode": 1}
_FLAT = {"argmax": 1, "argmin": 1}  # over everything if no dimension is given


class Choice(NamedTuple):
    """Output `output` says where in input `values` along `dim` something lies."""

    output: int
    values: int
    dim: int | None


def choice_of(call: Call, *, near: bool = False) -> Choice | None:
    """Which output of a call holds indices among which ties are free, if any does.

    Args:
        call: A call out of a trace.
        near: Whether the values are only nearly the recorded ones. Then what was nearly equal may be equal now,
            or the other way round, so that the order of a stable sort is another, too.
    """
    name, overload = _name(call.op)
    stable = overload == "stable" and dict(call.kwargs).get("stable") is not False
    if (stable and not near) or not call.args or not isinstance(call.args[0], UnitInput):
        return None
    values = call.args[0].index
    if name in _FLAT:
        dim = _argument(call, _FLAT[name], None)
        return Choice(0, values, dim if isinstance(dim, int) else None)
    if name not in _DIMENSION or (name in ("max", "min", "median") and overload != "dim"):
        return None
    dim = _argument(call, _DIMENSION[name], -1)
    return Choice(0 if name == "argsort" else 1, values, dim) if isinstance(dim, int) else None


def _name(op: str) -> tuple[str, str]:
    """Name and overload; a trace may call an operator anything, also nothing."""
    _, name, overload = (*op.split(".", 2), "", "")[:3]
    return name, overload


def _argument(call: Call, position: int, default: CallArgument) -> CallArgument:
    return dict(call.kwargs).get("dim", call.args[position] if len(call.args) > position else default)


def name_of(call: Call) -> str:
    """`softmax` of `aten.softmax.int`."""
    return _name(call.op)[0]
