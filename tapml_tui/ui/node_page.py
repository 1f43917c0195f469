"""The Compare tab of one node: what is wrong in a sentence first, then the numbers and pictures behind it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.style import Style

from tapml_tui.backends.operands import spec_bytes
from tapml_tui.compare.result import Comparison, Status, Verdict
from tapml_tui.engine.commands import Mode
from tapml_tui.engine.table import STALE, STATUSES, VERDICTS, name_of
from tapml_tui.ui import beside_text, charts, findings, lines, numbers, rows, theme
from tapml_tui.ui.lines import Line
from tapml_tui.ui.words import BEFORE_SENTENCE, SENTENCES, STALE_SENTENCE, WORDS

if TYPE_CHECKING:
    from tapml_tui.compare.metrics import Metrics
    from tapml_tui.engine import Engine
    from tapml_tui.engine.events import NodeResult
    from tapml_tui.ui.findings import Findings, Shown

NAME = 9  # cells of the name of a number
WIDE = 48  # cells from which lines say more
LEAST_MAP, GOOD_MAP, MOST_MAP = 2, 4, 8  # lines
BLIND = 0.99  # a cosine from here is what others call right
SMALLEST = 1e-300  # where bits must agree, any error is too large


@dataclass(frozen=True, slots=True)
class Room:
    """Cells in a line, and lines that are seen without scrolling."""

    width: int
    height: int


def of_node(engine: Engine, node: int, room: Room, found: Findings | None = None, *, note: str = "") -> list[Line]:
    """What became of a node: verdict, diagnosis, floor, numbers, where the error sits, how large it is."""
    result = engine.result(node)
    if result is None:
        before = left_before(engine, node)
        if before is not None:
            return _of_before(engine, node, before, room.width)
        return _not_run(engine, node, room.width, note)
    content = _heading(engine, result, room.width, note)
    content += _sentences(result, engine.note(node), room.width)
    content += beside_text.of_node(engine, node, room.width)
    what = findings.shown(result)
    if what is not None:
        content.append([])
        content += _floor(engine, what, room.width)
        content += _numbers(what.comparison, found.metrics if found is not None else None, room.width)
    if found is not None and found.overflow is not None:
        size = numbers.scientific(found.overflow.magnitude)
        content.append([(lines.shorten(f"! would overflow float16: {size}", room.width), theme.UNSUPPORTED)])
    others, tail = _others(result, what, room.width), _tail(engine, result, room.width)
    if found is None or what is None:
        return [*content, *others, *tail]
    return _fitted(content, (tail, others), found, what, room)


def left_before(engine: Engine, node: int) -> Status | None:
    """The status that an earlier session left in the row of a node; None if there is none, or a result by now."""
    status = STATUSES[engine.table.status[node]]
    return status if engine.result(node) is None and status is not Status.NOT_RUN else None


def _fitted(content: list[Line], less: tuple[list[Line], ...], found: Findings, what: Shown, room: Room) -> list[Line]:
    """All parts; of `less`, the first goes first where they do not fit on one screen, then blank lines."""
    spectrum = _spectrum(found, what, room, len(content) + sum(map(len, less)))
    drawn = not what.comparison.passed and found.metrics.blocks is not None
    wanted = len(content) + len(spectrum) + (1 + GOOD_MAP if drawn else 0)
    while less and wanted + sum(map(len, less)) > room.height:
        less = less[1:]
    if wanted > room.height:
        content = [line for line in content if line]
    below = [line for part in reversed(less) for line in part]
    left = room.height - len(content) - len(spectrum) - len(below)
    return [*content, *(_map(found, what.comparison.floor, room.width, left) if drawn else []), *spectrum, *below]


def _map(found: Findings, floor: float, width: int, height: int) -> list[Line]:
    """Where the error sits, in about `height` lines."""
    assert found.metrics.blocks is not None
    down, across = (_axes(axes, found.shape, width) for axes in found.metrics.axes)
    heading: Line = [("where ", theme.DIM), (f" ↓ {down}  → {across}" if down else f" → {across}", theme.DIM)]
    rows = min(max(height - 1, LEAST_MAP), MOST_MAP)
    blocks = found.metrics.blocks / max(floor, SMALLEST)
    return [*([[]] if height - 1 > rows else []), heading, *charts.error_map(blocks, rows, width)]


def _axes(axes: tuple[int, ...], shape: tuple[int, ...], width: int) -> str:
    """What a side of the map runs along: "axes 0-2", with the number of elements where there is room."""
    if not axes:
        return ""
    name = f"axis {axes[0]}" if len(axes) == 1 else f"axes {axes[0]}-{axes[-1]}"
    return f"{name} ({math.prod(shape[axis] for axis in axes)})" if width >= WIDE else name


def _spectrum(found: Findings, what: Shown, room: Room, used: int) -> list[Line]:
    """How large the errors are: a line for each decade where there is room, else one line."""
    spare = room.height - used - GOOD_MAP - 3  # the map's heading, and a blank line before each picture
    metrics = found.metrics
    drawn = charts.histogram(
        dict(metrics.histogram), room.width, spare, equal=metrics.zeros, allowed=what.comparison.floor
    )
    return [[], *drawn] if len(drawn) > 1 else drawn


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
        *_written(engine.note(node), width),
    ]


def _of_before(engine: Engine, node: int, status: Status, width: int) -> list[Line]:
    """What an earlier session left in the row of a node: its verdict, but nothing that could be looked at."""
    graph, table = engine.graph, engine.table
    verdict = VERDICTS[table.verdict[node]]
    word = verdict.value if verdict not in (Verdict.NONE, Verdict.CLEAN) else WORDS[status]
    found = [(f"{numbers.factor(float(table.factor[node]))} x the floor", theme.TEXT)]
    return [
        [
            (f"~ {word}", theme.STALE + Style(bold=True)),
            (f"  {graph.outline_label(graph.entry_of(node))}", theme.STRONG),
        ],
        [(lines.shorten(graph.path(node), width), theme.DIM)],
        [],
        *([found] if status in (Status.PASSED, Status.FAILED) else []),
        *lines.wrap(BEFORE_SENTENCE, width, theme.STALE),
        *_written(engine.note(node), width),
    ]


def _heading(engine: Engine, result: NodeResult, width: int, note: str) -> list[Line]:
    """Verdict and operator; its path, or that it ran last, where there is room."""
    glyph, style = rows.mark(result.status, result.verdict)
    word = result.verdict.value if result.verdict not in (Verdict.NONE, Verdict.CLEAN) else WORDS[result.status]
    if result.status is Status.NOT_RUN:
        word = "sampled" if result.sampled else "not compared"  # the run has been there
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
    content += _written(written, width)
    away = sum(spec_bytes(output.spec) for output in result.outputs if output.bytes is None)
    if away and (result.sampled or result.status is Status.NOT_RUN):
        content.append([("d", theme.KEY), (f" fetches all of it: {numbers.size(away)}", theme.DIM)])
    if result.detail:
        content.append([("the whole message: ", theme.DIM), ("5 Kernel", theme.KEY)])
    return content


def _written(note: str, width: int) -> list[Line]:
    """What the user wrote on the node, if anything."""
    return lines.wrap(f"note: {note}", width, theme.CURSOR, limit=6) if note else []


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def _said_by_numbers(result: NodeResult) -> bool:
    """Whether the reason is only that an error is too large: the numbers below say so, and better."""
    what = findings.shown(result)
    return result.status is Status.FAILED and what is not None and what.comparison.reason in result.reason


def _floor(engine: Engine, what: Shown, width: int) -> list[Line]:
    """How far off it is in floors, and where that floor comes from."""
    comparison = what.comparison
    style = theme.PASSED if comparison.passed else theme.FAILED
    on = f", {what.title}" if what.title else ""
    strange = _strange(comparison)
    if strange:
        return [*strange, [(lines.shorten(f"  {what.title}", width), theme.DIM)]] if what.title else strange
    if comparison.floor_origin == "exact":
        share = (
            f"{comparison.outside} of {comparison.compared} are not equal" if comparison.outside else "all are equal"
        )
        return [[(share, style)], [(lines.shorten(f"  bits must agree{on}", width), theme.DIM)]]
    whole = " of the whole model" if engine.snapshot.mode is Mode.CHAINED and not on else ""
    origin = {
        "float64": f"  float64 replay{whole}",
        "bound": "  bound on rounding",
        "override": "  set by you, not measured",
    }.get(comparison.floor_origin, f"  {comparison.floor_origin}")
    override = lines.wrap(comparison.override, width, theme.UNSUPPORTED, indent="  ") if comparison.override else []
    return [
        [
            (f"{numbers.factor(comparison.factor)} x the floor", style + Style(bold=True)),
            (f" of {numbers.scientific(comparison.floor)}", style),
        ],
        [(lines.shorten(origin + on, width), theme.DIM)],
        *override,
    ]


def _strange(comparison: Comparison) -> list[Line]:
    """NaN and Inf, where they decide: no floor says anything about them."""
    content: list[Line] = []
    for name, (reference, actual) in (("NaN", comparison.nan), ("Inf", comparison.inf)):
        if actual != reference or (name == "NaN" and actual):
            content.append(
                [
                    (f"{actual} of {comparison.compared} are {name}", theme.FAILED),
                    (f", source: {reference or 'none'}", theme.DIM),
                ]
            )
    return content if not comparison.passed and math.isinf(comparison.factor) else []


def _numbers(comparison: Comparison, metrics: Metrics | None, width: int) -> list[Line]:
    """The numbers of a comparison; all of them where there is room."""
    content = [
        _pair("max abs", numbers.scientific(comparison.max_abs), f"rel {numbers.scientific(comparison.max_rel)}"),
        _pair("outside", f"{comparison.outside} of {comparison.compared}", _share(comparison)),
    ]
    if comparison.worst is not None:
        place = str(list(comparison.worst))
        content.append(_pair("worst at", lines.shorten(place, max(width - NAME - 4, 8)), "m", more_style=theme.KEY))
        if comparison.worst_values is not None:
            content += _both(comparison, width)
    if metrics is not None and metrics.worst is not None:
        content += _averages(comparison, metrics, wide=width >= WIDE)
    return content


def _averages(comparison: Comparison, metrics: Metrics, *, wide: bool) -> list[Line]:
    """What decides nothing, with the tolerance that would have passed; and who is blind to this error."""
    cosine = "none" if metrics.cosine is None else f"{metrics.cosine:.4f}"
    blind = not comparison.passed and metrics.cosine is not None and metrics.cosine >= BLIND
    more = ["blind"] if blind else []
    more += [] if metrics.snr_db is None else [f"snr {metrics.snr_db:.3g} dB"]
    more += [f"pearson {metrics.pearson:.4f}"] if wide and metrics.pearson is not None else []
    content = [_pair("cosine", cosine, "  ".join(more))]
    if wide:
        ulp = "" if metrics.max_ulp is None else f"  {numbers.scientific(metrics.max_ulp)} ULP"
        mean = f"rmse {numbers.scientific(metrics.rmse)}{ulp}"
        content.insert(1, _pair("mean abs", numbers.scientific(metrics.mean_abs), mean))
        if metrics.first is not None and not comparison.passed:
            content.append(_pair("first at", str(list(metrics.first.index))))
    if not comparison.passed:
        rtol, atol = map(numbers.scientific, metrics.needed[1:])
        never = math.isinf(metrics.needed.atol)
        content.append(_pair("passes", "at no tolerance" if never else f"at rtol {rtol} or atol {atol}"))
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


def _others(result: NodeResult, what: Shown | None, width: int) -> list[Line]:
    """One line for each comparison that is not shown in full."""
    of_run = tuple(output.comparison for output in result.outputs)
    content: list[Line] = []
    for place, comparison in enumerate(of_run):
        if comparison is None or not comparison.compared or (what is not None and comparison is what.comparison):
            continue
        title = "in this run" if len(of_run) == 1 else f"output {place}"
        content.append(_verdict_line(title, (comparison,), width))
    for title, comparisons in (("recorded inputs", result.isolated), ("source on the same inputs", result.live)):
        if comparisons and comparisons != of_run and not (what is not None and what.comparison in comparisons):
            content.append(_verdict_line(title, comparisons, width))
    return content


def _verdict_line(title: str, comparisons: Sequence[Comparison], width: int) -> Line:
    passed = all(one.passed for one in comparisons)
    factor = max(one.factor for one in comparisons)
    style = theme.PASSED if passed else theme.FAILED
    mark = theme.STATUS_MARKS[1 if passed else 3]
    line: Line = [(f"{mark} {numbers.factor(factor)} x", style)]
    return [*line, (lines.shorten(f"  {title}", max(width - lines.length(line), 4)), theme.DIM)]


def _tail(engine: Engine, result: NodeResult, width: int) -> list[Line]:
    backend = name_of(result.backend)
    where = f"ran on {backend}" + (f" in {numbers.milliseconds(result.ms)}" if result.ms else "")
    if result.status not in (Status.PASSED, Status.FAILED) and not result.ms:
        where = f"placed on {backend}"
    path = engine.graph.path(result.node)
    room = width - len(where) - 2
    return [[(where, theme.DIM), (f"  {lines.shorten(path, room)}" if path and room > 8 else "", theme.DIM)]]
