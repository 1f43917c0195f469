"""What can be said of a device without loading TVM: whether its server is there, and who else can reach it."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tapml_tui.backends.address import Address
from tapml_tui.backends.tracker import Pool, Tracker, TrackerError

_PATIENCE = 3.0
_LISTENS = "0A"
_ANYBODY = ("00000000", "00000000000000000000000000000000")


@dataclass(frozen=True, slots=True)
class Reached:
    """Whether something answers at an address, and what: `words` says it in a line."""

    ok: bool
    words: str
    pools: tuple[Pool, ...] = ()


def reach(address: Address, *, patience: float = _PATIENCE) -> Reached:
    """Knock at a server, or ask a tracker for its devices; takes no session of anybody.

    Args:
        address: Where the device is.
        patience: Seconds.
    """
    if address.ours:
        return Reached(True, "a server of our own on loopback, started when it is needed")
    if address.server is not None:
        return _knock(address.server, patience)
    assert address.tracker is not None
    try:
        with Tracker(address.tracker, patience) as tracker:
            pools = tuple(tracker.pools())
    except TrackerError as error:
        return Reached(False, str(error))
    mine = [pool for pool in pools if not address.key or pool.key == address.key]
    if address.key and not any(pool.total or pool.free for pool in mine):
        there = ", ".join(pool.key for pool in pools if pool.total) or "none at all"
        return Reached(
            False, f"the tracker {address.text} has no device with key {address.key!r}; it has {there}", pools
        )
    return Reached(True, "; ".join(map(pool_words, mine)) or "the tracker has no devices", pools)


def reach_all(addresses: Sequence[Address]) -> list[Reached]:
    """`reach` each of them, all at the same time."""
    with ThreadPoolExecutor(max_workers=16) as pool:
        return list(pool.map(reach, addresses))


def pool_words(pool: Pool) -> str:
    """The devices of a key in a line."""
    waiting = f", {pool.waiting} waiting" if pool.waiting else ""
    return f"{pool.key}: {pool.free} of {pool.total} free{waiting}"


def _knock(place: tuple[str, int], patience: float) -> Reached:
    try:
        socket.create_connection(place, timeout=patience).close()
    except OSError as error:
        return Reached(False, f"{place[0]}:{place[1]} does not answer: {error.strerror or error}")
    return Reached(True, f"{place[0]}:{place[1]} takes connections")


def openness(address: Address) -> str:
    """Why others than this machine's users can reach the server, which executes whatever it is sent; "" if they cannot.

    Only what can be seen from here: what a tunnel leads to is the other end's affair.
    """
    place = address.server or address.tracker
    if place is None:
        return ""
    host, port = place
    if not _is_loopback(host):
        return f"{host} is reached over the network without a tunnel: everybody there can run programs on that device"
    if _listens_to_anybody(port):
        return f"what listens on port {port} of this machine takes connections from everywhere"
    return ""


def _is_loopback(host: str) -> bool:
    try:
        found = socket.getaddrinfo(host, None)
    except OSError:
        return True  # nobody is there to be open
    return all(ipaddress.ip_address(str(one[4][0]).partition("%")[0]).is_loopback for one in found)


def _listens_to_anybody(port: int) -> bool:
    for table in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/net", table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            _, local, _, state = line.split()[:4]
            host, _, number = local.partition(":")
            if state == _LISTENS and int(number, 16) == port and host in _ANYBODY:
                return True
    return False
