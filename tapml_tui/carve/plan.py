"""An exported program turned into steps: what to call, what to write down, what may be forgotten when."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

import torch

from tapml_tui.carve.kinds import Kind, kind_of
from tapml_tui.carve.source_lines import source_lines
from tapml_tui.operators import flat_outputs, operator_name
from trace_format.model import (
    Argument,
    GraphInput,
    GraphOutput,
    InputKind,
    InputRef,
    Named,
    Node,
    NodeRef,
    OutputKind,
)

Ref: TypeAlias = NodeRef | InputRef

_REPEATED_CALL = re.compile(r"@\d+")
# `_unsafe_view` is how run_decompositions spells `view`; the difference matters to autograd alone.
_READ_AS = {"aten._unsafe_view.default": "aten.view.default"}


@dataclass(frozen=True)
class Step:
    """One node, ready to be executed.

    Attributes:
        node: As it is recorded.
        target: What to call.
        args: Positional arguments, references in place of tensors.
        kwargs: Keyword arguments, likewise.
        kind: What its result is.
        reads: What it reads, in argument order.
        last_reads: What nobody reads after this step.
        metas: What torch.export inferred for each output: a fake tensor, or a symbolic number.
        alone: Whether it can be executed outside of its graph.
        writes: Whether it writes into its arguments.
        included: Whether its values are recorded.
    """

    node: Node
    target: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    kind: Kind
    reads: tuple[Ref, ...]
    last_reads: tuple[Ref, ...]
    metas: tuple[Any, ...]
    alone: bool
    writes: bool
    included: bool


@dataclass(frozen=True)
class Plan:
    """One graph: its boundary and its steps.

    Attributes:
        inputs: As recorded.
        outputs: As recorded.
        steps: In execution order; step i is node i.
        weights: Per input the tensor that is bound to it (parameter, buffer, constant), or None.
        metas: Per input what torch.export saw: a fake tensor, a number.
        user_outputs: Indices of the outputs that the model returns, in order.
        kept: Inputs whose bytes are recorded.
    """

    inputs: tuple[GraphInput, ...]
    outputs: tuple[GraphOutput, ...]
    steps: tuple[Step, ...]
    weights: tuple[torch.Tensor | None, ...]
    metas: tuple[Any, ...]
    user_outputs: tuple[int, ...]
    kept: frozenset[Ref]

    def output_meta(self, index: int) -> Any:
        """What torch.export inferred for graph output `index`: a fake tensor, a number, or None."""
        match self.outputs[index].value:
            case NodeRef(node, output):
                return self.steps[node].metas[output]
            case InputRef(given):
                return self.metas[given]
        return None


def build_plan(program: Any, *, folder: str = "", include: str | None = None) -> Plan:
    """Read an exported, functional program.

    Args:
        program: A `torch.export.ExportedProgram`.
        folder: See `source_lines`.
        include: Glob over paths and node ids; what does not match is executed, not recorded.
    """
    return _Builder(program, folder, include).build()


class _Builder:
    def __init__(self, program: Any, folder: str, include: str | None) -> None:
        self.program = program
        self.folder = folder
        self.include = include
        self.origin: dict[torch.fx.Node, Any] = {}  # the reference, or nest of references, that stands for it
        self.ordinals: Counter[str] = Counter()

    def build(self) -> Plan:
        signature = self.program.graph_signature
        placeholders = [n for n in self.program.graph.nodes if n.op == "placeholder"]
        for i, node in enumerate(placeholders):
            self.origin[node] = InputRef(i)
        calls: list[torch.fx.Node] = []
        for node in self.program.graph.nodes:
            if node.op == "get_attr":
                self.origin[node] = getattr(self.program.graph_module, node.target)
            elif node.op == "call_function" and _is_getitem(node, self.origin):
                self.origin[node] = self.origin[node.args[0]][node.args[1]]
            elif node.op == "call_function":
                self.origin[node] = _number(node.meta.get("val"), len(calls))
                calls.append(node)
        last = self._last_reads(calls)
        steps = tuple(self._step(i, node, last.get(i, ())) for i, node in enumerate(calls))
        outputs = tuple(self._output(i, spec) for i, spec in enumerate(signature.output_specs))
        kept: set[Ref] = set()
        for step in steps:
            if step.included:
                kept.update(step.reads)
        return Plan(
            inputs=tuple(_input(n.name, s) for n, s in zip(placeholders, signature.input_specs, strict=True)),
            outputs=outputs,
            steps=steps,
            weights=tuple(self._bound(s) for s in signature.input_specs),
            metas=tuple(n.meta.get("val") for n in placeholders),
            user_outputs=tuple(i for i, s in enumerate(signature.output_specs) if _output_kind(s) is OutputKind.USER),
            kept=frozenset(kept),
        )

    def _step(self, index: int, node: torch.fx.Node, last: tuple[Ref, ...]) -> Step:
        target: Any = node.target
        args = tuple(self._place(a) for a in node.args)
        kwargs = {k: self._place(v) for k, v in node.kwargs.items()}
        metas = flat_outputs(node.meta.get("val")) if node.meta.get("val") is not None else ()
        op, note, alone = _describe(target)
        path, module_type = self._where(node)
        ordinal = self.ordinals[f"{path}/{op}"]
        self.ordinals[f"{path}/{op}"] += 1
        problems = [note] if note else []
        if not metas and not note:
            problems.append("checks something, gives no value")
        recorded = Node(
            id=f"{path}/{op}#{ordinal}",
            name=node.name,
            op=op,
            path=path,
            module_type=module_type,
            args=tuple(_encode(a, problems) for a in args),
            kwargs=tuple((k, _encode(v, problems)) for k, v in kwargs.items()),
            outputs=len(metas),
            source=source_lines(node.meta.get("stack_trace") or "", self.folder),
            note="; ".join(problems),
        )
        reads = tuple(dict.fromkeys(references((args, kwargs))))
        dtypes = tuple(m.dtype for m in (*(n.meta.get("val") for n in node.all_input_nodes), *metas) if _is_tensor(m))
        return Step(
            node=recorded,
            target=target,
            args=args,
            kwargs=kwargs,
            kind=kind_of(target, args, kwargs, dtypes),
            reads=reads,
            last_reads=last,
            metas=metas,
            alone=alone,
            writes=isinstance(target, torch._ops.OpOverload) and target._schema.is_mutable,
            included=self.include is None or _matches(recorded, self.include),
        )

    def _place(self, argument: Any) -> Any:
        if isinstance(argument, torch.fx.Node):
            return self.origin[argument]
        if isinstance(argument, (list, tuple)):
            return tuple(self._place(item) for item in argument)
        return argument

    def _last_reads(self, calls: list[torch.fx.Node]) -> dict[int, tuple[Ref, ...]]:
        """Per step the values that are not needed after it, those that nobody reads included."""
        last: dict[Ref, int] = {}
        for i, node in enumerate(calls):
            last.update(dict.fromkeys(references(self.origin[node]), i))
            for argument in node.all_input_nodes:
                last.update(dict.fromkeys(references(self.origin[argument]), i))
        for argument in next(n for n in self.program.graph.nodes if n.op == "output").all_input_nodes:
            for ref in references(self.origin[argument]):
                last.pop(ref, None)
        by_step: dict[int, list[Ref]] = {}
        for ref, i in last.items():
            by_step.setdefault(i, []).append(ref)
        return {i: tuple(refs) for i, refs in by_step.items()}

    def _where(self, node: torch.fx.Node) -> tuple[str, str]:
        stack = node.meta.get("nn_module_stack")
        if not stack:
            # Inserted by the exporter (a cast, a copy): it belongs where its first input was made.
            for argument in node.all_input_nodes:
                if argument.op == "call_function" and argument.meta.get("nn_module_stack"):
                    return self._where(argument)
            return "", ""
        path, kind = list(stack.values())[-1]
        path = _REPEATED_CALL.sub("", path).removeprefix("L['self']").removeprefix(".")
        return path, kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"

    def _output(self, index: int, spec: Any) -> GraphOutput:
        name = getattr(spec.arg, "name", "") or ""
        value = None
        by_name = {n.name: n for n in self.origin}
        if name in by_name and isinstance(ref := self.origin[by_name[name]], (NodeRef, InputRef)):
            value = ref
        return GraphOutput(name or f"output_{index}", _output_kind(spec), value, spec.target or "")

    def _bound(self, spec: Any) -> torch.Tensor | None:
        if spec.target is None:
            return None
        if spec.target in self.program.state_dict:
            bound = self.program.state_dict[spec.target]
        else:  # buffers that are not persistent, and constants, live here
            bound = self.program.constants.get(spec.target)
        return bound.detach() if isinstance(bound, torch.Tensor) else None


def references(nest: Any) -> Iterator[Ref]:
    """All references in a nest of arguments, in order."""
    if isinstance(nest, (NodeRef, InputRef)):
        yield nest
    elif isinstance(nest, (list, tuple)):
        for item in nest:
            yield from references(item)
    elif isinstance(nest, Mapping):
        for item in nest.values():
            yield from references(item)


def fill(nest: Any, values: Mapping[Ref, Any]) -> Any:
    """Arguments with the values in place of the references."""
    kind = type(nest)
    if kind is NodeRef or kind is InputRef:
        return values[nest]
    if kind is tuple:
        return [fill(item, values) for item in nest]
    return nest


def _number(value: Any, step: int) -> Any:
    """References in the same nest as what the node gives: a tensor, a tuple, a list in a tuple."""
    counter = iter(range(1 << 30))

    def walk(item: Any) -> Any:
        if isinstance(item, (list, tuple)):
            return tuple(walk(inner) for inner in item)
        return NodeRef(step, next(counter))

    return walk(value) if value is not None else ()


def _is_getitem(node: torch.fx.Node, origin: Mapping[torch.fx.Node, Any]) -> bool:
    import operator

    return node.target is operator.getitem and not isinstance(origin.get(node.args[0]), (NodeRef, InputRef))


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor)


def _describe(target: Any) -> tuple[str, str, bool]:
    """Name, what must be said about it, and whether it can be executed alone."""
    if isinstance(target, torch._ops.OpOverload):
        name = operator_name(target)
        return _READ_AS.get(name, name), "", True
    if isinstance(target, torch._ops.HigherOrderOperator):
        return (
            f"higher_order.{target.name()}.default",
            "a higher-order operator: its values are recorded, it cannot be executed alone",
            False,
        )
    name = getattr(target, "__name__", type(target).__name__)
    return f"python.{name}.default", "Python arithmetic on sizes, no operator", False


def _matches(node: Node, pattern: str) -> bool:
    return any(fnmatchcase(text, pattern) for text in (node.path, node.id))


def _encode(argument: Any, problems: list[str]) -> Argument:
    match argument:
        case NodeRef() | InputRef() | None | bool() | int() | float() | complex() | str():
            return argument
        case torch.dtype():
            return Named("dtype", str(argument).removeprefix("torch."))
        case torch.device():
            return Named("device", str(argument))
        case torch.layout():
            return Named("layout", str(argument).removeprefix("torch."))
        case torch.memory_format():
            return Named("memory_format", str(argument).removeprefix("torch."))
        case tuple() | list():
            return tuple(_encode(item, problems) for item in argument)
    problems.append(f"an argument of type {type(argument).__name__} cannot be recorded")
    return f"<{type(argument).__name__}>"


_INPUT_KINDS = {
    "PARAMETER": InputKind.PARAMETER,
    "BUFFER": InputKind.BUFFER,
    "CONSTANT_TENSOR": InputKind.CONSTANT,
    "CUSTOM_OBJ": InputKind.CONSTANT,
    "USER_INPUT": InputKind.USER,
    "TOKEN": InputKind.USER,
}
_OUTPUT_KINDS = {
    "BUFFER_MUTATION": OutputKind.BUFFER,
    "PARAMETER_MUTATION": OutputKind.BUFFER,
    "USER_INPUT_MUTATION": OutputKind.INPUT,
}


def _input(name: str, spec: Any) -> GraphInput:
    return GraphInput(name, _INPUT_KINDS[spec.kind.name], spec.target or "")


def _output_kind(spec: Any) -> OutputKind:
    return _OUTPUT_KINDS.get(spec.kind.name, OutputKind.USER)
