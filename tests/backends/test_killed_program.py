"""A kernel that crashes the server, and one that never returns: `check` names both, whoever was killed meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.backends.driver import runs_on, wait_until
from tests.backends.servers import KEY, free_ports, tvm_program
from tests.engine.toys import Toy
from trace_format.model import InputRef

pytestmark = [pytest.mark.tvm, pytest.mark.torch, pytest.mark.slow]

LOWER = str(Path(__file__).with_name("faulty_kernels.py"))
PATIENCE = 240
CRASHES, HANGS = "first/aten.cosh.default#0", "second/aten.sinh.default#0"
DEADLINES = ("--deadline", "run=600", "--deadline", "connect=20")


def test_both_are_named_after_the_whole_program_was_killed_and_the_rest_is_checked(tmp_path: Path) -> None:
    _write(tmp_path)
    with _check(tmp_path, *DEADLINES) as program:
        # The crash is known at once. The hang is not, before we are killed.
        _kill_while_it_hangs(program, tmp_path)
    with _check(tmp_path, *DEADLINES) as program:
        assert program.wait(PATIENCE) == 1
    _both_are_named(tmp_path)


def test_both_are_named_after_a_stock_server_died_of_them_as_well(tmp_path: Path) -> None:
    """A crash leaves a stock server that only looks alive: it is started again, as is the program."""
    _write(tmp_path)
    (port,) = free_ports(1)
    there = ("--rpc", f"127.0.0.1:{port}", "--key", KEY, *DEADLINES)
    with tvm_program("rpc_server", port, "--key", KEY), _check(tmp_path, *there) as program:
        assert program.wait(PATIENCE) == 3
    with tvm_program("rpc_server", port, "--key", KEY), _check(tmp_path, *there) as program:
        _kill_while_it_hangs(program, tmp_path)
    with tvm_program("rpc_server", port, "--key", KEY), _check(tmp_path, *there) as program:
        assert program.wait(PATIENCE) == 1
    _both_are_named(tmp_path)


def _write(folder: Path) -> None:
    toy = Toy()
    good = toy.call("aten.relu.default", InputRef(0))
    toy.call("aten.cosh.default", good, path="first")
    toy.call("aten.sinh.default", good, path="second")
    toy.call("aten.add.Tensor", good, InputRef(0), path="third")
    toy.write(folder / "toy.trace").close()


def _kill_while_it_hangs(program: subprocess.Popen[bytes], folder: Path) -> None:
    wait_until(lambda: runs_on(folder / "state") == HANGS, "the kernel that never returns runs on", PATIENCE)
    os.kill(program.pid, signal.SIGKILL)


def _both_are_named(folder: Path) -> None:
    nodes = {node["id"]: node for node in json.loads((folder / "report.json").read_text())["nodes"]}
    for killer in (CRASHES, HANGS):
        assert nodes[killer]["status"] == "error"
        assert f"took the device with it at {killer}" in nodes[killer]["reason"]
        assert "R or --relaunch launches it again" in nodes[killer]["reason"]
    assert [node["status"] for id, node in nodes.items() if id not in (CRASHES, HANGS)] == ["passed", "passed"]


@contextmanager
def _check(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state"), "XDG_CACHE_HOME": str(folder / "cache")}
    words = ["check", str(folder / "toy.trace"), "--lower", LOWER, "--json", str(folder / "report.json"), *arguments]
    program = subprocess.Popen([sys.executable, "-m", "tapml_tui", *words], env=environment)
    try:
        yield program
    finally:
        program.kill()
        program.wait()
