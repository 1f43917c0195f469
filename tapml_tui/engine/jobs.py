"""Executions under way: a window of them in flight, each result kept when it arrives.

A job may take a value as operand that another job of the same backend has yet to compute: it is
named by that job's key, without bytes. Backends execute in order, so it is there when it is needed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TypeAlias

import numpy as np

from tapml_tui.backends.protocol import Backend, Execute, Executed, Failed, Operand, Stage, TensorSpec, Unit
from tapml_tui.engine.store import Label, RunStore
from tapml_tui.engine.values import Held, Outcome, Sample, Stored
from trace_format.dtypes import item_size


@dataclass(frozen=True, slots=True)
class Pending:
    """Output `output` of a job that has not been answered yet."""

    job: Job
    output: int

    def operand(self, backend: str) -> Operand:
        """By name alone; only for the backend that computes it."""
        return Operand(self.job.request.result_keys[self.output], self.job.request.unit.outputs[self.output], None)

    def now(self) -> Stored | None:
        """The tensor, once the job has given it."""
        outcome = self.job.outcome
        return outcome.outputs[self.output] if outcome is not None and outcome.outputs else None


@dataclass(frozen=True, slots=True)
class _Seen:
    """A value in another shape and type: the same bytes."""

    value: Stored | Pending
    spec: TensorSpec

    def operand(self, backend: str) -> Operand:
        """By the name that the value has."""
        return replace(self.value.operand(backend), spec=self.spec)

    def now(self) -> Stored | None:
        """The value itself."""
        return self.value if isinstance(self.value, Stored) else self.value.now()


Operandlike: TypeAlias = Stored | Pending | _Seen
Into: TypeAlias = Callable[[np.ndarray], Stored]


SLOW = 2.0
"""Seconds after which it is said what everybody waits for."""


@dataclass(eq=False, slots=True)
class Job:
    """One request to a backend.

    Attributes:
        backend: Its id.
        request: What was sent.
        sources: What the operands are.
        label: Under which the result is kept, or None if it is not (a confirmation).
        bytes: Size of the outputs that will be sent back.
        outcome: The answer, once it is there.
        resend: The answer was that operands are missing: send it again, with bytes.
        missing: Which ones.
        into: Where its one output goes, if that is not the run.
        samples: By output, where that stays on the backend: the job that gathers some rows, and which.
        sent: When, on the monotonic clock.
    """

    backend: str
    request: Execute
    sources: tuple[Operandlike, ...]
    label: Label | None
    bytes: int
    outcome: Outcome | None = None
    resend: bool = False
    missing: tuple[int, ...] = ()
    into: Into | None = None
    samples: dict[int, tuple[Job, Sample]] = field(default_factory=dict)
    sent: float = field(default_factory=time.monotonic)

    @property
    def done(self) -> bool:
        """Whether it was answered."""
        return self.outcome is not None or self.resend

    @property
    def cut(self) -> bool:
        """Whether an output is too large to be sent back."""
        return any(size_of(spec) > self.request.fetch_limit for spec in self.request.unit.outputs)


def size_of(spec: TensorSpec) -> int:
    """Bytes of a tensor."""
    return math.prod(spec.shape) * item_size(spec.dtype)


class Jobs:
    """Sends requests, takes answers, keeps results."""

    def __init__(self, backends: Sequence[Backend], store: RunStore) -> None:
        """Jobs of these backends, whose results go to `store`."""
        self._backends = {backend.id: backend for backend in backends}
        self._store = store
        self._numbers = count(1)
        self._flying: dict[int, Job] = {}

    @property
    def slow(self) -> str:
        """The label of what a backend has been at for long, or ""."""
        oldest = next(iter(self._flying.values()), None)
        return oldest.request.label if oldest is not None and time.monotonic() - oldest.sent > SLOW else ""

    def in_flight(self, lane: str) -> int:
        """How many requests of a lane have no answer yet."""
        return sum(job.request.lane == lane for job in self._flying.values())

    @property
    def bytes_in_flight(self) -> int:
        """How many bytes of outputs are to come."""
        return sum(job.bytes for job in self._flying.values())

    def send(
        self,
        backend: str,
        unit: Unit,
        sources: Sequence[Operandlike],
        label: Label,
        *,
        fetch_limit: int,
        fresh: bool = False,
        keep: bool = True,
        into: Into | None = None,
        lane: str = "",
    ) -> Job:
        """Ask a backend to execute a unit.

        Args:
            backend: Its id.
            unit: What to compute.
            sources: Its inputs.
            label: Whose unit it is.
            fetch_limit: Outputs above this many bytes stay there.
            fresh: Upload every input again, under a name of its own.
            keep: Whether the result can be found again.
            into: Takes its one output, in place of the run.
            lane: See `Execute`.
        """
        number = next(self._numbers)
        operands = [source.operand(backend) for source in sources]
        if fresh:
            operands = [
                Operand(f"again{number}.{i}", operand.spec, operand.bytes) if operand.bytes is not None else operand
                for i, operand in enumerate(operands)
            ]
        request = Execute(
            id=number,
            unit=unit,
            operands=tuple(operands),
            result_keys=tuple(f"job{number}.{i}" for i in range(len(unit.outputs))),
            label=label.node,
            kernel=label.kernel if into is None else None,
            fetch_limit=fetch_limit,
            fresh=fresh,
            lane=lane,
        )
        expected = sum(size for size in map(size_of, unit.outputs) if size <= fetch_limit)
        job = Job(backend, request, tuple(sources), label if keep and into is None else None, expected, into=into)
        self._flying[number] = job
        self._backends[backend].execute(request)
        return job

    def gather(
        self, backend: str, value: Stored | Pending, sample: Sample, *, label: Label, into: Into, lane: str = ""
    ) -> Job:
        """Ask a backend for rows of a value that it holds: `sample.words` are their numbers."""
        sources = (_Seen(value, sample.layout.words), sample.words)
        unit = sample.layout.gather(len(sample.rows))
        return self.send(backend, unit, sources, label, fetch_limit=1 << 62, into=into, lane=lane)

    def answer(self, reply: Executed | Failed) -> Job | None:
        """Take an answer; the job that it ends, or None if nobody waits for it any more.

        Raises:
            TraceError: If the result cannot be written down.
        """
        job = self._flying.pop(reply.id, None)
        if job is None:
            return None
        sources = [source if isinstance(source, Stored) else source.now() for source in job.sources]
        inputs = tuple(source.digest for source in sources if source is not None)
        if len(inputs) < len(sources) or (isinstance(reply, Failed) and reply.missing):
            job.resend = True
            job.missing = reply.missing if isinstance(reply, Failed) else ()
        elif isinstance(reply, Failed):
            job.outcome = Outcome(inputs, failure=reply)
            if job.label is not None:
                self._store.note_failure(job.label, inputs, reply, job.request.unit)
        elif len(reply.outputs) != len(job.request.unit.outputs):
            failure = Failed(reply.id, False, Stage.RUN, f"gave {len(reply.outputs)} outputs")
            job.outcome = Outcome(inputs, failure=failure)
        elif job.into is not None:
            job.outcome = Outcome(inputs, tuple(job.into(array) for array in reply.outputs if array is not None))
        else:
            held = [Held(job.backend, key) for key in job.request.result_keys]
            job.outcome = self._store.keep(job.label, inputs, reply, held, job.request.unit)
        if job.outcome is not None and reply.device:
            job.outcome = replace(job.outcome, device=reply.device)
        return job

    def abandon(self) -> set[str]:
        """Forget everything in flight: answers that still come are dropped. The backends that were busy."""
        busy = {job.backend for job in self._flying.values()}
        self._flying.clear()
        return busy
