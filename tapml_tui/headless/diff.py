"""`tapml-tui diff`: two runs of a trace, node by node, without the trace."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from enum import StrEnum
from operator import attrgetter
from typing import Any, TypeAlias

from tapml_tui.headless import strict_json
from tapml_tui.headless.apart import distances
from tapml_tui.headless.exits import CommandError, Exit
from tapml_tui.headless.read_ahead import read_ahead
from tapml_tui.interpreter import uncollected
from trace_format import Run, RunRecord, read_run
from trace_format.text import printable

LISTED = 30
"""How many nodes are printed; all of them are in the JSON."""


class Change(StrEnum):
    """What two runs say of one node, in one case, on one backend."""

    EQUAL = "equal"  # every output bit by bit
    STATUS = "status"  # it worked in one run and broke in the other
    VALUES = "values"  # other outputs from the same inputs: here they part
    INHERITED = "inherited"  # other outputs, but the inputs were other ones already
    ONLY_A = "only in A"
    ONLY_B = "only in B"


Place: TypeAlias = tuple[str, str, str, str]
_place: Callable[[RunRecord], Place] = attrgetter("case", "node", "backend", "kernel")

_WORST_FIRST = (Change.VALUES, Change.STATUS, Change.INHERITED, Change.ONLY_A, Change.ONLY_B, Change.EQUAL)
_OTHER = (Change.VALUES, Change.INHERITED)

Records: TypeAlias = dict[tuple[str, ...], RunRecord]  # by the digests of the inputs, the latest last
Found: TypeAlias = tuple[Change, RunRecord | None, RunRecord | None]


def diff(path_a: str, path_b: str, *, as_json: bool) -> int:
    """Print where two runs differ.

    Returns:
        0 if all that they share is equal, and they share something; 1 if not; 4 if one is damaged.

    Raises:
        TraceError: If one is no run.
        CommandError: If they are runs of different traces.
    """
    with ExitStack() as opened:
        a, b = opened.enter_context(read_ahead(path_a, path_b))
        opened.enter_context(uncollected())
        run_a = opened.enter_context(read_run(path_a, a.wait))
        checking = run_a.check_ahead()
        run_b = opened.enter_context(read_run(path_b, lambda end: b.wait(end, checking)))
        if run_a.base != run_b.base:
            raise CommandError(
                "these are runs of different traces",
                why=f"{path_a} belongs to {run_a.base[:16]}, {path_b} to {run_b.base[:16]}",
                remedy="name two runs of one trace; they lie in TRACE.runs/",
            )
        changes = compare_runs(run_a, run_b)
        damage = {path_a: run_a.damage, path_b: run_b.damage}
        torn = [path for path, run in ((path_a, run_a), (path_b, run_b)) if run.torn]
    counts = Counter(change["change"] for change in changes)
    if as_json:
        summary = {change.value: counts[change.value] for change in Change}
        known = {"a": path_a, "b": path_b, "damage": damage, "torn": torn}
        document = {"schema": 1, **known, "summary": summary, "nodes": changes}
        print(strict_json.dumps(document, indent=2))
    else:
        print("\n".join(_lines(changes, counts)))
    for path in torn:
        why = "its session was killed, or is writing"
        print(f"tapml-tui: {printable(path)} ends in half a record, which is left out: {why}", file=sys.stderr)
    if any(damage.values()):
        for path, said in damage.items():
            for one in said:
                print(f"tapml-tui: {printable(path)} is damaged: {printable(one, limit=400)}", file=sys.stderr)
        print("tapml-tui: what is damaged was not compared", file=sys.stderr)
        return Exit.BAD_TRACE
    return Exit.OK if counts[Change.EQUAL.value] and set(counts) == {Change.EQUAL.value} else Exit.FAILED


def compare_runs(run_a: Run, run_b: Run) -> list[dict[str, Any]]:
    """One dict per node, case and backend that either run has, in the order of the first run.

    A node may have been executed on several inputs (chained, and on the recorded ones). What both runs have on the
    same inputs is compared first: that is where a difference begins.
    """
    places_a, places_b = _places(run_a), _places(run_b)
    places = list(dict.fromkeys((*places_a, *places_b)))
    found = [_compared(places_a.get(place, {}), places_b.get(place, {})) for place in places]
    far = distances(run_a, run_b, [(a, b) if a and b and change in _OTHER else None for change, a, b in found])
    return [
        {
            "node": node,
            "case": case,
            "backend": backend,
            "kernel": kernel or None,
            "change": change.value,
            "status": [record.status if record else None for record in (a, b)],
            "reason": [record.reason if record else None for record in (a, b)],
            "max_abs": distance,
        }
        for (case, node, backend, kernel), (change, a, b), distance in zip(places, found, far, strict=True)
    ]


def _compared(a: Records, b: Records) -> Found:
    """What two runs say of one place."""
    found = [_pair(Change.VALUES, a[inputs], b[inputs]) for inputs in a if inputs in b]
    if len(found) == 1 == len(a) == len(b):  # nearly all
        return found[0]
    only_a = [record for inputs, record in a.items() if inputs not in b]
    only_b = [record for inputs, record in b.items() if inputs not in a]
    if only_a and only_b:
        found.append(_pair(Change.INHERITED, only_a[-1], only_b[-1]))
    elif not found:
        found.append((Change.ONLY_A, only_a[-1], None) if only_a else (Change.ONLY_B, None, only_b[-1]))
    return min(found, key=lambda one: _WORST_FIRST.index(one[0]))


def _places(run: Run) -> dict[Place, Records]:
    """The records of a run by place."""
    places: dict[Place, Records] = {}
    for record in run.records():
        places.setdefault(_place(record), {})[record.inputs] = record
    return places


def _pair(if_other: Change, a: RunRecord, b: RunRecord) -> Found:
    if a.outputs != b.outputs:
        # A run that broke has no outputs: that is a change of status, not of values.
        return (if_other if a.outputs and b.outputs else Change.STATUS), a, b
    return (Change.EQUAL if a.status == b.status else Change.STATUS), a, b


def _lines(changes: list[dict[str, Any]], counts: Counter[str]) -> Iterator[str]:
    yield ", ".join(f"{counts[change.value]} {change.value}" for change in Change if counts[change.value]) or (
        "nothing to compare: both runs are empty"
    )
    of: dict[str, list[dict[str, Any]]] = {}
    for one in changes:
        of.setdefault(one["change"], []).append(one)
    for change in _WORST_FIRST[:-1]:
        listed = of.get(change.value, [])
        if listed:
            yield f"\n{change.value}"
        for one in listed[:LISTED]:
            yield f"  {printable(one['node'])}  case {printable(one['case'])}  {printable(one['backend'])}{_what(one)}"
        if len(listed) > LISTED:
            yield f"  and {len(listed) - LISTED} more: see --json"


def _what(one: dict[str, Any]) -> str:
    before, after = one["status"]
    status = f"  {printable(before)} -> {printable(after)}" if before != after and None not in (before, after) else ""
    return status + ("" if one["max_abs"] is None else f"  max abs {one['max_abs']:.3g}")
