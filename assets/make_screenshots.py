"""Makes the screenshot of the README: the real program on the demo trace, on a real target.

python assets/make_screenshots.py
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ |= {"TEXTUAL_ANIMATIONS": "none", "COLORTERM": "truecolor", "TERM": "xterm-256color"}
os.environ.pop("NO_COLOR", None)

from tapml_tui.backends.launch import TargetOptions, make_backends
from tapml_tui.backends.protocol import State
from tapml_tui.engine import Engine
from tapml_tui.ui.app import DebuggerApp
from tapml_tui.ui.inbox import Inbox
from trace_format import open_trace

ASSETS = Path(__file__).resolve().parent
PATIENCE = 120.0  # seconds until a state must be reached


async def _until(reached: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not reached():
        if time.monotonic() > end:
            raise TimeoutError("the program did not get there")
        await asyncio.sleep(0.05)


async def _shoot(trace_path: Path, name: str, stops: int) -> None:
    """Run on to the `stops`-th disagreement, and photograph it."""
    inbox = Inbox()
    with open_trace(trace_path) as trace:
        engine = Engine(trace, make_backends(TargetOptions()), on_event=inbox.put)
        app = DebuggerApp(engine, inbox, "you@buildhost")
        async with app.run_test(size=(120, 36)) as pilot:
            await _until(lambda: all(b.state is State.READY for b in engine.snapshot.backends if b.backend == "target"))
            for _ in range(stops):
                before = engine.snapshot.cursor
                await pilot.press("c")
                await _until(lambda b=before: engine.snapshot.cursor > b and not engine.snapshot.running)
            await asyncio.sleep(0.5)
            await pilot.pause()
            app.save_screenshot(f"{name}.svg", path=str(ASSETS))
        engine.close()


def main() -> None:
    """All screenshots, of a copy of the demo, so that no run is left beside it."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "demo.trace"
        shutil.copy(ASSETS / "demo.trace", copy)
        asyncio.run(_shoot(copy, "screenshot", stops=2))


if __name__ == "__main__":
    main()
