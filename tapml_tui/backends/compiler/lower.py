"""From a unit to Relax, in one of three ways: the user's, TVM's importer without decomposition, or with it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import tvm
from tvm import relax
from tvm.relax.frontend.torch import from_exported_program

from tapml_tui.backends import messages, user_code
from tapml_tui.backends.compiler.exported import NotExportable, decompose, export_unit
from tapml_tui.backends.operands import OperandError
from tapml_tui.backends.protocol import Call, CallArgument, CallResult, NamedConstant, TensorSpec, Unit, UnitInput
from tapml_tui.operators import OperatorRefused

Builder: TypeAlias = Callable[[relax.BlockBuilder, list[Any], dict[str, Any]], Any]
Lower: TypeAlias = Callable[[str], "Builder | None"]


class NotLowered(Exception):
    """No way of converting worked."""

    def __init__(self, reason: str, detail: str, *, unsupported: bool) -> None:
        """Say why.

        Args:
            reason: One line.
            detail: What each way said.
            unsupported: Every way refused; otherwise something of the user's broke.
        """
        super().__init__(reason)
        self.reason, self.detail, self.unsupported = reason, detail, unsupported


@dataclass(frozen=True)
class Lowered:
    """A unit as Relax.

    Attributes:
        module: Function "main" gives the unit's output, or a tuple of several; it may come with PrimFuncs.
        identity: For each output the input that it is, if that is all that the unit does; else ().
        attempts: (way, message) of the ways that did not work.
        by_user: Whether the user's converter made it.
        otherwise: Converts it in the ways that were not needed, where there are some: a unit that was
            converted may still not compile. Raises `NotLowered`.
    """

    module: tvm.IRModule
    identity: tuple[int, ...]
    attempts: tuple[tuple[str, str], ...] = ()
    by_user: bool = False
    otherwise: Callable[[], Lowered] | None = None


def load_user_lowering(file: str) -> Lower:
    """The user's converters, out of the FILE.py of `--lower`.

    The file defines `lower(op)`: for an operator name such as "aten.histc.default" it returns None,
    or a function `build(bb, args, kwargs)`. That gets a `relax.BlockBuilder` inside of a dataflow
    block, and the operator's arguments: tensors are Relax variables, dtypes are strings, the rest
    plain Python. It returns a Relax expression, a list of them for several outputs, or a
    `tirx.PrimFunc` that takes the tensor arguments in order and then its outputs to write to.

    Raises:
        NotLowered: If the file cannot be executed, or defines no `lower`.
    """
    try:
        lower: Lower | None = getattr(user_code.execute(file, "--lower"), "lower", None)
    except user_code.NotExecuted as error:
        raise NotLowered(error.reason, error.detail, unsupported=False) from error
    if not callable(lower):
        reason = f"the --lower file {Path(file).name} defines no function lower(op)"
        raise NotLowered(reason, reason, unsupported=False)
    return lower


def lower_unit(unit: Unit, allow: Collection[str], user: Lower | None) -> Lowered:
    """Convert a unit, in the first way that works.

    Raises:
        NotLowered: If none does; its detail has the message of each.
    """
    if user is not None and any(builders := _builders(unit, user)):
        return _by_user(unit, builders)
    try:
        program = export_unit(unit, allow)
    except (OperatorRefused, OperandError, NotExportable) as error:
        raise NotLowered(str(error), messages.detail(str(error)), unsupported=True) from None
    except Exception as error:  # torch's shape inference raises all kinds
        reason, detail = messages.of_exception(error)
        raise NotLowered(f"torch cannot infer the shapes: {reason}", detail, unsupported=True) from None
    return _converted(program, _WAYS)


_WAYS: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("without decomposition", lambda program: program),
    ("with decomposition", decompose),
)


def _converted(program: Any, ways: Sequence[tuple[str, Callable[[Any], Any]]]) -> Lowered:
    """By TVM's importer, in the first way that works."""
    attempts: list[tuple[str, str]] = []
    for number, (way, prepare) in enumerate(ways):
        try:
            module = from_exported_program(prepare(program), run_ep_decomposition=False, unwrap_unit_return_tuple=True)
        except Exception as error:  # asserts, KeyErrors and TVM's own: the importer refuses in many ways
            attempts.append((way, "\n".join(messages.of_exception(error))))
            continue
        left = ways[number + 1 :]
        otherwise = partial(_converted, program, left) if left else None
        return Lowered(module, _identity(module["main"]), tuple(attempts), otherwise=otherwise)
    plain, decomposed = attempts[0][1].splitlines()[0], attempts[-1][1].splitlines()[0]
    said = plain if plain == decomposed else f"{plain}; decomposed by PyTorch: {decomposed}"
    raise NotLowered(
        f"TVM does not convert it (--lower FILE.py can). {said}"[: messages.MAX_REASON],
        "\n\n".join(f"{way}\n{text}" for way, text in attempts),
        unsupported=True,
    )


