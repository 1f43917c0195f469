"""`tapml-tui check`: every node of every case on the target, judged; the report in the forms that were asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from tapml_tui.backends.protocol import Backend
from tapml_tui.compare.overrides import Overrides
from tapml_tui.engine import Engine
from tapml_tui.engine.commands import Mode
from tapml_tui.headless import junit, strict_json
from tapml_tui.headless.driver import Driver, Stop
from tapml_tui.headless.entries import Entry
from tapml_tui.headless.exits import CommandError
from tapml_tui.headless.interrupts import Interrupts
from tapml_tui.headless.outputs import STDOUT, as_it_comes, whole
from tapml_tui.headless.progress import progress_of
from tapml_tui.headless.report import Ended, Report, target_document
from tapml_tui.headless.summary import print_summary
from tapml_tui.headless.tolerances import tolerances_for
from trace_format import Trace, open_trace
from trace_format.text import printable

WHOLE = 1 << 62
"""No output stays on the device: a check judges all of it, if nothing else was asked for."""

NAMED = 5
"""How many ids are named where a glob matches none."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for on the command line.

    Attributes:
        trace: The file.
        targets: What is compiled for, by id of the target.
        mode: "isolated" or "chained".
        jobs: How many devices are used at a time.
        nodes: A glob over node ids; None: all.
        strict: Whether an unsupported node is a failure.
        json: File of the JSON report, "-" for stdout, or None.
        jsonl: File of a line of JSON per node.
        junit: File of the JUnit report.
        run: File that keeps the computed values, or None.
        tolerances: File of the user's own tolerances; None: one that lies beside the trace.
        blame: Whether to find out who breaks the model's answer; chained only.
        answer_only: Whether nothing is judged, and fetched, but what the model answers; chained only.
        fetch_limit: Outputs of more bytes are judged on a sample.
    """

    trace: str
    targets: Mapping[str, str] = field(default_factory=lambda: {"target": "llvm"})
    mode: str = "isolated"
    jobs: int = 1
    nodes: str | None = None
    strict: bool = False
    json: str | None = None
    jsonl: str | None = None
    junit: str | None = None
    run: str | None = None
    tolerances: str | None = None
    blame: bool = False
    answer_only: bool = False
    fetch_limit: int = WHOLE


def check(request: Request, make_backends: Callable[[], Sequence[Backend]]) -> int:
    """Check a trace; the report is written however it ends.

    Args:
        request: What was asked for.
        make_backends: Gives the source and the target, not started; called once the trace is open.

    Returns:
        The exit code.

    Raises:
        TraceError: If the trace, or the run, cannot be read.
        CommandError: If it cannot begin.
        OSError: If a report cannot be written.
    """
    with ExitStack() as stack:
        trace = stack.enter_context(open_trace(request.trace))
        if trace.kind == "run":
            raise CommandError(f"{request.trace} is a run, no trace", remedy="name the trace that it belongs to")
        if not trace.cases:
            raise CommandError("this trace has no cases", why="nothing was recorded", remedy="carve the model again")
        if request.nodes is not None:
            _refuse_no_node(trace, request.nodes)
        overrides, tolerances = tolerances_for(request.trace, request.tolerances)
        if tolerances and request.tolerances is None:
            print(f"tolerances are taken from {printable(tolerances)}, beside the trace", file=sys.stderr)
        paths, backends = _outputs(request), make_backends()
        interrupts = stack.enter_context(Interrupts())  # before the files: those of a check are whole, or as they were
        files = {
            name: stack.enter_context(as_it_comes(path) if name == "jsonl" else whole(path))
            for name, path in paths.items()
        }
        report = Report(
            request.trace,
            trace.content_id,
            request.mode,
            [],
            tolerances=tolerances,
            answer_only=request.answer_only,
        )
        lines = files.get("jsonl")

        def on_entry(entry: Entry) -> None:
            if lines is not None:
                print(strict_json.dumps(entry), file=lines, flush=True)

        _run(trace, request, report, backends, overrides, on_entry=on_entry, interrupts=interrupts)
        if "json" in files:
            print(strict_json.dumps(report.document(), indent=1), file=files["json"])
        if "junit" in files:
            files["junit"].write(junit.to_xml(report.entries, strict=request.strict).decode())
        print_summary(report, sys.stderr if STDOUT in paths.values() else sys.stdout)
    return report.exit_code(strict=request.strict)


def _refuse_no_node(trace: Trace, pattern: str) -> None:
    """A glob that matches nothing is a slip of the pen, no check.

    Raises:
        CommandError: With some ids that there are.
    """
    used = [trace.graphs[number] for number in sorted({case.graph for case in trace.cases})]
    ids = dict.fromkeys(graph.node_id(node) for graph in used for node in range(len(graph)))
    if any(fnmatchcase(node, pattern) for node in ids):
        return
    words = pattern.replace("*", " ").split()
    near = [node for node in ids if any(word in node for word in words)] or list(ids)
    raise CommandError(
        f"--nodes {pattern} matches no operator",
        why=f"{'they are called' if near else 'the trace has none'} {', '.join(near[:NAMED])}",
        remedy="a name must match as a whole: '*softmax*' is every softmax; quote it for the shell",
    )


def _run(
    trace: Trace,
    request: Request,
    report: Report,
    backends: Sequence[Backend],
    overrides: Overrides,
    *,
    on_entry: Callable[[Entry], None],
    interrupts: Interrupts,
) -> None:
    """Fill the report, as far as one comes."""
    with ExitStack() as stack:
        show = stack.enter_context(progress_of(trace))
        driver = Driver(
            trace,
            lambda on_event: Engine(
                trace,
                backends,
                on_event=on_event,
                run_path=Path(request.run) if request.run is not None else None,
                mode=Mode(request.mode),
                fetch_limit=request.fetch_limit,
                answer_only=request.answer_only,
                reuse=False,  # a check says what the target does today
                initial=None if request.nodes is None else "source",
                overrides=overrides,
            ),
            pattern=request.nodes,
            on_entry=on_entry,
            on_progress=show,
            interrupts=interrupts,
            jobs=request.jobs,
        )
        stack.callback(driver.close)
        for target, tvm_target in request.targets.items():
            _run_target(driver, trace, request, report, target)
            report.targets.append(target_document(target, tvm_target, driver.states.get(target), report.entries))


def _run_target(driver: Driver, trace: Trace, request: Request, report: Report, target: str) -> None:
    """Every case on one target. If that is lost the others can still be had; what the user stops is stopped."""
    stopped = report.ended in (Ended.INTERRUPTED, Ended.STOPPED)
    for case in range(len(trace.cases)):
        try:
            if not stopped:
                driver.run_case(case, target)
        except Stop as stop:
            stopped = True
            report.end(stop.ended, stop.message, target if len(request.targets) > 1 else "")
        report.entries += driver.entries(case, target)
        if stopped or request.mode != Mode.CHAINED:
            continue
        try:
            report.end_to_end += (
                {"backend": target, **end} for end in driver.end_to_end(case, alone=request.answer_only)
            )
            report.blame += [{"backend": target, **driver.blame(case)}] if request.blame else []
        except Stop as stop:
            stopped = True
            report.end(stop.ended, stop.message, target if len(request.targets) > 1 else "")


def _outputs(request: Request) -> dict[str, str]:
    """The files that were asked for, "-" for stdout, once at most.

    Raises:
        CommandError: If two shall go to one place.
    """
    asked = {"json": request.json, "jsonl": request.jsonl, "junit": request.junit}
    paths = {name: path for name, path in asked.items() if path is not None}
    if len(set(paths.values())) < len(paths):
        twice = " and ".join(f"--{name}" for name in paths)
        raise CommandError(f"{twice} name the same file", remedy="give each a file of its own")
    return paths
