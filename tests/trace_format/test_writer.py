"""Writing: whole or not at all, except where the disk or a limit ends it."""

from __future__ import annotations

import errno
import hashlib
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.trace_format.samples import INPUTS, everything, small_nodes, small_trace
from trace_format import (
    CannotOpen,
    Case,
    DanglingReference,
    DiskFull,
    DuplicateName,
    Floor,
    GraphCycle,
    InputRef,
    LimitExceeded,
    Malformed,
    Node,
    NodeRef,
    Provenance,
    SizeLimit,
    TraceWriter,
    Unwritable,
    Value,
    open_trace,
    verify,
)


def node(index: int, *args: object, **changes: object) -> Node:
    fields = {"id": f"n#{index}", "path": "", **changes}
    return Node(name="", op="aten.add.Tensor", module_type="", args=args, kwargs=(), outputs=1, **fields)  # type: ignore[arg-type]


def test_an_exception_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), TraceWriter(tmp_path / "t") as writer:
        writer.add_graph("g", INPUTS, (), small_nodes())
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_an_older_trace_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = small_trace(tmp_path / "t")
    before = path.read_bytes()
    with TraceWriter(path) as writer:
        writer.add_graph("g", (), (), ())
        writer.add_tensor(np.zeros(10))
        assert path.read_bytes() == before
    assert path.read_bytes() != before
    assert [entry.name for entry in tmp_path.iterdir()] == ["t"]


def test_nothing_takes_the_place_of_a_device_or_a_folder(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(CannotOpen, match="no regular file"):
            TraceWriter(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "pipe"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CannotOpen):
        TraceWriter(tmp_path / "nowhere" / "t")


def test_a_graph_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    cases = {
        GraphCycle: [node(0, NodeRef(1)), node(1)],
        DanglingReference: [node(0), node(1, NodeRef(0, 7))],
        DuplicateName: [node(0), node(0)],
        LimitExceeded: [node(0, path=".".join(["x"] * 5000))],
        Unwritable: [node(0, object())],
    }
    for error, nodes in cases.items():
        with pytest.raises(error), TraceWriter(tmp_path / "t") as writer:
            writer.add_graph("g", (), (), nodes)
    with pytest.raises(GraphCycle), TraceWriter(tmp_path / "t") as writer:
        writer.add_graph("g", (), (), [node(0, NodeRef(0))])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("ref", "value", "error"),
    [
        (NodeRef(9), Value("", ()), DanglingReference),
        (InputRef(5), Value("", ()), DanglingReference),
        (NodeRef(0), Value("float32", (3,), (), b"x" * 32), Unwritable),
        (NodeRef(0), Value("float32", (2**40,)), LimitExceeded),
        (NodeRef(0), Value("float32", (2**30, 2**30, 2**30)), LimitExceeded),
        (NodeRef(0), Value("", (), scalar=2**70), Unwritable),
        (NodeRef(0), Value("", (), note="x" * 70_000), Unwritable),
        (NodeRef(0), Value("float32", (), isolated=Floor(math.nan, 0.0)), Malformed),
        (NodeRef(0), Value("float32", (), chained=Floor(0.0, 0.0, ulps=-1.0)), Malformed),
        (NodeRef(0), Value("float32", (), isolated=Floor(0.0, 0.0, excess=math.nan)), Malformed),
        (NodeRef(0), Value("float32", (), peak=math.inf), Malformed),
    ],
)
def test_a_value_that_could_not_be_read_is_not_written(
    tmp_path: Path, ref: NodeRef | InputRef, value: Value, error: type[Exception]
) -> None:
    with TraceWriter(tmp_path / "t") as writer:
        writer.add_graph("g", INPUTS, (), small_nodes())
        writer.add_case(Case("c", 0))
        with pytest.raises(error):
            writer.add_value(0, ref, value)
    assert verify(tmp_path / "t") == []


def test_a_value_has_the_size_of_its_tensor(tmp_path: Path) -> None:
    with TraceWriter(tmp_path / "t") as writer:
        writer.add_graph("g", INPUTS, (), small_nodes())
        writer.add_case(Case("c", 0))
        digest = writer.add_tensor(np.zeros(3, np.float32))
        with pytest.raises(Unwritable, match="16 bytes"):
            writer.add_value(0, NodeRef(0), Value("float32", (4,), (1,), digest))
        with pytest.raises(Unwritable):
            writer.add_tensor(b"12345", "float32")
        writer.add_value(0, NodeRef(0), Value("float32", (3,), (1,), digest))
        with pytest.raises(DuplicateName):
            writer.add_value(0, NodeRef(0), Value("float32", (3,), (1,), digest))


def fill(writer: TraceWriter) -> None:
    """Write values until something stops it."""
    writer.add_graph("g", INPUTS, (), [node(index) for index in range(2000)])
    writer.add_case(Case("c", 0))
    for index in range(2000):
        digest = writer.add_tensor(np.full(700, index, np.float32), "float32")
        writer.add_value(0, NodeRef(index), Value("float32", (700,), (1,), digest))


