"""The device worker: a TVM RPC client, one per target.

Started with `python -m`; imported by nobody. It holds nothing that cannot be made again: it may be
killed at any moment, which is the only way out of an RPC call that never returns.

It is connected, or it is not. When the session breaks it says so ("lost"), drops every request it
has, and waits for the next "connect".
"""

from __future__ import annotations

import gc
import itertools
import math
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from tapml_tui.backends import messages
from tapml_tui.backends.child import Channel, limit_resources
from tapml_tui.backends.executing import Execution, Wanted, serve
from tapml_tui.backends.frames import Header
from tapml_tui.backends.operands import TensorStore, array_dtype, operands_from_wire, read_operand
from tapml_tui.backends.protocol import Operand, Stage

_KEPT_RESULTS = 512 << 20
_KEPT_WEIGHTS = 8 << 30
_QUICK_FETCH = 1 << 20
# What a device says when it is the device that cannot, and not the kernel that is wrong.
_DEVICE_CANNOT = ("CL_BUILD_PROGRAM_FAILURE", "not supported by this device", "cudaErrorNoKernelImageForDevice")


class _Session:
    """One RPC session and everything that lives in it."""

    def __init__(self, header: Header) -> None:
        from tvm import rpc

        if header["tracker"]:
            host, port = header["tracker"]
            self.remote = rpc.connect_tracker(host, port).request(header["key"], max_retry=1)
        else:
            host, port = header["address"]
            self.remote = rpc.connect(host, port, key=header["key"])
        self.device = self.remote.device(header["device"], 0)
        self.synchronous = header["device"] == "cpu"
        self.tensors: TensorStore[Any] = TensorStore(budget=_KEPT_RESULTS, persistent_budget=_KEPT_WEIGHTS)
        self._machines: dict[str, Any] = {}

    def upload(self, operand: Operand) -> tuple[Any, int]:
        array = read_operand(operand)
        return self.put(array, operand.spec.dtype), array.nbytes

    def put(self, array: np.ndarray, dtype: str) -> Any:
        import tvm

        tensor = tvm.runtime.empty(array.shape, dtype, self.device)
        if array.nbytes:
            tensor.copyfrom(array)
        return tensor

    def has(self, library: str) -> bool:
        """Whether a library is there already; "" is that of an identity."""
        return not library or library in self._machines

    def machine(self, library: str) -> Any:
        """The Relax VM of a library, which goes up the first time."""
        if library not in self._machines:
            from tvm.runtime import vm

            # Unique: uploading under the name of a loaded library kills the session.
            name = f"k{len(self._machines)}_{os.getpid()}_{time.monotonic_ns()}{Path(library).suffix}"
            self.remote.upload(library, target=name)
            self._machines[library] = vm.VirtualMachine(self.remote.load_module(name), self.device)
        return self._machines[library]

    def round_trip(self) -> float:
        """Milliseconds of a small question, the median of some; checks on the way that bytes come back right."""
        sent = np.arange(4, dtype=np.float32)
        tensor = self.put(sent, "float32")
        if not np.array_equal(tensor.numpy(), sent):
            raise ConnectionError("the device gave back other bytes than it was sent")
        times = []
        for _ in range(5):
            begun = time.perf_counter()
            tensor.numpy()
            times.append((time.perf_counter() - begun) * 1e3)
        return statistics.median(times)


