"""What the user allows instead of the rule, from a TOML file: every use of it is told wherever the verdict is.

    [[tolerance]]
    node = "layers.*.mlp/*"             # glob over node ids; left out: every node
    operator = "aten.softmax.*"         # glob over operators
    dtype = "float16"                   # glob over the dtype of the output
    times = 4                           # so many times what the rule allows
    reason = "fast exp is accepted"

    [[tolerance]]
    operator = "aten.topk.default"
    atol = 1e-3                         # or: |actual - reference| <= atol + rtol * |reference|
    rtol = 1e-2

    [[tolerance]]
    node = "rope/*"
    ignore = true                       # or: not compared at all, which needs a reason and never passes
    reason = "known, TICKET-7"

Of the rules that fit an output, the last one counts, alone.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from trace_format.text import printable

MAX_BYTES = 1 << 20
"""Of the file: a megabyte of rules is a mistake."""

_SELECTORS = ("node", "operator", "dtype")
_NUMBERS = ("times", "atol", "rtol")
_KEYS = (*_SELECTORS, *_NUMBERS, "ignore", "reason")
_MOST = sys.float_info.max  # integers of TOML may be larger
_HEADER = re.compile(r"^\s*\[\[\s*tolerance\s*\]\]")


class OverridesError(ValueError):
    """The file is not what it should be: which table, which line, what to do."""


@dataclass(frozen=True, slots=True)
class Override:
    """One rule of the file.

    Attributes:
        node: Glob over node ids.
        operator: Glob over operators, "aten.softmax.int".
        dtype: Glob over the dtype of the output.
        times: So many times the allowance is allowed; None if `atol` and `rtol` take its place.
        atol: Allowed for every element, in the value's unit.
        rtol: Allowed for every element, as a part of it.
        ignore: Nothing is compared.
        reason: Why, in the user's words.
        place: Where the rule stands: "tolerances.toml, line 3".
    """

    node: str = "*"
    operator: str = "*"
    dtype: str = "*"
    times: float | None = None
    atol: float = 0.0
    rtol: float = 0.0
    ignore: bool = False
    reason: str = ""
    place: str = ""

    @property
    def words(self) -> str:
        """What it does, to what, why, and where that is said."""
        if self.ignore:
            what = "ignored"
        elif self.times is not None:
            what = f"{self.times:g} times the floor is allowed"
        else:
            what = f"allowed is {self.atol:g} + {self.rtol:g} x |reference|"
        selectors = [f"{name} {glob}" for name in _SELECTORS if (glob := getattr(self, name)) != "*"]
        whom = f" for {', '.join(selectors)}" if selectors else " everywhere"
        why = f": {self.reason}" if self.reason else ""
        return printable(f"{what}{whom}{why}" + (f" ({self.place})" if self.place else ""), limit=400)

    def fits(self, node: str, operator: str, dtype: str) -> bool:
        """Whether the rule is about this output."""
        pairs = ((node, self.node), (operator, self.operator), (dtype, self.dtype))
        return all(fnmatchcase(name, glob) for name, glob in pairs)


@dataclass(frozen=True, slots=True)
class Overrides:
    """The rules of a file, in its order."""

    rules: tuple[Override, ...] = ()

    @property
    def words(self) -> str:
        """That the user's rules count, and where they stand; "" if there are none."""
        if not self.rules:
            return ""
        count = len(self.rules)
        where = self.rules[0].place.rpartition(", ")[0]
        return f"{count} tolerance{'s' if count > 1 else ''} of yours {'count' if count > 1 else 'counts'}: {where}"

    def find(self, node: str, operator: str, dtype: str) -> Override | None:
        """The rule for an output of node id `node`: the last one that fits."""
        return next((rule for rule in reversed(self.rules) if rule.fits(node, operator, dtype)), None)


def load_overrides(path: Path, *, tables_too: bool = False) -> Overrides:
    """Read a file of rules.

    Args:
        path: The file.
        tables_too: Whether tables of other names may be there: they are somebody else's.

    Raises:
        OverridesError: It cannot be read, is no TOML, or says something that nobody understands.
    """
    name = printable(str(path), limit=200)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise OverridesError(f"{name} cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise OverridesError(f"{name} is larger than {MAX_BYTES} bytes: is it the right file?")
    try:
        return parse_overrides(data.decode(), path.name, tables_too=tables_too)
    except UnicodeDecodeError as error:
        raise OverridesError(f"{name} is no text in UTF-8: {error.reason} at byte {error.start}") from error


def parse_overrides(text: str, name: str, *, tables_too: bool = False) -> Overrides:
    """The rules of a text; `name` is what messages call it. See `load_overrides`.

    Raises:
        OverridesError: See `load_overrides`.
    """
    name = printable(name, limit=200)
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOML's own, and that of a number with 5000 digits
        raise OverridesError(f"{name} is no TOML: {printable(str(error), limit=200)}") from error
    for key, value in content.items():
        if key != "tolerance" and not (tables_too and isinstance(value, dict)):
            raise OverridesError(f"{name}: {_quoted(key)} is not known; rules are tables [[tolerance]]")
    tables = content.get("tolerance", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise OverridesError(f"{name}: rules are tables: write [[tolerance]], with two brackets")
    lines = [number for number, line in enumerate(text.splitlines(), 1) if _HEADER.match(line)]
    places = [f"line {line}" for line in lines] if len(lines) == len(tables) else []
    return Overrides(
        tuple(
            _rule(table, f"{name}, {places[index] if places else f'tolerance {index + 1}'}")
            for index, table in enumerate(tables)
        )
    )


def _rule(table: Mapping[str, Any], place: str) -> Override:
    for key in table:
        if key not in _KEYS:
            raise OverridesError(f"{place}: {_quoted(key)} is not known; known are {', '.join(_KEYS)}")
    for key in (*_SELECTORS, "reason"):
        if key in table and not (isinstance(table[key], str) and table[key]):
            raise OverridesError(f'{place}: {key} must be a text, like {key} = "*"')
    for key in _NUMBERS:
        value = table.get(key, 0.0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST:
            raise OverridesError(f"{place}: {key} must be a number that is not negative")
    if not isinstance(table.get("ignore", False), bool):
        raise OverridesError(f"{place}: ignore must be true or false")
    ignore, fixed = table.get("ignore", False), "atol" in table or "rtol" in table
    if ignore + fixed + ("times" in table) != 1:
        raise OverridesError(f"{place}: say one of times, atol and rtol, or ignore = true")
    if table.get("times", 1) == 0:
        raise OverridesError(f"{place}: times = 0 would let nothing pass; for equal bits write atol = 0")
    if ignore and not table.get("reason"):
        raise OverridesError(f'{place}: what is ignored needs a reason, like reason = "known, TICKET-7"')
    values = {key: float(table[key]) for key in _NUMBERS if key in table}
    texts = {key: str(table[key]) for key in (*_SELECTORS, "reason") if key in table}
    return Override(**texts, **values, ignore=ignore, place=place)  # type: ignore[arg-type]


def _quoted(key: str) -> str:
    return f'"{printable(key, limit=80)}"'
