"""A check over a tracker: three slow devices beside one. The kernels sleep, so that no core of ours is the limit."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.backends.servers import KEY, Farm, farm
from tests.bench import models
from tests.bench.backends import Warm
from tests.bench.bench_check import run_all
from tests.bench.report import Row

DEVICES = 3
SLEEPING = Path(__file__).parents[1] / "backends" / "sleeping_kernels.py"
SLEEP = "400_000"
"""Microseconds of each of its kernels: 106 of the Llama's 332 nodes. What cores are needed for must not count."""


def _seconds(made: Farm, jobs: int, scratch: str) -> float:
    """From devices that are there, and kernels that are compiled, to the last verdict."""
    from tapml_tui.backends.launch import TargetOptions, make_backends

    lower = Path(scratch, "sleeping.py")
    lower.write_text(re.sub("(?m)^MICROSECONDS = .*", f"MICROSECONDS = {SLEEP}", SLEEPING.read_text()))
    options = TargetOptions(tracker=f"127.0.0.1:{made.ports[0]}", key=KEY, lower=str(lower), jobs=jobs)
    source, target = make_backends(options, cache_dir=Path(scratch, "kernels"), state_dir=Path(scratch, "state"))
    backends = Warm(source, scratch), Warm(target, scratch, devices=jobs)
    try:
        seconds, judged = run_all(models.trace("llama"), backends, "isolated")
        assert judged, "nothing was judged"
        return seconds
    finally:
        for backend in backends:
            backend.really_close()


def rows() -> Iterator[Row]:
    """Each first with an empty cache, which is not timed."""
    with tempfile.TemporaryDirectory() as scratch, farm(DEVICES) as made:
        _seconds(made, DEVICES, scratch)
        made.wait_until_free(DEVICES)
        three = _seconds(made, DEVICES, scratch)
        made.wait_until_free(DEVICES)
        one = _seconds(made, 1, scratch)
    how = f"{one:.1f} s on one, {three:.1f} s on {DEVICES}, sleeping kernels"
    yield Row("check llama over a tracker: times as fast with 3 servers", one / three, 2.0, "x", how, at_least=True)
