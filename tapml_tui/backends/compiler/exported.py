"""An `ExportedProgram` of a unit, built by hand.

`torch.export` takes 30 ms for one operator; a unit already says everything that it would find out,
so writing the graph down takes 1 ms. Values carry fake tensors, from which TVM reads shapes and
dtypes; nothing is computed.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Collection, Sequence
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.export import ExportedProgram
from torch.export.exported_program import ModuleCallEntry, ModuleCallSignature
from torch.export.graph_signature import (
    ExportGraphSignature,
    InputKind,
    InputSpec,
    OutputKind,
    OutputSpec,
    TensorArgument,
)
from torch.fx.experimental.proxy_tensor import make_fx

from tapml_tui.backends.operands import output_limit
from tapml_tui.backends.protocol import CallArgument, CallResult, NamedConstant, Unit, UnitInput
from tapml_tui.operators import flat_outputs, resolve, torch_dtype
from tapml_tui.operators.schema import check_arguments

# The functional form of a graph has this name for a view whose input is used nowhere else. TVM knows the other.
_SAME_AS = {"aten._unsafe_view.default": "aten.view.default"}


class NotExportable(Exception):
    """A unit that cannot be written as an exported program."""


def export_unit(unit: Unit, allow: Collection[str] = frozenset()) -> ExportedProgram:
    """The exported program of a unit: inputs `x0`, `x1`, ...; its outputs in order.

    Raises:
        OperatorRefused: As `operators.resolve`, or if arguments do not fit the schema.
        NotExportable: If the unit refers to what there is not, or would give far more than was recorded.
        OperandError: If what was recorded is too much.
    """
    limit = output_limit(unit)
    graph = torch.fx.Graph()
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        inputs = [_placeholder(graph, i, spec.dtype, spec.shape) for i, spec in enumerate(unit.inputs)]
        results: list[list[torch.fx.Node]] = []
        for call in unit.calls:
            op = resolve(_SAME_AS.get(call.op, call.op), allow)
            args = [_argument(a, inputs, results) for a in call.args]
            kwargs = {key: _argument(a, inputs, results) for key, a in call.kwargs}
            values, named = _values((args, kwargs))
            check_arguments(op, values, named)
            value = op(*values, **named)
            _refuse_large(call.op, value, limit)
            results.append(_call(graph, op, args, kwargs, value))
        outputs = [_pick(results, wanted) for wanted in unit.results]
        graph.output(tuple(outputs)).meta["val"] = tuple(node.meta["val"] for node in outputs)
    return _program(graph, [node.name for node in inputs], [node.name for node in outputs])


def decompose(program: ExportedProgram) -> ExportedProgram:
    """The same in core operators: what `run_decompositions` gives, at a fifth of its time.

    That one traces a training graph too, and builds its table anew each time.
    """
    inputs = [node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"]
    traced: torch.fx.GraphModule | None = None
    if inputs:
        with inputs[0].fake_mode, torch.no_grad():
            flat = torch.func.functionalize(program.graph_module)
            traced = make_fx(flat, decomposition_table=_decompositions(), _allow_non_fake_inputs=True)(*inputs)
            traced.graph.eliminate_dead_code()
    (outputs,) = traced.graph.output_node().args if traced is not None else ((),)
    if traced is None or any(n.op == "get_attr" for n in traced.graph.nodes) or not _are_nodes(outputs):
        return program.run_decompositions()  # constants of its own, which need more than a graph
    names = [node.name for node in traced.graph.nodes if node.op == "placeholder"]
    return _program(traced.graph, names, [node.name for node in outputs])


@functools.cache
def _decompositions() -> dict[Any, Any]:
    return dict(torch.export.default_decompositions().items())


def _are_nodes(outputs: Any) -> bool:
    return isinstance(outputs, list | tuple) and all(isinstance(node, torch.fx.Node) for node in outputs)


def _refuse_large(op: str, value: Any, limit: int) -> None:
    total = sum(v.numel() * v.itemsize for v in flat_outputs(value) if isinstance(v, torch.Tensor))
    if total > limit:
        raise NotExportable(f"{op} gives {total} bytes, allowed are {limit}: not compiled out of this trace")


def _placeholder(graph: torch.fx.Graph, index: int, dtype: str, shape: Sequence[int]) -> torch.fx.Node:
    node = graph.placeholder(f"x{index}")
    node.meta["val"] = torch.empty(tuple(shape), dtype=torch_dtype(dtype))
    return node


def _argument(argument: CallArgument, inputs: Sequence[torch.fx.Node], results: Sequence[list[torch.fx.Node]]) -> Any:
    match argument:
        case UnitInput(index):
            if not 0 <= index < len(inputs):
                raise NotExportable(f"input {index} of {len(inputs)}")
            return inputs[index]
        case CallResult():
            return _pick(results, argument)
        case NamedConstant("dtype", name):
            return torch_dtype(name)
        case NamedConstant("device"):
            return torch.device("cpu")
        case NamedConstant("layout" | "memory_format", name) if isinstance(
            constant := getattr(torch, name, None), torch.layout | torch.memory_format
        ):
            return constant
        case NamedConstant(kind, name):
            raise NotExportable(f"no constant {name[:40]!r} of kind {kind[:40]!r}")
        case tuple():
            return [_argument(item, inputs, results) for item in argument]
    return argument


def _values(arguments: Any) -> Any:
    return pytree.tree_map(lambda a: a.meta["val"] if isinstance(a, torch.fx.Node) else a, arguments)


def _call(graph: torch.fx.Graph, op: Any, args: list[Any], kwargs: dict[str, Any], value: Any) -> list[torch.fx.Node]:
    """The node of a call, and one node for each of its outputs."""
    node = graph.call_function(op, tuple(args), kwargs)
    node.meta["val"] = value
    if not isinstance(value, list | tuple):
        return [node]
    if len(flat_outputs(value)) != len(value):
        raise NotExportable("nested outputs")
    items = []
    for i, item in enumerate(value):
        items.append(graph.call_function(operator.getitem, (node, i)))
        items[-1].meta["val"] = item
    return items


def _pick(results: Sequence[list[torch.fx.Node]], wanted: CallResult) -> torch.fx.Node:
    if not 0 <= wanted.call < len(results) or not 0 <= wanted.output < len(results[wanted.call]):
        raise NotExportable(f"no output {wanted.output} of call {wanted.call}")
    node = results[wanted.call][wanted.output]
    if not isinstance(node.meta["val"], torch.Tensor):
        raise NotExportable("an output that is no tensor")
    return node


def _program(graph: torch.fx.Graph, inputs: list[str], outputs: list[str]) -> ExportedProgram:
    takes = [TensorArgument(name) for name in inputs]
    gives = [TensorArgument(name) for name in outputs]
    _, in_spec = pytree.tree_flatten((tuple(range(len(inputs))), {}))
    _, out_spec = pytree.tree_flatten(tuple(range(len(outputs))))
    return ExportedProgram(
        root=torch.fx.GraphModule(torch.nn.Module(), graph),
        graph=graph,
        graph_signature=ExportGraphSignature(
            [InputSpec(InputKind.USER_INPUT, argument, None) for argument in takes],
            [OutputSpec(OutputKind.USER_OUTPUT, argument, None) for argument in gives],
        ),
        state_dict={},
        range_constraints={},
        module_call_graph=[ModuleCallEntry("", ModuleCallSignature(takes, gives, in_spec, out_spec))],
        constants={},
    )
