"""From a node of a trace to the unit that a backend executes, and to what its result is judged by."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TypeAlias

from tapml_tui.backends.protocol import Call, CallArgument, CallResult, NamedConstant, TensorSpec, Unit, UnitInput
from tapml_tui.engine.commands import Mode
from tapml_tui.engine.promises import Promise, promise_of
from trace_format import Trace, TraceError
from trace_format.model import Argument, InputRef, Named, NodeRef, Value

Ref: TypeAlias = NodeRef | InputRef

DAMAGED = "the trace is damaged here"

KEPT = 4096
"""Bindings that are kept: some windows of nodes in flight, with room for the views."""


@dataclass(frozen=True, slots=True)
class Binding:
    """A node in one case, ready for a backend.

    Attributes:
        unit: What to compute.
        operands: Which value each unit input is.
        outputs: Which of the node's outputs each unit output is.
        values: What was recorded of each unit output.
    """

    unit: Unit
    operands: tuple[Ref, ...]
    outputs: tuple[int, ...]
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Unbound:
    """A node that no backend executes, and why."""

    reason: str


def bind(trace: Trace, case: int, index: int) -> Binding | Unbound:
    """The unit of one node in one case. Sizes and numbers are written into it as constants."""
    graph = trace.graphs[trace.cases[case].graph]
    node = graph.node(index)
    outputs = [(i, trace.value(case, NodeRef(index, i))) for i in range(node.outputs)]
    tensors = [(i, value) for i, value in outputs if value.dtype]
    if not tensors:
        notes = [value.note for _, value in outputs if value.note]
        if any(value.scalar is not None for _, value in outputs):
            return Unbound("gives a number, no tensor: it is taken from the trace")
        return Unbound(f"nothing was recorded: {notes[0] if notes else node.note or 'no value'}")

    operands: dict[Ref, int] = {}
    specs: list[TensorSpec] = []
    missing: list[Ref] = []

    def resolve(argument: Argument) -> CallArgument:
        match argument:
            case NodeRef() | InputRef():
                if argument in operands:
                    return UnitInput(operands[argument])
                value = trace.value(case, argument)
                if value.scalar is not None:
                    return value.scalar
                if not value.dtype:
                    missing.append(argument)
                    return None
                operands[argument] = len(operands)
                specs.append(TensorSpec(value.dtype, value.shape))
                return UnitInput(operands[argument])
            case Named():
                return NamedConstant(argument.kind, argument.name)
            case tuple():
                return tuple(resolve(item) for item in argument)
        return argument

    call = Call(
        node.op, tuple(resolve(item) for item in node.args), tuple((name, resolve(item)) for name, item in node.kwargs)
    )
    if missing:
        return Unbound("one of its inputs was not recorded, so its shape and type are unknown")
    return Binding(
        unit=Unit(
            calls=(call,),
            inputs=tuple(specs),
            outputs=tuple(TensorSpec(value.dtype, value.shape) for _, value in tensors),
            results=tuple(CallResult(0, i) for i, _ in tensors),
        ),
        operands=tuple(operands),
        outputs=tuple(i for i, _ in tensors),
        values=tuple(value for _, value in tensors),
    )


def executed(binding: Binding, mode: Mode) -> bool:
    """Whether there is a reason to execute a node: something to judge, or, chained, to hand on."""
    if any(promised(binding, place) is not None for place in range(len(binding.values))):
        return True
    if mode is Mode.ISOLATED:
        return any(not not_comparable(value) for value in binding.values)
    return any(0 not in value.shape and value.reproducible is not False for value in binding.values)


def promised(binding: Binding, place: int) -> Promise | None:
    """What an output is judged by, if that is not the recorded value."""
    value = binding.values[place]
    if 0 in value.shape:
        return None
    return promise_of(binding.unit.calls[0], binding.outputs[place], reproducible=value.reproducible)


def not_comparable(value: Value) -> str:
    """Why an output cannot be judged, or ""."""
    if 0 in value.shape:
        return "empty: nothing to compare"
    if value.reproducible is False:
        return "the source gives other bits each time: nothing to compare with, its recorded value is used"
    if value.tensor is None:
        return f"nothing to compare with: {value.note or 'its value was not recorded'}"
    return ""


class Bindings:
    """The bindings of a trace, a bounded number of them kept."""

    def __init__(self, trace: Trace) -> None:
        """Bindings of `trace`, made when asked for."""
        self._trace = trace
        self._kept: OrderedDict[tuple[int, int], Binding | Unbound] = OrderedDict()

    def get(self, case: int, node: int) -> Binding | Unbound:
        """The binding of a node in a case; where the trace is damaged, a node that no backend executes."""
        key = (case, node)
        found = self._kept.get(key)
        if found is None:
            try:
                found = bind(self._trace, case, node)
            except TraceError as error:
                found = Unbound(f"{DAMAGED}: {error}")
            self._kept[key] = found
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return found
