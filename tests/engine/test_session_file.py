"""A session is opened again as it was left, whenever and however it ended."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tapml_tui.engine.commands import (
    Breakpoint,
    BreakpointKind,
    Command,
    Force,
    Mode,
    Record,
    RunNodes,
    SelectCase,
    SetBackend,
    SetFolds,
    SetMode,
    SetNote,
    SetOutputKind,
    Step,
    ToggleBreakpoint,
    Verb,
)
from tapml_tui.engine.events import StopReason
from tapml_tui.engine.ledger import write_atomically
from tapml_tui.engine.script import parse_script
from tests.engine.toys import Driver, mlp
from tests.sampling import SEED, count
from trace_format import open_trace

CONDITION = Breakpoint(BreakpointKind.CONDITION, "floor > 1000")


def fill(driver: Driver) -> None:
    driver.do(SetBackend(2, 5, "source"))
    driver.do(Force(7))
    driver.do(ToggleBreakpoint(CONDITION))
    driver.do(SetNote(3, "look \N{SNOWMAN}"))
    driver.do(SetFolds(("layers.0", "layers.1.mlp")))
    driver.do(SetOutputKind(0, "logits"))
    driver.do(SelectCase(1))
    driver.step(Verb.INTO)
    driver.step(Verb.INTO)


def told(driver: Driver) -> dict[str, Any]:
    engine, snapshot = driver.engine, driver.engine.snapshot
    return {
        "case": snapshot.case,
        "mode": snapshot.mode,
        "cursor": snapshot.cursor,
        "breakpoints": snapshot.breakpoints,
        "placed": engine.table.backend.tolist(),
        "status": engine.table.status.tolist(),
        "verdict": engine.table.verdict.tolist(),
        "note": engine.note(3),
        "folds": engine.folds,
    }


def test_everything_is_as_it_was(tmp_path: Path) -> None:
    path, run = tmp_path / "t.trace", tmp_path / "a.run"
    with Driver(mlp(3, cases=2).write(path), run_path=run, resume=True) as driver:
        fill(driver)
        before = told(driver)
    with Driver(open_trace(path), run_path=run, resume=True) as driver:
        assert told(driver) == before
        assert driver.engine.table.flags[:2].all(), "shown, to be computed again when a verb needs it"
        driver.step(Verb.BACK)
        assert driver.engine.snapshot.cursor == 1
        assert driver.do(RunNodes()).counts.nodes == 9


def test_without_resuming_a_session_starts_anew_and_writes_nothing(tmp_path: Path) -> None:
    with Driver(mlp().write(tmp_path / "t.trace"), run_path=tmp_path / "a.run") as driver:
        fill_one = driver.do(SetNote(3, "x"))
        assert fill_one.stopped is StopReason.DONE
    assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{", '{"schema": 2}', '{"schema": 1}', "[" * 100000, '{"schema": 1, "placements": [3]}',
     '{"schema": 1, "notes": 3, "folds": {"a": 1}, "breakpoints": [["x", 1], 3, ["condition", "floor.x"]]}'],
)  # fmt: skip
def test_a_file_that_makes_no_sense_is_no_obstacle(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with Driver(mlp().write(tmp_path / "t.trace"), run_path=tmp_path / "a.run", resume=True) as driver:
        assert driver.step(Verb.CONTINUE).stopped is StopReason.END


@pytest.mark.parametrize("case", [77, float("inf"), float("nan"), 10**400, "9" * 5000, [], None])
def test_values_that_do_not_fit_are_left_out(tmp_path: Path, case: object) -> None:
    path, run = tmp_path / "t.trace", tmp_path / "a.run"
    with Driver(mlp().write(path), run_path=run, resume=True) as driver:
        driver.do(SetNote(3, "kept"))
        driver.step(Verb.INTO)
    document = json.loads(run.with_suffix(".json").read_text())
    document |= {
        "placements": {
            "0": [[0, 99, "source", None], [0, 2, "moon", None], [1, 2, "source", None], "x"],
            "7": [],
            "9" * 5000: [],
        },
        "cursors": {"9" * 5000: 1, "1": float("inf"), "0": 10**9, "x": 1, "5": 2},
        "case": case,
        "results": [[0, "chained", "!", "", ""], [0, "chained"], [9, "chained", "", "", ""]],
    }
    run.with_suffix(".json").write_text(json.dumps(document))
    with Driver(open_trace(path), run_path=run, resume=True) as driver:
        assert driver.engine.note(3) == "kept"
        assert driver.engine.snapshot.cursor == 9
        assert [driver.engine.table.backend[i] for i in range(3)] == [1, 0, 1]


def test_what_is_no_file_is_no_obstacle_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.json")
    (tmp_path / "ledger.json").symlink_to("/dev/zero")
    with Driver(mlp().write(tmp_path / "t.trace"), run_path=tmp_path / "a.run", resume=True) as driver:
        assert driver.step(Verb.CONTINUE).stopped is StopReason.END


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    precious, path = tmp_path / "precious", tmp_path / "a.json"
    precious.write_text("mine")
    for link in (tmp_path / ".a.json.partial", path):
        link.symlink_to(precious)
    write_atomically(path, "{}")
    assert (precious.read_text(), path.read_text(), path.is_symlink()) == ("mine", "{}", False)
    assert {one.name for one in tmp_path.iterdir()} == {"precious", "a.json"}


def test_another_carving_keeps_what_names_tell(tmp_path: Path) -> None:
    run = tmp_path / "a.run"
    with Driver(mlp().write(tmp_path / "t.trace"), run_path=run, resume=True) as driver:
        driver.do(SetNote(3, "kept"))
        driver.do(SetBackend(0, 3, "source"))
        where = run.with_suffix(".json")
    run.unlink()
    with Driver(mlp(seed=1).write(tmp_path / "u.trace"), run_path=run, resume=True) as driver:
        assert where.exists()
        assert driver.engine.note(3) == "kept"
        assert (driver.engine.table.backend == 1).all()


def test_a_full_disk_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tapml_tui.engine.session_file.write_atomically", full)
    with Driver(mlp().write(tmp_path / "t.trace"), run_path=tmp_path / "a.run", resume=True) as driver:
        driver.step(Verb.INTO)
        assert driver.step(Verb.INTO).stopped is StopReason.STEP
        said = [event for event in driver.events if "cannot be saved" in getattr(event, "text", "")]
    assert len(said) == 1


def test_commands_are_recorded(tmp_path: Path) -> None:
    script = tmp_path / "steps.txt"
    with Driver(mlp().write(tmp_path / "t.trace"), run_path=tmp_path / "a.run") as driver:
        driver.do(Record(str(script)))
        commands = [Step(Verb.INTO), SetMode(Mode.ISOLATED), ToggleBreakpoint(CONDITION), SetNote(1, 'a "b"\n')]
        for command in commands:
            driver.do(command)
        driver.do(Record(None))
        driver.step(Verb.INTO)
        assert list(parse_script(script.read_text())) == commands
        assert driver.do(Record(str(tmp_path / "no" / "steps.txt"))).stopped is StopReason.REFUSED
        kept = script.read_text()
        assert "exists" in driver.do(Record(str(script))).message
        assert script.read_text() == kept


DEMO = Path(__file__).parents[2] / "assets" / "demo.trace"

CHILD = """
import json, sys
from pathlib import Path
from tapml_tui.backends.launch import TargetOptions, make_backends
from tests.engine.test_session_file import a_command, told
from tests.engine.toys import Driver
from trace_format import open_trace

