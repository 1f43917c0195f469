"""Automated migration: signature after signature to the target, as long as carved tests pass and the answer holds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np

from tapml_tui.compare import Status
from tapml_tui.engine.answering import Answer
from tapml_tui.engine.commands import Mode
from tapml_tui.engine.events import NodeResult
from tapml_tui.engine.executor import SOURCE, Executor, Waiting
from tapml_tui.engine.judging import Judge
from tapml_tui.engine.ledger import Ledger, LedgerEntry, Migration
from tapml_tui.engine.probing import LOOK_AHEAD, Prober
from tapml_tui.engine.units import DAMAGED, Binding, executed
from tapml_tui.engine.views import Views
from trace_format import Trace, TraceError


@dataclass(slots=True)
class Group:
    """All that one kernel computes: the nodes of a signature, in every case."""

    signature: str
    op: str
    places: list[tuple[int, int]] = field(default_factory=list)  # case, node


class CannotMigrate(Exception):
    """There is nothing to hold on to. The message is for the user."""


class Migrator:
    """Moves a trace to a target.

    Attributes:
        target: The backend that is migrated to.
        answers: Of the cases, under the placement that was reached.
    """

    def __init__(
        self, trace: Trace, executor: Executor, prober: Prober, backend_ids: Sequence[str], target: str
    ) -> None:
        """Migrate `trace` to the backend `target`; nothing is moved yet."""
        self.target = target
        self.answers: dict[int, Answer] = {}
        self._trace = trace
        self._executor = executor
        self._prober = prober
        self._judge = Judge(executor)
        self._carved = Views(trace, backend_ids, target)  # every node alone, on its recorded inputs
        self._ids = tuple(backend_ids)
        source = self._ids.index(SOURCE)
        self.placements = {i: np.full(len(graph), source, np.uint8) for i, graph in enumerate(trace.graphs)}

    def migrate(
        self,
        ledger: Ledger,
        name: str,
        *,
        again: bool = False,
        on_progress: Callable[[int, int, str], None] = lambda done, total, what: None,
        on_moved: Callable[[], None] = lambda: None,
    ) -> Waiting[tuple[LedgerEntry, ...]]:
        """Move what can be moved; what became of each signature, in graph order.

        Args:
            ledger: What is known already, and where every step is written down.
            name: Of the target, in the ledger.
            again: Try also what stands on the same evidence as before.
            on_progress: Told (done, total, of what): carved tests, then signatures.
            on_moved: Told when `placements` changed.

        Raises:
            CannotMigrate: If the answer is wrong before anything is moved.
            OSError: If the ledger cannot be written.
        """
        groups = list(self.groups())
        known = {} if again else self._known(ledger, name, groups)
        kept = [group for group in groups if _is(known.get(group.signature), Migration.MIGRATED)]
        if kept:
            self._move(kept)
            if not (yield from self._holds(range(len(self._trace.cases)))):
                known = {}  # together they are wrong now: each has to prove itself again
                self._take_back(kept)
        if not (known and kept) and not (yield from self._holds(range(len(self._trace.cases)))):
            why = next(answer.reason for answer in self.answers.values() if answer.passed is False)
            raise CannotMigrate(f"the answer is wrong with everything on the source: {why}")
        on_moved()
        yield from self._test([group for group in groups if group.signature not in known], on_progress)
        entries = []
        for done, group in enumerate(groups):
            on_progress(done, len(groups), "signatures")
            entry = known.get(group.signature)
            if entry is None:
                entry = yield from self._try(ledger, name, group)
                on_moved()
            else:
                entry = replace(entry, nodes=self._names(group))
            ledger.put(name, entry)
            entries.append(entry)
            yield None
        on_progress(len(groups), len(groups), "signatures")
        return tuple(entries)

    def groups(self) -> Iterator[Group]:
        """What there is to move, in graph order."""
        groups: dict[str, Group] = {}
        for case in range(len(self._trace.cases)):
            graph = self._trace.graphs[self._trace.cases[case].graph]
            for node in range(len(graph)):
                binding = self._executor.bindings.get(case, node)
                if isinstance(binding, Binding) and executed(binding, Mode.CHAINED):
                    signature = binding.unit.signature
                    groups.setdefault(signature, Group(signature, graph.op(node))).places.append((case, node))
        return iter(groups.values())

    def _known(self, ledger: Ledger, name: str, groups: Sequence[Group]) -> dict[str, LedgerEntry]:
        """What need not be tried again: not what a migration that was stopped was at.

        A signature that the answer blocked is tried again if anything else changed.
        """
        known = {}
        for group in groups:
            entry = ledger.get(name, group.signature)
            settled = entry is not None and entry.status in (Migration.MIGRATED, Migration.BLOCKED)
            if entry is not None and settled and entry.evidence == self._evidence(group):
                known[group.signature] = entry
        if len(known) == len(groups):
            return known
        return {key: entry for key, entry in known.items() if not entry.reason.startswith(_TOGETHER)}

    def _evidence(self, group: Group) -> str:
        """A digest of what decides the carved tests: the backend, kernels, recorded data, floors and tolerances."""
        digest = hashlib.sha256(repr(self._executor.overrides.rules).encode("utf-8", "surrogatepass"))
        for case, node in group.places:
            view = self._carved.get(case, Mode.ISOLATED)
            binding = self._executor.bindings.get(case, node)
            assert isinstance(binding, Binding)
            inputs = [value.digest if value else "" for value in self._executor.reference_inputs(case, binding)]
            label = self._executor.label(view, node, self.target)
            told = [(value.tensor, value.isolated, value.chained) for value in binding.values]
            digest.update(repr((label, group.signature, inputs, told)).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def _try(self, ledger: Ledger, name: str, group: Group) -> Waiting[LedgerEntry]:
        entry = LedgerEntry(
            group.signature, group.op, self._names(group), Migration.SOURCE, evidence=self._evidence(group)
        )
        worst = 0.0
        for case, node in group.places:
            result = yield from self._carved_test(case, node)
            if result.status not in (Status.PASSED, Status.NOT_RUN):
                reason = f"{self._node_id(case, node)}: {result.reason}"
                return replace(entry, status=Migration.BLOCKED, reason=reason, factor=result.factor)
            worst = max(worst, result.factor)
        entry = replace(entry, status=Migration.CARVED_PASS, factor=worst)
        ledger.put(name, entry)
        before = dict(self.answers)
        self._move([group])
        if (yield from self._holds(self._cases(group))):
            return replace(entry, status=Migration.MIGRATED)
        why = next(answer.reason for answer in self.answers.values() if answer.passed is False)
        self._take_back([group])
        self.answers = before
        return replace(entry, status=Migration.BLOCKED, reason=f"{_TOGETHER}: {why}")

    def _test(self, groups: Sequence[Group], on_progress: Callable[[int, int, str], None]) -> Waiting[None]:
        """Have the carved tests done, which need nothing of each other: by several devices at a time, if there are."""
        places = [place for group in groups for place in group.places]
        for number, (case, node) in enumerate(places):
            on_progress(number, len(places), "carved tests")
            for coming, ahead in places[number : number + LOOK_AHEAD]:
                try:
                    if not self._executor.send_ahead(self._carved.get(coming, Mode.ISOLATED), ahead):
                        break
                except TraceError:
                    break  # it is said when it is its turn
            yield from self._carved_test(case, node)
            yield None

    def _carved_test(self, case: int, node: int) -> Waiting[NodeResult]:
        view = self._carved.get(case, Mode.ISOLATED)
        if view.fresh(node):
            return view.results[node]
        try:
            yield from self._judge.visit(view, node, whole=True)
        except TraceError as error:
            self._judge.give_up(view, node, f"{DAMAGED}: {error}")
        return view.results[node]

    def _holds(self, cases: Sequence[int]) -> Waiting[bool]:
        """Whether the answers of these cases are right under the placement that was reached so far."""
        for case in cases:
            backend = self.placements[self._trace.cases[case].graph]
            self.answers[case] = yield from self._prober.answer(case, backend, {})
            if self.answers[case].passed is False:
                return False
        return True

    def _cases(self, group: Group) -> list[int]:
        """Those that a group may change: of its graphs, and what they hand state to."""
        changed = {self._trace.cases[case].graph for case, _ in group.places}
        cases: list[int] = []
        for number, case in enumerate(self._trace.cases):
            if case.graph in changed or any(source.case in cases for _, source in case.handed_on):
                cases.append(number)
        return cases

    def _move(self, groups: Sequence[Group]) -> None:
        self._place(groups, self._ids.index(self.target))

    def _take_back(self, groups: Sequence[Group]) -> None:
        self._place(groups, self._ids.index(SOURCE))

    def _place(self, groups: Sequence[Group], backend: int) -> None:
        for case, node in chain.from_iterable(group.places for group in groups):
            self.placements[self._trace.cases[case].graph][node] = backend

    def _names(self, group: Group) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._node_id(case, node) for case, node in group.places))

    def _node_id(self, case: int, node: int) -> str:
        return self._trace.graphs[self._trace.cases[case].graph].node_id(node)


_TOGETHER = "its carved tests pass, but with it on the target the model's answer is wrong"


def _is(entry: LedgerEntry | None, status: Migration) -> bool:
    return entry is not None and entry.status is status
