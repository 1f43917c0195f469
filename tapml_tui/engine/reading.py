"""What anybody may read of a session, from any thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tapml_tui.backends.protocol import Call, Unit
from tapml_tui.engine.answering import Answer
from tapml_tui.engine.events import InputView, NodeResult
from tapml_tui.engine.executor import Executor
from tapml_tui.engine.session import Session
from tapml_tui.engine.table import NodeTable
from tapml_tui.engine.units import Binding
from tapml_tui.engine.values import load
from tapml_tui.export import Exhibit
from trace_format import Trace
from trace_format.model import InputRef, NodeRef

if TYPE_CHECKING:
    from tapml_tui.engine.examining import Finding
    from trace_format import Graph


class Reader:
    """The present case and mode of a session, for views.

    Attributes:
        trace: What is debugged.
    """

    def __init__(self, trace: Trace, executor: Executor, session: Session) -> None:
        """Read what `session` holds."""
        self.trace = trace
        self._executor = executor
        self._session = session

    @property
    def graph(self) -> Graph:
        """The graph of the present case."""
        return self._session.view.graph

    @property
    def table(self) -> NodeTable:
        """What the rows of the present case and mode show."""
        return self._session.view.table

    def result(self, node: int) -> NodeResult | None:
        """What became of a node in the present case and mode, or None if it has not run."""
        return self._session.view.results.get(node)

    @property
    def targets(self) -> tuple[str, ...]:
        """Ids of the targets that are seen beside each other; none if there is only one."""
        return self._session.view.targets

    def beside(self, node: int) -> tuple[NodeResult, ...]:
        """Of several targets, how each of those that have judged a node did: as it is placed, or on recorded inputs."""
        view = self._session.view
        return tuple(view.beside[target, node] for target in view.targets if (target, node) in view.beside)

    def answer(self) -> Answer:
        """What the model answers in the present case, as far as it was computed; to be asked while nothing runs."""
        return self._session.answers.judge(self._session.view)

    def note(self, node: int) -> str:
        """What the user wrote on a node, or ""."""
        return self._session.notes.get(self.graph.node_id(node), "")

    @property
    def folds(self) -> tuple[str, ...]:
        """Paths of the folds that are closed, as the screen said."""
        return self._session.folds

    def exhibit(self, node: int) -> Exhibit:
        """What there is to show of a node's kernel, for a test; to be asked while nothing runs.

        Raises:
            CannotExport: If there is nothing to test.
        """
        return self._session.exhibit(node)

    def unit(self, node: int) -> Unit:
        """What a backend executes for a node: a unit without outputs where there is nothing to execute."""
        binding = self._executor.bindings.get(self._session.view.case, node)
        return binding.unit if isinstance(binding, Binding) else Unit((Call(self.graph.op(node), ()),), (), (), ())

    def reference(self, node: int, output: int) -> np.ndarray | None:
        """The recorded elements of an output."""
        return self._executor.references.array(self.trace.value(self._session.view.case, NodeRef(node, output)))

    def actual(self, node: int, output: int) -> np.ndarray | None:
        """What an output was computed to be, mapped from the run file; None if it was not, or not fetched."""
        stored = self._session.view.value(NodeRef(node, output))
        return load(stored) if stored is not None else None

    def proof(self, finding: Finding) -> tuple[np.ndarray, np.ndarray] | None:
        """Both sides of the comparison that shows a kernel to be wrong; None if one is not here."""
        reference, actual = load(finding.expected), load(finding.computed)
        return (reference, actual) if reference is not None and actual is not None else None

    def inputs(self, node: int) -> tuple[InputView, ...]:
        """The tensor inputs of a node."""
        view = self._session.view
        binding = self._executor.bindings.get(view.case, node)
        if not isinstance(binding, Binding):
            return ()
        actual = self._executor.inputs(view, binding)
        return tuple(
            InputView(
                label=self._label(ref),
                spec=spec,
                reference=self._executor.references.array(self.trace.value(view.case, ref)),
                actual=load(stored) if stored is not None else None,
            )
            for ref, spec, stored in zip(binding.operands, binding.unit.inputs, actual, strict=True)
        )

    def _label(self, ref: NodeRef | InputRef) -> str:
        if isinstance(ref, InputRef):
            given = self.graph.inputs[ref.index]
            return given.target or given.name
        return self.graph.node_id(ref.node)
