"""What a trace says, as plain frozen data: graphs, nodes, values, cases.

Shapes and dtypes belong to values, never to nodes: the same node produces values
of other shapes in other cases. Everything here is built from untrusted bytes by
`trace_format.reader`, which has checked every field before it builds one of these.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, TypeAlias


class NodeRef(NamedTuple):
    """Output `output` of node `node` of the same graph."""

    node: int
    output: int = 0


class InputRef(NamedTuple):
    """Graph input number `index` of the same graph."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody wants here


class Named(NamedTuple):
    """A constant of the source framework that has a name and no value of its own.

    `kind` is one of "dtype", "device", "layout", "memory_format"; `name` is the name
    without the framework's prefix: `Named("dtype", "float32")`.
    """

    kind: str
    name: str


# One argument of an operator. Sequences are tuples; NamedTuples above are the leaves
# that are not plain constants.
Argument: TypeAlias = "bool | int | float | complex | str | NodeRef | InputRef | Named | tuple[Argument, ...] | None"


class InputKind(StrEnum):
    """Where a graph input comes from."""

    PARAMETER = "parameter"
    BUFFER = "buffer"
    CONSTANT = "constant"
    USER = "user"
    STATE = "state"


class OutputKind(StrEnum):
    """What becomes of a graph output."""

    USER = "user"
    BUFFER = "buffer"  # updates the buffer `target`
    INPUT = "input"  # updates the user input `target`
    STATE = "state"  # is handed to the next case


@dataclass(frozen=True, slots=True)
class GraphInput:
    """One input of a graph. `target` is the qualified name of a parameter or buffer, or ""."""

    name: str
    kind: InputKind
    target: str = ""


@dataclass(frozen=True, slots=True)
class GraphOutput:
    """One output of a graph: which value it is, or a constant, and what it updates."""

    name: str
    kind: OutputKind
    value: NodeRef | InputRef | None
    target: str = ""


@dataclass(frozen=True, slots=True)
class SourceLine:
    """The line of the user's model that made a node, copied in when carving."""

    file: str
    line: int
    function: str
    text: str


@dataclass(frozen=True, slots=True)
class Node:
    """One operator call.

    Attributes:
        id: Path, operator and ordinal among equals: `layers.0.mlp/aten.linear.default#0`.
            It survives a new carving; `name` does not.
        name: The exporter's label.
        op: `namespace.name.overload`.
        path: The place in the nn.Module tree, "" at the root.
        module_type: Class of the innermost nn.Module, e.g. "torch.nn.modules.linear.Linear".
        args: Positional arguments.
        kwargs: Keyword arguments, in order.
        outputs: How many outputs it has.
        source: Innermost source line first.
        note: What could not be recorded of this node, or "".
    """

    id: str
    name: str
    op: str
    path: str
    module_type: str
    args: tuple[Argument, ...]
    kwargs: tuple[tuple[str, Argument], ...]
    outputs: int
    source: tuple[SourceLine, ...] = ()
    note: str = ""


class Floor(NamedTuple):
    """How far the source is from a float64 replay: the noise floor of one value.

    Attributes:
        max_abs: Largest absolute distance over the elements, in the value's unit.
        rms: Root mean square of the distance.
        origin: "float64" (a replay), "exact" (pure data movement or integers: bits must
            agree) or "bound" (no replay could be had: a documented bound).
        ulps: Largest distance in units in the last place of the source's element, in the value's
            dtype; infinite if it is not known. `max_abs` bounds every element, and so does this: the
            smaller of the two is what small elements are held to.
        excess: Largest distance less half a ULP of the source's element, never below 0: what it errs beyond the
            rounding of its result. Infinite if it is not known. Where all computing is done in a wider type this
            is tiny, while `max_abs` is half a ULP of the largest element.
    """

    max_abs: float
    rms: float
    origin: str = "float64"
    ulps: float = math.inf
    excess: float = math.inf


class Value(NamedTuple):
    """One output of a node, or one graph input, in one case.

    Attributes:
        dtype: "float32", "bfloat16", "float8_e4m3fn", "int64", "bool", "complex64", ...;
            "" if `scalar` holds it, or if nothing was recorded.
        shape: Sizes.
        strides: Strides in elements as the source had them; the bytes are contiguous.
        tensor: SHA-256 of the bytes, or None if there are none.
        scalar: A symbolic size or a Python number.
        reproducible: Whether the source gave the same bits a second time from the recorded
            inputs; None if it was not tried, or gave other bits on them and the same on the
            strides that it had.
        isolated: Floor of this node alone on the recorded inputs.
        chained: Floor of the whole model up to here.
        note: Why nothing was recorded, or "".
        peak: Largest magnitude of a finite element; None if it is not known, or not floating.
        rms: Root mean square of the finite elements; likewise.
    """

    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...] = ()
    tensor: bytes | None = None
    scalar: int | float | bool | str | None = None
    reproducible: bool | None = None
    isolated: Floor | None = None
    chained: Floor | None = None
    note: str = ""
    peak: float | None = None
    rms: float | None = None


class FromCase(NamedTuple):
    """A case's input that is output `output` of the earlier case `case`: state handed on."""

    case: int
    output: int


@dataclass(frozen=True, slots=True)
class Case:
    """One input to the model. `handed_on` maps graph inputs to outputs of earlier cases."""

    name: str
    graph: int
    handed_on: tuple[tuple[int, FromCase], ...] = ()
    note: str = ""


class Block(NamedTuple):
    """Where the bytes of a tensor lie: a file that a worker may map, and a window of it."""

    file: str
    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who made the trace, from what, with which versions. All optional, all shown by `info`."""

    created: str = ""
    command: str = ""
    versions: tuple[tuple[str, str], ...] = ()
    model_file: str = ""
    model_sha256: str = ""
    seed: int | None = None
    dtype: str = ""
    device: str = ""
    export_options: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = field(default=())


class RunOutput(NamedTuple):
    """One computed output: what it is, and the SHA-256 of its bytes, None if they were not kept."""

    dtype: str
    shape: tuple[int, ...]
    digest: bytes | None = None


class RunRecord(NamedTuple):
    """What one execution gave. `key` names (node, case, backend, kernel, hashes of the inputs).

    Attributes:
        key: Under which it is found again.
        node: The node's id.
        case: The case's name.
        backend: Backend id.
        kernel: Kernel id, "" for the shared one.
        inputs: Hex digests of the tensor inputs.
        outputs: One per output.
        status: "ok", or how it failed.
        stage: Where it failed, "" if it did not.
        reason: One line.
        detail: The whole message.
        ms: Time of the execution.
    """

    key: str
    node: str
    case: str
    backend: str
    kernel: str = ""
    inputs: tuple[str, ...] = ()
    outputs: tuple[RunOutput, ...] = ()
    status: str = "ok"
    stage: str = ""
    reason: str = ""
    detail: str = ""
    ms: float = 0.0
