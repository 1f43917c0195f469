"""What every backend promises (`protocol.Backend`), tried on real processes.

A subclass has a fixture `driver`, a started backend, and the attribute `worker`, the module of the
process that executes.
"""

from __future__ import annotations

import itertools
import os
import signal
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tapml_tui.backends import replies
from tapml_tui.backends.protocol import (
    Bytes,
    Call,
    CallResult,
    Executed,
    Failed,
    KernelText,
    NamedConstant,
    Operand,
    Stage,
    State,
    TensorSpec,
    Unit,
    UnitInput,
)
from tapml_tui.engine.sampling import layout_of, sampled_rows
from tests.backends.driver import Driver, descendants, spec, unary, unit

X, Y = UnitInput(0), UnitInput(1)
F32 = np.arange(12, dtype=np.float32).reshape(3, 4) / 7 - 0.5


def _torch_results(wanted: Unit, arrays: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    from tapml_tui import operators

    tensors = [operators.from_numpy(a) for a in arrays]
    return [operators.to_numpy(t) for t in operators.call_unit(wanted, tensors, max_output_bytes=1 << 20)]


CASES: dict[str, tuple[Unit, tuple[np.ndarray, ...]]] = {
    "add": (unit("aten.add.Tensor", [X, Y], [spec(F32), TensorSpec("float32", (4,))], [spec(F32)]), (F32, F32[1])),
    "linear": (unit("aten.linear.default", [X, Y], [spec(F32)] * 2, [TensorSpec("float32", (3, 3))]), (F32, F32)),
    "softmax": (unit("aten.softmax.int", [X, -1], [spec(F32)], [spec(F32)]), (F32,)),
    "several outputs": (
        unit("aten.split.Tensor", [X, 2, 1], [spec(F32)], [TensorSpec("float32", (3, 2))] * 2),
        (F32,),
    ),
    "outputs of two types": (
        unit("aten.max.dim", [X, 1], [spec(F32)], [TensorSpec("float32", (3,)), TensorSpec("int64", (3,))]),
        (F32,),
    ),
    "sorting": (
        unit("aten.topk.default", [X, 2], [spec(F32)], [TensorSpec("float32", (3, 2)), TensorSpec("int64", (3, 2))]),
        (F32,),
    ),
    "identity": (unary("aten.clone.default", F32), (F32,)),
    "dropout in eval": (unit("aten.dropout.default", [X, 0.1, False], [spec(F32)], [spec(F32)]), (F32,)),
    "view": (unit("aten.view.default", [X, (2, 6)], [spec(F32)], [TensorSpec("float32", (2, 6))]), (F32,)),
    "view that is none": (unit("aten.view.default", [X, (3, 4)], [spec(F32)], [spec(F32)]), (F32,)),
    "0-d": (unit("aten.mul.Tensor", [X, 2.5], [TensorSpec("float32", ())], [TensorSpec("float32", ())]), (F32[0, 0],)),
    "empty": (
        unit("aten.relu.default", [X], [TensorSpec("float32", (0, 3))], [TensorSpec("float32", (0, 3))]),
        (np.empty((0, 3), np.float32),),
    ),
    "bool": (unit("aten.gt.Scalar", [X, 0], [spec(F32)], [TensorSpec("bool", (3, 4))]), (F32,)),
    "bool in": (unary("aten.bitwise_not.default", F32 > 0), (F32 > 0,)),
    "int64": (
        unit("aten.add.Scalar", [X, 3], [TensorSpec("int64", (5,))], [TensorSpec("int64", (5,))]),
        (np.arange(5),),
    ),
    "bfloat16": (
        unit("aten.add.Tensor", [X, X], [TensorSpec("bfloat16", (3, 4))], [TensorSpec("bfloat16", (3, 4))]),
        (F32.astype(ml_dtypes.bfloat16),),
    ),
    "float16": (
        unit("aten.relu.default", [X], [TensorSpec("float16", (3, 4))], [TensorSpec("float16", (3, 4))]),
        (F32.astype(np.float16),),
    ),
    "no inputs": (
        unit(
            "aten.full.default",
            [(2, 2), 3.0],
            [],
            [TensorSpec("float32", (2, 2))],
            dtype=NamedConstant("dtype", "float32"),
        ),
        (),
    ),
    "only with decomposition": (
        unit("aten.diff.default", [X], [TensorSpec("int64", (1, 7))], [TensorSpec("int64", (1, 6))]),
        (np.arange(7).reshape(1, 7) ** 2,),
    ),
    "converted without decomposition, compiled only with it": (
        unit(
            "aten.masked_fill.Scalar",
            [X, Y, float("-inf")],
            [spec(F32), TensorSpec("bool", (3, 4))],
            [spec(F32)],
        ),
        (F32, F32 > 0),
    ),
    "cast": (
        unit("aten.to.dtype", [X, NamedConstant("dtype", "int32")], [spec(F32)], [TensorSpec("int32", (3, 4))]),
        (F32 * 10,),
    ),
    "two calls": (
        Unit(
            (Call("aten.mul.Tensor", (X, 3.0)), Call("aten.add.Tensor", (CallResult(0), X))),
            (spec(F32),),
            (spec(F32), spec(F32)),
            (CallResult(1), CallResult(0)),
        ),
        (F32,),
    ),
}


class Trip:
    """Makes taking an answer in fail, as an error of this program would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, after: int, times: int = 1) -> None:
        self.trips = 0
        well, calls = replies.executed, itertools.count()

        def executed(*arguments: Any) -> Executed | Failed:
            if next(calls) >= after and self.trips < times:
                self.trips += 1
                raise KeyError("outputs")
            return well(*arguments)

        monkeypatch.setattr(replies, "executed", executed)


class Contract:
    """The promises."""

    worker: str

    @pytest.mark.parametrize("case", CASES)
    def test_same_result_as_torch(self, driver: Driver, case: str) -> None:
        wanted, arrays = CASES[case]
        got = driver.outputs(wanted, *arrays)
        for output, expected in zip(got, _torch_results(wanted, arrays), strict=True):
            assert output is not None
            assert (output.dtype, output.shape) == (expected.dtype, expected.shape)
            np.testing.assert_allclose(
                output.astype(np.float64), expected.astype(np.float64), rtol=1e-6, atol=1e-6, equal_nan=True
            )

    def test_order_and_chaining(self, driver: Driver) -> None:
        """Requests run in order: each takes the result of the one before, none of which has bytes."""
        step = unit("aten.add.Scalar", [X, 1], [spec(F32)], [spec(F32)])
        ids = [driver.execute(step, F32, result_keys=("chain-0",))]
        for i in range(1, 20):
            ids.append(driver.execute(step, Operand(f"chain-{i - 1}", spec(F32), None), result_keys=(f"chain-{i}",)))
        for i, request_id in enumerate(ids, 1):
            reply = driver.answer(request_id)
            assert isinstance(reply, Executed), reply
            np.testing.assert_array_equal(reply.outputs[0], _plus_one(i))
        assert [i for i in driver.answers() if i in ids] == ids

    def test_what_is_held_is_not_sent_again(self, driver: Driver) -> None:
        add = CASES["add"][0]
        x, weight = driver.operand(F32), driver.operand(F32[2], persistent=True)
        first, second = driver.run(add, x, weight), driver.run(add, x, weight)
        assert isinstance(first, Executed) and isinstance(second, Executed)
        assert (first.bytes_up, second.bytes_up) == (F32.nbytes + F32[2].nbytes, 0)
        assert second.bytes_down == F32.nbytes

    def test_missing_operands_are_named(self, driver: Driver) -> None:
        add = CASES["add"][0]
        reply = driver.run(add, F32, Operand("never seen", TensorSpec("float32", (4,)), None))
        assert isinstance(reply, Failed)
        assert reply.missing == (1,)
        assert isinstance(driver.run(add, F32, F32[0]), Executed)

    def test_fetch_limit(self, driver: Driver) -> None:
        add, arrays = CASES["add"]
        reply = driver.run(add, *arrays, fetch_limit=F32.nbytes - 1, result_keys=("kept",))
        assert isinstance(reply, Executed)
        assert reply.outputs == (None,)
        kept = driver.run(CASES["softmax"][0], Operand("kept", spec(F32), None))
        assert isinstance(kept, Executed)

    @pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "bool", "int64"])
    def test_rows_of_what_is_held_are_gathered_where_it_lies(self, driver: Driver, dtype: str) -> None:
        """A sample is what the same rows of the whole value are, bit by bit."""
        like = (np.arange(77 * 9).reshape(77, 9) % 5).astype(getattr(ml_dtypes, dtype, None) or dtype)
        wanted = unit("aten.flip.default", [X, (0,)], [spec(like)], [spec(like)])
        key = f"rows of {dtype}"
        kept = driver.run(wanted, like, fetch_limit=1, result_keys=(key,))
        assert isinstance(kept, Executed) and kept.outputs == (None,)
        (whole,) = driver.outputs(wanted, like)
        layout = layout_of(spec(like))
        rows = sampled_rows(layout, 10 * layout.row_bytes)
        assert 1 < len(rows) < 77
        (words,) = driver.outputs(layout.gather(len(rows)), Operand(key, layout.words, None), rows)
        assert words is not None and whole is not None
        np.testing.assert_array_equal(layout.elements(words).view(np.uint8), whole[rows].view(np.uint8))

    @pytest.mark.parametrize(
        "place",
        [Bytes("/nonexistent/operand", 0, 48), Bytes("/dev/null", 0, 48), Bytes("/etc/hostname", 0, 7)],
        ids=["no file", "too short", "wrong size"],
    )
    def test_bad_bytes(self, driver: Driver, place: Bytes) -> None:
        reply = driver.run(CASES["softmax"][0], Operand(f"bad {place}", spec(F32), place))
        assert isinstance(reply, Failed)
        assert reply.stage is Stage.UPLOAD
        assert reply.reason

    def test_hostile_operators_are_refused(self, driver: Driver, tmp_path: Any) -> None:
        trap = tmp_path / "trap"
        out = [TensorSpec("float32", (4,))]
        hostile = [
            unit("aten.from_file.default", [str(trap), True, 4], [], out),
            unit("os.system.default", ["true"], [], out),
            unit("aten.no_such_thing.default", [], [], out),
            unit("aten.zeros.default", [(1 << 40,)], [], [TensorSpec("float32", (1 << 40,))]),
            unit("aten.relu.default", [UnitInput(7)], [], out),
        ]
        for wanted in hostile:
            reply = driver.run(wanted)
            assert isinstance(reply, Failed), wanted
            assert reply.reason
        assert not trap.exists()
        assert isinstance(driver.run(*_with_arrays("softmax")), Executed)

    def test_describe(self, driver: Driver) -> None:
        wanted = CASES["softmax"][0]
        driver.backend.describe(wanted)
        text = driver.wait(lambda r: isinstance(r, KernelText) and r.signature == wanted.signature)
        assert isinstance(text, KernelText)
        assert "softmax" in "".join(body for _, body in text.sections)

    def test_interrupt_answers_everything_and_goes_on(self, driver: Driver) -> None:
        driver.run(*_with_arrays("softmax"))
        ids = [driver.execute(*_with_arrays("softmax")) for _ in range(50)]
        driver.backend.interrupt()
        for request_id in ids:
            driver.answer(request_id)
        assert isinstance(driver.run(*_with_arrays("softmax")), Executed)
        assert sorted(i for i in driver.answers() if i in ids) == ids

    def test_killed_in_the_middle_every_request_is_answered_once(self, driver: Driver) -> None:
        driver.run(*_with_arrays("softmax"))
        ids = [driver.execute(*_with_arrays("softmax")) for _ in range(40)]
        for pid in descendants(self.worker):
            os.kill(pid, signal.SIGKILL)
        # One may have been under way, and may be blamed; all others are done by the next process.
        failed = [reply for reply in map(driver.answer, ids) if isinstance(reply, Failed)]
        assert len(failed) <= 1, failed
        assert isinstance(driver.run(*_with_arrays("softmax")), Executed)
        assert sorted(i for i in driver.answers() if i in ids) == ids

    def test_after_an_error_of_this_program_all_is_answered_once_and_begun_anew(
        self, fresh: Driver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One answer of many trips us; the request that it was for is answered too."""
        trip = Trip(monkeypatch, after=10)
        fresh.run(*_with_arrays("softmax"))
        ids = [fresh.execute(*_with_arrays("softmax")) for _ in range(40)]
        failed = [reply for reply in map(fresh.answer, ids) if isinstance(reply, Failed)]
        assert len(failed) >= 1 and trip.trips == 1
        assert all("error of this program: KeyError: 'outputs'" in reply.reason for reply in failed), failed
        assert isinstance(fresh.run(*_with_arrays("softmax")), Executed)
        assert sorted(i for i in fresh.answers() if i in ids) == ids
        assert len(fresh.program_errors()) == 1

    def test_an_error_of_this_program_that_comes_again_and_again_ends_it(
        self, fresh: Driver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trip = Trip(monkeypatch, after=0, times=100)
        while fresh.states[-1:] == [] or fresh.states[-1].state is not State.FAILED:
            assert isinstance(fresh.run(*_with_arrays("softmax")), Failed)
            fresh.drain()
            assert trip.trips <= 4
        refused = fresh.run(*_with_arrays("softmax"))
        assert isinstance(refused, Failed) and "again and again" in refused.reason
        monkeypatch.undo()
        fresh.backend.restart()
        assert isinstance(fresh.run(*_with_arrays("softmax")), Executed)

    def test_restart_when_nothing_is_wrong_changes_nothing(self, driver: Driver) -> None:
        driver.backend.restart()
        reply = driver.run(*_with_arrays("softmax"))
        assert isinstance(reply, Executed), reply

    def test_close_answers_and_leaves_no_process(self, fresh: Driver) -> None:
        others = fresh.others
        ids = [fresh.execute(*_with_arrays("softmax")) for _ in range(5)]
        fresh.answer(ids[0])
        assert self.worker in str([command for pid, command in descendants().items() if pid not in others])
        fresh.backend.close()
        fresh.backend.close()
        late = fresh.execute(*_with_arrays("softmax"))
        for request_id in [*ids, late]:
            fresh.answer(request_id)
        assert sorted(fresh.answers()) == [*ids, late]
        assert set(descendants()) <= others


def _plus_one(times: int) -> np.ndarray:
    array = F32
    for _ in range(times):
        array = array + np.float32(1)
    return array


def _with_arrays(case: str) -> tuple[Any, ...]:
    wanted, arrays = CASES[case]
    return (wanted, *arrays)
