"""Is the model's answer still right? Its outputs, each judged as what it is: by the task's own measure.

A node is judged element by element; an answer is not: a language model whose logits are a little off
still says the same. So each kind of output has measures of its own, with thresholds that are shown:

- logits: the most likely entry of each row agrees in 99% of rows, 99% of the five most likely are among
  the reference's five (entries closer than the chained floor are ties: either choice is right), and the
  mean KL divergence from the reference is at most 1e-3 nats, which changes a perplexity by 0.1%.
- class (integers): all agree.
- embedding: the cosine of each row with the reference is at least 0.999 (2.6 degrees), its length within 1%.
- tensor: element by element, by the chained floor, as a node.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from tapml_tui.compare import Comparison
from tapml_tui.compare.distances import max_abs, real_parts
from tapml_tui.compare.precision import precision

_CHUNK = 1 << 20  # elements at a time
_TOP = 5
_UNIT = 1e-3  # a row is of length one up to this
_LOGITS = ("logits", "lm_head", "classifier", "score", "cls", "head", "fc")
_EMBEDDING = ("embedding", "embeddings", "pooler", "sentence_embedding")
_VOCABULARY = 256  # a linear layer that gives so many numbers for each token gives logits


class Kind(StrEnum):
    """What an output of a model is."""

    LOGITS = "logits"
    CLASS = "class"
    EMBEDDING = "embedding"
    TENSOR = "tensor"


class Measure(NamedTuple):
    """One number and what it must not pass: `at_least` says on which side."""

    name: str
    value: float
    threshold: float
    at_least: bool

    @property
    def holds(self) -> bool:
        """Whether it is on the right side; NaN never is."""
        return self.value >= self.threshold if self.at_least else self.value <= self.threshold

    def __str__(self) -> str:
        """As a person reads it: "top-1 96.9% (at least 99%)"."""
        if self.name.startswith("top-"):
            return f"{self.name} {self.value:.1%} (at least {self.threshold:.0%})"
        side = "at least" if self.at_least else "at most"
        return f"{self.name} {self.value:.4g} ({side} {self.threshold:g})"


@dataclass(frozen=True, slots=True)
class OutputVerdict:
    """What became of one output of the model.

    Attributes:
        output: Its number in the graph.
        name: Its name there.
        kind: What it was judged as.
        passed: Whether every measure holds; None if it was not computed.
        measures: What decided.
        reason: Why nothing was judged, or which measure does not hold; "" if all hold.
        comparison: Element by element, by the chained floor, beside it.
        cosine: Of the whole output with its reference; shown, decides nothing.
        max_abs: Largest difference; shown, decides nothing.
    """

    output: int
    name: str
    kind: Kind
    passed: bool | None
    measures: tuple[Measure, ...] = ()
    reason: str = ""
    comparison: Comparison | None = None
    cosine: float | None = None
    max_abs: float | None = None


def guess_kind(name: str, place: str, operator: str, reference: np.ndarray) -> Kind:
    """What an output probably is.

    Args:
        name: Of the output.
        place: Path of the node that computes it, as "model.lm_head".
        operator: Of that node, as "aten.linear.default".
        reference: Its recorded elements.
    """
    if precision(reference.dtype) is None:
        return Kind.CLASS
    words = {name.rstrip("0123456789_"), place.rpartition(".")[2]}
    width = reference.shape[-1] if reference.ndim else 0
    if width > 1 and not words.isdisjoint(_LOGITS):
        return Kind.LOGITS
    if width > 1 and (not words.isdisjoint(_EMBEDDING) or _of_length_one(reference)):
        return Kind.EMBEDDING
    linear = operator.split(".")[1:2] in (["linear"], ["addmm"])
    if linear and ((reference.ndim == 2 and width > 1) or width >= _VOCABULARY):
        return Kind.LOGITS
    return Kind.TENSOR


@np.errstate(invalid="ignore")  # a NaN may be a signalling one
def judge_output(
    kind: Kind,
    reference: np.ndarray,
    actual: np.ndarray,
    comparison: Comparison | None,
    *,
    output: int = 0,
    name: str = "",
) -> OutputVerdict:
    """The verdict on an output that was computed.

    Args:
        kind: What to judge it as.
        reference: What was recorded.
        actual: What was computed.
        comparison: The same element by element, by the chained floor.
        output: Its number.
        name: Its name.
    """
    if reference.shape != actual.shape:
        reason = f"wrong shape: {list(actual.shape)} instead of {list(reference.shape)}"
        return OutputVerdict(output, name, kind, False, (), reason, comparison)
    tie = comparison.floor if comparison is not None and math.isfinite(comparison.floor) else 0.0
    measures = tuple(_measures(kind, reference, actual, comparison, tie))
    broken = [str(measure) for measure in measures if not measure.holds]
    reason = ", ".join(broken) if measures else "nothing to compare"
    passed = not broken if measures else None
    far = (cosine(reference, actual), max_abs(reference, actual))
    return OutputVerdict(output, name, kind, passed, measures, reason, comparison, *far)


def _measures(
    kind: Kind, reference: np.ndarray, actual: np.ndarray, comparison: Comparison | None, tie: float
) -> Iterator[Measure]:
    if kind is Kind.CLASS and reference.size:
        yield Measure("agreement", float((reference == actual).mean()), 1.0, True)
    elif kind is Kind.EMBEDDING and reference.size:
        yield from _of_embeddings(_rows(reference), _rows(actual))
    elif kind is Kind.LOGITS and reference.size:
        yield from _of_logits(_rows(reference), _rows(actual), tie)
    elif kind is Kind.TENSOR and comparison is not None:
        yield Measure("x floor", 0.0 if comparison.passed else comparison.factor, comparison.limit or 1.0, False)


def _of_embeddings(reference: np.ndarray, actual: np.ndarray) -> Iterator[Measure]:
    """The least cosine of a row, and the most that one is too long or too short."""
    angle, length = 1.0, 0.0
    step = max(1, _CHUNK // reference.shape[1])
    for start in range(0, len(reference), step):
        expected, got = (a[start : start + step].astype(np.float64) for a in (reference, actual))
        sizes = [np.sqrt(np.square(a).sum(axis=1)) for a in (expected, got)]
        with np.errstate(invalid="ignore", divide="ignore"):
            cosines = np.where(
                (sizes[0] == 0) & (sizes[1] == 0), 1.0, (expected * got).sum(axis=1) / (sizes[0] * sizes[1])
            )
            longer = np.where(sizes[0] == sizes[1], 0.0, np.abs(sizes[1] / sizes[0] - 1.0))
        angle, length = float(np.minimum(angle, cosines.min())), float(np.maximum(length, longer.max()))
    yield Measure("cosine", angle, 0.999, True)
    yield Measure("length off by", length, 0.01, False)


def _of_logits(reference: np.ndarray, actual: np.ndarray, tie: float) -> Iterator[Measure]:
    """Agreement of the most likely entries, and the divergence. Rows of float, (rows, entries)."""
    rows, width = reference.shape
    top = min(_TOP, width - 1)
    first = among = 0
    divergence = 0.0
    step = max(1, _CHUNK // width)
    for start in range(0, rows, step):
        expected, got = (a[start : start + step].astype(np.float64) for a in (reference, actual))
        broken = np.atleast_1d(np.isnan(got).any(axis=1))
        best = np.partition(expected, width - top, axis=1)[:, width - top :] if top else expected
        chosen = np.argpartition(got, width - top, axis=1)[:, width - top :] if top else got.argmax(1)[:, None]
        picked = np.take_along_axis(expected, got.argmax(axis=1)[:, None], axis=1)[:, 0]
        first += int(((picked >= best.max(axis=1) - tie) & ~broken).sum())
        near = np.take_along_axis(expected, chosen, axis=1) >= best.min(axis=1, keepdims=True) - tie
        among += int((near & ~broken[:, None]).sum())
        with np.errstate(invalid="ignore"):
            left, right = _log_softmax(expected), _log_softmax(got)
            terms = np.exp(left) * (left - right)
            divergence += float(np.where(np.exp(left) > 0, terms, 0.0).sum())
    yield Measure("top-1", first / rows, 0.99, True)
    if width > _TOP:
        yield Measure("top-5", among / (rows * top), 0.99, True)
    yield Measure("KL", divergence / rows, 1e-3, False)


def _log_softmax(rows: np.ndarray) -> np.ndarray:
    shifted = rows - rows.max(axis=1, keepdims=True)
    result: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def _rows(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1, array.shape[-1]) if array.ndim else array.reshape(1, 1)


def _of_length_one(array: np.ndarray) -> bool:
    rows = _rows(array)[:64].astype(np.float64)
    return bool(rows.size) and bool((np.abs(np.sqrt(np.square(rows).sum(axis=1)) - 1.0) < _UNIT).all())


@np.errstate(invalid="ignore")  # a NaN may be a signalling one
def cosine(reference: np.ndarray, actual: np.ndarray) -> float:
    """Cosine of the angle between two arrays of one shape, in float64.

    Two arrays of zeros point the same way (1.0); zeros against anything else do not (0.0). NaN if either has a NaN.
    """
    dot = left = right = 0.0
    a, b = reference.reshape(-1), actual.reshape(-1)
    for start in range(0, a.size, _CHUNK):
        x, y = (real_parts(one[start : start + _CHUNK], np.float64) for one in (a, b))
        dot, left, right = dot + float(x @ y), left + float(x @ x), right + float(y @ y)
    if left == 0.0 or right == 0.0:
        return float(left == right)
    return dot / float(np.sqrt(left) * np.sqrt(right))
