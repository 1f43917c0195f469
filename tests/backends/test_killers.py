"""The kernel that took a device with it is remembered, whoever died of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tapml_tui.backends.killers import LAUNCH_BYTES, Killer, Killers, LaunchNote, boot_id
from tapml_tui.backends.launch import TargetOptions, make_backends
from tapml_tui.backends.protocol import Deadlines, Executed, Failed, LogLine
from tests.backends.driver import Driver, runs_on, unary, wait_until

X = np.linspace(-1, 1, 8, dtype=np.float32)
LOWER = str(Path(__file__).with_name("faulty_kernels.py"))


def _killers(folder: Path, device: str = "llvm @here") -> Killers:
    return Killers(folder, device)


def test_what_ran_when_everything_died_is_found_by_the_next_session(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path;"
        "from tapml_tui.backends.killers import Killers, LaunchNote;"
        "k = Killers(Path(sys.argv[1]), 'llvm @here'); k.open(); f = k.launch_file();"
        "n = LaunchNote(f); n.began('innocent', 'a'); n.ended(); n.began('cafe', 'layers.0/söft max');"
        "k.runs_on(f, 'cafe'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    for _ in range(2):  # known to every session from now on
        killers = _killers(tmp_path)
        (killer,) = killers.open()
        assert killer.label == "layers.0/söft max" and killer.sure
        assert killers.get("cafe") == killer
        assert killers.get("innocent") is None
        killers.close()
    assert _killers(tmp_path, "another").open() == []
    forgetting = Killers(tmp_path, "llvm @here", relaunch=True)
    assert forgetting.open() == []
    forgetting.add("beef", killer)
    assert forgetting.open() == [killer]  # what this session saw is not forgotten
    forgetting.forgive()
    forgetting.close()
    assert _killers(tmp_path).open() == []


@pytest.mark.parametrize("ran", ["", "another"])
def test_what_had_just_begun_is_a_suspect_and_a_killer_if_it_is_found_again(ran: str, tmp_path: Path) -> None:
    for sure in (False, False, True):
        dying = _killers(tmp_path)
        dying.open()
        assert [killer.sure for killer in dying._known.values()] == ([sure] if dying._known else [])
        file = dying.launch_file()
        LaunchNote(file).began("cafe", "a")
        dying.runs_on(file, ran)
        _die(dying)
    (killer,) = _killers(tmp_path).open()
    assert killer.sure and "not run" in killer.notice


def test_that_it_ran_for_a_while_says_nothing_of_the_next_time(tmp_path: Path) -> None:
    dying = _killers(tmp_path)
    dying.open()
    file = dying.launch_file()
    note = LaunchNote(file)
    for long in (True, False):
        note.began("cafe", "a")
        if long:
            dying.runs_on(file, "cafe")
            note.ended()
    _die(dying)
    (killer,) = _killers(tmp_path).open()
    assert not killer.sure


def test_what_ran_when_the_whole_machine_went_down_is_a_killer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boot = tmp_path / "boot"
    monkeypatch.setattr("tapml_tui.backends.killers._BOOT", boot)
    boot.write_text("monday\n")
    dying = _killers(tmp_path)
    dying.open()
    LaunchNote(dying.launch_file()).began("cafe", "a")
    _die(dying)
    boot.write_text("tuesday\n")
    (killer,) = _killers(tmp_path).open()
    assert killer.sure


def _die(killers: Killers) -> None:
    """Leave the launch files behind, unlocked."""
    for descriptor in killers._launches.values():
        os.close(descriptor)
    killers._launches.clear()


def test_a_session_that_lives_or_ends_well_blames_nothing(tmp_path: Path) -> None:
    living = _killers(tmp_path)
    living.open()
    note = LaunchNote(living.launch_file())
    note.began("cafe", "runs at this moment")
    other = _killers(tmp_path)
    assert other.open() == []
    other.add("beef", Killer("b", "died"))
    living.add("feed", Killer("c", "died"))  # neither forgets what the other wrote
    other.close()
    living.close()
    assert {killer.label for killer in _killers(tmp_path).open()} == {"b", "c"}


@pytest.mark.parametrize("content", [b"", b"\xff" * LAUNCH_BYTES, b"[1, 2", b'{"a": 3}', b'{"a": ["x"]}'])
def test_damaged_files_are_no_trouble(tmp_path: Path, content: bytes) -> None:
    killers = _killers(tmp_path)
    killers.open()
    killers.close()
    (folder,) = (tmp_path / "devices").iterdir()
    (folder / "killers.json").write_bytes(content)
    (folder / "launch-zzz").write_bytes(content)
    again = _killers(tmp_path)
    again.open()
    again.add("cafe", Killer("x", "y"))
    assert again.get("cafe") == Killer("x", "y")
    again.close()


def test_what_an_earlier_version_wrote_down_is_sure(tmp_path: Path) -> None:
    killers = _killers(tmp_path)
    killers.open()
    killers.close()
    (folder,) = (tmp_path / "devices").iterdir()
    (folder / "killers.json").write_text('{"cafe": ["a", "died"]}')
    (folder / "launch-zzz").write_text("beef b".ljust(LAUNCH_BYTES))
    again = _killers(tmp_path)
    assert sorted((killer.label, killer.sure) for killer in again.open()) == [("a", True), ("b", True)]
    again.close()


def test_without_a_folder_that_can_be_written_it_goes_on(tmp_path: Path) -> None:
    (tmp_path / "devices").write_text("no folder")
    killers = _killers(tmp_path)
    assert killers.open() == []
    assert killers.launch_file() == ""
    killers.add("cafe", Killer("x", "y"))
    assert killers.get("cafe") is not None
    killers.close()
    LaunchNote(killers.launch_file()).began("cafe", "x")


_PROGRAM = """
import sys, time
from pathlib import Path
import numpy as np
from tapml_tui.backends.launch import TargetOptions, make_backends
from tests.backends.driver import Driver, unary
X = np.linspace(-1, 1, 8, dtype=np.float32)
folder, kernels, state, lower, op = sys.argv[1:]
target = make_backends(TargetOptions(lower=lower), cache_dir=Path(kernels), state_dir=Path(state))[1]
driver = Driver(target, Path(folder))
print(driver.run(unary("aten.relu.default", X), X), flush=True)
driver.execute(unary(f"aten.{op}.default", X), X, label=f"layers.0/{op}")
time.sleep(600)
"""


@pytest.mark.tvm
def test_a_kernel_that_hangs_is_named_after_the_whole_program_was_killed(tmp_path: Path, kernel_folder: Path) -> None:
    state = tmp_path / "state"
    program = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(tmp_path), str(kernel_folder), str(state), LOWER, "sinh"],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert program.stdout is not None
        assert b"Executed" in program.stdout.readline()
        wait_until(lambda: runs_on(state) == "layers.0/sinh", "it runs on", 120)
    finally:
        os.kill(program.pid, signal.SIGKILL)
        program.wait()
    options = TargetOptions(lower=LOWER)
    deadlines = Deadlines(run=2)
    backend = make_backends(options, deadlines=deadlines, cache_dir=kernel_folder, state_dir=state)[1]
    driver = Driver(backend, tmp_path)
    try:
        driver.wait(lambda r: isinstance(r, LogLine) and "layers.0/sinh" in r.text)
        reply = driver.run(unary("aten.sinh.default", X), X)
        assert isinstance(reply, Failed)
        assert not reply.device_lost
        assert "layers.0/sinh" in reply.reason and "R or --relaunch launches it again" in reply.reason
        assert isinstance(driver.run(unary("aten.relu.default", X), X), Executed)
        driver.backend.restart()
        asked = driver.run(unary("aten.sinh.default", X), X, label="layers.0/sinh")
        assert isinstance(asked, Failed)
        assert "did not return within 2 s" in asked.reason
    finally:
        driver.backend.close()


@pytest.mark.tvm
@pytest.mark.parametrize("op", ["relu", "sinh"])
def test_what_had_just_begun_is_launched_once_more(op: str, tmp_path: Path, kernel_folder: Path) -> None:
    state, unit = tmp_path / "state", unary(f"aten.{op}.default", X)

    def session() -> Driver:
        options, deadlines = TargetOptions(lower=LOWER), Deadlines(run=2)
        backend = make_backends(options, deadlines=deadlines, cache_dir=kernel_folder, state_dir=state)[1]
        return Driver(backend, tmp_path)

    driver = session()
    try:
        assert isinstance(driver.run(unary("aten.relu.default", X), X), Executed)
        (launched,) = state.glob("devices/*/launch-*")
        folder = launched.parent
    finally:
        driver.backend.close()
    record = f"{unit.signature} layers.0/{op}".ljust(LAUNCH_BYTES) + boot_id().ljust(LAUNCH_BYTES)
    (folder / "launch-killed").write_text(record)
    driver = session()
    try:
        driver.wait(lambda r: isinstance(r, LogLine) and f"one more chance: layers.0/{op}" in r.text)
        reply = driver.run(unit, X, label=f"layers.0/{op}")
    finally:
        driver.backend.close()
    left = Killers(state, "")
    left._folder = folder
    if op == "relu":
        assert isinstance(reply, Executed) and left.open() == []
    else:
        assert isinstance(reply, Failed) and "did not return within 2 s" in reply.reason
        assert [(killer.label, killer.sure) for killer in left.open()] == [("layers.0/sinh", True)]
