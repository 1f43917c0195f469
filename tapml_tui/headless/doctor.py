"""`tapml-tui doctor`: every link from this machine to a first result on the device, and how to mend a broken one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Protocol

from tapml_tui.headless import strict_json
from tapml_tui.headless.complaints import EXTRAS
from tapml_tui.headless.exits import Exit
from trace_format.text import printable

DEVICE = "device"
"""The link whose failure means that the device could not be had."""

_ON_THE_WAY = {DEVICE, "server", "tracker"}

_TUNNEL = "bind it to loopback and reach it through a tunnel: ssh -L 9090:127.0.0.1:9090 board"
_DISTRIBUTIONS = {"apache-tvm", *EXTRAS}


class Link(Protocol):
    """One link of the chain, tried (`backends.probe.Probe` is one)."""

    @property
    def link(self) -> str:
        """Its name."""

    @property
    def ok(self) -> bool:
        """Whether it holds."""

    @property
    def detail(self) -> str:
        """What was found."""

    @property
    def remedy(self) -> str:
        """What to do if it does not hold."""

    @property
    def warning(self) -> str:
        """What about it is not as it should be, though it holds."""


def doctor(chain: Callable[[Callable[[str], None]], Iterable[Link]], *, as_json: bool) -> int:
    """Print each link when it has been tried.

    Args:
        chain: Gives the links, one after the other; tells what it has got what it is going to try.
        as_json: Whether a program reads it.

    Returns:
        0 if all hold; 2 if a package is missing, 3 if the device cannot be had, 1 if something else is broken.
    """
    tried = []
    for link in chain(_trying):
        _trying("")
        tried.append(link)
        if not as_json:
            state = "BROKEN" if not link.ok else "warning" if link.warning else "ok"
            print(f"{state:7} {link.link:13} {printable(link.detail, limit=400)}", flush=True)
            if not link.ok:
                print(f"{'':7} {'':13} to mend it: {printable(link.remedy, limit=400)}", flush=True)
            if link.warning:
                print(f"{'':7} {'':13} {printable(link.warning, limit=400)}; {_TUNNEL}", flush=True)
    if as_json:
        listed = [
            {
                "link": link.link,
                "ok": link.ok,
                "detail": link.detail,
                "remedy": "" if link.ok else link.remedy,
                "warning": link.warning,
            }
            for link in tried
        ]
        print(strict_json.dumps({"schema": 1, "ok": all(link.ok for link in tried), "links": listed}, indent=2))
    broken = [link.link for link in tried if not link.ok]
    if not broken:
        return Exit.OK
    if broken[0] in _DISTRIBUTIONS:
        return Exit.USAGE
    return Exit.DEVICE if _ON_THE_WAY & set(broken) else Exit.FAILED


def _trying(link: str) -> None:
    """A line on the terminal that the next one replaces; a file would keep it."""
    if sys.stderr.isatty():
        text = f"trying  {printable(link, limit=100)}" if link else ""
        print(f"\r\x1b[2K{text}", end="", file=sys.stderr, flush=True)
