"""Executes one case and records every value, as it was at the time of the call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from tapml_tui.carve.floors import Replay, WideWeights
from tapml_tui.carve.kinds import Kind
from tapml_tui.carve.plan import Plan, Ref, Step, fill
from tapml_tui.carve.sink import Digest, Sink
from tapml_tui.operators import dtype_name, flat_outputs
from trace_format.model import Floor, InputRef, NodeRef, Value

ALIGNMENT = 64
"""Bytes in a trace lie at multiples of this; kernels may take another path for data that does not."""

LEFT_OUT = "left out by --include"

_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_UNKNOWN: tuple[Floor | None, Floor | None] = (None, None)


class Recorder:
    """Writes cases down. One for a whole trace: it knows which weights are written already."""

    def __init__(self, sink: Sink, *, floors: bool) -> None:
        self._sink = sink
        self._floors = floors
        self._wide = WideWeights()
        self._weights: dict[int, tuple[torch.Tensor, torch.Tensor, Digest]] = {}
        self._names: dict[str, Digest] = {}

    @property
    def weight_digests(self) -> dict[str, bytes]:
        """Digests of the weights that are in the trace, by qualified name; after the sink is closed."""
        return {name: digest.value for name, digest in self._names.items() if digest.value is not None}

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
        run = _Run(plan, case, self._sink)
        for i, (value, weight) in enumerate(zip(inputs, plan.weights, strict=True)):
            known = self._weight(weight) if weight is not None else None
            run.input(InputRef(i), value, known)
            if known is not None:
                self._names[plan.inputs[i].target] = known[1]
        replay = None
        if self._floors:
            weights = {InputRef(i) for i, weight in enumerate(plan.weights) if weight is not None}
            replay = Replay(run.recorded, self._wide, weights, drift or {})
        with torch.no_grad():
            for index, step in enumerate(plan.steps):
                run.step(index, step, replay)
                on_step()
        outputs = [out.value for out in plan.outputs]
        values = [None if ref is None else run.values[ref] for ref in outputs]
        return values, [None if ref is None or replay is None else replay.drift(ref) for ref in outputs]

    def _weight(self, weight: torch.Tensor) -> tuple[torch.Tensor, Digest]:
        """The recorded form of a weight and its digest, the same object for every case."""
        if (known := self._weights.get(id(weight))) is None:
            # The weight itself is kept too: its id must stay its own.
            known = self._weights[id(weight)] = (weight, as_recorded(weight), Digest())
        return known[1], known[2]


class _Run:
    """One case on its way: what its values are, and what was recorded of them.

    Attributes:
        values: As the model computes them, with their strides.
        recorded: As the trace has them: contiguous, aligned, never written to again.
    """

    def __init__(self, plan: Plan, case: int, sink: Sink) -> None:
        self.values: dict[Ref, Any] = {}
        self.recorded: dict[Ref, Any] = {}
        self._plan = plan
        self._case = case
        self._sink = sink
        self._digests: dict[Ref, Digest] = {}

    def input(self, ref: InputRef, value: Any, weight: tuple[torch.Tensor, Digest] | None) -> None:
        """Take a graph input; `weight` is its recorded form if it is a parameter, buffer or constant."""
        wanted = ref in self._plan.kept
        self.values[ref] = value
        if weight is None:
            self._fix(ref, value, (), wanted)
        else:
            self.recorded[ref], digest = weight
            if wanted:
                self._digests[ref] = digest
                if not digest.requested:
                    self._sink.tensor(weight[0], digest)
        self._describe(ref, note="" if wanted else "no recorded operator reads it")

    def step(self, index: int, step: Step, replay: Replay | None) -> None:
        """Execute a node, execute it again from the recorded bytes, and record it."""
        if step.node.outputs:
            outputs = flat_outputs(call(step, self.values))
            refs = [NodeRef(index, i) for i in range(len(outputs))]
            self.values.update(zip(refs, outputs, strict=True))
            for ref, output in zip(refs, outputs, strict=True):
                self._fix(ref, output, step.reads, step.included or ref in self._plan.kept)
            reproducible, note = self._again(step, refs) if step.included else (None, "")
            floors = replay.floors(index, step) if replay is not None else [_UNKNOWN] * len(refs)
            for ref, floor in zip(refs, floors, strict=True):
                left_out = not step.included and ref not in self._plan.kept
                self._describe(
                    ref,
                    reproducible=reproducible,
                    floors=floor if step.included else _UNKNOWN,
                    note=LEFT_OUT if left_out else note,
                )
        for gone in step.last_reads:
            self.values.pop(gone, None)
            self.recorded.pop(gone, None)
            self._digests.pop(gone, None)
        if replay is not None:
            replay.forget(step.last_reads)

    def _fix(self, ref: Ref, value: Any, reads: tuple[Ref, ...], wanted: bool) -> None:
        """Fix the bytes of a value and have them written, unless an input of the node has the same ones."""
        if not isinstance(value, torch.Tensor):
            self.recorded[ref] = value
            return
        recorded = self.recorded[ref] = as_recorded(value)
        if not wanted or not recordable(recorded.dtype):
            return
        for read in reads:
            if read in self._digests and same_memory(recorded, self.recorded[read]):
                self._digests[ref] = self._digests[read]
                return
        digest = self._digests[ref] = Digest()
        self._sink.tensor(recorded, digest)

    def _again(self, step: Step, refs: Sequence[NodeRef]) -> tuple[bool | None, str]:
        """Whether the node gives the same bits again from the recorded bytes, and what is to be said about it."""
        if not step.alone:
            return None, ""
        if step.kind is Kind.UNINITIALISED:
            return False, "uninitialised memory: there is nothing to compare"
        try:
            outputs = flat_outputs(call(step, self.recorded))
        except Exception as error:  # as_strided and the like, on other strides than it had
            return False, f"could not be executed from the recorded bytes: {str(error).splitlines()[0][:200]}"
        same = all(same_bits(again, self.recorded[ref]) for again, ref in zip(outputs, refs, strict=True))
        return same, "random: it differs each time" if step.kind is Kind.RANDOM else ""

    def _describe(
        self,
        ref: Ref,
        *,
        reproducible: bool | None = None,
        floors: tuple[Floor | None, Floor | None] = _UNKNOWN,
        note: str = "",
    ) -> None:
        """Have the value written that describes a tensor or a number."""
        value = self.values[ref]
        if not isinstance(value, torch.Tensor):
            known = isinstance(value, (bool, int, float, str))
            said = note if known else note or f"a {type(value).__name__} cannot be recorded"
            described = Value("", (), scalar=value if known else None, note=said)
            self._sink.submit(partial(self._sink.writer.add_value, self._case, ref, described))
            return
        shape, strides, digest = tuple(value.shape), value.stride(), self._digests.get(ref)
        if recordable(value.dtype):
            dtype = dtype_name(value.dtype)
        else:
            dtype, note = "", note or f"a trace cannot hold {value.dtype}"

        def write() -> None:
            tensor = digest.value if digest is not None else None
            described = Value(dtype, shape, strides, tensor, None, reproducible, *floors, note)
            self._sink.writer.add_value(self._case, ref, described)

        self._sink.submit(write)


def call(step: Step, values: Mapping[Ref, Any]) -> Any:
    """Execute a node on these values, none of which it may change."""
    args = [fill(a, values) for a in step.args]
    kwargs = {k: fill(v, values) for k, v in step.kwargs.items()}
    if step.writes:
        args, kwargs = torch.utils._pytree.tree_map_only(torch.Tensor, torch.clone, (args, kwargs))
    return step.target(*args, **kwargs)


def as_recorded(value: torch.Tensor) -> torch.Tensor:
    """The tensor as a trace holds it: contiguous, plain bits, aligned; itself if it is so already."""
    plain = _contiguous(value)
    return plain.clone() if plain.data_ptr() % ALIGNMENT else plain


def _contiguous(value: torch.Tensor) -> torch.Tensor:
    if value.is_conj() or value.is_neg():
        value = value.resolve_conj().resolve_neg()
    return value if value.is_contiguous() else value.contiguous()


def recordable(dtype: torch.dtype) -> bool:
    """Whether a trace has this type."""
    try:
        dtype_name(dtype)
    except ValueError:
        return False
    return True


def same_bits(a: Any, b: Any) -> bool:
    """Equal bit by bit: NaN equals itself, and -0.0 does not equal 0.0."""
    if not isinstance(a, torch.Tensor) or not isinstance(b, torch.Tensor):
        return type(a) is type(b) and bool(a == b)
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return bool(torch.equal(_as_integers(_contiguous(a)), _as_integers(_contiguous(b))))


def _as_integers(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    if not (tensor.is_floating_point() or tensor.dtype == torch.bool):
        return tensor
    return tensor.view(_BITS[tensor.itemsize])


def same_memory(a: Any, b: Any) -> bool:
    """Whether two recorded tensors are the same bytes in the same place, whatever their shapes."""
    return (
        isinstance(b, torch.Tensor)
        and a.data_ptr() == b.data_ptr()
        and a.numel() == b.numel()
        and a.dtype == b.dtype
        and a.numel() > 0
    )
