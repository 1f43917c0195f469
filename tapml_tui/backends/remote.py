"""One RPC session and everything that lives in it. Of the device worker alone; loads tvm when it is used."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tapml_tui.backends.frames import Header
from tapml_tui.backends.machine import Machine
from tapml_tui.backends.operands import OperandError, TensorStore, array_dtype, read_operand, spec_bytes
from tapml_tui.backends.protocol import Bytes, Operand
from tapml_tui.backends.tracker import Tracker

_KEPT_RESULTS = 512 << 20
_KEPT_WEIGHTS = 8 << 30
# TVM's name of what limits a block, and of the attribute of a device that says it.
_LIMITS = {
    "max_num_threads": "max_threads_per_block",
    "max_threads_per_block": "max_threads_per_block",
    "max_shared_memory_per_block": "max_shared_memory_per_block",
}


class NoFunction(Exception):
    """A library lacks a kernel."""


class Session:
    """Connected; every method may raise whatever TVM raises, or never return."""

    def __init__(self, header: Header) -> None:
        """Connect, as the frame "connect" says.

        Raises:
            ConnectionError: If the server has no such device.
        """
        from tvm import rpc

        self.kind = header["device"]
        if header["tracker"]:
            with Tracker(tuple(header["tracker"]), header["patience"]) as tracker:
                host, port, key = tracker.request(header["key"])
        else:
            (host, port), key = header["address"], header["key"]
        self.place = f"{host}:{port}"
        self.remote = rpc.connect(host, port, key=key)
        self.device = self.remote.device(self.kind, 0)
        if not self.device.exist:
            raise ConnectionError(f"{self.place} has no such device: {self.kind}")
        self.synchronous = self.kind == "cpu"
        self.tensors: TensorStore[Any] = TensorStore(budget=_KEPT_RESULTS, persistent_budget=_KEPT_WEIGHTS)
        self.libraries_up = 0  # bytes
        self._machines: dict[str, Machine] = {}
        self._coming: dict[str, Iterator[None]] = {}  # libraries that are there by halves
        self._weights: dict[Bytes, str] = {}  # under which key the weights of a place in a file are held

    def limits(self) -> dict[str, int | str]:
        """What a GPU says of itself, as options of a TVM target; `Target.from_device` cannot ask over RPC."""
        limits: dict[str, int | str] = {}
        if self.synchronous:
            return limits
        for option, attribute in _LIMITS.items():
            with contextlib.suppress(Exception):  # not every runtime answers; what it does not say is left to TVM
                if (value := int(getattr(self.device, attribute) or 0)) > 0:
                    limits[option] = value
        with contextlib.suppress(Exception):
            if self.kind == "cuda" and (version := self.device.compute_version):
                limits["arch"] = "sm_" + str(version).replace(".", "")
        return limits

    def name(self) -> str:
        """What the device calls itself, "" if it does not say."""
        with contextlib.suppress(Exception):
            return str(self.device.device_name or "")
        return ""

    def upload(self, operand: Operand) -> tuple[Any, int]:
        """A tensor with the bytes of an operand, and how many these are."""
        array = read_operand(operand)
        return self.put(array, operand.spec.dtype), array.nbytes

    def fetch_operands(self, operands: Sequence[Operand], *, fresh: bool) -> tuple[list[Any], int]:
        """The tensors of operands, and how many bytes went up for it.

        What is uploaded to confirm a result (`fresh`) takes the place of the weights that were uploaded before: RPC
        has no checksum, and weights that were damaged on the way would go on being wrong.
        """
        inputs, loaded = self.tensors.fetch(operands, self.upload)
        for operand, tensor in zip(operands, inputs, strict=True):
            if operand.bytes is None:
                continue
            if fresh and (held := self._weights.get(operand.bytes)) is not None:
                self.tensors.put(held, tensor, operand.bytes.nbytes, persistent=True)
            elif operand.persistent:
                self._weights[operand.bytes] = operand.key
        return [_seen_as(tensor, operand) for operand, tensor in zip(operands, inputs, strict=True)], loaded

    def forget(self, library: str) -> None:
        """Have a library go up again."""
        self._machines.pop(library, None)
        self._coming.pop(library, None)

    def put(self, array: np.ndarray, dtype: str) -> Any:
        """A tensor with these bytes."""
        import tvm

        tensor = tvm.runtime.empty(array.shape, dtype, self.device)
        if array.nbytes:
            _as_tensor(array).copyto(tensor)
        return tensor

    def has(self, library: str) -> bool:
        """Whether a library is there already; "" is that of an identity."""
        return not library or library in self._machines

    def machine(self, library: str) -> Machine:
        """The Relax VM of a library, which goes up the first time."""
        while library not in self._machines:
            self._bring_library(library)
        return self._machines[library]

    def bring(self, library: str, function: str) -> bool:
        """One step of bringing a function up, of a round trip or two; whether it is there."""
        if library not in self._machines:
            self._bring_library(library)
            return False
        self._machines[library][function]
        return True

    def _bring_library(self, library: str) -> None:
        steps = self._coming.pop(library, None) or self._steps(library)  # what fails begins anew
        next(steps, None)
        if library not in self._machines:
            self._coming[library] = steps

    def _steps(self, library: str) -> Iterator[None]:
        # Unique: uploading under the name of a loaded library kills the session.
        name = f"k{len(self._machines)}_{os.getpid()}_{time.monotonic_ns()}{Path(library).suffix}"
        self.remote.upload(library, target=name)
        self.libraries_up += os.stat(library).st_size
        yield
        module = self.remote.load_module(name)
        yield
        machine = Machine(module)
        yield
        machine.start(self.device)
        self._machines[library] = machine

    def call(self, library: str, function: str, inputs: Sequence[Any], outputs: int, *, careful: bool) -> list[Any]:
        """What a function gives.

        A function of one output is called in one round trip. One that hands an input back would spoil the session so:
        several outputs, and what spoilt a session before (`careful`), go the long way.
        """
        machine = self.machine(library)
        if outputs == 1 and not careful:
            return [_kept(machine[function](*inputs), inputs)]
        machine["set_input"](function, *inputs)
        machine["invoke_stateful"](function)
        if outputs == 1:
            return [_kept(machine["get_output"](function), inputs)]
        return [_kept(machine["get_output"](function, index), inputs) for index in range(outputs)]

    def call_prebuilt(
        self, library: str, names: Sequence[str], inputs: Sequence[Any], outputs: Sequence[tuple[str, Sequence[int]]]
    ) -> list[Any]:
        """What the first function of these names gives, in a library that somebody else compiled.

        Args:
            library: File.
            names: See `prebuilt.names_of`.
            inputs: Of the unit.
            outputs: Dtype and shape of each output, as recorded.

        Raises:
            NoFunction: If the library has none of them.
        """
        import tvm

        machine = self.machine(library)
        for name in names:
            with contextlib.suppress(AttributeError):
                function = machine[name]
                if self._is_relax(machine, name):
                    return [_kept(function(*inputs), inputs)]
                given = [tvm.runtime.empty(tuple(shape), dtype, self.device) for dtype, shape in outputs]
                function(*inputs, *given)
                return given
        raise NoFunction(f"the library has no function {', '.join(names[:-1])} or {names[-1]}")

    @staticmethod
    def _is_relax(machine: Machine, name: str) -> bool:
        """Whether it gives its outputs; a PrimFunc, which the VM finds by name as well, has no arity there."""
        try:
            machine["get_function_arity"](name)
        except Exception:  # whatever the other end raises
            return False
        return True

    def round_trip(self) -> float:
        """Milliseconds of a small question, the median of some; checks on the way that bytes come back right.

        Raises:
            ConnectionError: If other bytes come back than were sent.
        """
        sent = np.arange(4, dtype=np.float32)
        tensor = self.put(sent, "float32")
        times = []
        for _ in range(6):
            begun = time.perf_counter()
            back = fetch(tensor, sent.nbytes)
            times.append((time.perf_counter() - begun) * 1e3)
            if not np.array_equal(back, sent):
                raise ConnectionError("the device gave back other bytes than it was sent")
        return statistics.median(times[1:])


def _seen_as(tensor: Any, operand: Operand) -> Any:
    """The tensor, or a view of its bytes in the shape and type of the operand.

    Raises:
        OperandError: If they are not as many bytes.
    """
    dtype, shape = operand.spec
    if tuple(map(int, tensor.shape)) == shape and str(tensor.dtype) == dtype:
        return tensor
    if size_of(tensor) != spec_bytes(operand.spec):
        raise OperandError(f"what is held of {operand.key[:40]} has another size than {dtype} {list(shape)}")
    return tensor._create_view(shape, dtype)


def _kept(result: Any, inputs: Sequence[Any]) -> Any:
    """A result of a function; where it lies in the memory of an input, a view of that, which holds on to it.

    A reshape costs TVM nothing: its result is the memory of its input. RPC hands inputs over as bare pointers, so
    that the result does not keep what it lies in: the input would be let go of, and its memory used for others.
    """
    if size_of(result):
        at = _address(result)
        for tensor in inputs:
            if _address(tensor) == at:
                return tensor._create_view(tuple(int(size) for size in result.shape), str(result.dtype))
    return result


def _address(tensor: Any) -> int | None:
    """Where the bytes of a remote tensor are, at the other end.

    What this end calls its data is a struct of TVM (`RemoteSpace`, rpc_session.h) that begins with that.
    """
    return ctypes.c_void_p.from_address(tensor.data_ptr()).value


def size_of(tensor: Any) -> int:
    """Bytes of a tensor on the device."""
    return math.prod(int(size) for size in tensor.shape) * array_dtype(str(tensor.dtype)).itemsize


def fetch(tensor: Any, nbytes: int) -> np.ndarray:
    """A tensor of the device, here. Not `numpy()`, which asks the device once more whether it is done."""
    array = np.empty(tuple(int(size) for size in tensor.shape), dtype=array_dtype(str(tensor.dtype)))
    if nbytes:
        tensor.copyto(_as_tensor(array))
    return array


def _as_tensor(array: np.ndarray) -> Any:
    """The same bytes for TVM, without a copy; bytes, because numpy hands out neither bfloat16 nor fp8."""
    import tvm_ffi

    return tvm_ffi.from_dlpack(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
