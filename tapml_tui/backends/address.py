"""Where the device is, and what a tvm target is called. Light: read before anything is painted."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Address:
    """Where the device is. With neither `server` nor `tracker` it is our own server on loopback."""

    device: str  # runtime: "cpu", "cuda", ...
    server: tuple[str, int] | None = None
    tracker: tuple[str, int] | None = None
    key: str = ""

    @property
    def ours(self) -> bool:
        """Whether the server is started by us."""
        return self.server is None and self.tracker is None

    @property
    def text(self) -> str:
        """For the header: "loopback", "host:port"."""
        place = self.server or self.tracker
        return f"{place[0]}:{place[1]}" if place else "loopback"


def target_kind(target: str) -> str:
    """The kind of a tvm target, for the header: "llvm" of '{"kind": "llvm", ...}' and of "llvm -mcpu=x"."""
    if target.lstrip().startswith("{"):
        try:
            return str(json.loads(target)["kind"])
        except (ValueError, KeyError, TypeError):
            return "?"
    return target.split(maxsplit=1)[0] if target.split() else "?"
