"""What `doctor` prints of links that hold and of one that does not."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from tapml_tui.headless.doctor import doctor
from tapml_tui.headless.exits import Exit


class Link(NamedTuple):
    link: str
    ok: bool
    detail: str
    remedy: str = ""
    warning: str = ""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def chain(trying: Callable[[str], None]) -> Iterator[Link]:
    yield Link("torch", True, "2.13")
    trying("device: llvm \x1b[2J@board, up to 40 s")
    yield Link("device", False, "no answer", "check --rpc")


def test_a_terminal_sees_what_is_tried_and_then_what_came_of_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert doctor(chain, as_json=False) == Exit.DEVICE
    written = terminal.getvalue().split("\r\x1b[2K")
    assert "trying  device: llvm \\e[2J@board, up to 40 s" in written
    assert written[-1] == ""  # erased before the result is printed
    assert "BROKEN  device" in capsys.readouterr().out


def test_a_file_gets_results_only(capsys: pytest.CaptureFixture[str]) -> None:
    doctor(chain, as_json=False)
    assert "trying" not in "".join(capsys.readouterr())
