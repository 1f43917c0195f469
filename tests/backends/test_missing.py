"""Without torch or tvm: said with the command that installs them; everything is answered."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from tapml_tui.backends.launch import TargetOptions, make_backends, probe
from tapml_tui.backends.protocol import Failed, Stage, State
from tests.backends.driver import Driver, descendants, unary

X = np.ones(3, np.float32)


@pytest.mark.parametrize(("index", "package"), [(0, "torch"), (1, "tvm")])
def test_backend_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: int, package: str
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else found(name))
    driver = Driver(make_backends(TargetOptions(), cache_dir=tmp_path / "kernels")[index], tmp_path)
    try:
        assert "pip install" in driver.state(State.MISSING).detail
        driver.backend.prepare([unary("aten.relu.default", X)])
        reply = driver.run(unary("aten.relu.default", X), X)
        assert isinstance(reply, Failed)
        assert (reply.stage, "pip install" in reply.reason) == (Stage.CONNECT, True)
        driver.backend.restart()
        driver.backend.interrupt()
        assert isinstance(driver.run(unary("aten.relu.default", X), X), Failed)
        assert set(descendants()) <= driver.others
    finally:
        driver.backend.close()
    assert driver.program_errors() == []


def test_probe_stops_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tvm" else found(name))
    links = list(probe(TargetOptions(), cache_dir=tmp_path))
    assert [link.link for link in links] == ["torch", "apache-tvm", "cloudpickle"]
    assert "pip install" in links[1].remedy
