"""Hostile files: every cause has its own error, in bounded time and memory."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import msgpack
import numpy as np
import pytest

from tests.trace_format.fuzz import records_of, seal
from tests.trace_format.samples import small_trace
from trace_format import (
    CannotOpen,
    DanglingReference,
    DuplicateName,
    Floor,
    GraphCycle,
    IndexInvalid,
    InputRef,
    LimitExceeded,
    Malformed,
    NodeRef,
    NotATrace,
    Provenance,
    RecordDamaged,
    SizeMismatch,
    TensorMissing,
    Trace,
    TraceError,
    Truncated,
    UnknownDtype,
    UnsupportedVersion,
    open_trace,
    verify,
)
from trace_format.codec import GraphHead, Head, decode_summary, encode_graph, encode_head, encode_summary
from trace_format.model import GraphInput, InputKind
from trace_format.records import CRC, HEADER, MAGIC, MARKER, Op, pack_record, trailer_bytes
from trace_format.tables import Tables

NODE_0 = msgpack.ExtType(1, b"\0" * 8)


def forge(path: Path, records: Sequence[tuple[Op, bytes]]) -> Path:
    """A trace of any bodies with right checksums, without a footer."""
    data = MAGIC + pack_record(8, Op.HEADER, encode_head(Head("trace", 0, None, Provenance())))
    for opcode, body in records:
        data += pack_record(len(data), opcode, body)
    path.write_bytes(data)
    return path


def graph_body(nodes: int = 1) -> bytes:
    return encode_graph(GraphHead(0, "g", (GraphInput("x", InputKind.USER),), (), nodes))


def node_body(index: int = 0, identity: str = "n", args: object = (), outputs: object = 1, **changes: object) -> bytes:
    fields = {
        "graph": 0,
        "index": index,
        "id": identity,
        "name": "",
        "op": "a.b.c",
        "path": "",
        "type": "",
        "args": args,
    }
    fields |= {"kwargs": [], "outputs": outputs, "source": [], "note": ""} | changes
    return msgpack.packb(list(fields.values()))


def value_body(dtype: object = "float32", shape: object = (), tensor: object = None, **changes: object) -> bytes:
    fields = {"case": 0, "ref": NODE_0, "dtype": dtype, "shape": shape, "strides": [], "tensor": tensor, "scalar": None}
    return msgpack.packb(list((fields | {"rep": None, "iso": None, "chained": None, "note": ""} | changes).values()))


GRAPH = (Op.GRAPH, graph_body())
NODE = (Op.NODE, node_body())
CASE = (Op.CASE, msgpack.packb([0, "c", 0, [], ""]))


def use_all(trace: Trace) -> None:
    for graph in trace.graphs:
        for index in range(len(graph)):
            graph.node(index)
    if trace.cases:
        trace.array(trace.value(0, NodeRef(0)))


DEEP = b"\x91" * 200_000 + b"\xc0"
NESTED = msgpack.packb([[[[1]]]])
for _ in range(40):
    NESTED = b"\x91" + NESTED

HOSTILE: dict[str, tuple[type[TraceError], list[tuple[Op, bytes]]]] = {
    "a node reads itself": (GraphCycle, [GRAPH, (Op.NODE, node_body(args=[NODE_0]))]),
    "a node reads a later one": (
        GraphCycle,
        [GRAPH, NODE, (Op.NODE, node_body(1, "m", [msgpack.ExtType(1, b"\5\0\0\0\0\0\0\0")]))],
    ),
    "a node reads an output that is not": (
        DanglingReference,
        [GRAPH, NODE, (Op.NODE, node_body(1, "m", [msgpack.ExtType(1, b"\0\0\0\0\7\0\0\0")]))],
    ),
    "a node reads an input that is not": (
        DanglingReference,
        [GRAPH, (Op.NODE, node_body(args=[msgpack.ExtType(2, b"\xff\xff\xff\xff")]))],
    ),
    "two nodes of one id": (DuplicateName, [GRAPH, NODE, (Op.NODE, node_body(1))]),
    "a value twice": (DuplicateName, [GRAPH, NODE, CASE, (Op.VALUE, value_body()), (Op.VALUE, value_body())]),
    "a node of no graph": (DanglingReference, [NODE]),
    "a node out of order": (Malformed, [GRAPH, (Op.NODE, node_body(7))]),
    "a case of no graph": (DanglingReference, [CASE]),
    "a case of itself": (DanglingReference, [GRAPH, (Op.CASE, msgpack.packb([0, "c", 0, [[0, 0, 0]], ""]))]),
    "a value of no case": (DanglingReference, [GRAPH, NODE, (Op.VALUE, value_body())]),
    "a tensor that is not there": (TensorMissing, [GRAPH, NODE, CASE, (Op.VALUE, value_body(tensor=b"x" * 32))]),
    "a value of 2^40 elements": (LimitExceeded, [GRAPH, NODE, CASE, (Op.VALUE, value_body(shape=[1 << 40]))]),
    "sizes whose product overflows": (
        LimitExceeded,
        [GRAPH, NODE, CASE, (Op.VALUE, value_body(shape=[1 << 32, 1 << 32, 0]))],
    ),
    "a negative size": (LimitExceeded, [GRAPH, NODE, CASE, (Op.VALUE, value_body(shape=[-1]))]),
    "a size above 64 bits": (Malformed, [GRAPH, NODE, CASE, (Op.VALUE, value_body()[:-9] + b"\xcf" + b"\xff" * 9)]),
    "100 dimensions": (LimitExceeded, [GRAPH, NODE, CASE, (Op.VALUE, value_body(shape=[1] * 100))]),
    "an unknown dtype": (UnknownDtype, [GRAPH, NODE, CASE, (Op.VALUE, value_body(dtype="float3"))]),
    "a floor that is negative": (Malformed, [GRAPH, NODE, CASE, (Op.VALUE, value_body(iso=[-1.0, 0.0, ""]))]),
    "a floor that is no number": (Malformed, [GRAPH, NODE, CASE, (Op.VALUE, value_body(iso=[0.0, math.nan, ""]))]),
    "ulps without an end": (Malformed, [GRAPH, NODE, CASE, (Op.VALUE, value_body(chained=[0, 0, "", math.inf]))]),
    "ulps that are text": (Malformed, [GRAPH, NODE, CASE, (Op.VALUE, value_body(chained=[0, 0, "", "1"]))]),
    "a peak that is no number": (Malformed, [GRAPH, NODE, CASE, (Op.VALUE, value_body(peak=math.nan))]),
    "a peak that is true": (Malformed, [GRAPH, NODE, CASE, (Op.VALUE, value_body(peak=True))]),
    "an rms that is negative": (Malformed, [GRAPH, NODE, CASE, (Op.VALUE, value_body(peak=None, rms=-1))]),
    "2^40 outputs": (LimitExceeded, [GRAPH, (Op.NODE, node_body(outputs=1 << 40))]),
    "a string above the limit": (Malformed, [GRAPH, (Op.NODE, node_body(identity="x" * 70_000))]),
    "a path of 2000 levels": (LimitExceeded, [GRAPH, (Op.NODE, node_body(path="a." * 2000))]),
    "lists too deep for msgpack": (Malformed, [GRAPH, (Op.NODE, DEEP)]),
    "lists too deep for us": (LimitExceeded, [GRAPH, (Op.NODE, node_body(args=msgpack.unpackb(NESTED)))]),
    "a list that claims 2^32 items": (Malformed, [GRAPH, (Op.NODE, b"\xdd\xff\xff\xff\xff")]),
    "nested lists that claim much": (Malformed, [GRAPH, (Op.NODE, b"\xdc\xff\xff" * 340_000)]),
    "a map": (Malformed, [GRAPH, (Op.NODE, b"\x81\xa1a\x01")]),
    "text that is no UTF-8": (Malformed, [GRAPH, (Op.NODE, node_body().replace(b"a.b.c", b"a.\xff.c"))]),
    "an unknown extension": (Malformed, [GRAPH, (Op.NODE, node_body(args=[msgpack.ExtType(77, b"")]))]),
    "a short reference": (Malformed, [GRAPH, (Op.NODE, node_body(args=[msgpack.ExtType(1, b"abc")]))]),
    "too few fields": (Malformed, [GRAPH, (Op.NODE, msgpack.packb([0, 0, "n"]))]),
    "a graph that comes second": (Malformed, [(Op.GRAPH, encode_graph(GraphHead(1, "g", (), (), 0)))]),
    "2^30 nodes to come": (LimitExceeded, [(Op.GRAPH, encode_graph(GraphHead(0, "g", (), (), 1 << 30)))]),
    "a source line that is not there": (DanglingReference, [GRAPH, (Op.NODE, node_body(source=[9]))]),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_each_cause_has_its_error(tmp_path: Path, what: str) -> None:
    error, records = HOSTILE[what]
    path = forge(tmp_path / "t", records)
    with pytest.raises(error) as caught, open_trace(path) as trace:
        use_all(trace)
    assert type(caught.value) is error
    assert any(finding.severity == "error" for finding in verify(path))


def test_what_is_no_trace_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "t"
    for error, data in (
        (NotATrace, b""),
        (NotATrace, b"\x7fELF and more"),
        (Truncated, MAGIC[:5]),
        (Truncated, MAGIC),
        (UnsupportedVersion, MAGIC[:-1] + b"\x02" + b"\0" * 50),
        (RecordDamaged, MAGIC + b"\0" * 50),
        (Malformed, MAGIC + pack_record(8, Op.NOTE, b"\x91\xa1x")),
        (Malformed, MAGIC + pack_record(8, Op.HEADER, b"\x91\xa1x")),
    ):
        path.write_bytes(data)
        with pytest.raises(error):
            open_trace(path)
        assert [finding.severity for finding in verify(path)] == ["error"]


def test_what_cannot_be_opened_is_an_error_of_ours(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "nothing", tmp_path, tmp_path / "pipe", tmp_path / ("x" * 300), "a\0b"):
        with pytest.raises(CannotOpen):
            open_trace(path)


@pytest.mark.parametrize("claim", [(Op.NODE, 1 << 63, 5), (Op.TENSOR, (1 << 64) - 1, 36), (Op.NODE, 0, (1 << 32) - 1)])
def test_a_header_that_claims_too_much(tmp_path: Path, claim: tuple[int, int, int]) -> None:
    path = small_trace(tmp_path / "t")
    data = bytearray(path.read_bytes())
    record = next(r for r in records_of(data) if r.opcode == Op.NODE)
    head = HEADER.pack(MARKER, *claim, 0)[:-4]
    data[record.offset : record.offset + HEADER.size] = head + CRC.pack(zlib.crc32(head, record.offset))
    path.write_bytes(data)
    with open_trace(path) as trace, pytest.raises(LimitExceeded):
        trace.graphs[0].node(0)
    path.write_bytes(data[:-1])  # scanned
    with pytest.raises(LimitExceeded):
        open_trace(path)
    assert any("claims" in finding.message for finding in verify(path))


def footer_changed(path: Path, opcode: Op, column: int, change: Callable[[np.ndarray], object], dtype: str) -> Path:
    """The small trace with one column of its footer changed and sealed."""
    data = bytearray(small_trace(path).read_bytes())
    record = next(r for r in records_of(data) if r.opcode == opcode)
    body = bytes(data[record.body : record.body + record.body_size])
    at, size = Tables(body)._places[column]
    array = np.frombuffer(data, dtype, size // np.dtype(dtype).itemsize, record.body + at)
    change(array)
    del array
    seal(data, record)
    path.write_bytes(data)
    return path


def put(place: int, value: int) -> Callable[[np.ndarray], object]:
    return lambda array: array.__setitem__(place, value)


@pytest.mark.parametrize(
    ("column", "change", "dtype", "error"),
    [
        (0, put(1, 1 << 40), "<u8", IndexInvalid),
        (0, put(2, 9), "<u8", IndexInvalid),
        (0, put(3, 9), "<u8", IndexInvalid),
        (1, put(2, 1 << 62), "<u8", IndexInvalid),
        (2, put(2, 1 << 31), "<u4", IndexInvalid),
        (3, put(2, 1 << 31), "<u4", IndexInvalid),
        (4, put(2, 1 << 31), "<u4", LimitExceeded),
        (5, put(2, 1 << 62), "<u8", IndexInvalid),
        (5, put(-1, 1 << 62), "<u8", IndexInvalid),
        (14, put(1, 1 << 62), "<i8", IndexInvalid),
        (15, put(0, 6), "<i4", GraphCycle),
        (15, put(0, -(1 << 31)), "<i4", DanglingReference),
        (16, put(1, 1 << 20), "<i4", DanglingReference),
        (18, put(0, 1 << 30), "<u4", IndexInvalid),
        (13, put(4, 77), "u1", IndexInvalid),
        (17, put(0, (1 << 64) - 1), "<u8", IndexInvalid),
    ],
)
def test_a_footer_that_contradicts_itself(
    tmp_path: Path, column: int, change: Callable[[np.ndarray], object], dtype: str, error: type[TraceError]
) -> None:
    path = footer_changed(tmp_path / "t", Op.GRAPH_INDEX, column, change, dtype)
    with open_trace(path) as trace, pytest.raises(error):
        len(trace.graphs[0])
    assert any(finding.severity == "error" for finding in verify(path))


def test_a_footer_that_contradicts_the_records(tmp_path: Path) -> None:
    def swap(array: np.ndarray) -> None:
        array[1], array[2] = int(array[2]), int(array[1])

    path = footer_changed(tmp_path / "t", Op.GRAPH_INDEX, 1, swap, "<u8")
    with open_trace(path) as trace:
        assert trace.graphs[0].node(0)
        with pytest.raises(IndexInvalid):
            trace.graphs[0].node(1)
    path = footer_changed(tmp_path / "t", Op.GRAPH_INDEX, 15, put(4, 2), "<i4")
    with open_trace(path) as trace, pytest.raises(IndexInvalid):
        trace.graphs[0].node(3)
    path = footer_changed(tmp_path / "t", Op.VALUE_INDEX, 1, swap, "<u8")
    with open_trace(path) as trace, pytest.raises(IndexInvalid):
        trace.value(0, InputRef(0))
    path = footer_changed(tmp_path / "t", Op.TENSOR_INDEX, 0, put(33, 0xFF), "u1")
    with pytest.raises(TraceError), open_trace(path) as trace:
        use_all(trace)
    for opcode in (Op.GRAPH_INDEX, Op.VALUE_INDEX):
        assert verify(footer_changed(tmp_path / "t", opcode, 1, swap, "<u8"))


def test_a_summary_names_no_bytes_twice(tmp_path: Path) -> None:
    """Or a small file could take for ever to open."""
    path = small_trace(tmp_path / "t")
    data = path.read_bytes()
    record = records_of(data)[-1]
    summary = decode_summary(data[record.body : record.body + record.body_size])
    for wrong in (
        summary._replace(notes=summary.notes * 1000),
        summary._replace(cases=summary.cases * 2),
        summary._replace(tensors=summary.sources),
        summary._replace(graphs=((1 << 47, 1 << 47),)),
    ):
        forged = data[: record.offset] + pack_record(record.offset, Op.SUMMARY, encode_summary(wrong))
        path.write_bytes(forged + trailer_bytes(record.offset))
        with pytest.raises((IndexInvalid, Truncated)), open_trace(path) as trace:
            assert not trace.complete  # what points past the end is damage, and scanned
            raise Truncated("as expected")


IN_LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
from tests.trace_format.test_errors import HOSTILE, forge, use_all
from trace_format import TraceError, open_trace, verify
now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + (768 << 20), resource.RLIM_INFINITY))
for error, records in HOSTILE.values():
    path = forge(Path(sys.argv[1]), records)
    try:
        with open_trace(path) as trace:
            use_all(trace)
    except TraceError:
        verify(path)
    else:
        sys.exit("no error")
"""


