"""A kernel that is wrong is looked at: what kind of wrong it is goes with its result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tapml_tui.compare import attention, compare
from tapml_tui.compare.diagnosis import Kind, diagnose
from tapml_tui.compare.overrides import Overrides, parse_overrides
from tapml_tui.compare.precision import precision
from tapml_tui.engine.commands import Mode, RunNodes
from tapml_tui.engine.examining import allowance_of
from tests import sampling
from tests.engine.numpy_backend import Arrays, NumpyBackend
from tests.engine.test_grey_zone import GUILTY, PLACE, noisy, otherwise_rounded
from tests.engine.toys import Driver, Toy, mlp
from trace_format.model import InputRef

FIRST = "layers.0.attn/aten.matmul.default#0"


def doubled(right: Arrays) -> Arrays:
    return (right[0] * np.float32(2),)


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("place", [0, PLACE])
def test_the_guilty_kernel_has_a_diagnosis_and_those_that_inherit_have_none(
    place: int, mode: Mode, tmp_path: Path
) -> None:
    with Driver(mlp(size=16).write(tmp_path / "t.trace"), mode=mode) as driver:
        driver.target.faults[driver.engine.graph.node_id(place)] = doubled
        driver.do(RunNodes())
        finding = driver.engine.result(place).finding
        assert finding is not None and finding.diagnosis is not None
        assert (finding.output, finding.diagnosis.kind) == (0, Kind.SCALE)
        assert "2" in finding.diagnosis.sentence
        others = [driver.engine.result(node) for node in range(9) if node != place]
        assert all(other.finding is None for other in others)


def test_against_the_source_on_its_real_inputs(tmp_path: Path) -> None:
    def shifted(right: Arrays) -> Arrays:
        return (right[0] + np.float32(1e-4),)

    with Driver(mlp(size=16, edit=noisy).write(tmp_path / "t.trace")) as driver:
        driver.target.faults.update({FIRST: otherwise_rounded, GUILTY: shifted})
        driver.do(RunNodes())
        assert driver.engine.result(PLACE).live
        assert driver.engine.result(PLACE).finding.diagnosis.kind is Kind.OFFSET


def test_a_nan_is_said_to_be_born_here_or_to_have_come_in(tmp_path: Path) -> None:
    def with_nan(right: Arrays) -> Arrays:
        wrong = right[0].copy()
        wrong[3] = np.nan
        return (wrong,)

    with Driver(mlp(size=16).write(tmp_path / "t.trace"), mode=Mode.ISOLATED) as driver:
        driver.target.faults[FIRST] = with_nan
        driver.do(RunNodes())
        diagnosis = driver.engine.result(0).finding.diagnosis
        assert diagnosis.kind is Kind.NAN
        assert "born here" in diagnosis.sentence


def test_what_an_earlier_call_left_behind_is_recognised(tmp_path: Path) -> None:
    left: list[np.ndarray] = []

    def stale(right: Arrays) -> Arrays:
        return (left[0],)

    def remember(right: Arrays) -> Arrays:
        left.append(right[0])
        return right

    toy = Toy(size=16)
    toy.call("aten.matmul.default", InputRef(0), InputRef(1))
    toy.call("aten.matmul.default", InputRef(1), InputRef(0))
    target = NumpyBackend("target", faults={"/aten.matmul.default#0": remember, "/aten.matmul.default#1": stale})
    with Driver(toy.write(tmp_path / "t.trace"), (NumpyBackend("source"), target), mode=Mode.ISOLATED) as driver:
        driver.do(RunNodes())
        assert driver.engine.result(1).finding.diagnosis.kind is Kind.STALE


def test_a_wrong_shape_needs_no_more_words(tmp_path: Path) -> None:
    with Driver(mlp().write(tmp_path / "t.trace"), mode=Mode.ISOLATED) as driver:
        driver.target.faults[FIRST] = lambda right: (right[0][:-1],)
        driver.do(RunNodes())
        assert "wrong shape" in driver.engine.result(0).reason
        assert driver.engine.result(0).finding is None


# What the user allows


def rules(text: str) -> Overrides:
    return parse_overrides(text, "mine.toml")


@pytest.mark.parametrize("mode", list(Mode))
def test_what_the_user_allows_passes_and_says_so(mode: Mode, tmp_path: Path) -> None:
    allowed = rules('[[tolerance]]\nnode = "layers.*"\noperator = "aten.matmul.*"\natol = 9\nreason = "TICKET-7"')
    with Driver(mlp().write(tmp_path / "t.trace"), mode=mode, overrides=allowed) as driver:
        assert driver.engine.snapshot.message == "1 tolerance of yours counts: mine.toml"
        driver.target.faults[FIRST] = doubled
        driver.do(RunNodes())
        result = driver.engine.result(0)
        assert result.status == "passed"
        assert "TICKET-7" in result.override and "mine.toml, line 1" in result.override
        assert driver.engine.result(1).override == ""
        assert driver.engine.result(1).status == ("passed" if mode is Mode.ISOLATED else "failed")


def test_a_kernel_may_be_a_few_floors_off_where_the_user_allows_it(tmp_path: Path) -> None:
    def off(right: Arrays) -> Arrays:
        return (right[0] + np.float32(1e-4),)

    trace = mlp().write(tmp_path / "t.trace")
    with Driver(trace, mode=Mode.ISOLATED) as driver:
        driver.target.faults[FIRST] = off
        driver.do(RunNodes())
        factor = driver.engine.result(0).factor
    assert factor > 2
    for times, status in ((round(factor / 2), "failed"), (round(2 * factor), "passed")):
        allowed = rules(f"[[tolerance]]\ntimes = {times}")
        with Driver(mlp().write(tmp_path / f"{status}.trace"), mode=Mode.ISOLATED, overrides=allowed) as driver:
            driver.target.faults[FIRST] = off
            driver.do(RunNodes())
            assert driver.engine.result(0).status == status
            assert f"{times} times the floor is allowed everywhere" in driver.engine.result(0).override


@pytest.mark.parametrize("mode", list(Mode))
def test_what_is_ignored_is_not_compared_and_is_no_pass(mode: Mode, tmp_path: Path) -> None:
    ignored = rules('[[tolerance]]\noperator = "aten.matmul.*"\nignore = true\nreason = "known"')
    with Driver(mlp().write(tmp_path / "t.trace"), mode=mode, overrides=ignored) as driver:
        driver.target.faults[FIRST] = lambda right: (np.nextafter(right[0], np.float32(9)),)
        driver.do(RunNodes())
        result = driver.engine.result(0)
        assert (result.status, result.finding) == ("not_run", None)
        assert "known" in result.reason and "known" in result.override
        assert driver.statuses() == ["not_run", "passed", "passed"] * 3


def test_a_faint_offset_is_told_from_rounding_where_some_elements_are_known_much_better_than_others() -> None:
    """In half precision an element of small terms is known to a thousandth of what the largest ones may be off."""
    random = np.random.default_rng(sampling.rng("offset").getrandbits(64))
    query, key, value = (random.normal(size=(2, 24, 16)).astype(np.float16) for _ in range(3))
    value[..., ::5] *= np.float16(1e-3)
    unit = precision(value.dtype)
    assert unit is not None
    found = attention.known(query, key, value, unit, mask=None, scale=0.25)
    assert found is not None and found.truth is not None
    reference = (found.truth + random.normal(size=found.truth.shape) * found.straying / 8).astype(np.float16)
    for offset, times in ((0.1, 1.0), (0.001, 1.0), (0.001, 3.0)):
        actual = (found.truth + offset).astype(np.float16)
        override = parse_overrides(f'[[tolerance]]\nnode = "*"\ntimes = {times}', "t").find("n", "o", "float16")
        comparison = compare(reference, actual, known=found, override=override)
        assert not comparison.passed
        allowance = allowance_of(comparison, reference, actual, found)
        wide = reference.astype(np.float64), actual.astype(np.float64)
        assert (np.abs(wide[1] - wide[0]) / allowance).max() == pytest.approx(comparison.factor, rel=1e-6)
        diagnosis = diagnose(reference, actual, allowance=allowance, operator="aten.scaled_dot_product_attention")
        assert diagnosis is not None and diagnosis.kind is Kind.OFFSET