class _Device:
    """The handlers of frames."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._session: _Session | None = None

    def connect(self, header: Header) -> None:
        """Drop the session there is, which servers need before they take the next, and make one."""
        self._drop()
        try:
            self._session = _Session(header)
            latency = self._session.round_trip()
        except Exception as error:  # whatever TVM raises: it is the answer
            self._drop()
            reason, detail = messages.of_exception(error)
            self._channel.send({"op": "connect_failed", "reason": reason, "detail": detail})
            return
        self._channel.send({"op": "connected", "latency_ms": latency})

    def execute(self, request: Header) -> None:
        """Run one unit; nothing is answered while there is no session."""
        if self._session is None:
            return
        execution = Execution(self._channel, request["ticket"])
        try:
            self._run(self._session, request, execution)
        except Exception as error:  # as above
            try:
                self._session.round_trip()
            except Exception:
                self._lost(execution, error)
            else:
                execution.send_failure(error, unsupported=any(words in str(error) for words in _DEVICE_CANNOT))

    def _run(self, session: _Session, request: Header, execution: Execution) -> None:
        operands = operands_from_wire(request["operands"])
        held = all(session.tensors.get(operand.key) is not None for operand in operands)
        execution.enter(Stage.UPLOAD, quick=held and session.has(request["library"]))
        inputs, execution.bytes_up = session.tensors.fetch(operands, session.upload)
        function, identity = request["function"], request["identity"]
        machine = session.machine(request["library"]) if function else None
        execution.enter(Stage.RUN)
        if machine is None:
            self._hand_on(session, request, execution, [(operands[i], inputs[i]) for i in identity])
            return
        # Not `machine[function](*inputs)`: that poisons the session where Relax hands an input back.
        machine.set_input(function, *inputs)
        machine.invoke_stateful(function)
        outputs = machine.get_outputs(function)
        results = [outputs] if hasattr(outputs, "numpy") else list(outputs)
        if not session.synchronous:
            session.device.sync()
        if len(results) != len(request["result_keys"]):
            raise ValueError(f"the kernel gave {len(results)} outputs, {len(request['result_keys'])} were recorded")
        sizes = [_size(result) for result in results]
        wanted = [size <= request["fetch_limit"] for size in sizes]
        execution.bytes_down = sum(itertools.compress(sizes, wanted))
        execution.enter(Stage.FETCH, quick=execution.bytes_down <= _QUICK_FETCH)
        for key, result, size in zip(request["result_keys"], results, sizes, strict=True):
            session.tensors.put(key, result, size)
        arrays = [_fetch(r, size) if want else None for r, size, want in zip(results, sizes, wanted, strict=True)]
        execution.send_outputs(arrays)

    def _hand_on(
        self, session: _Session, request: Header, execution: Execution, inputs: list[tuple[Operand, Any]]
    ) -> None:
        """An identity: the handle is the result, and bytes that lie in a file here need not come over the link."""
        arrays: list[np.ndarray | None] = []
        for key, (operand, tensor) in zip(request["result_keys"], inputs, strict=True):
            size = _size(tensor)
            session.tensors.put(key, tensor, size)
            if size > request["fetch_limit"]:
                arrays.append(None)
            elif operand.bytes is not None:
                arrays.append(read_operand(operand))
            else:
                execution.bytes_down += size
                arrays.append(_fetch(tensor, size))
        execution.send_outputs(arrays, identity=True)

    def _lost(self, execution: Execution, error: BaseException) -> None:
        reason, detail = messages.of_exception(error)
        self._channel.send(
            {
                "op": "lost",
                "ticket": execution.ticket,
                "stage": execution.stage,
                "reason": reason,
                "detail": detail,
            }
        )
        self._drop()

    def _drop(self) -> None:
        self._session = None
        gc.collect()


def _size(tensor: Any) -> int:
    return math.prod(int(size) for size in tensor.shape) * array_dtype(str(tensor.dtype)).itemsize


def _fetch(tensor: Any, nbytes: int) -> np.ndarray:
    if nbytes == 0:
        return np.empty(tuple(tensor.shape), dtype=array_dtype(str(tensor.dtype)))
    array: np.ndarray = tensor.numpy()
    return array


def main() -> None:
    """Serve until our parent goes away."""
    wanted = Wanted()
    channel = Channel(wanted.urgent)
    limit_resources(file_bytes=64 << 20)
    # The runtime alone, without torch, loads in a fifth of the time.
    os.environ["TVM_USE_RUNTIME_LIB"] = "1"
    sys.modules["torch"] = None  # type: ignore[assignment]
    import tvm
    import tvm.rpc
    import tvm.runtime.vm

    channel.send({"op": "ready", "version": tvm.__version__})
    device = _Device(channel)
    serve(channel, wanted, {"connect": device.connect, "execute": device.execute})


if __name__ == "__main__":
    main()
