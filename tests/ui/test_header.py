"""The header: what crosses the line to a device."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tapml_tui.backends.protocol import BackendStatus, State, Traffic
from tapml_tui.ui.header import header
from tests.ui.scripted import ScriptedGraph


def _first_line(width: int, traffic: Traffic | None) -> str:
    status = BackendStatus("target", State.READY, latency_ms=52.0, title="opencl @10.0.0.7:9090", traffic=traffic)
    snapshot = SimpleNamespace(
        backends=(status,),
        case=0,
        cursor=0,
        counts=SimpleNamespace(passed=0, failed=0, error=0, unsupported=0),
        mode=SimpleNamespace(value="chained"),
        recording=None,
    )
    trace = SimpleNamespace(path=SimpleNamespace(name="tiny.trace"), cases=(SimpleNamespace(name="hello"),))
    graph = ScriptedGraph([("layers.0", "aten.relu.default")])
    graph.outline_label = lambda entry: "relu"  # type: ignore[attr-defined]
    engine = SimpleNamespace(snapshot=snapshot, trace=trace, graph=graph, targets=())
    first, second = header(engine, "me@here", width)  # type: ignore[arg-type]
    assert sum(len(text) for text, _ in first) == sum(len(text) for text, _ in second) == width
    return "".join(text for text, _ in first)


def test_bytes_rate_and_queue_are_shown_where_there_is_room() -> None:
    line = _first_line(140, Traffic(90_800_000, 8_000_000, 950_000.0, 3))
    assert "52.0 ms  ↑87 MiB ↓7.6 MiB 928 KiB/s 3 queued  me@here" in line
    assert "↑" not in _first_line(140, None)


@pytest.mark.parametrize(
    ("rate", "queued", "shown"), [(950_000.0, 0, "928 KiB/s"), (0.0, 2, "2 queued"), (0, 0, "52.0 ms")]
)
def test_where_there_is_not_what_moves_takes_the_place_of_the_latency(rate: float, queued: int, shown: str) -> None:
    line = _first_line(80, Traffic(90_800_000, 8_000_000, rate, queued))
    assert f"ready {shown}  me@here" in line
    assert "↑" not in line
