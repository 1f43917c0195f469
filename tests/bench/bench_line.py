"""A slow line: 50 ms there and back, 1 MB/s each way, by a proxy in front of a real TVM RPC server."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from tests.backends.misbehaving import MisbehavingProxy, Way
from tests.backends.servers import KEY, own_server
from tests.bench import models
from tests.bench.backends import Warm
from tests.bench.bench_check import run_all
from tests.bench.models import DEMO, TAPML
from tests.bench.report import Row
from tests.bench.terminal import Terminal

LATENCY = 0.025  # seconds each way
RATE = 1e6  # bytes per second each way
SMALL = 16 << 10
LIMIT = 0.3  # seconds of a step whose outputs are small
LOOK = 3.0  # seconds in which one finds the way about the screen
PAUSE = 0.3  # seconds for a look at each verdict
FAST = {"TEXTUAL_FPS": "60"}
DOUBTS = ("; once more, to be sure", "; again on the recorded inputs", "; now beside the source")


def rows() -> Iterator[Row]:
    """What a key takes, and what crosses the line."""
    with ExitStack() as stack:
        port = stack.enter_context(own_server())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        with MisbehavingProxy(port, latency=LATENCY, rate=RATE) as proxy:
            yield from _keys(proxy, folder)
        with MisbehavingProxy(port) as proxy:
            yield from _bytes(proxy, folder)


def _keys(proxy: MisbehavingProxy, folder: Path) -> Iterator[Row]:
    trace = folder / "demo.trace"
    shutil.copy(DEMO, trace)
    small = _small_outputs(trace)
    terminal = Terminal((*TAPML, str(trace), "--rpc", f"127.0.0.1:{proxy.port}", "--key", KEY), env=FAST)
    try:
        terminal.wait_for("ready")
        terminal.settle(LOOK)
        taken: list[float] = []
        sure: list[float] = []
        for step, is_small in enumerate(small, 1):
            seconds, until_sure = _seconds(terminal, "s", f"step {step}/")
            taken += [seconds] if is_small else []
            sure += [until_sure] if is_small else []
            terminal.settle(PAUSE)
        late, doubted = (sum(seconds > LIMIT for seconds in times) for times in (taken, sure))
        how = (
            f"worst {max(taken) * 1e3:.0f} ms, {late} of {len(taken)} above; the first {taken[0] * 1e3:.0f}; "
            f"{doubted} wait longer for more runs, at most {max(sure) * 1e3:.0f}"
        )
        yield Row("line: step, key to painted verdict", statistics.median(taken) * 1e3, LIMIT * 1e3, "ms", how)
        terminal.settle(1.0)
        idle = max(terminal.key_to_paint(key, quiet=0.02) for key in ["k", "j"] * 10)  # from the last row
        terminal.send("}")  # another case: all of it is to be executed
        terminal.settle(0.5)
        terminal.send("c")
        moves = [terminal.key_to_paint(key, quiet=0.02) for key in ["j", "k"] * 10]
        limit = max(100.0, 2e3 * idle)
        how = f"median {statistics.median(moves) * 1e3:.0f}; worst while idle {idle * 1e3:.0f}"
        yield Row("line: scrolling while the model runs, worst of 20", max(moves) * 1e3, limit, "ms", how)
    finally:
        terminal.close()


def _small_outputs(path: Path) -> list[bool]:
    """Of each node: whether its outputs have at most 16 KiB."""
    from tapml_tui.backends.operands import spec_bytes
    from tapml_tui.engine.units import Binding, bind
    from trace_format import open_trace

    with open_trace(path) as trace:
        bindings = [bind(trace, 0, node) for node in range(len(trace.graphs[trace.cases[0].graph]))]
    return [isinstance(one, Binding) and sum(map(spec_bytes, one.unit.outputs)) <= SMALL for one in bindings]


def _seconds(terminal: Terminal, key: str, text: str) -> tuple[float, float]:
    """Until the verdict is painted: what is known of it, where more than one run is needed; and until that is over."""
    sent = time.perf_counter()
    terminal.send(key)
    terminal.wait_for(text, *DOUBTS)
    painted = terminal.last_byte - sent
    terminal.wait_for(text)
    return painted, terminal.last_byte - sent


def _bytes(proxy: MisbehavingProxy, folder: Path) -> Iterator[Row]:
    from tapml_tui.backends.launch import TargetOptions, make_backends
    from tapml_tui.backends.operands import spec_bytes
    from tapml_tui.engine.units import Binding, bind
    from trace_format import open_trace

    minilm = models.trace("minilm")
    with open_trace(minilm) as trace:
        bound = [bind(trace, 0, node) for node in range(len(trace.graphs[trace.cases[0].graph]))]
    units = [one.unit for one in bound if isinstance(one, Binding)]
    arguments = sum(spec_bytes(spec) for unit in units for spec in unit.inputs)
    outputs = sum(spec_bytes(spec) for unit in units for spec in unit.outputs)
    options = TargetOptions(rpc=f"127.0.0.1:{proxy.port}", key=KEY)
    source, target = (Warm(one, str(folder)) for one in make_backends(options, cache_dir=folder / "kernels"))

    def moved(*, answer_only: bool = False) -> tuple[int, int, int]:
        before = dict(proxy.bytes)
        _, judged = run_all(minilm, (source, target), "chained", cases=1, answer_only=answer_only)
        return proxy.bytes[Way.UP] - before[Way.UP], proxy.bytes[Way.DOWN] - before[Way.DOWN], judged

    try:
        weights, _, _ = moved()
        up, down, judged = moved()
        mb = 1e-6
        how = f"of {arguments * mb:.1f} MB of arguments; {weights * mb:.1f} MB the first time: weights and kernels"
        yield Row("line: minilm chained, goes up", up * mb, arguments * mb / 20, "MB", how)
        how = f"outputs: {outputs * mb:.1f} MB, of which {judged * mb:.1f} MB had to be judged"
        yield Row("line: minilm chained, comes down", down * mb, 1.1 * outputs * mb, "MB", how)
        up, down, _ = moved(answer_only=True)
        how = f"of {arguments * mb:.1f} MB of arguments; up {up * mb:.2f}, down {down * mb:.2f}"
        yield Row("line: minilm --verdict end-to-end, both ways", (up + down) * mb, arguments * mb / 20, "MB", how)
    finally:
        for backend in (source, target):
            backend.really_close()
