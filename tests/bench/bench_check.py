"""`check` of the Llama beside the loop that an engineer would write; MiniLM's bytes on the wire."""

from __future__ import annotations

import queue
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench import models, peers
from tests.bench.backends import Warm
from tests.bench.report import Row

COLD_RUNS = 2
WARM_RUNS = 3


def _warm_backends(cache: Path, scratch: str) -> tuple[Warm, Warm]:
    from tapml_tui.backends.launch import TargetOptions, make_backends

    source, target = make_backends(TargetOptions(), cache_dir=cache)
    return Warm(source, scratch), Warm(target, scratch)


def run_all(
    path: Path, backends: tuple[Warm, Warm], mode: str, *, cases: int | None = None, answer_only: bool = False
) -> tuple[float, int]:
    """Executes and judges every node, or the answer alone; results of earlier runs are not used.

    Returns:
        (seconds from backends ready to the last verdict, bytes of the outputs that were judged)
    """
    from tapml_tui.engine import Engine
    from tapml_tui.engine.commands import Mode, RunNodes, SelectCase
    from tapml_tui.engine.events import Changed
    from trace_format import open_trace

    events: queue.SimpleQueue[object] = queue.SimpleQueue()
    judged = 0
    with open_trace(path) as trace:
        engine = Engine(
            trace,
            backends,
            on_event=events.put,
            mode=Mode(mode),
            reuse=False,
            fetch_limit=1 << 62,
            answer_only=answer_only,
        )
        engine.start()
        started = time.perf_counter()
        for case in range(cases or len(trace.cases)):
            for command in (SelectCase(case), RunNodes()):
                ticket = engine.submit(command)
                while not (isinstance(event := events.get(), Changed) and event.answers == ticket):
                    pass
            for node in range(len(engine.graph)):
                result = engine.result(node)
                for output in result.outputs if result else ():
                    if output.comparison is not None and output.bytes is not None:
                        judged += output.bytes.nbytes
        started = max(started, *(backend.ready_at for backend in backends))
        seconds = time.perf_counter() - started
        engine.close()
    return seconds, judged


def _timed(path: Path, cache: Path, scratch: str) -> tuple[float, int]:
    """Seconds of an isolated run in new processes, and the bytes that it moved over RPC."""
    backends = _warm_backends(cache, scratch)
    try:
        seconds, _ = run_all(path, backends, "isolated")
    finally:
        for backend in backends:
            backend.really_close()
    return seconds, backends[1].bytes_up + backends[1].bytes_down


def rows() -> Iterator[Row]:
    """Cold, warm, and the second chained pass."""
    from tests import models as built

    workload = built.llama()
    calls = peers.record_calls(workload.module, workload.cases[0].args, dict(workload.cases[0].kwargs))
    peers.healthy_loop(calls[:2])  # what is loaded at the first kernel is loaded now, as in our workers
    llama = models.trace("llama")
    with tempfile.TemporaryDirectory() as scratch:
        loops, colds = [], []
        for run in range(COLD_RUNS):  # in turn, so that a drift of the machine hits both
            seconds, ran, broke = peers.healthy_loop(calls)
            loops.append(seconds)
            cache = Path(scratch) / f"kernels{run}"
            colds.append(_timed(llama, cache, scratch)[0])
        loop, cold = statistics.median(loops), statistics.median(colds)
        yield Row(
            "check llama, cache empty",
            cold,
            loop / 2,
            "s",
            f"{COLD_RUNS} runs each; a loop over {ran + broke} signatures ({broke} broke) takes {loop:.2f} s: "
            f"{loop / cold:.1f}x faster",
        )

        warms, bandwidths, moved = [], [peers.rpc_bandwidth()], 0
        for _ in range(WARM_RUNS):
            warm, moved = _timed(llama, cache, scratch)
            warms.append(warm)
            bandwidths.append(peers.rpc_bandwidth())
        warm, bandwidth = statistics.median(warms), statistics.median(bandwidths)
        yield Row(
            "check llama, cache warm",
            warm,
            1.0 + 1.5 * moved / bandwidth,
            "s",
            f"{moved / 1e6:.1f} MB at {bandwidth / 1e6:.0f} MB/s",
        )

        backends = _warm_backends(Path(scratch) / "minilm", scratch)
        try:
            minilm = models.trace("minilm")
            run_all(minilm, backends, "chained", cases=1)
            backends[1].bytes_up = backends[1].bytes_down = 0
            seconds, judged = run_all(minilm, backends, "chained", cases=1)
        finally:
            for backend in backends:
                backend.really_close()
        inputs = 2 * built.MINILM_TOKENS * 8
        up, down = backends[1].bytes_up, backends[1].bytes_down
        how = f"up {up} B, down {down} B, judged {judged} B, case inputs {inputs} B, {seconds:.2f} s"
        yield Row("minilm chained, second pass: bytes", up + down, 1.1 * (inputs + judged), "B", how)
