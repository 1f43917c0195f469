"""The device worker: a TVM RPC client, one per target.

Started with `python -m`; imported by nobody. It holds nothing that cannot be made again: it may be
killed at any moment, which is the only way out of an RPC call that never returns.

It is connected, or it is not. When the session breaks it says so ("lost"), drops every request it
has, and waits for the next "connect".
"""

from __future__ import annotations

import gc
import itertools
import os
import sys
from typing import Any

import numpy as np

from tapml_tui.backends import messages, troubles
from tapml_tui.backends.child import Channel, limit_resources
from tapml_tui.backends.executing import Execution, Wanted, serve
from tapml_tui.backends.frames import Header
from tapml_tui.backends.killers import LaunchNote
from tapml_tui.backends.operands import operands_from_wire, read_operand
from tapml_tui.backends.protocol import Operand, Stage
from tapml_tui.backends.remote import NoFunction, Session, fetch, size_of

_QUICK_FETCH = 1 << 20


class _Device:
    """The handlers of frames."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._session: Session | None = None
        self._note = LaunchNote("")

    def connect(self, header: Header) -> None:
        """Drop the session there is, which servers need before they take the next, and make one."""
        self._drop()
        try:
            self._session = session = Session(header)
            said = {"latency_ms": session.round_trip(), "limits": session.limits(), "name": session.name()}
        except Exception as error:  # whatever TVM raises: it is the answer
            self._drop()
            reason, detail = messages.of_exception(error)
            self._channel.send({"op": "connect_failed", "reason": reason, "detail": detail})
            return
        self._note = LaunchNote(header["launches"])
        self._channel.send({"op": "connected", "place": session.place, **said})

    def execute(self, request: Header) -> None:
        """Run one unit; nothing is answered while there is no session."""
        if self._session is None:
            return
        execution = Execution(self._channel, request["ticket"])
        try:
            self._run_with_room(self._session, request, execution)
        except Exception as error:  # as above
            if self._survived(self._session, error):
                self._note.ended()
                execution.send_failure(error, unsupported=_cannot(error))

    def bring(self, header: Header) -> None:
        """One step of bringing up what will be needed; nothing is answered while there is no session."""
        session = self._session
        if session is None:
            return
        before, up, more, failed = session.libraries_up, 0, False, False
        try:
            if "operand" in header:
                _, up = session.fetch_operands(operands_from_wire(header["operand"]), fresh=False)
            else:
                more = not session.bring(header["library"], header["function"])
        except Exception as error:  # as above
            if not self._survived(session, error):
                return
            failed = True
        up += session.libraries_up - before
        self._channel.send({"op": "brought", "more": more, "failed": failed, "bytes_up": up})

    def leave(self, header: Header) -> None:
        """Say goodbye to the server, and end."""
        self._drop()
        os._exit(0)

    def _survived(self, session: Session, error: BaseException) -> bool:
        """Whether a session can be used after an error; if not, it is said to be lost."""
        try:
            session.round_trip()
        except Exception:  # as above
            reason, detail = messages.of_exception(error)
            self._channel.send({"op": "lost", "reason": reason, "detail": detail})
            self._drop()
            return False
        return True

    def _run_with_room(self, session: Session, request: Header, execution: Execution) -> None:
        """What is kept of earlier results goes before a kernel has to fail for want of memory."""
        try:
            self._run(session, request, execution)
        except Exception as error:  # as above
            if not (troubles.is_out_of_memory(str(error)) and session.tensors.drop_results()):
                raise
            self._run(session, request, execution)

    def _run(self, session: Session, request: Header, execution: Execution) -> None:
        operands = operands_from_wire(request["operands"])
        held = all(session.tensors.get(operand.key) is not None for operand in operands) and not request["fresh"]
        execution.enter(Stage.UPLOAD, quick=held and session.has(request["library"]))
        if request["fresh"]:
            session.forget(request["library"])
        inputs, execution.bytes_up = session.fetch_operands(operands, fresh=request["fresh"])
        function, identity = request["function"], request["identity"]
        if function:
            before = session.libraries_up
            session.machine(request["library"])
            execution.bytes_of_library = session.libraries_up - before
        execution.enter(Stage.RUN)
        if not function:
            self._hand_on(session, request, execution, [(operands[i], inputs[i]) for i in identity])
            return
        self._note.began(request["signature"], request["label"])
        keys = request["result_keys"]
        if names := request["names"]:
            results = session.call_prebuilt(request["library"], names, inputs, request["outputs"])
        else:
            results = session.call(request["library"], function, inputs, len(keys), careful=request["careful"])
        if len(results) != len(keys):
            raise ValueError(f"the kernel gave {len(results)} outputs, {len(keys)} were recorded")
        sizes = [size_of(result) for result in results]
        if sum(sizes) > request["most"]:
            raise ValueError(f"the kernel gave {sum(sizes)} bytes, far more than was recorded: not fetched")
        wanted = [size <= request["fetch_limit"] for size in sizes]
        execution.bytes_down = sum(itertools.compress(sizes, wanted))
        quick = 0 < execution.bytes_down <= _QUICK_FETCH
        if not (session.synchronous or quick):  # a small fetch waits for the kernel by itself
            session.device.sync()
        execution.enter(Stage.FETCH, quick=quick)
        for key, result, size in zip(keys, results, sizes, strict=True):
            session.tensors.put(key, result, size)
        arrays = [fetch(r, size) if want else None for r, size, want in zip(results, sizes, wanted, strict=True)]
        self._note.ended()
        execution.send_outputs(arrays)

    def _hand_on(
        self, session: Session, request: Header, execution: Execution, inputs: list[tuple[Operand, Any]]
    ) -> None:
        """An identity: the handle is the result, and bytes that lie in a file here need not come over the link."""
        arrays: list[np.ndarray | None] = []
        for key, (operand, tensor) in zip(request["result_keys"], inputs, strict=True):
            size = size_of(tensor)
            session.tensors.put(key, tensor, size)
            if size > request["fetch_limit"]:
                arrays.append(None)
            elif operand.bytes is not None:
                arrays.append(read_operand(operand))
            else:
                execution.bytes_down += size
                arrays.append(fetch(tensor, size))
        execution.send_outputs(arrays, identity=True)

    def _drop(self) -> None:
        self._session = None
        gc.collect()


def _cannot(error: BaseException) -> bool:
    return isinstance(error, NoFunction) or troubles.device_cannot(str(error))


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
    serve(
        channel,
        wanted,
        {"connect": device.connect, "execute": device.execute, "bring": device.bring, "leave": device.leave},
    )


if __name__ == "__main__":
    main()
