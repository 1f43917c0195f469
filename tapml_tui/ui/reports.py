"""What came out of many runs: the ledger of a migration as a table, and who is to blame, with the proof."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tapml_tui.engine.ledger import LedgerEntry, Migration
from tapml_tui.ui import answer_text, lines, numbers, theme
from tapml_tui.ui.lines import Line

if TYPE_CHECKING:
    from tapml_tui.engine.blaming import BlameReport

_MARKS = {
    Migration.MIGRATED: ("✓", theme.PASSED),
    Migration.CARVED_PASS: ("◐", theme.UNSUPPORTED),
    Migration.BLOCKED: ("✗", theme.FAILED),
    Migration.SOURCE: ("·", theme.DIM),
}
_NUMBERS = 36  # cells before the names of nodes


def ledger(entries: Sequence[LedgerEntry], width: int) -> list[Line]:
    """One line for each signature, blocked ones first and with their reason; then in graph order."""
    counts = {status: sum(entry.status is status for entry in entries) for status in Migration}
    summary = ", ".join(f"{count} {status.value}" for status, count in counts.items() if count)
    content: list[Line] = [
        [(f" {len(entries)} signatures: {summary}", theme.STRONG)],
        [],
        [("   status       x floor  nodes  operator    first node", theme.DIM)],
    ]
    for entry in sorted(entries, key=lambda entry: entry.status is not Migration.BLOCKED):
        mark, style = _MARKS[entry.status]
        operator = entry.op.split(".")[1] if entry.op.count(".") else entry.op
        tested = entry.factor or entry.status in (Migration.MIGRATED, Migration.CARVED_PASS)
        factor = numbers.factor(entry.factor) if tested else ""
        name = entry.nodes[0] if entry.nodes else ""
        content.append(
            [
                (f" {mark} {entry.status.value:<12}", style),
                (f"{factor:>8}{len(entry.nodes):>7}  ", theme.TEXT),
                (lines.fit(operator, 11) + " ", theme.STRONG),
                (lines.shorten(name, max(width - _NUMBERS - 7, 8)), theme.DIM),
            ]
        )
        if entry.reason:
            content += lines.wrap(entry.reason, width, theme.TEXT, indent="     ", limit=3)
    return content


def blame(report: BlameReport, width: int) -> list[Line]:
    """The sentence, then the runs that prove it."""
    style = theme.FAILED if report.causes or report.blame.without_target else theme.PASSED
    content = [*lines.wrap(report.sentence, width, style, indent=" ", limit=12), []]
    for number, (cause, answer) in enumerate(zip(report.causes, report.alone, strict=False), 1):
        title = f" cause {number}" if len(report.causes) > 1 else " cause"
        content.append([(title + (": together" if len(cause) > 1 else ""), theme.STRONG)])
        for node in cause:
            content += lines.wrap(node, width, theme.TEXT, indent="   ")
        content.append(
            [("   this alone on the target:" if len(cause) == 1 else "   these alone on the target:", theme.DIM)]
        )
        content += [[("     ", theme.PLAIN), *line] for line in answer_text.full(answer, width - 5)]
    if report.without is not None:
        content += [[], [(" everything else on the target:", theme.DIM)]]
        content += [[("     ", theme.PLAIN), *line] for line in answer_text.full(report.without, width - 5)]
    found = report.blame
    content += [
        [],
        [(f" {found.runs} runs; trying each of {found.nodes} operators alone takes {found.nodes}", theme.DIM)],
    ]
    return content
