"""What there is to show of a node's kernel: the data of a test that leaves home."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tapml_tui.backends.protocol import TensorSpec
from tapml_tui.compare import Comparison, Status, Verdict
from tapml_tui.engine.commands import Mode
from tapml_tui.engine.comparing import Comparer, Visit
from tapml_tui.engine.executor import SOURCE, Executor
from tapml_tui.engine.operator_facts import choice_of
from tapml_tui.engine.placement import REFERENCE
from tapml_tui.engine.units import Binding, Unbound, not_comparable
from tapml_tui.engine.values import Outcome, Stored, load
from tapml_tui.engine.view import View
from tapml_tui.export import CannotExport, Exhibit, Output


@dataclass(frozen=True, slots=True)
class Origin:
    """What the target is, for those who run a test elsewhere: see `Exhibit`."""

    target: str = "llvm"
    device: str = ""
    lower: str = ""
    load: tuple[str, ...] = ()
    allow_ops: tuple[str, ...] = ()


def exhibit_of(executor: Executor, view: View, node: int, origin: Origin) -> Exhibit:
    """The exhibit of a node, as it was judged last.

    Its inputs are the recorded ones; those of the chained run where the kernel was seen to be wrong on those alone.

    Raises:
        CannotExport: If there is nothing to test.
        TraceError: If the trace is damaged there.
    """
    if not 0 <= node < len(view.graph):
        raise CannotExport(f"there is no node {node}")
    binding, result = executor.bindings.get(view.case, node), view.results.get(node)
    if isinstance(binding, Unbound):
        raise CannotExport(f"{view.graph.node_id(node)}: {binding.reason}")
    backend = view.placement.of(node)
    if result is not None and result.backend not in (SOURCE, REFERENCE):
        backend = result.backend
    live = result is not None and result.verdict is Verdict.LOCAL and any(not one.passed for one in result.live)
    recorded = executor.reference_inputs(view.case, binding)
    inputs = tuple(filter(None, executor.inputs(view, binding) if live else recorded))
    if len(inputs) < len(binding.operands) or any(stored.bytes is None for stored in inputs):
        raise CannotExport(f"{view.graph.node_id(node)}: one of its inputs was not recorded")

    visit = Visit(view, node, binding, backend, inputs)
    expected = executor.known(view, node, binding, SOURCE, inputs)
    comparer = Comparer(executor.references, executor.overrides)
    laws: Sequence[Comparison | None]
    if live and expected is not None:
        judged = [not not_comparable(value) for value in binding.values]
        compared = iter(comparer.with_source(visit, expected, expected))
        laws = [next(compared) if one else None for one in judged]
        outputs = expected.outputs
    else:
        outputs = tuple(_recorded(executor, binding))
        whole = comparer.with_reference(visit, Outcome((), outputs), inputs, Mode.ISOLATED)
        laws = [output.comparison for output in whole.outputs]
    shown = tuple(
        _output(index, stored, one) for index, stored, one in zip(binding.outputs, outputs, laws, strict=True)
    )
    if all(output.expected is None for output in shown):
        raise CannotExport(f"{view.graph.node_id(node)}: {not_comparable(binding.values[0]) or 'nothing was recorded'}")
    given = executor.known(view, node, binding, backend, inputs) if backend != SOURCE else None
    reason = result.reason if result is not None else ""
    if given is not None and not live:
        reason = comparer.with_reference(visit, given, inputs, Mode.ISOLATED).reason
    diagnosis = result.finding.diagnosis if result is not None and result.finding is not None else None
    choice = choice_of(binding.unit.calls[0])
    return Exhibit(
        node=view.graph.node_id(node),
        case=executor.case_name(view.case),
        unit=binding.unit,
        inputs=tuple(_array(stored) for stored in inputs),
        outputs=shown,
        target=origin.target,
        device=origin.device,
        lower=origin.lower,
        load=origin.load,
        allow_ops=origin.allow_ops,
        choice=None if choice is None else (binding.outputs.index(choice.output), choice.values, choice.dim),
        nan_too=live,
        reason=reason,
        diagnosis=diagnosis.sentence if diagnosis is not None else "",
        broke=result is not None and result.status in (Status.ERROR, Status.UNSUPPORTED),
        wrong_kind=diagnosis.kind.value if diagnosis is not None else "",
        floors=tuple(value.isolated for value in binding.values),
    )


def _recorded(executor: Executor, binding: Binding) -> list[Stored]:
    references = executor.references
    return [
        references.stored(value) or Stored("", TensorSpec(value.dtype, value.shape), None) for value in binding.values
    ]


def _output(index: int, stored: Stored, compared: Comparison | None) -> Output:
    expected = load(stored)
    if compared is None or expected is None:
        return Output(index, None)
    if compared.law is None:
        return Output(index, expected)
    return Output(index, expected, compared.law.allowed(expected))


def _array(stored: Stored) -> np.ndarray:
    array = load(stored)
    assert array is not None
    return array
