"""What is written is read back, equal."""

from __future__ import annotations

import math
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.trace_format.samples import INPUTS, OUTPUTS, PROVENANCE, everything, small_nodes, small_trace
from trace_format import (
    Case,
    Floor,
    GraphInput,
    InputKind,
    InputRef,
    Named,
    Node,
    NodeRef,
    Provenance,
    SourceLine,
    TraceWriter,
    Value,
    open_trace,
)
from trace_format.dtypes import ITEM_SIZES, numpy_dtype

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False),
    st.complex_numbers(allow_nan=False),
    text,
    st.builds(Named, text.filter(lambda kind: "\0" not in kind), text),
)
arguments = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=8)
lines = st.builds(SourceLine, text, st.integers(0, 1 << 20), text, text)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[GraphInput], list[Node]]:
    """Any graph: arguments of every kind, references only backwards, names of any characters."""
    inputs = draw(st.lists(st.builds(GraphInput, text, st.sampled_from(InputKind), text), max_size=3))
    nodes: list[Node] = []
    for index in range(draw(st.integers(0, 12))):
        refs: list[NodeRef | InputRef] = [InputRef(i) for i in range(len(inputs))]
        refs += [NodeRef(n, o) for n, node in enumerate(nodes) for o in range(node.outputs)]
        argument = (
            st.one_of(arguments, st.sampled_from(refs), st.lists(st.sampled_from(refs)).map(tuple))
            if refs
            else arguments
        )
        args = tuple(draw(st.lists(argument, max_size=4)))
        kwargs = tuple(draw(st.lists(st.tuples(text, argument), max_size=2)))
        source = tuple(draw(st.lists(lines, max_size=3)))
        path = draw(st.sampled_from(["", "a", "a.b", "a.0", "a.0.b", "a.1.b", "\u202e.x", "..", "0.1"]) | text)
        outputs = draw(st.integers(0, 4))
        nodes.append(
            Node(f"{path}#{index}", draw(text), draw(text), path, draw(text), args, kwargs, outputs, source, draw(text))
        )
    return inputs, nodes


@st.composite
def values(draw: st.DrawFn) -> tuple[Value, np.ndarray | None]:
    """Any value, with its tensor if it has one."""
    size = st.floats(0, 1e30)
    floor = st.none() | st.builds(Floor, size, size, text, *[st.just(math.inf) | size] * 2)
    rest = {
        "reproducible": draw(st.none() | st.booleans()),
        "isolated": draw(floor),
        "chained": draw(floor),
        "note": draw(text),
        "peak": draw(st.none() | size),
        "rms": draw(st.none() | size),
    }
    if draw(st.booleans()):
        scalar = draw(st.none() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.booleans() | text)
        return Value("", (), (), None, scalar, **rest), None
    dtype = draw(st.sampled_from(sorted(ITEM_SIZES)))
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=4)))
    strides = tuple(draw(st.lists(st.integers(-9, 9), min_size=len(shape), max_size=len(shape))))
    nbytes = int(np.prod(shape, dtype=int)) * ITEM_SIZES[dtype]
    raw = draw(st.binary(min_size=nbytes, max_size=nbytes))
    if dtype == "bool":
        raw = bytes(byte & 1 for byte in raw)
    return Value(dtype, shape, strides, None, None, **rest), np.frombuffer(raw, numpy_dtype(dtype)).reshape(shape)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_property_any_graph_and_any_values_come_back(tmp_path: Path, data: st.DataObject) -> None:
    inputs, nodes = data.draw(graphs())
    path = tmp_path / "any.trace"
    written = []
    with TraceWriter(path, PROVENANCE) as writer:
        writer.add_graph("g", inputs, (), nodes)
        writer.add_case(Case("c", 0))
        refs = [InputRef(i) for i in range(len(inputs))]
        refs += [NodeRef(n, o) for n, node in enumerate(nodes) for o in range(node.outputs)]
        for ref in refs:
            value, array = data.draw(values())
            if array is not None:
                value = value._replace(tensor=writer.add_tensor(array, value.dtype))
            writer.add_value(0, ref, value)
            written.append((ref, value, array))
    for cut in (False, True):
        if cut:
            path.write_bytes(path.read_bytes()[:-24])
        with open_trace(path) as trace:
            assert trace.complete is not cut
            graph = trace.graphs[0]
            assert [graph.node(index) for index in range(len(graph))] == nodes
            assert graph.inputs == tuple(inputs)
            for ref, value, array in written:
                assert trace.value(0, ref) == value
                if array is not None:
                    assert trace.array(value).dtype == array.dtype
                    assert trace.array(value).shape == array.shape
                    assert trace.array(value).tobytes() == array.tobytes()


