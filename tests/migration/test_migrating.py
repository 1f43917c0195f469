"""`tapml-tui migrate` of models on the real target: what TVM gets right moves, the rest says why, the answer holds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tapml_tui.backends.launch import TargetOptions, make_backends
from tapml_tui.headless.migrate import MigrateRequest, migrate
from tests.migration.placements import ROOT, carve
from tests.sampling import SOAK

pytestmark = [pytest.mark.torch, pytest.mark.tvm, pytest.mark.slow]

WRONG = {
    "demo": {"aten.cumsum.default", "aten.add.Tensor"},
    "minilm": {"aten.new_ones.default"},
    "llama": {"aten.cumsum.default", "aten.new_ones.default"},
    "mixtral": {"aten.cumsum.default", "aten.new_ones.default", "aten.histc.default"},
}
"""What TVM's LLVM target gets wrong, or does not convert, in each model."""


@pytest.mark.parametrize("model", list(WRONG) if SOAK else ["demo"])
def test_all_that_tvm_gets_right_is_moved_and_the_answer_holds(tmp_path: Path, model: str) -> None:
    path = tmp_path / f"{model}.trace"
    if model == "demo":
        shutil.copy(ROOT / "assets" / "demo.trace", path)
    else:
        carve(tmp_path, model)

    def run() -> tuple[dict[str, Any], int]:
        out = tmp_path / "out.json"
        request = MigrateRequest(str(path), json=str(out))
        assert migrate(request, lambda: make_backends(TargetOptions(), cache_dir=tmp_path / "cache")) == 0
        return json.loads(out.read_text()), (tmp_path / f"{path.name}.runs" / "session.run").stat().st_size

    first, size = run()
    blocked = [entry for entry in first["ledger"] if entry["status"] == "blocked"]
    assert {entry["op"] for entry in blocked} == WRONG[model]
    assert all(entry["reason"] for entry in blocked)
    assert first["summary"]["migrated"] == first["summary"]["signatures"] - len(blocked)
    assert first["answers"]
    assert all(answer["passed"] for answer in first["answers"])
    second, still = run()
    assert second["ledger"] == first["ledger"]
    assert still == size, "nothing was executed"
