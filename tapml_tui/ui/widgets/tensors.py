"""The Inputs tab and the Output tab: a summary, and a window on the values.

Arrays are views of mapped files; looking at one element may read a disk. All reading is done
in a thread, the newest request only, and the screen shows the last window until it arrives.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from textual.message import Message
from textual.worker import get_current_worker

from tapml_tui.ui import actions, lines, numbers, overflow, theme, values
from tapml_tui.ui.lines import Line
from tapml_tui.ui.values import Summary, Window
from tapml_tui.ui.widgets.pane import Pane

if TYPE_CHECKING:
    from tapml_tui.engine import Engine

Array: TypeAlias = "NDArray[np.generic]"


@dataclass(frozen=True, slots=True)
class Pair:
    """One tensor on both sides."""

    label: str
    spec: str
    reference: Array | None
    actual: Array | None


@dataclass(frozen=True, slots=True)
class View:
    """Which tensor is looked at, and where."""

    index: int = 0
    position: tuple[int, ...] = ()
    axis: int = -1


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the thread found."""

    labels: tuple[str, ...]
    spec: str
    summaries: tuple[tuple[str, Summary], ...]
    window: Window
    problem: str = ""
    aside: tuple[Line, ...] = ()


class TensorPane(Pane):
    """Base of the two tabs: they differ in which tensors there are."""

    BINDINGS = actions.bindings(actions.TENSOR)
    inherit_bindings = False
    scope = actions.TENSOR

    class Read(Message):
        """A window has been read."""

        def __init__(self, request: int, loaded: Loaded) -> None:
            """The answer to request number `request`."""
            super().__init__()
            self.request = request
            self.loaded = loaded

    def __init__(self, engine: Engine) -> None:
        """A pane that has read nothing yet."""
        super().__init__(engine)
        self.view = View()
        self.loaded: Loaded | None = None
        self._request = 0

    def pairs(self, node: int) -> tuple[Pair, ...]:
        """The tensors of a node. Called in a thread."""
        raise NotImplementedError

    def aside(self, node: int) -> list[Line]:
        """What else there is to say of a node, under the summaries. Called in a thread."""
        return []

    def update_lines(self, *, same: bool) -> None:
        """Look at the subject anew, in a thread."""
        if self.subject is None:
            return
        if self.subject.node is None:
            self.set_lines([[("select an operator to see its values", theme.DIM)]])
            return
        if not same:
            self.view, self.loaded = View(position=self._worst()), None  # its axes are not those of the next
            self.set_lines([[("reading …", theme.DIM)]])
        self._load()

    def _worst(self) -> tuple[int, ...]:
        return ()

    def _load(self) -> None:
        if self.subject is None or self.subject.node is None:
            return
        self._request += 1
        request, node, view, rows = self._request, self.subject.node, self.view, max(self.size.height - 8, 3)

        def read() -> None:
            loaded = self._read(node, view, rows)
            if not get_current_worker().is_cancelled:
                self.post_message(self.Read(request, loaded))

        self.run_worker(read, thread=True, exclusive=True, group="read", exit_on_error=False)

    def _read(self, node: int, view: View, rows: int) -> Loaded:
        nothing = Window((), -1, 0, None, None)
        try:
            pairs = self.pairs(node)
            if not pairs:
                return Loaded((), "", (), nothing, "this operator has none")
            pair = pairs[view.index % len(pairs)]
            sides = (("source", pair.reference), ("target", pair.actual))
            summaries = tuple((name, values.summarise(array)) for name, array in sides if array is not None)
            shape = next((array.shape for _, array in sides if array is not None), ())
            axis = view.axis if view.axis >= 0 else len(shape) - 1
            window = values.read_window(pair.reference, pair.actual, view.position, axis, rows)
            labels = tuple(each.label for each in pairs)
            problem = "" if summaries else "no values are here yet"
            return Loaded(labels, pair.spec, summaries, window, problem, tuple(self.aside(node)))
        except Exception as error:  # A damaged block, a file that went away: it is data, said in the pane.
            self.log.error(error)
            return Loaded((), "", (), nothing, f"cannot be read: {error}")

    def on_tensor_pane_read(self, message: Read) -> None:
        """Draw what was read, if it is still what was asked for."""
        if message.request != self._request:
            return
        self.loaded = message.loaded
        self.view = replace(self.view, position=self.loaded.window.position)
        self.set_lines(self._draw(self.loaded), keep_place=True)

    def _draw(self, loaded: Loaded) -> list[Line]:
        content: list[Line] = []
        if loaded.labels:
            at = self.view.index % len(loaded.labels)
            more = f"  {at + 1}/{len(loaded.labels)} space" if len(loaded.labels) > 1 else ""
            content.append([(lines.shorten(loaded.labels[at], self.room - len(more)), theme.STRONG), (more, theme.DIM)])
            content.append([(loaded.spec, theme.TEXT)])
        for name, summary in loaded.summaries:
            content += values.describe(summary, name=name)
        content += loaded.aside
        if loaded.problem:
            return [*content, *lines.wrap(loaded.problem, self.room, theme.DIM)]
        return [*content, [], *values.draw(loaded.window, self.room)]

    def _go(self, **change: object) -> None:
        self.view = replace(self.view, **change)  # type: ignore[arg-type]
        self._load()

    def _step(self, by: int) -> None:
        if self.loaded is None or self.loaded.window.axis < 0:
            return
        position, axis = list(self.view.position or self.loaded.window.position), self.loaded.window.axis
        position[axis] = max(position[axis] + by, 0)
        self._go(position=tuple(position))

    def action_back(self) -> None:
        """Back along the marked axis."""
        self._step(-1)

    def action_forth(self) -> None:
        """On along the marked axis."""
        self._step(1)

    def action_page_back(self) -> None:
        """One screen back."""
        self._step(-max(self.size.height - 8, 3))

    def action_page_forth(self) -> None:
        """One screen on."""
        self._step(max(self.size.height - 8, 3))

    def action_first(self) -> None:
        """To the first element."""
        self._step(-(1 << 62))

    def action_last(self) -> None:
        """To the last element."""
        self._step(1 << 62)

    def action_axis_left(self) -> None:
        """Mark the axis before."""
        if self.loaded is not None and self.loaded.window.axis > 0:
            self._go(axis=self.loaded.window.axis - 1)

    def action_axis_right(self) -> None:
        """Mark the next axis."""
        if self.loaded is not None and self.loaded.window.axis >= 0:
            self._go(axis=min(self.loaded.window.axis + 1, len(self.loaded.window.position) - 1))

    def action_other(self) -> None:
        """The next input or output."""
        self.loaded = None
        self._go(index=self.view.index + 1, position=(), axis=-1)

    def action_worst(self) -> None:
        """To the element with the largest error."""
        self._go(position=self._worst(), axis=-1)


