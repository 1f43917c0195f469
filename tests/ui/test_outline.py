"""Folding against the obvious way to do it, on random outlines."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tapml_tui.ui.outline import Outline
from tests.ui.scripted import ScriptedGraph, transformer

PATHS = st.lists(st.lists(st.sampled_from("abc"), max_size=4).map(".".join), min_size=1, max_size=30)


def graph_of(paths: list[str]) -> ScriptedGraph:
    return ScriptedGraph([(path, "aten.relu.default") for path in paths])


def visible_by_walking(outline: Outline) -> list[int]:
    def hidden(entry: int) -> bool:
        above = int(outline.parent[entry])
        return above >= 0 and (bool(outline.closed[above]) or hidden(above))

    return [entry for entry in range(len(outline.fold)) if not hidden(entry)]


@given(PATHS, st.lists(st.tuples(st.integers(0, 100), st.booleans()), max_size=20))
def test_visible_rows_are_those_under_no_closed_fold(paths: list[str], changes: list[tuple[int, bool]]) -> None:
    outline = Outline(graph_of(paths))
    for entry, closed in changes:
        outline.set_closed(entry % len(outline.fold), closed)
        assert outline.visible.tolist() == visible_by_walking(outline)


@given(PATHS, st.data())
def test_reveal_shows_the_entry_and_only_opens(paths: list[str], data: st.DataObject) -> None:
    outline = Outline(graph_of(paths))
    outline.set_closed_under(0, True)
    entry = data.draw(st.integers(0, len(outline.fold) - 1))
    outline.reveal(entry)
    assert outline.visible[outline.row_of(entry)] == entry
    assert visible_by_walking(outline) == outline.visible.tolist()


@given(PATHS, st.data())
def test_the_cursor_opens_folds_that_began_before_it_and_no_other(paths: list[str], data: st.DataObject) -> None:
    outline = Outline(graph_of(paths))
    outline.set_closed_under(0, True)
    node = data.draw(st.integers(0, len(paths) - 1))
    outline.reveal_cursor(node)
    shown = outline.entry_shown(node)
    assert outline.start[shown] == node
    for fold in outline._ancestors(outline.graph.entry_of(node)):
        assert outline.closed[fold] == (outline.start[fold] == node)


@given(PATHS, st.integers(1, 40))
def test_fit_opens_no_level_too_many(paths: list[str], rows: int) -> None:
    outline = Outline(graph_of(paths))
    outline.fit(rows, len(paths))
    children_of_root = int((outline.depth <= 1).sum())
    assert len(outline) <= max(rows, children_of_root)


def test_fit_opens_the_way_to_the_cursor_where_the_screen_would_be_empty() -> None:
    outline = Outline(ScriptedGraph([(f"model.{path}" if path else "model", op) for path, op in transformer(20)]))
    outline.fit(12, 0)
    assert "layers.0" in [outline.label(int(entry)) for entry in outline.visible]


def test_rows_name_the_operator_and_the_part_of_the_path_that_no_fold_shows() -> None:
    outline = Outline(ScriptedGraph(transformer(1)))
    rows = [(outline.label(int(e)), outline.place(int(e))) for e in range(len(outline.fold))]
    assert ("linear", "q_proj") in rows
    assert ("embedding", "embed_tokens") in rows
    assert ("matmul", "") in rows


def test_closing_under_a_fold_leaves_the_rest_alone() -> None:
    outline = Outline(ScriptedGraph(transformer(2)))
    outline.set_closed_under(0, False)
    everything = len(outline)
    assert everything == len(outline.fold)
    first = next(int(e) for e in outline.visible if outline.label(int(e)) == "layers.0")
    outline.set_closed_under(first, True)
    assert len(outline) == everything - int(outline.size[first]) + 1


def test_closed_folds_come_back_by_path() -> None:
    graph = ScriptedGraph(transformer(3))
    outline = Outline(graph)
    outline.set_closed_under(0, False)
    for entry in np.flatnonzero(outline.fold)[[2, 5]]:
        outline.set_closed(int(entry), True)
    again = Outline(graph)
    again.restore(outline.closed_paths())
    assert again.visible.tolist() == outline.visible.tolist()
    assert again.closed_paths() == outline.closed_paths() != ()
    again.restore(["no such path"])
    assert not again.closed.any()
