"""One entry of `check --json`: what became of one node, in one case, on one target.

Keys are added, never changed. Every key is always there; what does not apply is null.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from tapml_tui.backends.protocol import TensorSpec
from tapml_tui.compare.result import Comparison, Status
from tapml_tui.engine.commands import Mode
from tapml_tui.engine.events import NodeResult

Entry: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Subject:
    """What an entry is about, known before anything is run.

    Attributes:
        id: The node's id.
        name: The exporter's label.
        graph: Name of its graph.
        case: Name of the case.
        op: `namespace.name.overload`.
        path: Place in the nn.Module tree.
        signature: Digest that it shares with all nodes that use the same kernel; None if it has none.
        inputs: Of the unit.
        outputs: Of the unit, as recorded.
        compute: Whether there is a reason to execute it.
    """

    id: str
    name: str
    graph: str
    case: str
    op: str
    path: str
    signature: str | None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    compute: bool


def entry_of(subject: Subject, result: NodeResult, mode: Mode) -> Entry:
    """The entry of a node that has a result (of `Status.NOT_RUN` too: a result with a reason)."""
    chained = mode is Mode.CHAINED
    present = [output.comparison for output in result.outputs if output.comparison is not None]
    worst = _worst(present)
    return {
        "id": subject.id,
        "name": subject.name,
        "graph": subject.graph,
        "case": subject.case,
        "op": subject.op,
        "module": subject.path,
        "signature": subject.signature,
        "inputs": [_spec(spec) for spec in subject.inputs],
        "outputs": [_spec(spec) for spec in subject.outputs],
        "backend": result.backend,
        "device": result.device or None,
        "status": result.status.value,
        "verdict": result.verdict.value or None,
        "reason": result.reason,
        "isolated": _judgement(result.isolated if chained else present),
        "chained": _judgement(present) if chained else None,
        "live": _judgement(result.live),
        "metrics": None if worst is None else _metrics(worst),
        "diagnosis": _diagnosis(result),
        "override": result.override or None,
        "ms": result.ms,
        "stage": result.stage or None,
        "sampled": result.sampled,
        "compute": subject.compute and not _handed_on(result),
    }


def _diagnosis(result: NodeResult) -> dict[str, Any] | None:
    finding = result.finding
    if finding is None or finding.diagnosis is None:
        return None
    return {"kind": finding.diagnosis.kind.value, "sentence": finding.diagnosis.sentence, "output": finding.output}


def _handed_on(result: NodeResult) -> bool:
    """Whether it gave outputs, none of which had to be judged: an identity, which is no kernel."""
    return (
        result.status is Status.NOT_RUN
        and bool(result.outputs)
        and all(output.comparison is None and output.bytes is not None for output in result.outputs)
    )


def _spec(spec: TensorSpec) -> dict[str, Any]:
    return {"dtype": spec.dtype, "shape": list(spec.shape)}


def _worst(comparisons: Sequence[Comparison]) -> Comparison | None:
    """The comparison that decides: a failed one before a passed one, then the larger factor."""
    return max(comparisons, key=lambda one: (not one.passed, one.factor), default=None)


def _judgement(comparisons: Sequence[Comparison]) -> dict[str, Any] | None:
    worst = _worst(comparisons)
    if worst is None:
        return None
    return {"passed": worst.passed, "factor": worst.factor, "reason": worst.reason}


def _metrics(comparison: Comparison) -> dict[str, Any]:
    return {
        "factor": comparison.factor,
        "limit": comparison.limit,
        "floor": comparison.floor,
        "floor_origin": comparison.floor_origin,
        "compared": comparison.compared,
        "outside": comparison.outside,
        "max_abs": comparison.max_abs,
        "max_rel": comparison.max_rel,
        "nan": list(comparison.nan),
        "inf": list(comparison.inf),
        "worst": None if comparison.worst is None else list(comparison.worst),
        "worst_values": None if comparison.worst_values is None else list(comparison.worst_values),
    }
