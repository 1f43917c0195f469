"""Every way to a device, with TVM's own programs: models stepped and checked as over our own server.

`make test` takes the demo and one kind of check; `make soak` takes MiniLM and the Llama too, in both modes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import sampling
from tests.backends.driver import wait_until
from tests.backends.servers import KEY, farm, free_ports, kill_group, listens, tvm_program

pytestmark = [pytest.mark.torch, pytest.mark.tvm, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
SLEEPING = ROOT / "tests" / "backends" / "sleeping_kernels.py"
JOBS = 3
PATIENCE = 1200 if sampling.SOAK else 280
MODELS = ("demo", "minilm", "llama") if sampling.SOAK else ("demo",)
MODES = ("isolated", "chained") if sampling.SOAK else (sampling.rng("ways").choice(["isolated", "chained"]),)
STEPS = [*['step verb="into"'] * 3, 'step verb="out"', *['step verb="continue"'] * 6, "run-nodes"]


def _wait_until_closed(ports: list[int]) -> None:
    """What was killed is gone a moment later."""
    wait_until(lambda: not any(map(listens, ports)), "every port is closed")


@contextmanager
def _server() -> Iterator[list[str]]:
    (port,) = free_ports(1)
    with tvm_program("rpc_server", port, "--key", KEY):
        yield ["--rpc", f"127.0.0.1:{port}", "--key", KEY]
    _wait_until_closed([port])


@contextmanager
def _tracker() -> Iterator[list[str]]:
    with farm(JOBS) as made:
        yield made.options
    _wait_until_closed(made.ports)


@contextmanager
def _proxy() -> Iterator[list[str]]:
    (port,) = free_ports(1)
    with tvm_program("rpc_proxy", port), tvm_program("rpc_server", port, "--through-proxy", "--key", KEY):
        yield ["--rpc", f"127.0.0.1:{port}", "--key", KEY]
    _wait_until_closed([port])


WAYS: dict[str, Callable[[], Any]] = {"server": _server, "tracker": _tracker, "proxy": _proxy}


class Bench:
    """Traces in a folder of their own, and the program with a cache and a state of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "XDG_CACHE_HOME": str(folder / "cache"),
            "XDG_STATE_HOME": str(folder / "state"),
            "OMP_NUM_THREADS": "1",
        }
        self._known: dict[tuple[str, ...], Any] = {}
        self._count = 0

    def trace(self, model: str) -> Path:
        path = self.folder / f"{model}.trace"
        if model == "demo" and not path.exists():
            shutil.copy(ROOT / "assets" / "demo.trace", path)
        elif not path.exists():
            self.run("carve", f"{ROOT / 'tests' / 'models.py'}:{model}", "-o", str(path))
        return path

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tapml_tui", *arguments]
        return subprocess.Popen(
            command, cwd=ROOT, env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def run(self, *arguments: str) -> str:
        """Stdout; 0 and 1 are both fine: TVM gets some kernels wrong."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode in (0, 1), err[-4000:]
        return out

    def check(self, model: str, mode: str, *options: str) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(
            self.run("check", str(self.trace(model)), "--mode", mode, "--json", "-", *options)
        )
        assert report["ended"] == "complete"
        return report

    def step(self, model: str, *options: str) -> str:
        script = self.folder / "script"
        script.write_text("\n".join(STEPS))
        self._count += 1
        session = str(self.folder / f"session{self._count}.run")
        return self.run(str(self.trace(model)), "--script", str(script), "--session", session, *options)

    def expected(self, what: str, *arguments: str) -> Any:
        """The same over our own server, done once."""
        known = (what, *arguments)
        if known not in self._known:
            self._known[known] = getattr(self, what)(*arguments)
        return self._known[known]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("ways"))


@pytest.fixture(scope="module", params=list(WAYS))
def way(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    with WAYS[request.param]() as options:
        yield options


def _outcomes(report: dict[str, Any]) -> dict[tuple[str, str], tuple[str, str]]:
    return {(e["case"], e["id"]): (e["status"], e["verdict"]) for e in report["nodes"]}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("model", MODELS)
def test_checked(bench: Bench, way: list[str], model: str, mode: str) -> None:
    expected = bench.expected("check", model, mode)
    assert expected["placement"]["share"] >= 0.95
    jobs = ["--jobs", str(JOBS)] if "--tracker" in way else []
    report = bench.check(model, mode, *way, *jobs)
    assert _outcomes(report) == _outcomes(expected)
    did = [device["entries"] for device in report["targets"][0]["devices"]]
    assert sum(did) == sum(e["status"] != "not_run" or e["ms"] > 0 for e in report["nodes"] if e["device"])
    if jobs and mode == "isolated":
        assert len(did) == JOBS and min(did) > 0


@pytest.mark.parametrize("model", MODELS)
def test_stepped(bench: Bench, way: list[str], model: str) -> None:
    assert bench.step(model, *way) == bench.expected("step", model)


@pytest.mark.skipif(not sampling.SOAK, reason="a part of make soak: a stock server may take minutes to register again")
def test_a_server_and_the_tracker_are_killed(bench: Bench, tmp_path: Path) -> None:
    """The check goes on without them, and gives what it gives undisturbed."""
    options = ["--lower", str(SLEEPING), "--jobs", str(JOBS)]
    expected = _outcomes(bench.check("demo", "isolated", *options[:2]))
    with farm(JOBS) as made:
        servers = dict(zip([f"127.0.0.1:{port}" for port in made.ports[1:]], made.servers, strict=True))
        for victim in ("server", "tracker"):
            lines, report = tmp_path / f"{victim}.jsonl", tmp_path / f"{victim}.json"
            files = ["--json", str(report), "--jsonl", str(lines)]
            process = bench.start("check", str(bench.trace("demo")), *made.options, *options, *files)
            used = _wait_for_a_device(process, lines)
            kill_group(servers.pop(used) if victim == "server" else made.tracker)
            _, err = process.communicate(timeout=PATIENCE)
            assert process.returncode in (0, 1), err[-4000:]
            document = json.loads(report.read_text())
            assert _outcomes(document) == expected
            devices = {one["device"]: one for one in document["targets"][0]["devices"]}
            if victim == "server":
                lost = devices.pop(used)
                assert lost["state"] != "ready" and lost["detail"]
                made.wait_until_free(JOBS - 1)
            assert set(devices) <= set(servers)  # one that came free late may have had nothing to do
    _wait_until_closed(made.ports)


def test_we_are_killed_and_nothing_of_us_is_left(bench: Bench, tmp_path: Path) -> None:
    lines = tmp_path / "lines.jsonl"
    options = ["--lower", str(SLEEPING), "--jobs", str(JOBS), "--jsonl", str(lines)]
    with farm(JOBS) as made:
        process = bench.start("check", str(bench.trace("demo")), *made.options, *options)
        _wait_for_a_device(process, lines)
        workers = _processes(f"TAPML_TUI_PARENT={process.pid}")
        assert len(workers) >= JOBS  # one for each device, at least
        process.kill()
        process.communicate()
        wait_until(lambda: not _processes(f"TAPML_TUI_PARENT={process.pid}"), "every process is gone")
        # A stock Python server whose client dies in the middle of a call may serve nobody any more: that is TVM's.
    _wait_until_closed(made.ports)


def _wait_for_a_device(process: subprocess.Popen[str], lines: Path) -> str:
    """The one that did the first of at least two nodes that were judged."""
    used: list[str] = []

    def some() -> bool:
        assert process.poll() is None, process.communicate()
        whole = lines.read_text().rpartition("\n")[0] if lines.exists() else ""
        used[:] = filter(None, (json.loads(line)["device"] for line in whole.splitlines()))
        return len(used) >= 2

    wait_until(some, "something is judged", 200)
    return used[0]


def _processes(environment: str) -> list[int]:
    """Those that have this in their environment; zombies have none."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if environment.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found
