"""The guilty are LOCAL, nobody else is; where the answer breaks, blame proves who broke it, in few runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.migration.placements import MODELS, Outcome, carve, outcomes
from tests.sampling import SEED, SOAK, count

pytestmark = [pytest.mark.torch, pytest.mark.tvm, pytest.mark.slow]

QUICK, FULL = 3, 90
"""Placements over all models. Every fourth is a pair that breaks the answer only together: minutes to find one."""


def listed(found: list[Outcome]) -> str:
    return "\n".join(map(str, found))


def test_who_is_guilty_is_found_and_proven(tmp_path: Path) -> None:
    found: list[Outcome] = []
    models = MODELS if SOAK else ("demo",)
    for model in models:
        share = -(-count(QUICK, FULL) // len(models))
        found += outcomes(carve(tmp_path, model), model, f"{SEED}", tmp_path, share)
    broken = [one for one in found if one.broken]
    assert not [one for one in found if one.innocent_accused], listed(found)
    wrong = [one for one in found if not one.local_exactly]
    assert len(wrong) <= 0.02 * len(found), listed(wrong)
    assert all(one.blamed_rightly for one in found if not one.broken), listed(found)
    if SOAK:
        assert sum(one.pair for one in found) >= 3, "two kernels that break the answer together, and not alone"
        assert any(one.healed and not one.broken for one in found), "a fault that heals before the output"
    unproven = [one for one in broken if not one.blamed_rightly]
    assert len(unproven) <= 0.05 * len(broken), listed(unproven)
