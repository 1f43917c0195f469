"""The compiler worker: units in, cached libraries out. It never talks to a device.

Started with `python -m`; imported by nobody. Two batches are worked on at a time: converting is
Python, but compiling, emitting objects and linking leave the interpreter to the other.
"""

from __future__ import annotations

import queue
import secrets
import threading
import warnings
from pathlib import Path
from typing import Any

from tapml_tui.backends import messages, user_code
from tapml_tui.backends.child import Channel, limit_resources
from tapml_tui.backends.frames import Header
from tapml_tui.backends.protocol import Stage, Unit

_BUILDERS = 2
_MAX_LIBRARY = 1 << 30


class _Compiler:
    """Batches in, one reply per unit out, then "batch_done"."""

    def __init__(self, channel: Channel, settings: Header) -> None:
        from tapml_tui.backends.compiler import build, lower, passes

        self._build, self._lower, self._passes = build, lower, passes
        self._channel = channel
        self._allow = frozenset(settings["allow"])
        self._suffix = settings["suffix"]
        self._folder = Path(settings["folder"])
        self._target = build.parse_target(settings["target"], settings["host"], settings["limits"])
        self._linker = settings["linker"]
        user_code.refuse_changed(settings["lower"], settings["load"], settings["users"])
        for file in settings["load"]:
            user_code.execute(file, "--load")
        self._user = lower.load_user_lowering(settings["lower"]) if settings["lower"] else None
        self._converting = threading.Lock()  # torch's tracing and TVM's builders were not made for two

    def run(self, batches: queue.SimpleQueue[Header]) -> None:
        """Build batches for ever."""
        while True:
            batch = batches.get()
            units = self._convert(batch)
            self._stage(batch, Stage.COMPILE)
            self._compile(units)
            self._channel.send({"op": "batch_done", "batch": batch["batch"]})

    def describe(self, request: Header) -> None:
        """Send the text of one unit's kernel, as far as it gets."""
        sections: list[tuple[str, str]] = []
        try:
            with self._converting:
                lowered = self._lower.lower_unit(Unit.from_wire(request["unit"]), self._allow, self._user)
                sections += [(f"Not {way}", text) for way, text in lowered.attempts]
                if lowered.identity:
                    sections.append(("Identity", "Nothing is computed: the input is handed on as the output."))
                sections = self._texts(lowered) + sections
        except self._lower.NotLowered as error:
            sections = [("Error", f"{error.reason}\n\n{error.detail}"), *sections]
        except Exception as error:  # whatever TVM raises: it is the answer
            sections = [("Error", "\n\n".join(messages.of_exception(error))), *sections]
        self._channel.send({"op": "text", "signature": request["signature"], "sections": sections})

    def _texts(self, lowered: Any) -> list[tuple[str, str]]:
        try:
            sections: list[tuple[str, str]] = self._build.texts(lowered, self._target)
        except Exception:
            if lowered.otherwise is None:
                raise
            sections = self._build.texts(lowered.otherwise(), self._target)
        return sections

    def _convert(self, batch: Header) -> list[tuple[str, Any]]:
        units = []
        for signature, wire in batch["units"]:
            self._stage(batch, Stage.CONVERT, signature)
            try:
                with self._converting:
                    lowered = self._lower.lower_unit(Unit.from_wire(wire), self._allow, self._user)
            except self._lower.NotLowered as error:
                self._failed(signature, Stage.CONVERT, error.reason, error.detail, unsupported=error.unsupported)
                continue
            except Exception as error:  # an error of this program must not stop the batch
                self._failed(signature, Stage.CONVERT, *messages.of_exception(error))
                continue
            if lowered.identity:
                self._channel.send(
                    {
                        "op": "compiled",
                        "signature": signature,
                        "library": "",
                        "function": "",
                        "identity": lowered.identity,
                    }
                )
            else:
                units.append((signature, lowered))
        return units

    def _compile(self, units: list[tuple[str, Any]]) -> None:
        """Build the units together; if that fails, each half, down to the one that is to blame."""
        if not units:
            return
        library = self._folder / f"{secrets.token_hex(12)}{self._suffix}"
        try:
            named = [(_function(signature), lowered) for signature, lowered in units]
            self._build.build(named, self._target, library, linker=self._linker)
        except Exception as error:  # whatever TVM, LLVM or the linker raise
            if len(units) == 1:
                self._compile_otherwise(*units[0], error)
                return
            middle = len(units) // 2
            self._compile(units[:middle])
            self._compile(units[middle:])
            return
        for signature, _ in units:
            self._channel.send(
                {
                    "op": "compiled",
                    "signature": signature,
                    "library": str(library),
                    "function": _function(signature),
                    "identity": [],
                }
            )

    def _compile_otherwise(self, signature: str, lowered: Any, error: BaseException) -> None:
        """What does not compile as it was converted may do so if it is converted in another way."""
        reason, detail = messages.of_exception(error)
        unsupported = isinstance(error, self._passes.NotOnDevice)
        if unsupported:
            reason = str(error)
        other = None
        if lowered.otherwise is not None:
            try:
                with self._converting:
                    other = lowered.otherwise()
            except self._lower.NotLowered as refusal:
                detail = f"{detail}\n\n{refusal.detail}"
        if other is not None and not other.identity:
            self._compile([(signature, other)])
        else:
            self._failed(signature, Stage.COMPILE, reason, detail, unsupported=unsupported)

    def _stage(self, batch: Header, stage: Stage, signature: str = "") -> None:
        self._channel.send({"op": "stage", "batch": batch["batch"], "stage": stage, "signature": signature})

    def _failed(self, signature: str, stage: Stage, reason: str, detail: str, *, unsupported: bool = False) -> None:
        self._channel.send(
            {
                "op": "not_compiled",
                "signature": signature,
                "stage": stage,
                "reason": reason,
                "detail": detail,
                "unsupported": unsupported,
            }
        )


def _function(signature: str) -> str:
    return f"unit_{signature}"


def main() -> None:
    """Serve until our parent goes away."""
    channel = Channel()
    limit_resources(file_bytes=_MAX_LIBRARY)
    settings, _ = channel.receive()
    warnings.simplefilter("ignore")  # of torch and TVM about themselves: nothing that a user could act on
    import torch

    torch.set_num_threads(1)
    import tvm

    from tapml_tui.backends.compiler import lower

    try:
        compiler = _Compiler(channel, settings)
    except Exception as error:  # a target that there is not, a file of the user's that raises
        reason, detail = messages.of_exception(error)
        channel.send({"op": "unusable", "reason": getattr(error, "reason", reason), "detail": detail})
        return
    lower.warm_up()
    channel.send({"op": "ready", "version": tvm.__version__})
    batches: queue.SimpleQueue[Header] = queue.SimpleQueue()
    for number in range(_BUILDERS):
        threading.Thread(target=compiler.run, args=(batches,), name=f"builder-{number}", daemon=True).start()
    while True:
        header, _ = channel.receive()
        if header["op"] == "compile":
            batches.put(header)
        else:
            compiler.describe(header)


if __name__ == "__main__":
    main()
