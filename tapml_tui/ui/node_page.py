"""The Compare tab of one node: what is wrong in a sentence first, then the numbers and pictures behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.style import Style

from tapml_tui.compare.result import Comparison, Status, Verdict
from tapml_tui.engine.commands import Mode
from tapml_tui.engine.table import STALE
from tapml_tui.ui import charts, lines, numbers, rows, theme
from tapml_tui.ui.lines import Line
from tapml_tui.ui.words import SENTENCES, STALE_SENTENCE, WORDS

if TYPE_CHECKING:
    from tapml_tui.engine import Engine
    from tapml_tui.engine.events import NodeResult
    from tapml_tui.ui.findings import Findings

NAME = 9  # cells of the name of a number
WIDE = 48  # cells from which lines say more
LEAST_MAP, MOST_MAP = 3, 8  # lines


@dataclass(frozen=True, slots=True)
class Room:
    """Cells in a line, and lines that are seen without scrolling."""

    width: int
    height: int


def of_node(engine: Engine, node: int, room: Room, findings: Findings | None = None, *, note: str = "") -> list[Line]:
    """What became of a node: verdict, diagnosis, floor, numbers, where the error sits, how large it is."""
    result = engine.result(node)
    if result is None:
        return _not_run(engine, node, room.width, note)
    content = _heading(engine, result, room.width, note)
    content += _sentences(result, engine.note(node), room.width)
    shown = findings.output if findings is not None else output_to_show(result)
    comparison = result.outputs[shown].comparison if shown is not None else None
    if comparison is not None and comparison.compared:
        content.append([])
        content += _floor(engine, result, comparison, room.width)
        content += _numbers(comparison, findings, room.width)
        content += _others(result, shown, room.width)
    content += _also(result)
    if findings is not None and findings.overflow is not None:
        size = numbers.scientific(findings.overflow.magnitude)
        content.append([(lines.shorten(f"! would overflow float16: {size}", room.width), theme.UNSUPPORTED)])
    tail = _tail(engine, result, room.width)
    if findings is not None and comparison is not None:
        content += _pictures(findings, comparison, room, len(content) + len(tail))
    return content + tail


def output_to_show(result: NodeResult) -> int | None:
    """The first output that failed, else the one with the largest factor; None if none was compared."""
    compared = [i for i, out in enumerate(result.outputs) if out.comparison is not None and out.comparison.compared]
    failed = [i for i in compared if not _comparison(result, i).passed]
    return failed[0] if failed else max(compared, key=lambda i: _comparison(result, i).factor, default=None)


def _comparison(result: NodeResult, output: int) -> Comparison:
    comparison = result.outputs[output].comparison
    assert comparison is not None
    return comparison


def _not_run(engine: Engine, node: int, width: int, note: str) -> list[Line]:
    graph = engine.graph
    how = "This is the next operator. n executes it."
    if node != engine.snapshot.cursor:
        how = "t runs to just before it, c runs on to the next disagreement."
    return [
        *([[(note, theme.DIM)]] if note else []),
        [("· not run", theme.DIM)],
        [(graph.op(node), theme.STRONG)],
        [(lines.shorten(graph.path(node), width), theme.DIM)],
        [],
        *lines.wrap(how, width, theme.TEXT),
        *(lines.wrap(f"note: {written}", width, theme.CURSOR, limit=6) if (written := engine.note(node)) else []),
    ]


def _heading(engine: Engine, result: NodeResult, width: int, note: str) -> list[Line]:
    """Verdict and operator; its path, or that it ran last, where there is room."""
    glyph, style = rows.mark(result.status, result.verdict)
    word = result.verdict.value if result.verdict not in (Verdict.NONE, Verdict.CLEAN) else WORDS[result.status]
    if result.status is Status.NOT_RUN:
        word = "not compared"  # the run has been there
    operator = engine.graph.outline_label(engine.graph.entry_of(result.node))
    line: Line = [(f"{glyph} {word}", style + Style(bold=True)), (f"  {operator}", theme.STRONG)]
    room = width - lines.length(line) - 2
    aside = note or engine.graph.path(result.node)
    if room >= min(len(aside), 8):
        line.append(("  " + lines.shorten(aside, room), theme.DIM))
    content = [line]
    if engine.table.flags[result.node] & STALE:
        content += lines.wrap(STALE_SENTENCE, width, theme.STALE)
    return content


def _sentences(result: NodeResult, written: str, width: int) -> list[Line]:
    """Whose fault it is; what kind of wrong it is."""
    content: list[Line] = []
    if result.verdict in SENTENCES and result.status in (Status.PASSED, Status.FAILED):
        content += lines.wrap(_sentence(SENTENCES[result.verdict]), width, theme.TEXT)
    if result.stage:
        content.append([("broke at: ", theme.DIM), (result.stage, theme.TEXT)])
    diagnosis = result.finding.diagnosis if result.finding is not None else None
    if diagnosis is not None:
        content += lines.wrap(_sentence(diagnosis.sentence), width, theme.STRONG, limit=6)
    elif result.reason and not _said_by_numbers(result):
        content += lines.wrap(_sentence(result.reason), width, theme.STRONG, limit=12)
    if written:
        content += lines.wrap(f"note: {written}", width, theme.CURSOR, limit=6)
    if result.detail:
        content.append([("the whole message: ", theme.DIM), ("5 Kernel", theme.KEY)])
    return content


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def _said_by_numbers(result: NodeResult) -> bool:
    """Whether the reason is only that a finite error is too large: the numbers below say so, and better."""
    shown = output_to_show(result)
    if result.status is not Status.FAILED or shown is None:
        return False
    comparison = _comparison(result, shown)
    return not any(comparison.nan) and not any(comparison.inf) and comparison.reason in result.reason


def _floor(engine: Engine, result: NodeResult, comparison: Comparison, width: int) -> list[Line]:
    """How far off it is in floors, and where that floor comes from."""
    style = theme.PASSED if comparison.passed else theme.FAILED
    if comparison.floor_origin == "exact":
        share = (
            f"{comparison.outside} of {comparison.compared} are not equal" if comparison.outside else "all are equal"
        )
        return [[(share, style)], [("  bits must agree: values only move here", theme.DIM)]]
    measured = "the whole model" if engine.snapshot.mode is Mode.CHAINED else "this operator"
    origin = {
        "float64": f"  float64 replay of {measured}",
        "bound": "  bound: what rounding may do here",
        "override": "  set by you, not measured",
    }.get(comparison.floor_origin, f"  {comparison.floor_origin}")
    override = lines.wrap(comparison.override, width, theme.UNSUPPORTED, indent="  ") if comparison.override else []
    return [
        [
            (f"{numbers.factor(comparison.factor)} x the floor", style + Style(bold=True)),
            (f" of {numbers.scientific(comparison.floor)}", style),
        ],
        [(lines.shorten(origin, width), theme.DIM)],
        *override,
    ]


def _numbers(comparison: Comparison, findings: Findings | None, width: int) -> list[Line]:
    content = [
        _pair("max abs", numbers.scientific(comparison.max_abs), f"rel {numbers.scientific(comparison.max_rel)}"),
        _pair("outside", f"{comparison.outside} of {comparison.compared}", _share(comparison)),
    ]
    for name, (reference, actual) in (("NaN", comparison.nan), ("Inf", comparison.inf)):
        if reference or actual:
            style = theme.FAILED if actual != reference else theme.TEXT
            content.append(_pair(name, f"{actual}", f"source has {reference or 'none'}", style))
    if comparison.worst is not None:
        place = str(list(comparison.worst))
        content.append(_pair("worst at", lines.shorten(place, max(width - NAME - 4, 8)), "m", more_style=theme.KEY))
        if comparison.worst_values is not None:
            content += _both(comparison, width)
    return content


def _both(comparison: Comparison, width: int) -> list[Line]:
    """Source and target at the worst element: beside each other where there is room."""
    assert comparison.worst_values is not None
    style = theme.TEXT if comparison.passed else theme.FAILED
    for digits in (numbers.exact, numbers.number):
        source, target = map(digits, comparison.worst_values)
        joined: Line = [
            ("  source ", theme.SOURCE),
            (source, theme.TEXT),
            ("  target ", theme.TARGET),
            (target, style),
        ]
        if lines.length(joined) <= width and source != target:
            return [joined]
    source, target = map(numbers.exact, comparison.worst_values)
    return [
        [("  source ", theme.SOURCE), (source, theme.TEXT)],
        [("  target ", theme.TARGET), (target, style)],
    ]


def _share(comparison: Comparison) -> str:
    return f"{100 * comparison.outside / comparison.compared:.3g}%" if comparison.outside else ""


def _pair(name: str, value: str, more: str = "", style: Style = theme.TEXT, more_style: Style = theme.DIM) -> Line:
    return [(f"{name:<{NAME}}", theme.DIM), (value, style), (f"  {more}" if more else "", more_style)]


def _others(result: NodeResult, shown: int | None, width: int) -> list[Line]:
    """One line for each of the other outputs."""
    content: list[Line] = []
    for index, output in enumerate(result.outputs):
        if index != shown and output.comparison is not None and output.comparison.compared:
            content.append(_verdict_line(f"output {index}", (output.comparison,)))
    if content and shown is not None:
        content.insert(0, [(lines.shorten(f"the numbers above are of output {shown}", width), theme.DIM)])
    return content


def _also(result: NodeResult) -> list[Line]:
    """The other comparisons of a chained run."""
    content: list[Line] = []
    for title, comparisons in (("recorded inputs", result.isolated), ("source on same inputs", result.live)):
        if comparisons and comparisons != tuple(output.comparison for output in result.outputs):
            content.append(_verdict_line(title, comparisons))
    return content


def _verdict_line(title: str, comparisons: Sequence[Comparison]) -> Line:
    passed = all(one.passed for one in comparisons)
    factor = max(one.factor for one in comparisons)
    style = theme.PASSED if passed else theme.FAILED
    mark = theme.STATUS_MARKS[1 if passed else 3]
    return [(f"{mark} ", style), (f"{numbers.factor(factor)} x", style), (f"  {title}", theme.DIM)]


def _pictures(findings: Findings, comparison: Comparison, room: Room, used: int) -> list[Line]:
    """Where the error sits, and how large it is: as tall as there is room for, never nothing."""
    content: list[Line] = []
    spectrum = charts.histogram(
        findings.decades, room.width, room.height - used - MOST_MAP - 4, equal=findings.equal, allowed=comparison.floor
    )
    if findings.blocks is not None and not comparison.passed:
        left = room.height - used - len(spectrum) - 3
        height = min(max(left, LEAST_MAP), MOST_MAP)
        wide = room.width >= WIDE
        down, across = (f"{name} ({extent})" if wide else name for name, extent in (findings.down, findings.across))
        content += [[], [("where ", theme.DIM), (f" ↓ {down}  → {across}", theme.DIM)]]
        content += charts.error_map(findings.blocks, height, room.width)
    return [*content, *([[]] if len(spectrum) > 1 else []), *spectrum]


def _tail(engine: Engine, result: NodeResult, width: int) -> list[Line]:
    where = f"ran on {result.backend}" + (f" in {numbers.milliseconds(result.ms)}" if result.ms else "")
    if result.status not in (Status.PASSED, Status.FAILED) and not result.ms:
        where = f"placed on {result.backend}"
    path = engine.graph.path(result.node)
    room = width - len(where) - 2
    return [[(where, theme.DIM), (f"  {lines.shorten(path, room)}" if path and room > 8 else "", theme.DIM)]]
