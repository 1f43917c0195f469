"""What a thread finds out about a result: where its error sits, how large it is, the worst elements."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from numpy.typing import NDArray

if TYPE_CHECKING:
    from tapml_tui.compare import Comparison
    from tapml_tui.compare.forecast import Largest
    from tapml_tui.compare.metrics import Metrics
    from tapml_tui.compare.worst import WorstElement
    from tapml_tui.engine import Engine
    from tapml_tui.engine.events import NodeResult

Array: TypeAlias = NDArray[Any]

WORST = 100
KEPT = 64
MAP_ROWS, MAP_COLUMNS = 24, 64


@dataclass(frozen=True, slots=True)
class Shown:
    """Which comparison of a result is shown in full: what proves a kernel wrong, else that of the run.

    Attributes:
        place: Index of the output among those of the result.
        comparison: Of that output.
        title: On which inputs it was made, where that is not those of the run; "" where it is.
    """

    place: int
    comparison: Comparison
    title: str = ""


def shown(result: NodeResult) -> Shown | None:
    """What to show of a result; None if nothing was compared."""
    if result.finding is not None:
        proof = result.finding.comparison
        for place, output in enumerate(result.outputs):
            if output.comparison is proof:
                return Shown(place, proof)
        live = any(one is proof for one in result.live)
        title = "its real inputs" if live else "recorded inputs"
        return Shown(min(result.finding.output, len(result.outputs) - 1), proof, title)
    compared = [(place, output.comparison) for place, output in enumerate(result.outputs) if output.comparison]
    ranked = [Shown(place, one) for place, one in compared if one.compared]
    return max(ranked, key=lambda one: (not one.comparison.passed, one.comparison.factor), default=None)


def sides(engine: Engine, result: NodeResult, what: Shown) -> tuple[Array, Array] | None:
    """The arrays that were compared; None if one is not here, or their shapes differ."""
    if result.finding is not None:
        return engine.proof(result.finding)
    reference, actual = engine.reference(result.node, what.place), engine.actual(result.node, what.place)
    if reference is None or actual is None or reference.shape != actual.shape:
        return None
    return reference, actual


@dataclass(frozen=True, slots=True)
class Findings:
    """Of one comparison.

    Attributes:
        shape: Of both sides.
        metrics: Every measure of how they differ.
        worst: The elements that are furthest off, the worst first.
        overflow: The largest magnitude that the operator meets, if half precision is too narrow for it.
    """

    shape: tuple[int, ...]
    metrics: Metrics
    worst: tuple[WorstElement, ...] = ()
    overflow: Largest | None = None


class Cache:
    """The findings of the results that were looked at last."""

    def __init__(self) -> None:
        """Nothing found yet."""
        self._kept: OrderedDict[tuple[object, ...], Findings] = OrderedDict()

    def get(self, key: tuple[object, ...]) -> Findings | None:
        """What was found under a key."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def keep(self, key: tuple[object, ...], findings: Findings) -> None:
        """Keep it; what was not asked for longest goes."""
        self._kept[key] = findings
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)


def find(engine: Engine, result: NodeResult, what: Shown) -> Findings | None:
    """Look at both sides of a comparison. Takes as long as reading them does: not for the screen's thread.

    Returns:
        None if one side is not there.
    """
    from tapml_tui.compare.metrics import measure  # not before the first paint
    from tapml_tui.compare.worst import worst_elements
    from tapml_tui.ui import overflow

    pair, law = sides(engine, result, what), what.comparison.law
    if pair is None:
        return None
    metrics = measure(*pair, law, rows=MAP_ROWS, columns=MAP_COLUMNS)
    worst = worst_elements(*pair, WORST, law.allowance if law is not None else None)
    size = overflow.of_node(engine, result.node)
    return Findings(pair[0].shape, metrics, worst, size if overflow.overflows(size) else None)
