"""A program in a pseudo-terminal, with the time of each byte that it paints."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence

import psutil
import pyte


class Terminal:
    """Runs a command in a pty of a given size and follows its screen with pyte."""

    def __init__(self, command: Sequence[str], *, columns: int = 120, rows: int = 40, env: Mapping[str, str] = {}):
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            list(command),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LC_ALL": "C.UTF-8", **env},
        )
        os.close(slave)
        self.last_byte = self.started

    def _read(self, timeout: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], timeout)
        if not ready:
            return False
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:
            return False
        self.last_byte = time.perf_counter()
        self._stream.feed(data)
        return bool(data)

    def text(self) -> str:
        """The screen as lines of text."""
        return "\n".join(self.screen.display)

    def wait_for(self, *texts: str, timeout: float = 60.0) -> float:
        """Seconds from start until one of `texts` is on the screen.

        Raises:
            TimeoutError: With the screen in it.
        """
        end = time.perf_counter() + timeout
        while not any(text in self.text() for text in texts):
            if time.perf_counter() > end or (not self._read(0.05) and self.process.poll() is not None):
                raise TimeoutError(f"{texts} did not appear:\n{self.text()}")
        return self.last_byte - self.started

    def settle(self, quiet: float = 0.2) -> None:
        """Read until nothing was painted for `quiet` seconds."""
        while self._read(quiet):
            pass

    def key_to_paint(self, keys: str, quiet: float = 0.12) -> float:
        """Seconds from sending `keys` to the last byte of the paint that answers it."""
        self.settle(quiet)
        sent = time.perf_counter()
        os.write(self._master, keys.encode())
        if not self._read(5.0):
            raise TimeoutError(f"no answer to {keys!r}:\n{self.text()}")
        while self._read(quiet):
            pass
        return self.last_byte - sent

    def send(self, keys: str) -> None:
        """Type."""
        os.write(self._master, keys.encode())

    def rss_bytes(self) -> int:
        """Resident memory of the program itself, without its workers."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def close(self) -> None:
        """Kill the program and what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self._master)
