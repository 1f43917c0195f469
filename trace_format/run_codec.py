"""The body of a result record of a run: msgpack, to and from `RunRecord`."""

from __future__ import annotations

from trace_format import limits
from trace_format.model import RunOutput, RunRecord
from trace_format.value_codec import value_bytes
from trace_format.wire import Fields, pack, shortened, strings, text, unpack


def encode_result(r: RunRecord) -> bytes:
    """Body of a result record."""
    outputs = [[text(o.dtype), list(o.shape), o.digest] for o in r.outputs]
    return pack([
        text(r.key), text(r.node), text(r.case), text(r.backend), text(r.kernel), [text(i) for i in r.inputs],
        outputs, text(r.status), text(r.stage), shortened(r.reason), shortened(r.detail), float(r.ms),
    ])  # fmt: skip


def decode_result(body: bytes) -> RunRecord:
    """Inverse of `encode_result`."""
    f = Fields(unpack(body))
    key, node, case, backend, kernel = f.texts(5)
    inputs = tuple(strings(f.list(limits.MAX_ARGUMENT_ITEMS)))
    outputs = tuple(map(_decode_run_output, f.list(limits.MAX_OUTPUTS)))
    status, stage, reason, detail = f.texts(4)
    return RunRecord(key, node, case, backend, kernel, inputs, outputs, status, stage, reason, detail, f.real())


def _decode_run_output(items: object) -> RunOutput:
    f = Fields(items)
    dtype, shape = f.text(), f.integers(limits.MAX_RANK, 0, limits.MAX_ELEMENTS)
    value_bytes(dtype, shape, ())  # refuses what no value can be
    return RunOutput(dtype, shape, f.optional_digest())
