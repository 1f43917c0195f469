"""Weights by reference: only the file that was there, only beside the trace."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.trace_format.samples import INPUTS, write_safetensors
from trace_format import (
    BlockDamaged,
    Case,
    InputRef,
    Malformed,
    TraceError,
    TraceWriter,
    Unwritable,
    Value,
    WeightsChanged,
    WeightsMissing,
    WeightsUnsafe,
    open_trace,
    recover,
    verify,
)
from trace_format.records import Op
from trace_format.safetensors_file import SafetensorsFile

W = np.arange(600_000, dtype=np.float32)
B = np.arange(4, dtype=np.float16)


def weights(folder: Path, name: str = "w.safetensors") -> Path:
    return write_safetensors(
        folder / name, {"b": ("F16", [4], B.tobytes()), "layer.w": ("F32", [600, 1000], W.tobytes())}
    )


def trace_with_weights(folder: Path) -> Path:
    path = weights(folder)
    with TraceWriter(folder / "t.trace") as writer:
        digests = writer.add_weights(path)
        writer.add_graph("g", INPUTS, (), ())
        writer.add_case(Case("c", 0))
        assert writer.add_tensor(W, "float32") == digests["layer.w"]  # not written again
        writer.add_value(0, InputRef(0), Value("float32", (600, 1000), (1000, 1), digests["layer.w"]))
        writer.add_value(0, InputRef(1), Value("float16", (4,), (1,), digests["b"]))
    return folder / "t.trace"


def test_weights_are_read_where_they_are(tmp_path: Path) -> None:
    path = trace_with_weights(tmp_path)
    assert path.stat().st_size < 4000
    for cut in (0, 5):
        path.write_bytes(path.read_bytes()[: path.stat().st_size - cut])
        with open_trace(path) as trace:
            value = trace.value(0, InputRef(0))
            assert np.array_equal(trace.array(value).reshape(-1), W)
            assert trace.window(value, 599_999, 9).tolist() == [599_999.0]
            assert trace.array(trace.value(0, InputRef(1))).tolist() == [0, 1, 2, 3]
            block = trace.block(value)
            assert block is not None and Path(block.file).name == "w.safetensors"
            assert Path(block.file).read_bytes()[block.offset : block.offset + block.nbytes] == W.tobytes()
    path = trace_with_weights(tmp_path)
    assert verify(path) == []


def test_real_safetensors_files_are_read(tmp_path: Path) -> None:
    numpy_io = pytest.importorskip("safetensors.numpy")
    arrays = {"a": np.eye(3, dtype=np.float32), "i": np.arange(5), "zero": np.zeros((0, 2), np.int8)}
    numpy_io.save_file(arrays, tmp_path / "r.safetensors", metadata={"format": "pt"})
    file = SafetensorsFile(tmp_path, "r.safetensors")
    assert {name: (entry.dtype, entry.shape) for name, entry in file.entries.items()} == {
        "a": ("float32", (3, 3)), "i": ("int64", (5,)), "zero": ("int8", (0, 2)),
    }  # fmt: skip
    entry = file.entries["a"]
    assert file.data[entry.offset : entry.offset + entry.nbytes] == arrays["a"].tobytes()


def flip_weight(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def another_shape(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"[600, 1000]", b"[1000, 600]"))


def link(path: Path) -> None:
    os.rename(path, path.with_suffix(".moved"))
    path.symlink_to(path.with_suffix(".moved"))


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (flip_weight, BlockDamaged),
        (another_shape, WeightsChanged),
        (lambda path: path.write_bytes(path.read_bytes() + b"x"), WeightsChanged),
        (lambda path: os.truncate(path, 100), Malformed),
        (lambda path: os.truncate(path, 3), Malformed),
        (Path.unlink, WeightsMissing),
        (link, WeightsUnsafe),
        (pipe, WeightsUnsafe),
    ],
)
def test_other_weights_are_not_used(tmp_path: Path, change: Callable[[Path], object], error: type[TraceError]) -> None:
    path = trace_with_weights(tmp_path)
    change(tmp_path / "w.safetensors")
    with open_trace(path) as trace:
        value = trace.value(0, InputRef(0))
        with pytest.raises(error):
            trace.array(value)
        if error is BlockDamaged:  # it is in the last block: the first is good
            assert trace.window(value, 0, 3).tolist() == [0, 1, 2]
    assert [finding.severity for finding in verify(path)][:1] == ["error"]


@pytest.mark.parametrize(
    "name",
    [
        "../w.safetensors",
        "/w.safetensors",
        "sub/w.safetensors",
        "w.bin",
        "",
        "..",
        "a\0.safetensors",
        "a\\b.safetensors",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    weights(tmp_path)
    folder = tmp_path / "trace"
    folder.mkdir()
    with pytest.raises(WeightsUnsafe):
        SafetensorsFile(folder, name)


def test_a_trace_that_names_a_path_is_refused(tmp_path: Path) -> None:
    """The writer cannot be made to do it, so the record is forged."""
    from tests.trace_format.fuzz import records_of, seal

    (tmp_path / "in").mkdir()
    path = trace_with_weights(tmp_path / "in")
    weights(tmp_path, "w.safetensors")
    data = bytearray(path.read_bytes())
    record = next(r for r in records_of(data) if r.opcode == Op.WEIGHTS)
    at = data.index(b"w.safetensors", record.body)
    data[at : at + 13] = b"../.safetensors"[:13]
    seal(data, record)
    path.write_bytes(data)
    with open_trace(path) as trace, pytest.raises(WeightsUnsafe):
        trace.array(trace.value(0, InputRef(0)))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 8,
        b"\xff\xff\xff\x7f" + b"\0" * 4 + b"{}",
        b"\x02" + b"\0" * 7 + b"[]",
        b"\x02" + b"\0" * 7 + b"{",
        b"\xa0\x86\x01" + b"\0" * 5 + b"[" * 100_000,
        b"\x0a" + b"\0" * 7 + b'{"a":null}',
    ],
)
def test_what_is_no_safetensors_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(Malformed):
        SafetensorsFile(tmp_path, "x.safetensors")


@pytest.mark.parametrize(
    "entry",
    [
        '{"dtype":"F32","shape":[2],"data_offsets":[0,4]}',
        '{"dtype":"F32","shape":[1],"data_offsets":[0,400]}',
        '{"dtype":"F32","shape":[-1],"data_offsets":[0,-4]}',
        '{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}',
        '{"dtype":"F32","shape":[1.5],"data_offsets":[0,6]}',
        '{"dtype":"F32","shape":[1],"data_offsets":[4,0]}',
        '{"dtype":"F32","shape":[true],"data_offsets":[0,4]}',
        '{"dtype":"F32","shape":"1","data_offsets":[0,4]}',
        '{"dtype":"F32","shape":[1]}',
        '{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}',
    ],
)
def test_entries_are_checked(tmp_path: Path, entry: str) -> None:
    header = f'{{"a":{entry}}}'.encode()
    (tmp_path / "x.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 16)
    with pytest.raises(TraceError):
        SafetensorsFile(tmp_path, "x.safetensors")


def test_weights_must_lie_beside_the_trace(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    path = weights(tmp_path / "other")
    with TraceWriter(tmp_path / "t") as writer:
        writer.add_graph("g", (), (), ())
        with pytest.raises(Unwritable):
            writer.add_weights(path)


def test_recover_keeps_the_reference_or_copies_the_bytes(tmp_path: Path) -> None:
    path = trace_with_weights(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    for out in (tmp_path / "out.trace", tmp_path / "elsewhere" / "out.trace"):
        report = recover(path, out)
        assert report.lost == []
        assert verify(out) == []
        with open_trace(out) as trace:
            assert np.array_equal(trace.array(trace.value(0, InputRef(0))).reshape(-1), W)
    assert (tmp_path / "out.trace").stat().st_size < 5000 < out.stat().st_size
