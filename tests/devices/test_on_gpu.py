"""A small model on a real GPU, where there is one. `python -m tests.devices.on_gpu` runs all of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.devices import on_gpu

pytestmark = [pytest.mark.torch, pytest.mark.tvm]

_ASK = "import sys; sys.modules['torch'] = None; import tvm; sys.exit(not tvm.cuda(0).exist)"


@pytest.fixture(scope="module", autouse=True)
def gpu() -> None:
    """Skips where TVM sees no CUDA device."""
    if subprocess.run([sys.executable, "-c", _ASK], capture_output=True, check=False).returncode:
        pytest.skip("no CUDA device")


@pytest.mark.parametrize("mode", on_gpu.MODES)
def test_a_residual_network_passes_on_cuda(mode: str, tmp_path: Path) -> None:
    server = on_gpu.Server()
    try:
        trace = on_gpu.carve("resnet", "float32", tmp_path)
        done = on_gpu.check(trace, mode, "cuda", server.address)
    finally:
        server.close()
    assert done.report["summary"]["nodes"] == len(done.report["nodes"]) > 30
    assert not done.not_passed
