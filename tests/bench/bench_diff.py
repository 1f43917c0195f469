"""Two runs of MiniLM, every floating value of one a little off: `diff` beside reading both files from the disk."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np

from tapml_tui.engine.units import Binding, bind
from tapml_tui.engine.values import References
from tapml_tui.headless.diff import diff
from tests.bench.models import trace
from tests.bench.report import Row, interleaved
from trace_format import open_run, open_trace
from trace_format.model import RunOutput, RunRecord

TIMES = 11
BLOCK = 1 << 20


def _write(carved: Path, path: Path, *, off: bool) -> None:
    """A run with all values of all cases, as if a target had computed them."""
    with open_trace(carved) as base, open_run(path, base.content_id) as run:
        references = References(base)
        for number, case in enumerate(base.cases):
            graph = base.graphs[case.graph]
            for node in range(len(graph)):
                binding = bind(base, number, node)
                values = binding.values if isinstance(binding, Binding) else ()
                arrays = [array for array in map(references.array, values) if array is not None]
                if off:
                    arrays = [a + np.float32(1e-6) if a.dtype == np.float32 else a for a in arrays]
                outputs = tuple(RunOutput(array.dtype.name, array.shape) for array in arrays)
                record = RunRecord(f"{number}/{node}", graph.node_id(node), case.name, "target", outputs=outputs)
                run.append(record, arrays)


def _cold(paths: Sequence[Path], do: Callable[[], object]) -> float:
    """Seconds, with the files out of memory as far as the system allows."""
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    begun = time.perf_counter()
    do()
    return time.perf_counter() - begun


def _read(paths: Sequence[Path]) -> None:
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while file.read(BLOCK):
                pass


def rows() -> Iterator[Row]:
    """Every value is looked at: none are equal."""
    with tempfile.TemporaryDirectory(dir=trace("minilm").parent) as folder:
        paths = [Path(folder, name) for name in ("a.run", "b.run")]
        for path in paths:
            _write(trace("minilm"), path, off=path is paths[1])

        def ours() -> None:
            with redirect_stdout(StringIO()):
                diff(str(paths[0]), str(paths[1]), as_json=False)

        seconds, reading = interleaved(TIMES, [lambda: _cold(paths, ours), lambda: _cold(paths, lambda: _read(paths))])
        size = sum(path.stat().st_size for path in paths)
        how = f"{size / 1e6:.0f} MB; diff {size / seconds / 1e6:.0f} MB/s, reading {size / reading / 1e6:.0f} MB/s"
        yield Row("diff of two runs of MiniLM, beside reading them", seconds / reading, 2.0, "x", how)
