"""Devices by name: `--profile pixel8` out of a TOML file, the user's own or the one beside the trace.

[pixel8]
target = "opencl"
host = "llvm -mtriple=aarch64-linux-android"
cc = "/opt/ndk/aarch64-linux-android31-clang"
tracker = "127.0.0.1:9190"
key = "pixel8"
deadlines = { run = 20, connect = 30 }
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from tapml_tui.arguments import FOR_EVER
from tapml_tui.headless.exits import CommandError
from tapml_tui.regular_file import read_regular

BESIDE = "tapml-tui.toml"
"""Name of the file in the folder of a trace."""
MAX_BYTES = 1 << 20
"""Of such a file: a megabyte of profiles is a mistake."""

_WORDS = ("target", "host", "rpc", "tracker", "key", "device", "cc", "lower", "lib")
# A trace, and the file beside it, may come from somebody else: neither says what is executed here.
_OWN_ONLY = ("cc", "lower", "lib")


@dataclass(frozen=True, slots=True)
class Profile:
    """A device as a file describes it; every word is as on the command line, None where the file says nothing."""

    name: str
    file: str
    target: str | None = None
    host: str | None = None
    rpc: str | None = None
    tracker: str | None = None
    key: str | None = None
    device: str | None = None
    cc: str | None = None
    lower: str | None = None
    lib: str | None = None
    deadlines: tuple[tuple[str, float], ...] = ()


def own_file() -> Path:
    """The user's own profiles."""
    return platformdirs.user_config_path("tapml-tui") / "profiles.toml"


def profiles(trace: str | None = None) -> dict[str, Profile]:
    """All that there are, by name; the user's own go before those beside the trace.

    Raises:
        CommandError: If a file cannot be read, or says what it must not.
    """
    found: dict[str, Profile] = {}
    if trace is not None:
        found |= read_profiles(Path(trace).resolve().parent / BESIDE, trusted=False)
    return found | read_profiles(own_file(), trusted=True)


def profile(name: str, trace: str | None = None) -> Profile:
    """One of them.

    Raises:
        CommandError: If there is none of that name, too.
    """
    there = profiles(trace)
    if name not in there:
        known = f"there are {', '.join(sorted(there))}" if there else "there are none"
        raise CommandError(
            f"there is no profile {name!r}", why=known, remedy=f"describe it in {own_file()}, see docs/devices.md"
        )
    return there[name]


def read_profiles(file: Path, *, trusted: bool) -> dict[str, Profile]:
    """The profiles of a file; none where there is none.

    Args:
        file: TOML. One that is not trusted may hold tolerances too: [[tolerance]] is left to `compare.overrides`.
        trusted: Whether it may name what is executed here.

    Raises:
        CommandError: If it cannot be read, or says what it must not.
    """
    try:
        tables = tomllib.loads(read_regular(file, MAX_BYTES))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise CommandError(f"the profiles in {file} cannot be read", why=why, remedy="mend the file") from None
    if not trusted and isinstance(tables.get("tolerance"), list):
        del tables["tolerance"]
    return {name: _profile(name, table, file, trusted=trusted) for name, table in tables.items()}


def _profile(name: str, table: Any, file: Path, *, trusted: bool) -> Profile:
    def refuse(why: str, remedy: str) -> CommandError:
        return CommandError(f"the profile {name!r} in {file} is not usable", why=why, remedy=remedy)

    if not isinstance(table, dict):
        raise refuse("a profile is a table", f"write [{name}] above its lines")
    for word, value in table.items():
        if word == "deadlines":
            if not isinstance(value, dict) or not all(_is_seconds(one) for one in value.values()):
                raise refuse("deadlines are seconds by action", "write deadlines = { run = 20 }")
        elif word not in _WORDS:
            raise refuse(f"it says {word!r}", f"a profile may say {', '.join((*_WORDS, 'deadlines'))}")
        elif not isinstance(value, str):
            raise refuse(f"{word} is no text", f'write {word} = "..."')
        elif word in _OWN_ONLY and not trusted:
            raise refuse(
                f"{word} names what is executed here, and this file came with a trace", f"put it in {own_file()}"
            )
    deadlines = tuple((action, float(seconds)) for action, seconds in table.get("deadlines", {}).items())
    return Profile(name, str(file), deadlines=deadlines, **{word: table[word] for word in _WORDS if word in table})


def _is_seconds(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < FOR_EVER
