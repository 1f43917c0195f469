"""Check real models on a real GPU: `python -m tests.devices.on_gpu [--target cuda] [FOLDER]`.

Starts a TVM RPC server that does not fork (a forked one cannot use CUDA), carves MiniLM, the
4-layer Llama and the ResNet in float32 and float16, checks each isolated and chained on the GPU and, for
the wall time, on LLVM, and prints a table and every node that did not pass.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODELS = Path(__file__).parents[1] / "models.py"
NAMES = ("resnet", "llama", "minilm")
DTYPES = ("float32", "float16")
MODES = ("isolated", "chained")
KEY = "gpu"
STARTED_WITHIN = 120.0  # seconds: the server imports TVM twice


@dataclass(frozen=True)
class Checked:
    """One `check`: its report and how long it took, in seconds."""

    model: str
    dtype: str
    mode: str
    target: str
    report: dict[str, Any]
    seconds: float

    @property
    def not_passed(self) -> list[dict[str, Any]]:
        """Entries that failed, broke or are unsupported."""
        return [one for one in self.report["nodes"] if one["status"] in ("failed", "error", "unsupported")]


class Server:
    """An RPC server on loopback that does not fork, started again when a kernel took it down.

    After a session that crashed, TVM's own server accepts connections and never answers: what a
    person at the device's end does about it is done here, when it says so.
    """

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.address = f"127.0.0.1:{self._port}"
        self.restarts = 0
        self._closed = False
        self._process = self._start()
        until = time.monotonic() + STARTED_WITHIN
        while not self._listens():
            if time.monotonic() > until:
                raise RuntimeError("the RPC server did not start")
            time.sleep(0.2)

    def _start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tvm.exec.rpc_server", "--no-fork", "--host", "127.0.0.1", "--key", KEY]
        ports = ["--port", str(self._port), "--port-end", str(self._port + 1)]
        process = subprocess.Popen([*command, *ports], stderr=subprocess.PIPE, text=True, start_new_session=True)
        threading.Thread(target=self._watch, args=(process,), daemon=True).start()
        return process

    def _watch(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            if "exited unsuccessfully" in line and not self._closed:
                print(f"the server went down: {line.strip()}; starting it again", flush=True)
                self.restarts += 1
                _kill(process)
                self._process = self._start()
                return

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=1):
            return True
        return False

    def close(self) -> None:
        """Stop it and everything that it started."""
        self._closed = True
        _kill(self._process)


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def tapml(*arguments: object, timeout: float = 900) -> subprocess.CompletedProcess[str]:
    """Run the program."""
    command = [sys.executable, "-m", "tapml_tui", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


def carve(model: str, dtype: str, folder: Path) -> Path:
    """The trace of a model, carved once."""
    trace = folder / f"{model}-{dtype}.trace"
    if not trace.exists():
        cast = () if dtype == "float32" else ("--dtype", dtype)  # float32 is what they are
        done = tapml("carve", f"{MODELS}:{model}", *cast, "-o", trace)
        if done.returncode:
            raise RuntimeError(done.stderr)
    return trace


def check(trace: Path, mode: str, target: str, address: str | None) -> Checked:
    """Check a trace on a target."""
    where = ("--rpc", address, "--key", KEY) if address else ()
    report = trace.with_suffix(f".{mode}.{target}.json")
    started = time.perf_counter()
    done = tapml("check", trace, "--mode", mode, "--target", target, *where, "--json", report)
    seconds = time.perf_counter() - started
    if done.returncode not in (0, 1):
        raise RuntimeError(f"exit code {done.returncode}\n{done.stderr}")
    model, dtype = trace.stem.rsplit("-", 1)
    return Checked(model, dtype, mode, target, json.loads(report.read_text()), seconds)


def _sentence(entry: dict[str, Any]) -> str:
    return f"{entry['id']} {entry['status']} {entry['verdict']}: {entry['reason']}"


def main() -> int:
    """Print the table. Returns 1 if a node was not accounted for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--target", default="cuda")
    parser.add_argument("--models", nargs="*", default=NAMES)
    parser.add_argument("--dtypes", nargs="*", default=DTYPES)
    parser.add_argument("--no-llvm", action="store_true", help="leave out the LLVM target")
    given = parser.parse_args()
    lost = 0
    with contextlib.ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        server = Server()
        stack.callback(server.close)
        places: list[tuple[str, str | None]] = [(given.target, server.address)]
        if not given.no_llvm:
            places.append(("llvm", None))
        print("| model | dtype | mode | target | entries | passed | failed | error | unsupported | not run | s |")
        print("|---|---|---|---|---|---|---|---|---|---|---|")
        reasons: list[str] = []
        for model in given.models:
            for dtype in given.dtypes:
                trace = carve(model, dtype, folder)
                for target, address in places:
                    for mode in MODES:
                        done = check(trace, mode, target, address)
                        counts = done.report["summary"]
                        words = ("nodes", "passed", "failed", "error", "unsupported", "not_run")
                        cells = " | ".join(str(counts[word]) for word in words)
                        print(f"| {model} | {dtype} | {mode} | {target} | {cells} | {done.seconds:.1f} |", flush=True)
                        lost += counts["nodes"] != len(done.report["nodes"])
                        where = f"{model} {dtype} {mode} {target}"
                        reasons += [f"{where}: {_sentence(one)}" for one in done.not_passed]
        print(*reasons, sep="\n")
    return int(lost > 0)


if __name__ == "__main__":
    sys.exit(main())
