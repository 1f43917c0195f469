"""Files that a report goes to: there as a whole, or as they were before."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from tapml_tui.regular_file import spare_traces

STDOUT = "-"


@contextmanager
def whole(path: str) -> Iterator[TextIO]:
    """A text file that takes its place when the body has ended without an exception.

    It is made beside that place, and at once: what cannot be written is known before anything is run.

    Args:
        path: `STDOUT`, a device or a pipe are written directly.

    Raises:
        OSError: If it cannot be written, or is a trace.
    """
    place = Path(os.path.realpath(path))
    if path == STDOUT or (place.exists() and not place.is_file() and not place.is_dir()):
        with as_it_comes(path) as stream:
            yield stream
        return
    if place.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if place.exists() and not os.access(place, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
    spare_traces(place)
    partial = place.with_name(f".{place.name[:100]}.{os.getpid()}.partial")
    try:
        partial.unlink(missing_ok=True)
        stream = open(partial, "x", encoding="utf-8")  # noqa: SIM115  # no link of somebody else's is followed
    except OSError as error:
        error.filename = path  # what the user has named
        raise
    try:
        with stream:
            yield stream
        os.replace(partial, place)
    finally:
        with suppress(FileNotFoundError):
            partial.unlink()


def as_it_comes(path: str) -> TextIO:
    """A text file that grows while it is read; `STDOUT` too."""
    if path == STDOUT:
        # A second handle, because closing it must leave stdout open.
        return open(sys.stdout.fileno(), "w", encoding="utf-8", closefd=False)
    spare_traces(path)
    return open(path, "w", encoding="utf-8")
