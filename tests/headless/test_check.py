"""`check` without TVM: two sides in numpy, faults on demand. What is written, and how it ends."""

from __future__ import annotations

import json
import re
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from tapml_tui.backends.protocol import BackendStatus, Execute, Failed, Reply, Sink, Stage, State
from tapml_tui.headless.check import Request, check
from tapml_tui.headless.exits import CommandError, Exit
from tapml_tui.headless.report import Report
from tests.engine.numpy_backend import NumpyBackend
from tests.engine.toys import mlp
from tests.headless.test_writers import KEYS
from trace_format.model import NodeRef, Value


class LosingBackend(NumpyBackend):
    """A target whose device goes away for good when it has executed some nodes."""

    def __init__(self, after: int) -> None:
        super().__init__("target")
        self._left = after

    def start(self, sink: Sink) -> None:
        there = self._left > 0
        super().start(lambda reply: sink(reply) if there or getattr(reply, "state", None) is not State.READY else None)

    def _answer(self, request: Execute) -> Reply:
        self._left -= 1
        if self._left >= 0:
            return super()._answer(request)
        if self._left == -1:
            self._sink(BackendStatus(self.id, State.FAILED, "the link is down"))
        return Failed(request.id, False, Stage.CONNECT, "the link is down", device_lost=True)


class Case:
    """One trace, and a check of it."""

    def __init__(self, folder: Path, cases: int = 2, **more: object) -> None:
        self.folder = folder
        self.path = folder / "toy.trace"
        with mlp(cases=cases, **more).write(self.path) as trace:
            graph = trace.graphs[0]
            self.ids = [graph.node_id(i) for i in range(len(graph))]
        self.target = NumpyBackend("target")

    def check(self, **more: Any) -> int:
        """The exit code of a check on `target`, which can be started once."""
        request = Request(str(self.path), json=str(self.folder / "report.json"), **more)
        return check(request, lambda: (NumpyBackend("source"), self.target))

    @property
    def report(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.folder / "report.json").read_text())
        return document

    def with_fault(self, number: int, fault: Callable[..., Any]) -> str:
        self.target = NumpyBackend("target", faults={self.ids[number]: fault})
        return self.ids[number]


@pytest.fixture
def toy(tmp_path: Path) -> Case:
    return Case(tmp_path)


@pytest.mark.parametrize("mode", ["isolated", "chained"])
def test_every_node_of_every_case_is_accounted_for(mode: str, toy: Case) -> None:
    assert toy.check(mode=mode) == Exit.OK
    report = toy.report
    assert (report["schema"], report["mode"], report["ended"]) == (1, mode, "complete")
    assert report["targets"] == [{"backend": "target", "target": "llvm", "title": "numpy target", "devices": []}]
    entries = report["nodes"]
    assert [(e["case"], e["id"]) for e in entries] == [(f"case{k}", node) for k in range(2) for node in toy.ids]
    assert all(set(e) >= KEYS for e in entries)
    assert {e["status"] for e in entries} <= {"passed", "not_run"}
    assert all(e["reason"] for e in entries if e["status"] != "passed")
    summary = report["summary"]
    assert summary["nodes"] == len(entries) == sum(summary.values()) - summary["nodes"]
    assert report["placement"]["share"] == 1.0
    if mode == "chained":
        assert [end["case"] for end in report["end_to_end"]] == ["case0", "case1"]
        assert all(end["cosine"] > 0.999999 for end in report["end_to_end"])
    else:
        assert report["end_to_end"] == []


def test_a_wrong_kernel_is_found_and_only_it_is_local(toy: Case) -> None:
    guilty = toy.with_fault(2, lambda outputs: tuple(output * np.float32(1.5) for output in outputs))
    assert toy.check(mode="chained") == Exit.FAILED
    entries = toy.report["nodes"]
    assert {e["id"] for e in entries if e["verdict"] == "LOCAL"} == {guilty}
    assert all(e["isolated"]["passed"] is False for e in entries if e["verdict"] == "LOCAL")
    assert {e["verdict"] for e in entries if e["status"] == "failed"} > {"LOCAL"}


