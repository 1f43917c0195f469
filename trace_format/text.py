"""Strings out of a trace, made safe for a terminal."""

from __future__ import annotations

import unicodedata

# Categories that move the cursor, hide or reorder text, or are not text: controls, formats (bidi
# overrides, zero-width), surrogates, private use, unassigned, line and paragraph separators.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\x1b": "\\e"}


def printable(text: str, limit: int = 200) -> str:
    r"""Any string as one safe line.

    Control characters, escape sequences, bidi overrides and newlines become visible escapes
    (`\n`, `\e`, `\u202e`). What is longer than `limit` characters is cut, and the cut says so.

    Args:
        text: Any string.
        limit: Longest result, in characters, not counting what the cut says.
    """
    if len(text) <= limit and text.isascii() and text.isprintable():  # nearly all
        return text
    parts: list[str] = []
    length = 0
    for position, character in enumerate(text):
        part = _escape(character)
        length += len(part)
        if length > limit:
            return "".join(parts) + f"… ({position} of {len(text)} characters)"
        parts.append(part)
    return "".join(parts)


def _escape(character: str) -> str:
    if " " <= character <= "~":
        return character
    if character in _SHORT:
        return _SHORT[character]
    if unicodedata.category(character) not in _UNSAFE:
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
