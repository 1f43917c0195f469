"""A report as a person reads it: the numbers first, then what is wrong, worst first."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

from tapml_tui.backends.protocol import State
from tapml_tui.engine.table import name_of
from tapml_tui.headless.entries import Entry
from tapml_tui.headless.report import Ended, Report, worst_first
from trace_format.text import printable

LISTED = 20
"""How many failed nodes are listed; all of them are in the JSON."""

_REASON = 600  # characters

_STYLES = {"failed": "red", "error": "magenta", "unsupported": "yellow", "not_run": "dim", "passed": "green"}


def print_summary(report: Report, stream: TextIO) -> None:
    """Write `report` to a terminal, or plainly to a file."""
    console = Console(file=stream, markup=False, highlight=False, emoji=False, soft_wrap=True)
    for line in _lines(report):
        console.print(line)


def _lines(report: Report) -> Iterator[Text]:
    titles = ", ".join(printable(target["title"] or target["target"]) for target in report.targets)
    yield Text(f"{printable(report.trace)}  {report.mode}  {titles}", "bold")
    yield _counts(report)
    placement = report.placement
    yield Text(
        f"  {placement['share']:.1%} of the compute nodes ran on the target "
        f"({placement['on_target']} of {placement['compute_nodes']})"
    )
    several = len(report.targets) > 1
    for end in report.end_to_end:
        yield _end_to_end(end, name_of(end["backend"]) if several else "")
    yield from _devices(report)
    for blame in report.blame:
        where = f" on {printable(name_of(blame['backend']))}" if several else ""
        yield Text(f"  blame, case {printable(blame['case'])}{where}: {printable(blame['sentence'], _REASON)}", "bold")
    yield from _beside(report)
    yield from _section("failed, worst first", [(_factor(e), e) for e in worst_first(report.entries)], several)
    for status, title in (("error", "broke"), ("unsupported", "unsupported")):
        yield from _section(title, [("", entry) for entry in report.entries if entry["status"] == status], several)
    yield from _why_not_run(report.entries)
    yield from _overridden(report)
    if report.ended is not Ended.COMPLETE:
        yield Text(f"\n{report.ended.value}: {printable(report.message)}", "bold red")


def _counts(report: Report) -> Text:
    summary = report.summary
    line = Text(f"  {summary['nodes']} nodes")
    for status in ("passed", "failed", "error", "unsupported", "not_run"):
        style = _STYLES[status] if summary[status] else "dim"
        line.append(f"  {summary[status]} {status.replace('_', ' ')}", style)
    return line


def _devices(report: Report) -> Iterator[Text]:
    """Which device did what, where there was a choice or one was lost."""
    for target in report.targets:
        if len(target["devices"]) < 2:
            continue
        yield Text(f"  devices of {printable(target['title'] or target['target'])}", "bold")
        for device in target["devices"]:
            line = Text(f"    {printable(device['device'])}  {device['entries']} nodes")
            line.append(f"  {device['failed']} failed", "red" if device["failed"] else "dim")
            line.append(f"  {device['ms'] / 1000:.1f} s in kernels", "dim")
            if device["state"] != State.READY.value or device["detail"]:
                line.append(f"  {device['state'] or ''} {printable(device['detail'], _REASON)}", "yellow")
            yield line


def _beside(report: Report) -> Iterator[Text]:
    """A column per target, for the nodes that are wrong on one at least."""
    found = report.conclusions
    if not found:
        return
    names = [name_of(target["backend"]) for target in report.targets]
    cells = {
        (name_of(entry["backend"]), entry["graph"], entry["case"], entry["id"]): _factor(entry) or entry["status"]
        for entry in report.entries
    }
    widths = [max(len(printable(name)), 14) for name in names]
    yield Text("\ntargets beside each other", "bold")
    yield Text(
        "  " + "  ".join(f"{printable(name):>{width}}" for name, width in zip(names, widths, strict=True)), "dim"
    )
    for one in found[:LISTED]:
        line = Text("  ")
        for name, width in zip(names, widths, strict=True):
            cell = cells.get((name, one["graph"], one["case"], one["id"]), "")
            line.append(f"{cell:>{width}}  ", "red" if name in one["wrong_on"] else "green")
        line.append(f"{printable(one['id'])}  ").append(f"case {printable(one['case'])}", "dim")
        yield line
        yield Text(f"      {printable(one['sentence'], _REASON)}", "bold")
    if len(found) > LISTED:
        yield Text(f"  and {len(found) - LISTED} more: see --json", "dim")


def _end_to_end(end: dict[str, Any], target: str) -> Text:
    where = f" on {printable(target)}" if target else ""
    line = Text(f"  end to end, case {printable(end['case'])}{where}, {printable(end['name'])}: ")
    if end["passed"] is None:
        return line.append(f"not judged ({printable(end['reason'])})", "yellow")
    verdict = ("right", "green") if end["passed"] else ("WRONG", "red")
    line.append(*verdict)
    measures = ", ".join(f"{one['name']} {one['value']:.4g}" for one in end["measures"])
    return line.append(f" as {end['kind']}: {measures or printable(end['reason'])}")


def _section(title: str, entries: list[tuple[str, Entry]], several: bool) -> Iterator[Text]:
    """A list of nodes; a node that has the same in several cases is listed once, for each of several targets."""
    if not entries:
        return
    cases = Counter((entry["id"], entry["backend"]) for _, entry in entries)
    first: dict[tuple[str, str], tuple[str, Entry]] = {}
    for label, entry in entries:
        first.setdefault((entry["id"], entry["backend"]), (label, entry))
    yield Text(f"\n{title}", "bold")
    for node, (label, entry) in list(first.items())[:LISTED]:
        line = Text("  ")
        line.append(
            " ".join(part for part in (entry["verdict"], label) if part) or entry["op"], _STYLES[entry["status"]]
        )
        line.append(f"  {printable(entry['id'])}")
        line.append(f"  on {printable(name_of(entry['backend']))}" if several else "")
        line.append(f"  {cases[node]} cases" if cases[node] > 1 else f"  case {printable(entry['case'])}", "dim")
        yield line
        if entry["diagnosis"]:
            yield Text(f"      {_sentence(entry['diagnosis']['sentence'])}", "bold")
        yield Text(f"      {printable(entry['reason'], _REASON)}")
    if len(first) > LISTED:
        yield Text(f"  and {len(first) - LISTED} more: see --json", "dim")


def _sentence(text: str) -> str:
    return printable(text[:1].upper() + text[1:], _REASON)


def _overridden(report: Report) -> Iterator[Text]:
    """What was judged by the user's tolerances: as visible as what was found by ours."""
    counts = report.overrides
    if report.tolerances and not counts:
        yield Text(f"\nno result was judged by {printable(report.tolerances)}", "bold")
    if counts:
        yield Text(f"\n{sum(counts.values())} results judged by {printable(report.tolerances)}", "bold yellow")
    for words, count in counts.items():
        yield Text(f"  {count:5}  {printable(words, _REASON)}")


def _factor(entry: Entry) -> str:
    factor = entry["metrics"]["factor"] if entry["metrics"] else math.inf
    return f"{factor:.3g} x floor" if math.isfinite(factor) else ""


def _why_not_run(entries: Iterable[Entry]) -> Iterator[Text]:
    reasons = Counter(entry["reason"] for entry in entries if entry["status"] == "not_run")
    if reasons:
        yield Text("\nnot run", "bold")
        for reason, count in reasons.most_common(LISTED):
            yield Text(f"  {count:5}  {printable(reason)}")
