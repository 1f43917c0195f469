"""msgpack within limits: what bodies are made of, and taken apart into, one checked field at a time."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NoReturn, TypeVar

import msgpack

from trace_format import limits
from trace_format.errors import LimitExceeded, Malformed, Unwritable
from trace_format.model import Argument, InputRef, Named, NodeRef

T = TypeVar("T")
_NODE_REF = struct.Struct("<II")
_INPUT_REF = struct.Struct("<I")
_COMPLEX = struct.Struct("<dd")
_PLAIN = frozenset({type(None), bool, int, float})
_EXT_NODE, _EXT_INPUT, _EXT_NAMED, _EXT_COMPLEX = 1, 2, 3, 4
WIDE_ARRAY = 1 << 20  # of the records that list things: graphs, weights, the summary


def pack(structure: object) -> bytes:
    """One msgpack object.

    Raises:
        Unwritable: For what msgpack cannot hold.
    """
    try:
        return bytes(msgpack.packb(structure))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise Unwritable(f"cannot be stored: {error}") from None


def unpack(body: bytes, *, wide: bool = False) -> list[Any]:
    """The array that a body is.

    Args:
        body: Bytes of the whole body.
        wide: Whether long arrays are to be expected.

    Raises:
        Malformed: If it is anything else, or nested too deeply.
    """
    longest = min(len(body), WIDE_ARRAY if wide else limits.MAX_ARGUMENT_ITEMS)
    try:
        structure = msgpack.unpackb(
            body,
            use_list=True,
            ext_hook=_decode_ext,
            max_str_len=limits.MAX_STRING,
            max_bin_len=limits.MAX_RECORD_BODY if wide else limits.MAX_STRING,
            max_array_len=longest,
            max_map_len=0,
            max_ext_len=limits.MAX_STRING,
        )
    except Malformed:
        raise
    except (ValueError, TypeError, OverflowError, RecursionError, struct.error, msgpack.UnpackException) as error:
        raise Malformed(f"not the msgpack that the format asks for: {error}"[:300]) from None
    if type(structure) is not list:
        raise Malformed("the body of a record is not an array")
    return structure


def _decode_ext(code: int, data: bytes) -> Argument:
    if code == _EXT_NODE:
        return NodeRef(*_NODE_REF.unpack(data))
    if code == _EXT_INPUT:
        return InputRef(*_INPUT_REF.unpack(data))
    if code == _EXT_NAMED:
        kind, separator, name = data.decode().partition("\0")
        if not separator:
            raise Malformed("a named constant without a kind")
        return Named(kind, name)
    if code == _EXT_COMPLEX:
        return complex(*_COMPLEX.unpack(data))
    raise Malformed(f"unknown extension type {code}")


def strings(items: list[Any]) -> list[str]:
    """The items, each checked to be a string."""
    if not {str}.issuperset(map(type, items)):
        raise Malformed("a string is missing")
    return items


class Fields:
    """Takes the items of a body one after the other, checked."""

    def __init__(self, items: object) -> None:
        if type(items) is not list:
            self.wrong("an array is missing")
        self._items: list[Any] = items
        self._next = 0

    def wrong(self, what: str) -> NoReturn:
        raise Malformed(what)

    def any(self) -> Any:
        place = self._next
        if place >= len(self._items):
            self.wrong("a record has too few fields")
        self._next = place + 1
        return self._items[place]

    @property
    def ended(self) -> bool:
        """Whether there are no more items: an earlier minor version has fewer."""
        return self._next >= len(self._items)

    def text(self) -> str:
        item = self.any()
        return item if type(item) is str else self.wrong("a string is missing")

    def texts(self, count: int) -> list[str]:
        """So many strings."""
        items = self._items[self._next : self._next + count]
        if len(items) < count:
            self.wrong("a record has too few fields")
        self._next += count
        return strings(items)

    def integer(self, least: int, most: int) -> int:
        item = self.any()
        if type(item) is not int:
            self.wrong("an integer is missing")
        if not least <= item <= most:
            raise LimitExceeded(f"{item} is not within {least} and {most}")
        return item

    def real(self) -> float:
        item = self.any()
        return float(item) if type(item) in (float, int) else self.wrong("a number is missing")

    def optional_real(self) -> float | None:
        item = self.any()
        return (
            float(item) if type(item) in (float, int) else None if item is None else self.wrong("a number is missing")
        )

    def digest(self) -> bytes:
        item = self.any()
        return item if type(item) is bytes and len(item) == 32 else self.wrong("a SHA-256 is missing")

    def optional_digest(self) -> bytes | None:
        item = self.any()
        if item is None:
            return None
        return item if type(item) is bytes and len(item) == 32 else self.wrong("a SHA-256 is missing")

    def raw(self) -> bytes:
        item = self.any()
        return item if type(item) is bytes else self.wrong("bytes are missing")

    def flag(self) -> bool | None:
        item = self.any()
        return item if item is None or type(item) is bool else self.wrong("a boolean is missing")

    def list(self, limit: int) -> list[Any]:
        item = self.any()
        if type(item) is not list:
            self.wrong("a list is missing")
        if len(item) > limit:
            raise LimitExceeded(f"a list has {len(item)} items, the limit is {limit}")
        return item

    def each(self, limit: int, read: Callable[[Fields], T]) -> tuple[T, ...]:
        """A list of lists."""
        return tuple(read(Fields(item)) for item in self.list(limit))

    def integers(self, limit: int, least: int, most: int) -> tuple[int, ...]:
        items = self.list(limit)
        if not {int}.issuperset(map(type, items)):
            self.wrong("an integer is missing")
        if items and not least <= min(items) <= max(items) <= most:
            raise LimitExceeded(f"{items} are not within {least} and {most}"[:300])
        return tuple(items)

    def pairs(self) -> tuple[tuple[str, str], ...]:
        return self.each(limits.MAX_ARGUMENT_ITEMS, lambda f: (f.text(), f.text()))


# ---------------------------------------------------------------- arguments


def encode_argument(argument: object, depth: int = 0) -> object:
    """An argument for msgpack.

    Raises:
        Unwritable: For a type or a depth that the format does not have.
    """
    kind = type(argument)
    if kind in _PLAIN:  # most arguments
        return argument
    if isinstance(argument, NodeRef | InputRef):
        return encode_reference(argument)
    if kind is tuple:
        return _encode_list(argument, depth)  # type: ignore[arg-type]
    if isinstance(argument, Named):
        if "\0" in argument.kind:
            raise Unwritable("the kind of a named constant has a zero character in it")
        name = text(argument.kind + "\0" + argument.name)
        return msgpack.ExtType(_EXT_NAMED, name.encode())
    if isinstance(argument, str):
        return text(argument)
    if isinstance(argument, int):
        return int(argument)
    if isinstance(argument, float):
        return float(argument)
    if isinstance(argument, complex):
        return msgpack.ExtType(_EXT_COMPLEX, _COMPLEX.pack(argument.real, argument.imag))
    if isinstance(argument, tuple | list):
        return _encode_list(argument, depth)
    raise Unwritable(f"an argument of type {kind.__name__} cannot be stored")


def _encode_list(items: Sequence[object], depth: int) -> list[object]:
    if depth >= limits.MAX_ARGUMENT_DEPTH or len(items) > limits.MAX_ARGUMENT_ITEMS:
        raise Unwritable("an argument is a list too deep or too long for the format")
    return [encode_argument(item, depth + 1) for item in items]


@lru_cache(4096)
def encode_reference(ref: NodeRef | InputRef) -> object:
    """A reference for msgpack. Cached: what a node gives is read, and recorded, soon after.

    Raises:
        Unwritable: If it is out of range.
    """
    code, layout = (_EXT_NODE, _NODE_REF) if isinstance(ref, NodeRef) else (_EXT_INPUT, _INPUT_REF)
    try:
        return msgpack.ExtType(code, layout.pack(*ref))
    except struct.error:
        raise Unwritable(f"a reference {tuple(ref)} is out of range") from None


def decode_argument(item: Any, depth: int = 0) -> Argument:
    if type(item) is list:
        if depth >= limits.MAX_ARGUMENT_DEPTH:
            raise LimitExceeded(f"an argument is nested deeper than {limits.MAX_ARGUMENT_DEPTH}")
        return tuple(decode_argument(part, depth + 1) for part in item)
    if type(item) is bytes:
        raise Malformed("an argument is bytes")
    return item  # type: ignore[no-any-return]


def references(argument: Argument) -> list[NodeRef | InputRef]:
    """Every reference within an argument, in order."""
    found: list[NodeRef | InputRef] = []
    _collect(argument, found)
    return found


def _collect(argument: Argument, found: list[NodeRef | InputRef]) -> None:
    kind = type(argument)
    if kind is tuple:
        for item in argument:  # type: ignore[union-attr]
            _collect(item, found)
    elif kind not in _PLAIN and isinstance(argument, NodeRef | InputRef):
        found.append(argument)


def shortened(string: str) -> str:
    """The string, or as much of it as can be stored: messages of compilers know no limit."""
    encoded = string.encode(errors="backslashreplace")
    if len(encoded) <= limits.MAX_STRING:
        return string
    return encoded[: limits.MAX_STRING - 64].decode(errors="ignore") + f"\n… (cut: {len(encoded)} bytes in all)"


def text(string: str) -> str:
    r"""The string, if it is short enough to be stored; lone surrogates become visible (`\udc80`).

    Raises:
        Unwritable: If it is not.
    """
    if string.isascii() and len(string) <= limits.MAX_STRING:
        return string
    encoded = string.encode(errors="backslashreplace")
    if len(encoded) > limits.MAX_STRING:
        raise Unwritable(f"a string of {len(string)} characters is above the limit of {limits.MAX_STRING} bytes")
    return encoded.decode()
