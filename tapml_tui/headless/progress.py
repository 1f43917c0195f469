"""A progress line on stderr, where somebody looks at it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from tapml_tui.engine.events import Snapshot
from trace_format import Trace
from trace_format.text import printable

_WIDTH = 40


@contextmanager
def progress_of(trace: Trace) -> Iterator[Callable[[Snapshot], None]]:
    """Shows the engine's state while the body runs; nothing if stderr is no terminal."""
    console = Console(file=sys.stderr, markup=False, highlight=False, emoji=False)
    columns = (
        TextColumn("{task.fields[case]}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[activity]}", markup=False, style="dim"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None, case="", activity="starting")

        def show(snapshot: Snapshot) -> None:
            name = trace.cases[snapshot.case].name
            waiting = ", ".join(f"{one.backend} {one.state.value}" for one in snapshot.backends if one.state != "ready")
            bar.update(
                task,
                case=f"{snapshot.case + 1}/{len(trace.cases)} {printable(name)[:_WIDTH]}",
                activity=printable(snapshot.activity or waiting)[:_WIDTH],
            )
            if snapshot.progress is not None:
                bar.update(task, completed=snapshot.progress[0], total=snapshot.progress[1])

        yield show