@pytest.mark.parametrize("limit", [30_000, 100_000, 600_000, 1_000_003, 3_000_000])
def test_at_its_largest_size_a_trace_ends_readable(tmp_path: Path, limit: int) -> None:
    path = tmp_path / "t"
    with pytest.raises(SizeLimit), TraceWriter(path, Provenance(seed=1), max_bytes=limit) as writer:
        fill(writer)
    assert [entry.name for entry in tmp_path.iterdir()] == ["t"]
    assert limit * 0.5 < path.stat().st_size <= limit
    with open_trace(path) as trace:
        assert trace.complete and "largest size" in trace.damage[0]
        for index in range(len(trace.graphs[0])):
            assert trace.graphs[0].node(index) == node(index)
            value = trace.value(0, NodeRef(index)) if trace.cases else None
            if value is not None and value.tensor is not None:
                assert trace.array(value)[0] == index
    assert {finding.severity for finding in verify(path)} <= {"warning", "error"}


def test_where_nothing_fits_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(SizeLimit):
        TraceWriter(tmp_path / "t", max_bytes=100)
    assert list(tmp_path.iterdir()) == []


def test_a_trace_within_its_limit_is_whole(tmp_path: Path) -> None:
    with TraceWriter(tmp_path / "t", max_bytes=20_000_000) as writer:
        fill(writer)
    with open_trace(tmp_path / "t") as trace:
        assert trace.complete and trace.damage == ()


def test_a_full_disk_ends_in_a_readable_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault is made: the real one, below, needs the right to mount."""
    room = 3_000_000
    write, written = os.write, 0

    def limited(descriptor: int, data: bytes) -> int:
        nonlocal written
        if stopped and written + len(data) > room:
            part = max(0, room - written)
            if part == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            data = data[:part]
        count = write(descriptor, data)
        written += count
        return count

    stopped = True
    monkeypatch.setattr("trace_format.output.os.write", limited)
    release = __import__("trace_format.output", fromlist=["Output"]).Output.release

    def freed(self: object) -> None:
        nonlocal stopped
        stopped = False  # what was held back is free now
        release(self)

    monkeypatch.setattr("trace_format.output.Output.release", freed)
    with pytest.raises(DiskFull), TraceWriter(tmp_path / "t") as writer:
        fill(writer)
    with open_trace(tmp_path / "t") as trace:
        assert trace.complete and "disk is full" in trace.damage[0]
        assert trace.array(trace.value(0, NodeRef(0)))[0] == 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["t"]


FULL_DISK = """
import sys
from pathlib import Path
from tests.trace_format.test_writer import fill
from trace_format import DiskFull, TraceWriter, open_trace
path = Path(sys.argv[1], "t")
try:
    with TraceWriter(path) as writer:
        fill(writer)
    print("it fitted")
except DiskFull as error:
    with open_trace(path) as trace:
        print("full", trace.complete, len(trace.graphs[0]), trace.damage[0])
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="no unshare here")
def test_a_really_full_disk_ends_in_a_readable_trace(tmp_path: Path) -> None:
    shell = f"mount -t tmpfs -o size=4m none {tmp_path} && exec {sys.executable} -c '{FULL_DISK}' {tmp_path}"
    done = subprocess.run(["unshare", "-rm", "sh", "-c", shell], capture_output=True, text=True, check=False)
    if "mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip("not allowed to mount here")
    assert done.stdout.startswith("full True 2000 writing stopped: the disk is full"), done.stderr


def test_a_closed_trace_takes_nothing_more(tmp_path: Path) -> None:
    writer = TraceWriter(tmp_path / "t")
    writer.add_graph("g", (), (), ())
    writer.close()
    writer.close()
    with pytest.raises(Unwritable):
        writer.add_note("late")
    writer.abort()
    with open_trace(tmp_path / "t") as trace:
        assert everything(trace)["notes"] == ()


def test_killed_while_writing_it_can_be_recovered(tmp_path: Path) -> None:
    script = (
        "import os, sys; from tests.trace_format.test_writer import *\n"
        "writer = TraceWriter(sys.argv[1]); fill(writer); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "t")], check=False)
    (left,) = tmp_path.iterdir()
    assert left.name.endswith(".partial")
    with open_trace(left) as trace:
        assert not trace.complete and len(trace.graphs[0]) == 2000
        assert trace.array(trace.value(0, NodeRef(100)))[0] == 100


def test_a_hash_may_be_computed_elsewhere(tmp_path: Path) -> None:
    data = np.arange(1 << 18, dtype=np.float32)
    writer = TraceWriter(tmp_path / "t")
    writer.add_graph("g", (), (), ())
    digest = hashlib.sha256(data).digest()
    assert writer.add_tensor(data, "float32", lambda: digest) == digest
    assert writer.add_tensor(data.copy(), "float32") == digest
    writer.close()
    assert verify(tmp_path / "t") == []
    with pytest.raises(Unwritable):
        writer.add_tensor(data + 1)
