"""What the engine says: one frozen snapshot per change, and results that views pull."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from tapml_tui.backends.protocol import BackendStatus, Bytes, KernelText, LogLine, TensorSpec
from tapml_tui.compare.result import Comparison, Status, Verdict
from tapml_tui.engine.commands import Breakpoint, Mode

if TYPE_CHECKING:
    from tapml_tui.engine.answering import Answer
    from tapml_tui.engine.blaming import BlameReport
    from tapml_tui.engine.examining import Finding
    from tapml_tui.engine.ledger import LedgerEntry


class StopReason(StrEnum):
    """Why the cursor stands where it does."""

    STEP = "step"
    BREAKPOINT = "breakpoint"
    MISMATCH = "mismatch"
    ERROR = "error"
    END = "end"
    START = "start"
    INTERRUPTED = "interrupted"
    DONE = "done"  # the command is carried out, the cursor did not move
    REFUSED = "refused"  # the command could not be done: `message` says why


@dataclass(frozen=True, slots=True)
class Counts:
    """How many nodes have which status in the run on the screen."""

    nodes: int = 0
    passed: int = 0
    failed: int = 0
    error: int = 0
    unsupported: int = 0
    not_run: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of the engine after a change.

    Attributes:
        generation: Rises with every change.
        case: Index of the case.
        mode: Isolated or chained.
        cursor: Next node to execute; equal to the number of nodes at the end.
        running: Whether a command is under way.
        activity: One line on what is under way: "compiling 12/67", "layers.0.mlp".
        progress: (done, total) of the command under way, or None.
        counts: Statuses.
        breakpoints: In the order in which they were set.
        backends: State of each backend.
        stopped: Why it stopped last.
        message: A sentence for the user, or "".
        answer: The end-to-end verdict of the case, in a chained run; None before there is one.
        blame: Who breaks the answer, once that was asked.
        migrated: What became of each signature, once it was migrated.
        recording: The script that commands are written into, None if they are not.
    """

    generation: int
    case: int
    mode: Mode
    cursor: int
    running: bool
    activity: str
    progress: tuple[int, int] | None
    counts: Counts
    breakpoints: tuple[Breakpoint, ...]
    backends: tuple[BackendStatus, ...]
    stopped: StopReason
    message: str = ""
    answer: Answer | None = None
    blame: BlameReport | None = None
    migrated: tuple[LedgerEntry, ...] = ()
    recording: Path | None = None


@dataclass(frozen=True, slots=True)
class Changed:
    """Something changed: the new snapshot, and which node rows look different now.

    Attributes:
        snapshot: The new state.
        rows: Half-open ranges of nodes.
        answers: Ticket (from `Engine.submit`) of the command that is finished with this event:
            exactly one event answers each command.
    """

    snapshot: Snapshot
    rows: tuple[tuple[int, int], ...] = ()
    answers: int | None = None


Event: TypeAlias = Changed | KernelText | LogLine


@dataclass(frozen=True, slots=True)
class OutputResult:
    """One output of a node in a run: what was computed, where it lies, how it compares."""

    spec: TensorSpec
    key: str
    bytes: Bytes | None
    comparison: Comparison | None


@dataclass(frozen=True, slots=True)
class NodeResult:
    """What became of a node under its present placement.

    Attributes:
        node: Index.
        backend: Where it ran.
        status: See `Status`; everything but passed has a `reason`.
        verdict: In a chained run.
        reason: One sentence.
        detail: The whole message of an error.
        factor: Worst error over the outputs, in noise floors.
        outputs: One per output, compared in the present mode.
        isolated: Comparisons with reference inputs, where that was done in a chained run.
        live: Comparisons against the source on the real inputs, where that was done.
        ms: Time of the execution.
        sampled: Compared on a sample only.
        stage: Where it broke, "" if it did not.
        override: What the user allows instead of the noise floor, in words, "" if nothing was allowed.
        finding: What kind of wrong it is, where the kernel itself is wrong.
        device: Which of several devices did it, "" if there is no choice.
    """

    node: int
    backend: str
    status: Status
    verdict: Verdict = Verdict.NONE
    reason: str = ""
    detail: str = ""
    factor: float = 0.0
    outputs: tuple[OutputResult, ...] = ()
    isolated: tuple[Comparison, ...] = ()
    live: tuple[Comparison, ...] = ()
    ms: float = 0.0
    sampled: bool = False
    stage: str = ""
    override: str = ""
    finding: Finding | None = None
    device: str = ""


@dataclass(frozen=True, slots=True)
class InputView:
    """One tensor input of a node: what was recorded, and what it gets in the present mode.

    Attributes:
        label: Name of the graph input, or id of the node that computes it.
        spec: Dtype and shape.
        reference: The recorded elements, or None.
        actual: Those that it gets, or None if they were not computed or not fetched.
    """

    label: str
    spec: TensorSpec
    reference: np.ndarray | None
    actual: np.ndarray | None
