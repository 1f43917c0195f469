"""From an outcome to a result: compared, confirmed, and whose fault it is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tapml_tui.backends.protocol import Failed
from tapml_tui.compare import Comparison, Status, Verdict, compare
from tapml_tui.compare.bound import magnitude, rounding_bound, scaled, terms_of
from tapml_tui.compare.precision import precision
from tapml_tui.compare.verdict import decide
from tapml_tui.engine.commands import Mode
from tapml_tui.engine.events import NodeResult, OutputResult
from tapml_tui.engine.executor import SOURCE, Executor, Waiting
from tapml_tui.engine.placement import REFERENCE
from tapml_tui.engine.units import Binding, Unbound, executed, not_comparable
from tapml_tui.engine.values import Outcome, Stored, load, raw_bytes
from tapml_tui.engine.view import Computed, View
from trace_format.model import Floor, NodeRef, Value

TWO_RUNS = "differs between two runs on the same inputs: a race in the kernel, or a bad link"


@dataclass(frozen=True, slots=True)
class _Visit:
    """A node under judgement. `retry`: earlier results do not count; `whole`: fetch whatever the size."""

    view: View
    node: int
    binding: Binding
    backend: str
    inputs: tuple[Stored, ...]
    retry: bool
    whole: bool


class Judge:
    """Executes nodes and writes down what became of them."""

    def __init__(self, executor: Executor) -> None:
        """Judges what `executor` obtains."""
        self._executor = executor

    def visit(self, view: View, node: int, *, retry: bool = False, whole: bool = False) -> Waiting[None]:
        """Execute a node, whose producers are fresh, where it is placed, and commit its result."""
        binding, backend = self._executor.bindings.get(view.case, node), view.placement.of(node)
        if isinstance(binding, Unbound):
            self._skip(view, node, binding.reason)
            return
        if backend == REFERENCE:
            self._skip(view, node, "placed on the recorded value")
            return
        if not executed(binding, view.mode):
            self._skip(view, node, next(filter(None, map(not_comparable, binding.values))))
            return
        yield from self._bring(view, binding, backend)
        inputs = self._executor.inputs(view, binding)
        if any(stored is None for stored in inputs):
            self._skip(view, node, "one of its inputs was not recorded, and nothing computes it")
            return
        known = tuple(stored for stored in inputs if stored is not None)
        visit = _Visit(view, node, binding, backend, known, retry, whole)
        outcome = yield from self._executor.obtain(view, node, binding, backend, known, reuse=not retry, whole=whole)
        if outcome.failure is not None:
            status = Status.UNSUPPORTED if outcome.failure.unsupported else Status.ERROR
            yield from self._replace(visit, _broken(visit, outcome.failure, status))
        elif view.mode is Mode.ISOLATED:
            result = yield from self._judge_isolated(visit, outcome)
            self._commit(visit, result, outcome.outputs)
        else:
            result = yield from self._judge_chained(visit, outcome)
            if [output.spec for output in outcome.outputs] == list(binding.unit.outputs):
                self._commit(visit, result, outcome.outputs)
            else:
                yield from self._replace(visit, result)

    def _bring(self, view: View, binding: Binding, backend: str) -> Waiting[None]:
        """Fetch inputs that were too large to fetch, where another backend needs them."""
        for ref in binding.operands:
            if view.mode is Mode.ISOLATED or not isinstance(ref, NodeRef):
                continue
            value = view.value(ref)
            if value is None or value.bytes is not None or (value.held is not None and value.held.backend == backend):
                continue
            yield from self.visit(view, ref.node, whole=True)

    def _judge_isolated(self, visit: _Visit, outcome: Outcome) -> Waiting[NodeResult]:
        result = self._compared(visit, outcome, Mode.ISOLATED)
        if result.status is Status.FAILED and visit.backend != SOURCE:
            return (yield from self._confirmed(visit, result, outcome, visit.inputs))
        return result

    def _judge_chained(self, visit: _Visit, outcome: Outcome) -> Waiting[NodeResult]:
        view, on_source = visit.view, visit.backend == SOURCE
        if self._executor.same_as_reference(view, visit.binding, visit.inputs):
            result = yield from self._judge_isolated(visit, outcome)
            verdict = Verdict.NONE
            if result.status is Status.PASSED:
                verdict = Verdict.CLEAN
            elif result.status is Status.FAILED and not on_source:
                verdict = Verdict.LOCAL
            return replace(result, verdict=verdict, isolated=_comparisons(result))

        result = self._compared(visit, outcome, Mode.CHAINED)
        failed, factor = self._inputs_failed(visit)
        if result.status is Status.PASSED:
            verdict = decide(on_source=on_source, chained=True, inputs_failed=failed)
            return replace(result, verdict=verdict)
        if result.status is not Status.FAILED:
            return result
        if not on_source:
            result = yield from self._try_isolated(visit, result)
            if result.status is Status.FAILED and result.verdict is not Verdict.LOCAL:
                result = yield from self._try_live(visit, result, outcome)
        if result.status is not Status.FAILED or result.verdict is Verdict.LOCAL:
            return result
        verdict = decide(
            on_source=on_source,
            chained=False,
            isolated=True if result.isolated else None,
            live=True if result.live else None,
            inputs_failed=failed,
            growth=result.factor / max(factor, 1.0),
        )
        return replace(result, verdict=verdict)

    def _try_isolated(self, visit: _Visit, result: NodeResult) -> Waiting[NodeResult]:
        """Is it the kernel? With the recorded inputs, against the recorded outputs."""
        recorded = self._executor.reference_inputs(visit.view.case, visit.binding)
        inputs = tuple(stored for stored in recorded if stored is not None)
        if len(inputs) < len(recorded):
            return result
        outcome = yield from self._executor.obtain(
            visit.view, visit.node, visit.binding, visit.backend, inputs, reuse=not visit.retry
        )
        if outcome.failure is not None:
            reason = f"breaks on the recorded inputs: {outcome.failure.reason}"
            return replace(result, verdict=Verdict.LOCAL, reason=reason, detail=outcome.failure.detail)
        alone = self._compared(visit, outcome, Mode.ISOLATED)
        result = replace(result, isolated=_comparisons(alone))
        if alone.status is not Status.FAILED:
            return result
        alone = yield from self._confirmed(visit, alone, outcome, inputs)
        if alone.status is not Status.FAILED:
            return replace(alone, isolated=result.isolated)
        return replace(result, verdict=Verdict.LOCAL, reason=f"on the recorded inputs too: {alone.reason}")

    def _try_live(self, visit: _Visit, result: NodeResult, outcome: Outcome) -> Waiting[NodeResult]:
        """Is it the kernel after all? On its real inputs, against the source on those same inputs."""
        expected = yield from self._executor.obtain(visit.view, visit.node, visit.binding, SOURCE, visit.inputs)
        if expected.failure is not None:
            return replace(result, reason=f"{result.reason}; the source could not be asked: {expected.failure.reason}")
        live = self._against(visit, outcome, expected)
        result = replace(result, live=tuple(one for one in live if one is not None))
        bad = next((one for one in live if one is not None and not one.passed and one.compared), None)
        if bad is None:
            return result
        again = yield from self._confirmed(visit, result, outcome, visit.inputs)
        if again.status is not Status.FAILED:
            return again
        return replace(result, verdict=Verdict.LOCAL, reason=f"against the source on its real inputs: {bad.reason}")

    def _confirmed(
        self, visit: _Visit, result: NodeResult, outcome: Outcome, inputs: Sequence[Stored]
    ) -> Waiting[NodeResult]:
        """A mismatch is a verdict only if a second run, with its inputs uploaded again, gives the same."""
        again = yield from self._executor.obtain(
            visit.view, visit.node, visit.binding, visit.backend, inputs, reuse=False, keep=False, whole=visit.whole
        )
        if again.failure is not None:
            reason = f"the first run gave a wrong result, the second none: {again.failure.reason}"
            return replace(result, status=Status.ERROR, reason=reason, detail=again.failure.detail)
        for first, second in zip(outcome.outputs, again.outputs, strict=True):
            if first.bytes is None or second.named:
                continue  # it was not fetched, so it was not judged either
            array = load(first)
            content = (
                hashlib.sha256(raw_bytes(array)).hexdigest() if array is not None and first.named else first.digest
            )
            if content != second.digest:
                return replace(result, status=Status.ERROR, reason=TWO_RUNS)
        return result

    def _replace(self, visit: _Visit, result: NodeResult) -> Waiting[None]:
        """The run goes on past a node that gave nothing usable: with what the source makes of its inputs."""
        if visit.view.mode is Mode.ISOLATED:
            self._commit(visit, result, ())
            return
        note = "the source's result is used in its place"
        outputs: tuple[Stored, ...] = ()
        if visit.backend != SOURCE:
            outcome = yield from self._executor.obtain(visit.view, visit.node, visit.binding, SOURCE, visit.inputs)
            outputs = outcome.outputs
        if not outputs:
            note = "the recorded value is used in its place"
            outputs = tuple(filter(None, map(self._executor.references.stored, visit.binding.values)))
            if len(outputs) < len(visit.binding.values):
                note, outputs = "nothing can be used in its place", ()
        self._commit(visit, replace(result, reason=f"{result.reason}; {note}"), outputs)

    def give_up(self, view: View, node: int, reason: str) -> None:
        """Nothing can be said of a node, and it hands nothing on."""
        backend, kernel = view.placement.of(node), view.placement.kernels.get(node)
        view.commit(NodeResult(node, backend, Status.NOT_RUN, reason=reason), Computed(backend, kernel, (), (), {}))

    def _skip(self, view: View, node: int, reason: str) -> None:
        """A node that is not executed hands on what was recorded."""
        binding = self._executor.bindings.get(view.case, node)
        outputs: dict[int, Stored] = {}
        if isinstance(binding, Binding):
            for output, value in zip(binding.outputs, binding.values, strict=True):
                stored = self._executor.references.stored(value)
                if stored is not None:
                    outputs[output] = stored
        backend, kernel = view.placement.of(node), view.placement.kernels.get(node)
        result = NodeResult(node, backend, Status.NOT_RUN, reason=reason)
        view.commit(result, Computed(backend, kernel, (), (), outputs))

    def _commit(self, visit: _Visit, result: NodeResult, outputs: tuple[Stored, ...]) -> None:
        view, node, binding = visit.view, visit.node, visit.binding
        handed_on = dict(zip(binding.outputs, outputs, strict=False))
        for output, value in zip(binding.outputs, binding.values, strict=True):
            recorded = self._executor.references.stored(value)
            if not_comparable(value) and recorded is not None:
                handed_on[output] = recorded
        failed, factor = result.status is Status.FAILED, result.factor
        if result.status is Status.NOT_RUN and view.mode is Mode.CHAINED:
            failed, factor = self._inputs_failed(visit)
        terms = max([_terms(visit, value) for value in binding.values])
        if view.mode is Mode.CHAINED:
            terms = max(terms, *self._upstream(visit, lambda computed: computed.terms))
        inputs = tuple(stored.digest for stored in visit.inputs)
        kernel = view.placement.kernels.get(node)
        view.commit(result, Computed(visit.backend, kernel, binding.operands, inputs, handed_on, failed, factor, terms))

    def _inputs_failed(self, visit: _Visit) -> tuple[bool, float]:
        """Whether a value that it read is known to be wrong, and by how many floors at most."""
        failed = any(self._upstream(visit, lambda computed: computed.failed))
        return failed, max(self._upstream(visit, lambda computed: computed.factor))

    def _upstream(self, visit: _Visit, ask: Callable[[Computed], float]) -> list[float]:
        """A number of each node that it reads from, and 0 so that there is one."""
        read = [visit.view.computed.get(ref.node) for ref in visit.binding.operands if isinstance(ref, NodeRef)]
        return [0.0, *(ask(computed) for computed in read if computed is not None)]

    def _compared(self, visit: _Visit, outcome: Outcome, mode: Mode) -> NodeResult:
        """The result of comparing with the reference, by the floor of that mode."""
        if outcome.identity:
            outputs = tuple(OutputResult(stored.spec, stored.digest, stored.bytes, None) for stored in outcome.outputs)
            reason = "hands its input on: no kernel, nothing to judge"
            return NodeResult(visit.node, visit.backend, Status.NOT_RUN, reason=reason, outputs=outputs)
        comparisons: list[Comparison | None] = []
        reasons: list[str] = []
        for value, stored in zip(visit.binding.values, outcome.outputs, strict=True):
            reason, comparison = not_comparable(value), None
            if not reason:
                actual = load(stored)
                if actual is None:
                    reason = "larger than fetch.limit: it stayed on the device and was not compared"
                else:
                    comparison = self._with_reference(visit, value, actual, mode)
                    reason = comparison.reason
            comparisons.append(comparison)
            reasons.append(reason)
        return _result(visit, outcome, comparisons, reasons)

    def _with_reference(self, visit: _Visit, value: Value, actual: np.ndarray, mode: Mode) -> Comparison:
        reference = self._executor.references.array(value)
        assert reference is not None
        terms = _terms(visit, value)
        if mode is Mode.CHAINED:
            terms = max(terms, *self._upstream(visit, lambda computed: computed.terms))
        return compare(reference, actual, floor=_floor(visit, value, reference, mode), terms=terms)

    def _against(self, visit: _Visit, outcome: Outcome, expected: Outcome) -> list[Comparison | None]:
        """Compare with the source's result on the same inputs, by the isolated floor for inputs of that size."""
        recorded = self._executor.reference_inputs(visit.view.case, visit.binding)
        sizes = [(_size(before), _size(now)) for before, now in zip(recorded, visit.inputs, strict=True)]
        comparisons: list[Comparison | None] = []
        for value, theirs, ours in zip(visit.binding.values, expected.outputs, outcome.outputs, strict=True):
            reference, actual = load(theirs), load(ours)
            if reference is None or actual is None or not_comparable(value):
                comparisons.append(None)
                continue
            floor = _floor(visit, value, reference, Mode.ISOLATED)
            if floor is not None and floor.origin == "float64":
                was = _size(self._executor.references.stored(value))
                floor = scaled(floor, [*sizes, (was, magnitude(reference))])
            comparisons.append(compare(reference, actual, floor=floor, terms=_terms(visit, value), inherited_nan=True))
        return comparisons


