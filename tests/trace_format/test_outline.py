"""The outline: maximal runs, in pre-order, whatever the paths are."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trace_format.errors import IndexInvalid, LimitExceeded
from trace_format.outline import ENTRY, build_outline, check_outline, path_parts

paths = st.lists(st.lists(st.sampled_from("ab01"), max_size=4).map(".".join), max_size=30)


def outline_of(list_of_paths: list[str]) -> np.ndarray:
    known = {path: number for number, path in enumerate(dict.fromkeys(list_of_paths))}
    return build_outline([known[path] for path in list_of_paths], [path_parts(path) for path in known])


def expected_folds(list_of_paths: list[str]) -> set[tuple[int, int]]:
    """By definition: every maximal run of at least two nodes under one path, found by trying all."""
    parts = [path_parts(path) for path in list_of_paths]
    folds = {(0, len(parts))}
    for level in range(1, max(map(len, parts), default=0) + 1):
        start = 0
        for node in range(1, len(parts) + 1):
            if node == len(parts) or parts[node][:level] != parts[start][:level] or len(parts[node]) < level:
                if len(parts[start]) >= level and node - start > 1:
                    folds.add((start, node))
                start = node
    return folds


@given(paths)
def test_property_folds_are_the_maximal_runs(list_of_paths: list[str]) -> None:
    rows = outline_of(list_of_paths)
    check_outline(rows, len(list_of_paths))
    folds = rows[rows["fold"]]
    found = list(zip(folds["start"].tolist(), folds["stop"].tolist(), strict=True))
    under_root = found[1:]
    assert len(set(under_root)) == len(under_root)
    assert set(found) == expected_folds(list_of_paths)
    for entry, row in enumerate(rows):
        if entry:
            parent = rows[row["parent"]]
            assert parent["fold"] and parent["start"] <= row["start"] and row["stop"] <= parent["stop"]
            assert row["depth"] == parent["depth"] + 1


def test_numbers_stay_with_their_name() -> None:
    assert path_parts("model.layers.0.self_attn") == ("model", "layers.0", "self_attn")
    assert path_parts("net.0.1") == ("net.0", "1")
    assert path_parts("0.conv") == ("0", "conv")
    assert path_parts("") == ()


def test_an_outline_may_be_very_deep_and_very_wide() -> None:
    deep = [".".join(["x"] * level) for level in range(1, 501)]
    assert sys.getrecursionlimit() // 4 < 500
    rows = outline_of(deep + ["wide"] * 50_000)
    check_outline(rows, 50_500)
    assert rows["depth"].max() >= 499
    assert rows["size"][0] == len(rows)


def test_a_path_called_twice_gives_two_folds() -> None:
    rows = outline_of(["a", "a", "b", "b", "a", "a"])
    assert rows[rows["fold"]]["start"].tolist() == [0, 0, 2, 4]


def test_the_number_of_folds_is_bounded_by_that_of_the_nodes() -> None:
    one, other = ".".join(["p"] * 1000), ".".join(["q"] * 1000)
    rows = outline_of([one, other] * 2000)
    assert len(rows) <= 2 * 4000 + 1


def test_a_path_that_is_too_deep_is_refused() -> None:
    with pytest.raises(LimitExceeded):
        path_parts(".".join(["x"] * 2000))


@given(paths.filter(lambda p: len(p) > 3), st.data())
def test_property_any_table_that_passes_the_check_is_a_tree(list_of_paths: list[str], data: st.DataObject) -> None:
    rows = outline_of(list_of_paths).copy()
    for _ in range(data.draw(st.integers(1, 3))):
        entry = data.draw(st.integers(0, len(rows) - 1))
        field = data.draw(st.sampled_from(["fold", "depth", "parent", "size", "start", "stop"]))
        rows[field][entry] = data.draw(st.integers(0, len(rows) + 1)) if field != "fold" else data.draw(st.booleans())
    try:
        check_outline(rows, len(list_of_paths))
    except IndexInvalid:
        return
    above: list[int] = []  # walk it as a tree: this fails where it is none
    node = 0
    for entry, row in enumerate(rows):
        while above and above[-1] + rows["size"][above[-1]] <= entry:
            above.pop()
        assert row["parent"] == (above[-1] if above else -1)
        assert row["depth"] == len(above)
        if row["fold"]:
            assert row["start"] == node
            above.append(entry)
        else:
            assert (row["start"], row["stop"], row["size"]) == (node, node + 1, 1)
            node += 1
    assert node == len(list_of_paths)


def test_the_check_refuses_what_is_too_short_or_too_long() -> None:
    for count in (0, 1, 100):
        with pytest.raises(IndexInvalid):
            check_outline(np.zeros(count, ENTRY), 3)
