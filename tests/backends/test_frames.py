"""Frames: what goes in comes out, and nothing that a worker sends makes us allocate what it likes."""

from __future__ import annotations

import io
import os
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapml_tui.backends import frames, messages

_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
_HEADERS = st.dictionaries(st.text().filter(lambda key: key != "blocks"), _PLAIN, max_size=6)


def _packed(header: dict[str, object], blocks: list[bytes]) -> bytes:
    return b"".join(bytes(piece) for piece in frames.pack(header, [memoryview(block) for block in blocks]))


@given(st.lists(st.tuples(_HEADERS, st.lists(st.binary(max_size=300), max_size=4)), max_size=4))
def test_round_trip(sent: list[tuple[dict[str, object], list[bytes]]]) -> None:
    stream = io.BytesIO(b"".join(_packed(header, blocks) for header, blocks in sent))
    received = []
    while (frame := frames.read(stream)) is not None:
        received.append((frame[0], [block.tobytes() for block in frame[1]]))
    assert received == sent


def test_a_path_that_is_no_utf8_comes_out_as_it_went_in() -> None:
    sent = {"path": os.fsdecode(b"/tmp/\xff\xfe.trace"), "\ud800": ["\udcff"]}
    frame = frames.read(io.BytesIO(_packed(sent, [])))
    assert frame is not None and frame[0] == sent


@given(_HEADERS, st.lists(st.binary(max_size=300), max_size=3), st.data())
def test_cut_anywhere_is_noticed(header: dict[str, object], blocks: list[bytes], data: st.DataObject) -> None:
    whole = _packed(header, blocks)
    cut = data.draw(st.integers(1, len(whole) - 1))
    with pytest.raises(frames.FrameError):
        frames.read(io.BytesIO(whole[:cut]))


@given(st.binary(max_size=200))
def test_garbage_is_no_frame(garbage: bytes) -> None:
    try:
        assert frames.read(io.BytesIO(garbage)) is None
        assert not garbage
    except frames.FrameError:
        pass


@pytest.mark.parametrize("sizes", [(frames.MAX_HEADER + 1, 0), (2, frames.MAX_BLOCKS + 1), (2**32 - 1, 2**63)])
def test_sizes_are_checked_before_anything_is_read(sizes: tuple[int, int]) -> None:
    stream = io.BytesIO(struct.pack("<4sIQ", frames.MAGIC, *sizes))
    with pytest.raises(frames.FrameError, match="more than allowed"):
        frames.read(stream)


@pytest.mark.parametrize("sizes", [[5], [-5, 10], ["5"], [2**70], None, 7])
def test_blocks_that_do_not_add_up(sizes: object) -> None:
    import msgpack

    try:
        body = msgpack.packb({"blocks": sizes})
    except OverflowError:
        return
    stream = io.BytesIO(struct.pack("<4sIQ", frames.MAGIC, len(body), 4) + body + b"1234")
    with pytest.raises(frames.FrameError):
        frames.read(stream)


def test_blocks_are_writable_and_do_not_alias() -> None:
    frame = frames.read(io.BytesIO(_packed({}, [b"abcd", b"", b"ef"])))
    assert frame is not None
    frame[1][0][:] = 0
    assert [block.tobytes() for block in frame[1]] == [b"\0" * 4, b"", b"ef"]
    assert frame[1][0].dtype == np.uint8


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("Traceback (most recent call last):\n  File x\nValueError: bad size", "ValueError: bad size"),
        ("tvm.error.InternalError: Check failed: x\nStack trace:\n  [bt] (0) y", "InternalError: Check failed: x"),
        ("RPCError: Caught from RPC call:\nCannot find f", "RPCError: Caught from RPC call: Cannot find f"),
        ("AssertionError", "AssertionError"),
        ("just words", "just words"),
        ("", "no message"),
        ("x" * 1000, "x" * 299 + "…"),
    ],
)
def test_cause_of_a_message(text: str, cause: str) -> None:
    assert messages.cause(text) == cause


@given(st.text())
def test_cause_is_one_short_line(text: str) -> None:
    assert len(messages.cause(text)) <= messages.MAX_REASON
    assert "\n" not in messages.cause(text)
    assert len(messages.detail(text)) <= messages.MAX_DETAIL + 100
