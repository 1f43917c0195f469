"""Executes one case and records every value, as it was at the time of the call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from tapml_tui.carve.ahead import Ahead
from tapml_tui.carve.bits import as_recorded, recordable, same_bits, same_memory
from tapml_tui.carve.entry import UNKNOWN, Entry, Form, Stored
from tapml_tui.carve.floors import Replay, WideWeights
from tapml_tui.carve.kinds import Kind
from tapml_tui.carve.measure import Yardstick
from tapml_tui.carve.plan import Plan, Ref, Step, fill
from tapml_tui.carve.sink import Sink
from tapml_tui.operators import dtype_name, flat_outputs, to_numpy
from trace_format.model import InputRef, NodeRef

LEFT_OUT = "left out by --include"


class Recorder:
    """Writes cases down. One for a whole trace: it knows which weights are written already.

    Attributes:
        sink: Where values go.
        stored: Of every case, what was written of each value; filled in when the sink is closed.
    """

    def __init__(self, sink: Sink, ahead: Ahead, wide: WideWeights | None) -> None:
        """Nothing is recorded yet.

        Args:
            sink: Where values go.
            ahead: What is known of weights already.
            wide: Weights in double precision; None: no floors are wanted.
        """
        self.sink = sink
        self._ahead = ahead
        self._wide = wide
        self._weights: dict[int, tuple[torch.Tensor, torch.Tensor, Stored]] = {}
        self._names: dict[str, Stored] = {}
        self.stored: list[dict[Ref, Stored]] = []

    @property
    def weight_digests(self) -> dict[str, bytes]:
        """Digests of the weights that are in the trace, by qualified name; after the sink is closed."""
        return {name: stored.digest for name, stored in self._names.items() if stored.digest is not None}

    def run(
        self,
        plan: Plan,
        inputs: Sequence[Any],
        case: int,
        on_step: Callable[[], None],
        drift: Mapping[Ref, torch.Tensor] | None = None,
    ) -> tuple[list[Any], list[torch.Tensor | None]]:
        """Execute the graph on `inputs` (one per graph input) and record it as case number `case`.

        Args:
            plan: The graph.
            inputs: One value per graph input.
            case: Its number.
            on_step: Called after each node.
            drift: What inputs are in the float64 replay of the case that hands them on.

        Returns:
            What the graph's outputs are, in order, None where one is a constant; and what they are in
            the float64 replay of the whole case, None where that is the same, or not known.
        """
        run = _Run(plan, case, self.sink)
        for i, (value, weight) in enumerate(zip(inputs, plan.weights, strict=True)):
            known = self._weight(weight) if weight is not None else None
            run.input(InputRef(i), value, known)
            if known is not None:
                self._names[plan.inputs[i].target] = known[1]
        replay = None
        if self._wide is not None:
            weights = {InputRef(i) for i, weight in enumerate(plan.weights) if weight is not None}
            replay = Replay(run.recorded, self._wide, weights, drift or {})
        with torch.no_grad():
            for index, step in enumerate(plan.steps):
                run.step(index, step, replay)
                on_step()
        self.stored.append(run.stored)
        outputs = [out.value for out in plan.outputs]
        values = [None if ref is None else run.values[ref] for ref in outputs]
        return values, [None if ref is None or replay is None else replay.drift(ref) for ref in outputs]

    def _weight(self, weight: torch.Tensor) -> tuple[torch.Tensor, Stored]:
        """The recorded form of a weight and its bytes in the trace, the same object for every case."""
        if (known := self._weights.get(id(weight))) is None:
            # The weight itself is kept too: its id must stay its own.
            ahead = self._ahead.weight(weight)
            recorded = as_recorded(weight) if ahead is None else ahead.recorded
            stored = Stored(None if ahead is None else ahead.known)
            stored.written = ahead is not None and self.sink.writer.has_tensor(ahead.found.digest)
            known = self._weights[id(weight)] = weight, recorded, stored
        return known[1], known[2]


class _Run:
    """One case on its way: what its values are, and what was recorded of them.

    Attributes:
        values: As the model computes them, with their strides.
        recorded: As the trace has them: contiguous, aligned, never written to again.
        stored: What is written of them.
    """

    def __init__(self, plan: Plan, case: int, sink: Sink) -> None:
        self.values: dict[Ref, Any] = {}
        self.recorded: dict[Ref, Any] = {}
        self._plan = plan
        self._case = case
        self._sink = sink
        self.stored: dict[Ref, Stored] = {}

    def input(self, ref: InputRef, value: Any, weight: tuple[torch.Tensor, Stored] | None) -> None:
        """Take a graph input; `weight` is its recorded form if it is a parameter, buffer or constant."""
        wanted = ref in self._plan.kept
        self.values[ref] = value
        if weight is None:
            self._fix(ref, value, (), wanted)
        else:
            self.recorded[ref], stored = weight
            if wanted:
                self.stored[ref] = stored
        self._describe(ref, note="" if wanted else "no recorded operator reads it")

    def step(self, index: int, step: Step, replay: Replay | None) -> None:
        """Execute a node, execute it again from the recorded bytes, and record it."""
        if step.node.outputs:
            outputs = flat_outputs(call(step, self.values))
            refs = [NodeRef(index, i) for i in range(len(outputs))]
            self.values.update(zip(refs, outputs, strict=True))
            moved = [
                self._fix(ref, output, step.reads, step.included or ref in self._plan.kept)
                for ref, output in zip(refs, outputs, strict=True)
            ]
            reproducible, note = self._again(step, refs, all(moved)) if step.included else (None, "")
            yardsticks = replay.yardsticks(index, step) if replay is not None else [UNKNOWN] * len(refs)
            for ref, pair in zip(refs, yardsticks, strict=True):
                left_out = not step.included and ref not in self._plan.kept
                self._describe(
                    ref,
                    reproducible=reproducible,
                    yardsticks=pair if step.included else UNKNOWN,
                    note=LEFT_OUT if left_out else note,
                )
        for gone in step.last_reads:
            self.values.pop(gone, None)
            self.recorded.pop(gone, None)
        if replay is not None:
            replay.forget(step.last_reads)

    def _fix(self, ref: Ref, value: Any, reads: tuple[Ref, ...], wanted: bool) -> bool:
        """Fix the bytes of a value: those of an input of the node, if they are the same ones, which is answered."""
        if not isinstance(value, torch.Tensor):
            self.recorded[ref] = value
            return False
        recorded = self.recorded[ref] = as_recorded(value)
        if not wanted or not recordable(recorded.dtype):
            return False
        for read in reads:
            if (stored := self.stored.get(read)) is not None and same_memory(recorded, self.recorded[read]):
                self.stored[ref] = stored
                return True
        self.stored[ref] = Stored()
        return False

    def _again(self, step: Step, refs: Sequence[NodeRef], moved: bool) -> tuple[bool | None, str]:
        """Whether the node gives the same bits again from the recorded bytes, and what is to be said about it.

        None where only the strides make the difference: the recorded bytes are contiguous, and PyTorch sums what lies
        in another order in another order. That is no reason not to judge it.

        Args:
            step: The node.
            refs: Its outputs.
            moved: Whether each of them is the bytes of an input, in the same place.
        """
        if moved and step.kind is Kind.MOVES:  # again it would be the same memory
            return True, ""
        if not step.alone:
            return None, ""
        if step.kind is Kind.UNINITIALISED:
            return False, "uninitialised memory: there is nothing to compare"
        try:
            outputs = flat_outputs(call(step, self.recorded))
        except Exception as error:  # as_strided and the like, on other strides than it had
            return False, f"could not be executed from the recorded bytes: {str(error).splitlines()[0][:200]}"
        same = self._same(outputs, refs)
        if step.kind is Kind.RANDOM:
            return same, "random: it differs each time"
        if not same and self._same(flat_outputs(call(step, self.values)), refs):
            return None, ""
        return same, ""

    def _same(self, outputs: Sequence[Any], refs: Sequence[NodeRef]) -> bool:
        return all(same_bits(again, self.recorded[ref]) for again, ref in zip(outputs, refs, strict=True))

    def _describe(
        self,
        ref: Ref,
        *,
        reproducible: bool | None = None,
        yardsticks: tuple[Yardstick, Yardstick] = UNKNOWN,
        note: str = "",
    ) -> None:
        """Have the value written that describes a tensor or a number."""
        value = self.values[ref]
        if not isinstance(value, torch.Tensor):
            known = isinstance(value, (bool, int, float, str))
            said = note if known else note or f"a {type(value).__name__} cannot be recorded"
            self._sink.put(Entry(self._case, ref, Form("", note=said, scalar=value if known else None)))
            return
        if recordable(value.dtype):
            dtype = dtype_name(value.dtype)
        else:
            dtype, note = "", note or f"a trace cannot hold {value.dtype}"
        form = Form(dtype, tuple(value.shape), value.stride(), reproducible, note)
        stored = self.stored.get(ref)
        array = to_numpy(self.recorded[ref]) if stored is not None else None
        self._sink.put(Entry(self._case, ref, form, stored, array, yardsticks))


def call(step: Step, values: Mapping[Ref, Any]) -> Any:
    """Execute a node on these values, none of which it may change."""
    args = [fill(a, values) for a in step.args]
    kwargs = {k: fill(v, values) for k, v in step.kwargs.items()}
    if step.writes:
        args, kwargs = torch.utils._pytree.tree_map_only(torch.Tensor, torch.clone, (args, kwargs))
    return step.target(*args, **kwargs)