def _size(stored: Stored | None) -> float:
    array = load(stored) if stored is not None else None
    return magnitude(array) if array is not None else 0.0


def _terms(visit: _Visit, value: Value) -> float:
    """How many products an element of this output sums."""
    if value.isolated is not None and value.isolated.origin == "exact":
        return 1.0
    return terms_of([spec.shape for spec in visit.binding.unit.inputs], value.shape)


def _floor(visit: _Visit, value: Value, reference: np.ndarray, mode: Mode) -> Floor | None:
    """The recorded floor of a value; where there is none, what rounding alone may do."""
    recorded = value.chained if mode is Mode.CHAINED and value.chained is not None else value.isolated
    if recorded is None:
        return rounding_bound(reference, _terms(visit, value))
    if mode is Mode.CHAINED and recorded.origin == "exact" and precision(reference.dtype) is not None:
        # The source moved values that it had computed exactly; the target's may be off by their rounding.
        return Floor(0.0, 0.0, "bound")
    return recorded


def _broken(visit: _Visit, failure: Failed, status: Status) -> NodeResult:
    return NodeResult(
        visit.node, visit.backend, status, reason=failure.reason, detail=failure.detail, stage=failure.stage
    )


def _comparisons(result: NodeResult) -> tuple[Comparison, ...]:
    return tuple(output.comparison for output in result.outputs if output.comparison is not None)


