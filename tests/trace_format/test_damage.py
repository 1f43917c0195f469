"""Broken files: read as far as they are good, said what is wrong, recovered."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from tests.trace_format.fuzz import records_of, use
from tests.trace_format.samples import INPUTS, everything, small_nodes, small_trace
from trace_format import (
    BlockDamaged,
    Case,
    InputRef,
    NodeRef,
    RecordDamaged,
    TraceError,
    TraceWriter,
    Value,
    open_trace,
    recover,
    verify,
)
from trace_format.file import TraceFile
from trace_format.limits import BLOCK
from trace_format.records import FOOTER_OPS, MARKER, TRAILER, Op


def offset_of(data: bytes, opcode: Op, number: int = 0) -> int:
    """Where the body of a record is."""
    return [record.body for record in records_of(data) if record.opcode == opcode][number]


def damaged(path: Path, opcode: Op, number: int = 0) -> Path:
    """The small trace with one record's body changed."""
    data = bytearray(small_trace(path).read_bytes())
    data[offset_of(data, opcode, number) + 3] ^= 0x40
    path.write_bytes(data)
    return path


def test_without_its_footer_a_trace_says_the_same(tmp_path: Path) -> None:
    path = small_trace(tmp_path / "t")
    with open_trace(path) as trace:
        whole = everything(trace)
    data = path.read_bytes()
    first = offset_of(data, Op.GRAPH_INDEX) - 24
    for keep in (len(data) - 1, len(data) - 24, first + 5, first):
        path.write_bytes(data[:keep])
        with open_trace(path) as trace:
            assert not trace.complete and trace.damage
            assert everything(trace) == whole


@pytest.mark.slow
def test_cut_at_every_byte_it_is_readable_up_to_the_cut(tmp_path: Path) -> None:
    path = small_trace(tmp_path / "t")
    data = path.read_bytes()
    ends = {record.end: record.opcode for record in records_of(data)}
    header_end = min(ends)
    nodes = small_nodes()
    opened = 0
    for cut in reversed(range(len(data))):
        os.truncate(path, cut)
        try:
            with open_trace(path) as trace:
                opened += 1
                assert not trace.complete
                there = sum(1 for end, opcode in ends.items() if end <= cut and opcode == Op.NODE)
                assert sum(map(len, trace.graphs)) == there
                if there and (cut in ends or cut % 8 == 0):
                    assert [trace.graphs[0].node(index) for index in range(there)] == list(nodes[:there])
                if cut % 50 == 0:
                    use(trace)
        except TraceError:
            assert cut < header_end
    assert opened == len(data) - header_end


def test_damage_in_the_footer_is_survived_by_a_scan(tmp_path: Path) -> None:
    for opcode in (Op.GRAPH_INDEX, Op.VALUE_INDEX, Op.TENSOR_INDEX, Op.SOURCE_INDEX, Op.SUMMARY):
        path = small_trace(tmp_path / "t")
        with open_trace(path) as trace:
            whole = everything(trace)
        with open_trace(damaged(path, opcode)) as trace:
            assert not trace.complete
            assert "footer is damaged" in trace.damage[0]
            assert everything(trace) == whole


def test_a_damaged_node_concerns_no_other(tmp_path: Path) -> None:
    path = damaged(tmp_path / "t", Op.NODE, 2)
    for cut in (0, 30):
        path.write_bytes(path.read_bytes()[: len(path.read_bytes()) - cut])
        with open_trace(path) as trace:
            graph = trace.graphs[0]
            assert len(graph) == 7
            with pytest.raises(RecordDamaged):
                graph.node(2)
            for index in (0, 1, 3, 4, 5, 6):
                assert graph.node(index) == small_nodes()[index]
            assert trace.array(trace.value(0, NodeRef(6))).tolist() == [[6, 6], [6, 6]]


def test_a_lost_header_of_a_record_is_found_past(tmp_path: Path) -> None:
    path = small_trace(tmp_path / "t")
    data = bytearray(path.read_bytes())
    for record in records_of(data):
        if record.opcode in (Op.NODE, Op.VALUE) and record.offset % 3 == 0:
            data[record.offset + 6] ^= 1
    path.write_bytes(data[:-1])
    with open_trace(path) as trace:
        assert len(trace.cases) == 3
        assert any("skipped" in message for message in trace.damage)
        assert len(trace.graphs[0]) == 7


