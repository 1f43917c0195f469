"""Which elements of a value nothing reads: a mask hides them, or the next operator drops them.

Told conservatively: from a value through operators that only move elements, up to one that discards some. What
passes through arithmetic counts as read, as does what the model answers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tapml_tui.backends.protocol import Call, CallArgument, UnitInput
from tapml_tui.engine.moving import Recorded, moved
from tapml_tui.engine.operator_facts import name_of
from tapml_tui.engine.units import Bindings, Unbound
from tapml_tui.engine.values import References
from trace_format import Graph
from trace_format.model import NodeRef

Mask: TypeAlias = npt.NDArray[np.bool_]

LOOKED_AT = 1 << 24
"""Elements of a value at most: for more, all count as read."""

STEPS = 64
"""Operators that are followed at most."""

_SWALLOWS = 2.0**126
"""What is added to less than 2**100 and is itself as large as this stays what it is in every dtype that holds it."""
SMALL = 2.0**100


@dataclass(frozen=True, slots=True)
class Unread:
    """Elements that nothing reads.

    Attributes:
        always: Whatever they are.
        if_small: If they are finite and below `SMALL`: times zero, plus minus infinity.
    """

    always: Mask
    if_small: Mask

    def hides(self, reference: npt.NDArray[Any], actual: npt.NDArray[Any]) -> Mask:
        """Where it makes no difference which of the two is there."""
        with np.errstate(invalid="ignore", over="ignore"):
            small = (np.abs(_wide(reference)) < SMALL) & (np.abs(_wide(actual)) < SMALL)
        return np.asarray(self.always | (self.if_small & small))


class Liveness:
    """Follows values through a trace."""

    def __init__(self, references: References, bindings: Bindings) -> None:
        """Follow the values of the trace that `references` are of, where the recorded masks are."""
        self._trace = references.trace
        self._references = references
        self._bindings = bindings
        self._readers: dict[int, dict[NodeRef, list[int]]] = {}  # by graph

    def unread(self, case: int, ref: NodeRef) -> Unread | None:
        """The elements of a value that nothing reads; None if all of them may be, or there are too many to tell."""
        value = self._trace.value(case, ref)
        if math.prod(value.shape) > LOOKED_AT or not self._of_graph(case).get(ref):
            return None
        found = self._unread(case, ref, value.shape, STEPS)
        return found if found is not None and bool((found.always | found.if_small).any()) else None

    def _unread(self, case: int, ref: NodeRef, shape: tuple[int, ...], steps: int) -> Unread | None:
        """None: all are read."""
        graph = self._trace.graphs[self._trace.cases[case].graph]
        if steps <= 0 or any(output.value == ref for output in graph.outputs):
            return None
        always, if_small = np.ones(shape, np.bool_), np.ones(shape, np.bool_)
        for reader in self._of_graph(case).get(ref, ()):
            through = self._through(case, ref, reader, steps - 1)
            if through is None:
                return None
            always &= through.always
            if_small &= through.if_small
            if not (always | if_small).any():
                return None
        return Unread(always, if_small)

    def _through(self, case: int, ref: NodeRef, reader: int, steps: int) -> Unread | None:
        """What one reader leaves unread."""
        binding = self._bindings.get(case, reader)
        if isinstance(binding, Unbound):
            graph = self._trace.graphs[self._trace.cases[case].graph]
            if graph.op(reader) != "aten._assert_tensor_metadata.default":  # that reads no element
                return None
            return _all(self._trace.value(case, ref).shape)
        call, place = binding.unit.calls[0], binding.operands.index(ref)
        if not call.op.startswith("aten."):
            return None
        shape = binding.unit.inputs[place].shape

        def recorded(argument: CallArgument) -> npt.NDArray[Any] | None:
            if not isinstance(argument, UnitInput):
                return np.asarray(argument) if isinstance(argument, bool | int | float) else None
            stored = self._references.get(case, binding.operands[argument.index])
            return (
                None
                if stored is None
                else self._references.array(self._references.value(case, binding.operands[argument.index]))
            )

        masking = _MASKS.get(name_of(call))
        if masking is not None:
            return _fitted(masking(call, place, recorded), shape)
        if len(_uses(call, place)) != 1 or call.args[:1] != (UnitInput(place),):
            return None
        indices = moved(np.arange(math.prod(shape)).reshape(shape), binding, recorded)
        if indices is None:
            return None
        always, if_small = np.ones(math.prod(shape), np.bool_), np.ones(math.prod(shape), np.bool_)
        for output, index in zip(binding.outputs, indices, strict=True):
            further = self._unread(case, NodeRef(reader, output), index.shape, steps)
            read, if_large = (~further.always, ~further.if_small) if further is not None else (..., ...)
            always[index[read].reshape(-1)] = False
            if_small[index[if_large].reshape(-1)] = False
        return Unread(always.reshape(shape), if_small.reshape(shape))

    def _of_graph(self, case: int) -> dict[NodeRef, list[int]]:
        """The nodes that read each value."""
        number = self._trace.cases[case].graph
        if number not in self._readers:
            self._readers[number] = _readers(self._trace.graphs[number])
        return self._readers[number]


def _readers(graph: Graph) -> dict[NodeRef, list[int]]:
    indptr, nodes, outputs = graph.producers
    reading = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    found: dict[NodeRef, list[int]] = {}
    for reader, node, output in zip(reading.tolist(), nodes.tolist(), outputs.tolist(), strict=True):
        if node >= 0:
            listed = found.setdefault(NodeRef(node, output), [])
            if not listed or listed[-1] != reader:
                listed.append(reader)
    return found


def _wide(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return array if array.dtype.kind in "biufc" else array.astype(np.float32)


def _all(shape: tuple[int, ...]) -> Unread:
    return Unread(np.ones(shape, np.bool_), np.ones(shape, np.bool_))


def _fitted(unread: Unread | None, shape: tuple[int, ...]) -> Unread | None:
    """Brought to the shape of an operand that was broadcast: unread where all of its copies are."""
    if unread is None:
        return None
    return Unread(_unbroadcast(unread.always, shape), _unbroadcast(unread.if_small, shape))


def _unbroadcast(mask: Mask, shape: tuple[int, ...]) -> Mask:
    whole = np.broadcast_to(mask, np.broadcast_shapes(mask.shape, shape))
    axes = (
        range(whole.ndim - len(shape)),
        (axis + whole.ndim - len(shape) for axis, size in enumerate(shape) if size == 1),
    )
    reduced: Mask = np.asarray(whole.all(axis=tuple(axis for part in axes for axis in part), keepdims=True))
    return reduced.reshape(shape)


def _uses(call: Call, place: int) -> list[CallArgument]:
    """Where an input occurs among the arguments, also in lists."""
    found: list[CallArgument] = []
    waiting: list[CallArgument] = [*call.args, *(value for _, value in call.kwargs)]
    while waiting:
        argument = waiting.pop()
        if isinstance(argument, UnitInput):  # which is a tuple, too
            if argument.index == place:
                found.append(argument)
        elif isinstance(argument, tuple):
            waiting.extend(argument)
    return found


# Operators that discard elements by a recorded mask: (call, which input, recorded operands) -> what is unread of it.


def _only(call: Call, place: int, position: int) -> bool:
    """Whether an input occurs once, as this argument."""
    there = len(call.args) > position and call.args[position] == UnitInput(place)
    return there and len(_uses(call, place)) == 1


def _masked_fill(call: Call, place: int, recorded: Recorded) -> Unread | None:
    """masked_fill(x, mask, value): x where the mask is set."""
    mask = recorded(call.args[1]) if _only(call, place, 0) and len(call.args) > 1 else None
    return None if mask is None or mask.dtype != np.bool_ else Unread(mask, mask)


def _where(call: Call, place: int, recorded: Recorded) -> Unread | None:
    """where(condition, a, b): a where it is not set, b where it is."""
    if not call.args or not (_only(call, place, 1) or _only(call, place, 2)):
        return None
    condition = recorded(call.args[0])
    if condition is None or condition.dtype != np.bool_:
        return None
    unread = ~condition if _only(call, place, 1) else condition
    return Unread(unread, unread)


def _other(call: Call, place: int, recorded: Recorded) -> npt.NDArray[Any] | None:
    """The other operand of x + y or x * y, if there are no more arguments."""
    if len(call.args) != 2 or call.kwargs or not (_only(call, place, 0) or _only(call, place, 1)):
        return None
    other = recorded(call.args[1 if _only(call, place, 0) else 0])
    return None if other is None or other.dtype.kind in "bc" else _wide(other)


def _times_zero(call: Call, place: int, recorded: Recorded) -> Unread | None:
    """X * y: x where y is zero."""
    other = _other(call, place, recorded)
    return None if other is None else Unread(np.zeros(other.shape, np.bool_), np.asarray(other == 0))


def _plus_minus_infinity(call: Call, place: int, recorded: Recorded) -> Unread | None:
    """X + y: x where y is minus infinity, or the lowest number."""
    other = _other(call, place, recorded)
    if other is None:
        return None
    with np.errstate(over="ignore"):  # half precision has nothing between its lowest number and minus infinity
        low = np.asarray(other <= -_SWALLOWS)
    return Unread(np.zeros(other.shape, np.bool_), low)


_MASKS: dict[str, Callable[[Call, int, Recorded], Unread | None]] = {
    "masked_fill": _masked_fill,
    "where": _where,
    "mul": _times_zero,
    "add": _plus_minus_infinity,
}
