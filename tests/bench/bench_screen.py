"""The screen on a trace of 100 000 nodes and 8 GiB, in a real pseudo-terminal."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.models import FOLDER, TAPML
from tests.bench.report import Row, interleaved
from tests.bench.terminal import Terminal

FAST = {"TEXTUAL_FPS": "60"}
EMPTY = (sys.executable, "-m", "tests.bench.empty_app")


def big_trace() -> Path:
    """8 GiB if the disk has the room, else what it has: the size is part of the row."""
    gib = min(8, max(1, shutil.disk_usage(FOLDER.parent).free // (3 << 30)))
    path = FOLDER / f"big-{gib}.trace"
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "tests.bench.big_trace", str(path), "--gib", str(gib)], check=True)
    return path


def _seconds(command: tuple[str, ...]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def _first_paint(command: tuple[str, ...], text: str) -> float:
    terminal = Terminal(command, env=FAST)
    try:
        return terminal.wait_for(text)
    finally:
        terminal.close()


def rows() -> Iterator[Row]:
    """info, first paint, memory, and every kind of key."""
    path = big_trace()
    size = f"{path.stat().st_size / (1 << 30):.1f} GiB"
    info, bare = interleaved(
        7,
        (
            lambda: _seconds((*TAPML, "info", str(path))),
            lambda: _seconds((sys.executable, "-c", "import numpy, msgpack")),
        ),
    )
    yield Row("info", info, 2 * bare + 0.2, "s", f"{size}; import numpy, msgpack: {bare:.3f} s")
    ours, empty = interleaved(
        7, (lambda: _first_paint((*TAPML, str(path)), "operators"), lambda: _first_paint(EMPTY, "operators"))
    )
    yield Row("first paint", ours, 1.5 * empty, "s", f"empty app with the same widgets {empty:.3f} s")

    terminal = Terminal((*TAPML, str(path)), env=FAST)
    try:
        terminal.wait_for("operators")
        terminal.settle(1.0)
        yield Row("resident memory", terminal.rss_bytes() / 1e6, 150.0, "MB", "after first paint and 1 s")
        yield from _keys(terminal)
        yield Row("resident memory at the end", terminal.rss_bytes() / 1e6, 150.0, "MB", "after all keys")
    finally:
        terminal.close()


def _keys(terminal: Terminal) -> Iterator[Row]:
    kinds = {
        "move": ["j", "k"] * 10,
        "page": ["\x1b[6~", "\x1b[5~"] * 10,
        "top and bottom": ["G", "g"] * 10,
        "fold and unfold the root": ["\r"] * 10,
    }
    everything: list[float] = []
    terminal.send("g")
    for what, keys in kinds.items():
        samples = [terminal.key_to_paint(key) for key in keys]
        everything += samples
        yield Row(
            f"key: {what}, worst", max(samples) * 1e3, 100.0, "ms", f"median {statistics.median(samples) * 1e3:.0f}"
        )
    terminal.send("/")
    terminal.settle()
    terminal.send("relu\r")
    terminal.settle()
    hits = [terminal.key_to_paint(key) for key in [".", ","] * 10]
    everything += hits
    yield Row("key: search hit, worst", max(hits) * 1e3, 100.0, "ms", f"median {statistics.median(hits) * 1e3:.0f}")
    terminal.send("/")
    terminal.settle()
    terminal.send("wide\r")
    terminal.settle()
    folds = [terminal.key_to_paint("\r") for _ in range(10)]
    everything += folds
    yield Row("key: unfold 50 000 children, worst", max(folds) * 1e3, 100.0, "ms", "found by search, enter")
    yield Row("key to paint, median of all", statistics.median(everything) * 1e3, 50.0, "ms", f"{len(everything)} keys")
