"""A backend in numpy: a few operators, faults on demand, replies when it pleases."""

from __future__ import annotations

import math
import queue
import random
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from tapml_tui.backends.protocol import (
    BackendStatus,
    CallArgument,
    Execute,
    Executed,
    Failed,
    KernelText,
    Operand,
    Prepared,
    Reply,
    Sink,
    Stage,
    State,
    Unit,
    UnitInput,
)
from trace_format.dtypes import numpy_dtype

Arrays = tuple[np.ndarray, ...]


def _matmul(a: np.ndarray, b: np.ndarray) -> Arrays:
    return (np.matmul(a, b),)


def _matmul_in_another_order(a: np.ndarray, b: np.ndarray) -> Arrays:
    """One product after the other, from the last to the first: other bits, as good."""
    total = np.zeros((a.shape[0], b.shape[1]), a.dtype)
    for k in reversed(range(a.shape[1])):
        total += np.outer(a[:, k], b[k])
    return (total,)


def _sort_with_other_ties(a: np.ndarray) -> Arrays:
    """Equal elements in the opposite order."""
    last = a.shape[-1] - 1
    return np.sort(a, axis=-1), last - np.argsort(a[..., ::-1], axis=-1, kind="stable")


OPERATORS: dict[str, Callable[..., Arrays]] = {
    "aten.add.Tensor": lambda a, b: (a + b,),
    "aten.mul.Tensor": lambda a, b: (a * b,),
    "aten.relu.default": lambda a: (np.maximum(a, a.dtype.type(0)),),
    "aten.tanh.default": lambda a: (np.tanh(a),),
    "aten.cosh.default": lambda a: (np.cosh(a),),
    "aten.sinh.default": lambda a: (np.sinh(a),),
    "aten.matmul.default": _matmul,
    "aten.aminmax.default": lambda a: (a.min(axis=0), a.max(axis=0)),
    "aten.argmax.default": lambda a: (np.asarray(a.reshape(-1).argmax(), np.int64),),
    "aten.clone.default": lambda a: (a.copy(),),
    "aten.sort.default": lambda a: (np.sort(a, axis=-1), np.argsort(a, axis=-1, kind="stable")),
    "aten.where.self": lambda c, a, b: (np.where(c, a, b),),
    "aten.masked_fill.Scalar": lambda a, mask, number: (np.where(mask, a.dtype.type(number), a),),
    "aten.gt.Scalar": lambda a, number: (a > number,),
    "aten.transpose.int": lambda a, i, j: (np.swapaxes(a, i, j).copy(),),
    "aten.slice.Tensor": lambda a, dim, start, end: (np.moveaxis(np.moveaxis(a, dim, 0)[start:end], 0, dim).copy(),),
    "aten.index_select.default": lambda a, dim, index: (np.take(a, index, axis=dim),),
    "aten.empty_like.default": lambda a: (np.full_like(a, 7),),
    "aten.bernoulli.p": lambda a, p: ((np.arange(a.size).reshape(a.shape) % 3 == 0).astype(a.dtype),),
    "aten.dropout.default": lambda a, p, train: (
        np.where(np.arange(a.size).reshape(a.shape) % 2, a / (1 - p), 0).astype(a.dtype),
    ),
}
OTHER_ORDER = OPERATORS | {
    "aten.matmul.default": _matmul_in_another_order,
    "aten.tanh.default": lambda a: (np.tanh(a.astype(np.float64)).astype(a.dtype),),
    "aten.sort.default": _sort_with_other_ties,
}


class Unsupported(Exception):
    """Raised by an injected fault: the operator does not convert."""


