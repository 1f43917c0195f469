"""The program: arguments in, exit code out, whatever happens in between.

stdout is data, stderr is talk. Nothing is imported here that the interpreter has not loaded already:
an interrupt may come while the rest is.
"""

from __future__ import annotations

import os
import sys

INTERRUPTED = 130  # `headless.exits.Exit.INTERRUPTED`, which may be what was interrupted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn


def main(argv: Sequence[str] | None = None) -> int:
    """Run `tapml-tui` with these arguments (without the program's name); return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        import signal

        signal.signal(signal.SIGINT, signal.SIG_IGN)  # once more would be a traceback out of the interpreter's end
        print("tapml-tui: interrupted", file=sys.stderr)
        return INTERRUPTED


def _run(arguments: list[str]) -> int:
    import signal

    from tapml_tui.commands import dispatch

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that cannot show a letter gets its escape, not a crash
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, _terminated)
    try:
        code = dispatch(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Who reads us (head, less) has seen enough. What is still buffered must not be tried again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Exception as error:
        return _complain(error, debug="--debug" in arguments)


def _terminated(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _complain(error: Exception, *, debug: bool) -> int:
    from tapml_tui.headless.complaints import explain
    from trace_format.text import printable

    if debug:
        import traceback

        for line in "".join(traceback.format_exception(error)).splitlines():
            print(printable(line), file=sys.stderr)
    complaint = explain(error)
    for line in str(complaint).splitlines():
        print(f"tapml-tui: {printable(line)}", file=sys.stderr)
    return complaint.code
