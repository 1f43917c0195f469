"""What kind of wrong a kernel's result is: looked at once it has been found wrong, in bounded time and memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from tapml_tui.compare import Comparison
from tapml_tui.compare.diagnosis import Diagnosis, diagnose
from tapml_tui.compare.noise import Known, Noise
from tapml_tui.engine.comparing import Visit
from tapml_tui.engine.executor import Executor
from tapml_tui.engine.factors import known_of
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
        call, read = visit.binding.unit.calls[0], [load(stored) for stored in inputs]
        diagnosis = diagnose(
            reference,
            actual,
            allowance=allowance_of(comparison, reference, actual, known_of(call, read, reference)),
            inputs=[array for array in read if array is not None],
            operator=call.op,
            stale=list(_earlier(executor, visit, place, reference)),
        )
        return Finding(visit.binding.outputs[place], diagnosis, comparison, should_be, is_now)
    return None


def allowance_of(
    comparison: Comparison, reference: Array, actual: Array, known: Known | None
) -> float | Array | Callable[[Array], Array]:
    """How far two healthy results may be apart, in the measure in which this one is `comparison.factor` off.

    Args:
        comparison: Of both.
        reference: What it should be, any shape.
        actual: What it is, of the same shape.
        known: What the inputs tell of each element, where they do.

    Returns:
        0 where bits must agree, the allowance of each element where that is known, else that of magnitudes.
    """
    law = comparison.law
    if law is None:
        return 0.0
    if known is None or not isinstance(law, Noise) or not math.isfinite(comparison.factor):
        return _of_magnitudes(law.allowance)
    with np.errstate(all="ignore"):
        wide, astray = reference.astype(np.float64), 0.0 if known.truth is None else known.truth - reference
        apart = replace(law, times=1.0).knowing(reference, reference, known) + np.nan_to_num(np.abs(astray), posinf=0.0)
        factors = np.abs(actual.astype(np.float64) - wide) / apart
        largest = float(np.max(factors, where=np.isfinite(factors), initial=0.0))
    return np.asarray(apart * (largest / comparison.factor))


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
