"""The Compare tab of a fold, or of several nodes that ran: how many of what, and where to look first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tapml_tui.compare.result import Status, Verdict
from tapml_tui.engine.table import STATUSES, VERDICTS
from tapml_tui.ui import answer_text, beside_text, lines, rows, theme
from tapml_tui.ui.lines import Line
from tapml_tui.ui.words import WORDS

if TYPE_CHECKING:
    from tapml_tui.engine import Engine

WORST_SHOWN = 12


def of_fold(engine: Engine, label: str, start: int, stop: int, width: int) -> list[Line]:
    """What became of everything in a fold, and the nodes to look at first."""
    table, total = engine.table, stop - start
    status, verdict = table.status[start:stop], table.verdict[start:stop]
    per_status = np.bincount(status, minlength=len(STATUSES))
    content: list[Line] = [
        [(lines.shorten(label, width), theme.STRONG)],
        [(f"{total} operator{'s' if total != 1 else ''}", theme.DIM)],
        [],
    ]
    if total == len(table) and engine.snapshot.answer is not None:
        content += [*answer_text.full(engine.snapshot.answer, width), []]
    for index in (4, 3, 2, 1, 0):
        count = int(per_status[index])
        if count:
            mark, style = theme.STATUS_MARKS[index], theme.STATUS_STYLES[index]
            line: Line = [(f"{mark} {count:>6} ", style), (f"{WORDS[STATUSES[index]]:<13}", style)]
            content.append([*line, (_bar(count / total, max(width - 24, 6)), style)])
    content += beside_text.of_fold(engine, start, stop, width)
    guilty = int((verdict == VERDICTS.index(Verdict.LOCAL)).sum())
    if guilty:
        sentence = f"{guilty} {'is' if guilty == 1 else 'are'} LOCAL: wrong on right inputs."
        content += [[], *lines.wrap(sentence, width, theme.FAILED)]
    beside = (table.beside_status[:, start:stop] >= STATUSES.index(Status.FAILED)).any(axis=0)
    bad = np.flatnonzero((status >= STATUSES.index(Status.UNSUPPORTED)) | beside)
    if len(bad):
        # Guilty before inherited, then errors, then what is unsupported; among equals the largest error.
        order = np.lexsort((-table.factor[start:stop][bad], -status[bad].astype(int), -verdict[bad].astype(int)))
        content += [[], [("look at", theme.DIM)]]
        content += [_bad_row(engine, start + int(bad[i]), width) for i in order[:WORST_SHOWN]]
        if len(bad) > WORST_SHOWN:
            content.append([(f"{WORST_SHOWN} of {len(bad)}; ] goes to the next", theme.DIM)])
    return content


def _bad_row(engine: Engine, node: int, width: int) -> Line:
    table, graph = engine.table, engine.graph
    verdict = VERDICTS[int(table.verdict[node])]
    status = STATUSES[int(table.status[node])]
    mark, style = rows.mark(status, verdict)
    name = f"{graph.path(node)} {graph.outline_label(graph.entry_of(node))}"
    word = (verdict.value if verdict not in (Verdict.NONE, Verdict.CLEAN) else WORDS[status]).ljust(9)
    return [(f"{mark} {word} ", style), (lines.shorten(name, max(width - 3 - len(word), 8)), theme.TEXT)]


def _bar(share: float, width: int) -> str:
    return "█" * max(round(share * width), 1)
