"""One outcome against what it should be: by the recorded values, or by what the source makes of the same inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from tapml_tui.compare import Comparison, Status, compare
from tapml_tui.compare.arithmetic import Arithmetic
from tapml_tui.compare.bound import magnitude, scaled
from tapml_tui.compare.indices import compare_indices
from tapml_tui.compare.overrides import Override, Overrides
from tapml_tui.compare.precision import precision
from tapml_tui.engine.arithmetic import Products, arithmetic_of, products_of, unknown_products
from tapml_tui.engine.commands import Mode
from tapml_tui.engine.events import NodeResult, OutputResult
from tapml_tui.engine.factors import closer
from tapml_tui.engine.identities import as_the_source_does
from tapml_tui.engine.liveness import Liveness, Unread
from tapml_tui.engine.operator_facts import Choice, choice_of
from tapml_tui.engine.promises import keeps
from tapml_tui.engine.units import Binding, not_comparable, promised
from tapml_tui.engine.values import Outcome, References, Sample, Stored, load
from tapml_tui.engine.view import Computed, View
from trace_format.model import Floor, NodeRef, Value

_Pair: TypeAlias = tuple[np.ndarray, np.ndarray]  # reference, actual
UNFETCHED = "larger than fetch.limit: it stayed on the device and was not compared"
NO_OVERRIDES = Overrides()
EXACT = Floor(0.0, 0.0, "exact")


@dataclass(frozen=True, slots=True)
class Visit:
    """A node under judgement.

    Attributes:
        view: The case and mode.
        node: Its index.
        binding: Its unit.
        backend: Where it runs.
        inputs: What it got.
        retry: Earlier results do not count.
        whole: Fetch outputs whatever their size.
    """

    view: View
    node: int
    binding: Binding
    backend: str
    inputs: tuple[Stored, ...]
    retry: bool = False
    whole: bool = False

    def upstream(self, ask: Callable[[Computed], float]) -> list[float]:
        """A number of each node that it reads from, and 0 so that there is one."""
        read = [self.view.producer(ref) for ref in self.binding.operands]
        return [0.0, *(ask(computed) for computed in read if computed is not None)]

    def arithmetic(self, value: Value, mode: Mode, products: Products = unknown_products) -> Arithmetic:
        """What is computed to get this output; chained, with the longest sum up to here."""
        exact = value.isolated is not None and value.isolated.origin == "exact"
        own = Arithmetic(1.0, False) if exact else arithmetic_of(self.binding.unit, value.shape, products)
        if mode is Mode.ISOLATED:
            return own
        return Arithmetic(max(own.terms or 1.0, *self.upstream(lambda computed: computed.terms)), True, own.hidden)

    def terms(self, value: Value, mode: Mode) -> float:
        """How many terms an element of this output sums; chained, in the longest sum up to here."""
        return self.arithmetic(value, mode).terms or 1.0


class Comparer:
    """Compares outcomes with the reference run."""

    def __init__(
        self, references: References, overrides: Overrides = NO_OVERRIDES, liveness: Liveness | None = None
    ) -> None:
        """Compare with `references`, where `overrides` say nothing else and `liveness` knows who reads a value."""
        self._references = references
        self._overrides = overrides
        self._liveness = liveness

    def with_reference(self, visit: Visit, outcome: Outcome, inputs: Sequence[Stored], mode: Mode) -> NodeResult:
        """The result of comparing what was computed from `inputs` with what was recorded, by the floor of that mode."""
        if outcome.identity and as_the_source_does(self._references, visit.view.case, visit.binding, inputs, outcome):
            outputs = tuple(OutputResult(stored.spec, stored.digest, stored.bytes, None) for stored in outcome.outputs)
            reason = "hands its input on: no kernel, nothing to judge"
            return NodeResult(visit.node, visit.backend, Status.NOT_RUN, reason=reason, outputs=outputs)
        comparisons: list[Comparison | None] = []
        reasons: list[str] = []
        for place, stored in enumerate(outcome.outputs):
            comparison, reason = self._judged(visit, place, stored, inputs, mode)
            comparisons.append(comparison)
            reasons.append(reason)
        allowed = [one.override if one is not None else self._ignored(visit, i) for i, one in enumerate(comparisons)]
        override = "; ".join(dict.fromkeys(filter(None, allowed)))
        return replace(_result(visit, outcome, comparisons, reasons), override=override)

    def _judged(
        self, visit: Visit, place: int, stored: Stored, inputs: Sequence[Stored], mode: Mode
    ) -> tuple[Comparison | None, str]:
        """How one output compares, and what there is to say about it."""
        value, promise = visit.binding.values[place], promised(visit.binding, place)
        reason = self._ignored(visit, place) or (not_comparable(value) if promise is None else "")
        if reason:
            return None, reason
        actual = load(stored)
        reference = self._references.array(value) if promise is None else actual
        if actual is None and reference is not None:
            return self._sampled(visit, place, stored, reference, mode)
        if reference is None or actual is None:
            return None, UNFETCHED
        if promise is not None:
            return keeps(promise, visit.binding.unit, place, actual, list(map(load, inputs)))
        comparison = self._compared(visit, place, (reference, actual), inputs, mode)
        return comparison, comparison.reason

    def _sampled(
        self, visit: Visit, place: int, stored: Stored, reference: np.ndarray, mode: Mode
    ) -> tuple[Comparison | None, str]:
        """How the rows compare that were fetched of an output."""
        sample = stored.sample
        got = sample.elements() if sample is not None else None
        if sample is None or got is None or self._choice(visit, place, mode) is not None:
            return None, UNFETCHED
        comparison = self._by_law(visit, place, (sample.of(reference), got), mode, sample)
        if comparison.worst is not None:
            worst = sample.place(comparison.worst)
            reason = comparison.reason.replace(str(list(comparison.worst)), str(list(worst)))
            comparison = replace(comparison, worst=worst, reason=reason)
        of = f"{comparison.compared} of {reference.size}"
        said = f"sampled: {of} agree" if comparison.passed else f"in a sample of {of} elements: {comparison.reason}"
        return replace(comparison, reason="" if comparison.passed else said), said

    def _unhidden(
        self,
        visit: Visit,
        place: int,
        arrays: _Pair,
        found: Comparison,
        judge: Callable[[_Pair], Comparison],
        *,
        sample: Sample | None = None,
    ) -> Comparison:
        """What is left of a mismatch without the elements that nothing reads."""
        reference, actual = arrays
        if found.passed or not found.outside or self._liveness is None:
            return found
        unread = self._liveness.unread(visit.view.case, NodeRef(visit.node, visit.binding.outputs[place]))
        if unread is None:
            return found
        if sample is not None:
            unread = Unread(sample.of(unread.always), sample.of(unread.if_small))
        hidden = unread.hides(reference, actual)
        left = judge((reference, np.where(hidden, reference, actual).astype(actual.dtype)))
        if not left.passed:
            return found
        return replace(left, reason=f"differs only where a mask hides it: {found.outside} elements")

    def _override(self, visit: Visit, place: int) -> Override | None:
        if not self._overrides.rules:
            return None
        unit, node = visit.binding.unit, visit.view.graph.node_id(visit.node)
        return self._overrides.find(node, unit.calls[0].op, unit.outputs[place].dtype)

    def _ignored(self, visit: Visit, place: int) -> str:
        """Why the user wants an output not to be compared, or ""."""
        override = self._override(visit, place)
        return override.words if override is not None and override.ignore else ""

    def _compared(self, visit: Visit, place: int, arrays: _Pair, inputs: Sequence[Stored], mode: Mode) -> Comparison:
        chosen = self._chosen(visit, place, arrays, inputs, mode)
        return chosen if chosen is not None else self._by_law(visit, place, arrays, mode)

    def _by_law(self, visit: Visit, place: int, arrays: _Pair, mode: Mode, sample: Sample | None = None) -> Comparison:
        """Element by element; of a `sample`, `arrays` are the rows."""
        value = visit.binding.values[place]
        floor, arithmetic = _floor(value, arrays[0], mode), self._arithmetic(visit, value, mode)
        chained = mode is Mode.CHAINED
        override = self._override(visit, place)
        judge = partial(_judge, floor=floor, chained=chained, rms=value.rms, override=override, **arithmetic._asdict())
        if chained or sample is not None:
            return self._unhidden(visit, place, arrays, judge(arrays), judge, sample=sample)
        recorded = [self._references.get(visit.view.case, ref) for ref in visit.binding.operands]
        return self._unhidden(visit, place, arrays, *closer(judge, arrays, visit.binding, recorded))

    def _arithmetic(self, visit: Visit, value: Value, mode: Mode) -> Arithmetic:
        operands, case = visit.binding.operands, visit.view.case

        def products(left: int, right: int) -> float | None:  # as if they were independent
            values = [self._references.value(case, operands[one]) for one in (left, right)]
            rows = math.sqrt(values[0].shape[-1]) if values[0].shape else 1.0
            sizes = [value.rms for value in values]
            return None if sizes[0] is None or sizes[1] is None else sizes[0] * sizes[1] * rows

        return visit.arithmetic(value, mode, products)

    @staticmethod
    def _choice(visit: Visit, place: int, mode: Mode) -> Choice | None:
        """Which values an output of indices chooses from; None for other outputs."""
        choice = choice_of(visit.binding.unit.calls[0], near=mode is Mode.CHAINED)
        return choice if choice is not None and choice.output == visit.binding.outputs[place] else None

    def _chosen(
        self, visit: Visit, place: int, arrays: _Pair, inputs: Sequence[Stored], mode: Mode
    ) -> Comparison | None:
        """Indices are judged by what they point to in the values that were really there; None for other outputs."""
        choice = self._choice(visit, place, mode)
        if choice is None:
            return None
        values = load(inputs[choice.values])
        if values is None:
            return None
        floor = EXACT
        if mode is Mode.CHAINED:
            pointed_into = self._references.value(visit.view.case, visit.binding.operands[choice.values])
            floor = pointed_into.chained or EXACT
        terms = visit.terms(visit.binding.values[place], mode)
        chained = mode is Mode.CHAINED
        return compare_indices(values, *arrays, choice.dim, floor=floor, terms=terms, chained=chained)

    def acquitted(self, visit: Visit, outcome: Outcome) -> bool:
        """Whether a chained result is so near to the recorded one that no wrong kernel can be behind it.

        The noise of a whole model may hide an error that no kernel may make alone. Below what the kernel
        is allowed on the recorded inputs nothing can hide; above it, only the source on the same inputs can tell.
        """
        strict = Comparer(self._references, self._overrides)  # what hides what can be asked once the source has spoken
        isolated = strict.with_reference(visit, outcome, visit.inputs, Mode.ISOLATED)
        return all(one.passed for one in comparisons_of(isolated))

    def with_source(self, visit: Visit, outcome: Outcome, expected: Outcome) -> list[Comparison]:
        """Compare with the source's result on the same inputs, by the isolated floor for inputs of that size."""
        return [one for one in self.against_source(visit, outcome, expected) if one is not None]

    def against_source(self, visit: Visit, outcome: Outcome, expected: Outcome) -> list[Comparison | None]:
        """The same with a place for each output, None for one that was not compared."""
        sizes = []
        for ref, now in zip(visit.binding.operands, visit.inputs, strict=True):
            before = self._references.get(visit.view.case, ref)
            if before is None or not before.same_content(now):
                peak = self._references.value(visit.view.case, ref).peak
                sizes.append((_size(before) if peak is None else peak, _size(now)))
        comparisons: list[Comparison | None] = []
        for place, value in enumerate(visit.binding.values):
            reference, actual = _side_by_side(expected.outputs[place], outcome.outputs[place])
            skipped = not_comparable(value) or self._ignored(visit, place) or promised(visit.binding, place) is not None
            if reference is None or actual is None or skipped:
                comparisons.append(None)
                continue
            comparisons.append(self._live(visit, place, (reference, actual), sizes))
        return comparisons

    def _live(self, visit: Visit, place: int, arrays: _Pair, sizes: Sequence[tuple[float, float]]) -> Comparison | None:
        """One output; `sizes` are those of inputs that are not the recorded ones, as recorded and now."""
        vouched = _vouched(arrays, max((now for _, now in sizes), default=0.0))
        if vouched is None:
            return None
        arrays = vouched
        value, reference = visit.binding.values[place], arrays[0]
        chosen = self._chosen(visit, place, arrays, visit.inputs, Mode.ISOLATED)
        if chosen is not None:
            return chosen
        floor, override = _floor(value, reference, Mode.ISOLATED), self._override(visit, place)
        if floor is not None and floor.origin == "float64":
            was = value.peak if value.peak is not None else _size(self._references.stored(value))
            floor = scaled(floor, [*sizes, (was, magnitude(reference))])
        arithmetic = visit.arithmetic(value, Mode.ISOLATED, partial(_products, visit.inputs))._asdict()
        judge = partial(_judge, floor=floor, inherited_nan=True, override=override, **arithmetic)
        return self._unhidden(visit, place, arrays, *closer(judge, arrays, visit.binding, visit.inputs, live=True))


