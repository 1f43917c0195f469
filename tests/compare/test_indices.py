import numpy as np

from tapml_tui.compare import compare_indices
from trace_format.model import Floor

EXACT = Floor(0.0, 0.0, "exact")
EXPERTS = np.array([[2, 0, 2, 1, 0, 2]])


def test_ties_may_be_ordered_as_one_likes() -> None:
    stable = np.argsort(EXPERTS, axis=1, kind="stable")
    other = np.array([[4, 1, 3, 5, 2, 0]])
    result = compare_indices(EXPERTS, stable, other, 1, floor=EXACT)
    assert result.passed and result.max_abs > 0 and result.compared == 6


def test_a_wrong_order_is_not_a_tie() -> None:
    stable = np.argsort(EXPERTS, axis=1, kind="stable")
    result = compare_indices(EXPERTS, stable, stable[:, ::-1], 1, floor=EXACT)
    assert not result.passed and "must be" in result.reason


def test_one_element_cannot_be_chosen_twice() -> None:
    stable = np.argsort(EXPERTS, axis=1, kind="stable")
    assert not compare_indices(EXPERTS, stable, np.array([[1, 1, 3, 0, 0, 0]]), 1, floor=EXACT).passed


def test_outside_is_outside() -> None:
    assert not compare_indices(EXPERTS, np.array([[0]]), np.array([[6]]), 1, floor=EXACT).passed
    assert not compare_indices(EXPERTS, np.array([[0]]), np.array([[-6]]), 1, floor=EXACT).passed


def test_a_near_tie_is_one_within_the_noise_of_the_values() -> None:
    logits = np.array([[0.5, 0.1, 0.5 + 1e-6]], np.float32)
    near = np.array([2]), np.array([0])
    assert compare_indices(logits, *near, 1, floor=Floor(1e-6, 1e-6)).passed
    assert not compare_indices(logits, *near, 1, floor=EXACT).passed
    assert not compare_indices(logits, np.array([2]), np.array([1]), 1, floor=Floor(1e-6, 1e-6)).passed


def test_without_a_dimension_they_count_through_everything() -> None:
    values = np.array([[1, 7], [7, 0]])
    assert compare_indices(values, np.array(1), np.array(2), None, floor=EXACT).passed
    assert not compare_indices(values, np.array(1), np.array(3), None, floor=EXACT).passed
