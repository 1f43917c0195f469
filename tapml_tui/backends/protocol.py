"""What the engine and the backends say to each other: frozen data, no transport.

A *unit* is what one kernel computes: named inputs, one or more operator calls, named
outputs. The first version makes units of one call; nothing here assumes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol, TypeAlias

import msgpack
import numpy as np


class TensorSpec(NamedTuple):
    """Dtype and shape of a tensor that crosses the boundary of a unit."""

    dtype: str
    shape: tuple[int, ...]


class UnitInput(NamedTuple):
    """Argument placeholder: input `index` of the unit."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody wants here


class CallResult(NamedTuple):
    """Argument placeholder: output `output` of an earlier call of the same unit."""

    call: int
    output: int = 0


class NamedConstant(NamedTuple):
    """A constant of the source framework: kind "dtype", "device", "layout", "memory_format"."""

    kind: str
    name: str


CallArgument: TypeAlias = (
    "bool | int | float | complex | str | UnitInput | CallResult | NamedConstant | tuple[CallArgument, ...] | None"
)


@dataclass(frozen=True, slots=True)
class Call:
    """One operator call: `op` is `namespace.name.overload`."""

    op: str
    args: tuple[CallArgument, ...]
    kwargs: tuple[tuple[str, CallArgument], ...] = ()


