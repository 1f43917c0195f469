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
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
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


@contextlib.contextmanager
def server() -> Iterator[str]:
    """An RPC server on loopback that does not fork; yields HOST:PORT."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tvm.exec.rpc_server", "--no-fork", "--host", "127.0.0.1"]
    process = subprocess.Popen(
        [*command, "--port", str(port), "--port-end", str(port + 1), "--key", KEY], start_new_session=True
    )
    try:
        _wait_for(port, process)
        yield f"127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + STARTED_WITHIN
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.2)
    raise RuntimeError("the RPC server did not start")


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
        places: list[tuple[str, str | None]] = [(given.target, stack.enter_context(server()))]
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
