"""Which kernels took a device with them, remembered across sessions.

Before a kernel is launched, the device worker writes its name into the session's launch file, and takes it out when
the result is there. Whatever dies, the worker, the server or the whole program, the file still says what ran. The next
session for the same device finds it, and does not launch that kernel again before it is asked to.

Something has to run when a program is killed: that alone is no evidence. A kernel is a killer if it had been running
for a while, if the whole machine went down with it, or if it is found in this way for the second time; else it is a
suspect, and gets one more chance.

    STATE/devices/DIGEST/killers.json    what is known: {signature: [label, words, whether that is sure]}
    STATE/devices/DIGEST/launch-XXXX     of one device of a session, locked while that lives, two records:
                                         "SIGNATURE LABEL" of what runs, or blank; and "BOOT", which start of the
                                         machine it is, to which the session adds what has been running for a while,
                                         " SIGNATURE"
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

LAUNCH_BYTES = 512
"""Size of a record of a launch file: one write of so few bytes is never seen by halves."""

A_WHILE = 1.0
"""Seconds. A kernel that runs longer may be what made somebody end the program."""

_KILLED = "it was running when the last session ended, and did not return"
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Killer:
    """A kernel that took the device with it, as the node it was met at, and what happened.

    Attributes:
        label: The node.
        words: What happened.
        sure: Whether it is not launched again without being asked; else it gets one more chance.
    """

    label: str
    words: str
    sure: bool = True

    @property
    def notice(self) -> str:
        """What is said of it when a session begins."""
        done = "not run until it is retried" if self.sure else "it gets one more chance"
        return f"{done}: {self.label} ({self.words})"

    @property
    def refusal(self) -> str:
        """Why it is not run."""
        why = f"it took the device with it at {self.label} ({self.words})"
        return f"not run: {why}; R or --relaunch launches it again"


class Killers:
    """The killers of one kind of device, and the launch files of this session. Nothing here may stop the program."""

    def __init__(self, state: Path, device: str, *, relaunch: bool = False) -> None:
        """Say where; nothing is read.

        Args:
            state: Folder of the user's state.
            device: Names the device and everything that its kernels depend on: other kernels are other suspects.
            relaunch: Forget those of earlier sessions.
        """
        self._folder = state / "devices" / hashlib.sha256(device.encode()).hexdigest()[:24]
        self._relaunch = relaunch
        self._known: dict[str, Killer] = {}
        self._launches: dict[Path, int] = {}  # with the descriptors that lock them

    def open(self) -> list[Killer]:
        """Read what is known, and take in what earlier sessions left behind; the killers found."""
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._exclusively() as known:
                for signature, killer in self._leftovers():
                    known[signature] = replace(killer, sure=killer.sure or signature in known)
                if self._relaunch:  # but not those of this session, when it opens them again
                    known.clear()
                    self._relaunch = False
        return list(self._known.values())

    def launch_file(self) -> str:
        """One more for a device worker; "" if none can be written. To be asked for after `open`."""
        with contextlib.suppress(OSError):
            descriptor, name = tempfile.mkstemp(prefix="launch-", dir=self._folder)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._launches[Path(name)] = descriptor
            return name
        return ""

    def runs_on(self, launch_file: str, signature: str) -> None:
        """The kernel of a launch file has been running for `A_WHILE`."""
        with contextlib.suppress(OSError):
            if Path(launch_file) in self._launches:
                os.pwrite(self._launches[Path(launch_file)], _record(f"{boot_id()} {signature}"), LAUNCH_BYTES)

    def get(self, signature: str) -> Killer | None:
        """What a kernel did, or None."""
        return self._known.get(signature)

    def add(self, signature: str, killer: Killer) -> None:
        """Remember a kernel."""
        self._known[signature] = killer
        with contextlib.suppress(OSError), self._exclusively() as known:
            known[signature] = killer

    def discard(self, signature: str) -> None:
        """It was innocent."""
        if self._known.pop(signature, None) is not None:
            with contextlib.suppress(OSError), self._exclusively() as known:
                known.pop(signature, None)

    def forgive(self) -> None:
        """Forget all: they may be launched again."""
        if self._known:
            with contextlib.suppress(OSError), self._exclusively() as known:
                known.clear()
            self._known.clear()

    def close(self) -> None:
        """The session ends as it should: nothing that still runs is to blame."""
        while self._launches:
            file, descriptor = self._launches.popitem()
            with contextlib.suppress(OSError):
                file.unlink()
            os.close(descriptor)

    @contextlib.contextmanager
    def _exclusively(self) -> Iterator[dict[str, Killer]]:
        """What is on disk, to be changed; another session may be at it too."""
        file = self._folder / "killers.json"
        with (self._folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            known = _read(file)
            yield known
            self._known = dict(known)
            part = file.with_suffix(".part")
            part.write_text(json.dumps({s: [k.label, k.words, k.sure] for s, k in known.items()}))
            part.replace(file)

    def _leftovers(self) -> Iterator[tuple[str, Killer]]:
        """What ran in sessions that did not end as they should."""
        for file in self._folder.glob("launch-*"):
            with contextlib.suppress(OSError), file.open("rb") as stream:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)  # fails while its session lives
                ran, session = (stream.read(LAUNCH_BYTES).decode(errors="replace").strip() for _ in range(2))
                file.unlink()
                (signature, _, label), (boot, _, for_a_while) = ran.partition(" "), session.partition(" ")
                if signature:
                    yield signature, Killer(label, _KILLED, for_a_while == signature or boot != boot_id())


def _read(file: Path) -> dict[str, Killer]:
    try:
        told = json.loads(file.read_text()).items()
        return {str(s): Killer(str(label), str(words), False not in sure) for s, (label, words, *sure) in told}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def boot_id() -> str:
    """Which start of the machine this is; "" where nobody says so."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


def _record(words: str) -> bytes:
    line = words.encode()[: LAUNCH_BYTES - 1].replace(b"\n", b" ")
    return line.ljust(LAUNCH_BYTES - 1) + b"\n"


class LaunchNote:
    """The device worker's hand on the launch file: one small write before a kernel, one after it."""

    def __init__(self, file: str) -> None:
        """Open it; "" is none."""
        self._descriptor, self._just_begun = -1, _record(boot_id())
        with contextlib.suppress(OSError):
            if file:
                self._descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)

    def began(self, signature: str, label: str) -> None:
        """A kernel is going to be launched."""
        self._write(_record(f"{signature} {label}") + self._just_begun)

    def ended(self) -> None:
        """It gave its result, or an error."""
        self._write(_record(""))

    def _write(self, line: bytes) -> None:
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.pwrite(self._descriptor, line, 0)
