"""What happens around the screen: where a session keeps its results."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import pytest

from tapml_tui import ui
from tapml_tui.backends.launch import TargetOptions
from tapml_tui.ui import terminal
from tapml_tui.ui.app import DebuggerApp
from tests.engine.toys import mlp
from trace_format import TraceError, open_run, open_trace, read_run

Opened = Callable[..., int]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Opened:
    """Open the debugger on a toy, with a screen that is left at once."""
    for name in ("TEXTUAL_ANIMATIONS", "TEXTUAL_SMOOTH_SCROLL", "TEXTUAL_FPS"):
        monkeypatch.setenv(name, "")  # what the program sets is taken back
    monkeypatch.setattr(ui.signal, "signal", lambda *_: None)
    monkeypatch.setattr(terminal, "in_a_terminal", lambda: True)
    monkeypatch.setattr(terminal, "leave_with_the_terminal", lambda: None)
    monkeypatch.setattr(DebuggerApp, "run", lambda self, **_: 0)
    mlp(1).write(tmp_path / "toy.trace").close()
    return lambda session=None: ui.run(tmp_path / "toy.trace", TargetOptions(), session=session)


def test_results_are_kept_beside_the_trace(opened: Opened, tmp_path: Path) -> None:
    assert opened() == 0
    assert [path.name for path in (tmp_path / "toy.trace.runs").iterdir()] == ["session.run"]


def test_or_where_session_says(opened: Opened, tmp_path: Path) -> None:
    assert opened(tmp_path / "mine.run") == 0
    assert not (tmp_path / "toy.trace.runs").exists()
    with read_run(tmp_path / "mine.run") as run:
        assert not list(run.records())


def test_a_second_session_takes_the_next_name(opened: Opened, tmp_path: Path) -> None:
    with open_trace(tmp_path / "toy.trace") as trace:
        first = open_run(tmp_path / "mine.run", trace.content_id)
        assert opened(tmp_path / "mine.run") == 0
        first.close()
    assert (tmp_path / "mine-2.run").exists()


def test_garbage_is_collected_as_before_when_it_is_over(opened: Opened, tmp_path: Path) -> None:
    assert opened() == 0
    with pytest.raises(TraceError):
        opened(tmp_path / "nowhere" / "mine.run")
    assert gc.isenabled() and not gc.get_freeze_count()


@pytest.mark.parametrize("name", ["nowhere/mine.run", "notes.txt", "toy.trace"])
def test_a_file_that_cannot_be_a_session_is_named_and_left_alone(opened: Opened, tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").write_text("no run of ours")
    before = {path: path.read_bytes() for path in tmp_path.glob("*.t*")}
    with pytest.raises(TraceError, match=Path(name).name):
        opened(tmp_path / name)
    assert {path: path.read_bytes() for path in tmp_path.glob("*.t*")} == before
