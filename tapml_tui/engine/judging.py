"""From an outcome to a result: compared, confirmed, and whose fault it is."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from tapml_tui.backends.protocol import Failed, Stage
from tapml_tui.compare import Status, Verdict
from tapml_tui.compare.verdict import decide
from tapml_tui.engine.commands import Mode
from tapml_tui.engine.comparing import Comparer, Visit, comparisons_of, ties
from tapml_tui.engine.events import NodeResult, OutputResult
from tapml_tui.engine.examining import examine
from tapml_tui.engine.executor import SOURCE, Executor, Waiting
from tapml_tui.engine.forcing import CannotForce
from tapml_tui.engine.liveness import Liveness
from tapml_tui.engine.placement import REFERENCE
from tapml_tui.engine.units import Binding, Unbound, executed, not_comparable, promised
from tapml_tui.engine.values import Outcome, Stored, load, raw_bytes
from tapml_tui.engine.view import Computed, View
from trace_format.model import NodeRef
from trace_format.text import printable

_RAISED = re.compile(r"(?!LinkError)\w*(Error|Exception)\b")
"""How the reason begins where TVM raised something, and nothing else went wrong."""
ANSWER_ONLY = "not judged: --verdict end-to-end judges the model's answer alone"
UNFETCHED_INPUTS = "its inputs are larger than fetch.limit and stayed on the device"
TWO_RUNS = "differs between two runs on the same inputs: a race in the kernel, or a bad link"


class Judge:
    """Executes nodes and writes down what became of them."""

    def __init__(self, executor: Executor, say: Callable[[str], None] = lambda _: None) -> None:
        """Judges what `executor` obtains; `say` is told what is known of a node that is looked at again, and why."""
        self._executor, self._say = executor, say
        self._comparer = Comparer(
            executor.references, executor.overrides, Liveness(executor.references, executor.bindings)
        )

    def visit(self, view: View, node: int, *, retry: bool = False, whole: bool = False) -> Waiting[None]:
        """Execute a node, whose producers are fresh, where it is placed, and commit its result.

        What a backend lost that it held alone, with a connection or for want of room, is computed again first.
        """
        waiting, again = [(view, node)], 0
        while waiting:
            where, current = waiting[-1]
            this = where is view and current == node
            last = again > len(view.graph)
            lost = yield from self._visit(where, current, retry=retry and this, whole=whole and this, last=last)
            if not lost:
                waiting.pop()
            self._say("")
            again += len(lost)
            waiting += lost

    def _visit(
        self, view: View, node: int, *, retry: bool, whole: bool, last: bool
    ) -> Waiting[Sequence[tuple[View, int]]]:
        """The nodes that have to be executed again before this one can be: none if this one is done, or `last`."""
        binding, backend = self._executor.bindings.get(view.case, node), view.placement.of(node)
        if isinstance(binding, Unbound):
            self._skip(view, node, binding.reason)
            return ()
        if backend == REFERENCE:
            self._force(view, node, binding)
            return ()
        if not executed(binding, view.mode):
            self._skip(view, node, next(filter(None, map(not_comparable, binding.values))))
            return ()
        yield from self._bring(view, binding, backend)
        inputs = self._executor.inputs(view, binding)
        if any(stored is None for stored in inputs):
            self._skip(view, node, "one of its inputs was not recorded, and nothing computes it")
            return ()
        known = tuple(stored for stored in inputs if stored is not None)
        visit = Visit(view, node, binding, backend, known, retry, whole)
        outcome = yield from self._executor.obtain(view, node, binding, backend, known, reuse=not retry, whole=whole)
        lost = () if last or outcome.failure is None else self._executor.lost(view, binding, outcome.failure.missing)
        if lost:
            return lost
        if outcome.failure is not None:
            status = Status.UNSUPPORTED if outcome.failure.unsupported else Status.ERROR
            yield from self._replace(visit, _broken(visit, outcome.failure, status))
        elif view.mode is Mode.ISOLATED:
            result = yield from self._judge_isolated(visit, outcome)
            self._commit(visit, result, outcome.outputs)
        else:
            result = yield from self._judge_chained(visit, outcome)
            fits = [output.spec for output in outcome.outputs] == list(binding.unit.outputs)
            if fits and result.status is not Status.ERROR:  # what nobody can vouch for is handed to nobody
                self._commit(visit, result, outcome.outputs)
            else:
                yield from self._replace(visit, result)
        return ()

    def alone(self, view: View, node: int, backend: str) -> Waiting[NodeResult | None]:
        """How a backend does a node on the recorded inputs; nothing is committed. None if nobody can tell."""
        binding = self._executor.bindings.get(view.case, node)
        if isinstance(binding, Unbound) or not executed(binding, Mode.ISOLATED):
            return None
        inputs = tuple(one for one in self._executor.reference_inputs(view.case, binding) if one is not None)
        if len(inputs) < len(binding.operands):
            return None
        visit = Visit(view, node, binding, backend, inputs, retry=False, whole=False)
        outcome = yield from self._executor.obtain(view, node, binding, backend, inputs)
        if outcome.failure is not None:
            status = Status.UNSUPPORTED if outcome.failure.unsupported else Status.ERROR
            return _broken(visit, outcome.failure, status)
        return (yield from self._judge_isolated(visit, outcome))

    def _bring(self, view: View, binding: Binding, backend: str) -> Waiting[None]:
        """Fetch inputs that were too large to fetch, where another backend needs them."""
        for ref in binding.operands:
            where, made = view.origin(ref)
            if view.mode is Mode.ISOLATED or not isinstance(made, NodeRef):
                continue
            value = where.value(made)
            if value is None or value.bytes is not None or (value.held is not None and value.held.backend == backend):
                continue
            yield from self.visit(where, made.node, whole=True)

    def _judge_isolated(self, visit: Visit, outcome: Outcome) -> Waiting[NodeResult]:
        result = self._comparer.with_reference(visit, outcome, visit.inputs, Mode.ISOLATED)
        if result.status is Status.FAILED and visit.backend != SOURCE:
            result = yield from self._confirmed(visit, result, outcome, visit.inputs)
        return self._examined(visit, result, result, outcome, visit.inputs)

    def _examined(
        self, visit: Visit, result: NodeResult, alone: NodeResult, outcome: Outcome, inputs: Sequence[Stored]
    ) -> NodeResult:
        """`result`, with what kind of wrong was found with the recorded inputs (`alone`)."""
        if alone.status is not Status.FAILED:
            return result
        recorded = [self._executor.references.stored(value) for value in visit.binding.values]
        comparisons = [output.comparison for output in alone.outputs]
        finding = examine(
            self._executor, visit, comparisons, expected=recorded, computed=outcome.outputs, inputs=inputs
        )
        return replace(result, finding=finding)

    def _judge_chained(self, visit: Visit, outcome: Outcome) -> Waiting[NodeResult]:
        view, on_source = visit.view, visit.backend == SOURCE
        if self._executor.answer_only:
            return self._unjudged(visit, outcome)
        if self._executor.same_as_reference(view, visit.binding, visit.inputs):
            result = yield from self._judge_isolated(visit, outcome)
            verdict = Verdict.NONE
            if result.status is Status.PASSED:
                verdict = Verdict.CLEAN
            elif result.status is Status.FAILED and not on_source:
                verdict = Verdict.LOCAL
            return replace(result, verdict=verdict, isolated=comparisons_of(result))

        result = self._comparer.with_reference(visit, outcome, visit.inputs, Mode.CHAINED)
        failed, factor = _inputs_failed(visit)
        if result.status is Status.PASSED:
            if not on_source and not self._comparer.acquitted(visit, outcome):
                result = yield from self._try_live(visit, result, outcome)
            if result.status is not Status.PASSED:
                return result
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

    def _unjudged(self, visit: Visit, outcome: Outcome) -> NodeResult:
        """The node is not judged: only the model's answer is, for which its outputs are compared."""
        outputs = tuple(OutputResult(stored.spec, stored.digest, stored.bytes, None) for stored in outcome.outputs)
        if self._executor.judges(visit.view, visit.node) or visit.whole:
            outputs = self._comparer.with_reference(visit, outcome, visit.inputs, Mode.CHAINED).outputs
        status, reason = Status.NOT_RUN, ANSWER_ONLY
        return NodeResult(visit.node, visit.backend, status, reason=reason, outputs=outputs, ms=outcome.ms)

    def _try_isolated(self, visit: Visit, result: NodeResult) -> Waiting[NodeResult]:
        """Is it the kernel? With the recorded inputs, against the recorded outputs."""
        recorded = self._executor.reference_inputs(visit.view.case, visit.binding)
        inputs = tuple(stored for stored in recorded if stored is not None)
        if len(inputs) < len(recorded):
            return result
        self._doubt(result, "again on the recorded inputs")
        outcome = yield from self._executor.obtain(
            visit.view, visit.node, visit.binding, visit.backend, inputs, reuse=not visit.retry, whole=visit.whole
        )
        if outcome.failure is not None:
            reason = f"breaks on the recorded inputs: {outcome.failure.reason}"
            local = replace(result, status=Status.FAILED, verdict=Verdict.LOCAL)
            return replace(local, reason=reason, detail=outcome.failure.detail)
        alone = self._comparer.with_reference(visit, outcome, inputs, Mode.ISOLATED)
        result = replace(result, isolated=comparisons_of(alone))
        if alone.status is not Status.FAILED:
            return result
        alone = yield from self._confirmed(visit, alone, outcome, inputs)
        if alone.status is not Status.FAILED:
            return replace(alone, isolated=result.isolated)
        told = f"on the recorded inputs too: {alone.reason}"
        if result.status is Status.PASSED:
            told, result = f"on the recorded inputs: {alone.reason}", replace(result, factor=alone.factor)
        result = replace(result, status=Status.FAILED, verdict=Verdict.LOCAL, reason=told)
        return self._examined(visit, result, alone, outcome, inputs)

    def _try_live(self, visit: Visit, result: NodeResult, outcome: Outcome) -> Waiting[NodeResult]:
        """Is it the kernel after all? On its real inputs, against the source on those same inputs."""
        self._doubt(result, "now beside the source")
        expected = yield from self._executor.obtain(visit.view, visit.node, visit.binding, SOURCE, visit.inputs)
        if expected.failure is not None:
            why = UNFETCHED_INPUTS if expected.failure.missing else expected.failure.reason
            said = f"the source could not be asked: {why}"
            result = replace(result, reason="; ".join(filter(None, [result.reason, said])))
            if result.status is Status.PASSED and not expected.failure.missing:
                result = yield from self._try_isolated(visit, result)  # which of a failed one was tried before
            return result
        against = self._comparer.against_source(visit, outcome, expected)
        live = tuple(one for one in against if one is not None)
        result = replace(result, live=live)
        bad = next((one for one in live if not one.passed and one.compared), None)
        if bad is None:
            return result
        result = replace(result, status=Status.FAILED, factor=max(result.factor, *(one.factor for one in live)))
        again = yield from self._confirmed(visit, result, outcome, visit.inputs)
        if again.status is not Status.FAILED:
            return again
        reason = f"against the source on its real inputs: {bad.reason}"
        finding = examine(
            self._executor,
            visit,
            against,
            expected=expected.outputs,
            computed=outcome.outputs,
            inputs=visit.inputs,
        )
        return replace(result, verdict=Verdict.LOCAL, reason=reason, finding=finding)

    def _doubt(self, result: NodeResult, asked: str) -> None:
        found = re.split(r" in |;", result.reason)[0]  # "4.2 x the floor", "NaN", "wrong dtype: ..."
        self._say("; ".join(filter(None, [found, asked])))

    def _confirmed(
        self, visit: Visit, result: NodeResult, outcome: Outcome, inputs: Sequence[Stored]
    ) -> Waiting[NodeResult]:
        """A mismatch is a verdict only if a second run, with its inputs uploaded again, gives the same."""
        self._doubt(result, "once more, to be sure")
        again = yield from self._executor.obtain(
            visit.view, visit.node, visit.binding, visit.backend, inputs, reuse=False, keep=False, whole=visit.whole
        )
        if again.failure is not None:
            reason = f"the first run gave a wrong result, the second none: {again.failure.reason}"
            return replace(result, status=Status.ERROR, reason=reason, detail=again.failure.detail)
        for place, (first, second) in enumerate(zip(outcome.outputs, again.outputs, strict=True)):
            if promised(visit.binding, place) is not None:
                continue  # its bits mean nothing
            if first.sample is not None and second.sample is not None:
                first, second = first.sample.words, second.sample.words
            if first.bytes is None or second.named:
                continue  # it was not fetched, so it was not judged either
            array = load(first)
            content = (
                hashlib.sha256(raw_bytes(array)).hexdigest() if array is not None and first.named else first.digest
            )
            if content != second.digest:
                return replace(result, status=Status.ERROR, reason=TWO_RUNS)
        return result

    def _replace(self, visit: Visit, result: NodeResult) -> Waiting[None]:
        """The run goes on past a node that gave nothing usable: with what the source makes of its inputs."""
        if visit.view.mode is Mode.ISOLATED:
            self._commit(visit, result, ())
            return
        note = "the source's result is used in its place"
        outputs: tuple[Stored, ...] = ()
        if visit.backend != SOURCE:
            yield from self._bring(visit.view, visit.binding, SOURCE)
            inputs = [stored for stored in self._executor.inputs(visit.view, visit.binding) if stored is not None]
            outcome = yield from self._executor.obtain(
                visit.view,
                visit.node,
                visit.binding,
                SOURCE,
                inputs,
                whole=True,  # other backends need its bytes
            )
            outputs = outcome.outputs
        if not outputs:
            note = "the recorded value is used in its place"
            outputs = tuple(filter(None, map(self._executor.references.stored, visit.binding.values)))
            if len(outputs) < len(visit.binding.values):
                note, outputs = "nothing can be used in its place", ()
        self._commit(visit, replace(result, reason=f"{result.reason}; {note}"), outputs, replaced=True)

    def give_up(self, view: View, node: int, reason: str) -> None:
        """Nothing can be said of a node, and it hands nothing on."""
        backend, kernel = view.placement.of(node), view.placement.kernels.get(node)
        view.commit(NodeResult(node, backend, Status.NOT_RUN, reason=reason), Computed(backend, kernel, (), (), {}))

    def _force(self, view: View, node: int, binding: Binding) -> None:
        """A node that hands on its recorded value, or what a file says."""
        file = view.placement.kernels.get(node)
        if file is None:
            self._skip(view, node, "placed on the recorded value")
            return
        try:
            forced = self._executor.forced(view, node, binding, file)
        except CannotForce as error:
            self.give_up(view, node, str(error))
            return
        self._skip(view, node, f"forced to {file}", {binding.outputs[0]: forced})

    def _skip(self, view: View, node: int, reason: str, forced: Mapping[int, Stored] = MappingProxyType({})) -> None:
        """A node that is not executed hands on what was recorded, or what is forced."""
        binding = self._executor.bindings.get(view.case, node)
        outputs: dict[int, Stored] = {}
        if isinstance(binding, Binding):
            for output, value in zip(binding.outputs, binding.values, strict=True):
                stored = self._executor.references.stored(value)
                if stored is not None:
                    outputs[output] = stored
        outputs.update(forced)
        backend, kernel = view.placement.of(node), view.placement.kernels.get(node)
        result = NodeResult(node, backend, Status.NOT_RUN, reason=reason)
        view.commit(result, Computed(backend, kernel, (), (), outputs))

    def _commit(self, visit: Visit, result: NodeResult, outputs: tuple[Stored, ...], *, replaced: bool = False) -> None:
        view, node, binding = visit.view, visit.node, visit.binding
        handed_on = dict(zip(binding.outputs, outputs, strict=False))
        free = ties(result, binding)
        if free and view.mode is Mode.CHAINED:
            result = replace(result, reason="another choice among equals: the source's is handed on")
        for place, (output, value) in enumerate(zip(binding.outputs, binding.values, strict=True)):
            recorded = self._executor.references.stored(value)
            meaningless = not_comparable(value) or promised(binding, place) is not None
            if recorded is not None and (meaningless or output in free):
                handed_on[output] = recorded
        # What it hands on is wrong if it is off from the recorded run: a kernel may be wrong by less than that.
        compared = comparisons_of(result)
        failed, factor = any(not one.passed for one in compared), max((one.factor for one in compared), default=0.0)
        if (replaced or result.status is Status.NOT_RUN) and view.mode is Mode.CHAINED:
            failed, factor = _inputs_failed(visit)
        terms = max(visit.terms(value, view.mode) for value in binding.values)
        inputs = tuple(stored.digest for stored in visit.inputs)
        kernel = view.placement.kernels.get(node)
        view.commit(result, Computed(visit.backend, kernel, binding.operands, inputs, handed_on, failed, factor, terms))


def _inputs_failed(visit: Visit) -> tuple[bool, float]:
    """Whether a value that it read is known to be wrong, and by how many floors at most."""
    failed = any(visit.upstream(lambda computed: computed.failed))
    return failed, max(visit.upstream(lambda computed: computed.factor))


def _broken(visit: Visit, failure: Failed, status: Status) -> NodeResult:
    reason = failure.reason
    if failure.stage == Stage.COMPILE and _RAISED.match(reason):
        unit = visit.binding.unit
        operator = printable(unit.calls[0].op.removeprefix("aten.").removesuffix(".default"), limit=80)
        dtypes = ", ".join(dict.fromkeys(spec.dtype for spec in unit.inputs)) or "no tensor"
        reason = f"TVM cannot compile {operator} on {dtypes}: {reason.rstrip(' :;')}"
    return NodeResult(
        visit.node,
        visit.backend,
        status,
        reason=reason,
        detail=failure.detail,
        stage=failure.stage,
        device=failure.device,
    )
