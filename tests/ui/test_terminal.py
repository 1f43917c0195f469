"""Without a terminal in front of it the program does not stay."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from tapml_tui.ui.terminal import HANGUP, calm_terminal, wait_for_hangup

DEMO = Path(__file__).parents[2] / "assets" / "demo.trace"


def test_who_is_gone_is_noticed() -> None:
    master, terminal = os.openpty()
    gone = threading.Thread(target=wait_for_hangup, args=(terminal,), daemon=True)
    gone.start()
    os.write(master, b"keys that wait")
    gone.join(0.1)
    assert gone.is_alive()
    os.close(master)
    gone.join(30)
    assert not gone.is_alive()
    os.close(terminal)


def test_over_ssh_fewer_frames_are_painted_unless_the_user_said_how_many() -> None:
    assert "TEXTUAL_FPS" not in calm_terminal({})
    assert calm_terminal({"SSH_TTY": "/dev/pts/3"})["TEXTUAL_FPS"] == "15"
    assert "TEXTUAL_FPS" not in calm_terminal({"SSH_TTY": "/dev/pts/3", "TEXTUAL_FPS": "30"})


@pytest.mark.tvm
@pytest.mark.torch
def test_nothing_stays_where_the_terminal_went_away_without_a_signal(tmp_path: Path) -> None:
    trace = shutil.copy(DEMO, tmp_path / "demo.trace")
    folders = {f"XDG_{kind}_HOME": str(tmp_path / kind) for kind in ("STATE", "CACHE")}
    master, terminal = os.openpty()
    # A session of its own, which this terminal does not control: nobody sends it SIGHUP.
    program = subprocess.Popen(
        [sys.executable, "-m", "tapml_tui", trace],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        env={**os.environ, **folders, "TERM": "xterm-256color"},
    )
    os.close(terminal)
    shown, seen = bytearray(), threading.Event()

    def read() -> None:
        while not seen.is_set():
            shown.extend(os.read(master, 1 << 16))
            if b"ready" in shown:
                seen.set()

    threading.Thread(target=read, daemon=True).start()
    try:
        assert seen.wait(90), bytes(shown[-2000:])
        everything = [psutil.Process(program.pid), *psutil.Process(program.pid).children(recursive=True)]
        assert len(everything) > 2
        os.close(master)
        assert program.wait(60) == HANGUP
        _, alive = psutil.wait_procs(everything, timeout=20)
        assert not alive
    finally:
        program.kill()
        program.wait()
