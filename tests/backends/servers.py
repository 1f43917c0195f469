"""RPC servers for tests: ours, which survives what the stock one does not, and TVM's own programs."""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tapml_tui.backends.address import Address
from tapml_tui.backends.process import WorkerProcess
from tapml_tui.backends.reach import reach
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


def kill_group(program: subprocess.Popen[bytes]) -> None:
    """`kill -9` of a program and of all that it started; safe to do twice."""
    with suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGKILL)
    program.wait()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens at."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def tvm_program(name: str, port: int, *arguments: str, wait: bool = True) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m tvm.exec.NAME` on loopback, killed with all that it started; `wait` until it listens."""
    bounds = ["--host", "127.0.0.1", "--port", str(port)]
    bounds += [] if "--through-proxy" in arguments else ["--port-end", str(port + 1)]
    bounds += ["--web-port", "0"] if name == "rpc_proxy" else []  # by default 8888, whoever has that already
    program = subprocess.Popen(
        [sys.executable, "-m", f"tvm.exec.{name}", *bounds, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        if wait and "--through-proxy" not in arguments:
            wait_until(lambda: listens(port), f"{name} listens", 120)
        yield program
    finally:
        kill_group(program)
        if "--through-proxy" not in arguments:  # what it had started may have the port for a moment longer
            wait_until(lambda: not listens(port), f"the port of {name} is closed")


@dataclass
class Farm:
    """A tracker and its servers, TVM's own programs, each in a process group of its own."""

    tracker: subprocess.Popen[bytes]
    servers: list[subprocess.Popen[bytes]]
    ports: list[int]  # of the tracker, then of the servers

    @property
    def address(self) -> Address:
        """For those who ask without the command line."""
        return Address("cpu", tracker=("127.0.0.1", self.ports[0]), key=KEY)

    @property
    def options(self) -> list[str]:
        """For the command line."""
        return ["--tracker", f"127.0.0.1:{self.ports[0]}", "--key", KEY]

    def wait_until_free(self, count: int) -> None:
        """Until so many are registered, and all of them are free."""
        wait_until(lambda: f"{count} of {count} free" in reach(self.address).words, f"{count} are free", 180)


@contextmanager
def farm(count: int) -> Iterator[Farm]:
    """`python -m tvm.exec.rpc_tracker` with servers that have registered."""
    ports = free_ports(count + 1)
    with ExitStack() as stack:
        tracker = stack.enter_context(tvm_program("rpc_tracker", ports[0]))
        register = ("--tracker", f"127.0.0.1:{ports[0]}", "--key", KEY)
        servers = [stack.enter_context(tvm_program("rpc_server", port, *register, wait=False)) for port in ports[1:]]
        made = Farm(tracker, servers, ports)
        made.wait_until_free(count)
        yield made


def listens(port: int) -> bool:
    """Whether somebody listens at a port of loopback, without knocking there."""
    lines = Path("/proc/net/tcp").read_text().splitlines()
    return any(line.split()[1:4:2] == [f"0100007F:{port:04X}", _LISTENS] for line in lines)
