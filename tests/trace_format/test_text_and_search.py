"""Strings made safe for a terminal, and found among the nodes."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trace_format.samples import HOSTILE, small_trace
from trace_format import Node, TraceWriter, open_trace, printable


@given(st.text(st.characters()), st.integers(0, 50))
def test_property_anything_becomes_one_safe_line(text: str, limit: int) -> None:
    safe = printable(text, limit)
    for character in safe:
        assert unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert len(safe) <= limit + 60
    safe.encode()


def test_escapes_can_be_seen() -> None:
    assert printable("a\x1b[31m\n\t\u202eb") == "a\\e[31m\\n\\t\\u202eb"
    assert printable("\x9b\x00\udc80\U000e0041") == "\\x9b\\x00\\udc80\\U000e0041"
    assert printable("größe 日本") == "größe 日本"
    assert printable("x" * 10_000, 5) == "xxxxx… (5 of 10000 characters)"
    assert printable("x" * 5, 5) == "xxxxx"


PATHS = ["", "model.layers.0.attn", "model.layers.0.attn", "model.layers.0.MLP", "model.layers.0.MLP", "head", "head"]


@pytest.fixture
def trace_path(tmp_path: Path) -> Path:
    nodes = [
        Node(f"{path}/aten.op{i % 3}.default#{i}", f"name_{i}", f"aten.op{i % 3}.default", path, "", (), (), 1)
        for i, path in enumerate(PATHS)
    ]
    with TraceWriter(tmp_path / "t") as writer:
        writer.add_graph("g", (), (), nodes)
    return tmp_path / "t"


def test_search_goes_round_in_both_directions(trace_path: Path) -> None:
    with open_trace(trace_path) as trace:
        graph = trace.graphs[0]
        rows = range(len(graph.outline))

        def holds(entry: int, text: str) -> bool:
            row = graph.outline[entry]
            if row["fold"]:
                return text in graph.outline_path(entry).lower()
            node = graph.node(int(row["start"]))
            return any(text in string.lower() for string in (node.id, node.name, node.op))

        for text in ("attn", "mlp", "MLP", "name_3", "op2", "head", "layers.0", "0.attn/aten", "e", "name_3name_4"):
            hits = [entry for entry in rows if holds(entry, text.lower())]
            for entry in rows:
                after = [hit for hit in hits if hit > entry] + hits
                before = [hit for hit in reversed(hits) if hit < entry] + hits[::-1]
                assert graph.search(text, entry) == (after[0] if hits else None), (text, entry)
                assert graph.search(text, entry, -1) == (before[0] if hits else None), (text, entry)
        assert graph.search("nowhere", 0) is None
        assert graph.search("", 0) is None


def test_ids_are_found_exactly(trace_path: Path) -> None:
    with open_trace(trace_path) as trace:
        graph = trace.graphs[0]
        for node in range(len(graph)):
            assert graph.find_id(graph.node_id(node)) == node
        for other in ("", "head", graph.node_id(1) + "0", "\udc80"):
            assert graph.find_id(other) is None


def test_labels_say_what_the_row_above_does_not(trace_path: Path) -> None:
    with open_trace(trace_path) as trace:
        graph = trace.graphs[0]
        labels = [(graph.outline_label(entry), graph.outline_detail(entry)) for entry in range(len(graph.outline))]
    assert labels == [
        ("g", ""), ("op0", ""), ("model.layers.0", "model.layers.0"), ("attn", "attn"), ("op1", ""), ("op2", ""),
        ("MLP", "MLP"), ("op0", ""), ("op1", ""), ("head", "head"), ("op2", ""), ("op0", ""),
    ]  # fmt: skip


def test_hostile_names_are_stored_as_they_are(tmp_path: Path) -> None:
    with open_trace(small_trace(tmp_path / "t")) as trace:
        assert trace.graphs[0].node(5).id == HOSTILE
        assert trace.graphs[0].find_id(HOSTILE) == 5
