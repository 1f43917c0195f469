"""`check` where little may come back: the answer alone, and samples."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tapml_tui.headless.check import Request, check
from tapml_tui.headless.exits import Exit
from tests.engine.numpy_backend import NumpyBackend
from tests.engine.toys import mlp

SIZE = 32
VALUE = SIZE * SIZE * 4

Fault = Callable[[tuple[np.ndarray, ...]], tuple[np.ndarray, ...]]


def _checked(folder: Path, fault: Fault | None = None, **more: Any) -> tuple[int, dict[str, Any], NumpyBackend]:
    path = folder / "toy.trace"
    mlp(size=SIZE).write(path).close()
    target = NumpyBackend("target", faults={"layers.1/aten.add.Tensor#0": fault} if fault is not None else {})
    request = Request(str(path), mode="chained", json=str(folder / "report.json"), **more)
    code = check(request, lambda: (NumpyBackend("source"), target))
    return code, json.loads((folder / "report.json").read_text()), target


def test_the_answer_alone_passes(tmp_path: Path) -> None:
    code, report, target = _checked(tmp_path, answer_only=True)
    assert code == Exit.OK
    assert [end["passed"] for end in report["end_to_end"]] == [True]
    assert {node["status"] for node in report["nodes"]} == {"not_run"}
    assert report["placement"]["share"] == 1.0
    assert target.fetched == VALUE


def test_a_wrong_answer_is_confirmed_by_a_second_run(tmp_path: Path) -> None:
    code, report, target = _checked(tmp_path, lambda outputs: (-outputs[0],), answer_only=True)
    assert code == Exit.FAILED
    assert [end["passed"] for end in report["end_to_end"]] == [False]
    assert len(target.executed) == 18 and target.fetched == 2 * VALUE


def test_an_answer_that_changes_is_no_verdict(tmp_path: Path) -> None:
    runs = iter([-1.0, -2.0])
    code, report, _ = _checked(tmp_path, lambda outputs: (outputs[0] * np.float32(next(runs)),), answer_only=True)
    (end,) = report["end_to_end"]
    assert (code, end["passed"]) == (Exit.FAILED, None)
    assert "differs between two runs" in end["reason"]


def test_above_the_limit_a_sample_is_judged(tmp_path: Path) -> None:
    code, report, target = _checked(tmp_path, fetch_limit=VALUE - 1)
    assert code == Exit.FAILED  # nothing was compared as a whole, so nothing passed
    assert all(node["status"] == "not_run" and node["sampled"] for node in report["nodes"])
    assert all(node["reason"].startswith("sampled: ") for node in report["nodes"])
    assert target.fetched < 9 * VALUE
    _, report, _ = _checked(tmp_path, lambda outputs: (-outputs[0],), fetch_limit=VALUE - 1)
    assert [node["id"] for node in report["nodes"] if node["verdict"] == "LOCAL"] == ["layers.1/aten.add.Tensor#0"]
