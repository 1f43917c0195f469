"""The Compare tab as text: the verdict in a sentence first, then the numbers behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.style import Style

from tapml_tui.compare.result import Comparison, Status, Verdict
from tapml_tui.engine.table import STALE, STATUSES, VERDICTS
from tapml_tui.ui import lines, numbers, rows, theme
from tapml_tui.ui.lines import Line
from tapml_tui.ui.words import SENTENCES, WORDS

if TYPE_CHECKING:
    from tapml_tui.engine import Engine
    from tapml_tui.engine.events import NodeResult

STALE_SENTENCE = "~ stale: a side changed upstream; it is computed again when a step needs it"
WORST_SHOWN = 12


def of_node(engine: Engine, node: int, width: int, *, note: str = "", picture: Sequence[Line] = ()) -> list[Line]:
    """What became of a node: verdict, floor, errors, the worst element, a picture of the error."""
    graph, result = engine.graph, engine.result(node)
    place = graph.path(node)
    heading: Line = [(graph.op(node), theme.STRONG)]
    content: list[Line] = []
    if note:
        content.append([(note, theme.DIM)])
    if result is None:
        content += [[("· not run", theme.DIM)], heading, [(lines.shorten(place, width), theme.DIM)], []]
        content += lines.wrap(_how_to_run(engine, node), width, theme.TEXT)
        return content
    content += _verdict(engine, result, width)
    content += [[(lines.shorten(place, width), theme.DIM)], []]
    content += _sentence(result, width)
    for index, output in enumerate(result.outputs):
        if len(result.outputs) > 1:
            spec = f"{numbers.dtype(output.spec.dtype)}{numbers.shape(output.spec.shape)}"
            content += [[(f"output {index}  ", theme.STRONG), (spec, theme.DIM)]]
        if output.comparison is not None and output.comparison.compared:
            content += [*numbers_of(output.comparison, width), []]
            if picture and not output.comparison.passed:
                content += [*picture, []]
                picture = ()
    content += _also("with the recorded inputs", result.isolated, width)
    content += _also("against the source on the same inputs", result.live, width)
    content.append([(_where(result), theme.DIM)])
    return content


def _where(result: NodeResult) -> str:
    if result.status not in (Status.PASSED, Status.FAILED) and not result.ms:
        return f"placed on {result.backend}"
    return f"ran on {result.backend}" + (f" in {numbers.milliseconds(result.ms)}" if result.ms else "")


def _how_to_run(engine: Engine, node: int) -> str:
    if node == engine.snapshot.cursor:
        return "This is the next operator. n executes it."
    return "t runs to just before it, c runs on to the next disagreement."


def _verdict(engine: Engine, result: NodeResult, width: int) -> list[Line]:
    glyph, style = rows.mark(result.status, result.verdict)
    word = result.verdict.value if result.verdict else WORDS[result.status]
    if result.verdict is Verdict.CLEAN:
        word = WORDS[result.status]
    if result.status is Status.NOT_RUN:
        word = "not compared"  # the run has been there
    line: Line = [(f"{glyph} {word}", style + Style(bold=True))]
    line.append(("  " + engine.graph.outline_label(engine.graph.entry_of(result.node)), theme.STRONG))
    content = [line]
    if engine.table.flags[result.node] & STALE:
        content += lines.wrap(STALE_SENTENCE, width, theme.STALE)
    return content


def _sentence(result: NodeResult, width: int) -> list[Line]:
    content: list[Line] = []
    if result.verdict in SENTENCES and result.status in (Status.PASSED, Status.FAILED):
        text = SENTENCES[result.verdict]
        content += lines.wrap(text[0].upper() + text[1:] + ".", width, theme.TEXT)
    if result.stage:
        content.append([("broke at: ", theme.DIM), (result.stage, theme.TEXT)])
    if result.reason:
        content += lines.wrap(result.reason[0].upper() + result.reason[1:], width, theme.STRONG, limit=12)
    if result.detail:
        content.append([("the whole message: ", theme.DIM), ("5 Kernel", theme.KEY)])
    return [*content, []] if content else []


def numbers_of(comparison: Comparison, width: int) -> list[Line]:
    """The numbers of one comparison, the deciding one first."""
    passed = comparison.passed
    style = theme.PASSED if passed else theme.FAILED
    exact = comparison.floor_origin == "exact"
    rule = "bits must agree" if exact else f"limit {numbers.factor(comparison.limit)}"
    content: list[Line] = [
        [(f"{numbers.factor(comparison.factor)} x the floor", style), (f"   {rule}", theme.DIM)],
        _pair("floor", f"{numbers.scientific(comparison.floor)}", comparison.floor_origin),
        _pair("max abs", numbers.scientific(comparison.max_abs), f"rel {numbers.scientific(comparison.max_rel)}"),
        _pair("outside", f"{comparison.outside} of {comparison.compared}", _share(comparison)),
    ]
    for name, (reference, actual) in (("NaN", comparison.nan), ("Inf", comparison.inf)):
        if reference or actual:
            content.append(_pair(name, f"{actual}", f"source has {reference}", theme.FAILED if actual else theme.TEXT))
    if comparison.worst is not None:
        content.append(_pair("worst at", lines.shorten(str(list(comparison.worst)), max(width - 10, 8))))
        if comparison.worst_values is not None:
            source, target = map(numbers.exact, comparison.worst_values)
            pair: list[Line] = [
                [("source  ", theme.SOURCE), (source, theme.TEXT)],
                [("target  ", theme.TARGET), (target, style)],
            ]
            joined: Line = [("  ", theme.PLAIN), *pair[0], ("  ", theme.PLAIN), *pair[1]]
            indented: list[Line] = [[("  ", theme.PLAIN), *line] for line in pair]
            content += [joined] if lines.length(joined) <= width else indented
    return content


def _share(comparison: Comparison) -> str:
    if not comparison.compared or not comparison.outside:
        return ""
    return f"{100 * comparison.outside / comparison.compared:.3g}%"


def _pair(name: str, value: str, more: str = "", style: Style = theme.TEXT) -> Line:
    return [(f"{name:<10}", theme.DIM), (value, style), (f"  {more}" if more else "", theme.DIM)]


def _also(title: str, comparisons: tuple[Comparison, ...], width: int) -> list[Line]:
    content: list[Line] = []
    for comparison in comparisons:
        word, style = ("passed", theme.PASSED) if comparison.passed else ("failed", theme.FAILED)
        mark = theme.STATUS_MARKS[1 if comparison.passed else 3]
        factor = f" {numbers.factor(comparison.factor)} x the floor" if comparison.compared else ""
        content.append([(f"{mark} {word}", style), (factor, style)])
        content += lines.wrap(title, width, theme.DIM, indent="  ")
    return content


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
    for index in (4, 3, 2, 1, 0):
        count = int(per_status[index])
        if count:
            mark, style = theme.STATUS_MARKS[index], theme.STATUS_STYLES[index]
            line: Line = [(f"{mark} {count:>6} ", style), (f"{WORDS[STATUSES[index]]:<13}", style)]
            content.append([*line, (_bar(count / total, max(width - 24, 6)), style)])
    guilty = int((verdict == VERDICTS.index(Verdict.LOCAL)).sum())
    if guilty:
        sentence = f"{guilty} {'is' if guilty == 1 else 'are'} LOCAL: wrong on right inputs."
        content += [[], *lines.wrap(sentence, width, theme.FAILED)]
    bad = np.flatnonzero(status >= STATUSES.index(Status.UNSUPPORTED))
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