def _judge(arrays: _Pair, /, **facts: Any) -> Comparison:
    return compare(*arrays, **facts)


SQUARES_OVERFLOW = 2.0**63
"""Inputs from here on have squares that float32 does not hold."""


def _vouched(arrays: _Pair, largest: float) -> _Pair | None:
    """Both sides, made equal where the source itself can vouch for nothing; None if that is everywhere.

    What an upstream fault has blown up may become NaN or Inf in one healthy kernel and not in another,
    which takes another way to the same result. Where the source gives such, nobody is to blame; nor where
    only the target does, if inputs are so large (`largest`) that a way may be through their squares.
    """
    reference, actual = arrays
    if reference.shape != actual.shape or reference.dtype != actual.dtype or reference.dtype.kind in "biu":
        return arrays
    finite = np.isfinite(reference)
    if largest > SQUARES_OVERFLOW:
        finite &= np.isfinite(actual)
    if finite.all():
        return arrays
    return (reference, np.where(finite, actual, reference)) if finite.any() else None


def ties(result: NodeResult, binding: Binding) -> set[int]:
    """Outputs whose indices differ from the recorded ones, and are as good."""
    return {
        output
        for output, given in zip(binding.outputs, result.outputs, strict=False)
        if given.comparison is not None and given.comparison.passed and given.comparison.max_abs > 0
        if given.comparison.floor_origin == "exact"
    }


