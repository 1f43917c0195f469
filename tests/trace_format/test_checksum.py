"""Checksums are those of zlib, whoever computes them."""

import subprocess
import sys
import zlib

from hypothesis import given
from hypothesis import strategies as st

from tests.trace_format.make_golden import GOLDEN
from trace_format.checksum import crc32


@given(st.binary(max_size=4096), st.integers(0, 0xFFFFFFFF))
def test_checksums_are_those_of_zlib(data: bytes, seed: int) -> None:
    assert crc32(data, seed) == zlib.crc32(data, seed)
    assert crc32(memoryview(data)) == zlib.crc32(data)


def test_traces_are_read_without_isal() -> None:
    script = (
        "import sys; sys.modules['isal'] = None\n"
        "from trace_format import checksum, verify\n"
        "print(checksum.crc32.__module__, verify(sys.argv[1]))"
    )
    command = [sys.executable, "-c", script, str(GOLDEN / "v1.1.trace")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "zlib []\n"
