"""Several targets beside each other: a column for each in the tree, a line for each on a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from tapml_tui.compare.result import Status
from tapml_tui.engine.beside import conclusion, is_wrong
from tapml_tui.engine.table import STATUSES, name_of
from tapml_tui.ui import lines, numbers, theme
from tapml_tui.ui.lines import Line
from tapml_tui.ui.words import WORDS

if TYPE_CHECKING:
    from tapml_tui.engine import Engine
    from tapml_tui.engine.table import NodeTable

Worst: TypeAlias = "tuple[Status, float]"

CELLS = 7  # of a column: a mark, a factor, a blank
LEAST_NAMES = 18  # cells that the names of operators keep


def columns(targets: int, width: int) -> int:
    """How many targets have room for a column of their own; the page of a node has all."""
    return min(targets, max((width - LEAST_NAMES) // CELLS, 1))


def worst_of(table: NodeTable, start: int, stop: int) -> tuple[Worst, ...]:
    """How the nodes [start, stop) did on each of several targets; nothing where there is only one."""
    return tuple(table.beside_worst(k, start, stop) for k in range(len(table.beside_factor)))


def heading(targets: Sequence[str]) -> str:
    """The names over the columns."""
    return "".join(f"{lines.shorten(name_of(target), CELLS - 1):>{CELLS - 1}} " for target in targets)


def cells(worst: Sequence[Worst]) -> Line:
    """The columns of a row."""
    line: Line = []
    for status, factor in worst:
        index = STATUSES.index(status)
        figure = numbers.factor(factor) if _compared(status, factor) else ""
        line.append((f"{theme.STATUS_MARKS[index]}{figure:>{CELLS - 2}} ", theme.STATUS_STYLES[index]))
    return line


def of_node(engine: Engine, node: int, width: int) -> list[Line]:
    """Whose fault it is, if it is wrong on some targets; how it did on each."""
    results = engine.beside(node)
    if len(results) < 2:
        return []
    said = conclusion({name_of(result.backend): is_wrong(result) for result in results})
    content = lines.wrap(f"{said[:1].upper()}{said[1:]}.", width, theme.STRONG, limit=4) if said else []
    return content + _lines([(name_of(one.backend), (one.status, one.factor)) for one in results], width)


def of_fold(engine: Engine, start: int, stop: int, width: int) -> list[Line]:
    """The worst of a fold on each target."""
    worst = worst_of(engine.table, start, stop)
    return _lines(list(zip(map(name_of, engine.targets), worst, strict=True)), width)


def _lines(each: Sequence[tuple[str, Worst]], width: int) -> list[Line]:
    """A line for each target; one for all where there is room."""
    content = [_line(name, worst, width) for name, worst in each]
    joined = [piece for line in content for piece in (*line, ("  ", theme.PLAIN))]
    return [joined[:-1]] if content and lines.length(joined) - 2 <= width else content


def _line(name: str, worst: Worst, width: int) -> Line:
    status, factor = worst
    index = STATUSES.index(status)
    figure = f"{numbers.factor(factor)} x" if _compared(status, factor) else WORDS[status]
    line: Line = [(f"{theme.STATUS_MARKS[index]} {figure}", theme.STATUS_STYLES[index])]
    return [*line, (lines.shorten(f" {name}", max(width - lines.length(line), 6)), theme.TEXT)]


def _compared(status: Status, factor: float) -> bool:
    return status in (Status.PASSED, Status.FAILED) and not math.isnan(factor)
