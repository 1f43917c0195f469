"""The chain from here to a first result on the device, link by link: what `doctor` prints."""

from __future__ import annotations

import importlib.util
import os
import queue
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tapml_tui.backends.address import Address
from tapml_tui.backends.protocol import (
    Backend,
    BackendStatus,
    Bytes,
    Call,
    CallResult,
    Deadlines,
    Execute,
    Executed,
    Failed,
    KernelText,
    Operand,
    Reply,
    State,
    TensorSpec,
    Unit,
    UnitInput,
)
from tapml_tui.backends.reach import openness, reach
from tapml_tui.backends.troubles import refusal

# Import name, distribution, and what needs it.
_PACKAGES = (
    ("torch", "torch", "the source side, and converting operators"),
    ("tvm", "apache-tvm", "the target side"),
    ("cloudpickle", "cloudpickle", "TVM's RPC server"),
)
_INSTALL = "pip install 'tapml-tui[all]'"
_VALUES = np.array([-1.0, 0.0, 2.5, 40.0], dtype=np.float32)


class Probe(NamedTuple):
    """One link of the chain: what it is, whether it holds, what was found, what to do if it does not.

    `warning`: it holds, but something about it is not as it should be.
    """

    link: str
    ok: bool
    detail: str
    remedy: str = ""
    warning: str = ""


def probe_chain(
    source: Backend,
    target: Backend,
    *,
    address: Address,
    tvm_target: str,
    linker: str,
    cache_folder: Path,
    deadlines: Deadlines,
    trying: Callable[[str], None] = lambda link: None,
) -> Iterator[Probe]:
    """Try every link in order; stops where going on makes no sense.

    Args:
        source: Not started yet; is closed again.
        target: Likewise.
        address: Where the device is.
        tvm_target: What is compiled for.
        linker: The command that links libraries; "" is cc.
        cache_folder: Of compiled kernels.
        deadlines: How long what may take.
        trying: Is told each link that takes its time, and how long at most, before it is tried.
    """
    missing = False
    for module, distribution, purpose in _PACKAGES:
        there = importlib.util.find_spec(module) is not None
        missing |= not there
        yield Probe(
            distribution,
            there,
            _version(distribution) if there else f"not installed: needed for {purpose}",
            "" if there else _INSTALL,
        )
    if missing:
        return
    command = (shlex.split(linker) or [os.environ.get("CC", "cc")])[0]
    found = shutil.which(command)
    remedy = "" if found else "install a C compiler, or name one with --cc or in CC"
    yield Probe("linker", found is not None, found or f"there is no {command}", remedy)
    yield _cache(cache_folder)
    if not address.ours:
        answer = reach(address)
        remedy = "" if answer.ok else refusal(answer.words).remedy
        link = "tracker" if address.tracker else "server"
        yield Probe(link, answer.ok, answer.words, remedy, openness(address))
        if not answer.ok:
            return
    trying(f"source: starts PyTorch, up to {deadlines.start + deadlines.run:.0f} s")
    yield from _source(source, deadlines)
    yield from _target(target, f"{tvm_target} @{address.text}", deadlines, trying)


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "installed, version unknown"


def _cache(folder: Path) -> Probe:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        remedy = "make it writable, or set XDG_CACHE_HOME; without it every session compiles again"
        return Probe("kernel cache", False, f"{folder}: {error.strerror}", remedy)
    libraries = [file.stat().st_size for file in folder.glob("*.so")]
    return Probe("kernel cache", True, f"{folder}, {len(libraries)} libraries, {sum(libraries) / 1e6:.0f} MB")


def _source(backend: Backend, deadlines: Deadlines) -> Iterator[Probe]:
    with _Session(backend) as session:
        begun = time.monotonic()
        reply = session.run(deadlines.start + deadlines.run)
        yield _result(
            "source", reply, time.monotonic() - begun, "see the message; reinstall PyTorch if it does not load"
        )


def _target(backend: Backend, place: str, deadlines: Deadlines, trying: Callable[[str], None]) -> Iterator[Probe]:
    trying(f"device: {place}, up to {deadlines.start + deadlines.connect:.0f} s")
    with _Session(backend) as session:
        begun = time.monotonic()
        wanted = (State.READY, State.FAILED, State.MISSING)
        patience = deadlines.start + deadlines.connect
        status = session.wait(lambda r: isinstance(r, BackendStatus) and r.state in wanted, patience)
        ready = isinstance(status, BackendStatus) and status.state is State.READY
        detail = status.detail if isinstance(status, BackendStatus) else "no answer"
        if ready and isinstance(status, BackendStatus):
            detail = f"{place} after {time.monotonic() - begun:.1f} s, a round trip takes {status.latency_ms:.2f} ms"
        yield Probe("device", ready, detail, "" if ready else refusal(detail).remedy)
        if not ready:
            return
        trying(f"compiler: up to {deadlines.start + deadlines.compile:.0f} s")
        begun = time.monotonic()
        session.backend.describe(_UNIT)
        text = session.wait(lambda r: isinstance(r, KernelText), deadlines.start + deadlines.compile)
        sections = dict(text.sections) if isinstance(text, KernelText) else {"Error": "no answer"}
        error = sections.get("Error", "").strip().partition("\n")[0]
        remedy = "check --target and --lower; `python -c 'import torch, tvm'` shows whether both load" if error else ""
        yield Probe("compiler", not error, error or f"converts after {time.monotonic() - begun:.1f} s", remedy)
        trying(f"first kernel: up to {deadlines.compile + deadlines.run:.0f} s")
        begun = time.monotonic()
        reply = session.run(deadlines.compile + deadlines.run)
        yield _result("first kernel", reply, time.monotonic() - begun, "see the message")


def _result(link: str, reply: Reply | None, seconds: float, remedy: str) -> Probe:
    if isinstance(reply, Executed):
        (output,) = reply.outputs
        right = output is not None and np.array_equal(output, np.maximum(_VALUES, 0))
        detail = f"relu ran after {seconds:.1f} s" if right else f"relu of {_VALUES} gave {reply.outputs}"
        return Probe(link, right, detail, "" if right else "this device or its compiler computes wrongly")
    return Probe(link, False, reply.reason if isinstance(reply, Failed) else f"no answer in {seconds:.0f} s", remedy)


_SPEC = TensorSpec("float32", _VALUES.shape)
_UNIT = Unit((Call("aten.relu.default", (UnitInput(0),)),), (_SPEC,), (_SPEC,), (CallResult(0),))


class _Session:
    """A started backend, and its replies one after the other."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._replies: queue.SimpleQueue[Reply] = queue.SimpleQueue()
        self._folder = tempfile.TemporaryDirectory(prefix="tapml-tui-probe-")

    def __enter__(self) -> _Session:
        self.backend.start(self._replies.put)
        return self

    def __exit__(self, *_: object) -> None:
        self.backend.close()
        self._folder.cleanup()

    def run(self, patience: float) -> Reply | None:
        file = Path(self._folder.name, "values")
        file.write_bytes(_VALUES.tobytes())
        operand = Operand("probe", _SPEC, Bytes(str(file), 0, _VALUES.nbytes))
        self.backend.execute(Execute(1, _UNIT, (operand,), ("probe-result",), "the probe"))
        return self.wait(lambda reply: isinstance(reply, Executed | Failed), patience)

    def wait(self, wanted: Callable[[Reply], bool], patience: float) -> Reply | None:
        deadline = time.monotonic() + patience
        while (left := deadline - time.monotonic()) > 0:
            try:
                reply = self._replies.get(timeout=left)
            except queue.Empty:
                break
            if wanted(reply):
                return reply
        return None
