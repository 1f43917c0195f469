"""`tapml-tui export`: kernels as tests that run without this program."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path

from tapml_tui.backends.protocol import Backend
from tapml_tui.compare import Status
from tapml_tui.compare.overrides import Overrides
from tapml_tui.engine import Engine
from tapml_tui.engine.commands import Mode, RunNodes, SelectCase
from tapml_tui.engine.comparing import NO_OVERRIDES
from tapml_tui.engine.events import Event
from tapml_tui.engine.exhibits import Origin
from tapml_tui.export import CannotExport, Exhibit, check_place, file_name, write_test
from tapml_tui.export.shrinking import sizes_of
from tapml_tui.headless.conversation import Conversation
from tapml_tui.headless.exits import CommandError, Exit
from tapml_tui.headless.progress import progress_of
from tapml_tui.headless.shrinking import Shrinker
from trace_format import Trace, open_trace
from trace_format.text import printable

WHOLE = 1 << 62
WRONG = (Status.FAILED, Status.ERROR)
NAMED = 5


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What was asked for on the command line.

    Attributes:
        trace: The file.
        node: Id of the node; None: all that fail.
        output: The test to write; with all, the folder for them.
        mode: "isolated" or "chained".
        case: Name of the case; None: the first one in which the node fails, else the first.
        shrink: Whether to cut the data as long as it fails alike.
        origin: What a test is told of the target.
        overrides: The user's own tolerances.
    """

    trace: str
    node: str | None
    output: str
    mode: str = "isolated"
    case: str | None = None
    shrink: bool = False
    origin: Origin = field(default_factory=Origin)
    overrides: Overrides = NO_OVERRIDES


def export(
    request: ExportRequest,
    make_backends: Callable[[], Sequence[Backend]],
) -> int:
    """Run what is asked for on the target, and write it out.

    Args:
        request: What was asked for.
        make_backends: Gives the source and the target, not started.

    Returns:
        The exit code: 0 if something was written.

    Raises:
        TraceError: If the trace cannot be read.
        CommandError: If there is no such node, or nothing to write.
        OSError: If it cannot be written.
    """
    if request.node is not None:
        try:
            check_place(Path(request.output))
        except CannotExport as error:
            raise CommandError("no test was written", why=str(error), remedy="-o names the test") from None
    with ExitStack() as stack:
        trace = stack.enter_context(open_trace(request.trace))
        if not trace.cases:
            raise CommandError("this trace has no cases", why="nothing was recorded", remedy="carve the model again")
        cases = _cases(trace, request.case)
        if request.node is not None:
            _refuse_no_node(trace, cases, request.node)
        with (
            progress_of(trace) as show,
            Conversation(lambda told: _engine(trace, make_backends, request, told), show) as talk,
        ):
            exhibits = list(_exhibits(talk, trace, cases, request.node))
        # The target's processes are gone; what they gave is mapped as long as it is needed.
        if request.shrink:
            exhibits = _shrunk(exhibits, make_backends)
        if request.node is not None:
            return _write_one(exhibits[0], Path(request.output))
        return _write_all(exhibits, Path(request.output), request.trace)


def _shrunk(exhibits: Sequence[Exhibit], make_backends: Callable[[], Sequence[Backend]]) -> list[Exhibit]:
    with Shrinker(make_backends()) as shrinker:
        small = []
        for exhibit in exhibits:
            small.append(shrinker.shrink(exhibit))
            sizes = f"{exhibit.nbytes:,} -> {small[-1].nbytes:,} bytes"
            print(f"{printable(exhibit.node)}: {sizes} ({sizes_of(small[-1])})", file=sys.stderr)
        return small


def _engine(
    trace: Trace,
    make_backends: Callable[[], Sequence[Backend]],
    request: ExportRequest,
    on_event: Callable[[Event], None],
) -> Engine:
    return Engine(
        trace,
        make_backends(),
        on_event=on_event,
        mode=Mode(request.mode),
        fetch_limit=WHOLE,
        reuse=False,  # what the target does today
        origins={"target": request.origin},
        overrides=request.overrides,
    )


def _cases(trace: Trace, name: str | None) -> list[int]:
    cases = [number for number, case in enumerate(trace.cases) if name is None or case.name == name]
    if not cases:
        there = ", ".join(printable(case.name, 60) for case in trace.cases[:NAMED])
        raise CommandError(f"there is no case {name!r}", why=f"there are {there}")
    return cases


def _refuse_no_node(trace: Trace, cases: Sequence[int], name: str) -> None:
    graphs = {trace.cases[case].graph for case in cases}
    if all(trace.graphs[graph].find_id(name) is None for graph in graphs):
        ids = [trace.graphs[graph].node_id(node) for graph in graphs for node in range(len(trace.graphs[graph]))]
        ids = list(dict.fromkeys(ids))  # graphs share names
        near = get_close_matches(name, ids, n=NAMED, cutoff=0.3) or ids[:NAMED]
        raise CommandError(f"there is no node {name}", why=f"near it: {', '.join(map(printable, near))}")


