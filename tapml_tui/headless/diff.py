"""`tapml-tui diff`: two runs of a trace, node by node, without the trace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, NamedTuple

from tapml_tui.headless import strict_json
from tapml_tui.headless.end_to_end import max_abs
from tapml_tui.headless.exits import CommandError, Exit
from trace_format import Run, RunRecord, read_run
from trace_format.text import printable

LISTED = 30
"""How many nodes are printed; all of them are in the JSON."""


class Change(StrEnum):
    """What two runs say of one node, in one case, on one backend."""

    EQUAL = "equal"  # every output bit by bit, and the same status
    STATUS = "status"  # the outputs are equal (or there are none), the status is not
    VALUES = "values"  # other outputs from the same inputs: here they part
    INHERITED = "inherited"  # other outputs, but the inputs were other ones already
    ONLY_A = "only in A"
    ONLY_B = "only in B"


class Place(NamedTuple):
    """What is compared: the latest record of each run for it."""

    case: str
    node: str
    backend: str
    kernel: str


def diff(path_a: str, path_b: str, *, as_json: bool) -> int:
    """Print where two runs differ.

    Returns:
        0 if all that they share is equal, and they share something; 1 if not.

    Raises:
        TraceError: If one is no run.
        CommandError: If they are runs of different traces.
    """
    with read_run(path_a) as run_a, read_run(path_b) as run_b:
        if run_a.base != run_b.base:
            raise CommandError(
                "these are runs of different traces",
                why=f"{path_a} belongs to {run_a.base[:16]}, {path_b} to {run_b.base[:16]}",
                remedy="name two runs of one trace; they lie in TRACE.runs/",
            )
        changes = list(compare_runs(run_a, run_b))
    counts = Counter(change["change"] for change in changes)
    if as_json:
        summary = {change.value: counts[change.value] for change in Change}
        document = {"schema": 1, "a": path_a, "b": path_b, "summary": summary, "nodes": changes}
        print(strict_json.dumps(document, indent=2))
    else:
        print("\n".join(_lines(changes, counts)))
    return Exit.OK if counts[Change.EQUAL.value] and set(counts) == {Change.EQUAL.value} else Exit.FAILED


def compare_runs(run_a: Run, run_b: Run) -> Iterator[dict[str, Any]]:
    """One dict per node, case and backend that either run has, in the order of the first run."""
    latest_a, latest_b = _latest(run_a), _latest(run_b)
    for place in {**latest_a, **latest_b}:
        a, b = latest_a.get(place), latest_b.get(place)
        if a is None or b is None:
            yield _entry(place, Change.ONLY_B if a is None else Change.ONLY_A, a, b)
            continue
        same_values = [(o.dtype, o.shape, o.digest) for o in a.outputs] == [
            (o.dtype, o.shape, o.digest) for o in b.outputs
        ]
        if same_values:
            change = Change.EQUAL if a.status == b.status else Change.STATUS
        else:
            change = Change.VALUES if a.inputs == b.inputs else Change.INHERITED
        yield _entry(place, change, a, b, None if same_values else _distance(run_a, a, run_b, b))


def _latest(run: Run) -> dict[Place, RunRecord]:
    return {Place(r.case, r.node, r.backend, r.kernel or ""): r for r in run.records()}


def _distance(run_a: Run, a: RunRecord, run_b: Run, b: RunRecord) -> float | None:
    """Largest absolute difference over the outputs; None where they cannot be subtracted."""
    if not a.outputs or [(o.dtype, o.shape) for o in a.outputs] != [(o.dtype, o.shape) for o in b.outputs]:
        return None
    pairs = [(run_a.array(x), run_b.array(y)) for x, y in zip(a.outputs, b.outputs, strict=True)]
    return max(max_abs(x, y) for x, y in pairs)


def _entry(
    place: Place, change: Change, a: RunRecord | None, b: RunRecord | None, distance: float | None = None
) -> dict[str, Any]:
    return {
        "node": place.node,
        "case": place.case,
        "backend": place.backend,
        "kernel": place.kernel or None,
        "change": change.value,
        "status": [a.status if a else None, b.status if b else None],
        "reason": [a.reason if a else None, b.reason if b else None],
        "max_abs": distance,
    }


def _lines(changes: list[dict[str, Any]], counts: Counter[str]) -> Iterator[str]:
    yield ", ".join(f"{counts[change.value]} {change.value}" for change in Change if counts[change.value]) or (
        "nothing to compare: both runs are empty"
    )
    for change in (Change.VALUES, Change.STATUS, Change.INHERITED, Change.ONLY_A, Change.ONLY_B):
        listed = [one for one in changes if one["change"] == change.value]
        if listed:
            yield f"\n{change.value}"
        for one in listed[:LISTED]:
            yield f"  {printable(one['node'])}  case {printable(one['case'])}  {one['backend']}{_what(one)}"
        if len(listed) > LISTED:
            yield f"  and {len(listed) - LISTED} more: see --json"


def _what(one: dict[str, Any]) -> str:
    before, after = one["status"]
    status = f"  {before} -> {after}" if before != after and None not in (before, after) else ""
    return status + ("" if one["max_abs"] is None else f"  max abs {one['max_abs']:.3g}")
