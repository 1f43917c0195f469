"""The document of `check --json`: what was asked, what came of every node, and the numbers that sum it up.

```
{"schema": 1, "trace", "content_id", "mode",
 "targets": [{"backend", "target", "title", "devices": [{"device", "state", "detail", "entries", "failed", "ms"}]}],
 "ended": "complete" | "interrupted" | "device lost" | "no device" | "stopped", "message",
 "summary": {"nodes", "passed", "failed", "error", "unsupported", "not_run"},
 "placement": {"compute_nodes", "on_target", "share"},
 "tolerances": {"file", "applied": {words: count}},
 "conclusions": [{"graph", "case", "id", "wrong_on", "right_on", "sentence"}],
 "end_to_end": [{"backend", "graph", "case", "output", "name", "kind", "passed", "reason", "measures", "cosine",
                 "max_abs"}],
 "blame": [{"backend", "case", "sentence", "causes", "runs", "linear_scan", "before", "alone", "everything_but"}],
 "nodes": [...]}
```
`conclusions`, of several targets: the kernels that are wrong on one at least, and whose fault that is.
`nodes` is documented in `entries`; floats that JSON does not have in `strict_json`. Keys are added, never changed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tapml_tui.backends.protocol import BackendStatus
from tapml_tui.compare.result import Status, Verdict
from tapml_tui.engine.beside import conclusion, is_wrong
from tapml_tui.engine.events import NodeResult
from tapml_tui.engine.judging import ANSWER_ONLY
from tapml_tui.engine.table import name_of
from tapml_tui.headless.entries import Entry
from tapml_tui.headless.exits import Exit


class Ended(StrEnum):
    """How a check came to its end."""

    COMPLETE = "complete"
    INTERRUPTED = "interrupted"
    LOST = "device lost"
    NO_DEVICE = "no device"
    STOPPED = "stopped"  # results could not be written down, say


@dataclass(slots=True)
class Report:
    """A check while it grows.

    Attributes:
        trace: The file as it was named.
        content_id: Of the trace.
        mode: "isolated" or "chained".
        targets: One per target, see `target_document`.
        entries: One per node, case and target.
        end_to_end: One per output of a graph and case, in a chained check.
        blame: One per case, where that was asked.
        ended: How it ended.
        message: Why, if not complete.
        tolerances: The file of the user's own tolerances, "" if there is none.
        answer_only: Nothing but what the model answers was judged.
    """

    trace: str
    content_id: str
    mode: str
    targets: list[dict[str, Any]]
    entries: list[Entry] = field(default_factory=list)
    end_to_end: list[dict[str, Any]] = field(default_factory=list)
    blame: list[dict[str, Any]] = field(default_factory=list)
    ended: Ended = Ended.COMPLETE
    message: str = ""
    tolerances: str = ""
    answer_only: bool = False

    @property
    def overrides(self) -> dict[str, int]:
        """How many entries were judged by each rule of the user's."""
        return dict(Counter(entry["override"] for entry in self.entries if entry["override"]).most_common())

    @property
    def summary(self) -> dict[str, int]:
        """How many entries have which status."""
        counts = Counter(entry["status"] for entry in self.entries)
        order = (Status.PASSED, Status.FAILED, Status.ERROR, Status.UNSUPPORTED, Status.NOT_RUN)
        return {"nodes": len(self.entries), **{status.value: counts[status.value] for status in order}}

    @property
    def placement(self) -> dict[str, Any]:
        """How many entries had something to compute, and how many of those a target computed."""
        compute = [entry for entry in self.entries if entry["compute"]]
        targets = {target["backend"] for target in self.targets}
        computed = (Status.PASSED.value, Status.FAILED.value)
        on_target = sum(
            entry["backend"] in targets and (entry["status"] in computed or entry["reason"] == ANSWER_ONLY)
            for entry in compute
        )
        share = on_target / len(compute) if compute else 0.0
        return {"compute_nodes": len(compute), "on_target": on_target, "share": share}

    @property
    def conclusions(self) -> list[dict[str, Any]]:
        """Of several targets: for each node and case that is wrong on one, on which, and whose fault it is."""
        if len(self.targets) < 2:
            return []
        found: dict[tuple[str, str, str], dict[str, bool | None]] = {}
        for entry in self.entries:
            place = found.setdefault((entry["graph"], entry["case"], entry["id"]), {})
            place[name_of(entry["backend"])] = _wrong(entry)
        return [
            {
                "graph": graph,
                "case": case,
                "id": node,
                "wrong_on": [name for name, one in wrong.items() if one],
                "right_on": [name for name, one in wrong.items() if one is False],
                "sentence": sentence,
            }
            for (graph, case, node), wrong in found.items()
            if (sentence := conclusion(wrong))
        ]

    def end(self, ended: Ended, message: str, target: str = "") -> None:
        """It ended early; `target`: only there, and others may go on. What the user stops counts before all else."""
        if self.ended is Ended.COMPLETE or ended in (Ended.INTERRUPTED, Ended.STOPPED):
            self.ended = ended
        told = f"{name_of(target)}: {message}" if target else message
        self.message = "; ".join(filter(None, [self.message, told]))

    def exit_code(self, *, strict: bool) -> Exit:
        """The exit code that this report stands for."""
        if self.ended is Ended.INTERRUPTED:
            return Exit.INTERRUPTED
        if self.ended in (Ended.LOST, Ended.NO_DEVICE):
            return Exit.DEVICE
        summary = self.summary
        wrong = summary["failed"] + summary["error"] + (summary["unsupported"] if strict else 0)
        passed = summary["passed"]
        if self.answer_only:
            answers = [end["passed"] for end in self.end_to_end]
            wrong, passed = wrong + answers.count(False), answers.count(True)
        return Exit.FAILED if wrong or not passed or self.ended is Ended.STOPPED else Exit.OK

    def document(self) -> dict[str, Any]:
        """The whole report, as plain data."""
        return {
            "schema": 1,
            "trace": self.trace,
            "content_id": self.content_id,
            "mode": self.mode,
            "targets": self.targets,
            "ended": self.ended.value,
            "message": self.message,
            "summary": self.summary,
            "placement": self.placement,
            "tolerances": {"file": self.tolerances or None, "applied": self.overrides},
            "conclusions": self.conclusions,
            "end_to_end": self.end_to_end,
            "blame": self.blame,
            "nodes": self.entries,
        }