class InputsPane(TensorPane):
    """What goes into a node."""

    def pairs(self, node: int) -> tuple[Pair, ...]:
        """Its inputs: as recorded, and as its producers computed them."""
        return tuple(
            Pair(view.label, _spec(view.spec.dtype, view.spec.shape), view.reference, view.actual)
            for view in self.engine.inputs(node)
        )


class OutputPane(TensorPane):
    """What comes out of a node."""

    def pairs(self, node: int) -> tuple[Pair, ...]:
        """Its outputs: as recorded, and as computed last."""
        specs = self.engine.unit(node).outputs
        return tuple(
            Pair(
                f"output {index}" if len(specs) > 1 else "output",
                _spec(spec.dtype, spec.shape),
                self.engine.reference(node, index),
                self.engine.actual(node, index),
            )
            for index, spec in enumerate(specs)
        )

    def aside(self, node: int) -> list[Line]:
        """How much room is left in narrower types."""
        return overflow.line(overflow.of_node(self.engine, node))

    def _worst(self) -> tuple[int, ...]:
        """Where the error is largest, if the node was compared."""
        result = self.engine.result(self.subject.node) if self.subject and self.subject.node is not None else None
        outputs = result.outputs if result is not None else ()
        if self.view.index < len(outputs):
            comparison = outputs[self.view.index].comparison
            if comparison is not None and comparison.worst is not None:
                return comparison.worst
        return ()


def _spec(dtype: str, shape: tuple[int, ...]) -> str:
    return f"{numbers.dtype(dtype)} {numbers.shape(shape)}"
