"""Every process dies with us, whatever happens."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tapml_tui.backends.process import WorkerProcess
from tests.backends.driver import wait_until

ROOT = Path(__file__).parents[2]

_SESSION = """
    import sys, threading, time
    from pathlib import Path
    import numpy as np
    from tapml_tui.backends.launch import TargetOptions, make_backends
    from tapml_tui.backends.protocol import *

    done = threading.Event()
    spec = TensorSpec("float32", (4,))
    def unit(op):
        return Unit((Call(op, (UnitInput(0),)),), (spec,), (spec,), (CallResult(0),))

    Path(sys.argv[1]).write_bytes(np.ones(4, np.float32).tobytes())
    operand = Operand("x", spec, Bytes(sys.argv[1], 0, 16))
    source, target = make_backends(TargetOptions(lower=sys.argv[3]), cache_dir=Path(sys.argv[2]))
    answered = {}
    def sink(side):
        def take(reply):
            if isinstance(reply, Executed | Failed):
                answered[side] = reply
                if len(answered) == 2:
                    done.set()
        return take
    for backend in (source, target):
        backend.start(sink(backend.id))
        backend.execute(Execute(1, unit("aten.relu.default"), (operand,), ("r",), "n"))
    assert done.wait(120), answered
    assert all(isinstance(reply, Executed) for reply in answered.values()), answered
    # A kernel that hangs: the device worker is inside of a C call, the server's session sleeps.
    target.execute(Execute(2, unit("aten.sinh.default"), (operand,), ("s",), "hangs"))
    time.sleep(1)
    print("up", flush=True)
    ENDING
"""


def _members(session_of: int) -> list[int]:
    """Processes that we started and that still are there, by the mark in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes()
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if f"TAPML_TUI_PARENT={session_of}\0".encode() in environment and state != "Z":
                found.append(int(entry.name))
    return found


def _session(tmp_path: Path, kernels: Path, ending: str) -> subprocess.Popen[str]:
    script = textwrap.dedent(_SESSION).replace("ENDING", ending)
    lower = str(Path(__file__).with_name("faulty_kernels.py"))
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "operand"), str(kernels), lower],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return process


@pytest.mark.tvm
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed(tmp_path: Path, kernel_folder: Path, how: signal.Signals) -> None:
    process = _session(tmp_path, kernel_folder, "time.sleep(600)")
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n", process.stderr.read() if process.stderr else ""
        workers = _members(process.pid)
        assert len(workers) >= 4, "source, device, server and its session"
        os.kill(process.pid, how)
        process.communicate(timeout=60)  # its pipes are closed: nobody else held them
        wait_until(lambda: not _members(process.pid), "every process is gone", 10)
    finally:
        process.kill()
        process.wait()


@pytest.mark.tvm
@pytest.mark.parametrize(
    "ending", ["sys.exit(0)", "raise SystemError", "import os; os._exit(3)", "target.close(); source.close()"]
)
def test_ended(tmp_path: Path, kernel_folder: Path, ending: str) -> None:
    process = _session(tmp_path, kernel_folder, ending)
    try:
        out, err = process.communicate(timeout=200)
        assert out == "up\n", err
        wait_until(lambda: not _members(process.pid), "every process is gone", 10)
    finally:
        process.kill()
        process.wait()


def test_a_request_that_is_no_frame_is_said_and_ends_the_worker() -> None:
    said: list[str] = []
    codes: queue.SimpleQueue[int] = queue.SimpleQueue()
    worker = WorkerProcess("json.tool", on_frame=lambda *_: None, on_exit=codes.put, on_log=said.append)
    worker.send({"op": 1 << 70})
    assert codes.get(timeout=60) == -signal.SIGKILL
    assert any("cannot be sent to the worker" in line for line in said)


_GIL_HOLDER = """
    import ctypes, os, sys
    from tapml_tui.backends.child import Channel
    channel = Channel()
    print("noise on stdout"); os.system("echo more noise")
    channel.send({"op": "ready", "tty": os.isatty(0) or os.isatty(1)})
    channel.receive()
    ctypes.PyDLL(None).sleep(1000)  # with the GIL held: no thread of Python's runs any more
"""


def test_worker_inside_of_a_call_that_holds_the_interpreter(tmp_path: Path) -> None:
    (tmp_path / "gil_holder.py").write_text(textwrap.dedent(_GIL_HOLDER))
    script = textwrap.dedent("""
        import sys, threading, time
        from tapml_tui.backends.process import WorkerProcess
        ready = threading.Event()
        def start():
            global worker
            worker = WorkerProcess("gil_holder", on_frame=lambda h, b: (print(h, flush=True), ready.set()),
                                   on_exit=print, on_log=lambda line: print("log", line, flush=True))
        thread = threading.Thread(target=start)  # a thread that ends must not take the worker with it
        thread.start(); thread.join()
        ready.wait(60)
        worker.send({"op": "hold"})
        time.sleep(0.5)
        print("up", flush=True)
        time.sleep(600)
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(4)]
        assert sorted(lines) == ["log more noise", "log noise on stdout", "up", "{'op': 'ready', 'tty': False}"]
        assert len(_members(process.pid)) == 1
        process.kill()
        wait_until(lambda: not _members(process.pid), "the worker is gone", 10)
    finally:
        process.kill()
        process.wait()
