"""Worker processes: started, spoken to, seen dying, killed."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

import numpy as np

from tapml_tui.backends import frames
from tapml_tui.backends.frames import Header

_CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT, signal.SIGTRAP, signal.SIGSYS)
_PACKAGE_ROOT = str(Path(__file__).resolve().parents[2])


class _Spawner:
    """One thread that starts every process and lives as long as we do.

    Linux kills a worker that asked for it (`child.die_with_parent`) when the *thread* that
    started it ends, not the process.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Callable[[], subprocess.Popen[bytes]], Future[subprocess.Popen[bytes]]]]
        self._jobs = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self, job: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="spawner", daemon=True)
                self._thread.start()
        future: Future[subprocess.Popen[bytes]] = Future()
        self._jobs.put((job, future))
        return future.result()

    def _run(self) -> None:
        while True:
            job, future = self._jobs.get()
            try:
                future.set_result(job())
            except OSError as error:
                future.set_exception(error)


_SPAWNER = _Spawner()


class WorkerProcess:
    """`python -m MODULE` with frames over its stdin and stdout, its stderr line by line.

    It leads a process group of its own, without our terminal; when it ends, for whatever reason,
    the whole group is killed. The callbacks come from threads of this object: `on_frame` in order,
    `on_exit` once, after the last frame.
    """

    def __init__(
        self,
        module: str,
        *,
        on_frame: Callable[[Header, list[np.ndarray]], None],
        on_exit: Callable[[int], None],
        on_log: Callable[[str], None],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start it.

        Args:
            module: Dotted name.
            on_frame: Called with every frame that it sends.
            on_exit: Called with its return code, negative for a signal.
            on_log: Called with every line of its stderr.
            environment: Variables on top of ours.

        Raises:
            OSError: If the process cannot be started.
        """
        self._on_frame, self._on_exit, self._on_log = on_frame, on_exit, on_log
        inherited = [_PACKAGE_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]
        env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(inherited),
            "PYTHONUNBUFFERED": "1",
            "TAPML_TUI_PARENT": str(os.getpid()),
            **(environment or {}),
        }
        # -P: nothing in the folder that we happen to be in is imported by accident.
        command = [sys.executable, "-P", "-m", module]
        self._process = _SPAWNER.start(
            lambda: subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=env,
                cwd="/",
                start_new_session=True,
            )
        )
        self.pid = self._process.pid
        self._outbox: queue.SimpleQueue[tuple[Header, Sequence[memoryview]] | None] = queue.SimpleQueue()
        self._ended = threading.Event()
        name = module.rpartition(".")[2]
        self._reader = threading.Thread(target=self._read, name=f"{name}-frames", daemon=True)
        self._logger = threading.Thread(target=self._log, name=f"{name}-log", daemon=True)
        for thread in (self._reader, self._logger):
            thread.start()
        for target, role in ((self._write, "writer"), (self._wait, "exit")):
            threading.Thread(target=target, name=f"{name}-{role}", daemon=True).start()

    def send(self, header: Header, blocks: Sequence[memoryview] = ()) -> None:
        """Queue one frame; never waits, and does nothing if the process is gone."""
        self._outbox.put((header, blocks))

    def kill(self) -> None:
        """Kill it and everything that it started. `on_exit` follows."""
        if not self._ended.is_set():
            self._kill_group()

    def join(self, timeout: float) -> bool:
        """Wait until it is gone."""
        return self._ended.wait(timeout)

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(self.pid, signal.SIGKILL)  # it may not lead its group yet

    def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            while (frame := frames.read(self._process.stdout)) is not None:  # type: ignore[arg-type]
                self._on_frame(*frame)
        except (frames.FrameError, OSError, ValueError) as error:
            self._on_log(f"the worker's frames broke off: {error}")
            self.kill()

    def _write(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError), self._process.stdin as stream:
            while (item := self._outbox.get()) is not None:
                try:
                    pieces = frames.pack(*item)
                except (ValueError, TypeError, OverflowError) as error:
                    self._on_log(f"a request cannot be sent to the worker: {error}")
                    self.kill()
                    return
                for piece in pieces:
                    stream.write(piece)
                stream.flush()

    def _log(self) -> None:
        assert self._process.stderr is not None
        with contextlib.suppress(OSError, ValueError), self._process.stderr as stream:
            while line := stream.readline(1 << 16):
                self._on_log(line.decode(errors="replace").rstrip("\n"))

    def _wait(self) -> None:
        if hasattr(os, "waitid"):  # while it is a zombie its group id cannot be given to others
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        code = self._process.wait()
        for thread in (self._reader, self._logger):
            thread.join(timeout=5)
        self._outbox.put(None)
        self._ended.set()
        self._on_exit(code)


def crashed(code: int) -> bool:
    """Whether a process broke of what it did itself; others it was told to, or decided to, end."""
    return -code in _CRASHES


def describe_exit(code: int) -> str:
    """A return code in words: "was killed by SIGSEGV", "ended with code 1"."""
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
