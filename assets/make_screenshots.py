"""Makes the screenshots of the README: the real program on real traces, on a real target.

python assets/make_screenshots.py
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
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
PATIENCE = 300.0  # seconds until a state must be reached
SIZE = (120, 36)

STORY = (("story-found", "ccc"), ("story-inherited", "c"), ("story-healed", "[xc"))
"""What the README shows of the planted fault: name of a picture, keys before it."""


async def _until(reached: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not reached():
        if time.monotonic() > end:
            raise TimeoutError("the program did not get there")
        await asyncio.sleep(0.05)


async def _shoot(trace_path: Path, scenes: tuple[tuple[str, str], ...], options: TargetOptions) -> None:
    """Press keys, and photograph what they lead to."""
    inbox = Inbox()
    with open_trace(trace_path) as trace:
        engine = Engine(trace, make_backends(options), on_event=inbox.put)
        app = DebuggerApp(engine, inbox, "you@buildhost")
        async with app.run_test(size=SIZE) as pilot:
            await _until(lambda: all(b.state is State.READY for b in engine.snapshot.backends if b.backend == "target"))
            for name, keys in scenes:
                for key in keys:
                    before = engine.snapshot.generation
                    await pilot.press({"[": "left_square_bracket"}.get(key, key))
                    if key != "[":
                        await _until(lambda b=before: engine.snapshot.generation > b and not engine.snapshot.running)
                    await pilot.pause(0.5)
                await app.workers.wait_for_complete()
                await pilot.pause(0.5)
                app.save_screenshot(f"{name}.svg", path=str(ASSETS))
        engine.close()


def main() -> None:
    """All screenshots, of copies, so that no run is left beside a trace of ours."""
    with tempfile.TemporaryDirectory() as folder:
        demo, llama = Path(folder) / "demo.trace", Path(folder) / "llama.trace"
        shutil.copy(ASSETS / "demo.trace", demo)
        asyncio.run(_shoot(demo, (("screenshot", "cc"),), TargetOptions()))
        model = ASSETS.parent / "tests" / "models.py:llama"
        subprocess.run([sys.executable, "-m", "tapml_tui", "carve", str(model), "-o", str(llama)], check=True)

        asyncio.run(_shoot(llama, STORY, TargetOptions(lower=str(ASSETS / "planted.py"))))


if __name__ == "__main__":
    main()