def comparisons_of(result: NodeResult) -> tuple[Comparison, ...]:
    """The comparisons of the outputs that were compared."""
    return tuple(output.comparison for output in result.outputs if output.comparison is not None)


def _side_by_side(expected: Stored, computed: Stored) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Both as far as they were fetched: whole, or the rows of a sample."""
    reference, actual = load(expected), load(computed)
    sample = computed.sample
    if actual is None and sample is not None:
        actual = sample.elements()
        if reference is not None:
            reference = sample.of(reference)
        elif expected.sample is not None:
            reference = expected.sample.elements()
    return reference, actual


def _products(inputs: Sequence[Stored], left: int, right: int) -> float | None:
    """What upstream faults have made alike gives larger products than what is independent: they are computed."""
    rows = load(inputs[left]), load(inputs[right])
    return None if rows[0] is None or rows[1] is None else products_of(rows[0], rows[1])


def _size(stored: Stored | None) -> float:
    array = load(stored) if stored is not None else None
    return magnitude(array) if array is not None else 0.0


def _floor(value: Value, reference: np.ndarray, mode: Mode) -> Floor | None:
    """The recorded floor of a value, if there is one."""
    recorded = value.chained if mode is Mode.CHAINED and value.chained is not None else value.isolated
    if recorded is not None and mode is Mode.CHAINED and recorded.origin == "exact" and precision(reference.dtype):
        # The source moved values that it had computed exactly; the target's may be off by their rounding.
        return Floor(0.0, 0.0, "bound", 0.0, 0.0)
    return recorded


def _result(visit: Visit, outcome: Outcome, comparisons: list[Comparison | None], reasons: list[str]) -> NodeResult:
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
    passed = (said for said, one in zip(reasons, comparisons, strict=True) if one is not None)
    reason = reasons[chosen] if chosen is not None else next(filter(None, passed), "")
    if reason and len(reasons) > 1:
        reason = f"output {visit.binding.outputs[reasons.index(reason)]}: {reason}"
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
        device=outcome.device,
        sampled=any(
            one is not None and stored.bytes is None for one, stored in zip(comparisons, outcome.outputs, strict=True)
        ),
    )
