"""Runs: appended to, locked, torn ends dropped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from tests.trace_format.fuzz import records_of
from tests.trace_format.samples import small_trace
from trace_format import (
    BlockDamaged,
    CannotOpen,
    NotATrace,
    RunLocked,
    RunOutput,
    RunRecord,
    SizeMismatch,
    TensorMissing,
    TraceError,
    Unwritable,
    WrongBase,
    open_run,
    open_trace,
    read_run,
    verify,
)

BASE = "ab" * 32


def record(key: str, *outputs: RunOutput) -> RunRecord:
    return RunRecord(key, f"node/{key}", "case", "target", "", ("cd" * 32,), outputs, "ok", "", "", "", 1.5)


def small_run(path: Path) -> list[RunRecord]:
    """Three records, two of them with tensors."""
    with open_run(path, BASE) as run:
        return [
            run.append(record("a", RunOutput("float32", (2, 3))), [np.arange(6, dtype=np.float32).reshape(2, 3)]),
            run.append(
                record("b", RunOutput("bfloat16", (2,)), RunOutput("int64", ())),
                [np.array([1, 2], ml_dtypes.bfloat16), np.array(7)],
            ),
            run.append(RunRecord("c", "n", "case", "target", status="error", stage="compile", reason="no", detail="x")),
        ]


def test_what_is_appended_comes_back(tmp_path: Path) -> None:
    written = small_run(tmp_path / "r")
    for open_it in (lambda: open_run(tmp_path / "r", BASE), lambda: read_run(tmp_path / "r")):
        with open_it() as run:
            assert list(run.records()) == written
            assert run.get("b") == written[1] and run.get("nothing") is None
            assert run.base == BASE and run.damage == []
            assert run.array(written[0].outputs[0]).tolist() == [[0, 1, 2], [3, 4, 5]]
            assert run.array(written[1].outputs[1]) == 7
            block = run.block(written[1].outputs[0])
            raw = Path(block.file).read_bytes()[block.offset : block.offset + block.nbytes]
            assert raw == np.array([1, 2], ml_dtypes.bfloat16).tobytes()
    assert verify(tmp_path / "r") == []


def test_arrays_are_readable_at_once_and_stay_so(tmp_path: Path) -> None:
    with open_run(tmp_path / "r", BASE) as run:
        kept = []
        for index in range(20):
            made = run.append(record(str(index), RunOutput("int64", (1000,))), [np.full(1000, index)])
            kept.append(run.array(made.outputs[0]))
    assert [int(array[-1]) for array in kept] == list(range(20))


def test_the_last_record_of_a_key_counts(tmp_path: Path) -> None:
    small_run(tmp_path / "r")
    with open_run(tmp_path / "r", BASE) as run:
        run.append(record("a"))
    with read_run(tmp_path / "r") as run:
        assert run.get("a") == record("a")
        assert [result.key for result in run.records()] == ["a", "b", "c"]


def test_equal_outputs_are_stored_once(tmp_path: Path) -> None:
    with open_run(tmp_path / "r", BASE) as run:
        data = np.zeros(100_000)
        run.append(record("a", RunOutput("float64", (100_000,))), [data])
        size = (tmp_path / "r").stat().st_size
        run.append(record("b", RunOutput("float64", (100_000,))), [data])
    assert (tmp_path / "r").stat().st_size < size + 1000


def test_cut_at_every_byte_it_keeps_what_was_whole_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "r"
    written = small_run(path)
    data = path.read_bytes()
    ends = [record.end for record in records_of(data) if record.opcode == 10]
    for cut in range(len(data)):
        path.write_bytes(data[:cut])
        whole = sum(end <= cut for end in ends)
        with open_run(path, BASE) as run:
            assert list(run.records()) == written[:whole]
            run.append(record("new", RunOutput("int64", ())), [np.array(cut)])
        with read_run(path) as run:
            assert run.damage == []
            assert list(run.records())[:-1] == written[:whole]
            assert run.array(run.records()[-1].outputs[0]) == cut


@pytest.mark.parametrize("step", [1, 7, 64, 4096])
def test_nothing_is_touched_before_it_has_arrived(tmp_path: Path, step: int) -> None:
    written = small_run(tmp_path / "r")
    whole, end = (tmp_path / "r").read_bytes(), 0
    (tmp_path / "coming").write_bytes(bytes(len(whole)))

    def arrive(needed: int) -> int:
        nonlocal end
        end = max(end, -(-needed // step) * step)
        with (tmp_path / "coming").open("r+b") as file:
            file.write(whole[:end])
        return end

    arrive(records_of(whole)[0].end)
    with read_run(tmp_path / "coming", arrive) as run:
        assert list(run.records()) == written and run.damage == []


def test_one_appends_at_a_time_and_anyone_reads(tmp_path: Path) -> None:
    small_run(tmp_path / "r")
    with open_run(tmp_path / "r", BASE):
        with pytest.raises(RunLocked):
            open_run(tmp_path / "r", BASE)
        with read_run(tmp_path / "r") as run:
            assert len(list(run.records())) == 3
            with pytest.raises(Unwritable):
                run.append(record("x"))
    with open_run(tmp_path / "r", BASE):
        pass


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    script = (
        "import sys, os; import numpy as np; from tests.trace_format.test_runs import *\n"
        "run = open_run(sys.argv[1], BASE)\n"
        "for i in range(50): run.append(record(str(i), RunOutput('int64', (64,))), [np.full(64, i)])\n"
        "os.write(run._descriptor, b'half a record'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "r")], check=False)
    with open_run(tmp_path / "r", BASE) as run:
        assert len(list(run.records())) == 50
    assert verify(tmp_path / "r") == []


def test_a_run_belongs_to_one_trace(tmp_path: Path) -> None:
    small_run(tmp_path / "r")
    with pytest.raises(WrongBase):
        open_run(tmp_path / "r", "cd" * 32)
    with pytest.raises(CannotOpen):
        open_run(tmp_path / "none", BASE, create=False)


def test_a_trace_is_no_run(tmp_path: Path) -> None:
    path = small_trace(tmp_path / "t")
    before = path.read_bytes()
    with pytest.raises(NotATrace):
        open_run(path, BASE)
    with pytest.raises(NotATrace):
        read_run(path)
    (tmp_path / "x").write_bytes(b"something else entirely")
    with pytest.raises(TraceError):
        open_run(tmp_path / "x", BASE)
    assert path.read_bytes() == before and (tmp_path / "x").read_bytes() == b"something else entirely"


def test_damage_in_the_middle_costs_only_what_it_hit(tmp_path: Path) -> None:
    written = small_run(tmp_path / "r")
    data = bytearray((tmp_path / "r").read_bytes())
    first = next(r for r in records_of(data) if r.opcode == 10)
    data[first.body + 4] ^= 1
    (tmp_path / "r").write_bytes(data)
    with open_run(tmp_path / "r", BASE) as run:
        assert list(run.records()) == written[1:] and run.damage


def test_damaged_bytes_are_no_array(tmp_path: Path) -> None:
    written = small_run(tmp_path / "r")
    data = bytearray((tmp_path / "r").read_bytes())
    tensor = next(r for r in records_of(data) if r.opcode == 2)
    data[tensor.bulk] ^= 1
    (tmp_path / "r").write_bytes(data)
    with read_run(tmp_path / "r") as run:
        with pytest.raises(SizeMismatch):
            run.array(RunOutput("float32", (9,), written[0].outputs[0].digest))
        with pytest.raises(TensorMissing):
            run.array(RunOutput("float32", (1,), b"x" * 32))
        with pytest.raises(BlockDamaged):
            run.array(written[0].outputs[0])


def test_what_is_damaged_can_be_appended_again(tmp_path: Path) -> None:
    written = small_run(tmp_path / "r")
    data = bytearray((tmp_path / "r").read_bytes())
    data[next(r for r in records_of(data) if r.opcode == 2).bulk] ^= 1
    (tmp_path / "r").write_bytes(data)
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    with open_run(tmp_path / "r", BASE) as run:
        with pytest.raises(BlockDamaged):
            run.block(written[0].outputs[0])
        again = run.append(written[0], [array])
        assert np.array_equal(run.array(again.outputs[0]), array)
    with read_run(tmp_path / "r") as run:
        assert np.array_equal(run.array(run.get("a").outputs[0]), array)  # type: ignore[union-attr]


def test_large_outputs_are_mapped_and_small_ones_read(tmp_path: Path) -> None:
    with open_run(tmp_path / "r", BASE) as run:
        for index, size in enumerate((3, 3_000_000, 5)):
            data = np.full(size, index, np.uint8)
            made = run.append(record(str(index), RunOutput("uint8", (size,))), [data])
            block = run.block(made.outputs[0])
            assert np.array_equal(run.array(made.outputs[0]), data)
            raw = Path(block.file).read_bytes()[block.offset : block.offset + block.nbytes]
            assert raw == data.tobytes()
        maps = Path("/proc/self/maps").read_text().count(str(tmp_path / "r"))
        assert maps <= 2


def test_an_array_is_what_its_output_says(tmp_path: Path) -> None:
    with open_run(tmp_path / "r", BASE) as run:
        size = os.path.getsize(tmp_path / "r")
        with pytest.raises(SizeMismatch):
            run.append(record("a", RunOutput("float32", (2,))), [np.zeros(3, np.float32)])
        with pytest.raises(Unwritable):
            run.append(record("a"), [np.zeros(3)])
        assert os.path.getsize(tmp_path / "r") == size
        run.append(record("a"))
        assert len(list(run.records())) == 1


def test_a_run_can_be_opened_as_a_trace(tmp_path: Path) -> None:
    small_run(tmp_path / "r")
    with open_trace(tmp_path / "r") as trace:
        assert (trace.kind, trace.base, len(trace.graphs), trace.damage) == ("run", BASE, 0, ())
