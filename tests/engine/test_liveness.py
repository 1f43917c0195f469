"""Elements that nothing reads: a wrong value there reaches no answer, and is no failure."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tapml_tui.engine.commands import Mode, RunNodes
from tapml_tui.engine.liveness import Liveness, Unread
from tapml_tui.engine.units import Bindings
from tapml_tui.engine.values import References
from tests import sampling
from tests.engine.numpy_backend import OPERATORS
from tests.engine.toys import Driver, Toy
from trace_format import Trace
from trace_format.model import Argument, InputRef, NodeRef

X, W = InputRef(0), InputRef(1)
SIZE = 8


def unread(trace: Trace, node: int) -> Unread | None:
    return Liveness(References(trace), Bindings(trace)).unread(0, NodeRef(node))


def written(folder: Path, build: Callable[[Toy], object]) -> Trace:
    """X = tanh(X) is node 0; `build` goes on."""
    toy = Toy(size=SIZE)
    toy.call("aten.tanh.default", X)
    build(toy)
    return toy.write(folder / "t.trace")


def weight(trace: Trace) -> np.ndarray:
    array = trace.array(trace.value(0, W))
    assert array is not None
    return array


def masked_fill(toy: Toy) -> None:
    toy.call("aten.masked_fill.Scalar", NodeRef(0), toy.call("aten.gt.Scalar", W, 0.0), 1.5)


def where_left(toy: Toy) -> None:
    toy.call("aten.where.self", toy.call("aten.gt.Scalar", W, 0.0), W, NodeRef(0))


def where_right(toy: Toy) -> None:
    toy.call("aten.where.self", toy.call("aten.gt.Scalar", W, 0.0), NodeRef(0), W)


def times_zero(toy: Toy) -> None:
    toy.call("aten.mul.Tensor", NodeRef(0), toy.call("aten.relu.default", W))


def plus_minus_infinity(toy: Toy) -> None:
    low = toy.call("aten.masked_fill.Scalar", W, toy.call("aten.gt.Scalar", W, 0.0), -math.inf)
    toy.call("aten.add.Tensor", low, NodeRef(0))


def transposed_and_masked(toy: Toy) -> None:
    turned = toy.call("aten.transpose.int", NodeRef(0), 0, 1)
    mask = toy.call("aten.transpose.int", toy.call("aten.gt.Scalar", W, 0.0), 0, 1)
    toy.call("aten.masked_fill.Scalar", turned, mask, 0.0)


@pytest.mark.parametrize("build", [masked_fill, where_left, transposed_and_masked])
def test_a_mask_hides_what_is_under_it_whatever_it_is(build: Callable[[Toy], object], tmp_path: Path) -> None:
    with written(tmp_path, build) as trace:
        found, mask = unread(trace, 0), weight(trace) > 0
        assert found is not None
        np.testing.assert_array_equal(found.always, mask)
        x = trace.array(trace.value(0, NodeRef(0)))
        assert x is not None
        np.testing.assert_array_equal(found.hides(x, np.full_like(x, np.nan)), mask)


def test_the_other_side_of_a_choice(tmp_path: Path) -> None:
    with written(tmp_path, where_right) as trace:
        found = unread(trace, 0)
        assert found is not None
        np.testing.assert_array_equal(found.always, ~(weight(trace) > 0))


@pytest.mark.parametrize("build", [times_zero, plus_minus_infinity])
def test_zero_and_minus_infinity_hide_what_is_not_too_large(build: Callable[[Toy], object], tmp_path: Path) -> None:
    with written(tmp_path, build) as trace:
        found, x = unread(trace, 0), trace.array(trace.value(0, NodeRef(0)))
        hidden = weight(trace) > 0 if build is plus_minus_infinity else weight(trace) <= 0
        assert found is not None and x is not None
        assert not found.always.any()
        np.testing.assert_array_equal(found.hides(x, x + 5), hidden)
        for large in (np.nan, np.inf, 3e38):  # NaN times zero is NaN
            assert not found.hides(x, np.full_like(x, large)).any()


def test_what_a_slice_drops_is_not_read(tmp_path: Path) -> None:
    with written(tmp_path, lambda toy: toy.call("aten.slice.Tensor", NodeRef(0), 1, 2, 5)) as trace:
        found = unread(trace, 0)
        assert found is not None
        np.testing.assert_array_equal(found.always.all(axis=0), [True] * 2 + [False] * 3 + [True] * 3)


def also_read(toy: Toy) -> None:
    masked_fill(toy)
    toy.call("aten.add.Tensor", NodeRef(2), NodeRef(0))


def through_arithmetic(toy: Toy) -> None:
    toy.call("aten.tanh.default", NodeRef(0))
    toy.call("aten.masked_fill.Scalar", NodeRef(1), toy.call("aten.gt.Scalar", W, 0.0), 1.5)


def as_its_own_mask(toy: Toy) -> None:
    toy.call("aten.mul.Tensor", NodeRef(0), NodeRef(0))


def as_a_mask(toy: Toy) -> None:
    toy.call("aten.where.self", toy.call("aten.gt.Scalar", NodeRef(0), 0.0), W, W)


def an_answer(toy: Toy) -> None:
    pass


@pytest.mark.parametrize("build", [also_read, through_arithmetic, as_its_own_mask, as_a_mask, an_answer])
def test_what_may_be_read_counts_as_read(build: Callable[[Toy], object], tmp_path: Path) -> None:
    with written(tmp_path, build) as trace:
        assert unread(trace, 0) is None


MOVES: list[Callable[[Toy, Argument, random.Random], Argument]] = [
    lambda toy, x, r: toy.call("aten.transpose.int", x, 0, 1),
    lambda toy, x, r: toy.call("aten.clone.default", x),
    lambda toy, x, r: toy.call("aten.masked_fill.Scalar", x, toy.call("aten.gt.Scalar", W, r.uniform(-1, 1)), 2.0),
    lambda toy, x, r: toy.call("aten.mul.Tensor", x, toy.call("aten.relu.default", W)),
    lambda toy, x, r: toy.call("aten.where.self", toy.call("aten.gt.Scalar", W, r.uniform(-1, 1)), x, W),
    lambda toy, x, r: toy.call("aten.tanh.default", x),
    lambda toy, x, r: toy.call("aten.add.Tensor", x, r.choice([X, W, x])),
]


def answer(trace: Trace, changed: NodeRef, to: np.ndarray) -> np.ndarray:
    """What the model answers if one of its values is another."""
    values: dict[object, np.ndarray] = {ref: trace.array(trace.value(0, ref)) for ref in (X, W)}
    graph = trace.graphs[0]
    for index in range(len(graph)):
        node = graph.node(index)
        arguments = [values.get(one, one) if isinstance(one, NodeRef | InputRef) else one for one in node.args]
        values[NodeRef(index)] = to if NodeRef(index) == changed else OPERATORS[node.op](*arguments)[0]
    return values[NodeRef(len(graph) - 1)]


def test_what_is_not_read_changes_no_answer(tmp_path: Path) -> None:
    hidden, rng = 0, sampling.rng("what is not read changes no answer")
    for number in range(sampling.count(40, 4000)):
        toy = Toy(size=SIZE, seed=number)
        made: Argument = toy.call("aten.tanh.default", X)
        for _ in range(rng.randrange(2, 7)):
            made = rng.choice(MOVES)(toy, made, rng)
        with toy.write(tmp_path / f"{number}.trace") as trace:
            for index in range(len(toy.calls)):
                found, array = unread(trace, index), trace.array(trace.value(0, NodeRef(index)))
                if found is None or array is None or array.dtype.kind != "f":
                    continue
                hidden += 1
                for wrong, mask in ((np.nan, found.always), (1e9, found.if_small)):
                    changed = np.where(mask, np.float32(wrong), array)
                    before = answer(trace, NodeRef(index), array)
                    np.testing.assert_array_equal(before, answer(trace, NodeRef(index), changed))
    assert hidden > 10


# In the engine

PLACE = "/aten.tanh.default#0"


@pytest.mark.parametrize("mode", list(Mode))
def test_a_node_that_is_wrong_only_under_a_mask_passes_and_says_so(mode: Mode, tmp_path: Path) -> None:
    trace = written(tmp_path, masked_fill)
    mask = weight(trace) > 0
    with Driver(trace, mode=mode) as driver:
        driver.target.faults[PLACE] = lambda right: (np.where(mask, np.float32(np.nan), right[0]),)
        driver.do(RunNodes())
        result = driver.engine.result(0)
        assert result.status == "passed"
        assert result.reason == f"differs only where a mask hides it: {mask.sum()} elements"
        assert driver.statuses() == ["passed"] * 3


@pytest.mark.parametrize("mode", list(Mode))
def test_one_element_more_and_it_fails(mode: Mode, tmp_path: Path) -> None:
    trace = written(tmp_path, masked_fill)
    mask = weight(trace) > 0
    wrong = mask.copy()
    wrong[tuple(np.argwhere(~mask)[0])] = True
    with Driver(trace, mode=mode) as driver:
        driver.target.faults[PLACE] = lambda right: (np.where(wrong, np.float32(9), right[0]),)
        driver.do(RunNodes())
        assert driver.engine.result(0).status == "failed"
