"""From a worker's reply to what the engine gets, every size checked again on this side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tapml_tui.backends.frames import Header
from tapml_tui.backends.operands import OperandError, spec_bytes
from tapml_tui.backends.operands import array_dtype as dtype_of
from tapml_tui.backends.protocol import Executed, Failed, Stage, TensorSpec


def outputs(header: Header, blocks: Sequence[np.ndarray]) -> tuple[np.ndarray | None, ...]:
    """The arrays of an "executed" frame, with the dtypes and shapes that really came.

    Raises:
        OperandError: If the blocks do not fit what the header says.
    """
    arrays: list[np.ndarray | None] = []
    rest = list(blocks)
    for item in header["outputs"]:
        if item is None:
            arrays.append(None)
            continue
        spec = TensorSpec(item[0], tuple(item[1]))
        if not rest or rest[0].nbytes != spec_bytes(spec):
            raise OperandError("the worker sent an output that does not fit its shape")
        arrays.append(rest.pop(0).view(dtype_of(spec.dtype)).reshape(spec.shape))
    return tuple(arrays)


def executed(request_id: int, header: Header, blocks: Sequence[np.ndarray]) -> Executed | Failed:
    """The answer to a request out of an "executed" frame."""
    try:
        arrays = outputs(header, blocks)
    except OperandError as error:
        return Failed(request_id, unsupported=False, stage=Stage.FETCH, reason=str(error))
    return Executed(
        request_id,
        arrays,
        ms=header["ms"],
        bytes_up=header["bytes_up"],
        bytes_down=header["bytes_down"],
        identity=header["identity"],
    )


def failed(request_id: int, header: Header) -> Failed:
    """The answer to a request out of a "failed" frame."""
    return Failed(
        request_id,
        unsupported=header["unsupported"],
        stage=Stage(header["stage"]),
        reason=header["reason"],
        detail=header["detail"],
        missing=tuple(header["missing"]),
    )
