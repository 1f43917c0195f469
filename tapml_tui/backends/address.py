"""Where the device is, and what a tvm target is called. Light: read before anything is painted."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

# Options of TVM's targets that take several words.
_LISTS = {"mattr", "keys", "libs"}


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


def parse_target_text(text: str) -> str | dict[str, Any]:
    """A tvm target as the user wrote it, in a form that TVM takes: a kind or a tag as it is, else a dictionary.

    TVM itself no longer reads "llvm -mtriple=aarch64-linux-android -mattr=+neon,+fp16"; everybody still writes it.

    Raises:
        ValueError: If it is neither JSON nor such a line.
    """
    if text.lstrip().startswith("{"):
        parsed = json.loads(text)
        if not isinstance(parsed, dict):
            raise ValueError("a target in JSON is an object")
        return parsed
    kind, *options = text.split() or [""]
    if not kind or not all(re.fullmatch(r"--?[\w.-]+=\S+", option) for option in options):
        raise ValueError("write KIND, KIND -OPTION=VALUE ..., or JSON")
    if not options:
        return kind
    pairs = (option.lstrip("-").split("=", 1) for option in options)
    return {"kind": kind, **{name: _option(name, value) for name, value in pairs}}


def _option(name: str, value: str) -> object:
    if name in _LISTS:
        return value.split(",")
    return int(value) if value.isdecimal() else value


def target_kind(target: str) -> str:
    """The kind of a tvm target, for the header: "llvm" of '{"kind": "llvm", ...}' and of "llvm -mcpu=x"."""
    try:
        parsed = parse_target_text(target)
    except ValueError:
        return "?"
    return str(parsed.get("kind", "?")) if isinstance(parsed, dict) else parsed
