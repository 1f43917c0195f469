"""The page of one node: everything that matters on one screen of 80x24, whatever became of the node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tapml_tui.backends.protocol import TensorSpec
from tapml_tui.compare import compare
from tapml_tui.compare.diagnosis import diagnose
from tapml_tui.compare.overrides import Override
from tapml_tui.compare.result import Comparison, Status, Verdict
from tapml_tui.engine.events import NodeResult, OutputResult
from tapml_tui.engine.examining import Finding
from tapml_tui.engine.table import STALE
from tapml_tui.engine.values import Stored
from tapml_tui.ui import findings, node_page
from tapml_tui.ui.lines import length, text_of
from tapml_tui.ui.node_page import Room
from tests.ui.scripted import ScriptedEngine, transformer
from trace_format.model import Floor

SMALL, LARGE = Room(35, 19), Room(54, 35)
NODE = 9
FLOOR = Floor(1e-7, 1e-8, "float64", 1.0, 1e-8)


def tail(right: np.ndarray) -> np.ndarray:
    wrong = right.copy()
    wrong[..., 96:] = 0
    return wrong


def scaled(right: np.ndarray) -> np.ndarray:
    return right * np.float32(1.5)


def one_row(right: np.ndarray) -> np.ndarray:
    wrong = right.copy()
    wrong[0, 2, 5] += 0.3
    return wrong


def transposed(right: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(right.swapaxes(2, 3)).reshape(right.shape)


def nan(right: np.ndarray) -> np.ndarray:
    wrong = right.copy()
    wrong[0, 1, 3] = np.nan
    return wrong


FAULTS = {tail: "zero", scaled: "1.5 times", one_row: "row 5", transposed: "ransposed", nan: "NaN"}


def judged(fault: Callable[[np.ndarray], np.ndarray], **how: Any) -> tuple[ScriptedEngine, Comparison]:
    """An engine whose node has the result of a fault, found and proven on the recorded inputs."""
    engine = ScriptedEngine(transformer(1), lambda event: None)
    right = np.random.default_rng(3).normal(size=(1, 4, 8, 128)).astype(np.float32)
    wrong = fault(right)
    comparison = compare(right, wrong, floor=how.pop("floor", FLOOR), terms=64.0, **how)
    diagnosis = diagnose(right, wrong, allowance=comparison.law.allowance if comparison.law is not None else 0.0)
    spec = TensorSpec("float32", right.shape)
    stored = Stored("k", spec, None)
    finding = None if comparison.passed else Finding(0, diagnosis, comparison, stored, stored)
    verdict = Verdict.CLEAN if comparison.passed else Verdict.LOCAL
    status = Status.PASSED if comparison.passed else Status.FAILED
    engine.results[NODE] = NodeResult(
        NODE,
        "target",
        status,
        verdict,
        comparison.reason,
        factor=comparison.factor,
        outputs=(OutputResult(spec, "k", None, comparison),),
        finding=finding,
    )
    for node in (0, NODE):  # what the engine proves with, and what it shows
        engine.values[node, "reference"], engine.values[node, "actual"] = right, wrong
    return engine, comparison


def page(engine: ScriptedEngine, room: Room) -> list[str]:
    result = engine.result(NODE)
    assert result is not None
    what = findings.shown(result)
    found = findings.find(engine, result, what) if what is not None else None  # type: ignore[arg-type]
    content = node_page.of_node(engine, NODE, room, found)  # type: ignore[arg-type]
    assert all(length(line) <= room.width for line in content), text_of(content)
    assert len(content) <= room.height, text_of(content)
    return text_of(content).splitlines()


@pytest.mark.parametrize("room", [SMALL, LARGE], ids=["80x24", "120x40"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_is_understood_from_one_screen(fault: Callable[..., np.ndarray], room: Room) -> None:
    engine, comparison = judged(fault)
    shown = page(engine, room)
    assert shown[0].startswith("✗ LOCAL") and shown[1] == "This kernel is wrong."
    words = " ".join(shown[2:7])
    assert FAULTS[fault] in words
    everything = "\n".join(shown)
    assert "where  ↓ axes 0-2" in everything and "█" in everything
    assert str(list(comparison.worst or ())) in everything
    if np.isfinite(comparison.factor):
        assert "x the floor of" in everything and "float64 replay" in everything
        assert "passes   at rtol" in everything and "|error|" in everything
    else:
        assert "are NaN, source: none" in everything and "at no tolerance" in everything
    assert ("blind" in everything) == (fault in (scaled, one_row, nan))


def test_at_large_every_metric_is_there() -> None:
    everything = "\n".join(page(judged(tail)[0], LARGE))
    for name in (
        "max abs",
        "rel",
        "outside",
        "worst at",
        "cosine",
        "snr",
        "pearson",
        "mean abs",
        "rmse",
        "ULP",
        "first",
    ):
        assert name in everything
    assert "← floor" in everything or "elements by |error|" in everything


def test_what_passes_says_so_first() -> None:
    shown = page(judged(lambda right: np.nextafter(right, np.float32(9)))[0], SMALL)
    assert shown[0].startswith("✓ passed") and "Within the noise floor." in shown[1]
    assert not any("where" in line for line in shown)


def test_where_bits_must_agree_it_is_said() -> None:
    shown = "\n".join(page(judged(one_row, floor=Floor(0.0, 0.0, "exact"))[0], SMALL))
    assert "128 of 4096 are not equal" in shown and "bits must agree" in shown


def test_a_tolerance_of_the_user_is_on_the_page() -> None:
    override = Override(node="*softmax*", atol=1e-9, reason="the driver is old", place="tolerances.toml, line 3")
    shown = " ".join(" ".join(page(judged(tail, override=override)[0], LARGE)).split())
    assert "set by you" in shown and "the driver is old" in shown and "line 3" in shown


def test_a_node_that_is_right_on_wrong_inputs_shows_the_run_and_the_proof_of_its_innocence() -> None:
    engine, comparison = judged(tail)
    fine = Comparison(passed=True, factor=0.4, compared=4096)
    inherited = replace(engine.results[NODE], verdict=Verdict.INHERITED, finding=None, isolated=(fine,), live=(fine,))
    engine.results[NODE] = inherited
    shown = "\n".join(page(engine, LARGE))
    assert "its inputs were wrong" in " ".join(shown.split())
    assert "✓ 0.4 x  recorded inputs" in shown and "✓ 0.4 x  source on the same inputs" in shown
    assert comparison.factor > 1


def test_a_guilty_kernel_is_shown_by_its_proof_beside_the_number_of_the_run() -> None:
    engine, comparison = judged(tail)
    in_run = replace(comparison, factor=77.0)
    result = engine.results[NODE]
    outputs = (replace(result.outputs[0], comparison=in_run),)
    engine.results[NODE] = replace(result, outputs=outputs, isolated=(comparison,))
    shown = "\n".join(page(engine, LARGE))
    assert "recorded inputs" in shown and "✗ 77 x  in this run" in shown


def test_what_an_earlier_session_found_is_said_before_it_is_computed_again() -> None:
    engine = ScriptedEngine(transformer(1), lambda event: None)
    engine.table.record(NODE, Status.FAILED, Verdict.LOCAL, 77.0)
    engine.table.flags[NODE] |= STALE
    shown = " ".join(text_of(node_page.of_node(engine, NODE, SMALL)).split())
    assert "~ LOCAL" in shown and "77 x the floor" in shown and "of an earlier session" in shown
    assert "not run" not in shown
