"""Blame against fault models: what is found breaks the answer alone, and nothing else does."""

from __future__ import annotations

import random

import pytest

from tapml_tui.engine.blame import Blame, blame, most_runs, search
from tests.sampling import count, rng

Set = frozenset[int]


class Model:
    """Faults that break the answer: any of `causes` that is on the target as a whole, unless mended."""

    def __init__(self, causes: list[Set], mends: list[tuple[int, int]] = ()) -> None:  # type: ignore[assignment]
        self.causes, self.mends = causes, mends
        self.runs = 0

    def right(self, placed: Set) -> bool:
        self.runs += 1
        # A node that heals: the fault does not reach the answer while the node is on the target too.
        harmless = {broken for broken, healer in self.mends if healer in placed}
        return not any(cause <= placed and not cause & harmless for cause in self.causes)


class Lottery:
    """Any set may be wrong, but always gets the same answer."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.answers: dict[Set, bool] = {frozenset(): True}

    def __call__(self, placed: Set) -> bool:
        return self.answers.setdefault(placed, self.dice.random() < 0.5)


def check(model: Model, nodes: list[int], suspects: list[int]) -> Blame:
    broken = not model.right(frozenset(nodes))
    model.runs = 0
    found = blame(model.right, nodes, suspects)
    assert found.runs == model.runs
    assert found.nodes == len(nodes)
    assert bool(found.causes) == broken
    for cause in found.causes:
        assert not model.right(frozenset(cause)), "these alone on the target: wrong"
    assert model.right(frozenset(nodes) - set(found.guilty)), "everything but these: right"
    assert list(found.guilty) == sorted(set(found.guilty))
    return found


def a_case(dice: random.Random) -> tuple[list[int], list[Set]]:
    """Disjoint causes of one to three nodes, in a graph of up to 500."""
    nodes = sorted(dice.sample(range(2000), dice.choice([1, 2, 3, 8, 60, 355, 500])))
    left = list(nodes)
    dice.shuffle(left)
    causes = []
    for _ in range(dice.randint(0, 3)):
        size = dice.choice([1, 1, 1, 2, 2, 3])
        if len(left) >= size:
            causes.append(frozenset(left[:size]))
            left = left[size:]
    return nodes, causes


def test_monotone_faults_are_found_exactly_within_the_bound() -> None:
    dice = rng(__name__)
    for _ in range(count(2000, 20000)):
        nodes, causes = a_case(dice)
        guilty = [node for cause in causes for node in cause]
        # Hints may be right, incomplete, wrong or absent.
        hints = dice.choice([[], guilty, guilty[:1], dice.sample(nodes, min(3, len(nodes))), nodes])
        found = check(Model(causes), nodes, hints)
        assert {frozenset(cause) for cause in found.causes} == set(causes)
        if causes:
            assert found.runs <= most_runs(len(guilty), len(nodes))


def test_overlapping_causes_give_minimal_sets() -> None:
    dice = rng(__name__)
    for _ in range(count(1000, 10000)):
        nodes = list(range(dice.choice([4, 16, 100])))
        causes = [frozenset(dice.sample(nodes, dice.randint(1, 3))) for _ in range(dice.randint(1, 4))]
        model = Model(causes)
        for cause in check(model, nodes, []).causes:
            assert frozenset(cause) in causes
            assert all(model.right(frozenset(cause) - {node}) for node in cause)


def test_faults_that_heal_are_still_proven() -> None:
    dice = rng(__name__)
    for _ in range(count(1000, 10000)):
        nodes, causes = a_case(dice)
        guilty = [node for cause in causes for node in cause]
        mends = [(dice.choice(guilty), dice.choice(nodes)) for _ in range(dice.randint(0, 3))] if guilty else []
        mends = [(broken, healer) for broken, healer in mends if broken != healer]
        found = check(Model(causes, mends), nodes, dice.choice([[], guilty]))
        for cause in found.causes:
            assert all(Model(causes, mends).right(frozenset(cause) - {node}) for node in cause)


def test_any_model_at_all_is_answered_with_a_proof() -> None:
    """Even where right and wrong have no pattern."""
    dice = rng(__name__)
    for _ in range(count(300, 3000)):
        nodes = list(range(dice.randint(1, 12)))
        right = Lottery(dice)
        found = blame(right, nodes, dice.sample(nodes, min(2, len(nodes))))
        for cause in found.causes:
            assert not right(frozenset(cause))
        assert right(frozenset(nodes) - set(found.guilty))


def test_nothing_to_blame_takes_one_run() -> None:
    assert blame(lambda placed: True, range(355)) == Blame((), 1, 355)


def test_wrong_without_any_target_is_said() -> None:
    found = blame(lambda placed: False, range(10))
    assert found.without_target
    assert not found.causes


@pytest.mark.parametrize(("hints", "runs"), [([200], 4), ([], 12)])
def test_a_good_hint_needs_no_search(hints: list[int], runs: int) -> None:
    """All, none, the suspect, all but the suspect."""
    assert blame(lambda placed: 200 not in placed, range(355), hints).runs <= runs


def test_a_search_can_be_left_at_any_probe() -> None:
    steps = search(range(100))
    assert next(steps) == frozenset(range(100))
    assert steps.send(False) == frozenset()
    steps.close()
