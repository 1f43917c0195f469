"""The whole of it: export every set of shapes, see that there is room, execute and record every case."""

from __future__ import annotations

import copy
import gc
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from tapml_tui.carve.ahead import SWITCH_SECONDS, Ahead
from tapml_tui.carve.draft import Draft
from tapml_tui.carve.errors import CarveError
from tapml_tui.carve.export import cast_floats
from tapml_tui.carve.floors import WideWeights
from tapml_tui.carve.overflow import overflow_notes
from tapml_tui.carve.plan import Ref
from tapml_tui.carve.prepare import Prepared, prepare
from tapml_tui.carve.provenance import provenance
from tapml_tui.carve.record import Recorder
from tapml_tui.carve.sink import Sink
from tapml_tui.carve.size import check_room, estimate, has_room
from tapml_tui.carve.workload import Workload, WorkloadCase
from tapml_tui.interpreter import giving_way
from trace_format import TraceWriter
from trace_format.model import Case, FromCase, InputKind, InputRef, OutputKind


class Progress(NamedTuple):
    """How far carving is: node executions and bytes, done and in all (bytes: at most)."""

    steps: int
    total_steps: int
    written: int
    estimated: int


@dataclass(frozen=True)
class Report:
    """What carving did.

    Attributes:
        out: The trace.
        graphs: How many sets of shapes there were.
        cases: How many cases.
        nodes: Nodes of all graphs.
        estimated: Bytes announced before anything was written.
        size: Bytes of the file.
        notes: What could not be recorded, or is to be known, one sentence each.
        export_seconds: Spent in torch.export.
        record_seconds: Spent executing, judging and writing.
    """

    out: Path
    graphs: int
    cases: int
    nodes: int
    estimated: int
    size: int
    notes: tuple[str, ...]
    export_seconds: float
    record_seconds: float


def carve(
    module: torch.nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None = None,
    *,
    out: str | Path,
    **options: Any,
) -> Report:
    """Record a model on one input. See `carve_workload` for the options and for several inputs."""
    return carve_workload(Workload(module, (WorkloadCase("input", args, kwargs or {}),)), out=out, **options)


