"""The source worker: executes units in PyTorch, on whatever inputs it is given.

Started with `python -m`; imported by nobody.
"""

from __future__ import annotations

from tapml_tui.backends import user_code
from tapml_tui.backends.child import Channel, limit_resources
from tapml_tui.backends.executing import Execution, Wanted, serve
from tapml_tui.backends.frames import Header
from tapml_tui.backends.operands import (
    TensorStore,
    operands_from_wire,
    output_limit,
    read_operand,
)
from tapml_tui.backends.protocol import Operand, Stage, Unit

_KEPT_RESULTS = 256 << 20
_KEPT_WEIGHTS = 2 << 30


def main() -> None:
    """Serve until our parent goes away."""
    wanted = Wanted()
    channel = Channel(wanted.urgent)
    limit_resources(file_bytes=64 << 20)
    import torch

    from tapml_tui import operators

    settings, _ = channel.receive()
    try:
        user_code.refuse_changed(None, settings["load"], settings["users"])
        for file in settings["load"]:
            user_code.execute(file, "--load")
    except user_code.NotExecuted as error:
        channel.send({"op": "unusable", "reason": error.reason, "detail": error.detail})
        return
    allow = frozenset(settings["allow"])
    # As many threads as torch takes by itself, as carving did: a sum split otherwise has other last bits.
    channel.send({"op": "ready", "version": torch.__version__})
    store: TensorStore[torch.Tensor] = TensorStore(budget=_KEPT_RESULTS, persistent_budget=_KEPT_WEIGHTS)

    def load(operand: Operand) -> tuple[torch.Tensor, int]:
        array = read_operand(operand)
        return operators.from_numpy(array, operand.spec.dtype), array.nbytes

    def execute(request: Header) -> None:
        execution = Execution(channel, request["ticket"])
        try:
            unit = Unit.from_wire(request["unit"])
            limit = output_limit(unit)
            execution.enter(Stage.UPLOAD, quick=True)
            operands = operands_from_wire(request["operands"])
            tensors, execution.bytes_up = store.fetch(operands, load)
            tensors = [operators.seen_as(t, *operand.spec) for operand, t in zip(operands, tensors, strict=True)]
            execution.enter(Stage.RUN)
            outputs = operators.call_unit(unit, tensors, allow=allow, max_output_bytes=limit)
            execution.enter(Stage.FETCH, quick=True)
            arrays = [operators.to_numpy(output) for output in outputs]
        except Exception as error:  # an operator may raise anything; that is the answer
            execution.send_failure(error)
            return
        for key, array in zip(request["result_keys"], arrays, strict=False):
            # A copy: an output that is a view must not keep all of a large input.
            store.put(key, operators.from_numpy(array.copy()), array.nbytes)
        wanted = [array if array.nbytes <= request["fetch_limit"] else None for array in arrays]
        execution.bytes_down = sum(array.nbytes for array in wanted if array is not None)
        execution.send_outputs(wanted)

    torch.empty(1, device="meta").add(1)  # torch loads its shape inference here, 1 s: not in the first step
    serve(channel, wanted, {"execute": execute})


if __name__ == "__main__":
    main()
