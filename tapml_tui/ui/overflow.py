"""What would overflow on a target that computes in a narrower type, told from what was recorded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tapml_tui.compare.forecast import LIMITS, Largest, Size, headroom, largest
from tapml_tui.ui import numbers, theme
from tapml_tui.ui.lines import Line
from trace_format.model import Argument, InputRef, NodeRef

if TYPE_CHECKING:
    from tapml_tui.engine import Engine

HALF = "float16"
PLENTY = 1e6  # headroom that need not be said
_SHORT = {"float16": "fp16", "bfloat16": "bf16", "float8_e5m2": "e5m2", "float8_e4m3fn": "e4m3"}


def of_node(engine: Engine, node: int) -> Largest | None:
    """The largest magnitude that a node certainly meets; None where sizes were not recorded."""
    recorded = engine.graph.node(node)
    case = engine.snapshot.case
    outputs = [_size(engine, case, NodeRef(node, output)) for output in range(recorded.outputs)]
    if all(size.peak is None for size in outputs):
        return None
    inputs = [_size(engine, case, ref) for ref in _refs(recorded.args)]
    return largest(recorded.op, recorded.args, inputs, outputs)


def _refs(arguments: tuple[Argument, ...]) -> Iterator[NodeRef | InputRef]:
    for argument in arguments:
        if isinstance(argument, NodeRef | InputRef):
            yield argument
        elif isinstance(argument, tuple):
            yield from _refs(argument)


def _size(engine: Engine, case: int, ref: NodeRef | InputRef) -> Size:
    value = engine.trace.value(case, ref)
    elements = 1
    for extent in value.shape:
        elements *= extent
    return Size(elements, value.peak, value.rms)


def overflows(found: Largest | None) -> bool:
    """Whether half precision is too narrow for it."""
    return found is not None and headroom(found.magnitude, HALF) < 1


def line(found: Largest | None) -> list[Line]:
    """How much room is left in each narrower type; nothing where nothing is known."""
    if found is None:
        return []
    parts: Line = [("room   ", theme.DIM)]
    for dtype in LIMITS:
        left = headroom(found.magnitude, dtype)
        if left < 1:
            parts.append((f"{_SHORT[dtype]} over  ", theme.UNSUPPORTED))
        elif left < PLENTY:
            parts.append((f"{_SHORT[dtype]} {numbers.factor(left)}x  ", theme.TEXT))
    if len(parts) == 1:
        parts.append(("plenty in fp16 and fp8", theme.DIM))
    content = [parts]
    if found.where and headroom(found.magnitude, HALF) < 1:
        content.append([(f"       {numbers.scientific(found.magnitude)}: {found.where}", theme.DIM)])
    return content


def next_overflow(engine: Engine, after: int) -> int | None:
    """The next node, also from the start again, that would overflow in half precision. Reads every node: slow."""
    count = len(engine.graph)
    for step in range(1, count + 1):
        node = (after + step) % count
        if overflows(of_node(engine, node)):
            return node
    return None
