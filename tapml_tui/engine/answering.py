"""The end-to-end verdict of a run: its outputs, fetched from a view and judged as what they are."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from tapml_tui.compare import Comparison, compare
from tapml_tui.engine.commands import Mode
from tapml_tui.engine.end_to_end import Kind, OutputVerdict, guess_kind, judge_output
from tapml_tui.engine.units import Binding, Bindings, not_comparable
from tapml_tui.engine.values import References, load
from tapml_tui.engine.view import View, output_nodes, outputs_of
from trace_format import Trace, TraceError
from trace_format.model import NodeRef

_KEPT = 64


@dataclass(frozen=True, slots=True)
class Answer:
    """Is the model's answer still right?

    Attributes:
        outputs: One per output of the model.
        stale: A side was switched since: the outputs are those of the placement before.
    """

    outputs: tuple[OutputVerdict, ...]
    stale: bool = False

    @property
    def passed(self) -> bool | None:
        """Whether every output that was judged passed; None if none was."""
        verdicts = [output.passed for output in self.outputs if output.passed is not None]
        return all(verdicts) if verdicts else None

    @property
    def reason(self) -> str:
        """Why it did not pass, or why nothing was judged; "" if it passed."""
        told = [one for one in self.outputs if one.reason and one.passed is not True]
        named = len(self.outputs) > 1
        return "; ".join(f"{one.name}: {one.reason}" if named else one.reason for one in told)


class Answers:
    """Judges the outputs of views; the same values are judged once."""

    def __init__(self, trace: Trace, references: References, bindings: Bindings) -> None:
        """Answers of `trace`."""
        self._trace, self._references, self._bindings = trace, references, bindings
        self._kinds: dict[tuple[int, int], Kind] = {}  # by graph and output, where the user chose
        self._judged: OrderedDict[tuple[object, ...], OutputVerdict] = OrderedDict()
        self._last: dict[int, Answer] = {}  # by case

    def choose(self, graph: int, output: int, kind: Kind) -> None:
        """Judge an output as what the user says it is.

        Raises:
            ValueError: If there is no such output.
        """
        if not 0 <= output < len(self._trace.graphs[graph].outputs):
            raise ValueError(f"the model has no output {output}")
        self._kinds[graph, output] = kind
        self._judged.clear()

    @property
    def kinds(self) -> dict[tuple[int, int], Kind]:
        """What the user chose, by graph and output."""
        return self._kinds

    def now(self, view: View) -> Answer | None:
        """The answer of a chained view; the last one, stale, where its outputs are to be computed again."""
        if view.mode is not Mode.CHAINED:
            return None
        nodes = output_nodes(view.graph)
        if nodes and all(view.fresh(node) for node in nodes):
            self._last[view.case] = self.judge(view)
            return self._last[view.case]
        last = self._last.get(view.case)
        return Answer(last.outputs, stale=True) if last is not None else None

    def judge(self, view: View) -> Answer:
        """Judge the outputs of a view as they are now."""
        graph = self._trace.cases[view.case].graph
        return Answer(tuple(self._outputs(view, graph)))

    def _outputs(self, view: View, graph: int) -> Iterator[OutputVerdict]:
        for number, name, ref in outputs_of(view.graph):
            stored = view.value(ref)
            key = (view.case, number, stored.digest if stored is not None else None)
            if key not in self._judged:
                self._judged[key] = self._output(view, (graph, number), name, ref)
                if len(self._judged) > _KEPT:
                    self._judged.popitem(last=False)
            yield self._judged[key]

    def _output(self, view: View, place: tuple[int, int], name: str, ref: NodeRef) -> OutputVerdict:
        node = view.graph.node(ref.node)
        kind = self._kinds.get(place, Kind.TENSOR)
        try:
            value = self._references.value(view.case, ref)
            reference = self._references.array(value)
            stored = view.value(ref)
            actual = load(stored) if stored is not None else None
        except TraceError as error:
            return OutputVerdict(place[1], name, kind, None, reason=str(error))
        if reference is not None and place not in self._kinds:
            kind = guess_kind(name, node.path, node.op, reference)
        reason = not_comparable(value)
        if reason or reference is None or actual is None:
            reason = reason or ("not computed" if stored is None else "larger than fetch.limit: it was not fetched")
            return OutputVerdict(place[1], name, kind, None, reason=reason)
        comparison = self._compared(view, ref)
        if comparison is None:
            comparison = compare(reference, actual, floor=value.chained or value.isolated)
        return judge_output(kind, reference, actual, comparison, output=place[1], name=name)

    def _compared(self, view: View, ref: NodeRef) -> Comparison | None:
        """What the node's own judgement says of this output."""
        result, binding = view.results.get(ref.node), self._bindings.get(view.case, ref.node)
        if result is None or not isinstance(binding, Binding) or ref.output not in binding.outputs:
            return None
        position = binding.outputs.index(ref.output)
        return result.outputs[position].comparison if position < len(result.outputs) else None
