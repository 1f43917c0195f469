"""`tapml-tui carve FILE.py:FUNC -o TRACE`: everything that is said goes to stderr."""

from __future__ import annotations

import os
import shlex
import time
import traceback
from pathlib import Path

import torch
from platformdirs import user_log_path
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from tapml_tui.carve import carving
from tapml_tui.carve.carving import Report, carve_workload
from tapml_tui.carve.errors import CarveError
from tapml_tui.carve.load import load
from tapml_tui.carve.size import megabytes
from trace_format import DiskFull, SizeLimit, TraceError
from trace_format.text import printable

_SHOWN_NOTES = 12
_REPAINT_SECONDS = 0.1


def run(
    function: str,
    out: str,
    *,
    floors: bool = True,
    max_size: int | None = None,
    include: str | None = None,
    dtype: str | None = None,
    weights: str | None = None,
    strict: bool = False,
) -> int:
    """Carve the model that `FILE.py:FUNC` builds.

    Returns:
        0 if the trace is written and whole; 1 if the model or the disk did not let it be; 2 if the
        request was wrong.
    """
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        if not Path(out).absolute().parent.is_dir():
            raise CarveError(
                f"there is no folder {Path(out).parent}", remedy="create it, or write elsewhere", usage=True
            )
        _say(console, f"carving {function}")
        workload, path = load(function)
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
            refresh_per_second=1 / _REPAINT_SECONDS,
        ) as bar:
            task = bar.add_task("exporting", total=None)
            painted = 0.0

            def on_size(needed: int) -> None:
                _say(console, f"the trace will take up to {megabytes(needed)}")
                bar.update(task, description="recording", total=1, completed=0)

            def on_progress(progress: carving.Progress) -> None:
                nonlocal painted
                if (now := time.monotonic()) - painted >= _REPAINT_SECONDS:
                    painted = now
                    bar.update(task, total=progress.total_steps, completed=progress.steps)

            report = carve_workload(
                workload,
                out=out,
                floors=floors,
                max_size=max_size,
                include=include,
                dtype=getattr(torch, dtype) if dtype is not None else None,
                weights=weights,
                strict=strict,
                command=f"tapml-tui carve {path.name}:{function.rpartition(':')[2]}",
                model_file=path,
                on_size=on_size,
                on_progress=on_progress,
            )
    except CarveError as error:
        _say(console, f"tapml-tui: {error}")
        if error.__cause__ is not None:
            _say(console, f"  {_keep(error)}")
        return 2 if error.usage else 1
    except (DiskFull, SizeLimit) as error:
        _say(console, f"tapml-tui: {error}")
        if error.readable:
            _say(console, "  it holds what was recorded until then: `tapml-tui info` and `verify` say what")
        else:
            _say(console, "  nothing is left of it: write elsewhere with -o, or carve a part with --include GLOB")
        return 1
    except TraceError as error:
        _say(console, f"tapml-tui: the trace could not be written\n  {error}")
        return 1
    _summarise(console, report)
    return 0


def _summarise(console: Console, report: Report) -> None:
    graphs = "one graph" if report.graphs == 1 else f"{report.graphs} graphs (sets of shapes)"
    cases = "one case" if report.cases == 1 else f"{report.cases} cases"
    _say(console, f"{report.out.name}: {megabytes(report.size)}, {report.nodes} operators, {graphs}, {cases}")
    _say(console, f"exported in {report.export_seconds:.1f} s, recorded in {report.record_seconds:.1f} s")
    for note in report.notes[:_SHOWN_NOTES]:
        _say(console, f"note: {note}")
    if len(report.notes) > _SHOWN_NOTES:
        _say(console, f"and {len(report.notes) - _SHOWN_NOTES} more notes: `tapml-tui info {report.out.name}`")
    _say(console, f"next: tapml-tui {shlex.quote(str(report.out))}")


def _say(console: Console, text: str) -> None:
    """One line or more; what came out of a model is never markup, nor an escape sequence."""
    for line in text.splitlines():
        console.print(Text(printable(line)))


def _keep(error: BaseException) -> str:
    """Write the whole traceback to the log folder; say where."""
    path = Path(user_log_path("tapml-tui", appauthor=False)) / "carve.log"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", errors="backslashreplace") as log:
            log.write("".join(traceback.format_exception(error)))
    except OSError as refused:
        return f"the whole message could not be written ({refused.strerror})"
    return f"the whole message is in {path}"
