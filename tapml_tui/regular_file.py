"""Opens what may have come from somebody else: never a pipe that waits for ever, never more than a limit.

And what is written never takes the place of a trace.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from trace_format.records import MAGIC_STEM


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """A regular file, open for reading.

    Raises:
        OSError: If it cannot be had, or is a pipe, a device or a folder.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as error:  # a zero byte in the name, a letter that no name can have
        raise OSError(errno.EINVAL, str(error), path) from None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return open(descriptor, "rb")
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is no regular file", os.fspath(path))


def read_regular(path: Path, most: int) -> str:
    """The text in a regular file.

    Args:
        path: Where it is.
        most: Bytes that it may have.

    Raises:
        OSError: As `open_regular`, or if it is larger.
        UnicodeDecodeError: If it is no UTF-8.
    """
    with open_regular(path) as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it has more than {most} bytes", os.fspath(path))
    return data.decode()


def spare_traces(path: str | os.PathLike[str]) -> None:
    """Look at what is in the place of a file that is to be written: a slip of the pen costs no carving.

    Raises:
        FileExistsError: If it is a trace or a run.
    """
    if not os.path.isfile(path):
        return
    with suppress(PermissionError), open_regular(path) as stream:
        if stream.read(len(MAGIC_STEM)) == MAGIC_STEM:
            raise FileExistsError(errno.EEXIST, "it is a trace or a run, which this would destroy", os.fspath(path))
