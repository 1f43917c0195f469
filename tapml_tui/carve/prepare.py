"""A workload turned into plans: one per set of shapes, and who hands what to whom."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils import _pytree as pytree

from tapml_tui.carve.errors import CarveError
from tapml_tui.carve.export import export, shape_key
from tapml_tui.carve.plan import Plan, build_plan
from tapml_tui.carve.workload import Workload, is_handed
from trace_format.model import InputKind, InputRef


@dataclass
class Prepared:
    """What is known before anything is executed.

    Attributes:
        plans: One per set of shapes.
        graph_of_case: Which plan a case uses.
        handed: Per case: graph input -> (earlier case, index among what its model returned).
        given: Per case: graph input -> what the case gives.
    """

    plans: list[Plan] = field(default_factory=list)
    graph_of_case: list[int] = field(default_factory=list)
    handed: list[dict[int, tuple[int, int]]] = field(default_factory=list)
    given: list[dict[int, Any]] = field(default_factory=list)

    def plan(self, case: int) -> Plan:
        """The plan of a case."""
        return self.plans[self.graph_of_case[case]]

    def hands_on(self, case: int, output: int) -> bool:
        """Whether a later case takes this output of the model."""
        return any((case, output) in handed.values() for handed in self.handed)

    def weights(self) -> Iterator[torch.Tensor]:
        """The weights whose bytes are recorded."""
        for plan in self.plans:
            kept = ((i, weight) for i, weight in enumerate(plan.weights) if InputRef(i) in plan.kept)
            yield from (weight for _, weight in kept if weight is not None)

    def inputs(self, case: int, results: Sequence[Mapping[int, Any]]) -> list[Any]:
        """One value per graph input: weights, what the case gives, what earlier cases left in `results`."""
        values: list[Any] = list(self.plan(case).weights)
        for index, value in self.given[case].items():
            values[index] = value
        for index, (earlier, output) in self.handed[case].items():
            values[index] = results[earlier][output]
        return values


def prepare(workload: Workload, *, folder: str, include: str | None, strict: bool) -> Prepared:
    """Export every set of shapes once."""
    prepared = Prepared()
    graphs: dict[Hashable, int] = {}
    names = [case.name for case in workload.cases]
    for case in workload.cases:
        leaves, spec = pytree.tree_flatten((case.args, dict(case.kwargs)), is_leaf=is_handed)
        handed = {i: (names.index(leaf.case), leaf.output) for i, leaf in enumerate(leaves) if is_handed(leaf)}
        examples = [_example(prepared, *handed[i]) if i in handed else leaf for i, leaf in enumerate(leaves)]
        args, kwargs = pytree.tree_unflatten(examples, spec)
        key = shape_key(args, kwargs)
        if key not in graphs:
            program = export(workload.module, args, kwargs, strict=strict)
            graphs[key] = len(prepared.plans)
            prepared.plans.append(build_plan(program, folder=folder, include=include))
        plan = prepared.plans[graphs[key]]
        users = [i for i, graph_input in enumerate(plan.inputs) if graph_input.kind is InputKind.USER]
        if len(users) != len(leaves):
            raise CarveError(
                f"case {case.name!r} gives {len(leaves)} values, the exported model takes {len(users)}",
                why="torch.export dropped or merged inputs",
                remedy="give every input once, as a tensor",
            )
        prepared.graph_of_case.append(graphs[key])
        prepared.handed.append({users[i]: source for i, source in handed.items()})
        prepared.given.append({users[i]: leaf for i, leaf in enumerate(leaves) if i not in handed})
    if include is not None and not any(step.included for plan in prepared.plans for step in plan.steps):
        paths = sorted({step.node.path for step in prepared.plans[0].steps})
        raise CarveError(
            f"nothing matches --include {include!r}",
            why="it is matched against paths (layers.0.mlp) and node ids, whole, with * ? []",
            remedy="paths of this model begin: " + ", ".join(path or "(root)" for path in paths[:8]),
            usage=True,
        )
    return prepared


def _example(prepared: Prepared, case: int, output: int) -> torch.Tensor:
    """A tensor like the one that the earlier case will hand on: export looks at nothing but its shape."""
    plan = prepared.plan(case)
    if not 0 <= output < len(plan.user_outputs):
        raise CarveError(
            f"there is no output {output} to hand on",
            why=f"the model gives {len(plan.user_outputs)} values, counted from 0",
            usage=True,
        )
    meta = plan.output_meta(plan.user_outputs[output])
    if not isinstance(meta, torch.Tensor):
        raise CarveError(f"output {output} cannot be handed on", why="it is no tensor", usage=True)
    return torch.zeros(tuple(meta.shape), dtype=meta.dtype, device=meta.device)
