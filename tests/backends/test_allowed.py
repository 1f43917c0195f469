"""What a worker may do: operators that the user allowed, and no more of the machine than it needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tapml_tui.backends.launch import TargetOptions, make_backends
from tapml_tui.backends.protocol import Executed, Failed, TensorSpec, Unit, UnitInput
from tests.backends.driver import Driver, descendants, spec, unary, unit

pytestmark = [pytest.mark.torch]

X = np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)
# Outside of aten and prims, and in every build of torch: rows as bytes, each with its scale and smallest value.
NAME = "quantized.embedding_bag_byte_prepack.default"
PACKED = TensorSpec("uint8", (2, 12))


def pack() -> Unit:
    return unit(NAME, [UnitInput(0)], [spec(X)], [PACKED])


def start(folder: Path, kernels: Path, *allowed: str) -> Driver:
    return Driver(make_backends(TargetOptions(allow_ops=allowed), cache_dir=kernels)[0], folder)


def test_an_operator_of_another_namespace_is_refused_and_the_remedy_named(tmp_path: Path, kernel_folder: Path) -> None:
    driver = start(tmp_path, kernel_folder)
    try:
        reply = driver.run(pack(), X)
        assert isinstance(reply, Failed)
        assert "--allow-ops" in reply.reason + reply.detail
        limits = [Path(f"/proc/{pid}/limits").read_text() for pid in set(descendants("worker_source")) - driver.others]
    finally:
        driver.backend.close()
    assert limits
    for text in limits:
        soft = {line[:26].strip(): line[26:].split()[0] for line in text.splitlines()}
        assert soft["Max core file size"] == "0"
        assert soft["Max address space"] != "unlimited"
        assert int(soft["Max open files"]) <= 4096


@pytest.mark.parametrize("allowed", ["quantized", NAME])
def test_an_operator_that_the_user_allowed_runs(tmp_path: Path, kernel_folder: Path, allowed: str) -> None:
    driver = start(tmp_path, kernel_folder, allowed)
    try:
        reply = driver.run(pack(), X)
        assert isinstance(reply, Executed), reply
        packed = reply.outputs[0]
        assert packed is not None
        scale, smallest = packed[:, 4:].copy().view(np.float32).T[:, :, None]
        np.testing.assert_allclose(packed[:, :4] * scale + smallest, X, atol=1e-2)
        assert isinstance(driver.run(unary("aten.relu.default", X), X), Executed)
    finally:
        driver.backend.close()


MINE = """
import torch
from torch import Tensor

@torch.library.custom_op("tapml_mine::times", mutates_args=())
def times(x: Tensor, by: float) -> Tensor:
    return by * x
"""


def times(by: float) -> Unit:
    return unit("tapml_mine.times.default", [UnitInput(0), by], [spec(X)], [spec(X)])


def loading(folder: Path, kernels: Path, *files: Path) -> Driver:
    options = TargetOptions(allow_ops=("tapml_mine",), load=tuple(map(str, files)))
    return Driver(make_backends(options, cache_dir=kernels)[0], folder)


def test_an_operator_that_a_file_of_the_user_registers_runs(tmp_path: Path, kernel_folder: Path) -> None:
    (file := tmp_path / "mine.py").write_text(MINE)
    driver = loading(tmp_path, kernel_folder, file)
    try:
        (output,) = driver.outputs(times(3.0), X)
        np.testing.assert_array_equal(output, np.float32(3.0) * X)
    finally:
        driver.backend.close()
    driver = loading(tmp_path, kernel_folder)
    try:
        reply = driver.run(times(3.0), X)
        assert isinstance(reply, Failed)
        assert "--load" in reply.reason
    finally:
        driver.backend.close()


def test_a_file_of_the_user_that_raises_is_named_and_read_again(tmp_path: Path, kernel_folder: Path) -> None:
    (file := tmp_path / "mine.py").write_text("raise RuntimeError('not today')")
    driver = loading(tmp_path, kernel_folder, file)
    try:
        before = driver.backend.fingerprint
        reply = driver.run(times(2.0), X)
        assert isinstance(reply, Failed)
        assert reply.reason == "the --load file mine.py: RuntimeError: not today"
        file.write_text(MINE)
        assert driver.backend.reread()
        assert driver.backend.fingerprint != before  # what it gave is no answer any more
        (output,) = driver.outputs(times(2.0), X)
        np.testing.assert_array_equal(output, np.float32(2.0) * X)
    finally:
        driver.backend.close()
