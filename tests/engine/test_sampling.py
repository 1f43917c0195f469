"""Values above the fetch limit: a sample decides what it can, all of it is fetched when that is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tapml_tui.backends.protocol import TensorSpec
from tapml_tui.compare import Status, Verdict
from tapml_tui.engine import sampling
from tapml_tui.engine.commands import FetchWhole, Interrupt, Mode, RunNodes, SetBackend, Verb
from tapml_tui.engine.events import StopReason
from tapml_tui.engine.sampling import LEAST, layout_of, pieces, sampled_rows
from tests import sampling as chance
from tests.backends.driver import wait_until
from tests.engine.numpy_backend import NumpyBackend
from tests.engine.toys import Driver, mlp

SIZE = 96
LIMIT = 1000  # bytes; a value has 36 864
NODE = 4
FAULTY = "layers.1/aten.add.Tensor#0"

Damage = Callable[[np.ndarray], None]


def _driver(folder: Path, damage: Damage | None = None, **options: object) -> Driver:
    def broken(outputs: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        wrong = outputs[0].copy()
        assert damage is not None
        damage(wrong)
        return (wrong,)

    target = NumpyBackend("target", faults={FAULTY: broken} if damage is not None else {})
    trace = mlp(size=SIZE).write(folder / "t.trace")
    assert trace.graphs[0].node_id(NODE) == FAULTY
    return Driver(trace, (NumpyBackend("source"), target), fetch_limit=LIMIT, **options)  # type: ignore[arg-type]


def _rows() -> np.ndarray:
    return sampled_rows(layout_of(TensorSpec("float32", (SIZE, SIZE))), LIMIT)


@pytest.mark.parametrize("mode", Mode)
def test_what_agrees_in_a_sample_is_not_run_until_all_of_it_is_fetched(tmp_path: Path, mode: Mode) -> None:
    with _driver(tmp_path, mode=mode) as driver:
        end = driver.step(Verb.CONTINUE)
        assert (end.counts.not_run, end.stopped) == (9, StopReason.END)
        result = driver.engine.result(NODE)
        assert result.reason == f"sampled: {len(_rows()) * SIZE} of {SIZE * SIZE} agree"
        assert result.sampled and result.verdict is Verdict.NONE and driver.engine.actual(NODE, 0) is None
        assert driver.target.fetched == 9 * len(_rows()) * SIZE * 4
        fetched = driver.do(FetchWhole(NODE))
        assert fetched.counts.passed == 1 and not driver.engine.result(NODE).sampled
        np.testing.assert_allclose(driver.engine.actual(NODE, 0), driver.engine.reference(NODE, 0), atol=1e-4)
        # Fetching it later changes nothing for those who have used it.
        assert not driver.engine.table.flags.any()


def _columns(array: np.ndarray) -> None:
    array[:, 5] = -array[:, 5]


@pytest.mark.parametrize("mode", Mode)
def test_a_sample_that_disagrees_is_a_failure(tmp_path: Path, mode: Mode) -> None:
    with _driver(tmp_path, _columns, mode=mode) as driver:
        driver.do(RunNodes())
        result = driver.engine.result(NODE)
        assert result.status is Status.FAILED and result.sampled
        assert f"in a sample of {len(_rows()) * SIZE} of {SIZE * SIZE} elements" in result.reason
        (output,) = result.outputs
        assert output.comparison.worst[1] == 5 and output.comparison.worst[0] in _rows()
        assert f"worst at {list(output.comparison.worst)}" in result.reason
        verdicts = [driver.engine.result(node).verdict for node in range(len(driver.engine.graph))]
        if mode is Mode.CHAINED:
            assert [node for node, one in enumerate(verdicts) if one is Verdict.LOCAL] == [NODE]
            assert set(verdicts[NODE + 1 :]) & {Verdict.INHERITED, Verdict.AMPLIFIED}, verdicts


def test_what_a_sample_does_not_see_the_whole_does(tmp_path: Path) -> None:
    unseen = next(row for row in range(SIZE) if row not in _rows())

    def damage(array: np.ndarray) -> None:
        array[unseen] = 0

    with _driver(tmp_path, damage, mode=Mode.ISOLATED) as driver:
        driver.do(RunNodes())
        assert driver.engine.result(NODE).status is Status.NOT_RUN
        driver.do(FetchWhole(NODE))
        result = driver.engine.result(NODE)
        assert result.status is Status.FAILED and result.finding is not None


def test_a_race_that_a_sample_shows_is_an_error(tmp_path: Path) -> None:
    shift = iter(range(1, 100))

    def damage(array: np.ndarray) -> None:
        array += next(shift)

    with _driver(tmp_path, damage) as driver:
        driver.do(RunNodes())
        result = driver.engine.result(NODE)
        assert result.status is Status.ERROR and "differs between two runs" in result.reason


def test_all_of_it_comes_in_pieces_with_progress_and_can_be_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "PIECE", 4 * SIZE * 4)
    monkeypatch.setattr(sampling, "_ROW", SIZE * 4)
    with _driver(tmp_path) as driver:
        driver.do(RunNodes())
        executed = len(driver.target.executed)
        driver.do(FetchWhole(NODE))
        assert driver.engine.result(NODE).status is Status.PASSED
        assert driver.target.executed[executed:] == [FAULTY] * (SIZE // 4)  # its pieces; it was not executed again

        driver.target.stopped.clear()
        ticket = driver.engine.submit(FetchWhole(NODE + 1))
        wait_until(lambda: driver.engine.snapshot.progress == (0, SIZE // 4), "progress is told")
        assert driver.engine.snapshot.activity.startswith("fetching layers.1.mlp")
        driver.do(Interrupt())
        assert driver.wait(ticket).stopped is StopReason.INTERRUPTED
        assert driver.engine.result(NODE + 1).status is Status.NOT_RUN
        driver.do(FetchWhole(NODE + 1))
        assert driver.engine.result(NODE + 1).status is Status.PASSED


def test_what_the_device_lost_is_computed_again(tmp_path: Path) -> None:
    """Nothing but the device has these values: when it lost them, whoever makes them has to run once more."""
    target = NumpyBackend("target", holds=0)
    trace = mlp(layers=5, size=SIZE).write(tmp_path / "t.trace")
    with Driver(trace, (NumpyBackend("source"), target), fetch_limit=LIMIT) as driver:
        target.holds = 1000
        driver.step(Verb.INTO)
        driver.do(RunNodes())
        target.forget()
        last = len(driver.engine.graph) - 1
        driver.do(SetBackend(last, last + 1, "source"))
        driver.do(RunNodes())
        result = driver.engine.result(last)
        assert result.backend == "source" and result.sampled and result.reason.startswith("sampled"), result


@pytest.mark.slow
def test_rows_of_any_value() -> None:
    random = chance.rng("rows of a sample")
    for _ in range(chance.count(200, 5000)):
        shape = tuple(random.choice([1, 2, 3, 7, 31, 32, 100, 257, 1000]) for _ in range(random.randrange(4)))
        dtype = random.choice(["float32", "float16", "bool", "int64", "bfloat16", "complex128"])
        limit = random.choice([1, 100, 10_000, 1 << 20, 1 << 40])
        for whole in (False, True):
            layout = layout_of(TensorSpec(dtype, shape), whole=whole)
            assert layout.count * layout.width == np.prod(shape, dtype=int)
            words = layout.words
            assert np.prod(words.shape) * np.dtype(words.dtype).itemsize == layout.count * layout.row_bytes
            rows, starts = pieces(layout)
            covered = {min(start, layout.count - rows) + i for start in starts for i in range(rows)}
            assert covered == set(range(layout.count))
        layout = layout_of(TensorSpec(dtype, shape))
        chosen = sampled_rows(layout, limit)
        assert chosen[0] == 0 and chosen[-1] == layout.count - 1 and (np.diff(chosen) > 0).all()
        assert len(chosen) <= max(LEAST, min(limit, sampling.SAMPLE) // layout.row_bytes) or layout.count <= LEAST
        np.testing.assert_array_equal(chosen, sampled_rows(layout, limit))


@pytest.mark.parametrize("shape", [(4096, 4096), (8, 12, 512, 512), (3, 1000, 4000)])
def test_a_sample_meets_what_kernels_get_wrong(shape: tuple[int, ...]) -> None:
    """The last tile, the rows behind a tile, any fortieth of all rows."""
    layout = layout_of(TensorSpec("float32", shape))
    chosen = set(sampled_rows(layout, 64 << 20).tolist())
    assert len(chosen) * layout.row_bytes <= sampling.SAMPLE
    height = shape[-2]
    for tile in (8, 32, 128):
        assert {tile - 1, tile} <= chosen
        assert (layout.count - height) + height // tile * tile - 1 in chosen
    part = layout.count // 40
    assert all(any(row in chosen for row in range(i, i + part)) for i in range(0, layout.count - part, part))


def test_where_the_answer_alone_is_judged_nothing_else_is_fetched(tmp_path: Path) -> None:
    def wrong(outputs: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        return (-outputs[0],)

    trace = mlp(size=SIZE).write(tmp_path / "t.trace")
    target = NumpyBackend("target")
    with Driver(trace, (NumpyBackend("source"), target), answer_only=True) as driver:
        end = driver.do(RunNodes())
        assert (end.counts.not_run, end.answer.passed) == (9, True)
        assert "end-to-end" in driver.engine.result(NODE).reason and driver.engine.actual(NODE, 0) is None
        assert target.fetched == SIZE * SIZE * 4 and len(target.executed) == 9
        assert driver.do(FetchWhole(NODE)).counts.not_run == 9 and driver.engine.actual(NODE, 0) is not None
        target.faults[FAULTY] = wrong
        target.forget()  # as a lost connection does
        uploads = len(target.uploads)
        assert driver.do(RunNodes(again=True)).answer.passed is False
        assert len(target.uploads) > uploads  # nothing that was sent before is trusted