class NumpyBackend:
    """Obeys `tapml_tui.backends.protocol.Backend`.

    Attributes:
        executed: Labels, in the order in which they were executed.
        fetched: Bytes that were sent back.
        uploads: Bytes of operands that were not held.
        faults: By node id: takes the right outputs, gives the wrong ones, or raises.
        kernels: The same by kernel id, for nodes that have a kernel of their own.
        holds: How many results are kept for later operands.
        stopped: While it is cleared, nothing is executed.
    """

    def __init__(
        self,
        id: str,
        operators: dict[str, Callable[..., Arrays]] | None = None,
        *,
        faults: dict[str, Callable[[Arrays], Arrays]] | None = None,
        delays: random.Random | None = None,
        holds: int = 1000,
        identities: bool = False,
    ) -> None:
        self.id = id
        self.operators = operators if operators is not None else (OPERATORS if id == "source" else OTHER_ORDER)
        self.faults = faults or {}
        self.kernels: dict[str, Callable[[Arrays], Arrays]] = {}
        self.holds = holds
        self.identities = identities
        self.executed: list[str] = []
        self.prepared: list[str] = []
        self.announced: list[Operand] = []  # weights
        self.weights: set[str] = set()  # keys of those that came with requests
        self.uploads: list[str] = []
        self.fetched = 0
        self.restarts = 0
        self.stopped = threading.Event()
        self.stopped.set()
        self._delays = delays
        self._held: dict[str, np.ndarray] = {}
        self._requests: queue.SimpleQueue[Execute | None] = queue.SimpleQueue()
        self._era = 0
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._sink: Sink = lambda reply: None

    def start(self, sink: Sink) -> None:
        self._sink = sink
        self._thread.start()
        sink(BackendStatus(self.id, State.READY, title=f"numpy {self.id}"))

    def prepare(self, units: Sequence[Unit], weights: Sequence[Operand] = ()) -> None:
        self.prepared += [unit.signature for unit in units]
        self.announced += weights
        self._sink(Prepared(self.id, len(units), len(units)))

    def execute(self, request: Execute) -> None:
        self._requests.put(request)

    def describe(self, unit: Unit) -> None:
        self._sink(KernelText(unit.signature, (("numpy", unit.calls[0].op),)))

    def interrupt(self) -> None:
        self._era += 1
        self.stopped.set()

    def forget(self) -> None:
        """Lose every result."""
        self._held.clear()

    def restart(self) -> None:
        self.restarts += 1
        self._held.clear()

    def close(self) -> None:
        self.stopped.set()
        self._requests.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        while (request := self._requests.get()) is not None:
            self.stopped.wait()
            if self._delays is not None:
                time.sleep(self._delays.choice([0, 0, 0, 0.0005]))
            self._sink(self._answer(request))

    def _answer(self, request: Execute) -> Reply:
        self.executed.append(request.label)
        self.weights |= {operand.key for operand in request.operands if operand.persistent}
        inputs = [self._operand(operand) for operand in request.operands]
        missing = tuple(i for i, array in enumerate(inputs) if array is None)
        if missing:
            return Failed(request.id, False, Stage.UPLOAD, "operands are missing", missing=missing)
        (call,) = request.unit.calls
        if call.op not in self.operators:
            return Failed(request.id, True, Stage.CONVERT, f"no conversion for {call.op}")

        def value(argument: CallArgument) -> object:
            return inputs[argument.index] if isinstance(argument, UnitInput) else argument

        try:
            results = self.operators[call.op](*(value(argument) for argument in call.args))
            gathers = call.op == "aten.index_select.default"  # on behalf of the node, no kernel of its own
            own = self.faults.get("" if gathers else request.label, lambda right: right)
            results = (own if request.kernel is None else self.kernels[request.kernel])(results)
        except Unsupported as error:
            return Failed(request.id, True, Stage.COMPILE, str(error))
        except (RuntimeError, ValueError, IndexError) as error:
            return Failed(request.id, False, Stage.RUN, str(error))
        outputs = tuple(results[result.output] for result in request.unit.results)
        for key, output in zip(request.result_keys, outputs, strict=True):
            self._held[key] = output
        while len(self._held) > self.holds:
            self._held.pop(next(iter(self._held)))
        handed_on = any(output is one for output in outputs for one in inputs)
        identity = self.identities and (handed_on or call.op == "aten.clone.default")
        fetched = tuple(output if output.nbytes <= request.fetch_limit else None for output in outputs)
        self.fetched += sum(output.nbytes for output in fetched if output is not None)
        return Executed(request.id, fetched, ms=0.1, identity=identity)

    def _operand(self, operand: Operand) -> np.ndarray | None:
        held = self._held.get(operand.key)
        if held is not None:
            dtype, shape = numpy_dtype(operand.spec.dtype), operand.spec.shape
            fits = held.nbytes == math.prod(shape) * dtype.itemsize
            return held.reshape(-1).view(dtype).reshape(shape) if fits else held
        if operand.bytes is None:
            return None
        self.uploads.append(operand.key)
        raw = np.fromfile(operand.bytes.file, np.uint8, operand.bytes.nbytes, offset=operand.bytes.offset)
        return raw.view(numpy_dtype(operand.spec.dtype)).reshape(operand.spec.shape)
