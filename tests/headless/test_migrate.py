"""`tapml-tui migrate` with two sides in numpy: what is moved, what is said, what a second run spares."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path

import numpy as np
import pytest

from tapml_tui.backends.protocol import Execute
from tapml_tui.headless.exits import CommandError, Exit
from tapml_tui.headless.migrate import MigrateRequest, migrate
from tests.engine.numpy_backend import Arrays, NumpyBackend
from tests.engine.toys import mlp


def wrong(results: Arrays) -> Arrays:
    return (results[0] * np.float32(1.5),)


class Versioned(NumpyBackend):
    fingerprint = "v1"


class Bench:
    """A trace, and what the target makes of one of its nodes."""

    def __init__(self, folder: Path, faulty: int | None = 5) -> None:
        with mlp(3).write(folder / "t.trace") as trace:
            self.path = str(trace.path)
            self.faults = {} if faulty is None else {trace.graphs[0].node_id(faulty): wrong}
        self.folder, self.target = folder, Versioned("target")

    def run(self, version: str = "v1", again: bool = False, kind: type[Versioned] = Versioned) -> tuple[int, dict]:
        self.target = kind("target", faults=self.faults)
        self.target.fingerprint = version
        request = MigrateRequest(self.path, json=str(self.folder / "out.json"), again=again)
        code = migrate(request, lambda: (Versioned("source"), self.target))
        return code, json.loads((self.folder / "out.json").read_text())


def test_what_is_wrong_stays_on_the_source_and_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, document = Bench(tmp_path).run()
    assert code == 0
    assert document["summary"] == {"signatures": 3, "source": 0, "carved-pass": 0, "migrated": 2, "blocked": 1}
    assert [answer["passed"] for answer in document["answers"]] == [True]
    assert document["answers"][0]["outputs"][0]["measures"][0]["holds"]
    out = capsys.readouterr().out
    assert "blocked" in out
    assert "x the floor" in out
    assert (tmp_path / "t.trace.runs" / "ledger.json").exists()


def test_a_second_run_executes_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    _, first = bench.run()
    assert bench.target.executed
    _, second = bench.run()
    assert bench.target.executed == []
    assert second["ledger"] == first["ledger"]
    bench.run(version="v2")
    assert bench.target.executed, "another compiler: all of it is tried again"


def test_what_was_mended_is_moved(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.run()
    bench.faults.clear()
    _, document = bench.run(version="v2")
    assert document["summary"]["migrated"] == 3


class Pressed(Versioned):
    """The user presses ctrl+c when the last signature, whose three carved tests pass, runs in the model."""

    tanh = 0

    def execute(self, request: Execute) -> None:
        self.tanh += request.unit.calls[0].op == "aten.tanh.default"
        if self.tanh == 4 and self.stopped.is_set():
            self.stopped.clear()
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        super().execute(request)


def test_what_was_settled_before_ctrl_c_is_kept_and_where_is_said(tmp_path: Path) -> None:
    bench = Bench(tmp_path, faulty=None)
    with pytest.raises(CommandError) as error:
        bench.run(kind=Pressed)
    assert error.value.code == Exit.INTERRUPTED
    ledger = tmp_path / "t.trace.runs" / "ledger.json"
    assert str(ledger) in str(error.value)
    (entries,) = json.loads(ledger.read_text())["targets"].values()
    assert [entry["status"] for entry in entries] == ["migrated", "migrated", "carved-pass"]
    assert bench.run()[1]["summary"]["migrated"] == 3


def test_nothing_to_hold_on_to_is_said(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    source = Versioned("source", faults={next(iter(bench.faults)): wrong})
    target = Versioned("target")
    code = migrate(MigrateRequest(bench.path), lambda: (source, target))
    assert code == 0, "the source's recorded results count, whatever it computes today"
    with pytest.raises(CommandError):
        migrate(MigrateRequest(bench.path), lambda: (Versioned("source"),))