def test_small_trace_comes_back(tmp_path: Path) -> None:
    with open_trace(small_trace(tmp_path / "small.trace")) as trace:
        assert (trace.kind, trace.version, trace.complete, trace.damage) == ("trace", "1.1", True, ())
        assert trace.provenance == PROVENANCE
        assert trace.notes == ("a note",)
        graph = trace.graphs[0]
        assert (graph.name, graph.inputs, graph.outputs) == ("model", INPUTS, OUTPUTS)
        assert tuple(graph.node(index) for index in range(len(graph))) == small_nodes()
        assert [case.name for case in trace.cases] == ["hello", "again", "nothing"]
        assert len(trace.graphs[1]) == 0 and len(trace.graphs[1].outline) == 1
        assert trace.value(0, NodeRef(1, 0)).scalar == 2**40
        assert trace.array(trace.value(0, NodeRef(1, 2))).shape == (0, 4)
        assert trace.value(0, NodeRef(1, 1)).note == "not in the trace"


def test_state_is_handed_from_case_to_case(tmp_path: Path) -> None:
    with open_trace(small_trace(tmp_path / "small.trace")) as trace:
        handed, made = trace.value(1, InputRef(0)), trace.value(0, NodeRef(3))
        assert handed == made
        assert trace.array(handed).tolist() == [[3.0, 3.0], [3.0, 3.0]]


@pytest.mark.parametrize("name", sorted(ITEM_SIZES))
def test_every_dtype_keeps_its_bits(tmp_path: Path, name: str) -> None:
    dtype = numpy_dtype(name)
    raw = np.arange(256, dtype=np.uint8)[: 256 if name != "bool" else 2]
    if name == "bool":
        raw = raw.repeat(8)
    array = raw.view(dtype)
    with TraceWriter(tmp_path / "t", None) as writer:
        writer.add_graph("g", INPUTS, (), ())
        writer.add_case(Case("c", 0))
        digest = writer.add_tensor(array, name)
        writer.add_value(0, InputRef(0), Value(name, array.shape, (1,), digest))
    with open_trace(tmp_path / "t") as trace:
        back = trace.array(trace.value(0, InputRef(0)))
        assert back.dtype == dtype and back.tobytes() == array.tobytes()
        assert not back.flags.writeable


def test_sub_byte_types_are_those_of_ml_dtypes() -> None:
    for name in ("int4", "uint4", "float4_e2m1fn", "int2", "uint2"):
        assert numpy_dtype(name) == np.dtype(getattr(ml_dtypes, name))


def test_any_layout_is_stored_contiguous_and_little_endian(tmp_path: Path) -> None:
    array = np.arange(24, dtype=">i4").reshape(4, 6)[::2, ::-1].T
    with TraceWriter(tmp_path / "t") as writer:
        writer.add_graph("g", INPUTS, (), ())
        writer.add_case(Case("c", 0))
        first = writer.add_tensor(array, "int32")
        assert first == writer.add_tensor(np.ascontiguousarray(array).astype("<i4"), "int32")
        zero = writer.add_tensor(np.float32(2.5).reshape(()), "float32")
        writer.add_value(0, InputRef(0), Value("int32", array.shape, (1, 1), first))
        writer.add_value(0, InputRef(1), Value("float32", (), (), zero))
    with open_trace(tmp_path / "t") as trace:
        assert trace.array(trace.value(0, InputRef(0))).tolist() == array.tolist()
        assert trace.array(trace.value(0, InputRef(1))).shape == ()
        assert trace.array(trace.value(0, InputRef(1))) == np.float32(2.5)


