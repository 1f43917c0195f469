"""End to end in a real terminal: the program, its workers, TVM behind a real RPC server."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.tmux, pytest.mark.tvm, pytest.mark.torch]

ASSETS = Path(__file__).parents[2] / "assets"
DEMO = ASSETS / "demo.trace"


class Terminal:
    """A tmux server of its own with one window that runs the debugger."""

    def __init__(self, folder: Path, size: tuple[int, int], *arguments: str, trace: Path | None = None) -> None:
        self._socket = str(folder / "tmux.sock")
        if trace is None:
            trace = folder / "demo.trace"
            shutil.copy(DEMO, trace)
        width, height = map(str, size)
        command = [sys.executable, "-m", "tapml_tui", str(trace), *arguments]
        environment = [f"XDG_{kind}_HOME={folder / kind}" for kind in ("STATE", "CACHE")]
        shell = " ".join(["env", "COLORTERM=truecolor", *environment, *command, "; echo exit code $?; sleep 1000"])
        self._tmux("-f", "/dev/null", "new-session", "-d", "-s", "t", "-x", width, "-y", height, shell)
        self.pane = psutil.Process(int(self._tmux("display-message", "-p", "-t", "t", "#{pane_pid}")))

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", self._socket, *arguments], check=True, capture_output=True, text=True, timeout=30
        )
        return done.stdout.rstrip("\n")

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", "-t", "t", *keys)

    @property
    def text(self) -> str:
        return self._tmux("capture-pane", "-p", "-t", "t")

    def until(self, what: str | Callable[[str], bool], seconds: float = 90) -> str:
        end = time.monotonic() + seconds
        reached = (lambda text: what in text) if isinstance(what, str) else what
        while not reached(text := self.text):
            assert time.monotonic() < end, f"not within {seconds} s: {what}\n{text}"
            time.sleep(0.1)
        return text

    @property
    def program(self) -> list[psutil.Process]:
        """The program and everything that it has started, the program first."""
        found = [each for each in self.pane.children(recursive=True) if "tapml_tui" in command_of(each)]
        everything = {process.pid: process for each in found for process in (each, *children_of(each))}
        return list(everything.values())

    def close(self) -> None:
        subprocess.run(["tmux", "-S", self._socket, "kill-server"], check=False, capture_output=True)


@pytest.fixture(params=[(80, 24), (120, 40)], ids=["80x24", "120x40"])
def terminal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Terminal]:
    opened = Terminal(tmp_path, request.param)
    yield opened
    opened.close()


def command_of(process: psutil.Process) -> str:
    """Its command line, "" if it has ended meanwhile."""
    with suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline())
    return ""


def children_of(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return list(process.children(recursive=True))
    return []


def all_gone(processes: list[psutil.Process], seconds: float = 20) -> None:
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    still = [process for process in alive if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    assert not still, [process.cmdline() for process in still]


def on_to_the_end(terminal: Terminal) -> None:
    """`c` until everything has been executed: it stops at each error and each guilty kernel."""
    for _ in range(20):
        before = terminal.text
        if "at the end" in before:
            return
        terminal.press("c")
        terminal.until(lambda text, before=before: text != before and "esc stops" not in text)  # type: ignore[misc]
    raise AssertionError("never at the end")


def row(name: str, side: str, mark: str) -> Callable[[str], bool]:
    """Whether a row of the tree shows this side letter and this mark."""
    shown = re.compile(rf"{re.escape(name)} +{side} +{mark}")
    return lambda text: shown.search(text) is not None


def find(terminal: Terminal, words: str) -> None:
    terminal.press("/")
    terminal.press("-l", words)
    terminal.until(f"/ {words}")
    terminal.press("Enter")
    terminal.until(". next")


def test_a_session_from_the_first_screen_to_the_last(terminal: Terminal) -> None:
    terminal.until("step 0/")
    terminal.until("● ready")
    terminal.press("n")
    terminal.until("step 1/")
    on_to_the_end(terminal)
    assert "✗L" in terminal.text

    find(terminal, "layers.1")
    terminal.press("X")
    terminal.until(row("layers.1", "S", "~"))
    terminal.press("c")
    terminal.until(row("layers.1", "S", "[✓◐]"))
    terminal.press("X")
    terminal.until(row("layers.1", "T", "~"))
    terminal.press("c")
    terminal.until(row("layers.1", "T", "✗L"))

    find(terminal, "tril")
    terminal.press("b")
    terminal.until("tril.default#0: set")
    terminal.press("r")
    terminal.until("step 0/")
    terminal.press("c")
    terminal.until("step 2/")  # an operator that TVM does not compile
    terminal.press("c")
    terminal.until("breakpoint: ")
    assert "step 3/" in terminal.text
    terminal.press("N")
    terminal.until("step 2/")
    terminal.press("?")
    terminal.until("esc closes")
    terminal.press("Escape")
    terminal.until(lambda text: "esc closes" not in text)
    for tab in "23456":
        terminal.press(tab)
        time.sleep(0.2)
    processes = terminal.program
    assert len(processes) > 1
    terminal.press("q")
    terminal.until("exit code 0")
    all_gone(processes)


def test_nothing_is_left_after_kill_9(terminal: Terminal) -> None:
    terminal.until("● ready")
    terminal.press("n")
    terminal.until(lambda text: "step 0/" not in text)
    processes = terminal.program
    assert len(processes) > 2
    processes[0].kill()
    all_gone(processes)


def passed(text: str) -> int:
    return int(re.search(r"(\d+) passed", text)[1])  # type: ignore[index]


@pytest.mark.parametrize("terminal", [(80, 24)], indirect=True)
def test_a_worker_that_is_killed_is_said_and_replaced_and_nothing_is_lost(terminal: Terminal) -> None:
    terminal.until("● ready")
    terminal.press("n")
    terminal.until("step 1/")
    terminal.press("x")  # TVM does not compile this one
    terminal.press("n")
    terminal.until("step 2/")
    for done, (module, words) in enumerate(
        [("worker_server", "LOST"), ("worker_device", "LOST"), ("worker_source", ""), ("worker_compiler", "")], 2
    ):
        killed = [process for process in terminal.program if module in command_of(process)]
        killed[0].kill()
        terminal.until(words)
        assert passed(terminal.text) == done
        terminal.press("R")
        terminal.until("● ready")
        terminal.press("n")
        terminal.until(f"step {done + 1}/")
        assert passed(terminal.until(lambda text, done=done: passed(text) > done)) == done + 1  # type: ignore[misc]
    processes = terminal.program
    terminal.press("q")
    terminal.until("exit code 0")
    all_gone(processes)


@pytest.mark.parametrize("terminal", [(80, 24)], indirect=True)
def test_ctrl_c_stops_nothing_and_says_how_to_leave(terminal: Terminal) -> None:
    terminal.until("step 0/")
    terminal.press("C-c")
    terminal.until("Nothing is running. q quits.")
    terminal.press("q")
    terminal.until("exit code 0")


@pytest.mark.slow
def test_the_planted_fault_of_the_readme_is_found_with_its_keys(tmp_path: Path) -> None:
    trace = tmp_path / "llama.trace"
    model = ASSETS.parent / "tests" / "models.py:llama"
    subprocess.run([sys.executable, "-m", "tapml_tui", "carve", str(model), "-o", str(trace)], check=True)
    terminal = Terminal(tmp_path, (80, 24), "--lower", str(ASSETS / "planted.py"), trace=trace)
    try:
        terminal.until("ready")
        for said in ("aten.cumsum.default#0: TVM cannot", "aten.new_ones.default#0: wrong dtype", "LOCAL  sin"):
            terminal.press("c")
            terminal.until(said)
        terminal.until("Rows 24..31 are zero: the last 8 of")
        terminal.press("c")
        terminal.until("the answer is wrong: ")
        terminal.press("[")
        terminal.until(row("sin", "T", "✗"))
        terminal.press("x")
        terminal.until("aten.sin.default#0: on source now")
        terminal.press("c")
        terminal.until("the answer holds: ")
    finally:
        terminal.close()
