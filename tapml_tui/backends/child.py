"""The worker's end: its channel to us, and the promise that it dies with us.

Only the standard library, msgpack and numpy: a worker opens its channel before its heavy imports.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import queue
import resource
import signal
import sys
import threading
from collections.abc import Callable, Sequence

import numpy as np

from tapml_tui.backends import frames
from tapml_tui.backends.frames import Header

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, even inside a C call that holds the GIL.

    Elsewhere than on Linux only the end of the lifeline (our stdin) says so; `Channel` watches it.
    Must be called again in every forked child: the setting is not inherited.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before we could ask
        os._exit(1)


def limit_resources(*, file_bytes: int | None = None) -> None:
    """No core files, no runaway allocation, and files of at most `file_bytes`."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Half as much again as there is: importing torch or tvm maps a few GiB that it never touches.
    with contextlib.suppress(ValueError, OSError):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        _lower(resource.RLIMIT_AS, memory + memory // 2 + (8 << 30))
    _lower(resource.RLIMIT_NOFILE, 4096)
    if file_bytes is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # an error code instead of a death
        _lower(resource.RLIMIT_FSIZE, file_bytes)


def _lower(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, value))


class Channel:
    """Frames over what were stdin and stdout, which are taken away from everybody else first.

    A thread reads all the time, so that the end of stdin (we are gone) is noticed and `urgent`
    frames are seen while the main thread works.
    """

    def __init__(self, urgent: Callable[[Header], bool] = lambda header: False) -> None:
        """Take the channel over.

        Args:
            urgent: Called on the reading thread with each header; a frame for which it returns
                True is done with and not given to `receive`.
        """
        die_with_parent(int(os.environ.get("TAPML_TUI_PARENT", os.getppid())))
        self._in = os.fdopen(os.dup(0), "rb")
        self._out = os.dup(1)  # not inherited by programs that are started; forks see `close_in_fork`
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        os.dup2(2, 1)  # whatever a library prints goes to the log
        sys.stdout = sys.stderr
        self._lock = threading.Lock()
        self._urgent = urgent
        self._received: queue.SimpleQueue[tuple[Header, list[np.ndarray]]] = queue.SimpleQueue()
        threading.Thread(target=self._read, name="frames", daemon=True).start()

    def send(self, header: Header, blocks: Sequence[np.ndarray] = ()) -> None:
        """Write one frame. From any thread."""
        views = [block.reshape(-1).view(np.uint8).data for block in blocks]
        with self._lock:
            for piece in frames.pack(header, views):
                view = memoryview(piece)
                while view.nbytes:
                    view = view[os.write(self._out, view) :]

    def receive(self) -> tuple[Header, list[np.ndarray]]:
        """Wait for the next frame that was not urgent."""
        return self._received.get()

    def close_in_fork(self) -> None:
        """To be called in a forked child: it has no part in the conversation."""
        os.close(self._out)
        os.close(self._in.fileno())

    def _read(self) -> None:
        with contextlib.suppress(frames.FrameError, OSError):
            while (frame := frames.read(self._in)) is not None:
                if not self._urgent(frame[0]):
                    self._received.put(frame)
        # Whoever started us is gone: so are we, with everything that we started.
        os.killpg(0, signal.SIGKILL)
