"""Traces that are cut, damaged or empty: the screen says what is missing and goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tapml_tui.backends.launch import TargetOptions
from tapml_tui.ui import run
from tests.engine.toys import Toy, mlp
from trace_format import Graph, Trace, TraceError, TraceWriter, open_trace
from trace_format.errors import RecordDamaged
from trace_format.model import Node, Provenance

KEYS = ["n", "s", "n", "1", "2", "3", "4", "5", "6", "x", "b", "]", "[", "c", "/", "tab", "N", "r", "i", "C", "g", "G"]


class Changed(Toy):
    """A toy whose file is changed after it was written."""

    def __init__(self, change: Callable[[bytearray], bytearray]) -> None:
        super().__init__(calls=mlp(3).calls)
        self.change = change

    def write(self, path: Path) -> Trace:
        super().write(path).close()
        path.write_bytes(self.change(bytearray(path.read_bytes())))
        return open_trace(path)


async def test_a_damaged_node_is_said_in_its_tab_and_hurts_nothing_else(
    debugging: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with debugging() as d:
        decode = type(d.engine.graph).node

        def damaged(graph: Graph, node: int) -> Node:
            if node == 1:
                raise RecordDamaged("the checksum of a node record does not match", 512)
            return decode(graph, node)

        monkeypatch.setattr(type(d.engine.graph), "node", damaged)
        d.tree.select_node(1)
        await d.press("4")
        await d.until(lambda: "The trace is damaged here" in d.text)
        await d.press("down")
        await d.until(lambda: "aten.tanh.default(" in d.text)


@pytest.mark.slow
async def test_a_cut_trace_says_so(debugging: Callable[..., Any]) -> None:
    async with debugging(Changed(lambda data: data[: len(data) * 19 // 20])) as d:
        assert d.message.startswith("This trace is damaged")
        for key in ("plus", "down", "down", "down", "down"):
            await d.press(key)
            for tab in "12345":
                await d.press(tab)
        assert d.app.is_running


@pytest.mark.slow
async def test_a_graph_without_operators_answers_every_key(debugging: Callable[..., Any]) -> None:
    async with debugging(Toy()) as d:
        for key in KEYS:
            await d.press({"/": "slash"}.get(key, key))
        assert d.app.is_running


def test_a_trace_without_a_case_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "none.trace"
    with TraceWriter(path, Provenance()):
        pass
    with pytest.raises(TraceError, match="no case"):
        run(path, TargetOptions())


def test_without_a_terminal_the_debugger_says_what_works_without(tmp_path: Path) -> None:
    with mlp().write(tmp_path / "toy.trace"):
        pass
    command = [sys.executable, "-m", "tapml_tui", "toy.trace"]
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    assert done.returncode == 2
    assert "needs a terminal" in done.stderr and "tapml-tui check toy.trace" in done.stderr
