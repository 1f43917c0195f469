"""What kind of wrong a kernel's result is: looked at once it has been found wrong, in bounded time and memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from tapml_tui.compare import Comparison
from tapml_tui.compare.diagnosis import Diagnosis, diagnose
from tapml_tui.engine.comparing import Visit
from tapml_tui.engine.executor import Executor
from tapml_tui.engine.units import Binding
from tapml_tui.engine.values import Stored, load
from trace_format.model import NodeRef

STALE = 4
"""Earlier results that are held against this one: so many of this kernel, and so many of this node."""

LOOKED_BACK = 256
"""How many nodes before this one may have used the same kernel."""

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found out about an output that is wrong.

    Attributes:
        output: Which of the node's outputs.
        diagnosis: What kind of wrong it is; None if nothing fits.
        comparison: What shows that it is wrong.
        expected: What was compared there: what it should be,
        computed: and what the kernel gave.
    """

    output: int
    diagnosis: Diagnosis | None
    comparison: Comparison
    expected: Stored
    computed: Stored


def examine(
    executor: Executor,
    visit: Visit,
    comparisons: Sequence[Comparison | None],
    *,
    expected: Sequence[Stored | None],
    computed: Sequence[Stored],
    inputs: Sequence[Stored],
) -> Finding | None:
    """Look at the first output that is outside of what it may be.

    Args:
        executor: Knows other results of the same kernel.
        visit: The node.
        comparisons: Of each output; None where it was not compared.
        expected: What each output should be.
        computed: What it is.
        inputs: What the kernel read.

    Returns:
        None if no output is wrong, or it has the wrong shape or dtype, for which no more words are needed.
    """
    for place, comparison in enumerate(comparisons):
        if comparison is None or comparison.passed or not comparison.compared:
            continue
        should_be, is_now = expected[place], computed[place]
        reference, actual = load(should_be) if should_be is not None else None, load(is_now)
        if should_be is None or reference is None or actual is None:
            continue
        law = comparison.law
        diagnosis = diagnose(
            reference,
            actual,
            allowance=0.0 if law is None else _of_magnitudes(law.allowance),
            inputs=[array for array in map(load, inputs) if array is not None],
            operator=visit.binding.unit.calls[0].op,
            stale=list(_earlier(executor, visit, place, reference)),
        )
        return Finding(visit.binding.outputs[place], diagnosis, comparison, should_be, is_now)
    return None


def _of_magnitudes(law: Callable[[Array], Array]) -> Callable[[Array], Array]:
    return lambda values: law(np.abs(values))


def _earlier(executor: Executor, visit: Visit, place: int, reference: Array) -> Iterator[Array]:
    """What the kernel may have left behind: its results for other cases, and for the nodes before this one."""
    yield from islice(_of_other_cases(executor, visit, place, reference), STALE)
    yield from islice(_of_nodes_before(executor, visit, place), STALE)


def _of_nodes_before(executor: Executor, visit: Visit, place: int) -> Iterator[Array]:
    view, unit = visit.view, visit.binding.unit
    for node in range(visit.node - 1, max(-1, visit.node - 1 - LOOKED_BACK), -1):
        binding = executor.bindings.get(view.case, node)
        if isinstance(binding, Binding) and binding.unit.signature == unit.signature:
            value = executor.references.array(binding.values[place])
            if value is not None:
                yield value


def _of_other_cases(executor: Executor, visit: Visit, place: int, reference: Array) -> Iterator[Array]:
    view, output = visit.view, visit.binding.outputs[place]
    for case in executor.cases_of(view.graph):
        if case != view.case:
            value = executor.references.array(executor.references.value(case, NodeRef(visit.node, output)))
            if value is not None and value.shape == reference.shape:
                yield value
