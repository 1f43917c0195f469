"""What can be asked of the engine. Frozen and serialisable: a key, a script line, a second screen."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias


class Verb(StrEnum):
    """The ways to move the cursor."""

    OVER = "over"
    INTO = "into"
    OUT = "out"
    TO = "to"
    CONTINUE = "continue"
    BACK = "back"
    BACK_CONTINUE = "back_continue"


class Mode(StrEnum):
    """Which inputs a node gets: the reference ones, or what its producers really computed."""

    ISOLATED = "isolated"
    CHAINED = "chained"


class BreakpointKind(StrEnum):
    """What a breakpoint waits for."""

    NODE = "node"  # pattern is a node id
    OPERATOR = "operator"  # pattern is a glob over operator names
    PATH = "path"  # pattern is a glob over paths; what lies below a path that matches belongs to it
    MISMATCH = "mismatch"  # the first mismatch
    NAN = "nan"  # the first NaN
    CONDITION = "condition"  # pattern is a condition over metrics, see `conditions`


@dataclass(frozen=True, slots=True)
class Breakpoint:
    """Stop before a node that matches; for MISMATCH, NAN and CONDITION, after the node that shows it."""

    kind: BreakpointKind
    pattern: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """Move the cursor with a verb.

    Attributes:
        verb: Which.
        entry: The outline entry that is selected on the screen, for OVER and TO.
        folded: Whether that entry is a closed fold.
    """

    verb: Verb
    entry: int | None = None
    folded: bool = False


@dataclass(frozen=True, slots=True)
class SetBackend:
    """Put the nodes [start, stop) on a backend: one node, or a subtree.

    `kernel`: one of their own there; None is the kernel that all units of a signature share.
    """

    start: int
    stop: int
    backend: str
    kernel: str | None = None


@dataclass(frozen=True, slots=True)
class ToggleBreakpoint:
    """Set a breakpoint, or remove the equal one."""

    breakpoint: Breakpoint


@dataclass(frozen=True, slots=True)
class SetMode:
    """Switch between isolated and chained. Each mode keeps its own results."""

    mode: Mode


@dataclass(frozen=True, slots=True)
class SelectCase:
    """Work on another case."""

    case: int


@dataclass(frozen=True, slots=True)
class Rewind:
    """Put the cursor at the start; results stay."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Execute again what failed, erred or was interrupted; restart backends that are lost, take up edited files.

    `start` and `stop` limit it to nodes [start, stop); None means all.
    """

    start: int | None = None
    stop: int | None = None


@dataclass(frozen=True, slots=True)
class Undo:
    """Take the last switch of side back."""


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Stop what is running. Safe at any moment."""


@dataclass(frozen=True, slots=True)
class Describe:
    """Ask for the kernel text of a node."""

    node: int


@dataclass(frozen=True, slots=True)
class FetchWhole:
    """Fetch the outputs of a node that were above the fetch limit, and judge them."""

    node: int


@dataclass(frozen=True, slots=True)
class RunNodes:
    """Execute nodes, and what they need, without moving the cursor and without stopping; None: all of them.

    `again`: also what has a result, and trusting nothing that was sent to a device before.
    """

    nodes: tuple[int, ...] | None = None
    again: bool = False


@dataclass(frozen=True, slots=True)
class RunCases:
    """Execute all nodes of several cases, none of which needs what another computes, side by side."""

    cases: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Force:
    """Give the consumers of a node its recorded value, or what a file says; `SetBackend` takes that back.

    `file`: a .npy of the recorded shape and dtype that stands for its first output; None: the recorded value.
    """

    node: int
    file: str | None = None


@dataclass(frozen=True, slots=True)
class FindBlame:
    """Find a minimal set of the nodes on the target that breaks the model's answer, and prove it."""


@dataclass(frozen=True, slots=True)
class Migrate:
    """Move signature after signature to the target, as long as carved tests pass and the answer holds.

    `again`: also what the ledger knows already.
    """

    again: bool = False


@dataclass(frozen=True, slots=True)
class Export:
    """Write a node's kernel out as a pytest that needs nothing of this project; `file` ends in .py."""

    node: int
    file: str


@dataclass(frozen=True, slots=True)
class Record:
    """Write where the session stands and every command that follows into a script (see `script`); None ends that."""

    file: str | None


@dataclass(frozen=True, slots=True)
class SetOutputKind:
    """Judge an output of the model as "logits", "class", "embedding" or "tensor" (`end_to_end.Kind`)."""

    output: int
    kind: str


@dataclass(frozen=True, slots=True)
class SetNote:
    """Write a note on a node; an empty one removes it."""

    node: int
    text: str


@dataclass(frozen=True, slots=True)
class SetFolds:
    """Remember which folds of the tree are closed, by path: the engine keeps it, a screen knows what it means."""

    closed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SetBeside:
    """Judge every node that is executed on the other targets too, on its recorded inputs, where there are several."""

    on: bool


Command: TypeAlias = (
    Step
    | SetBackend
    | ToggleBreakpoint
    | SetMode
    | SelectCase
    | Rewind
    | Retry
    | Undo
    | Interrupt
    | Describe
    | FetchWhole
    | RunNodes
    | RunCases
    | Force
    | FindBlame
    | Migrate
    | Export
    | Record
    | SetOutputKind
    | SetNote
    | SetFolds
    | SetBeside
)
