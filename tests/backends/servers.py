"""RPC servers for tests: ours, which survives what the stock one does not, and TVM's own programs."""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tapml_tui.backends.process import WorkerProcess
from tests.backends.driver import wait_until

KEY = "bench"
_LISTENS = "0A"


@contextmanager
def own_server() -> Iterator[int]:
    """Our server's port; its key is KEY. A direct server to whoever connects: it does not know that it is ours."""
    ready: queue.SimpleQueue[int] = queue.SimpleQueue()
    server = WorkerProcess(
        "tapml_tui.backends.worker_server",
        on_frame=lambda header, _: ready.put(header["port"]) if header["op"] == "ready" else None,
        on_exit=lambda code: None,
        on_log=lambda line: None,
        environment={"TVM_THREAD_POOL_SPIN_COUNT": "0"},
    )
    try:
        server.send({"op": "serve", "key": KEY, "device": "cpu"})
        yield ready.get(timeout=120)
    finally:
        server.kill()
        server.join(10)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens at."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def tvm_program(name: str, port: int, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m tvm.exec.NAME` on loopback, killed with all that it started."""
    bounds = ["--host", "127.0.0.1", "--port", str(port)]
    bounds += [] if "--through-proxy" in arguments else ["--port-end", str(port + 1)]
    program = subprocess.Popen(
        [sys.executable, "-m", f"tvm.exec.{name}", *bounds, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        if "--through-proxy" not in arguments:
            wait_until(lambda: listens(port), f"{name} listens", 120)
        yield program
    finally:
        os.killpg(program.pid, signal.SIGKILL)
        program.wait()


def listens(port: int) -> bool:
    """Whether somebody listens at a port of loopback, without knocking there."""
    lines = Path("/proc/net/tcp").read_text().splitlines()
    return any(line.split()[1:4:2] == [f"0100007F:{port:04X}", _LISTENS] for line in lines)
