"""Kernels in the chain of their model on the target: the guilty node must be LOCAL, and nobody else."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from tapml_tui.compare.result import Status, Verdict
from tapml_tui.engine.commands import Mode
from tests.faults.arithmetic import benign
from tests.faults.bench import Bench, Kernel, Place
from tests.faults.isolated import diagnosis_of
from tests.faults.peers import judged
from tests.faults.placing import Variant
from tests.faults.records import BENIGN, Record, largest_error

_ALARMS = (Status.FAILED, Status.ERROR)
_PLAIN = Variant("benign_plain")


class Chain:
    """A trace at one case, chained: every node of the suite on the target, and all others that TVM gets right."""

    def __init__(self, bench: Bench, covered: Sequence[Place], *, whole: bool) -> None:
        """Place everything.

        Args:
            bench: Where.
            covered: The nodes that get kernels of the suite.
            whole: Whether the other nodes go on the target too, as far as TVM computes them rightly. In half
                precision it often does not: its sums have half precision, which is a fault.
        """
        self._bench, self._covered = bench, covered
        bench.go(Mode.CHAINED, "target" if whole else "source")
        self.plain()
        while whole and (guilty := self._guilty()):
            for node in guilty:
                bench.put(node, "source")
            bench.run()

    def plain(self) -> None:
        """The healthy kernel at every node of the suite."""
        for place in self._covered:
            self._bench.put(place.node, "target", _PLAIN)
        self._bench.run()

    def _guilty(self) -> list[int]:
        results = [self._bench.result(node) for node in range(len(self._bench.driver.engine.graph))]
        wrong = [r for r in results if r.verdict is Verdict.LOCAL or r.status in (Status.ERROR, Status.UNSUPPORTED)]
        return [result.node for result in wrong if result.backend == "target"]

    def benign(self, draw: random.Random) -> Iterator[Record]:
        """A benign variant at every node of the suite, all at once: nobody may raise an alarm."""
        names = {}
        for place in self._covered:
            names[place.node] = draw.choice(benign(place.site.operator, place.site.dtype, draw))
            self._bench.put(place.node, "target", Variant(f"benign_{names[place.node]}"))
        self._bench.run()
        for place in self._covered:
            yield self._record(Kernel(place, names[place.node], BENIGN, _PLAIN), 1.0)
        yield from self._others({place.node for place in self._covered}, blamed_if=_ALARMS)

    def fault(self, kernel: Kernel, isolated: Record) -> Iterator[Record]:
        """A wrong kernel at its node; what it is worth was found out when it ran alone."""
        node = kernel.place.node
        self._bench.put(node, "target", kernel.variant)
        self._bench.run()
        yield replace(self._record(kernel, isolated.envelopes), envelopes=isolated.envelopes)
        yield from self._others({node}, blamed_if=(Status.ERROR,))
        self._bench.put(node, "target", _PLAIN)

    def _record(self, kernel: Kernel, unit: float) -> Record:
        node = kernel.place.node
        result, (reference, actual) = self._bench.result(node), self._bench.arrays(node)
        wrong = result.verdict is Verdict.LOCAL
        return Record(
            mode="chained",
            operator=kernel.place.site.operator,
            dtype=kernel.place.site.dtype,
            kind=kernel.kind,
            strength=kernel.strength,
            found=wrong if kernel.strength != BENIGN else result.status in _ALARMS,
            factor=result.factor,
            peers=judged(reference, actual),
            envelopes=largest_error(reference, actual) / unit,
            diagnosis=diagnosis_of(result),
            note=f"{kernel.place} {result.verdict} {result.reason}",
        )

    def _others(self, but: Collection[int], *, blamed_if: Sequence[Status]) -> Iterator[Record]:
        """One record for every other node: it is healthy, and must not be blamed."""
        graph, engine = self._bench.driver.engine.graph, self._bench.driver.engine
        for node in range(len(graph)):
            result = self._bench.result(node)
            if node in but or result.status is Status.NOT_RUN or result.backend != "target":
                continue
            blamed = result.verdict is Verdict.LOCAL or result.status in blamed_if
            yield Record(
                mode="chained",
                operator=graph.op(node).rpartition(".")[0],
                dtype=engine.unit(node).outputs[0].dtype,
                kind="bystander",
                strength=BENIGN,
                found=blamed,
                factor=result.factor,
                peers=frozenset(),
                envelopes=0.0,
                note=f"{graph.node_id(node)} {result.verdict} {result.reason}",
            )
