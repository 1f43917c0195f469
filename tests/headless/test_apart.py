"""How far two runs are apart: as float64 says, nothing looked at twice, and no bytes that are not what was written."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from tapml_tui.compare.distances import max_abs
from tapml_tui.headless.apart import distances
from tests.sampling import count, rng
from trace_format import Run, RunRecord, TraceError, open_run, read_run
from trace_format.model import RunOutput

BASE = "00" * 32
DTYPES = ("float16", "bfloat16", "float32", "float64", "complex64", "complex128", "int8", "int64", "uint8", "bool")


def written(path: Path, *outputs: tuple[np.ndarray | None, ...]) -> Run:
    """A run of which each record has these outputs; None: bytes that were not kept."""
    with open_run(path, BASE) as run:
        for number, arrays in enumerate(outputs):
            specs = tuple(RunOutput(*(("float32", (3,)) if a is None else (a.dtype.name, a.shape))) for a in arrays)
            run.append(RunRecord(f"{number}", "node", "case", "target", outputs=specs), arrays)
    return read_run(path)


def apart(folder: Path, *pairs: tuple[tuple[np.ndarray | None, ...], tuple[np.ndarray | None, ...]]) -> list[object]:
    runs = [written(folder / name, *(pair[side] for pair in pairs)) for side, name in enumerate(("a.run", "b.run"))]
    return list(distances(*runs, list(zip(*(run.records() for run in runs), strict=True))))


@pytest.mark.parametrize("name", DTYPES)
def test_the_distance_is_that_of_float64(name: str) -> None:
    dice = rng(f"{__name__} {name}")
    dtype = np.dtype(getattr(ml_dtypes, name, name))
    for _ in range(count(20, 500)):
        numbers = np.random.default_rng(dice.randrange(1 << 32))
        shape = dice.choice([(), (1,), (3, 5), (70000,)])
        wide = [numbers.normal(size=shape) * 10.0 ** dice.randint(-3, 2) for _ in range(2)]
        if dtype.kind == "c":
            wide = [one + 1j * numbers.normal(size=shape) for one in wide]
        with np.errstate(invalid="ignore"):
            a, b = (np.asarray(one).astype(dtype) for one in wide)
            parts = [x.astype(np.complex128 if dtype.kind == "c" else np.float64).reshape(-1) for x in (a, b)]
        difference = parts[0] - parts[1]
        right = max(np.abs(difference.real).max(), np.abs(difference.imag).max())
        assert max_abs(a, b) == pytest.approx(right, rel=2.0**-24)


def test_what_float32_cannot_hold() -> None:
    most = np.finfo(np.float32).max
    one, other = np.full(3, most, np.float32), np.full(3, -most, np.float32)
    assert max_abs(one, other) == 2.0 * float(most)
    assert max_abs(np.float32([1]), np.float64([1 + 1e-12])) == pytest.approx(1e-12, rel=1e-3)
    assert max_abs(np.float32([1, np.inf]), np.float32([2, 3])) == np.inf
    assert np.isnan(max_abs(np.float32([np.inf, 1]), np.float32([np.inf, 2])))
    assert np.isnan(max_abs(np.float32([5, np.nan]), np.float32([2, 3])))


def test_outputs_are_taken_together_and_a_nan_stays_one(tmp_path: Path) -> None:
    one, other, nan = (np.full(3, value, np.float32) for value in (1.0, 3.0, np.nan))
    found = apart(
        tmp_path,
        ((one,), (other,)),
        ((one, one), (one, other)),
        ((nan, one), (one, other)),
        ((one, nan), (other, one)),
        ((nan, one), (nan, other)),  # the same bits: not apart
        ((one,), (None,)),
        ((one,), (one[:2],)),
        ((one,), (other.astype(np.float64),)),
        ((one,), (one, one)),
    )
    assert found == [2.0, 2.0, pytest.approx(np.nan, nan_ok=True), pytest.approx(np.nan, nan_ok=True), 2.0, *[None] * 4]


def test_bytes_that_are_not_what_was_written_are_refused(tmp_path: Path) -> None:
    one, other = np.ones(1000, np.float32), np.full(1000, 3, np.float32)
    written(tmp_path / "b.run", (other,)).close()
    spoilt = (tmp_path / "b.run").read_bytes().replace(other.tobytes(), other.tobytes()[:-1] + b"\0")
    (tmp_path / "b.run").write_bytes(spoilt)
    with written(tmp_path / "a.run", (one,)) as run_a, read_run(tmp_path / "b.run") as run_b:
        (a,), (b,) = run_a.records(), run_b.records()
        with pytest.raises(TraceError, match="not what was written"):
            distances(run_a, run_b, [(a, b)])


def test_what_was_checked_while_somebody_waited_is_refused_all_the_same_where_it_is_wrong(tmp_path: Path) -> None:
    good, bad = np.ones(1000, np.float32), np.full(1000, 3, np.float32)
    written(tmp_path / "b.run", (good, bad)).close()
    spoilt = (tmp_path / "b.run").read_bytes().replace(bad.tobytes(), bad.tobytes()[:-1] + b"\0")
    (tmp_path / "b.run").write_bytes(spoilt)
    with read_run(tmp_path / "b.run") as run:
        assert len(list(run.check_ahead())) == 2
        outputs = [output for record in run.records() for output in record.outputs]
        assert np.array_equal(run.array(outputs[0]), good)
        with pytest.raises(TraceError, match="not what was written"):
            run.array(outputs[1])
