"""`tapml-tui info`: what is in a trace, in time that does not depend on its size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from tapml_tui.headless import strict_json
from tapml_tui.headless.exits import Exit
from trace_format import Trace, TraceError, open_trace, read_run
from trace_format.model import GraphInput, InputKind, InputRef, NodeRef
from trace_format.text import printable

LISTED = 12
"""How many operators, inputs, cases or notes are printed of each kind; all of them are in the JSON."""

FLOOR_SAMPLE = 32
"""How many nodes of a case are looked at to say whether noise floors were recorded."""


def info(path: str, *, as_json: bool) -> int:
    """Print what is in the trace at `path`.

    Raises:
        TraceError: If it is no trace, or cannot be read at all.
    """
    with open_trace(path) as trace:
        is_run = trace.kind == "run"
        facts = {} if is_run else describe(trace)
    if is_run:
        facts = describe_run(path)
    lines = _run_lines(facts) if is_run else _lines(facts)
    print(strict_json.dumps(facts, indent=2) if as_json else "\n".join(lines))
    return Exit.OK


def describe(trace: Trace) -> dict[str, Any]:
    """What `info --json` prints."""
    return {
        "path": str(trace.path),
        "kind": trace.kind,
        "version": trace.version,
        "content_id": trace.content_id,
        "size_bytes": trace.size_bytes,
        "complete": trace.complete,
        "damage": list(trace.damage),
        "provenance": asdict(trace.provenance),
        "graphs": [
            {
                "name": graph.name,
                "nodes": len(graph),
                "inputs": Counter(graph_input.kind.value for graph_input in graph.inputs),
                "outputs": [{"name": output.name, "kind": output.kind.value} for output in graph.outputs],
                "operators": dict(graph.operators().most_common()),
            }
            for graph in trace.graphs
        ],
        "cases": [_case(trace, index) for index in range(len(trace.cases))],
        "floors": any(_has_floors(trace, index) for index in range(len(trace.cases))),
        "notes": list(trace.notes),
    }


def describe_run(path: str) -> dict[str, Any]:
    """What `info --json` prints of a run."""
    with read_run(path) as run:
        return {
            "path": path,
            "kind": "run",
            "base": run.base,
            "size_bytes": run.path.stat().st_size,
            "damage": list(run.damage),
            "results": Counter(f"{record.backend} {record.status}" for record in run.records()),
        }


def _run_lines(facts: dict[str, Any]) -> Iterator[str]:
    yield f"{printable(facts['path'])}  {_bytes(facts['size_bytes'])}, a run of the trace {facts['base']}"
    for kind, count in facts["results"].items():
        yield f"  {count:8}   {printable(kind)}"
    for text in _cut(facts["damage"]):
        yield f"damage: {printable(text, limit=400)}"


def _case(trace: Trace, index: int) -> dict[str, Any]:
    case = trace.cases[index]
    graph = trace.graphs[case.graph]
    return {
        "name": case.name,
        "graph": graph.name,
        "inputs": [
            _input(trace, index, number, graph_input)
            for number, graph_input in enumerate(graph.inputs)
            if graph_input.kind in (InputKind.USER, InputKind.STATE)
        ],
        "handed_on": [
            {"input": graph.inputs[number].name, "from": trace.cases[source.case].name, "output": source.output}
            for number, source in case.handed_on
        ],
        "note": case.note,
    }


def _input(trace: Trace, case: int, number: int, graph_input: GraphInput) -> dict[str, Any]:
    try:
        value = trace.value(case, InputRef(number))
    except TraceError:  # a truncated trace has inputs whose values are lost
        return {"name": graph_input.name, "dtype": None, "shape": None, "scalar": None}
    return {
        "name": graph_input.name,
        "dtype": value.dtype or None,
        "shape": list(value.shape),
        "scalar": value.scalar,
    }


def _has_floors(trace: Trace, case: int) -> bool:
    nodes = len(trace.graphs[trace.cases[case].graph])
    for node in range(0, nodes, max(1, nodes // FLOOR_SAMPLE)):
        try:
            floor = trace.value(case, NodeRef(node)).isolated
        except TraceError:
            continue
        if floor is not None and floor.origin == "float64":
            return True
    return False


def _lines(facts: dict[str, Any]) -> Iterator[str]:
    state = "complete" if facts["complete"] else "cut off: it has no footer"
    yield f"{printable(facts['path'])}  {_bytes(facts['size_bytes'])}, format {facts['version']}, {state}"
    yield f"  content id   {facts['content_id']}"
    for label, text in _provenance(facts["provenance"]):
        yield f"  {label:12} {printable(text)}"
    yield f"  noise floors {'recorded' if facts['floors'] else 'not recorded: results are judged by general bounds'}"
    for graph in facts["graphs"]:
        yield f"\ngraph {printable(graph['name'])}: {graph['nodes']} nodes"
        inputs = ", ".join(f"{count} {kind}" for kind, count in graph["inputs"].items())
        yield f"  inputs       {inputs or 'none'}"
        yield f"  outputs      {', '.join(_cut([printable(output['name']) for output in graph['outputs']]))}"
        for op, count in list(graph["operators"].items())[:LISTED]:
            yield f"  {count:8}   {printable(op)}"
        if len(graph["operators"]) > LISTED:
            yield f"             and {len(graph['operators']) - LISTED} operators more"
    yield "" if facts["cases"] else "\nno cases: nothing was recorded"
    for case in facts["cases"][:LISTED]:
        given = ", ".join(_cut([_tensor(one) for one in case["inputs"]]))
        yield f"case {printable(case['name'])} of graph {printable(case['graph'])}: {given or 'no inputs'}"
        for state in case["handed_on"][:LISTED]:
            source = f"output {state['output']} of case {printable(state['from'])}"
            yield f"  {printable(state['input'])} is {source}"
        if case["note"]:
            yield f"  {printable(case['note'])}"
    if len(facts["cases"]) > LISTED:
        yield f"and {len(facts['cases']) - LISTED} cases more"
    for title in ("notes", "damage"):
        for text in _cut(facts[title]):
            yield f"{title}: {printable(text, limit=400)}"


def _provenance(provenance: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for label, key in (("made", "created"), ("by", "command"), ("from", "model_file"), ("sha256", "model_sha256")):
        if provenance[key]:
            yield label, provenance[key]
    for label in ("versions", "export_options"):
        if provenance[label]:
            yield label.replace("export_", ""), ", ".join(f"{key} {value}" for key, value in provenance[label])
    for label in ("seed", "dtype", "device"):
        if provenance[label] not in (None, ""):
            yield label, str(provenance[label])
    for note in provenance["notes"]:
        yield "note", note


def _tensor(one: dict[str, Any]) -> str:
    name = printable(one["name"])
    if one["scalar"] is not None:
        return f"{name} = {printable(str(one['scalar']))}"
    if one["dtype"] is None:
        return f"{name} (not recorded)"
    return f"{name} {one['dtype']}[{', '.join(map(str, one['shape']))}]"


def _cut(items: list[str]) -> list[str]:
    return items if len(items) <= LISTED else [*items[:LISTED], f"and {len(items) - LISTED} more"]


def _bytes(size: int) -> str:
    amount = float(size)
    for unit in ("bytes", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"