folder, number, real = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "True"
backends = make_backends(TargetOptions(), cache_dir=folder / "cache") if real else None
with Driver(open_trace(folder / "t.trace"), backends, run_path=folder / "a.run", resume=True) as driver:
    for number in range(number, 10**9):
        driver.do(a_command(number)[0])
        print(json.dumps(told(driver), default=str), flush=True)
"""

JUDGED = {"cursor", "status", "verdict"}


def a_command(number: int) -> tuple[Command, set[str]]:
    """A step of the scripted session, and what of the session it may change."""
    turn, node = number // 7, number % 9
    commands: list[tuple[Command, set[str]]] = [
        (SetNote(3, f"note {number}"), {"note"}),
        (SetBackend(node, node + 1, "target" if turn % 2 else "source"), {"placed", *JUDGED}),
        (Step([Verb.INTO, Verb.BACK, Verb.CONTINUE, Verb.OVER][turn % 4]), JUDGED),
        (ToggleBreakpoint(Breakpoint(BreakpointKind.NODE, f"node {turn % 5}")), {"breakpoints"}),
        (SetFolds((f"layers.{turn % 3}",)), {"folds"}),
        (SetMode(Mode.ISOLATED if turn % 2 else Mode.CHAINED), {"mode", *JUDGED}),
        (SelectCase(turn % 2), {"case", *JUDGED}),
    ]
    return commands[number % 7]


def kill_and_look(folder: Path, times: int, longest: float, *, real: bool) -> None:
    """Kill a scripted session at random moments; each time it is opened again, nothing that was answered is lost."""
    dice, number = random.Random(SEED), 0
    before: dict[str, Any] | None = None
    for _ in range(times):
        command = [sys.executable, "-c", CHILD, str(folder), str(number), str(real)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ})
        assert child.stdout is not None
        first = child.stdout.readline()
        time.sleep(dice.uniform(0, longest))
        child.send_signal(signal.SIGKILL)
        answered = [line for line in [first, *child.stdout] if line.endswith("\n")]  # the last may be torn
        child.wait()
        number += len(answered)
        before = json.loads(answered[-1]) if answered else before
        assert before is not None
        with Driver(open_trace(folder / "t.trace"), run_path=folder / "a.run", resume=True) as driver:
            assert driver.engine.run_path == folder / "a.run"
            now = json.loads(json.dumps(told(driver), default=str))
        under_way = a_command(number)[1]
        assert {key for key in now if now[key] != before[key]} <= under_way, (number, before, now)
        before = now
    assert number > times, "it was always killed before it had done anything"


@pytest.mark.slow
def test_kill_9_at_any_moment_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    mlp(cases=2).write(tmp_path / "t.trace").close()
    kill_and_look(tmp_path, count(6, 200), 0.3, real=False)


@pytest.mark.torch
@pytest.mark.tvm
@pytest.mark.slow
def test_kill_9_of_a_session_with_real_workers(tmp_path: Path) -> None:
    """They die with it: the next one is not held up by them, and what they gave is kept."""
    shutil.copy(DEMO, tmp_path / "t.trace")
    kill_and_look(tmp_path, count(2, 40), 8.0, real=True)