def _result(visit: _Visit, outcome: Outcome, comparisons: list[Comparison | None], reasons: list[str]) -> NodeResult:
    """Status and reason of a node from those of its outputs: the first that says why it did not pass."""
    failed = [one is not None and not one.passed for one in comparisons]
    if any(failed):
        status, chosen = Status.FAILED, failed.index(True)
    elif any(
        visit.binding.values[i].tensor is not None and outcome.outputs[i].bytes is None for i in range(len(failed))
    ):
        status, chosen = Status.NOT_RUN, next(i for i, stored in enumerate(outcome.outputs) if stored.bytes is None)
    elif any(one is not None for one in comparisons):
        status, chosen = Status.PASSED, None
    else:
        status, chosen = Status.NOT_RUN, 0
    reason = reasons[chosen] if chosen is not None else ""
    if reason and len(reasons) > 1:
        reason = f"output {visit.binding.outputs[chosen or 0]}: {reason}"
    return NodeResult(
        node=visit.node,
        backend=visit.backend,
        status=status,
        reason=reason,
        factor=max((one.factor for one in comparisons if one is not None), default=0.0),
        outputs=tuple(
            OutputResult(stored.spec, stored.digest, stored.bytes, one)
            for stored, one in zip(outcome.outputs, comparisons, strict=True)
        ),
        ms=outcome.ms,
    )