def _exhibits(talk: Conversation, trace: Trace, cases: Sequence[int], name: str | None) -> Iterator[Exhibit]:
    """The exhibits that are asked for; of a node that fails in several cases, the first."""
    seen: set[str] = set()
    fallback: tuple[int, int] | None = None
    for case in cases:
        graph = trace.graphs[trace.cases[case].graph]
        node = graph.find_id(name) if name is not None else None
        if name is not None and node is None:
            continue
        talk.must(SelectCase(case))
        talk.must(RunNodes((node,) if node is not None else None))
        for place in range(len(graph)) if node is None else (node,):
            result = talk.engine.result(place)
            if result is None or result.status not in WRONG or graph.node_id(place) in seen:
                fallback = fallback or (case, place)
                continue
            seen.add(graph.node_id(place))
            try:
                yield talk.engine.exhibit(place)
            except CannotExport as error:
                if name is not None:
                    raise CommandError("no test was written", why=str(error), code=Exit.FAILED) from None
                print(f"left out: {printable(str(error), 300)}", file=sys.stderr)
            if name is not None:
                return
    if name is not None and fallback is not None:
        talk.must(SelectCase(fallback[0]))
        try:
            yield talk.engine.exhibit(fallback[1])
        except CannotExport as error:
            raise CommandError("no test was written", why=str(error), code=Exit.FAILED) from None


def _write_one(exhibit: Exhibit, path: Path) -> int:
    try:
        test, data = write_test(exhibit, path)
    except CannotExport as error:
        raise CommandError("no test was written", why=str(error), code=Exit.FAILED) from None
    print(f"{test}  {data} ({data.stat().st_size:,} bytes)" if data else f"{test}  (with its data)")
    print(f"  {_said(exhibit)}")
    if exhibit.lower or exhibit.load:
        print("  with it goes user_files_*, beside it: your files of --lower and --load, and what they import")
    print(f"  run it: pytest {test}")
    return Exit.OK


def _write_all(exhibits: Sequence[Exhibit], folder: Path, trace: str) -> int:
    if not exhibits:
        raise CommandError("nothing fails, so there is nothing to write", code=Exit.FAILED)
    folder.mkdir(parents=True, exist_ok=True)
    written: list[tuple[str, Exhibit]] = []
    for exhibit in exhibits:
        name = _free(file_name(exhibit.node), {other for other, _ in written})
        try:
            write_test(exhibit, folder / name)
        except CannotExport as error:
            print(f"left out: {printable(exhibit.node)}: {printable(str(error), 300)}", file=sys.stderr)
            continue
        written.append((name, exhibit))
        print(f"{folder / name}  {_said(exhibit)}")
    (folder / "run.py").write_text((files("tapml_tui.export") / "exported_runner.py").read_text("utf-8"), "utf-8")
    (folder / "README.md").write_text(_readme(written, trace), "utf-8")
    print(f"{len(written)} tests: python {folder / 'run.py'}")
    return Exit.OK if written else Exit.FAILED


def _free(name: str, taken: set[str]) -> str:
    stem, number = name.removesuffix(".py"), 2
    while name in taken:
        name, number = f"{stem}_{number}.py", number + 1
    return name


def _said(exhibit: Exhibit) -> str:
    words = " - ".join(filter(None, [exhibit.reason, exhibit.diagnosis]))
    return printable(words, 300) or "it passes on this target"


def _readme(written: Sequence[tuple[str, Exhibit]], trace: str) -> str:
    rows = "\n".join(
        f"| `{name}` | {_cell(exhibit.node)} | {_cell(exhibit.unit.calls[0].op)} | {_cell(_said(exhibit))} |"
        for name, exhibit in written
    )
    return README.format(
        trace=_cell(Path(trace).name), target=_cell(written[0][1].target if written else ""), rows=rows
    )


def _cell(text: str) -> str:
    return printable(text, 300).replace("|", "\\|").replace("`", "'")


README = """# Kernels that are wrong

Written by `tapml-tui export` from {trace}; the target was {target}. Each test has its data in it, or
beside it where that is large, as are the files of --lower and --load (`user_files_*`). It needs numpy,
pytest and TVM (PyTorch too, where TVM converts the operator).

```sh
python run.py                                        # all, each in a process of its own
TVM_TARGET=opencl TVM_RPC=127.0.0.1:9090 python run.py   # on your device
TVM_TRACKER=127.0.0.1:9190 TVM_KEY=board python run.py --jobs 3   # on three devices of a tracker
LOWER=my.py pytest test_one.py                        # with a kernel of yours: lower(op) -> build(block, args, kwargs)
LOAD=ops.py pytest test_one.py                        # an operator that is none of PyTorch's own is registered there
```

| test | node | operator | what is wrong |
|---|---|---|---|
{rows}
"""