def _wrong(entry: Entry) -> bool | None:
    """As `beside.is_wrong`."""
    result = NodeResult(0, "", Status(entry["status"]), Verdict(entry["verdict"] or ""))
    return is_wrong(result)


def target_document(
    backend: str, target: str, status: BackendStatus | None, entries: Sequence[Entry]
) -> dict[str, Any]:
    """A target of the report, with what each of its devices did.

    Args:
        backend: Its id.
        target: What was compiled for it.
        status: How it was heard of last.
        entries: Of the whole check.
    """
    known = {one.device: one for one in status.devices if one.device} if status is not None else {}
    did: dict[str, list[Entry]] = {device: [] for device in known}
    for entry in entries:
        if entry["backend"] == backend and entry["device"]:
            did.setdefault(entry["device"], []).append(entry)
    return {
        "backend": backend,
        "target": target,
        "title": status.title if status is not None else "",
        "devices": [
            {
                "device": device,
                "state": known[device].state.value if device in known else None,
                "detail": known[device].detail if device in known else "",
                "entries": len(done),
                "failed": sum(entry["status"] == Status.FAILED.value for entry in done),
                "ms": sum(entry["ms"] for entry in done),
            }
            for device, done in did.items()
        ],
    }


def worst_first(entries: Sequence[Entry]) -> list[Entry]:
    """Failed entries: the guilty before those that inherited, each by how far they are off."""

    def rank(entry: Entry) -> tuple[bool, float]:
        factor = entry["metrics"]["factor"] if entry["metrics"] else 0.0
        return entry["verdict"] == "LOCAL", math.inf if math.isnan(factor) else factor

    return sorted((entry for entry in entries if entry["status"] == "failed"), key=rank, reverse=True)
