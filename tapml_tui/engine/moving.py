"""Operators that only move elements of their first argument: where each element of the result comes from."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tapml_tui.backends.protocol import Call, CallArgument
from tapml_tui.engine.operator_facts import name_of
from tapml_tui.engine.units import Binding

Index: TypeAlias = npt.NDArray[np.intp]
Recorded: TypeAlias = Callable[[CallArgument], "npt.NDArray[Any] | None"]
Move: TypeAlias = Callable[[Index, Call, Recorded], "list[Index]"]


def moved(index: Index, binding: Binding, recorded: Recorded) -> list[Index] | None:
    """The numbers of the elements that each output of a unit holds.

    Args:
        index: Numbers of the elements of the first argument, in its shape.
        binding: The unit.
        recorded: Gives the recorded elements of an operand.

    Returns:
        One per unit output, of its shape; None for an operator, or a way to call it, that is not known here.
    """
    call = binding.unit.calls[0]
    shapes = [value.shape for value in binding.values]
    if name_of(call) in _IN_ORDER:
        found = [index.reshape(shape) for shape in shapes if math.prod(shape) == index.size]
    elif name_of(call) in _MOVES and not call.kwargs:
        try:
            every = _MOVES[name_of(call)](index, call, recorded)
        except (ValueError, IndexError, TypeError):  # arguments that the operator does not have
            return None
        found = [every[output] for output in binding.outputs if output < len(every)]
    elif name_of(call) in ("expand", "broadcast_to"):
        found = [np.broadcast_to(index, shape) for shape in shapes if _broadcasts(index.shape, shape)]
    else:
        return None
    return found if [one.shape for one in found] == shapes else None


_IN_ORDER = frozenset(
    "view _unsafe_view reshape unsqueeze squeeze flatten alias clone detach contiguous lift_fresh_copy".split()  # noqa: SIM905
)


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(shape, to) == to
    except ValueError:
        return False


def _whole(call: Call, position: int, default: int | None = None) -> int:
    given = call.args[position] if len(call.args) > position else None
    given = default if given is None else given
    if not isinstance(given, int) or isinstance(given, bool):
        raise TypeError("not a whole number")
    return given


def _axes(call: Call, position: int) -> tuple[int, ...]:
    given = call.args[position]
    if not isinstance(given, tuple):
        raise TypeError("no list of axes")
    return tuple(axis for axis in given if isinstance(axis, int))


def _transpose(index: Index, call: Call, recorded: Recorded) -> list[Index]:
    return [np.swapaxes(index, _whole(call, 1), _whole(call, 2))]


def _slice(index: Index, call: Call, recorded: Recorded) -> list[Index]:
    """slice(x, dim=0, start=None, end=None, step=1)."""
    dim, step = _whole(call, 1, 0), _whole(call, 4, 1)
    start, stop = _whole(call, 2, 0), _whole(call, 3, 1 << 62)
    return [np.moveaxis(np.moveaxis(index, dim, 0)[start:stop:step], 0, dim)]


def _select(index: Index, call: Call, recorded: Recorded) -> list[Index]:
    return [np.take(index, _whole(call, 2), axis=_whole(call, 1))]


def _index_select(index: Index, call: Call, recorded: Recorded) -> list[Index]:
    which = recorded(call.args[2])
    if which is None or which.dtype.kind not in "iu":
        raise TypeError("no indices")
    return [np.take(index, which, axis=_whole(call, 1))]


def _gather(index: Index, call: Call, recorded: Recorded) -> list[Index]:
    which = recorded(call.args[2])
    if which is None or which.dtype.kind not in "iu":
        raise TypeError("no indices")
    dim = _whole(call, 1) % max(index.ndim, 1)
    # Smaller along the other dimensions, it takes the first ones.
    first = tuple(slice(None) if axis == dim else slice(size) for axis, size in enumerate(which.shape))
    return [np.take_along_axis(index[first], which, dim)]


def _split(index: Index, call: Call, recorded: Recorded) -> list[Index]:
    """split(x, size or sizes, dim=0)."""
    dim, sizes = _whole(call, 2, 0), call.args[1]
    length = index.shape[dim]
    if isinstance(sizes, tuple):
        ends = np.cumsum([size for size in sizes if isinstance(size, int)])[:-1].tolist()
    else:
        ends = list(range(_whole(call, 1), length, _whole(call, 1)))
    return list(np.split(index, ends, axis=dim))


def _chunk(index: Index, call: Call, recorded: Recorded) -> list[Index]:
    dim = _whole(call, 2, 0)
    size = -(-index.shape[dim] // _whole(call, 1))
    return list(np.split(index, list(range(size, index.shape[dim], size)), axis=dim))


def _unbind(index: Index, call: Call, recorded: Recorded) -> list[Index]:
    return list(np.moveaxis(index, _whole(call, 1, 0), 0))


_MOVES: dict[str, Move] = {
    "transpose": _transpose,
    "permute": lambda index, call, recorded: [np.transpose(index, _axes(call, 1))],
    "t": lambda index, call, recorded: [index.T],
    "slice": _slice,
    "select": _select,
    "index_select": _index_select,
    "gather": _gather,
    "split": _split,
    "split_with_sizes": _split,
    "chunk": _chunk,
    "unbind": _unbind,
}
