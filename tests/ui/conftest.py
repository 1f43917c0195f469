"""The debugger on a real engine over a small real trace, without torch or TVM."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from textual.pilot import Pilot

from tapml_tui.backends.protocol import State
from tapml_tui.engine import Engine
from tapml_tui.ui.app import DebuggerApp
from tapml_tui.ui.inbox import Inbox
from tests.engine.numpy_backend import Arrays, NumpyBackend
from tests.engine.toys import Toy, mlp


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever terminal the tests run in, the screen believes in one with all colours."""
    for name in ("NO_COLOR", "SSH_CONNECTION", "SSH_TTY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))


class Debugging:
    """A running app, and ways to press keys and wait until the engine is at rest."""

    def __init__(self, app: DebuggerApp, pilot: Pilot[int]) -> None:
        self.app, self.pilot, self.engine = app, pilot, app.engine
        self.tree, self.panes = app.debugger.tree_view, app.debugger.panes

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.pilot.press(key)
            await self.until(lambda: not self.engine.snapshot.running)

    async def until(self, reached: Callable[[], bool]) -> None:
        end = time.monotonic() + 30
        while not reached():
            assert time.monotonic() < end, "not reached within half a minute"
            await self.pilot.pause(0.01)
        await self.pilot.pause()

    async def at(self, cursor: int) -> None:
        """Wait until the cursor is somewhere, and the screen has drawn it."""
        await self.until(lambda: self.engine.snapshot.cursor == cursor and not self.engine.snapshot.running)
        await self.until(lambda: self.app.debugger._cursor == cursor)

    @property
    def text(self) -> str:
        """Everything on the screen."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip) for strip in strips)

    @property
    def message(self) -> str:
        return self.text.splitlines()[-2].strip()

    @property
    def selected(self) -> str:
        return self.tree.outline.graph.node_id(self.tree.span[0])


Fault = Callable[[Arrays], Arrays]


def half_zero(right: Arrays) -> Arrays:
    """A tile tail that was not written."""
    wrong = right[0].copy()
    wrong[:, wrong.shape[1] // 2 :] = 0
    return (wrong,)


@pytest.fixture
def debugging(tmp_path: Path) -> Iterator[Callable[..., object]]:
    """What starts the debugger on a toy, with faults in its target."""
    opened = []

    @asynccontextmanager
    async def start(
        toy: Toy | None = None,
        *,
        faults: dict[str, Fault] | None = None,
        size: tuple[int, int] = (80, 24),
        targets: Sequence[NumpyBackend] = (),
        **options: Any,
    ) -> AsyncIterator[Debugging]:
        trace = (toy or mlp(3)).write(tmp_path / "toy.trace")
        inbox = Inbox()
        backends = [NumpyBackend("source"), *(targets or [NumpyBackend("target", faults=faults)])]
        engine = Engine(trace, backends, on_event=inbox.put, **options)
        opened.append((engine, trace))
        app = DebuggerApp(engine, inbox, "me@host")
        async with app.run_test(size=size) as pilot:
            d = Debugging(app, pilot)
            await d.until(lambda: all(each.state is State.READY for each in engine.snapshot.backends))
            yield d

    yield start
    for engine, trace in opened:
        engine.close()
        trace.close()


@pytest.fixture
def array() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