def big_tensor(path: Path) -> tuple[Path, int]:
    """A trace with a tensor of four blocks, and where its bytes are."""
    data = np.arange(BLOCK // 4 * 4, dtype=np.uint32)
    with TraceWriter(path) as writer:
        writer.add_graph("g", INPUTS, (), ())
        writer.add_case(Case("c", 0))
        writer.add_value(0, InputRef(0), Value("uint32", data.shape, (1,), writer.add_tensor(data)))
    with open_trace(path) as trace:
        block = trace.block(trace.value(0, InputRef(0)))
    assert block is not None
    return path, block.offset


def test_a_window_checks_only_its_own_blocks(tmp_path: Path) -> None:
    path, offset = big_tensor(tmp_path / "t")
    data = bytearray(path.read_bytes())
    data[offset + 2 * BLOCK + 17] ^= 1
    path.write_bytes(data)
    per_block = BLOCK // 4
    with open_trace(path) as trace:
        assert trace.complete
        value = trace.value(0, InputRef(0))
        assert trace.window(value, 0, 2 * per_block)[-1] == 2 * per_block - 1
        assert trace.window(value, 3 * per_block, 5).tolist() == list(range(3 * per_block, 3 * per_block + 5))
        for read in (
            lambda: trace.window(value, 2 * per_block - 1, 2),
            lambda: trace.array(value),
            lambda: trace.block(value),
        ):
            with pytest.raises(BlockDamaged):
                read()
    assert [finding.severity for finding in verify(path)] == ["error"]


def test_verify_finds_nothing_in_a_whole_trace(tmp_path: Path) -> None:
    assert verify(small_trace(tmp_path / "t")) == []


def test_verify_finds_every_damage(tmp_path: Path) -> None:
    path = small_trace(tmp_path / "t")
    data = bytearray(path.read_bytes())
    places = [offset_of(data, Op.NODE, 1), offset_of(data, Op.VALUE, 4), offset_of(data, Op.NOTE)]
    for place in places:
        data[place + 2] ^= 1
    path.write_bytes(data)
    found = [finding.offset for finding in verify(path) if "checksum" in finding.message]
    assert found == [place - 24 for place in places]


@pytest.mark.slow
def test_verify_sees_every_changed_byte(tmp_path: Path) -> None:
    path = small_trace(tmp_path / "t")
    data = path.read_bytes()
    covered = bytearray(len(data))  # padding is no content
    for record in records_of(data):
        covered[record.offset : record.offset + 24] = b"\1" * 24
        covered[record.bulk : record.bulk + record.bulk_size] = b"\1" * record.bulk_size
        covered[record.body : record.body + record.body_size + 4] = b"\1" * (record.body_size + 4)
    for at in range(0, len(data) - 24, 7):
        if covered[at]:
            path.write_bytes(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
            assert any(finding.severity == "error" for finding in verify(path)), at


def test_recovering_a_whole_trace_loses_nothing(tmp_path: Path) -> None:
    path = small_trace(tmp_path / "t")
    report = recover(path, tmp_path / "out")
    assert report.lost == [] and report.damage == []
    assert (report.nodes, report.tensors) == (7, 7)
    with open_trace(path) as old, open_trace(tmp_path / "out") as new:
        was, now = everything(old), everything(new)
        assert {k: v for k, v in was.items() if k != "content"} == {k: v for k, v in now.items() if k != "content"}


def test_recovering_a_trace_without_footer_loses_nothing(tmp_path: Path) -> None:
    path = small_trace(tmp_path / "t")
    path.write_bytes(path.read_bytes()[:-3])
    report = recover(path, tmp_path / "out")
    assert report.lost == [] and report.damage
    assert verify(tmp_path / "out") == []


def test_a_lost_node_keeps_its_place_and_is_named(tmp_path: Path) -> None:
    report = recover(damaged(tmp_path / "t", Op.NODE, 2), tmp_path / "out")
    assert report.nodes == 6
    assert any("layers.0.q/aten.linear.default#0" in line for line in report.lost)
    assert not [finding for finding in verify(tmp_path / "out") if finding.severity == "error"]
    with open_trace(tmp_path / "out") as trace:
        stand_in = trace.graphs[0].node(2)
        assert stand_in.id == small_nodes()[2].id and "lost" in stand_in.note
        assert trace.graphs[0].node(3) == small_nodes()[3]
        assert trace.array(trace.value(0, NodeRef(2))).tolist() == [[2, 2], [2, 2]]


def test_a_lost_tensor_leaves_its_value_with_a_note(tmp_path: Path) -> None:
    path = small_trace(tmp_path / "t")
    data = bytearray(path.read_bytes())
    with open_trace(path) as trace:
        block = trace.block(trace.value(0, NodeRef(6)))
    assert block is not None
    data[block.offset] ^= 1
    path.write_bytes(data)
    report = recover(path, tmp_path / "out")
    assert len(report.lost) == 1 and "float32 [2, 2]" in report.lost[0]
    with open_trace(tmp_path / "out") as trace:
        value = trace.value(0, NodeRef(6))
        assert value.tensor is None and value.shape == (2, 2) and "lost" in value.note


@pytest.mark.slow
def test_whatever_record_is_lost_the_rest_is_recovered(tmp_path: Path) -> None:
    path, out = small_trace(tmp_path / "t"), tmp_path / "out"
    whole = path.read_bytes()
    for record in records_of(whole):
        if record.opcode in FOOTER_OPS:
            continue
        for cut in (0, 1):  # with its footer, and without
            data = bytearray(whole[: len(whole) - cut])
            data[record.body + 3] ^= 0x40
            path.write_bytes(data)
            report = recover(path, out)
            assert report.lost or record.opcode == Op.HEADER, record
            assert not [finding for finding in verify(out) if finding.severity == "error"], record


def test_recover_never_writes_over_the_broken_trace(tmp_path: Path) -> None:
    path = damaged(tmp_path / "t", Op.NODE)
    before = path.read_bytes()
    with pytest.raises(TraceError):
        recover(path, path)
    assert path.read_bytes() == before


def test_a_hole_of_a_terabyte_is_not_searched_byte_by_byte(tmp_path: Path) -> None:
    path = small_trace(tmp_path / "t")
    end = path.stat().st_size - TRAILER.size
    os.truncate(path, 1 << 40)
    begun = time.monotonic()
    with open_trace(path) as trace:
        assert not trace.complete and trace.damage
        assert len(trace.graphs[0]) == len(small_nodes())
    assert any(f"{(1 << 40) - end} bytes skipped" in finding.message for finding in verify(path))
    assert time.monotonic() - begun < 20


def test_an_intact_header_is_found_wherever_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trace_format.file._PIECE", 64)
    path = small_trace(tmp_path / "t")
    markers = [record.offset for record in records_of(path.read_bytes())]
    file = TraceFile(path)
    found = [-1]
    while (at := file.find(MARKER, found[-1] + 1)) >= 0:
        found.append(at)
    file.close()
    assert found[1:] == markers
