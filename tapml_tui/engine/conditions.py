"""Conditions of breakpoints: `floor > 8 and dtype == "float16"`. Parsed, checked, walked; never evaluated as Python.

What can be said: comparisons (also chained, and `in`) of names, numbers, words and lists of them, joined by `and`,
`or` and `not`, with `+ - * /` between numbers.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, TypeAlias

Fact: TypeAlias = "float | int | str | bool"
Condition: TypeAlias = Callable[[Mapping[str, Fact]], bool]

NAMES: Mapping[str, str] = {
    "floor": "worst error, in noise floors",
    "max_abs": "largest absolute error",
    "max_rel": "largest relative error",
    "outside": "how many elements are outside of their allowance",
    "nan": "how many NaN were computed",
    "inf": "how many infinities were computed",
    "elements": "how many elements were compared",
    "dtype": "of the first output, as float16",
    "shape": "of the first output, as 1x32x384",
    "op": "the operator, as aten.linear.default",
    "path": "place in the model, as layers.0.mlp",
    "node": "id of the node",
    "backend": "where it ran: source or target",
    "status": "passed, failed, error, unsupported or not_run",
    "verdict": "CLEAN, LOCAL, INHERITED, AMPLIFIED, HEALED or nothing",
    "ms": "milliseconds of the execution",
}
"""What a condition may ask of a result."""

_LENGTH = 500
_DEPTH = 30
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
}
_CALCULATE: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


class BadCondition(ValueError):
    """A condition that says nothing that can be asked. The message is for its author."""


def _check(node: ast.expr, depth: int = 0) -> None:
    """Refuse what is not of the little language."""
    if depth > _DEPTH:
        raise BadCondition("nested too deeply")
    parts: list[ast.expr] = []
    match node:
        case ast.Constant(value=bool() | int() | float() | str()):
            pass
        case ast.Name(id=name):
            if name not in NAMES:
                raise BadCondition(f"there is no {name!r}; there are {', '.join(NAMES)}")
        case ast.BoolOp(values=values) | ast.Tuple(elts=values) | ast.List(elts=values):
            parts = values
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            parts = [operand]
        case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in _COMPARE for op in ops):
            parts = [left, *others]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _CALCULATE:
            parts = [left, right]
        case _:
            raise BadCondition(f"{ast.unparse(node)[:60]!r} cannot be asked: compare names with numbers or words")
    for part in parts:
        _check(part, depth + 1)


def parse_condition(text: str) -> Condition:
    """A condition, ready to be asked of the facts of a result.

    Where the facts do not fit (a word compared with a number), it does not hold.

    Raises:
        BadCondition: If it is none.
    """
    if len(text) > _LENGTH:
        raise BadCondition(f"longer than {_LENGTH} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise BadCondition("not understood: write it as floor > 8 and dtype == 'float16'") from None
    _check(tree)

    def holds(facts: Mapping[str, Fact]) -> bool:
        try:
            return bool(_value(tree, facts))
        except (TypeError, ZeroDivisionError, OverflowError, KeyError):
            return False

    return holds


def _value(node: ast.expr, facts: Mapping[str, Fact]) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return facts[name]
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_value(value, facts) for value in values)
        case ast.BoolOp(values=values):
            return any(_value(value, facts) for value in values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _value(operand, facts)
        case ast.UnaryOp(operand=operand):
            return -_value(operand, facts)
        case ast.Tuple(elts=elements) | ast.List(elts=elements):
            return [_value(element, facts) for element in elements]
        case ast.BinOp(left=left, op=op, right=right):
            numbers = (_value(left, facts), _value(right, facts))
            if not all(isinstance(number, int | float) for number in numbers):
                raise TypeError  # "x" * 10**9 is no arithmetic
            return _CALCULATE[type(op)](*numbers)
        case ast.Compare(left=left, ops=ops, comparators=others):
            values = [_value(value, facts) for value in (left, *others)]
            return all(_COMPARE[type(op)](*pair) for op, pair in zip(ops, pairwise(values), strict=True))
    raise TypeError
