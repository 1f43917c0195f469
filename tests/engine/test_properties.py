"""Whatever is done on the way, the end is that of a straight run; and every command gets one answer."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tapml_tui.engine.commands import (
    Breakpoint,
    BreakpointKind,
    Command,
    Mode,
    Record,
    Retry,
    Rewind,
    RunNodes,
    SelectCase,
    SetBackend,
    SetMode,
    Step,
    ToggleBreakpoint,
    Undo,
    Verb,
)
from tapml_tui.engine.events import StopReason
from tapml_tui.engine.script import parse_script
from tapml_tui.engine.table import STALE
from tests.engine.numpy_backend import NumpyBackend, Unsupported
from tests.engine.toys import Driver, Toy
from trace_format import open_trace
from trace_format.model import Argument, InputRef, NodeRef

UNARY = ["aten.relu.default", "aten.tanh.default", "aten.clone.default", "aten.matmul.default", "aten.add.Tensor"]
PATHS = ["", "a", "a.b", "a.b.c", "d"]
FAULTS = {
    "wrong": lambda right: tuple(array + array.dtype.type(3) for array in right),
    "shape": lambda right: tuple(array.reshape(-1)[:1] for array in right),
    "nan": lambda right: tuple(array * array.dtype.type(np.nan) for array in right),
}


def unsupported(right: object) -> tuple[np.ndarray, ...]:
    raise Unsupported("no conversion")


def broken(right: object) -> tuple[np.ndarray, ...]:
    raise RuntimeError("the kernel broke")


@st.composite
def toys(draw: st.DrawFn) -> Toy:
    """A graph of 1 to 14 nodes; each reads what came before."""
    toy = Toy(size=4, seed=draw(st.integers(0, 5)), cases=2)
    tensors: list[Argument] = [InputRef(0), InputRef(1)]
    path = ""
    for _ in range(draw(st.integers(1, 14))):
        path = draw(st.sampled_from([path, path, *PATHS]))
        op = draw(st.sampled_from(UNARY))
        arity = 2 if op in ("aten.matmul.default", "aten.add.Tensor") else 1
        recent = st.sampled_from(tensors[-4:])
        tensors.append(toy.call(op, *(draw(recent) for _ in range(arity)), path=path))
    if draw(st.booleans()):
        pair = toy.call("aten.aminmax.default", tensors[-1], path="end")
        toy.call("aten.argmax.default", NodeRef(pair.node, 1), path="end")
    else:
        toy.hands_on = draw(st.booleans())
    return toy


@st.composite
def commands(draw: st.DrawFn, nodes: int) -> list[Command]:
    """Anything that a user may do, in any order."""
    start = draw(st.integers(0, nodes - 1))
    step = st.builds(Step, st.sampled_from(Verb), st.one_of(st.none(), st.integers(0, 2 * nodes)), st.booleans())
    one = st.one_of(
        step,
        step,
        st.builds(
            SetBackend,
            st.just(start),
            st.integers(start + 1, nodes),
            st.sampled_from(["source", "target", "reference"]),
        ),
        st.just(Undo()),
        st.just(Rewind()),
        st.just(Retry()),
        st.builds(SetMode, st.sampled_from(Mode)),
        st.builds(SelectCase, st.integers(0, 2)),
        st.builds(RunNodes, st.lists(st.integers(0, nodes - 1), max_size=3).map(tuple)),
        st.builds(
            ToggleBreakpoint,
            st.sampled_from(
                [
                    Breakpoint(BreakpointKind.OPERATOR, "aten.tanh*"),
                    Breakpoint(BreakpointKind.PATH, "a*"),
                    Breakpoint(BreakpointKind.MISMATCH),
                    Breakpoint(BreakpointKind.NAN),
                ]
            ),
        ),
    )
    return draw(st.lists(one, max_size=12))


@dataclass
class World:
    """A trace, and what is wrong with its target."""

    folder: Path
    toy: Toy
    faults: dict[int, str]
    delays: int
    holds: int = 1000

    def driver(self, run: str) -> Driver:
        path = self.folder / "t.trace"
        if not path.exists():
            self.toy.write(path).close()
        trace = open_trace(path)
        kinds = FAULTS | {"unsupported": unsupported, "broken": broken}
        faults = {trace.graphs[0].node_id(node): kinds[kind] for node, kind in self.faults.items()}
        delays = random.Random(self.delays)
        backends = (
            NumpyBackend("source", delays=delays),
            NumpyBackend("target", faults=faults, delays=delays, holds=self.holds),
        )
        return Driver(trace, backends, run_path=self.folder / run)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    toy = draw(toys())
    kinds = st.sampled_from([*FAULTS, "unsupported", "broken"])
    faults = draw(st.dictionaries(st.integers(0, len(toy.calls) - 1), kinds, max_size=2))
    return World(Path(), toy, faults, draw(st.integers(0, 9)), draw(st.sampled_from([0, 2, 1000])))


def to_the_end(driver: Driver) -> None:
    for _ in range(1000):
        if driver.step(Verb.CONTINUE).stopped is StopReason.END:
            return
    raise AssertionError("never at the end")


def seen(driver: Driver) -> list[object]:
    """What anybody can see of every node."""
    rows: list[object] = []
    for node in range(len(driver.engine.graph)):
        result = driver.engine.result(node)
        assert result is not None
        values = [driver.engine.actual(node, output) for output in range(driver.engine.graph.node(node).outputs)]
        contents = [value if value is None else (value.dtype, value.shape, value.tobytes()) for value in values]
        rows.append((result.status, result.verdict, result.backend, result.reason, contents))
    return rows


@contextmanager
def running(world: World) -> Iterator[Driver]:
    """A driver of a world, in a folder that goes with it."""
    with tempfile.TemporaryDirectory() as folder:
        world.folder = Path(folder)
        with world.driver("a.run") as driver:
            yield driver


@given(data=st.data())
def test_any_interleaving_ends_like_a_straight_run(data: st.DataObject) -> None:
    world = data.draw(worlds())
    program = data.draw(commands(len(world.toy.calls)))
    with tempfile.TemporaryDirectory() as folder:
        world.folder = Path(folder)
        with world.driver("walk.run") as walk:
            tickets = [walk.engine.submit(command) for command in program]
            for ticket in tickets:
                walk.wait(ticket)
            to_the_end(walk)
            assert not (walk.engine.table.flags & STALE).any()
            case, mode = walk.engine.snapshot.case, walk.engine.snapshot.mode
            placement = walk.engine.table.backend.copy()
            there = seen(walk)
            assert not walk.told_twice
            assert set(tickets) <= set(walk.answers)
        with world.driver("straight.run") as straight:
            straight.do(SelectCase(case))
            straight.do(SetMode(mode))
            names = (*straight.engine.backend_ids, "reference")
            for node, backend in enumerate(placement):
                straight.do(SetBackend(node, node + 1, names[backend]))
            to_the_end(straight)
            assert seen(straight) == there


@given(data=st.data())
def test_steps_and_as_many_back_restore_cursor_and_verdicts(data: st.DataObject) -> None:
    world = data.draw(worlds())
    with running(world) as driver:
        nodes = len(driver.engine.graph)
        first = data.draw(st.integers(0, nodes))
        for _ in range(first):
            driver.step(Verb.OVER)
        before = driver.engine.table.verdict[:first].copy()
        steps = data.draw(st.integers(0, nodes - first))
        for _ in range(steps):
            driver.step(Verb.OVER)
        assert driver.engine.snapshot.cursor == first + steps
        after = driver.engine.table.verdict.copy()
        executed = len(driver.target.executed), len(driver.source.executed)
        for _ in range(steps):
            driver.step(Verb.BACK)
        assert driver.engine.snapshot.cursor == first
        assert list(driver.engine.table.verdict[:first]) == list(before)
        assert list(driver.engine.table.verdict) == list(after)
        for _ in range(steps):
            driver.step(Verb.OVER)
        assert (len(driver.target.executed), len(driver.source.executed)) == executed
        assert list(driver.engine.table.verdict) == list(after)


@given(data=st.data())
def test_continue_back_stops_where_continue_stops(data: st.DataObject) -> None:
    world = data.draw(worlds())
    with running(world) as driver:
        driver.do(ToggleBreakpoint(Breakpoint(BreakpointKind.OPERATOR, "aten.tanh*")))
        stops = [0]
        while (stop := driver.step(Verb.CONTINUE)).stopped is not StopReason.END:
            stops.append(stop.cursor)
        end = len(driver.engine.graph)
        back = []
        while (stop := driver.step(Verb.BACK_CONTINUE)).cursor > 0:
            back.append(stop.cursor)
        assert [0, *reversed(back)] == [cursor for cursor in dict.fromkeys(stops) if cursor < end]


@given(data=st.data())
def test_no_run_passes_a_breakpoint(data: st.DataObject) -> None:
    world = data.draw(worlds())
    with running(world) as driver:
        nodes, graph = len(driver.engine.graph), driver.engine.graph
        marked = data.draw(st.sets(st.integers(0, nodes - 1), max_size=3))
        for node in marked:
            driver.do(ToggleBreakpoint(Breakpoint(BreakpointKind.NODE, graph.node_id(node))))
        while (cursor := driver.engine.snapshot.cursor) < nodes:
            verb = data.draw(st.sampled_from([Verb.OVER, Verb.OUT, Verb.TO, Verb.CONTINUE]))
            entry = data.draw(st.integers(0, len(graph.outline) - 1))
            after = driver.do(Step(verb, entry, folded=True))
            if after.stopped is not StopReason.REFUSED:
                assert not marked & set(range(cursor + 1, after.cursor)), verb
                assert after.cursor > cursor
                if after.stopped is StopReason.BREAKPOINT:
                    assert after.cursor in marked
            elif verb is Verb.TO:
                driver.step(Verb.INTO)


@given(data=st.data())
def test_a_script_begins_where_its_recording_did(data: st.DataObject) -> None:
    world = data.draw(worlds())
    program = data.draw(commands(len(world.toy.calls)))

    def stands(driver: Driver) -> object:
        now = driver.engine.snapshot
        return now.case, now.mode, now.cursor, now.breakpoints, list(driver.engine.table.backend)

    with tempfile.TemporaryDirectory() as folder:
        world.folder = Path(folder)
        script = world.folder / "steps.script"
        with world.driver("walk.run") as walk:
            for command in program:
                walk.do(command)
            walk.do(Record(str(script)))
            there = stands(walk)
        with world.driver("again.run") as again:
            for command in parse_script(script.read_text()):
                assert again.do(command).stopped is not StopReason.REFUSED, command
            assert stands(again) == there
