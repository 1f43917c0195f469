"""How often the diagnosis is right, says nothing, or is wrong, on faults drawn anew in each run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from tapml_tui.compare.diagnosis import Kind, diagnose
from tests import sampling
from tests.compare.injected_faults import (
    FAULTS,
    Benign,
    Floats,
    Sample,
    activations,
    demo_activations,
    samples,
    shape_of,
)

RIGHT, WRONG = 0.90, 0.02


def told(name: str, strength: str, sample: Sample) -> tuple[str, str]:
    """Whether the diagnosis of a sample is right, and a line about it."""
    found = diagnose(sample.reference, sample.actual, allowance=sample.law.allowance, stale=sample.stale)
    said = "none" if found is None else "right" if found.kind in sample.right else "wrong"
    return said, f"{name}, {strength}, {sample.reference.shape}: {said}: {found and found.sentence}"


def judged(values: Iterator[Floats], count: int, seed: str) -> tuple[Counter[str], list[str]]:
    """Every kind of fault, `count` times."""
    random = np.random.default_rng(sampling.rng(seed).randrange(1 << 32))
    counts: Counter[str] = Counter()
    lines = []
    for name in FAULTS:
        for _ in range(count):
            for strength, sample in samples(name, random, next(values)):
                said, line = told(name, strength, sample)
                counts[said] += 1
                counts[f"{name}: {said}"] += 1
                lines += [line] if said != "right" else []
    return counts, lines


def assert_good(counts: Counter[str], lines: list[str]) -> None:
    total = counts["right"] + counts["none"] + counts["wrong"]
    assert counts["right"] >= RIGHT * total and counts["wrong"] <= WRONG * total, (counts, lines)


@pytest.mark.slow
def test_faults_in_random_activations_are_named() -> None:
    random = np.random.default_rng(sampling.rng("activations").randrange(1 << 32))

    def drawn() -> Iterator[Floats]:
        while True:
            yield activations(random, shape_of(random))

    counts, lines = judged(drawn(), sampling.count(6, 100), "faults")
    assert_good(counts, lines)
    for name in FAULTS:  # no kind hides behind the others
        assert counts[f"{name}: right"] > 0.6 * sum(counts[f"{name}: {said}"] for said in ("right", "none", "wrong")), (
            lines
        )


@pytest.mark.slow
def test_faults_in_real_activations_are_named() -> None:
    random = sampling.rng("demo")
    usable = [
        v for v in demo_activations() if v.std() > 0 and min(v.shape[-2:]) >= 8 and np.unique(v).size > v.size // 4
    ]

    def drawn() -> Iterator[Floats]:
        while True:
            yield random.choice(usable)

    counts, lines = judged(drawn(), sampling.count(2, 60), "real")
    assert_good(counts, lines)


def test_benign_noise_has_no_diagnosis() -> None:
    random = np.random.default_rng(sampling.rng("benign").randrange(1 << 32))
    for _ in range(sampling.count(8, 400)):
        values = activations(random, shape_of(random))
        law = Benign(1e-6 * float(np.std(values)), 2.0**-24)
        actual = (values + law.drawn(values, random)).astype(np.float32)
        assert diagnose(values.astype(np.float32), actual, allowance=law.allowance) is None


def test_nonsense_mostly_has_no_diagnosis() -> None:
    """Values that have nothing to do with the reference, and a fault in elements that lie anyhow."""
    random = np.random.default_rng(sampling.rng("nonsense").randrange(1 << 32))
    said: Counter[Kind | None] = Counter()
    for _ in range(sampling.count(8, 400)):
        values = activations(random, shape_of(random))
        unrelated = activations(random, values.shape)
        scattered = np.where(
            random.random(values.shape) < 0.1, values + np.std(values) * random.normal(size=values.shape), values
        )
        law = Benign(1e-6 * float(np.std(values)), 2.0**-24)
        for wrong in (unrelated, scattered):
            actual = (wrong + law.drawn(wrong, random)).astype(np.float32)
            found = diagnose(values.astype(np.float32), actual, allowance=law.allowance)
            said[found and found.kind] += 1
    assert said[None] >= 0.9 * sum(said.values()), said


@pytest.mark.parametrize("noise", [3.0, 8.0])
def test_nothing_fails_nothing_is_said(noise: float) -> None:
    """Where all is within the allowance, a small fault is no fault."""
    values = np.random.default_rng(0).normal(size=(16, 64))
    assert diagnose(values, values * (1.0 + 1e-7 * noise), allowance=1e-5) is None