def warm_up() -> None:
    """Have torch load what it loads at the first conversion of each kind, 1.5 s together."""
    spec = TensorSpec("float32", (2,))
    call = Call("aten.relu.default", (UnitInput(0),))
    program = export_unit(Unit((call,), (spec,), (spec,), (CallResult(0),)))
    for each in (program, decompose(program)):
        from_exported_program(each, run_ep_decomposition=False)


def _builders(unit: Unit, user: Lower) -> list[Builder | None]:
    try:
        return [user(call.op) for call in unit.calls]
    except BaseException as error:  # as in `_by_user`
        raise _of_user("lower() of --lower", error) from error


def _of_user(whose: str, error: BaseException) -> NotLowered:
    reason, detail = messages.of_exception(error)
    return NotLowered(f"{whose}: {reason}", detail, unsupported=False)


def _by_user(unit: Unit, builders: list[Builder | None]) -> Lowered:
    if not all(builders):
        raise NotLowered("the --lower file converts only a part of a fused unit", "", unsupported=False)
    block = relax.BlockBuilder()
    inputs = [relax.Var(f"x{i}", relax.TensorType(spec.shape, spec.dtype)) for i, spec in enumerate(unit.inputs)]
    results: list[list[Any]] = []
    try:
        with block.function("main", inputs):
            with block.dataflow():
                for call, build in zip(unit.calls, builders, strict=True):
                    assert build is not None
                    args = [_value(a, inputs, results) for a in call.args]
                    kwargs = {key: _value(a, inputs, results) for key, a in call.kwargs}
                    results.append(_emit(block, build(block, args, kwargs), args, unit))
                given = [results[r.call][r.output] for r in unit.results]
                outputs = block.emit_output(given[0] if len(given) == 1 else relax.Tuple(given))
            block.emit_func_output(outputs)
        module = block.get()
    except BaseException as error:  # the user's code may raise anything, SystemExit too
        raise _of_user("the converter of --lower", error) from error
    return Lowered(module, _identity(module["main"]), by_user=True)


def _emit(block: relax.BlockBuilder, built: Any, args: list[Any], unit: Unit) -> list[Any]:
    if isinstance(built, tvm.tirx.PrimFunc):
        gives = [relax.TensorType(spec.shape, spec.dtype) for spec in unit.outputs]
        tensors = [a for a in args if isinstance(a, relax.Expr)]
        made = block.emit(relax.call_tir(block.add_func(built, "kernel"), tensors, gives))
        return [made] if len(gives) == 1 else [block.emit(made[i]) for i in range(len(gives))]
    return [block.emit(item) for item in (built if isinstance(built, list | tuple) else [built])]


def _value(argument: CallArgument, inputs: list[Any], results: list[list[Any]]) -> Any:
    match argument:
        case UnitInput(index):
            return inputs[index]
        case CallResult(call, output):
            return results[call][output]
        case NamedConstant(_, name):
            return name
        case tuple():
            return [_value(item, inputs, results) for item in argument]
    return argument


def _identity(main: relax.Function) -> tuple[int, ...]:
    """Which parameter each output is, if every output is one: such a unit computes nothing."""
    bound = {
        binding.var: binding.value for block in main.body.blocks for binding in block.bindings if _is_plain(binding)
    }

    def resolve(expression: Any) -> Any:
        while isinstance(expression, relax.Var) and expression in bound:
            expression = bound[expression]
        if isinstance(expression, relax.TupleGetItem):
            fields = resolve(expression.tuple_value)
            if isinstance(fields, relax.Tuple):
                return resolve(fields.fields[expression.index])
        return expression

    result = resolve(main.body.body)
    fields = [resolve(item) for item in result.fields] if isinstance(result, relax.Tuple) else [result]
    params = list(main.params)
    found = [next((i for i, p in enumerate(params) if p.same_as(item)), -1) for item in fields]
    return tuple(found) if found and min(found) >= 0 else ()


def _is_plain(binding: Any) -> bool:
    return isinstance(binding, relax.VarBinding)
