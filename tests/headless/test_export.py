"""`tapml-tui export`: what is refused before anything is run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tapml_tui.backends.protocol import Backend
from tapml_tui.headless.complaints import explain
from tapml_tui.headless.exits import CommandError
from tapml_tui.headless.export import ExportRequest, export
from tapml_tui.headless.outputs import whole
from tests.engine.toys import mlp, write_together


def nothing_runs() -> Sequence[Backend]:
    raise AssertionError("something was started")


@pytest.mark.parametrize(
    ("output", "why"), [("foo.txt", "ends in .py"), ("foo", "ends in .py"), ("no/test_x.py", "there is no folder")]
)
def test_a_place_where_no_test_can_be_is_refused(tmp_path: Path, output: str, why: str) -> None:
    mlp(1).write(tmp_path / "t.trace").close()
    request = ExportRequest(str(tmp_path / "t.trace"), "layers.0/aten.add.Tensor#0", str(tmp_path / output))
    with pytest.raises(CommandError) as refused:
        export(request, nothing_runs)
    assert why in refused.value.why


def test_a_near_name_is_said_once(tmp_path: Path) -> None:
    write_together(tmp_path / "t.trace", mlp(1), mlp(1)).close()
    request = ExportRequest(str(tmp_path / "t.trace"), "layers.0/aten.ad.Tensor#0", str(tmp_path / "test_x.py"))
    with pytest.raises(CommandError) as refused:
        export(request, nothing_runs)
    assert refused.value.why.count("layers.0/aten.add.Tensor#0") == 1


def test_a_report_that_has_no_folder_is_named_as_the_user_named_it(tmp_path: Path) -> None:
    path = tmp_path / "no" / "x.json"
    with pytest.raises(OSError) as failed, whole(str(path)):
        pass
    said = explain(failed.value)
    assert said.what == f"cannot use {path}"
    assert said.why == f"there is no folder {path.parent}"