def test_hostile_files_take_little_memory(tmp_path: Path) -> None:
    command = [sys.executable, "-c", IN_LITTLE_MEMORY, str(tmp_path / "t")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_value_of_another_size_than_its_tensor(tmp_path: Path) -> None:
    path = small_trace(tmp_path / "t")
    data = bytearray(path.read_bytes())
    for record in records_of(data):
        at = data.find(b"float32\x92\x02\x02", record.body, record.body + record.body_size)
        if record.opcode == Op.VALUE and at >= 0:
            data[at + 8] = 3
            seal(data, record)
    path.write_bytes(data)
    with open_trace(path) as trace, pytest.raises(SizeMismatch):
        trace.value(0, NodeRef(0))


def test_errors_quote_no_raw_bytes_of_the_file(tmp_path: Path) -> None:
    evil = "\x1b]0;evil\x07\u202e\n"
    path = forge(tmp_path / "t", [GRAPH, (Op.NODE, node_body(identity=evil)), (Op.NODE, node_body(1, evil))])
    with pytest.raises(DuplicateName) as caught:
        open_trace(path)
    assert str(caught.value).isprintable()


def test_references_out_of_range_are_errors(tmp_path: Path) -> None:
    with open_trace(small_trace(tmp_path / "t")) as trace:
        for read in (
            lambda: trace.value(9, NodeRef(0)),
            lambda: trace.value(0, NodeRef(99)),
            lambda: trace.value(0, NodeRef(0, 4)),
            lambda: trace.value(0, InputRef(-1)),
            lambda: trace.graphs[0].node(-1),
            lambda: trace.graphs[0].op(7),
        ):
            with pytest.raises(DanglingReference):
                read()


def test_unknown_records_are_skipped(tmp_path: Path) -> None:
    records = [(77, b"from the future"), GRAPH, (78, b""), NODE, CASE]
    path = forge(tmp_path / "t", records)  # type: ignore[arg-type]
    with open_trace(path) as trace:
        assert len(trace.graphs[0]) == 1 and len(trace.cases) == 1
    assert [f.severity for f in verify(path) if "unknown" in f.message] == ["warning", "warning"]


def test_fields_appended_by_a_later_version_are_ignored(tmp_path: Path) -> None:
    later = msgpack.packb([*msgpack.unpackb(NODE[1]), "something new"])
    with open_trace(forge(tmp_path / "t", [GRAPH, (Op.NODE, later)])) as trace:
        assert trace.graphs[0].node(0).id == "n"


def test_sizes_that_version_1_0_did_not_have_may_be_missing_or_nil(tmp_path: Path) -> None:
    old, unknown = value_body(iso=[1, 2, "float64"]), value_body(iso=[1, 2, "float64", None], peak=None, rms=None)
    known = value_body(iso=[1, 2, "float64", 3, 0.25, "newer"], peak=4, rms=0.5, newer="yet")
    nothing = (math.inf, math.inf, None, None)
    for body, (ulps, excess, peak, rms) in ((old, nothing), (unknown, nothing), (known, (3.0, 0.25, 4.0, 0.5))):
        with open_trace(forge(tmp_path / "t", [GRAPH, NODE, CASE, (Op.VALUE, body)])) as trace:
            value = trace.value(0, NodeRef(0))
            assert value is not None and value.isolated == Floor(1.0, 2.0, "float64", ulps, excess)
            assert (value.peak, value.rms) == (peak, rms)
