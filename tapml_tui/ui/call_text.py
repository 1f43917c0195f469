"""The Code tab as text: the Python lines that made a node, and the call that was recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tapml_tui.ui import lines, theme
from tapml_tui.ui.lines import Line
from trace_format.model import Argument, InputRef, Named, Node, NodeRef

if TYPE_CHECKING:
    from tapml_tui.engine import Engine
    from trace_format import Graph


def of_node(engine: Engine, index: int, width: int) -> list[Line]:
    """Source lines innermost first, then the operator with its arguments, then where it stands."""
    graph = engine.graph
    node = graph.node(index)
    content: list[Line] = []
    if not node.source:
        content.append([("no Python lines were recorded for this node", theme.DIM)])
    for line in node.source:
        where = f"{line.file}:{line.line}"
        content.append([(lines.shorten(where, max(width - 4, 8)), theme.SOURCE), (f"  {line.function}", theme.DIM)])
        content += lines.wrap(line.text.strip(), width, theme.STRONG, indent="    ", limit=6)
    content += [[], *_call(graph, node, width), []]
    for name, value in (
        ("id", node.id),
        ("name", node.name),
        ("path", node.path or "the model itself"),
        ("type", node.module_type),
        ("note", node.note),
    ):
        if value:
            content += _field(name, value, width)
    return content


def _field(name: str, value: str, width: int) -> list[Line]:
    first, *rest = lines.wrap(value, width - 6, theme.TEXT, limit=6) or [[("", theme.TEXT)]]
    return [[(f"{name:<6}", theme.DIM), *first], *([("      ", theme.DIM), *line] for line in rest)]


def _call(graph: Graph, node: Node, width: int) -> list[Line]:
    content: list[Line] = [[(node.op, theme.CURSOR), ("(", theme.DIM)]]
    for argument in node.args:
        content += lines.wrap(_argument(graph, argument) + ",", width, theme.TEXT, indent="    ", limit=6)
    for name, argument in node.kwargs:
        content += lines.wrap(f"{name}={_argument(graph, argument)},", width, theme.TEXT, indent="    ", limit=6)
    return [*content, [(")", theme.DIM)]]


def _argument(graph: Graph, argument: Argument) -> str:
    if isinstance(argument, NodeRef):
        output = f"[{argument.output}]" if argument.output else ""
        return f"{graph.node_id(argument.node)}{output}"
    if isinstance(argument, InputRef):
        given = graph.inputs[argument.index]
        return f"{given.target or given.name} ({given.kind.value})"
    if isinstance(argument, Named):
        return argument.name
    if isinstance(argument, tuple):
        shown = ", ".join(_argument(graph, item) for item in argument[:16])
        return f"[{shown}{', …' if len(argument) > 16 else ''}]"
    return repr(argument)
