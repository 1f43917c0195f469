"""Asking a TVM RPC tracker who is there and for a device, with a deadline.

TVM's own client waits without one, and loading TVM to list three devices takes seconds. The protocol is JSON, each
message after its length (tvm/rpc/tracker.py).
"""

from __future__ import annotations

import json
import socket
import struct
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

_MAGIC = 0x2F271
_SUCCESS, _REQUEST, _SUMMARY = 0, 4, 6
_MAX_MESSAGE = 1 << 20
_PRIORITY = 1


class TrackerError(ConnectionError):
    """The tracker cannot be had, or gives no device."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The devices of one key: how many there are, how many are free, how many requests wait."""

    key: str
    total: int
    free: int
    waiting: int
    servers: tuple[str, ...]


class Tracker:
    """A connection to a tracker; a context manager."""

    def __init__(self, address: tuple[str, int], timeout: float) -> None:
        """Connect.

        Args:
            address: Host and port.
            timeout: Seconds that everything together may take.

        Raises:
            TrackerError: If nobody answers there, or it is no tracker.
        """
        self._name = f"{address[0]}:{address[1]}"
        self._until = time.monotonic() + timeout
        try:
            self._socket = socket.create_connection(address, timeout=timeout)
        except OSError as error:
            raise TrackerError(f"Connect to the tracker {self._name} failed: {error.strerror or error}") from None
        try:
            self._socket.sendall(struct.pack("<i", _MAGIC))
            if struct.unpack("<i", self._receive(4))[0] != _MAGIC:
                raise TrackerError(f"{self._name} is no TVM RPC tracker")
        except TrackerError:
            self._socket.close()
            raise
        except OSError as error:
            self._socket.close()
            raise TrackerError(f"{self._name} is no TVM RPC tracker, or hangs: {error}") from None

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def pools(self) -> list[Pool]:
        """What there is, by key.

        Raises:
            TrackerError: If the answer is none.
        """
        answer = self._ask([_SUMMARY])
        try:
            queues = answer["queue_info"]
            servers = [
                (str(one["key"]).removeprefix("server:"), _place(one.get("addr"))) for one in answer["server_info"]
            ]
            total = Counter(key for key, _ in servers)
            return [
                Pool(
                    key,
                    total[key],
                    int(queues.get(key, {}).get("free", 0)),
                    int(queues.get(key, {}).get("pending", 0)),
                    tuple(place for one, place in servers if one == key),
                )
                for key in sorted({*map(str, queues), *total})
            ]
        except (KeyError, TypeError, ValueError, AttributeError):
            raise TrackerError(f"the answer of {self._name} is not that of a TVM RPC tracker") from None

    def request(self, key: str) -> tuple[str, int, str]:
        """Host, port and key of a free device; waits until there is one, as long as the deadline allows.

        Raises:
            TrackerError: If there is none with this key, or none became free.
        """
        pools = {pool.key: pool for pool in self.pools()}
        if key not in pools or not (pools[key].total or pools[key].free):
            there = ", ".join(name for name, pool in pools.items() if pool.total) or "none at all"
            raise TrackerError(f"the tracker {self._name} has no device with key {key!r}; it has {there}")
        try:
            host, port, match = self._ask([_REQUEST, key, "", _PRIORITY])
            return str(host), int(port), str(match)
        except (TypeError, ValueError):
            raise TrackerError(f"the answer of {self._name} is not that of a TVM RPC tracker") from None

    def _ask(self, question: list[Any]) -> Any:
        data = json.dumps(question).encode()
        try:
            self._socket.sendall(struct.pack("<i", len(data)) + data)
            (size,) = struct.unpack("<i", self._receive(4))
            if not 0 <= size <= _MAX_MESSAGE:
                raise TrackerError(f"{self._name} is no TVM RPC tracker")
            code, *rest = json.loads(self._receive(size))
        except TimeoutError:
            raise TrackerError(f"no device became free at the tracker {self._name} in time") from None
        except OSError as error:
            raise error if isinstance(error, TrackerError) else TrackerError(f"{self._name} hung up: {error}") from None
        except (ValueError, TypeError):
            raise TrackerError(f"the answer of {self._name} is not that of a TVM RPC tracker") from None
        if code != _SUCCESS or not rest:
            raise TrackerError(f"the tracker {self._name} refuses: {str(rest)[:200]}")
        return rest[0]

    def _receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            self._socket.settimeout(max(0.01, self._until - time.monotonic()))
            piece = self._socket.recv(size - len(data))
            if not piece:
                raise ConnectionResetError("connection reset")
            data += piece
        return data


def _place(address: Any) -> str:
    host, port = address if isinstance(address, list) and len(address) == 2 else (None, None)
    return f"{host or '?'}:{port}"
