"""Files that a report goes to: a slip of the pen never costs a trace or a run."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TextIO

import pytest

from tapml_tui.headless.complaints import explain
from tapml_tui.headless.outputs import as_it_comes, whole
from tests.engine.toys import mlp
from trace_format import open_run


@pytest.mark.parametrize("writer", [whole, as_it_comes])
@pytest.mark.parametrize("kind", ["trace", "run", "link"])
def test_a_report_never_takes_the_place_of_a_trace(
    tmp_path: Path, writer: Callable[[str], AbstractContextManager[TextIO]], kind: str
) -> None:
    place = tmp_path / "place"
    mlp().write(tmp_path / "t.trace").close()
    match kind:
        case "trace":
            (tmp_path / "t.trace").rename(place)
        case "run":
            open_run(place, "00" * 32).close()
        case "link":
            place.symlink_to("t.trace")
    before = place.read_bytes()
    with pytest.raises(FileExistsError) as raised, writer(str(place)):
        pass
    assert "it is a trace or a run" in str(explain(raised.value))
    assert "another name" in str(explain(raised.value))
    assert place.read_bytes() == before
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("writer", [whole, as_it_comes])
def test_an_older_report_is_replaced(tmp_path: Path, writer: Callable[[str], AbstractContextManager[TextIO]]) -> None:
    place = tmp_path / "report.json"
    for text in ("an older one", "{}"):
        with writer(str(place)) as stream:
            stream.write(text)
    assert place.read_text() == "{}"


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / f".report.json.{os.getpid()}.partial").symlink_to("precious")
    with whole(str(tmp_path / "report.json")) as stream:
        stream.write("{}")
    assert (tmp_path / "precious").read_text() == "mine"
    assert {one.name for one in tmp_path.iterdir()} == {"precious", "report.json"}
