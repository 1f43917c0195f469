"""What a model would overflow in, told from what was measured while it was recorded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from tapml_tui.carve.entry import Stored
from tapml_tui.carve.plan import Plan, Ref
from tapml_tui.carve.prepare import Prepared
from tapml_tui.compare.forecast import LIMITS, Largest, Size, forecast, headroom, largest, looks_inside
from trace_format.model import NodeRef

_ALWAYS = "float16"
_NARROW_BYTES = 2
_NOTHING = Largest(-1.0)


def overflow_notes(prepared: Prepared, stored: Sequence[Mapping[Ref, Stored]]) -> list[str]:
    """A sentence for float16, and for each other narrow type in which something would overflow.

    Args:
        prepared: The graphs.
        stored: What was written of every case, by value.
    """
    found: dict[tuple[int, int], Largest] = {}
    for case, values in enumerate(stored):
        graph = prepared.graph_of_case[case]
        for node, here in _largest(prepared.plans[graph], values).items():
            if here.magnitude > found.get((graph, node), _NOTHING).magnitude:
                found[graph, node] = here
    nodes = [(prepared.plans[graph].steps[node].node.name, item) for (graph, node), item in sorted(found.items())]
    top = max((item.magnitude for _, item in nodes), default=0.0)
    return [forecast(nodes, dtype) for dtype in LIMITS if nodes and (dtype == _ALWAYS or headroom(top, dtype) < 1)]


def _largest(plan: Plan, values: Mapping[Ref, Stored]) -> dict[int, Largest]:
    found = {}
    for index, step in enumerate(plan.steps):
        outputs = _sizes((NodeRef(index, i) for i, meta in enumerate(step.metas) if _is_wide(meta)), values)
        if any(size.peak is not None for size in outputs):
            inputs = _sizes(step.reads, values) if looks_inside(step.node.op) else ()
            found[index] = largest(step.node.op, step.node.args, inputs, outputs)
    return found


def _sizes(refs: Iterable[Ref], values: Mapping[Ref, Stored]) -> list[Size]:
    stored = map(values.get, refs)
    return [one.size for one in stored if one is not None and one.size is not None]


def _is_wide(meta: Any) -> bool:
    """Whether it holds more than the types of the forecast: others have overflowed already."""
    return isinstance(meta, torch.Tensor) and meta.itemsize > _NARROW_BYTES
