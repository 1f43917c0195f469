"""Tensors by what they contain and where their bytes lie; the outcome of executing a unit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from tapml_tui.backends.protocol import Bytes, Failed, Operand, TensorSpec
from tapml_tui.engine.sampling import Layout, Numbers
from trace_format import FileChanged, Trace
from trace_format.dtypes import numpy_dtype
from trace_format.model import InputKind, InputRef, NodeRef, Value


class Sample(NamedTuple):
    """Some rows of a tensor that was not fetched.

    Attributes:
        layout: How its elements lie in rows.
        rows: Numbers of those that are fetched, ascending.
        words: Their bytes, as `Layout.elements` reads them.
    """

    layout: Layout
    rows: Numbers
    words: Stored

    def elements(self) -> np.ndarray | None:
        """The rows, (rows, width); None if only their digest was kept."""
        words = load(self.words)
        return self.layout.elements(words) if words is not None else None

    def of(self, array: np.ndarray) -> np.ndarray:
        """The same rows of another tensor of this shape."""
        return np.asarray(array.reshape(self.layout.count, self.layout.width)[self.rows])

    def place(self, index: tuple[int, ...]) -> tuple[int, ...]:
        """The index in the tensor of an element of the sample."""
        row, column = index
        flat = int(self.rows[row]) * self.layout.width + column
        return tuple(int(i) for i in np.unravel_index(flat, self.layout.spec.shape))


class Held(NamedTuple):
    """A copy that a backend computed itself and may still have."""

    backend: str
    key: str


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor and where its bytes are.

    Attributes:
        digest: SHA-256 of the bytes, hex. Of a tensor above the fetch limit: a name for "what this
            execution gave", which equals nothing else.
        spec: Dtype and shape.
        bytes: Where they lie, or None if they were not fetched.
        held: Where a copy may still be.
        persistent: A parameter or buffer.
        named: Whether `digest` is such a name.
        sample: Some of its rows, where its bytes were not fetched.
    """

    digest: str
    spec: TensorSpec
    bytes: Bytes | None
    held: Held | None = None
    persistent: bool = False
    named: bool = False
    sample: Sample | None = field(default=None, compare=False, repr=False)

    def operand(self, backend: str) -> Operand:
        """This tensor as an input of a unit on `backend`: by the name that it has there."""
        if self.held is not None and self.held.backend == backend:
            key = self.held.key
        else:
            key = f"{self.digest}:{self.spec.dtype}:{'x'.join(map(str, self.spec.shape))}"
        return Operand(key, self.spec, self.bytes, self.persistent)

    def same_content(self, other: Stored) -> bool:
        """Whether both hold the same bits of the same type."""
        return self.digest == other.digest and self.spec == other.spec


@dataclass(frozen=True, slots=True)
class Outcome:
    """What executing a unit on certain inputs gave.

    Attributes:
        inputs: Digests of the inputs.
        outputs: One per unit output; empty if it failed.
        failure: Why there are none.
        ms: Time of the execution, 0 if it was looked up.
        identity: The operator hands its input on.
        device: Which of several devices did it, "" if it was looked up.
    """

    inputs: tuple[str, ...]
    outputs: tuple[Stored, ...] = ()
    failure: Failed | None = None
    ms: float = 0.0
    identity: bool = False
    device: str = ""


def raw_bytes(array: np.ndarray) -> memoryview:
    """The contiguous bytes of an array of any dtype and shape."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def spec_of(array: np.ndarray) -> TensorSpec:
    """Dtype and shape of an array."""
    return TensorSpec(array.dtype.name, array.shape)


def load(stored: Stored) -> np.ndarray | None:
    """The array, mapped from its file; None if its bytes were not fetched.

    Raises:
        FileChanged: If they are not there any more.
    """
    if stored.bytes is None:
        return None
    dtype, shape = numpy_dtype(stored.spec.dtype), stored.spec.shape
    if stored.bytes.nbytes == 0:
        return np.empty(shape, dtype)
    try:
        raw = np.memmap(stored.bytes.file, np.uint8, "r", stored.bytes.offset, stored.bytes.nbytes)
    except ValueError:  # it ends before
        raise FileChanged(f"{stored.bytes.file} became shorter while it was open: open it again") from None
    return np.asarray(raw).view(dtype).reshape(shape)


class References:
    """The reference run: the values that the trace holds.

    Attributes:
        trace: Where they are.
    """

    def __init__(self, trace: Trace) -> None:
        """The reference run of `trace`."""
        self.trace = trace

    def get(self, case: int, ref: NodeRef | InputRef) -> Stored | None:
        """A recorded tensor, or None if its bytes were not recorded."""
        persistent = False
        if isinstance(ref, InputRef):
            graph = self.trace.graphs[self.trace.cases[case].graph]
            persistent = graph.inputs[ref.index].kind in (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT)
        return self.stored(self.trace.value(case, ref), persistent=persistent)

    def value(self, case: int, ref: NodeRef | InputRef) -> Value:
        """What was recorded of a value."""
        return self.trace.value(case, ref)

    def stored(self, value: Value, *, persistent: bool = False) -> Stored | None:
        """The same for a value that is at hand."""
        if value.tensor is None:
            return None
        block = self.trace.block(value)
        place = Bytes(*block) if block is not None else None
        return Stored(value.tensor.hex(), TensorSpec(value.dtype, value.shape), place, persistent=persistent)

    def array(self, value: Value) -> np.ndarray | None:
        """The recorded elements, checked; None if they were not recorded."""
        return self.trace.array(value) if value.tensor is not None else None