def test_isolated_only_the_wrong_kernel_fails(toy: Case) -> None:
    guilty = toy.with_fault(2, lambda outputs: tuple(output * np.float32(1.5) for output in outputs))
    assert toy.check(mode="isolated") == Exit.FAILED
    assert {e["id"] for e in toy.report["nodes"] if e["status"] == "failed"} == {guilty}


def test_what_is_unsupported_fails_only_a_strict_check(toy: Case) -> None:
    from tests.engine.numpy_backend import Unsupported

    def refuse(_: object) -> None:
        raise Unsupported("no such thing")

    node = toy.with_fault(1, refuse)
    assert toy.check() == Exit.OK
    assert {e["status"] for e in toy.report["nodes"] if e["id"] == node} == {"unsupported"}
    toy.with_fault(1, refuse)
    assert toy.check(strict=True) == Exit.FAILED


def test_a_glob_runs_only_what_it_matches(toy: Case) -> None:
    wanted = toy.ids[1]
    assert toy.check(nodes=wanted) == Exit.OK
    assert set(toy.target.executed) == {wanted}
    for entry in toy.report["nodes"]:
        assert (entry["status"] == "passed") == (entry["id"] == wanted)
        assert entry["status"] == "passed" or "--nodes" in entry["reason"]


def test_nothing_compared_is_never_a_pass(tmp_path: Path) -> None:
    def unsure(_: NodeRef, value: Value) -> Value:
        return value._replace(reproducible=False)

    toy = Case(tmp_path, edit=unsure)
    assert toy.check() == Exit.FAILED
    assert toy.report["summary"]["not_run"] == toy.report["summary"]["nodes"]


def test_a_glob_that_matches_nothing_is_a_mistake_that_names_what_there_is(toy: Case) -> None:
    with pytest.raises(CommandError, match="matches no operator") as refused:
        toy.check(nodes="*softmax*")
    assert refused.value.code == Exit.USAGE
    assert toy.ids[0] in str(refused.value)
    with pytest.raises(CommandError) as refused:
        toy.check(nodes="tanh")  # not as a whole: those that are near come first
    assert f"called {toy.ids[2]}" in str(refused.value)
    assert not (toy.folder / "report.json").exists()


