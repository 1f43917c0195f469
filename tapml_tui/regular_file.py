"""Opens what may have come from somebody else: never a pipe that waits for ever, never more than a limit."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


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
