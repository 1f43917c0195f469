"""Which placements break the answer: a minimal set, found by experiments and proven by two of them.

Delta debugging over what is on the target. An experiment (a *probe*) is a chained run with some nodes
on the target and all others on the source, and says whether the model's answer is still right. The
order of probes is a matter of speed only; what is returned has been seen to break the answer alone,
and everything else has been seen to keep it.

Where more target never mends what less has broken (a monotone fault), the set is minimal, and finding
k nodes among n takes at most k * (log2(n) + 4) probes: for each node a binary search for the shortest
prefix that breaks the answer together with the nodes found before (the last of a shortest prefix is
needed by all that is shorter; Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing
Input", IEEE TSE 28(2), 2002, for the idea; its ddmin takes up to k * n probes). Where faults mend each
other, what is returned still breaks the answer alone, and no single node can be left out of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Search: TypeAlias = Generator[frozenset[int], bool, "Blame"]
"""Yields sets of nodes to put on the target, all others on the source; is sent whether the answer was right."""


@dataclass(frozen=True, slots=True)
class Blame:
    """Who is to blame for a wrong answer.

    Attributes:
        causes: Sets of nodes, each of which breaks the answer with nothing else on the target. With all
            of them on the source the answer is right. Empty if there is nothing to blame.
        runs: How many chained runs it took.
        nodes: How many nodes were suspected; trying each alone would have taken as many runs.
        without_target: The answer is wrong even with everything on the source.
    """

    causes: tuple[tuple[int, ...], ...]
    runs: int
    nodes: int
    without_target: bool = False

    @property
    def guilty(self) -> tuple[int, ...]:
        """All nodes of all causes, in graph order."""
        return tuple(sorted(node for cause in self.causes for node in cause))


def most_runs(found: int, nodes: int) -> int:
    """The runs that blaming `found` of `nodes` takes at most: 4 * k * log2(n)."""
    return max(4, math.floor(4 * found * math.log2(max(nodes, 2))))


def blame(probe: Callable[[frozenset[int]], bool], nodes: Sequence[int], suspects: Collection[int] = ()) -> Blame:
    """Find who breaks the answer.

    Args:
        probe: Whether the answer is right with these nodes on the target and all others on the source.
        nodes: What is on the target, in graph order.
        suspects: Those of them that are probably guilty (LOCAL ones): a hint, tried first.
    """
    steps = search(nodes, suspects)
    try:
        asked = next(steps)
        while True:
            asked = steps.send(probe(asked))
    except StopIteration as end:
        found: Blame = end.value
        return found


def search(nodes: Sequence[int], suspects: Collection[int] = ()) -> Search:
    """The same for who cannot be called: a generator of probes, which is stopped by closing it."""
    asked: dict[frozenset[int], bool] = {}

    def right(placed: Collection[int]) -> Generator[frozenset[int], bool, bool]:
        key = frozenset(placed)
        if key not in asked:
            asked[key] = yield key
        return asked[key]

    causes: list[tuple[int, ...]] = []
    left = list(nodes)
    if (yield from right(left)):
        return Blame((), len(asked), len(nodes))
    if not (yield from right(())):
        return Blame((), len(asked), len(nodes), without_target=True)
    while not (yield from right(left)):
        likely = [node for node in left if node in suspects]
        pool = likely if likely and not (yield from right(likely)) else left
        cause = yield from _cause(pool, right)
        causes.append(cause)
        left = [node for node in left if node not in cause]
    return Blame(tuple(causes), len(asked), len(nodes))


def _cause(
    pool: Sequence[int], right: Callable[[Collection[int]], Generator[frozenset[int], bool, bool]]
) -> Generator[frozenset[int], bool, tuple[int, ...]]:
    """A set out of `pool`, which breaks the answer, that breaks it too and of which no node can be spared."""
    found: list[int] = []
    while (yield from right(found)):
        passes, fails = 0, len(pool)  # how long a prefix is that does so, with what was found
        while fails - passes > 1:
            middle = (passes + fails) // 2
            if (yield from right([*found, *pool[:middle]])):
                passes = middle
            else:
                fails = middle
        found.append(pool[fails - 1])
        pool = pool[: fails - 1]
    tried = 0  # so many at the front cannot be spared
    while tried < len(found):
        without = [*found[:tried], *found[tried + 1 :]]
        if (yield from right(without)):
            tried += 1
        else:
            found, tried = without, 0  # what was needed for that one may not be needed now
    return tuple(sorted(found))
