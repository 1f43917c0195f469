"""Turns whatever went wrong into the three sentences that a user needs, and keeps the traceback in a file."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from pathlib import Path

from tapml_tui.headless.exits import CommandError, Exit
from trace_format.errors import (
    CannotOpen,
    DiskFull,
    FileChanged,
    NotATrace,
    RunLocked,
    TraceError,
    UnsupportedVersion,
    Unwritable,
    WrongBase,
)

EXTRAS = {"torch": "torch", "tvm": "tvm", "tvm_ffi": "tvm", "cloudpickle": "tvm", "psutil": "tvm", "tornado": "tvm"}
"""Which extra of ours brings a package."""


def explain(error: BaseException) -> CommandError:
    """What happened, why, what to do next; and the exit code, for any exception out of a command."""
    if isinstance(error, CommandError):
        return error
    if isinstance(error, ModuleNotFoundError) and (package := (error.name or "").partition(".")[0]) in EXTRAS:
        return missing_extra(package)
    if isinstance(error, TraceError):
        return _bad_trace(error)
    if isinstance(error, OSError):
        return _operating_system(error)
    return CommandError(
        f"{type(error).__name__}: {error}",
        why=f"this is a fault of tapml-tui; {keep_traceback(error)}",
        remedy="please report it with that traceback; --debug shows it here",
        code=Exit.FAILED,
    )


def missing_extra(package: str) -> CommandError:
    """The error for a package that only an extra brings."""
    return CommandError(
        f"{package} is not installed",
        why="this command needs it; reading traces does not",
        remedy=f"install it: {sys.executable} -m pip install 'tapml-tui[{EXTRAS[package]}]'",
    )


def _bad_trace(error: TraceError) -> CommandError:
    match error:
        case CannotOpen():
            return CommandError(str(error), remedy="check the name, and its permissions (ls -l)")
        case DiskFull():
            return CommandError(str(error), remedy="free some space and try again", code=Exit.FAILED)
        case FileChanged():
            return CommandError(str(error), code=Exit.BAD_TRACE)
        case RunLocked() | Unwritable():
            return CommandError(str(error))
        case WrongBase():
            return CommandError(str(error), remedy="keep the run of every trace in a file of its own")
        case NotATrace():
            return CommandError(
                str(error),
                remedy="`tapml-tui carve` makes traces, `check --run` and the debugger make runs",
                code=Exit.BAD_TRACE,
            )
        case UnsupportedVersion():
            return CommandError(str(error), remedy="install a newer tapml-tui", code=Exit.BAD_TRACE)
    return CommandError(
        "this trace is damaged",
        why=str(error),
        remedy="`tapml-tui verify FILE` lists the damage, `tapml-tui recover FILE -o NEW` saves what is whole",
        code=Exit.BAD_TRACE,
    )


def _operating_system(error: OSError) -> CommandError:
    name = str(error.filename) if error.filename is not None else ""
    what = f"cannot use {name}" if name else "the operating system refused"
    remedy = {
        errno.ENOENT: "check the name",
        errno.EEXIST: "give what is written another name",
        errno.EISDIR: "name a file, not a folder",
        errno.EACCES: "check who owns it and its permissions (ls -l)",
        errno.EPERM: "check who owns it and its permissions (ls -l)",
        errno.ENOSPC: "free some space and try again",
        errno.EROFS: "choose a place that can be written",
    }.get(error.errno or 0, "")
    why = error.strerror or str(error)
    if name and error.errno == errno.ENOENT and not os.path.isdir(folder := os.path.dirname(name) or "."):
        why, remedy = f"there is no folder {folder}", "make it, or check the name"
    code = Exit.FAILED if error.errno == errno.ENOSPC else Exit.USAGE
    return CommandError(what, why=why, remedy=remedy, code=code)


def keep_traceback(error: BaseException) -> str:
    """Write the traceback to the log folder; say where it is."""
    return keep_text("".join(traceback.format_exception(error)))


def keep_text(text: str) -> str:
    """Write a traceback that is text already to the log folder; say where it is."""
    from platformdirs import user_log_path

    path = Path(user_log_path("tapml-tui", appauthor=False)) / "last-error.log"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", errors="backslashreplace") as log:
            log.write(text)
    except OSError as refused:
        return f"its traceback could not be written ({refused.strerror})"
    return f"its traceback is in {path}"
