"""Error messages of torch, TVM and compilers: one line with the cause, and the whole."""

from __future__ import annotations

import re

from tapml_tui.backends.troubles import in_words

_ERROR_LINE = re.compile(r"^\s*(?:[\w.]+\.)?([A-Za-z_]*(?:Error|Exception|Refused|TooLarge))\b:?\s*(.*)$")
_NOISE = re.compile(r"^\s*(File |\[bt\]|\d+: |Stack trace|Traceback|During handling|\^|~)")
MAX_REASON = 300
MAX_DETAIL = 64 << 10


def cause(text: str) -> str:
    """The line of a message that says what happened: the last one that names an error, else the last one."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    found = ""
    for i, line in enumerate(lines):
        if match := _ERROR_LINE.match(line):
            rest = match.group(2)
            if rest.endswith(":") or not rest:
                rest += " " if rest else ""
                rest += next((other.strip() for other in lines[i + 1 :] if not _NOISE.match(other)), "")
            found = f"{match.group(1)}: {rest.strip()}" if rest.strip() else match.group(1)
    if not found:
        found = next((line.strip() for line in reversed(lines) if not _NOISE.match(line)), "no message")
    return found if len(found) <= MAX_REASON else found[: MAX_REASON - 1] + "…"


def detail(text: str) -> str:
    """A message for the Log tab, its middle left out where it is very long."""
    if len(text) <= MAX_DETAIL:
        return text
    half = MAX_DETAIL // 2
    return f"{text[:half]}\n… {len(text) - MAX_DETAIL} characters left out …\n{text[-half:]}"


def of_exception(error: BaseException) -> tuple[str, str]:
    """(reason, detail) of an exception."""
    name = type(error).__name__
    try:
        text = str(error).strip()
    except Exception as another:  # the user's code may raise anything, also while it is asked what it raised
        text = f"its own message raises {type(another).__name__}"
    full = text if text.startswith(name) else f"{name}: {text}" if text else name
    return in_words(text) or cause(full), detail(full)
