"""Our own TVM RPC server on loopback.

Started with `python -m`; imported by nobody. It does what `tvm.exec.rpc_server` does (one forked
session at a time, `ServerLoop` of the TVM runtime), and three things that the stock server does
not: it goes on after a session has crashed, it ends a session that hangs when we say so, and it
dies with us. The key is a secret of this session: a TVM RPC server executes whatever it is sent,
and loopback is open to every user of the machine.
"""

from __future__ import annotations

import ctypes
import hmac
import logging
import os
import shutil
import signal
import socket
import struct
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tapml_tui.backends import messages
from tapml_tui.backends.child import Channel, die_with_parent, limit_resources
from tapml_tui.backends.frames import Header

# Of the handshake of TVM's RPC (tvm/rpc/base.py), in which numbers are little-endian int32.
_MAX_KEY = 1024
_FOLDER = "tapml-tui-rpc-"
_HANDSHAKE_SECONDS = 10.0
_NO_LIMIT = 1 << 62  # bytes of one packet
_BROKE = os.EX_PROTOCOL  # exit code of a session whose line broke: no kernel ends with that


class _Sessions:
    """The one session child there may be, shared by the thread that reads frames."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = 0

    def began(self, pid: int) -> None:
        with self._lock:
            self._pid = pid

    def wait(self, pid: int, ended: Callable[[int], None]) -> None:
        """Until it ends; its return code goes to `ended`.

        Reaped under the lock, so that `end` kills no stranger, and never answers before `ended`.
        """
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        with self._lock:
            self._pid = 0
            ended(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    def end(self) -> bool:
        """Kill it; whether there was one."""
        with self._lock:
            if self._pid:
                os.kill(self._pid, signal.SIGKILL)
            return bool(self._pid)


def main() -> None:
    """Serve until our parent goes away."""
    sessions = _Sessions()

    def urgent(header: Header) -> bool:
        if header["op"] != "end_session":
            return False
        if not sessions.end():
            channel.send({"op": "no_session"})
        return True

    channel = Channel(urgent)
    limit_resources()
    _remove_leftovers()
    header, _ = channel.receive()
    key, device = str(header["key"]), str(header["device"])
    # The runtime alone, without torch, loads in a fifth of the time.
    os.environ["TVM_USE_RUNTIME_LIB"] = "1"
    sys.modules["torch"] = None  # type: ignore[assignment]
    import tvm_ffi
    from tvm import libinfo
    from tvm.rpc import base, server

    logging.getLogger("RPCServer").setLevel(logging.WARNING)
    # Sorting, top-k and the like: without the compiler nothing else loads them.
    _load(libinfo, "libtvm_runtime_extra.*")
    # TVM's client asks for this before every copy, and does not remember that there is no limit: a round trip each.
    tvm_ffi.register_global_func("tvm.rpc.server.GetCRTMaxPacketSize", lambda: _NO_LIMIT)

    def handshake(connection: socket.socket) -> bool:
        connection.settimeout(_HANDSHAKE_SECONDS)
        magic, size = struct.unpack("<ii", _receive(connection, 8))
        if magic != base.RPC_MAGIC or not 0 <= size <= _MAX_KEY:
            return False
        words = _receive(connection, size).split()
        if not words or not hmac.compare_digest(words[0], f"client:{key}".encode()):
            connection.sendall(struct.pack("<i", base.RPC_CODE_MISMATCH))
            return False
        answer = b"server:loopback"
        connection.sendall(struct.pack("<ii", base.RPC_CODE_SUCCESS, len(answer)) + answer)
        connection.settimeout(None)
        return True

    def serve(connection: socket.socket) -> None:
        folder = tempfile.mkdtemp(prefix=f"{_FOLDER}{os.getpid()}-")
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            try:
                die_with_parent(parent)
                channel.close_in_fork()
                listener.close()
                os.chdir(folder)
                if device != "cpu":
                    # Only here: a driver that is initialised before the fork does not survive it.
                    _load(libinfo, f"libtvm_runtime_{device}.*")
                server._serve_loop(connection, None, _Folder(folder))
                os._exit(0)
            except Exception as error:
                # Errors of kernels go to the client: what comes out here is the line's, or a client's that is gone.
                print(f"the RPC session broke: {messages.of_exception(error)[0]}", file=sys.stderr, flush=True)
                os._exit(_BROKE)
            finally:
                os._exit(1)
        sessions.began(pid)
        connection.close()
        sessions.wait(
            pid, lambda code: channel.send({"op": "session_ended", "code": code, "line_broke": code == _BROKE})
        )
        shutil.rmtree(folder, ignore_errors=True)

    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    listener.listen(8)
    channel.send({"op": "ready", "port": listener.getsockname()[1]})
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            accepted = handshake(connection)
        except (OSError, EOFError, struct.error):
            accepted = False
        if accepted:
            serve(connection)
        connection.close()


def _remove_leftovers() -> None:
    """The folders of servers that were killed before they could clean up."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*-*"):
        pid = folder.name.removeprefix(_FOLDER).partition("-")[0]
        try:
            if pid.isdecimal() and folder.stat().st_uid == os.getuid():
                os.kill(int(pid), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # gone already, or not ours


def _load(libinfo: Any, pattern: str) -> None:
    for folder in libinfo.package_lib_paths():
        for file in Path(folder).glob(pattern):
            ctypes.CDLL(str(file), ctypes.RTLD_GLOBAL)


class _Folder:
    """What TVM asks of the folder that uploads go to."""

    def __init__(self, path: str) -> None:
        self.temp_dir = path
        self.libs: list[object] = []

    def relpath(self, name: str) -> str:
        path = Path(self.temp_dir, name).resolve()
        if not path.is_relative_to(self.temp_dir):
            raise ValueError("a file name that leaves the session's folder")
        return str(path)


def _receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


if __name__ == "__main__":
    main()