def carve_workload(
    workload: Workload,
    *,
    out: str | Path,
    floors: bool = True,
    max_size: int | None = None,
    include: str | None = None,
    dtype: torch.dtype | None = None,
    weights: str | Path | None = None,
    strict: bool = False,
    command: str = "",
    model_file: Path | None = None,
    on_size: Callable[[int], None] = lambda _: None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Report:
    """Record a model on every case of a workload.

    Args:
        workload: The model and its cases. The module is not changed.
        out: The trace to write; it appears when it is whole.
        floors: Compute the float64 noise floors. Peak and rms of every value are recorded either way.
        max_size: Refuse to write more than this many bytes.
        include: Glob over paths and node ids: record only these nodes, with their inputs.
        dtype: Cast floating weights and inputs to it first.
        weights: A `.safetensors` in the trace's folder; tensors found in it are referred to, not copied.
        strict: Have torch.export trace by bytecode (its `strict=True`).
        command: For the record.
        model_file: For the record; source lines are written relative to its folder.
        on_size: Told the size that the trace will have at most, before anything is recorded.
        on_progress: Told how far it is, about once a node.

    Raises:
        CarveError: The model cannot be exported, or there is no room.
        DiskFull: The disk filled up all the same; its `readable` says whether a trace is left.
    """
    out = Path(out).absolute()
    if weights is not None:
        _check_weights(Path(weights).absolute(), out)
    if dtype is not None:
        workload = _cast(workload, dtype)
    started = time.perf_counter()
    origin = provenance(
        command=command, model_file=model_file, seed=workload.seed, module=workload.module, strict=strict, notes=()
    )
    begin = partial(TraceWriter, out, origin, max_bytes=max_size)
    with giving_way(SWITCH_SECONDS), Ahead(workload.module) as ahead, Draft(begin, ahead) as draft:
        if include is None and weights is None and has_room(ahead.nbytes, out, max_size):
            draft.write_weights()
        wide = WideWeights() if floors else None
        widened = ahead.then(partial(_widen, wide, ahead)) if wide is not None else None
        folder = str(model_file.absolute().parent) if model_file is not None else ""
        prepared = prepare(workload, folder=folder, include=include, strict=strict)
        exported = time.perf_counter()
        needed = estimate(map(prepared.plan, range(len(workload.cases))), weights is not None)
        on_size(needed)
        check_room(needed, out, max_size, draft.written)
        notes = [*_training(workload.module), *_notes(prepared)]
        if widened is not None:
            widened.result()
        with draft.take(prepared.weights()) as writer:
            referred = writer.add_weights(Path(weights)) if weights is not None else {}
            recorder = Recorder(Sink(writer, ahead), ahead, wide)
            _record(workload, prepared, recorder, needed=needed, on_progress=on_progress)
            if weights is not None:
                notes.append(_weights_note(recorder.weight_digests, set(referred.values()), Path(weights).name))
            writer.sync_early()
            notes = overflow_notes(prepared, recorder.stored) + notes
            for note in notes:
                writer.add_note(note)
    return Report(
        out=out,
        graphs=len(prepared.plans),
        cases=len(workload.cases),
        nodes=sum(len(plan.steps) for plan in prepared.plans),
        estimated=needed,
        size=out.stat().st_size,
        notes=tuple(notes),
        export_seconds=exported - started,
        record_seconds=time.perf_counter() - exported,
    )


def _check_weights(weights: Path, out: Path) -> None:
    if not weights.is_file():
        raise CarveError(f"there are no weights {weights}", remedy="check the name", usage=True)
    if weights.parent.resolve() != out.parent.resolve():
        raise CarveError(
            f"{weights.name} must lie beside the trace",
            why="a trace refers to weights in its own folder only, so that both can be moved together",
            remedy=f"put it into {out.parent}, or write the trace into {weights.parent} with -o",
            usage=True,
        )


def _cast(workload: Workload, dtype: torch.dtype) -> Workload:
    module = copy.deepcopy(workload.module).to(dtype)
    cases = (
        replace(c, args=cast_floats(c.args, dtype), kwargs=cast_floats(dict(c.kwargs), dtype)) for c in workload.cases
    )
    return replace(workload, module=module, cases=tuple(cases))


def _widen(wide: WideWeights, ahead: Ahead) -> None:
    for weight in ahead.weights():
        wide.prepare(weight.recorded)


def _record(
    workload: Workload,
    prepared: Prepared,
    recorder: Recorder,
    *,
    needed: int,
    on_progress: Callable[[Progress], None],
) -> None:
    """Write graphs and cases."""
    total = sum(len(prepared.plan(i).steps) for i in range(len(workload.cases)))
    done = 0
    sink = recorder.sink
    gc.freeze()  # what torch.export leaves is large: to look through it takes longer than to record a small model

    def on_step() -> None:
        nonlocal done
        done += 1
        on_progress(Progress(done, total, sink.written, needed))

    try:
        for number in range(len(prepared.plans)):
            sink.submit(partial(_add_graph, sink.writer, prepared, number, type(workload.module).__name__))
        results: list[Mapping[int, Any]] = []
        replays: list[Mapping[int, Any]] = []
        for i, case in enumerate(workload.cases):
            plan, handed = prepared.plan(i), prepared.handed[i]
            recorded = Case(
                case.name,
                prepared.graph_of_case[i],
                tuple((g, FromCase(c, prepared.plan(c).user_outputs[o])) for g, (c, o) in sorted(handed.items())),
            )
            sink.submit(partial(sink.writer.add_case, recorded))
            drift: dict[Ref, Any] = {
                InputRef(g): replays[c][o] for g, (c, o) in handed.items() if replays[c][o] is not None
            }
            outputs, replayed = recorder.run(plan, prepared.inputs(i, results), i, on_step, drift)
            handing = [(n, j) for n, j in enumerate(plan.user_outputs) if prepared.hands_on(i, n)]
            results.append({n: outputs[j] for n, j in handing})
            replays.append({n: replayed[j] for n, j in handing})
        sink.close()
    finally:
        sink.stop()
        gc.unfreeze()


def _add_graph(writer: TraceWriter, prepared: Prepared, number: int, name: str) -> None:
    plan = prepared.plans[number]
    cases = [i for i, graph in enumerate(prepared.graph_of_case) if graph == number]
    taken = {g for i in cases for g in prepared.handed[i]}
    handed_on = {o for i in cases for n, o in enumerate(plan.user_outputs) if prepared.hands_on(i, n)}
    writer.add_graph(
        name if len(prepared.plans) == 1 else f"{name} {number + 1}",
        [replace(g, kind=InputKind.STATE) if i in taken else g for i, g in enumerate(plan.inputs)],
        [replace(o, kind=OutputKind.STATE) if i in handed_on else o for i, o in enumerate(plan.outputs)],
        [step.node for step in plan.steps],
    )


def _notes(prepared: Prepared) -> list[str]:
    """What could not be recorded, node by node."""
    notes = []
    for number, plan in enumerate(prepared.plans):
        where = f"graph {number}: " if len(prepared.plans) > 1 else ""
        left_out = sum(not step.included for step in plan.steps)
        if left_out:
            notes.append(f"{where}{left_out} of {len(plan.steps)} nodes left out by --include")
        notes += [f"{where}{step.node.id}: {step.node.note}" for step in plan.steps if not step.alone and step.included]
    return notes


_OTHER_IN_TRAINING = (torch.nn.modules.dropout._DropoutNd, torch.nn.modules.batchnorm._BatchNorm)


def _training(module: torch.nn.Module) -> list[str]:
    """That a model was forgotten in training mode, where that computes something else than it would in use."""
    names = [name or "it" for name, one in module.named_modules() if one.training and _is_other_in_training(one)]
    if not names:
        return []
    where = f"{', '.join(names[:3])}{' and others' if len(names) > 3 else ''}"
    return [
        f"the model is in training mode ({where}), where it computes something else than in use: model.eval() ends it"
    ]


def _is_other_in_training(module: torch.nn.Module) -> bool:
    return isinstance(module, _OTHER_IN_TRAINING) and getattr(module, "p", 1.0) > 0


def _weights_note(digests: Mapping[str, bytes], referred: Collection[bytes], file: str) -> str:
    copied = sorted(name for name, digest in digests.items() if digest not in referred)
    said = f"{len(digests) - len(copied)} of {len(digests)} weights are those in {file}, by reference"
    if not copied:
        return said
    return f"{said}; copied, because they are not in it: {', '.join(copied[:8])}{', ...' if len(copied) > 8 else ''}"
