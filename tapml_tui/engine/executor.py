"""Obtaining values: from the trace, from the run store, or from a backend, with a window in flight.

What waits for a backend is a generator that yields the job it waits for, so that one thread can
drive everything and an interrupt can come at any moment.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Generator, Sequence
from typing import Protocol, TypeAlias, TypeGuard, TypeVar

from tapml_tui.backends.protocol import SENT_AHEAD, Backend, Executed, Failed, Operand, Stage
from tapml_tui.compare.overrides import Overrides
from tapml_tui.engine.commands import Mode
from tapml_tui.engine.forcing import CannotForce, read_forced
from tapml_tui.engine.gathering import Gatherer
from tapml_tui.engine.jobs import Job, Jobs, Operandlike, Pending, size_of
from tapml_tui.engine.operator_facts import choice_of
from tapml_tui.engine.placement import REFERENCE
from tapml_tui.engine.store import Label, RunStore
from tapml_tui.engine.units import Binding, Bindings, Unbound, executed
from tapml_tui.engine.values import Outcome, References, Stored, raw_bytes
from tapml_tui.engine.view import View, output_nodes
from trace_format import Graph, Trace, TraceError
from trace_format.model import InputRef, NodeRef

SOURCE = "source"
"""The id of the backend that made the reference."""

WINDOW = 32
"""Requests of a lane in flight at most: enough to hide a round trip behind the execution of small kernels."""

WINDOW_BYTES = 256 << 20
"""Output bytes in flight at most: they wait in memory until the engine has written them down."""

T = TypeVar("T")


class Awaited(Protocol):
    """What a run waits for: a job, or the first of several."""

    @property
    def done(self) -> bool:
        """Whether it is there."""


Waiting: TypeAlias = Generator[Awaited | None, None, T]


class Executor:
    """Turns (node, backend, inputs) into an `Outcome`, executing only what must be executed.

    Attributes:
        bindings: Units of nodes.
        references: The reference run.
        jobs: What is in flight.
        gatherer: Fetches rows of values that are too large to be fetched.
        overrides: What the user allows instead of the noise floors.
        answer_only: Chained, nothing is judged but what the model answers: nothing else is fetched.
    """

    def __init__(
        self,
        trace: Trace,
        backends: Sequence[Backend],
        store: RunStore,
        *,
        source_from_trace: bool,
        fetch_limit: int,
        overrides: Overrides,
    ) -> None:
        """See `tapml_tui.engine.Engine` for the options."""
        self.bindings = Bindings(trace)
        self.references = References(trace)
        self.jobs = Jobs(backends, store)
        self.gatherer = Gatherer(self.jobs, store, fetch_limit)
        self.overrides = overrides
        self._trace = trace
        # A backend that does not say what decides its results is not trusted to be the same one tomorrow.
        self._unknown_version = secrets.token_hex(8)
        self._backends = {backend.id: backend for backend in backends}
        self._versions: dict[str, str] = {}
        self._store = store
        self._source_from_trace = source_from_trace
        self._fetch_limit = fetch_limit
        self.answer_only = False
        self._ahead: dict[tuple[int, int], Job | Outcome] = {}  # by case and node

    def reference_inputs(self, case: int, binding: Binding) -> list[Stored | None]:
        """The recorded operands of a unit."""
        return [self.references.get(case, ref) for ref in binding.operands]

    def case_name(self, case: int) -> str:
        """Name of a case."""
        return self._trace.cases[case].name

    def inputs(self, view: View, binding: Binding) -> list[Stored | None]:
        """The operands that a unit gets in this view, its producers having been visited."""
        return [
            view.value(ref) if view.chains(ref) else self.references.get(view.case, ref) for ref in binding.operands
        ]

    def weights(self, view: View, binding: Binding, backend: str) -> list[Operand]:
        """The parameters and buffers that a unit takes as they were recorded, and that may be sent ahead.

        Larger ones are not looked at: to say where their bytes are is to check all of them.
        """
        inputs = zip(binding.operands, binding.unit.inputs, strict=True)
        small = [ref for ref, spec in inputs if isinstance(ref, InputRef) and size_of(spec) <= SENT_AHEAD]
        try:
            recorded = [self.references.get(view.case, ref) for ref in small if not view.chains(ref)]
        except TraceError:  # damage is met, and said, when the unit is executed
            return []
        return [one.operand(backend) for one in recorded if one is not None and one.persistent and one.bytes]

    def label(self, view: View, node: int, backend: str) -> Label:
        """Whose execution it is; a kernel of its own belongs to the side that the node is placed on."""
        kernel = view.placement.kernels.get(node) if backend == view.placement.of(node) else None
        case = self._trace.cases[view.case].name
        return Label(view.graph.node_id(node), case, backend, kernel, self._version(backend))

    def _version(self, backend: str) -> str:
        """Asked for when it is first needed: finding it out takes longer than opening a trace."""
        if backend not in self._versions:
            self._versions[backend] = getattr(self._backends[backend], "fingerprint", "") or self._unknown_version
        return self._versions[backend]

    @property
    def changed(self) -> str:
        """The user's files that were written since a backend read them, by name; "" if none was."""
        names = (getattr(backend, "changed", "") for backend in self._backends.values())
        return ", ".join(dict.fromkeys(filter(None, names)))

    def restart(self) -> list[str]:
        """Start backends that are lost, have all take up what the user's files say; the ids of those that do."""
        changed = [one for one, backend in self._backends.items() if getattr(backend, "reread", bool)()]
        for one in changed:
            self._versions.pop(one, None)
        if changed:
            self._unknown_version = secrets.token_hex(8)
        for backend in self._backends.values():
            backend.restart()  # where all is well it does nothing
        return changed

    def known(self, view: View, node: int, binding: Binding, backend: str, inputs: Sequence[Stored]) -> Outcome | None:
        """The outcome if it need not be executed."""
        digests = tuple(source.digest for source in inputs)
        if backend == SOURCE and self._source_from_trace:
            outputs = self._recorded(view, binding, inputs)
            if outputs:
                return Outcome(digests, outputs)
        return self._store.find(self.label(view, node, backend), binding.unit, digests)

    def lost(self, view: View, binding: Binding, missing: Sequence[int]) -> list[tuple[View, int]]:
        """Who computes the operands that are missing on a backend; what is known of these is forgotten."""
        found: dict[tuple[int, int], tuple[View, int]] = {}
        for index in missing:
            where, made = view.origin(binding.operands[index])
            computed = view.producer(binding.operands[index])
            producer = self.bindings.get(where.case, made.node) if isinstance(made, NodeRef) else None
            if not isinstance(made, NodeRef) or computed is None or not isinstance(producer, Binding):
                continue
            label = self.label(where, made.node, computed.backend)
            self._store.forget_held(label, producer.unit, computed.inputs)
            found[where.case, made.node] = where, made.node
        return list(found.values())

    def cases_of(self, graph: Graph) -> list[int]:
        """The cases that this graph was run on."""
        return [number for number, case in enumerate(self._trace.cases) if self._trace.graphs[case.graph] is graph]

    def same_as_reference(self, view: View, binding: Binding, inputs: Sequence[Stored]) -> bool:
        """Whether inputs are bit by bit the recorded ones."""
        recorded = self.reference_inputs(view.case, binding)
        return all(
            theirs is not None and ours.same_content(theirs) for ours, theirs in zip(inputs, recorded, strict=True)
        )

    def check_forced(self, case: int, node: int, file: str | None) -> None:
        """Whether a node's value can be forced.

        Raises:
            CannotForce: If not.
        """
        binding = self.bindings.get(case, node)
        if isinstance(binding, Unbound):
            raise CannotForce(f"nothing to force: {binding.reason}")
        if file is not None:
            read_forced(file, binding.unit.outputs[0])
        elif any(value.tensor is None for value in binding.values):
            raise CannotForce("its value was not recorded")

    def forced(self, view: View, node: int, binding: Binding, file: str) -> Stored:
        """The value in a file, copied into the run: what becomes of the file later changes nothing.

        Raises:
            CannotForce: If it does not fit (any more).
        """
        array = read_forced(file, binding.unit.outputs[0])
        version = hashlib.sha256(raw_bytes(array)).hexdigest()
        label = Label(view.graph.node_id(node), self._trace.cases[view.case].name, REFERENCE, file, version)
        return self._store.put(label, binding.unit, array)

    def _recorded(self, view: View, binding: Binding, inputs: Sequence[Stored]) -> tuple[Stored, ...]:
        """The recorded outputs, if these are the recorded inputs and all of them were recorded."""
        outputs = [self.references.stored(value) for value in binding.values]
        known = tuple(output for output in outputs if output is not None)
        return known if len(known) == len(outputs) and self.same_as_reference(view, binding, inputs) else ()

    def obtain(
        self,
        view: View,
        node: int,
        binding: Binding,
        backend: str,
        inputs: Sequence[Stored],
        *,
        reuse: bool = True,
        keep: bool = True,
        whole: bool = False,
    ) -> Waiting[Outcome]:
        """What `backend` computes for a node on these inputs.

        Args:
            view: The case, and where nodes are placed.
            node: Index of the node.
            binding: Its unit.
            backend: Id of the backend.
            inputs: One tensor per unit input.
            reuse: Whether an earlier result will do. If not, the inputs are uploaded again.
            keep: Whether the result may be found again.
            whole: Whether outputs are fetched whatever their size.
        """
        ahead = self._ahead.pop((view.case, node), None)
        label = self.label(view, node, backend)
        job = ahead if reuse and _sent_for(ahead, backend, inputs) and not (whole and ahead.cut) else None
        if reuse and job is None:
            known = self.known(view, node, binding, backend, inputs)
            if known is not None and whole and any(output.bytes is None for output in known.outputs):
                known = yield from self._fetched(label, binding, known)
            if known is not None:
                return known
        resent = False
        while True:
            if job is None:
                job = self._send(view, node, backend, inputs, fresh=not reuse, keep=keep, whole=whole)
            while not job.done:
                yield job
            if job.outcome is not None:
                return (yield from self.gatherer.followed(job))
            if resent:
                reason = "an input above fetch.limit is no longer on the device"
                failure = Failed(job.request.id, False, Stage.UPLOAD, reason, missing=job.missing)
                return Outcome((), failure=failure)
            job, resent = None, True

    def judges(self, view: View, node: int) -> bool:
        """Whether what a node gives is compared, and not only handed on."""
        if not self.answer_only or view.mode is Mode.ISOLATED:
            return True
        binding = self.bindings.get(view.case, node)
        # Where several choices are right the source's is handed on, which only a comparison can tell.
        chooses = isinstance(binding, Binding) and choice_of(binding.unit.calls[0]) is not None
        return chooses or node in output_nodes(view.graph)

    def _send(
        self,
        view: View,
        node: int,
        backend: str,
        sources: Sequence[Operandlike],
        *,
        fresh: bool = False,
        keep: bool = True,
        whole: bool = False,
    ) -> Job:
        binding, label = self.bindings.get(view.case, node), self.label(view, node, backend)
        assert isinstance(binding, Binding)
        judged = self.judges(view, node)
        limit = 1 << 62 if whole else self._fetch_limit if judged else 0
        job = self.jobs.send(
            backend, binding.unit, sources, label, fetch_limit=limit, fresh=fresh, keep=keep, lane=_lane(view)
        )
        if judged:
            self.gatherer.follow(job, label)
        return job

    def _fetched(self, label: Label, binding: Binding, known: Outcome) -> Waiting[Outcome | None]:
        """A known outcome with all of its bytes; None if it has to be executed again for that."""
        arrays = yield from self.gatherer.whole(label, known)
        if arrays is None:
            return None
        held = [stored.held for stored in known.outputs if stored.held is not None]
        return self._store.keep(label, known.inputs, Executed(0, tuple(arrays)), held, binding.unit)

    def forget_ahead(self) -> None:
        """What was sent ahead is for another view or placement; its results are kept all the same."""
        self._ahead.clear()

    def send_ahead(self, view: View, node: int) -> bool:
        """Send a node before its turn; False if it has to wait for a value, or the window is full."""
        if view.fresh(node) or (view.case, node) in self._ahead:
            return True
        if self.jobs.in_flight(_lane(view)) >= WINDOW or self.jobs.bytes_in_flight >= WINDOW_BYTES:
            return False
        binding, backend = self.bindings.get(view.case, node), view.placement.of(node)
        if isinstance(binding, Unbound) or backend == REFERENCE or not executed(binding, view.mode):
            return True
        sources: list[Operandlike] = []
        for ref in binding.operands:
            source = self._foreseen(view, ref, backend)
            if source is None:
                return False
            sources.append(source)
        inputs = [source for source in sources if isinstance(source, Stored)]
        if len(inputs) == len(sources):
            known = self.known(view, node, binding, backend, inputs)
            if known is not None:
                self._ahead[view.case, node] = known
                return True
        self._ahead[view.case, node] = self._send(view, node, backend, sources)
        return True

    def _foreseen(self, view: View, ref: NodeRef | InputRef, backend: str) -> Operandlike | None:
        """What the value will be, as far as one can tell; None if that must be waited for."""
        if not view.chains(ref):
            return self.references.get(view.case, ref)
        view, made = view.origin(ref)
        assert isinstance(made, NodeRef)
        if view.fresh(made.node):
            return view.value(made)
        ahead = self._ahead.get((view.case, made.node))
        binding = self.bindings.get(view.case, made.node)
        if isinstance(binding, Unbound):
            return None
        if ahead is None:
            return None if executed(binding, view.mode) else self.references.get(view.case, made)
        output = binding.outputs.index(made.output)
        if isinstance(ahead, Job):
            if ahead.outcome is None:
                return Pending(ahead, output) if ahead.backend == backend and not ahead.resend else None
            ahead = ahead.outcome
        return ahead.outputs[output] if ahead.outputs else None


def _lane(view: View) -> str:
    """In a chained run a case stays on one device, where its values are; isolated, any device will do."""
    return f"case {view.case}" if view.mode is Mode.CHAINED else ""


def _sent_for(ahead: Job | Outcome | None, backend: str, inputs: Sequence[Stored]) -> TypeGuard[Job]:
    """Whether what was sent ahead was sent to this backend, for these very inputs."""
    if not isinstance(ahead, Job) or ahead.backend != backend:
        return False
    return [source.operand(backend).key for source in inputs] == [operand.key for operand in ahead.request.operands]
