"""The end-to-end verdict and the blame for it, as plain data and in words."""

from __future__ import annotations

from typing import Any

from tapml_tui.engine.answering import Answer
from tapml_tui.engine.blaming import BlameReport
from tapml_tui.engine.end_to_end import OutputVerdict


def output_document(one: OutputVerdict) -> dict[str, Any]:
    """One output of the model: `{"output", "name", "kind", "passed", "reason", "measures", "elementwise", ...}`."""
    comparison = one.comparison
    return {
        "output": one.output,
        "name": one.name,
        "kind": one.kind.value,
        "passed": one.passed,
        "reason": one.reason,
        "measures": [
            {"name": m.name, "value": m.value, "threshold": m.threshold, "at_least": m.at_least, "holds": m.holds}
            for m in one.measures
        ],
        "elementwise": None
        if comparison is None
        else {"passed": comparison.passed, "factor": comparison.factor, "reason": comparison.reason},
        "cosine": one.cosine,
        "max_abs": one.max_abs,
    }


def answer_document(case: str, answer: Answer) -> dict[str, Any]:
    """The end-to-end verdict of a case."""
    outputs = [output_document(one) for one in answer.outputs]
    return {"case": case, "passed": answer.passed, "reason": answer.reason, "outputs": outputs}


def blame_document(case: str, report: BlameReport) -> dict[str, Any]:
    """Who breaks the answer, with the proof."""
    without = report.without
    return {
        "case": case,
        "sentence": report.sentence,
        "causes": [list(cause) for cause in report.causes],
        "runs": report.blame.runs,
        "linear_scan": report.blame.nodes,
        "without_target": report.blame.without_target,
        "before": {"passed": report.before.passed, "reason": report.before.reason},
        "alone": [{"passed": answer.passed, "reason": answer.reason} for answer in report.alone],
        "everything_but": None if without is None else {"passed": without.passed, "reason": without.reason},
    }


def measures_of(answer: Answer) -> str:
    """What decided, with the thresholds."""
    return ", ".join(str(measure) for one in answer.outputs for measure in one.measures)
