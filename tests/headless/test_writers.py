"""JSON and JUnit over results: always valid, whatever a trace calls its nodes."""

from __future__ import annotations

import json
import math
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapml_tui.backends.protocol import TensorSpec
from tapml_tui.compare.result import Comparison, Status, Verdict
from tapml_tui.engine.commands import Mode
from tapml_tui.engine.events import NodeResult, OutputResult
from tapml_tui.headless import junit, strict_json
from tapml_tui.headless.entries import Entry, Subject, entry_of

SPEC = TensorSpec("float32", (2, 3))
KEYS = {
    *("id", "name", "graph", "case", "op", "module", "signature", "inputs", "outputs", "backend", "status"),
    *("verdict", "reason", "isolated", "chained", "metrics", "diagnosis", "override", "ms"),
}


def subject(name: str = "linear", case: str = "one") -> Subject:
    return Subject(
        id=f"layers.0/{name}",
        name=name,
        graph="model",
        case=case,
        op="aten.linear.default",
        path="layers.0",
        signature="0123",
        inputs=(SPEC, SPEC),
        outputs=(SPEC,),
        compute=True,
    )


def result(status: Status, comparison: Comparison | None = None, **more: object) -> NodeResult:
    outputs = (OutputResult(SPEC, "key", None, comparison),)
    return NodeResult(node=0, backend="target", status=status, outputs=outputs, **more)  # type: ignore[arg-type]


def never_run(what: Subject, reason: str, mode: Mode = Mode.ISOLATED) -> Entry:
    return entry_of(what, NodeResult(0, "target", Status.NOT_RUN, reason=reason), mode)


BAD = Comparison(
    passed=False,
    reason="812 x the floor",
    factor=math.inf,
    max_abs=math.nan,
    worst=(0, 1),
    worst_values=(complex(1, math.nan), -math.inf),
)


@pytest.mark.parametrize("mode", Mode)
def test_every_entry_has_every_key(mode: Mode) -> None:
    entries = [
        entry_of(subject(), result(Status.FAILED, BAD, verdict=Verdict.LOCAL, isolated=(BAD,)), mode),
        never_run(subject(), "not asked for", mode),
    ]
    for entry in entries:
        assert set(entry) >= KEYS


def test_chained_and_isolated_judgements_are_kept_apart() -> None:
    fine = Comparison(passed=True, factor=0.5)
    entry = entry_of(subject(), result(Status.FAILED, BAD, isolated=(fine,), live=(fine,)), Mode.CHAINED)
    assert entry["isolated"] == {"passed": True, "factor": 0.5, "reason": ""}
    assert entry["chained"]["passed"] is False
    assert entry["metrics"]["worst"] == [0, 1]
    alone = entry_of(subject(), result(Status.PASSED, fine), Mode.ISOLATED)
    assert alone["isolated"]["passed"] is True
    assert alone["chained"] is None


def test_the_worst_output_speaks_for_the_node() -> None:
    passed = Comparison(passed=True, factor=3.0, limit=4.0)
    failed = Comparison(passed=False, factor=2.0, limit=1.0, reason="bits differ")
    outputs = tuple(OutputResult(SPEC, "key", None, one) for one in (passed, failed))
    entry = entry_of(subject(), NodeResult(0, "target", Status.FAILED, outputs=outputs), Mode.ISOLATED)
    assert entry["metrics"]["factor"] == 2.0
    assert entry["isolated"]["reason"] == "bits differ"


def test_odd_floats_are_valid_json() -> None:
    entry = entry_of(subject(), result(Status.FAILED, BAD), Mode.ISOLATED)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    back = json.loads(strict_json.dumps(entry), parse_constant=refuse)
    assert back["metrics"]["factor"] == "Infinity"
    assert back["metrics"]["max_abs"] == "NaN"
    assert back["metrics"]["worst_values"] == [[1.0, "NaN"], "-Infinity"]


@given(st.text(st.characters(), max_size=40))
def test_json_of_any_name_is_printable_ascii(name: str) -> None:
    text = strict_json.dumps(never_run(subject(name), name))
    assert text.isascii()
    assert text.isprintable()


@given(st.text(st.characters(), max_size=40))
def test_junit_of_any_name_parses_and_carries_no_control_characters(name: str) -> None:
    xml = junit.to_xml([entry_of(subject(name), result(Status.FAILED, reason=name), Mode.ISOLATED)], strict=False)
    assert ElementTree.fromstring(xml).find(".//failure") is not None
    assert not any((ord(c) < 32 and c not in "\t\n\r") or 0x7F <= ord(c) < 0xA0 for c in xml.decode())


@pytest.mark.parametrize(("strict", "failures", "skipped"), [(False, 1, 2), (True, 2, 1)])
def test_junit_counts(strict: bool, failures: int, skipped: int) -> None:
    entries = [
        entry_of(subject(case=case), result(status, reason="because"), Mode.ISOLATED)
        for case, status in [
            ("one", Status.PASSED),
            ("one", Status.FAILED),
            ("one", Status.ERROR),
            ("two", Status.UNSUPPORTED),
            ("two", Status.NOT_RUN),
        ]
    ]
    root = ElementTree.fromstring(junit.to_xml(entries, strict=strict))
    assert [suite.get("name") for suite in root] == ["model: one", "model: two"]
    assert [root.get(key) for key in ("tests", "failures", "errors", "skipped")] == [
        "5",
        str(failures),
        "1",
        str(skipped),
    ]
    assert [suite.get("tests") for suite in root] == ["3", "2"]
