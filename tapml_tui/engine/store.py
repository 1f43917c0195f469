"""The run store: what was computed, found again by what decides it. A placement is a view on this."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np
import platformdirs

from tapml_tui.backends.protocol import Bytes, Executed, Failed, TensorSpec, Unit
from tapml_tui.engine.values import Held, Outcome, Sample, Stored, raw_bytes, spec_of
from trace_format import CannotOpen, DiskFull, Run, RunLocked, Trace, TraceError, WrongBase, open_run
from trace_format.model import RunOutput, RunRecord
from trace_format.text import printable

NAMES = 100
"""How many names are tried before a session without a file of its own is given up."""


@dataclass(frozen=True, slots=True)
class Label:
    """Whose unit it is that was executed: the node's id, the case's name, where, with which kernel.

    `version` is what else decides the result: the target, the device, versions of frameworks.
    """

    node: str
    case: str
    backend: str
    kernel: str | None = None
    version: str = ""

    def key(self, unit: Unit, inputs: Sequence[str]) -> str:
        """Names the execution on inputs with these digests by everything that decides its result, hex."""
        parts = [self.node, self.case, self.backend, self.kernel or "", self.version, unit.signature, *inputs]
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


class RunStore:
    """Results in a run file: written when they arrive, mapped when they are looked at."""

    def __init__(
        self,
        run: Run,
        *,
        fetch_limit: int,
        reuse: bool = True,
        folder: tempfile.TemporaryDirectory[str] | None = None,
        elsewhere: str = "",
    ) -> None:
        """Keep results in `run`.

        Args:
            run: Open for appending; closed with the store.
            fetch_limit: Tensors of more bytes are named by how they were computed, fetched or not, so
                that fetching one later changes nothing for those who have used it.
            reuse: Whether what earlier sessions left counts.
            folder: A temporary one that goes away with the store.
            elsewhere: Why it is not where it would be looked for next time, "" if it is.
        """
        self.elsewhere = elsewhere
        self._run = run
        self._folder = folder
        self._fetch_limit = fetch_limit
        self._old = frozenset() if reuse else frozenset(record.key for record in run.records())
        self._held: dict[str, Sequence[Held]] = {}
        self._aside: IO[bytes] | None = None
        self._samples: dict[str, Sample] = {}  # by the name of what they are of

    def find(self, label: Label, unit: Unit, inputs: Sequence[str]) -> Outcome | None:
        """What the execution gave when it was last done; None if that is not known, or it failed."""
        key = label.key(unit, inputs)
        record = self._run.get(key)
        if record is None or record.status != "ok" or (key in self._old and key not in self._held):
            return None
        held = self._held.get(key)
        if held is None and any(output.digest is None for output in record.outputs):
            return None  # it stayed on a device of an earlier session
        return self._outcome(record, held)

    def keep(
        self, label: Label | None, inputs: tuple[str, ...], executed: Executed, held: Sequence[Held], unit: Unit
    ) -> Outcome:
        """Write a result down. Without a label only its digests are found out.

        Raises:
            TraceError: If it cannot be written; `DiskFull` if there is no room.
        """
        if label is None:
            return Outcome(inputs, tuple(map(_hashed, executed.outputs, unit.outputs)), ms=executed.ms)
        specs = [
            spec_of(array) if array is not None else spec
            for array, spec in zip(executed.outputs, unit.outputs, strict=True)
        ]
        record = RunRecord(
            key=label.key(unit, inputs),
            node=label.node,
            case=label.case,
            backend=label.backend,
            kernel=label.kernel or "",
            inputs=inputs,
            outputs=tuple(RunOutput(spec.dtype, spec.shape) for spec in specs),
            stage=IDENTITY if executed.identity else "",
            ms=executed.ms,
        )
        record = self._run.append(record, executed.outputs)
        self._held[record.key] = tuple(held)
        return replace(self._outcome(record, held), ms=executed.ms)

    def put(self, label: Label, unit: Unit, array: np.ndarray) -> Stored:
        """Write down a value that nobody computed: the first output of a unit, without inputs.

        Raises:
            TraceError: As `keep`.
        """
        key = label.key(unit, ())
        record = self._run.get(key)
        if record is None:
            output = RunOutput(array.dtype.name, array.shape)
            record = self._run.append(
                RunRecord(key, label.node, label.case, label.backend, label.kernel or "", outputs=(output,)), (array,)
            )
        return self._outcome(record, None).outputs[0]

    def aside(self, array: np.ndarray) -> Stored:
        """Keep a value beside the run, in a file that goes away with the session.

        Raises:
            DiskFull: If there is no room.
        """
        data = raw_bytes(array)
        try:
            if self._aside is None:
                self._aside = tempfile.NamedTemporaryFile(prefix="tapml-tui-", suffix=".rows")  # noqa: SIM115
            place = Bytes(self._aside.name, self._aside.seek(0, 2), data.nbytes)
            self._aside.write(data)
            self._aside.flush()
        except OSError as error:
            raise DiskFull(f"a sample cannot be written down: {error.strerror}") from None
        return Stored(hashlib.sha256(data).hexdigest(), spec_of(array), place)

    def remember(self, stored: Stored, sample: Sample) -> None:
        """Keep a sample of a tensor for those who look that up again."""
        self._samples[stored.digest] = sample

    def forget_held(self, label: Label, unit: Unit, inputs: Sequence[str]) -> None:
        """What a backend held of this execution is there no more: it has to be executed again."""
        self._held.pop(label.key(unit, inputs), None)

    def note_failure(self, label: Label, inputs: tuple[str, ...], failed: Failed, unit: Unit) -> None:
        """Write down that an execution failed. It is not looked up again: the next one may succeed."""
        record = RunRecord(
            key=label.key(unit, inputs),
            node=label.node,
            case=label.case,
            backend=label.backend,
            kernel=label.kernel or "",
            inputs=inputs,
            status="unsupported" if failed.unsupported else "error",
            stage=failed.stage,
            reason=failed.reason,
            detail=failed.detail,
        )
        self._run.append(record)

    def _outcome(self, record: RunRecord, held: Sequence[Held] | None) -> Outcome:
        outputs = []
        for i, output in enumerate(record.outputs):
            place = Bytes(*self._run.block(output)) if output.digest is not None else None
            large = place is None or place.nbytes > self._fetch_limit
            name = _named(record.key, i) if output.digest is None or large else output.digest.hex()
            copy = held[i] if held is not None else None
            spec = TensorSpec(output.dtype, output.shape)
            outputs.append(Stored(name, spec, place, copy, named=large, sample=self._samples.get(name)))
        return Outcome(record.inputs, tuple(outputs), identity=record.stage == IDENTITY)

    @property
    def temporary(self) -> bool:
        """Whether the run file goes away with the store."""
        return self._folder is not None

    @property
    def path(self) -> Path:
        """The run file."""
        return self._run.path

    def close(self) -> None:
        """Let the file go."""
        self._run.close()
        if self._aside is not None:
            self._aside.close()
        if self._folder is not None:
            self._folder.cleanup()


IDENTITY = "identity"
"""`RunRecord.stage` of an execution that handed its input on."""


def _named(key: str, output: int) -> str:
    return hashlib.sha256(f"output {output} of {key}".encode()).hexdigest()


def _hashed(array: np.ndarray | None, spec: TensorSpec) -> Stored:
    if array is None:
        return Stored("", spec, None, named=True)
    return Stored(hashlib.sha256(raw_bytes(array)).hexdigest(), spec_of(array), None)


def open_store(trace: Trace, path: Path | None, *, fetch_limit: int, reuse: bool) -> RunStore:
    """The store of a session.

    Args:
        trace: What the results belong to.
        path: The run file; the next free name where another session has it. None: beside the trace,
            in TRACE.runs/, or in the user's state folder where that cannot be written; without
            `reuse` a temporary file.
        fetch_limit: See `RunStore`.
        reuse: Whether what earlier sessions computed counts.

    Raises:
        TraceError: If there can be no file, or `path` belongs to another trace.
    """
    folder, run, elsewhere = None, None, ""
    if path is not None:
        run, elsewhere = _first_free(path, trace, skip=(RunLocked,))
    elif reuse:
        run, elsewhere = _default(trace)
    if run is None:
        folder = tempfile.TemporaryDirectory(prefix="tapml-tui-", ignore_cleanup_errors=True)
        run = open_run(Path(folder.name) / "session.run", trace.content_id)
    return RunStore(run, fetch_limit=fetch_limit, reuse=reuse, folder=folder, elsewhere=elsewhere)


def _default(trace: Trace) -> tuple[Run | None, str]:
    beside = trace.path.with_name(f"{trace.path.name}.runs")
    state = platformdirs.user_state_path("tapml-tui", appauthor=False) / "runs" / trace.content_id[:16]
    for folder in (beside, state):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            run, elsewhere = _first_free(folder / "session.run", trace, skip=(RunLocked, WrongBase))
        except (OSError, CannotOpen):
            continue  # read-only, or not ours
        if folder is state and not elsewhere:
            kept = printable(str(run.path.parent), 300)
            elsewhere = f"{printable(beside.name)} cannot be used: this session is kept in {kept}"
        return run, elsewhere
    return None, ""


def _numbered(path: Path) -> Iterator[Path]:
    yield path
    for number in range(2, NAMES):
        yield path.with_name(f"{path.stem}-{number}{path.suffix}")


def _first_free(first: Path, trace: Trace, skip: tuple[type[TraceError], ...]) -> tuple[Run, str]:
    """A run, and what is to be said of it where another session has the one that will be opened next time."""
    locked = ""
    for path in _numbered(first):
        try:
            run = open_run(path, trace.content_id)
        except skip as error:
            if isinstance(error, RunLocked):
                locked = locked or path.name
            continue
        return run, f"{locked} is open in another session: this one is kept in {path.name}" if locked else ""
    raise RunLocked(f"{NAMES} runs of this trace are open in other sessions")
