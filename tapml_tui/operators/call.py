"""Executing a unit: arguments built and checked, outputs bounded before they are allocated."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import torch

from tapml_tui.backends.protocol import Call, CallArgument, CallResult, NamedConstant, Unit, UnitInput
from tapml_tui.operators.dtypes import torch_dtype
from tapml_tui.operators.registry import OperatorRefused, resolve
from tapml_tui.operators.schema import check_arguments

_LAYOUTS = {"strided": torch.strided}
_MEMORY_FORMATS = {
    name: getattr(torch, name) for name in ("contiguous_format", "preserve_format", "channels_last", "channels_last_3d")
}
_CPU = torch.device("cpu")
_META = torch.device("meta")


class CallRefused(OperatorRefused):
    """A unit was not executed: what it says does not fit together."""


class OutputTooLarge(CallRefused):
    """An operator would give, or gave, more bytes than allowed."""


def call_unit(
    unit: Unit,
    tensors: Sequence[torch.Tensor],
    *,
    allow: Collection[str] = frozenset(),
    max_output_bytes: int,
) -> tuple[torch.Tensor, ...]:
    """Execute the calls of a unit in order.

    The inputs are never written to: an operator that changes its inputs gets clones. An output may
    share memory with an input (views, identities).

    Args:
        unit: What to compute.
        tensors: One per unit input, on the CPU, of the dtypes and shapes that the unit says.
        allow: As `resolve`.
        max_output_bytes: Of any one call, all outputs together. Checked on shapes alone before
            anything is allocated, wherever torch can infer shapes; and on what came out.

    Returns:
        One tensor per unit output.

    Raises:
        OperatorRefused: As `resolve`, or arguments that do not fit the schema.
        CallRefused: If the unit is inconsistent with itself or with the tensors.
        OutputTooLarge: If an output is above `max_output_bytes`.
        RuntimeError: (or any other) From the operator itself.
    """
    _check_inputs(unit, tensors)
    operators = [resolve(call.op, allow) for call in unit.calls]
    with torch.no_grad():
        _check_sizes(unit, operators, tensors, max_output_bytes)
        results: list[tuple[Any, ...]] = []
        for call, op in zip(unit.calls, operators, strict=True):
            args, kwargs = _build(call, tensors, results, _CPU)
            check_arguments(op, args, kwargs)
            args, kwargs = _cloned(op, args, kwargs)
            outputs = flat_outputs(op(*args, **kwargs))
            _refuse_large(call, outputs, max_output_bytes)
            results.append(outputs)
    return tuple(_tensor(_pick(results, wanted)) for wanted in unit.results)


def _check_inputs(unit: Unit, tensors: Sequence[torch.Tensor]) -> None:
    if len(tensors) != len(unit.inputs):
        raise CallRefused(f"the unit takes {len(unit.inputs)} tensors, {len(tensors)} were given")
    for i, (tensor, spec) in enumerate(zip(tensors, unit.inputs, strict=True)):
        if tensor.dtype != torch_dtype(spec.dtype) or tuple(tensor.shape) != spec.shape:
            raise CallRefused(
                f"input {i} is {tensor.dtype} {tuple(tensor.shape)}, the unit wants {spec.dtype} {spec.shape}"
            )


def _check_sizes(unit: Unit, operators: Sequence[Any], tensors: Sequence[torch.Tensor], limit: int) -> None:
    """Run the unit on shapes alone. What cannot be inferred so is left to the check on real outputs."""
    shapes = [t.to(_META) for t in tensors]
    results: list[tuple[Any, ...]] = []
    for call, op in zip(unit.calls, operators, strict=True):
        args, kwargs = _build(call, shapes, results, _META)
        check_arguments(op, args, kwargs)
        if any(a.name == "device" for a in op._schema.arguments) and "device" not in kwargs:
            kwargs["device"] = _META
        try:
            outputs = flat_outputs(op(*args, **kwargs))
        except (RuntimeError, NotImplementedError, ValueError, TypeError, IndexError):
            return  # data-dependent, no meta kernel, or an error that the real call will give
        _refuse_large(call, outputs, limit)
        results.append(outputs)


def _refuse_large(call: Call, outputs: Sequence[object], limit: int) -> None:
    total = sum(math.prod(t.shape) * t.itemsize for t in outputs if isinstance(t, torch.Tensor))
    if total > limit:
        raise OutputTooLarge(f"{call.op} gives {total} bytes, allowed are {limit}: not executed out of this trace")


def _build(
    call: Call, tensors: Sequence[torch.Tensor], results: Sequence[tuple[Any, ...]], device: torch.device
) -> tuple[list[Any], dict[str, Any]]:
    def value(argument: CallArgument) -> Any:
        match argument:
            case UnitInput(index):
                if not 0 <= index < len(tensors):
                    raise CallRefused(f"{call.op} refers to input {index} of {len(tensors)}")
                return tensors[index]
            case CallResult():
                return _pick(results, argument)
            case NamedConstant(kind, name):
                return _constant(kind, name, device)
            case tuple():
                return [value(item) for item in argument]
        return argument

    return [value(a) for a in call.args], {key: value(a) for key, a in call.kwargs}


def _constant(kind: str, name: str, device: torch.device) -> object:
    match kind:
        case "dtype":
            try:
                return torch_dtype(name)
            except ValueError as error:
                raise CallRefused(str(error)) from None
        case "device":
            return device  # whatever it was carved on, it runs here
        case "layout" if name in _LAYOUTS:
            return _LAYOUTS[name]
        case "memory_format" if name in _MEMORY_FORMATS:
            return _MEMORY_FORMATS[name]
    raise CallRefused(f"no constant {name[:40]!r} of kind {kind[:40]!r}")


def _cloned(op: Any, args: list[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The arguments, with clones where the schema says that the operator writes."""
    if not op._schema.is_mutable:
        return args, kwargs
    written = [a.alias_info is not None and a.alias_info.is_write for a in op._schema.arguments]
    names = {a.name for a, w in zip(op._schema.arguments, written, strict=True) if w}
    return (
        [_clone(a) if w else a for a, w in zip(args, written, strict=False)],
        {key: _clone(a) if key in names else a for key, a in kwargs.items()},
    )


def _clone(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.clone()
    return [_clone(item) for item in value] if isinstance(value, list) else value


def flat_outputs(result: Any) -> tuple[Any, ...]:
    """What an operator gave, as one tuple: lists of tensors are spread out, in order."""
    if isinstance(result, (list, tuple)):
        return tuple(leaf for item in result for leaf in flat_outputs(item))
    return (result,)


def _pick(results: Sequence[tuple[Any, ...]], wanted: CallResult) -> Any:
    if not 0 <= wanted.call < len(results) or not 0 <= wanted.output < len(results[wanted.call]):
        raise CallRefused(f"the unit refers to output {wanted.output} of call {wanted.call}, which there is not")
    return results[wanted.call][wanted.output]


def _tensor(value: Any) -> torch.Tensor:
    if isinstance(value, torch.Tensor):
        return value
    if isinstance(value, (bool, int, float, complex)):
        return torch.tensor(value)
    raise CallRefused(f"the operator gave a {type(value).__name__}, no tensor")
