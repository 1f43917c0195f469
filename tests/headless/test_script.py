"""`--script`: what was recorded is replayed without a screen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tapml_tui.engine import Engine
from tapml_tui.engine.events import Event
from tapml_tui.headless.exits import CommandError, Exit
from tapml_tui.headless.script import replay
from tests.engine.numpy_backend import NumpyBackend
from tests.engine.toys import mlp
from trace_format import Trace, open_trace


@pytest.fixture
def trace(tmp_path: Path) -> str:
    mlp(3).write(tmp_path / "t.trace").close()
    return str(tmp_path / "t.trace")


def engine_with(guilty: str | None) -> Callable[[Trace, Callable[[Event], None]], Engine]:
    faults = {guilty: lambda results: (results[0] * np.float32(1.5),)} if guilty else {}

    def make(trace: Trace, on_event: Callable[[Event], None]) -> Engine:
        backends = (NumpyBackend("source"), NumpyBackend("target", faults=faults))
        return Engine(trace, backends, on_event=on_event, run_path=trace.path.with_name("a.run"))

    return make


def test_a_script_is_replayed(trace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "steps.txt"
    script.write_text(
        '# find it\nstep verb="continue"\nfind-blame\nset-backend start=1 stop=2 backend="source"\nrun-nodes\n'
    )
    guilty = "layers.0/aten.add.Tensor#0"
    assert replay(trace, str(script), engine_with(guilty)) == Exit.OK
    out = capsys.readouterr().out
    assert "mismatch, at 2" in out
    assert f"{guilty}: this alone on the target, the answer is wrong" in out
    assert "9 passed  0 failed" in out
    assert "end to end: right" in out


def test_what_is_wrong_at_the_end_is_in_the_exit_code(trace: str, tmp_path: Path) -> None:
    script = tmp_path / "steps.txt"
    script.write_text("run-nodes\n")
    assert replay(trace, str(script), engine_with("layers.0/aten.add.Tensor#0")) == Exit.FAILED
    script.write_text('set-backend start=99 stop=100 backend="source"\n')
    assert replay(trace, str(script), engine_with(None)) == Exit.FAILED


@pytest.mark.parametrize("text", ["dance", "step verb=over", "\xff"])
def test_what_is_no_script_is_a_usage_error(trace: str, tmp_path: Path, text: str) -> None:
    script = tmp_path / "steps.txt"
    script.write_bytes(text.encode("latin-1"))
    with pytest.raises(CommandError):
        replay(trace, str(script), engine_with(None))
    with pytest.raises(CommandError):
        replay(trace, str(tmp_path / "missing.txt"), engine_with(None))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("run-nodes nodes=[99999999999999999999]", "there is no node 99999999999999999999"),
        ("run-nodes nodes=[0, -1]", "there is no node -1"),
        ('export node=0 file=""', "no test was written"),
        ('export node=0 file="\\u0000"', "no test was written"),
        ('export node=0 file="\\ud800"', "no test was written"),
        ('record file="\\u0000"', "nothing is recorded"),
        ('record file="~nosuchuser/x"', "nothing is recorded"),
        ('record file=""', "nothing is recorded"),
        ('record file="{trace}"', "it is a trace or a run"),
        ('export node=0 file="{trace}"', "it is a trace or a run"),
        ('export node=0 file="{folder}/a.run"', "it is a trace or a run"),
    ],
)
def test_a_step_that_cannot_be_done_is_refused_and_destroys_nothing(
    trace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, says: str
) -> None:
    before, script = Path(trace).read_bytes(), tmp_path / "steps.txt"
    script.write_text(line.replace("{trace}", trace).replace("{folder}", str(tmp_path)))
    assert replay(trace, str(script), engine_with(None)) == Exit.FAILED
    out = capsys.readouterr().out
    assert "refused" in out and says in out
    assert Path(trace).read_bytes() == before
    assert open_trace(trace).complete
