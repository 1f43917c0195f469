"""Outputs judged as what they are."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest

from tapml_tui.compare import Comparison, compare, summarize
from tapml_tui.compare.chunks import rms
from tapml_tui.compare.metrics import measure
from tapml_tui.engine.end_to_end import Kind, OutputVerdict, guess_kind, judge_output
from trace_format.model import Floor

RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(size=(1, 32, 512)).astype(np.float32) * 3
_ROWS = RANDOM.normal(size=(3, 384)).astype(np.float32)
UNIT = _ROWS / np.linalg.norm(_ROWS, axis=-1, keepdims=True)
TENSOR = RANDOM.normal(size=(2, 8, 16, 16)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "place", "operator", "reference", "kind"),
    [
        ("linear_28", "model.lm_head", "aten.linear.default", LOGITS, Kind.LOGITS),
        ("logits", "", "aten.add.Tensor", LOGITS, Kind.LOGITS),
        ("linear", "9", "aten.linear.default", TENSOR[0, 0], Kind.LOGITS),
        ("linear", "9", "aten.linear.default", TENSOR, Kind.TENSOR),
        ("linear_12", "head", "aten.linear.default", TENSOR[0], Kind.LOGITS),
        ("div_1", "", "aten.div.Tensor", UNIT, Kind.EMBEDDING),
        ("argmax", "", "aten.argmax.default", np.arange(3), Kind.CLASS),
        ("conv2d", "out", "aten.conv2d.default", TENSOR, Kind.TENSOR),
        ("sum_1", "", "aten.sum.default", np.float32(3.0).reshape(()), Kind.TENSOR),
        ("empty", "", "aten.mul.Tensor", TENSOR[:0], Kind.TENSOR),
    ],
)
def test_kinds_are_guessed(name: str, place: str, operator: str, reference: np.ndarray, kind: Kind) -> None:
    assert guess_kind(name, place, operator, reference) is kind


def judged(kind: Kind, reference: np.ndarray, actual: np.ndarray, floor: float = 1e-6) -> OutputVerdict:
    return judge_output(kind, reference, actual, compare(reference, actual, floor=Floor(floor, floor)))


@pytest.mark.parametrize(
    ("kind", "reference"),
    [(Kind.LOGITS, LOGITS), (Kind.EMBEDDING, UNIT), (Kind.CLASS, np.arange(12)), (Kind.TENSOR, TENSOR)],
)
def test_the_same_passes_and_says_its_thresholds(kind: Kind, reference: np.ndarray) -> None:
    verdict = judged(kind, reference, reference.copy())
    assert verdict.passed
    assert verdict.reason == ""
    assert verdict.measures
    assert all("at least" in str(one) or "at most" in str(one) for one in verdict.measures)


def test_rounding_of_logits_passes() -> None:
    half = LOGITS.astype(ml_dtypes.bfloat16).astype(np.float32)
    verdict = judged(Kind.LOGITS, LOGITS, LOGITS * np.float32(1 + 1e-5))
    assert verdict.passed
    assert judged(Kind.LOGITS, LOGITS, half).measures[2].value < 1e-3


@pytest.mark.parametrize(
    ("kind", "reference", "spoil"),
    [
        (Kind.LOGITS, LOGITS, lambda a: a * 1.5),
        (Kind.LOGITS, LOGITS, lambda a: np.roll(a, 1, axis=-1)),
        (Kind.LOGITS, LOGITS, lambda a: np.where(np.arange(32)[None, :, None] == 31, -a, a)),
        (Kind.LOGITS, LOGITS, lambda a: np.where(np.arange(512) >= 480, 0, a) * np.float32(1)),
        (Kind.LOGITS, LOGITS, lambda a: a * np.nan),
        (Kind.EMBEDDING, UNIT, lambda a: a * 1.5),
        (Kind.EMBEDDING, UNIT, lambda a: np.where(np.arange(384) >= 352, 0, a)),
        (Kind.EMBEDDING, UNIT, lambda a: np.where(np.arange(3)[:, None] == 1, -a, a)),
        (Kind.EMBEDDING, UNIT, lambda a: a * 0),
        (Kind.CLASS, np.arange(12), lambda a: np.where(a == 3, 4, a)),
        (Kind.TENSOR, TENSOR, lambda a: a + np.float32(0.01)),
    ],
)
def test_a_wrong_answer_does_not_pass(kind: Kind, reference: np.ndarray, spoil: object) -> None:
    verdict = judged(kind, reference, spoil(reference).astype(reference.dtype))  # type: ignore[operator]
    assert verdict.passed is False
    assert verdict.reason


def test_ties_within_the_floor_may_be_decided_either_way() -> None:
    reference = np.zeros((1, 64), np.float32)
    reference[0, 3], reference[0, 5] = 4.0, np.float32(4.0) - np.float32(1e-4)
    actual = reference.copy()
    actual[0, 3], actual[0, 5] = reference[0, 5], reference[0, 3]
    assert judged(Kind.LOGITS, reference, actual, floor=1e-5).passed
    assert not judged(Kind.LOGITS, reference, actual, floor=1e-9).passed


def test_divergence_is_that_of_the_definition() -> None:
    actual = LOGITS + RANDOM.normal(size=LOGITS.shape).astype(np.float32) * 0.1
    p, q = (np.exp(a.astype(np.float64)) for a in (LOGITS[0], actual[0]))
    p, q = p / p.sum(1, keepdims=True), q / q.sum(1, keepdims=True)
    expected = float((p * np.log(p / q)).sum(1).mean())
    assert math.isclose(judged(Kind.LOGITS, LOGITS, actual).measures[2].value, expected, rel_tol=1e-9)


def test_another_shape_fails_and_nothing_compared_is_no_pass() -> None:
    assert judge_output(Kind.TENSOR, TENSOR, TENSOR[0], None).passed is False
    assert judge_output(Kind.LOGITS, TENSOR[:0], TENSOR[:0], None).passed is None
    assert judge_output(Kind.TENSOR, TENSOR, TENSOR, None).passed is None


def test_two_entries_are_logits_too() -> None:
    reference = np.array([[2.0, -1.0], [0.0, 3.0]], np.float32)
    assert judged(Kind.LOGITS, reference, reference).passed
    assert not judged(Kind.LOGITS, reference, -reference).passed


def test_an_infinite_floor_is_no_tie() -> None:
    wrong = judge_output(Kind.LOGITS, LOGITS, -LOGITS, Comparison(False, floor=math.inf))
    assert wrong.passed is False


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", list(Kind))
def test_memory_that_nobody_wrote_is_measured_without_a_warning(kind: Kind) -> None:
    """A warning on stderr is in the middle of a screen or a report: a NaN may be a signalling one."""
    wrong = LOGITS.copy()
    wrong.view(np.uint32)[0, 3, 5] = 0x7F800001
    compared = compare(LOGITS, wrong, floor=Floor(1e-7, 1e-8))
    assert judge_output(kind, LOGITS, wrong, compared).passed is False
    assert measure(LOGITS, wrong).nan == (0, 1)
    assert summarize(wrong).nan == 1
    assert np.isfinite(rms(wrong))
