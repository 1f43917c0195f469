"""What the screens look like, as pictures that a person has looked at (`--snapshot-update` takes new ones)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from textual.pilot import Pilot

from tapml_tui.backends.protocol import BackendStatus, LogLine, State
from tapml_tui.compare.result import Status, Verdict
from tapml_tui.engine.table import STALE
from tapml_tui.ui.app import DebuggerApp
from tapml_tui.ui.inbox import Inbox
from tests.ui.scripted import ScriptedEngine, transformer

SIZES = [(80, 24), (120, 40)]
SCRIPT = {
    9: (Status.FAILED, Verdict.LOCAL, 812.0),
    10: (Status.FAILED, Verdict.INHERITED, 700.0),
    11: (Status.FAILED, Verdict.AMPLIFIED, 4300.0),
    13: (Status.UNSUPPORTED, Verdict.NONE, 0.0),
    15: (Status.ERROR, Verdict.NONE, 0.0),
    17: (Status.PASSED, Verdict.HEALED, 1.4),
}
Snap = Callable[..., bool]


def debugger() -> tuple[DebuggerApp, ScriptedEngine]:
    inbox = Inbox()
    engine = ScriptedEngine(transformer(2), inbox.put, script=SCRIPT, cases=3)
    reference = np.random.default_rng(0).normal(size=(1, 4, 8, 128)).astype(np.float32)
    actual = reference.copy()
    actual[..., 96:] = 0
    for node in range(len(engine.graph)):
        engine.values[node, "reference"], engine.values[node, "actual"] = reference, actual
    return DebuggerApp(engine, inbox, "me@host"), engine  # type: ignore[arg-type]


def settled(*keys: str) -> Callable[[Pilot[Any]], Awaitable[None]]:
    """Press keys, and wait until no thread reads any more."""

    async def run(pilot: Pilot[Any]) -> None:
        for key in keys:
            await pilot.press(key)
        await pilot.pause(0.1)
        await pilot.app.workers.wait_for_complete()
        await pilot.pause(0.2)

    return run


def name(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


@pytest.mark.parametrize("size", SIZES, ids=name)
@pytest.mark.parametrize(
    "keys",
    [
        pytest.param((), id="start"),
        pytest.param(("c",), id="guilty"),
        pytest.param(("c", "3", "tab"), id="output"),
        pytest.param(("c", "4"), id="code"),
        pytest.param(("question_mark",), id="help"),
        pytest.param(("c", "slash", "s", "o", "f", "t"), id="search"),
        pytest.param(("c", "c", "c", "c", "c", "c", "c", "g"), id="end"),
    ],
)
def test_screens(snap_compare: Snap, size: tuple[int, int], keys: tuple[str, ...]) -> None:
    assert snap_compare(debugger()[0], terminal_size=size, run_before=settled(*keys))


@pytest.mark.parametrize("size", SIZES, ids=name)
def test_no_color(snap_compare: Snap, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(debugger()[0], terminal_size=size, run_before=settled("c"))


def test_make_me_bigger(snap_compare: Snap) -> None:
    assert snap_compare(debugger()[0], terminal_size=(50, 14), run_before=settled())


@pytest.mark.parametrize("size", SIZES, ids=name)
def test_a_run_under_way_on_a_device_that_was_lost(snap_compare: Snap, size: tuple[int, int]) -> None:
    app, engine = debugger()

    async def before(pilot: Pilot[Any]) -> None:
        await settled("c", "b", "6")(pilot)
        engine.table.flags[10:14] |= STALE
        engine.table.status[10:14] = 1
        engine.table.backend[12:20] = 0
        engine.on_event(LogLine("target", "error", "Recv Error: Connection reset by peer"))
        lost = BackendStatus("target", State.LOST, "R starts it again", title="opencl @10.0.0.7:9090")
        activity = "layers.1.self_attn/aten.softmax.int#0, compiling 12/67"
        engine.change(running=True, activity=activity, progress=(17, 39), backends=(lost,))
        await settled()(pilot)

    assert snap_compare(app, terminal_size=size, run_before=before)
    engine.snapshot = replace(engine.snapshot, running=False)