@dataclass(frozen=True, slots=True)
class Unit:
    """What one kernel computes.

    Attributes:
        calls: In order; later ones may use results of earlier ones.
        inputs: Tensors that go in, in the order of `UnitInput.index`.
        outputs: Tensors that come out, as recorded: what comes back is checked against it.
        results: Which call results the outputs are, in order.
    """

    calls: tuple[Call, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    results: tuple[CallResult, ...]

    @property
    def signature(self) -> str:
        """Hex digest of operators, static arguments, input shapes and dtypes.

        Units with one signature share one compiled kernel.
        """
        return hashlib.sha256(msgpack.packb(self.to_wire())).hexdigest()[:24]

    def to_wire(self) -> list[object]:
        """Plain lists for msgpack; `Unit.from_wire` is the inverse."""
        return [
            [[c.op, encode_argument(c.args), [[k, encode_argument(v)] for k, v in c.kwargs]] for c in self.calls],
            [[s.dtype, list(s.shape)] for s in self.inputs],
            [[s.dtype, list(s.shape)] for s in self.outputs],
            [list(r) for r in self.results],
        ]

    @classmethod
    def from_wire(cls, wire: Sequence[object]) -> Unit:
        """Inverse of `to_wire`."""
        calls, inputs, outputs, results = wire
        return cls(
            calls=tuple(
                Call(op, _as_tuple(decode_argument(args)), tuple((k, decode_argument(v)) for k, v in kwargs))
                for op, args, kwargs in calls  # type: ignore[attr-defined]
            ),
            inputs=tuple(TensorSpec(d, tuple(s)) for d, s in inputs),  # type: ignore[attr-defined]
            outputs=tuple(TensorSpec(d, tuple(s)) for d, s in outputs),  # type: ignore[attr-defined]
            results=tuple(CallResult(*r) for r in results),  # type: ignore[attr-defined]
        )


_TAGS: dict[type, str] = {UnitInput: "in", CallResult: "call", NamedConstant: "named"}


def encode_argument(argument: CallArgument) -> object:
    """An argument as msgpack can carry it: leaves that are no plain constants become tagged maps."""
    if isinstance(argument, complex):
        return {"complex": [argument.real, argument.imag]}
    tag = _TAGS.get(type(argument))
    if tag is not None:
        return {tag: list(argument)}  # type: ignore[arg-type]
    if isinstance(argument, tuple):
        return [encode_argument(item) for item in argument]
    return argument


def decode_argument(wire: object) -> CallArgument:
    """Inverse of `encode_argument`.

    Raises:
        ValueError: For a tag that is not known.
    """
    if isinstance(wire, list | tuple):
        return tuple(decode_argument(item) for item in wire)
    if isinstance(wire, dict):
        ((tag, body),) = wire.items()
        match tag:
            case "in":
                return UnitInput(*body)
            case "call":
                return CallResult(*body)
            case "named":
                return NamedConstant(*body)
            case "complex":
                return complex(*body)
        raise ValueError(f"unknown argument tag {tag!r}")
    return wire  # type: ignore[return-value]


def _as_tuple(argument: CallArgument) -> tuple[CallArgument, ...]:
    if not isinstance(argument, tuple):
        raise ValueError("arguments must be a sequence")
    return argument


class Bytes(NamedTuple):
    """Where the bytes of a tensor lie: a file that a worker may map, and a window of it."""

    file: str
    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Operand:
    """One tensor input of an execution.

    Attributes:
        key: Names the content. A backend that still holds a tensor under this key does not
            need the bytes again.
        spec: Dtype and shape. What is held under the key is seen as that, whatever it was computed as.
        bytes: Where the bytes are if it does not. None for a result of this very backend that has
            not been sent back yet: it is then held under `key`, or the request is answered with
            `Failed.missing`.
        persistent: A parameter or buffer: worth keeping on the device.
    """

    key: str
    spec: TensorSpec
    bytes: Bytes | None
    persistent: bool = False


@dataclass(frozen=True, slots=True)
class Execute:
    """Run one unit once.

    Attributes:
        id: Unique within the session; the reply carries it.
        unit: What to compute.
        operands: One per unit input.
        result_keys: Under which the backend may keep the outputs, for later operands.
        label: The node's id, for messages and for remembering what killed a device.
        kernel: A kernel of the user's for this node alone, or None for the shared one.
        fetch_limit: Outputs larger than this many bytes are not sent back.
        fresh: Trust nothing that was sent before: a result is being confirmed. Operands come under names of their
            own and take the place of what was sent from the same bytes; the kernel's library goes up again.
        lane: Where there are several devices, requests of one lane go to the same one, because they need each other's
            results; "" needs nobody's.
    """

    id: int
    unit: Unit
    operands: tuple[Operand, ...]
    result_keys: tuple[str, ...]
    label: str
    kernel: str | None = None
    fetch_limit: int = 64 << 20
    fresh: bool = False
    lane: str = ""


class Stage(StrEnum):
    """Where an execution broke."""

    CONVERT = "convert"
    COMPILE = "compile"
    UPLOAD = "upload"
    RUN = "run"
    FETCH = "fetch"
    CONNECT = "connect"


@dataclass(frozen=True, slots=True)
class Executed:
    """The outputs of an `Execute`; None where one was above the fetch limit.

    `identity`: no kernel ran, the operator hands its input on; there is nothing to judge.
    `device`: which one did it, where that may be one of several.
    """

    id: int
    outputs: tuple[np.ndarray | None, ...]
    ms: float = 0.0
    bytes_up: int = 0
    bytes_down: int = 0
    identity: bool = False
    device: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """An `Execute` that gave nothing.

    Attributes:
        id: That of the request.
        unsupported: Every way of converting refused, or the device says that it cannot.
        stage: Where.
        reason: One line, the cause first, with what to do where there is something to do.
        detail: The whole message, for the Kernel and Log tabs.
        device_lost: The device or its server went away with it.
        missing: Indices of operands that came without bytes and are not held (any more): nothing is
            wrong with the unit, the request is to be sent again with their bytes.
        device: Which one it was, where it may be one of several.
    """

    id: int
    unsupported: bool
    stage: Stage
    reason: str
    detail: str = ""
    device_lost: bool = False
    missing: tuple[int, ...] = ()
    device: str = ""


class State(StrEnum):
    """The state of a backend, as the header shows it."""

    OFF = "off"
    STARTING = "starting"
    CONNECTING = "connecting"
    READY = "ready"
    LOST = "LOST"
    FAILED = "failed"
    MISSING = "not installed"


class Traffic(NamedTuple):
    """What crossed the line to a device since the session began.

    Attributes:
        up: Bytes sent.
        down: Bytes fetched.
        rate: Bytes per second of late, both ways.
        queued: Requests that wait, and what can be sent ahead of them.
    """

    up: int
    down: int
    rate: float
    queued: int


class DeviceState(NamedTuple):
    """One device of a backend: where it is ("" if none came yet), and how it is."""

    device: str
    state: State
    detail: str


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """What the header says of a backend: `detail` is one line, with the remedy if there is one."""

    backend: str
    state: State
    detail: str = ""
    latency_ms: float | None = None
    title: str = ""  # "llvm @loopback"
    traffic: Traffic | None = None
    devices: tuple[DeviceState, ...] = ()


@dataclass(frozen=True, slots=True)
class Prepared:
    """Progress of compiling ahead: `done` of `total` signatures of what was asked for."""

    backend: str
    done: int
    total: int
    ms: float = 0.0


@dataclass(frozen=True, slots=True)
class KernelText:
    """The Relax and TensorIR text of a kernel, or why there is none (cause first)."""

    signature: str
    sections: tuple[tuple[str, str], ...]  # (title, text)


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line for the Log tab."""

    backend: str
    level: str
    text: str


Reply: TypeAlias = Executed | Failed | BackendStatus | Prepared | KernelText | LogLine
Sink: TypeAlias = Callable[[Reply], None]


SENT_AHEAD = 64 << 10
"""Bytes of the largest weight that is announced: what goes up cannot be stopped half way, and a request may come."""


class Backend(Protocol):
    """A side that can execute units. All methods return at once; replies go to the sink.

    The sink may be called from any thread. Every `execute` is answered exactly once, by
    `Executed` or `Failed`, also when a worker dies, a deadline passes or the backend is closed.
    Requests are executed in the order given.

    It may have a `fingerprint: str`: whatever else than a unit and its inputs decides its results. Where
    that is the same, results of earlier sessions count; without one, or with "", they do not.

    It may work with Python of the user's. `changed: str` then names the files that were written since, and `reread() ->
    bool` takes up what they say, and tells whether that is anything else: then what was computed holds no more.
    """

    id: str

    def start(self, sink: Sink) -> None:
        """Launch the workers; states follow as `BackendStatus`."""

    def prepare(self, units: Sequence[Unit], weights: Sequence[Operand] = ()) -> None:
        """Say what will be executed soon, so that it can be compiled ahead, in few modules.

        `weights` are operands that it will have, of at most SENT_AHEAD bytes: while nothing else is to be done, they
        may be sent ahead.
        """

    def execute(self, request: Execute) -> None:
        """Run a unit."""

    def describe(self, unit: Unit) -> None:
        """Ask for the `KernelText` of a unit."""

    def interrupt(self) -> None:
        """Abandon everything under way; each request is answered `Failed`."""

    def restart(self) -> None:
        """Start what died again (also after `interrupt`)."""

    def close(self) -> None:
        """Stop every process. Safe to call twice."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long each action may take before its worker is given up, in seconds."""

    start: float = 60.0
    connect: float = 60.0
    convert: float = 60.0
    compile: float = 120.0
    run: float = 60.0
    transfer: float = 120.0
    reconnect: float = 120.0
