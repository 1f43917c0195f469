"""What a thread finds out about a result: where its error sits, how large it is, the worst elements."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tapml_tui.compare import Comparison
    from tapml_tui.compare.forecast import Largest
    from tapml_tui.compare.worst import WorstElement
    from tapml_tui.engine import Engine
    from tapml_tui.engine.events import NodeResult

Array: TypeAlias = NDArray[Any]

WORST = 100
KEPT = 64
MAP_ROWS, MAP_COLUMNS = 32, 64


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
        title = "on its real inputs, against the source" if live else "on the recorded inputs"
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
        worst: The elements that are furthest off, the worst first.
        blocks: (rows, columns): the worst error of each block in floors; None where there is nothing to draw.
        down: What the rows of `blocks` run along, and how many elements that are.
        across: The same of its columns.
        decades: How many absolute errors are in [10**k, 10**(k + 1)), by k.
        equal: How many elements do not differ.
        overflow: The largest magnitude that the operator meets, if half precision is too narrow for it.
    """

    worst: tuple[WorstElement, ...] = ()
    blocks: NDArray[np.float64] | None = None
    down: tuple[str, int] = ("", 0)
    across: tuple[str, int] = ("", 0)
    decades: Mapping[int, int] = field(default_factory=dict)
    equal: int = 0
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
    from tapml_tui.compare.worst import worst_elements  # not before the first paint
    from tapml_tui.ui import error_map, overflow

    pair, comparison = sides(engine, result, what), what.comparison
    if pair is None:
        return None
    reference, actual = pair
    law = comparison.law.allowance if comparison.law is not None else None
    blocks = error_map.blocks(reference, actual, MAP_ROWS, MAP_COLUMNS)
    error = np.abs(actual.astype(np.float64) - reference.astype(np.float64)).reshape(-1)
    error = error[np.isfinite(error)]
    equal = int((error == 0).sum())
    powers, counts = np.unique(np.floor(np.log10(error[error > 0])).astype(int), return_counts=True)
    leading = len(reference.shape) - 1
    size = overflow.of_node(engine, result.node)
    return Findings(
        worst_elements(reference, actual, WORST, law),
        None if blocks is None else blocks / max(comparison.floor, 1e-300),
        (f"axes 0-{leading - 1}" if leading > 1 else "axis 0", math.prod(reference.shape[:-1])),
        (f"axis {leading}", reference.shape[-1] if reference.shape else 1),
        dict(zip(powers.tolist(), counts.tolist(), strict=True)),
        equal,
        size if overflow.overflows(size) else None,
    )