def test_equal_bytes_are_stored_once(tmp_path: Path) -> None:
    with TraceWriter(tmp_path / "t") as writer:
        data = np.random.default_rng(0).standard_normal(400_000).astype(np.float32)
        first = writer.add_tensor(data, "float32")
        size = writer.size_bytes
        assert writer.add_tensor(data.copy(), "float32") == first
        assert writer.add_tensor(data.tobytes()) == first
        assert writer.size_bytes == size
        data[-1] += 1  # the first block is the same: only the hash tells them apart
        assert writer.add_tensor(data, "float32") != first
        assert writer.size_bytes > size


def test_tensors_are_aligned_and_can_be_mapped(tmp_path: Path) -> None:
    with open_trace(small_trace(tmp_path / "t")) as trace:
        value = trace.value(0, NodeRef(6))
        block = trace.block(value)
        assert block is not None and block.offset % 64 == 0
        raw = Path(block.file).read_bytes()[block.offset : block.offset + block.nbytes]
        assert raw == trace.array(value).tobytes()
        assert trace.block(trace.value(0, NodeRef(4))) is None


def test_window_is_a_part_of_the_flat_tensor(tmp_path: Path) -> None:
    data = np.arange(1000, dtype=np.int16)
    with TraceWriter(tmp_path / "t") as writer:
        writer.add_graph("g", INPUTS, (), ())
        writer.add_case(Case("c", 0))
        writer.add_value(0, InputRef(0), Value("int16", (10, 100), (100, 1), writer.add_tensor(data)))
    with open_trace(tmp_path / "t") as trace:
        value = trace.value(0, InputRef(0))
        assert trace.window(value, 90, 20).tolist() == list(range(90, 110))
        assert trace.window(value, 990, 50).tolist() == list(range(990, 1000))
        assert len(trace.window(value, 5000, 1)) == 0
        assert len(trace.window(value, -5, 2)) in (0, 2)


def test_arrays_outlive_their_trace(tmp_path: Path) -> None:
    with open_trace(small_trace(tmp_path / "t")) as trace:
        array = trace.array(trace.value(0, NodeRef(6)))
    assert array.tolist() == [[6.0, 6.0], [6.0, 6.0]]


def test_equal_content_has_one_id(tmp_path: Path) -> None:
    a, b = small_trace(tmp_path / "a"), small_trace(tmp_path / "b")
    with TraceWriter(tmp_path / "c", Provenance(seed=1)) as writer:
        writer.add_graph("g", (), (), ())
    with open_trace(a) as one, open_trace(b) as two, open_trace(tmp_path / "c") as other:
        assert one.content_id == two.content_id != other.content_id
        assert everything(one) == everything(two)


def test_lone_surrogates_become_visible(tmp_path: Path) -> None:
    odd, seen = "a\udc80b", "a\\udc80b"
    with TraceWriter(tmp_path / "t", Provenance(command=odd)) as writer:
        writer.add_graph(odd, (), (), [Node(odd, odd, odd, odd, odd, (odd, Named(odd, odd)), (), 1, note=odd)])
    with open_trace(tmp_path / "t") as trace:
        assert trace.provenance.command == seen
        node = Node(seen, seen, seen, seen, seen, (seen, Named(seen, seen)), (), 1, note=seen)
        assert trace.graphs[0].node(0) == node
        assert trace.graphs[0].find_id(seen) == 0