def test_lines_and_junit_say_the_same_as_the_report(toy: Case) -> None:
    toy.with_fault(1, lambda outputs: tuple(-output for output in outputs))
    lines, junit = toy.folder / "lines.jsonl", toy.folder / "report.xml"
    toy.check(mode="chained", jsonl=str(lines), junit=str(junit))
    entries = [json.loads(line) for line in lines.read_text().splitlines()]

    def of(listed: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
        return sorted((e["case"], e["id"], e["status"]) for e in listed)

    assert of(entries) == of(toy.report["nodes"])
    root = ElementTree.parse(junit).getroot()
    assert root.get("tests") == str(len(entries))
    assert root.get("failures") == str(toy.report["summary"]["failed"])


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_lost_device_leaves_a_report(after: int, toy: Case) -> None:
    toy.target = LosingBackend(after)
    assert toy.check(mode="chained") == Exit.DEVICE
    report = toy.report
    assert report["ended"] == ("device lost" if after else "no device")
    assert "the link is down" in report["message"]
    assert len(report["nodes"]) == 2 * len(toy.ids)
    assert report["summary"]["error"] == 0
    assert report["summary"]["passed"] <= after


def _half_as_much_again(outputs: Any) -> Any:
    return tuple(output * np.float32(1.5) for output in outputs)


@pytest.mark.parametrize("mode", ["isolated", "chained"])
def test_several_targets_beside_each_other(mode: str, toy: Case, capsys: pytest.CaptureFixture[str]) -> None:
    """An entry per node, case and target; who is wrong on all is our kernel, who is wrong on one is its driver."""
    everywhere, there = toy.ids[2], toy.ids[4]
    here = {everywhere: _half_as_much_again}
    targets = [
        NumpyBackend("target:board", faults=here),
        NumpyBackend("target:phone", faults={**here, there: _half_as_much_again}),
    ]
    ids = {target.id: "llvm" for target in targets}
    junit = toy.folder / "report.xml"
    request = Request(str(toy.path), targets=ids, mode=mode, json=str(toy.folder / "report.json"), junit=str(junit))
    assert check(request, lambda: (NumpyBackend("source"), *targets)) == Exit.FAILED
    report = toy.report
    keys = {(e["backend"], e["case"], e["id"]) for e in report["nodes"]}
    assert keys == {(backend, f"case{k}", node) for backend in ids for k in range(2) for node in toy.ids}
    assert len(report["nodes"]) == report["summary"]["nodes"] == len(keys)
    assert [target["backend"] for target in report["targets"]] == list(ids)
    wrong = {
        (e["backend"], e["id"])
        for e in report["nodes"]
        if (e["verdict"] or "LOCAL", e["status"]) == ("LOCAL", "failed")
    }
    assert wrong == {("target:board", everywhere), ("target:phone", everywhere), ("target:phone", there)}
    said = {(one["id"], tuple(one["wrong_on"]), tuple(one["right_on"])) for one in report["conclusions"]}
    assert said == {(everywhere, ("board", "phone"), ()), (there, ("phone",), ("board",))}
    sentences = {one["id"]: one["sentence"] for one in report["conclusions"]}
    assert sentences[everywhere].startswith("wrong on all")
    text = capsys.readouterr().out
    assert "targets beside each other" in text and sentences[everywhere] in text
    suites = [suite.get("name") for suite in ElementTree.parse(junit).getroot().iter("testsuite")]
    assert len(suites) == 4 and any("on phone" in (name or "") for name in suites)
    if mode == "chained":
        ends = {(end["backend"], end["case"]) for end in report["end_to_end"]}
        assert ends == {(backend, f"case{k}") for backend in ids for k in range(2)}


def test_one_of_several_targets_is_lost_and_the_others_are_checked(toy: Case) -> None:
    gone = LosingBackend(3)
    gone.id = "target:phone"
    other = NumpyBackend("target:board")
    request = Request(str(toy.path), targets={gone.id: "llvm", other.id: "llvm"}, json=str(toy.folder / "report.json"))
    assert check(request, lambda: (NumpyBackend("source"), gone, other)) == Exit.DEVICE
    assert toy.report["ended"] == "device lost" and "phone: the link is down" in toy.report["message"]
    assert {e["status"] for e in toy.report["nodes"] if e["backend"] == other.id} == {"passed"}
    assert sum(e["status"] == "passed" for e in toy.report["nodes"] if e["backend"] == gone.id) <= 3


@pytest.mark.parametrize("presses", [1, 2, 3])
def test_an_interrupted_check_leaves_a_report(presses: int, toy: Case) -> None:
    ready = threading.Event()

    def hang(outputs: Any) -> Any:
        toy.target.stopped.clear()
        ready.set()
        return outputs

    toy.with_fault(2, hang)
    lines = toy.folder / "lines.jsonl"

    def press() -> None:
        ready.wait(30)
        for _ in range(presses):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            time.sleep(0.01)

    presser = threading.Thread(target=press)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the last press may come when the check has ended
    try:
        presser.start()
        assert toy.check(jsonl=str(lines)) == Exit.INTERRUPTED
        presser.join()
    finally:
        signal.signal(signal.SIGINT, before)
    report = toy.report
    assert report["ended"] == "interrupted"
    assert len(report["nodes"]) == 2 * len(toy.ids) == len(lines.read_text().splitlines())
    assert {e["status"] for e in report["nodes"]} == {"passed", "not_run"}


@pytest.mark.parametrize("impatient", [signal.SIGINT, signal.SIGTERM])
def test_pressing_again_while_the_report_is_written_changes_nothing(
    impatient: signal.Signals, toy: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = Report.document

    def interrupted(report: Report) -> dict[str, Any]:
        signal.raise_signal(impatient)
        return document(report)

    monkeypatch.setattr(Report, "document", interrupted)
    before = signal.getsignal(impatient)
    assert toy.check() == Exit.OK
    assert toy.report["ended"] == "complete"
    assert signal.getsignal(impatient) is before


def test_a_report_takes_the_place_of_the_old_one_as_a_whole(toy: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    old = toy.folder / "report.json"
    old.write_text("old")
    monkeypatch.setattr(Report, "document", lambda report: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        toy.check()
    assert old.read_text() == "old"
    assert [path.name for path in toy.folder.glob(".*")] == []


def test_a_fault_of_the_engine_ends_the_check(toy: Case) -> None:
    toy.check()
    assert toy.check() == Exit.FAILED  # a backend that cannot be started again, in the engine's thread
    assert "a fault of its own" in toy.report["message"]
    assert "traceback is in" in toy.report["message"]


def test_what_kind_of_wrong_it_is_is_said_first(toy: Case, capsys: pytest.CaptureFixture[str]) -> None:
    guilty = toy.with_fault(2, lambda outputs: tuple(output * np.float32(1.5) for output in outputs))
    junit = toy.folder / "report.xml"
    toy.check(mode="chained", junit=str(junit))
    (entry,) = [e for e in toy.report["nodes"] if e["verdict"] == "LOCAL" and e["case"] == "case0"]
    assert entry["diagnosis"]["kind"] == "scale"
    assert "1.5" in entry["diagnosis"]["sentence"]
    assert {e["id"] for e in toy.report["nodes"] if e["diagnosis"]} == {guilty}
    lines = capsys.readouterr().out.splitlines()
    at = next(number for number, line in enumerate(lines) if guilty in line)
    assert lines[at + 1].strip().lower() == entry["diagnosis"]["sentence"].lower()
    assert "x the floor" in lines[at + 2]
    messages = [failure.get("message") or "" for failure in ElementTree.parse(junit).getroot().iter("failure")]
    assert any(message.startswith(entry["diagnosis"]["sentence"]) for message in messages)


MINE = """
[[tolerance]]
operator = "aten.tanh.*"
atol = 9.0
reason = "TICKET-7"
"""


@pytest.mark.parametrize("where", ["toy.trace.toml", "tapml-tui.toml", "elsewhere.toml"])
def test_tolerances_of_the_user_are_used_and_told(where: str, toy: Case, capsys: pytest.CaptureFixture[str]) -> None:
    file = toy.folder / where
    file.write_text(MINE)
    guilty = toy.with_fault(2, lambda outputs: tuple(output * np.float32(1.5) for output in outputs))
    named = str(file) if where == "elsewhere.toml" else None
    assert toy.check(tolerances=named, junit=str(toy.folder / "report.xml")) == Exit.OK
    entries = {e["id"]: e for e in toy.report["nodes"] if e["case"] == "case0"}
    assert entries[guilty]["status"] == "passed"
    assert "TICKET-7" in entries[guilty]["override"] and where in entries[guilty]["override"]
    assert {e["id"] for e in entries.values() if e["override"]} == {i for i in entries if "tanh" in i}
    applied = toy.report["tolerances"]
    assert applied == {"file": str(file), "applied": {entries[guilty]["override"]: 6}}
    out, err = capsys.readouterr()
    assert "6 results judged by" in out and "TICKET-7" in out
    assert ("beside the trace" in err) == (named is None)
    root = ElementTree.parse(toy.folder / "report.xml").getroot()
    assert len([one for one in root.iter("property") if "TICKET-7" in (one.get("value") or "")]) == 6


def test_tolerances_that_cannot_be_understood_end_the_check_before_it_begins(toy: Case) -> None:
    (toy.folder / "mine.toml").write_text("[[tolerance]]\ntime = 4")
    with pytest.raises(CommandError, match=r"mine\.toml, line 1: .*time"):
        toy.check(tolerances=str(toy.folder / "mine.toml"))
    with pytest.raises(CommandError, match="cannot be read"):
        toy.check(tolerances=str(toy.folder / "none.toml"))
    assert not toy.target.executed


def test_two_reports_cannot_go_to_one_file(toy: Case) -> None:
    with pytest.raises(CommandError, match="same file"):
        toy.check(jsonl=str(toy.folder / "report.json"))


def test_the_summary_names_the_worst_first(toy: Case, capsys: pytest.CaptureFixture[str]) -> None:
    guilty = toy.with_fault(2, lambda outputs: tuple(output * np.float32(1.5) for output in outputs))
    toy.check(mode="chained")
    text = capsys.readouterr().out
    assert "100.0% of the compute nodes ran on the target" in text
    listed = text[text.index("failed, worst first") :].splitlines()
    assert guilty in listed[1]
    assert "LOCAL" in listed[1]
    assert "x the floor" in listed[3]
    assert "WRONG as tensor: x floor" in text


def test_blame_names_who_breaks_the_answer(toy: Case, capsys: pytest.CaptureFixture[str]) -> None:
    guilty = toy.with_fault(2, lambda outputs: tuple(output * np.float32(1.5) for output in outputs))
    toy.check(mode="chained", blame=True)
    for blame in toy.report["blame"]:
        assert blame["causes"] == [[guilty]]
        assert not blame["alone"][0]["passed"]
        assert blame["everything_but"]["passed"]
        assert blame["runs"] <= blame["linear_scan"]
    assert [end["passed"] for end in toy.report["end_to_end"]] == [False, False]
    assert f"{guilty}: this alone on the target, the answer is wrong" in capsys.readouterr().out


def test_where_the_answer_is_right_there_is_nothing_to_blame(toy: Case) -> None:
    toy.check(mode="chained", blame=True)
    assert all(blame["sentence"].startswith("nothing to blame") for blame in toy.report["blame"])
    assert all(end["passed"] and end["kind"] == "tensor" for end in toy.report["end_to_end"])


def test_a_run_is_kept_and_two_equal_runs_are_equal(toy: Case, capsys: pytest.CaptureFixture[str]) -> None:
    from tapml_tui.headless.diff import diff

    runs = [str(toy.folder / name) for name in ("a.run", "b.run", "c.run")]
    for run in runs[:2]:
        toy.target = NumpyBackend("target")
        assert toy.check(mode="chained", run=run) == Exit.OK
    capsys.readouterr()
    assert diff(runs[0], runs[1], as_json=True) == Exit.OK
    assert json.loads(capsys.readouterr().out)["summary"]["equal"] > 0
    guilty = toy.with_fault(2, lambda outputs: tuple(output + np.float32(1) for output in outputs))
    toy.check(mode="chained", run=runs[2])
    capsys.readouterr()
    assert diff(runs[0], runs[2], as_json=True) == Exit.FAILED
    changed = [e for e in json.loads(capsys.readouterr().out)["nodes"] if e["backend"] == "target"]
    assert {e["node"] for e in changed if e["change"] == "values"} == {guilty}
    assert all(e["max_abs"] > 0.5 for e in changed if e["change"] == "values")
    assert "inherited" in {e["change"] for e in changed}
    assert not (toy.folder / "toy.trace.runs").exists()


def test_a_run_is_no_trace_but_info_knows_it(toy: Case, capsys: pytest.CaptureFixture[str]) -> None:
    from tapml_tui.headless.info import info

    run = str(toy.folder / "a.run")
    toy.check(run=run)
    capsys.readouterr()
    assert info(run, as_json=True) == Exit.OK
    facts = json.loads(capsys.readouterr().out)
    assert facts["kind"] == "run"
    assert facts["results"] == {"target ok": 2 * len(toy.ids)}
    assert info(run, as_json=False) == Exit.OK
    assert "a run of the trace" in capsys.readouterr().out
    with pytest.raises(CommandError, match="no trace"):
        check(Request(run), lambda: (NumpyBackend("source"), NumpyBackend("target")))


def test_runs_of_two_traces_are_not_compared(tmp_path: Path) -> None:
    from tapml_tui.headless.diff import diff

    runs = []
    for cases in (1, 2):
        folder = tmp_path / str(cases)
        folder.mkdir()
        toy = Case(folder, cases)
        toy.check(run=str(folder / "x.run"))
        runs.append(str(folder / "x.run"))
    with pytest.raises(CommandError, match="different traces"):
        diff(*runs, as_json=False)


def test_a_fault_at_a_node_names_its_traceback(toy: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> float:
        raise IndexError("no such part")

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("tapml_tui.engine.comparing.arithmetic_of", broken)
    assert toy.check() == Exit.FAILED
    log = re.search(r"traceback is in (\S+)", toy.report["message"])
    assert log is not None
    assert "no such part" in Path(log[1]).read_text()
