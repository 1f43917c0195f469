"""From the command line to the first verdict, and from a key to a painted verdict."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench import peers
from tests.bench.models import DEMO, TAPML
from tests.bench.report import Row
from tests.bench.terminal import Terminal

FAST = {"TEXTUAL_FPS": "60"}


def _first_verdict(folder: Path) -> float:
    """Seconds from the command to the first verdict on the target; `n` is typed at the first paint."""
    terminal = Terminal((*TAPML, _fresh_copy(folder)), env=FAST)
    try:
        terminal.wait_for("operators")
        terminal.send("n")
        return terminal.wait_for("1 passed")
    finally:
        terminal.close()


def _fresh_copy(folder: Path) -> str:
    """The demo without any run beside it."""
    copy = Path(tempfile.mkdtemp(dir=folder)) / "demo.trace"
    shutil.copy(DEMO, copy)
    return str(copy)


def _steps(folder: Path) -> list[float]:
    """Seconds from `s` to the painted count of steps, over the nodes of the demo; kernels are compiled already."""
    terminal = Terminal((*TAPML, _fresh_copy(folder)), env=FAST)
    samples = []
    try:
        terminal.wait_for("ready")
        terminal.settle(1.0)
        for step in range(1, 40):
            sent = time.perf_counter()
            terminal.send("s")
            terminal.wait_for(f"step {step}/")
            samples.append(terminal.last_byte - sent)
            terminal.settle(0.1)
    finally:
        terminal.close()
    return samples


def rows() -> Iterator[Row]:
    """The demo, kernel cache warm."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _first_verdict(folder)  # fills the kernel cache
        first = statistics.median(_first_verdict(folder) for _ in range(3))
        yield Row("first target verdict of the demo, warm", first, 6.0, "s", "n typed at the first paint")
        samples = _steps(folder)
        bare = peers.bare_call_seconds(16 << 10)
        how = f"median of {len(samples)}, worst {max(samples) * 1e3:.0f} ms; bare call {bare * 1e3:.1f} ms"
        yield Row("step, key to painted verdict", statistics.median(samples) * 1e3, 50 + bare * 1e3, "ms", how)
