"""Sizes are known beforehand, and a disk that fills up leaves a readable trace."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from trace_format import NodeRef, open_trace

pytestmark = pytest.mark.torch

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["tiny", "resnet", "llama", "awkward"])
def test_the_announced_size_is_kept_and_no_wild_guess(tmp_path, name):
    from tapml_tui.carve import Workload, carve, carve_workload
    from tests import models

    announced = []
    built = getattr(models, name)()
    options = {"out": tmp_path / "a.trace", "on_size": announced.append, "floors": False}
    report = carve_workload(built, **options) if isinstance(built, Workload) else carve(*built, **options)
    assert announced == [report.estimated]
    assert report.size == (tmp_path / "a.trace").stat().st_size <= report.estimated
    assert report.estimated < 1.3 * report.size + 4096 * report.nodes * report.cases


def test_max_size_refuses_before_anything_is_written(tmp_path):
    from tapml_tui.carve import CarveError, carve_workload
    from tests import models

    with pytest.raises(CarveError, match="--max-size") as refused:
        carve_workload(models.resnet(), out=tmp_path / "a.trace", max_size=100_000)
    assert "--include" in refused.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_too_little_disk_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    from tapml_tui.carve import CarveError, carve_workload
    from tests import models

    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    with pytest.raises(CarveError, match=r"has 0\.0 MB left"):
        carve_workload(models.resnet(), out=tmp_path / "a.trace")
    assert list(tmp_path.iterdir()) == []


FULL_DISK = """
import shutil, sys
from pathlib import Path
from tapml_tui.carve.command import run
from trace_format import NodeRef, open_trace

# There was room when it was asked for; somebody else took it.
shutil.disk_usage = lambda _: shutil._ntuple_diskusage(10**12, 0, 10**12)
out = Path(sys.argv[1])
code = run("tests/models.py:mixtral", str(out / "cut.trace"))
with open_trace(out / "cut.trace") as trace:
    first = trace.value(0, NodeRef(0))
    assert trace.array(first).shape == first.shape
    assert len(trace.graphs[0]) > 200
assert [p.name for p in out.iterdir()] == ["cut.trace"]
sys.exit(code)
"""


def test_a_full_disk_ends_in_a_readable_trace(tmp_path):
    """A real one: a file system of our own that is too small for the trace."""
    mount = f"mount -t tmpfs -o size=3600k tmpfs {tmp_path}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here, not even in a namespace of our own")
    ended = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f'{mount} && exec "$@"', "sh", sys.executable, "-c", FULL_DISK, str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "the disk is full" in ended.stderr


def test_a_size_that_only_the_data_can_tell_is_bounded_while_writing(tmp_path):
    """torch.export cannot know how many elements a mask picks: the limit holds all the same."""
    import torch

    from tapml_tui.carve import carve
    from trace_format import SizeLimit

    class Picks(torch.nn.Module):
        def forward(self, x):
            return x[x > 0]

    announced = []
    with pytest.raises(SizeLimit, match="can be read"):
        carve(Picks(), (torch.arange(100_000.0),), out=tmp_path / "a.trace", max_size=700_000, on_size=announced.append)
    assert announced[0] <= 700_000
    assert (tmp_path / "a.trace").stat().st_size <= 700_000
    with open_trace(tmp_path / "a.trace") as trace:
        assert trace.array(trace.value(0, NodeRef(0))).sum() == 99_999


def test_an_error_while_writing_comes_out_and_leaves_no_thread(tmp_path, monkeypatch):
    import threading

    from tapml_tui.carve import carve
    from tests import models
    from trace_format import TraceWriter

    def broken(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(TraceWriter, "add_tensor", broken)
    module, args = models.tiny()
    with pytest.raises(OSError, match="Input/output"):
        carve(module, args, out=tmp_path / "a.trace")
    assert not [t for t in threading.enumerate() if t.name == "carve-writer"]
    assert list(tmp_path.iterdir()) == []


def test_what_waits_to_be_written_is_bounded(monkeypatch):
    import threading

    from tapml_tui.carve import sink as sinks
    from tapml_tui.carve.entry import Entry, Form, Stored
    from trace_format import NodeRef

    monkeypatch.setattr(sinks, "MAX_WAITING_BYTES", 1 << 20)
    allowed, written = threading.Event(), []

    class Slow:
        def add_tensor(self, array, dtype, digest, sums):
            allowed.wait(30)
            written.append(array.nbytes)
            return b""

        def add_value(self, case, ref, value):
            pass

    def entry():
        return Entry(0, NodeRef(0), Form("uint8", (1 << 18,)), Stored(), np.zeros(1 << 18, np.uint8))

    class Idle:
        def begin(self, array):
            return None

    sink = sinks.Sink(Slow(), Idle())
    producer = threading.Thread(target=lambda: [sink.put(entry()) for _ in range(32)], daemon=True)
    producer.start()
    producer.join(1)
    assert producer.is_alive(), "it ran ahead of a writer that does not write"
    allowed.set()
    producer.join(30)
    sink.close()
    assert sum(written) == 32 << 18
