"""Where a verb leads: pure planning over the outline and the cursor. Nothing is executed here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from tapml_tui.engine.commands import Step, Verb

if TYPE_CHECKING:
    from trace_format import Graph


class Stops(Enum):
    """What ends a run before it is where it should go."""

    NOTHING = auto()
    BREAKPOINTS = auto()
    FAULTS = auto()  # LOCAL and errors, and breakpoints


@dataclass(frozen=True, slots=True)
class Forward:
    """Execute the nodes [cursor, stop), or up to where it stops before."""

    stop: int
    stops: Stops = Stops.BREAKPOINTS


@dataclass(frozen=True, slots=True)
class Backward:
    """Put the cursor back, without computing."""

    cursor: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The verb can do nothing here: `at_end` and `at_start` say which edge was met."""

    message: str
    at_end: bool = False
    at_start: bool = False


def plan(step: Step, graph: Graph, cursor: int, stopped_at: Callable[[int], bool]) -> Forward | Backward | Refused:
    """What a verb means with the cursor at a node.

    Args:
        step: The verb and what is selected.
        graph: Its outline says where folds begin and end.
        cursor: Next node to execute; `len(graph)` at the end.
        stopped_at: Whether a run that continues forward would have stopped with the cursor there.
    """
    nodes = len(graph)
    if step.entry is not None and not 0 <= step.entry < len(graph.outline):
        return Refused("the selected row is not in this graph")
    if step.verb in (Verb.BACK, Verb.BACK_CONTINUE):
        return _back(step, graph, cursor, stopped_at)
    if cursor >= nodes and step.verb is not Verb.CONTINUE:
        return Refused("already at the end: `r` goes to the start, `N` back", at_end=True)
    match step.verb:
        case Verb.OVER:
            fold = _closed_fold(step, graph)
            if fold is not None and fold[0] == cursor:
                return Forward(fold[1])
            return Forward(cursor + 1, Stops.NOTHING)
        case Verb.INTO:
            return Forward(cursor + 1, Stops.NOTHING)
        case Verb.OUT:
            parent = int(graph.outline[graph.entry_of(cursor)]["parent"])
            return Forward(int(graph.outline[parent]["stop"]) if parent >= 0 else nodes)
        case Verb.TO:
            if step.entry is None:
                return Refused("nothing is selected to run to")
            target = int(graph.outline[step.entry]["start"])
            if target == cursor:
                return Refused("the cursor is there already")
            if target < cursor:
                return Refused("the selection is behind the cursor: `N` and `C` go back, `r` to the start")
            return Forward(target)
    return Forward(nodes, Stops.FAULTS)


def _back(step: Step, graph: Graph, cursor: int, stopped_at: Callable[[int], bool]) -> Backward | Refused:
    if cursor == 0:
        return Refused("already at the start", at_start=True)
    if step.verb is Verb.BACK:
        fold = _closed_fold(step, graph)
        return Backward(fold[0] if fold is not None and fold[1] == cursor else cursor - 1)
    return Backward(next((position for position in range(cursor - 1, 0, -1) if stopped_at(position)), 0))


def _closed_fold(step: Step, graph: Graph) -> tuple[int, int] | None:
    """The nodes of the selected fold if it is closed."""
    if not step.folded or step.entry is None:
        return None
    row = graph.outline[step.entry]
    return (int(row["start"]), int(row["stop"])) if row["fold"] else None
