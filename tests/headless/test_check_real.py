"""Real models, carved, on the real LLVM target behind a real RPC server. What may fail is what TVM 0.27 gets wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.torch, pytest.mark.tvm]

MODELS = Path(__file__).parents[1] / "models.py"

# Operators that TVM 0.27 gets wrong or does not convert: faults that the tool is there to find.
CUMSUM_AND_ONES = ("aten.cumsum.default", "aten.new_ones.default")
MIXTRAL = (*CUMSUM_AND_ONES, "aten.histc.default", "*grouped_mm*", "aten.empty_like.default")

Carved = Callable[[str], Path]


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A kernel cache of our own: what is checked is compiled."""
    return {**os.environ, "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def carved(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Carved:
    """The trace of a model of `tests/models.py`, carved once."""
    folder, traces = tmp_path_factory.mktemp("traces"), {}

    def carve(name: str) -> Path:
        if name not in traces:
            path = folder / f"{name}.trace"
            run(["carve", f"{MODELS}:{name}", "-o", path], environment, expect=0)
            traces[name] = path
        return traces[name]

    return carve


def run(arguments: list[Any], environment: dict[str, str], *, expect: int) -> str:
    """Stdout of `tapml-tui ARGUMENTS`, which must end with this code."""
    command = [sys.executable, "-m", "tapml_tui", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=280, check=False)
    assert done.returncode == expect, f"exit code {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def check(trace: Path, mode: str, environment: dict[str, str], *, expect: int) -> dict[str, Any]:
    """The report of a check; it accounts for every node of every case."""
    report: dict[str, Any] = json.loads(
        run(["check", trace, "--mode", mode, "--json", "-"], environment, expect=expect)
    )
    facts = json.loads(run(["info", trace, "--json"], environment, expect=0))
    nodes = {graph["name"]: graph["nodes"] for graph in facts["graphs"]}
    assert report["summary"]["nodes"] == len(report["nodes"]) == sum(nodes[case["graph"]] for case in facts["cases"])
    assert len({(entry["case"], entry["id"]) for entry in report["nodes"]}) == len(report["nodes"])
    assert all(entry["reason"] for entry in report["nodes"] if entry["status"] != "passed")
    return report


def allow(report: dict[str, Any], *operators: str) -> None:
    """Every node is passed, or has nothing to compare, but for these operators."""
    bad = [
        f"{entry['status']} {entry['id']} ({entry['case']}): {entry['reason']}"
        for entry in report["nodes"]
        if entry["status"] not in ("passed", "not_run") and not any(fnmatchcase(entry["op"], op) for op in operators)
    ]
    assert not bad, "\n".join(bad)
    unexpected = [
        entry["reason"]
        for entry in report["nodes"]
        if entry["status"] == "not_run" and ("not reached" in entry["reason"] or entry["stage"])
    ]
    assert not unexpected


@pytest.mark.parametrize("mode", ["isolated", "chained"])
def test_resnet_is_healthy(mode: str, carved: Carved, environment: dict[str, str]) -> None:
    report = check(carved("resnet"), mode, environment, expect=0)
    allow(report)
    assert report["placement"]["share"] == 1.0
    assert all(end["cosine"] > 0.9999 for end in report["end_to_end"])


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["isolated", "chained"])
def test_llama(mode: str, carved: Carved, environment: dict[str, str]) -> None:
    report = check(carved("llama"), mode, environment, expect=1)
    allow(report, *CUMSUM_AND_ONES)
    faults = {
        entry["op"]: (entry["status"], entry["reason"]) for entry in report["nodes"] if entry["status"] != "passed"
    }
    assert faults["aten.cumsum.default"][0] == "error"
    assert faults["aten.new_ones.default"][0] == "failed"
    assert "dtype" in faults["aten.new_ones.default"][1]
    assert report["placement"]["share"] >= 0.95
    assert all(end["cosine"] > 0.9999 for end in report["end_to_end"])


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["isolated", "chained"])
def test_minilm_with_its_real_weights(mode: str, carved: Carved, environment: dict[str, str]) -> None:
    report = check(carved("minilm"), mode, environment, expect=1)
    allow(report, *CUMSUM_AND_ONES)
    assert report["placement"]["share"] >= 0.95
    if mode == "chained":
        assert len(report["end_to_end"]) == 3
        assert all(end["cosine"] >= 0.9999 for end in report["end_to_end"])


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["isolated", "chained"])
def test_mixtral_goes_on_past_its_faults(mode: str, carved: Carved, environment: dict[str, str]) -> None:
    report = check(carved("mixtral"), mode, environment, expect=1)
    allow(report, *MIXTRAL)
    assert {entry["status"] for entry in report["nodes"] if entry["op"] == "aten.histc.default"} == {"unsupported"}
    assert report["placement"]["share"] >= 0.95
    assert all(end["cosine"] > 0.9999 for end in report["end_to_end"])


def test_a_device_that_is_not_there_leaves_a_report(
    carved: Carved, environment: dict[str, str], tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    run(["check", carved("tiny"), "--rpc", "127.0.0.1:9", "--json", report], environment, expect=3)
    document = json.loads(report.read_text())
    assert document["ended"] == "no device"
    assert {entry["status"] for entry in document["nodes"]} == {"not_run"}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_check_leaves_a_report_and_no_process(
    how: signal.Signals, carved: Carved, environment: dict[str, str], tmp_path: Path
) -> None:
    trace, lines, report = carved("resnet"), tmp_path / "lines.jsonl", tmp_path / "report.json"
    command = ["check", str(trace), "--json", str(report), "--jsonl", str(lines)]
    process = subprocess.Popen([sys.executable, "-m", "tapml_tui", *command], env=environment, stdout=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not (lines.exists() and lines.read_text()):
            assert process.poll() is None
            time.sleep(0.05)
        children = _descendants(process.pid)
        assert children
        process.send_signal(how)
        process.wait(60)
    finally:
        process.kill()
        process.communicate()
    document = json.loads(report.read_text())
    # The last node may have been judged before the signal came.
    assert (process.returncode, document["ended"]) in ((130, "interrupted"), (0, "complete"))
    assert document["summary"]["nodes"] == len(lines.read_text().splitlines())
    assert not [pid for pid in children if _alive(pid)]


def test_doctor_finds_every_link_whole(environment: dict[str, str]) -> None:
    document = json.loads(run(["doctor", "--json"], environment, expect=0))
    assert [link["link"] for link in document["links"]][-3:] == ["device", "compiler", "first kernel"]
    assert all(link["ok"] for link in document["links"])


def _descendants(pid: int) -> list[int]:
    # Linux lists children by the thread that started them.
    listed = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    children = [int(child) for thread in listed for child in thread]
    return children + [grandchild for child in children for grandchild in _descendants(child)]


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
