"""A file to be forced is somebody's: whatever is in it, it is refused in a sentence, at once and in little memory."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from tapml_tui.backends.protocol import TensorSpec
from tapml_tui.engine.forcing import CannotForce, read_forced

SPEC = TensorSpec("float32", (4, 64))
PLAIN = "{'descr':'<f4','fortran_order':False,'shape':%s}\n"


def npy(header: str, data: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    size = struct.pack("<H" if version == (1, 0) else "<I", len(header))
    return b"\x93NUMPY" + bytes(version) + size + header.encode("latin1") + data


@pytest.mark.parametrize(
    "content",
    [
        npy(PLAIN % f"({1 << 70},)"),
        npy(PLAIN % f"(0x{'f' * 8000},)"),
        npy(PLAIN % f"({1 << 40},)"),
        npy(PLAIN % "(-4,-64)", bytes(1024)),
        npy(PLAIN % "(True,64)", bytes(1024)),
        npy(PLAIN % "(4,64)", bytes(10)),
        npy("-" * 9000 + "1"),
        npy("(" * 5000 + ")" * 5000),
        npy("{[]:1}"),
        npy("{1:2,'a':3}"),
        npy("{'descr': 'L  \n  (((\n"),
        npy("{'descr':'|O','fortran_order':False,'shape':(4,64)}\n", bytes(4096)),
        npy("{'descr':[('a',)],'fortran_order':False,'shape':(4,64)}\n", bytes(1024)),
        npy(PLAIN % "(4,64)", bytes(1024), version=(9, 9)),
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b"x" * 100,
        b"\x80\x04cos\nsystem\n(S'false'\ntR.",
        b"PK\3\4xxxx",
        b"",
    ],
)
def test_a_broken_file_is_refused_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "v.npy"
    file.write_bytes(content)
    with pytest.raises(CannotForce) as raised:
        read_forced(str(file), SPEC)
    assert str(raised.value).startswith(str(file)) and len(str(raised.value)) < 600


def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.npy"
    os.mkfifo(pipe)
    for name in (str(pipe), "/dev/zero", str(tmp_path), "~nosuchuser/x", "a\0b", str(tmp_path / "none")):
        with pytest.raises(CannotForce, match="cannot be read"):
            read_forced(name, SPEC)


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
@pytest.mark.parametrize("shape", [(3, 5), (), (0, 4)])
def test_what_numpy_saved_is_read(tmp_path: Path, dtype: type, shape: tuple[int, ...]) -> None:
    array = np.asarray(np.random.default_rng(1).normal(size=shape)).astype(dtype)
    for one in (array, np.asarray(array, order="F")):
        np.save(tmp_path / "v.npy", one)
        read = read_forced(str(tmp_path / "v.npy"), TensorSpec(np.dtype(dtype).name, shape))
        assert read.dtype == array.dtype and read.shape == shape
        np.testing.assert_array_equal(read, array)
