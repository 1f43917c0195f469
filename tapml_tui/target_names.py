"""Whether `--target` names something that TVM knows. TVM itself is only loaded for a name that is not a usual one."""

from __future__ import annotations

import json

from tapml_tui.headless.exits import CommandError

KINDS = ("llvm", "c", "cuda", "rocm", "opencl", "vulkan", "metal", "webgpu", "nvptx", "hexagon")
"""The usual kinds; a build of TVM may have others."""
_AS_JSON = """write it as JSON: --target '{"kind": "llvm", "mcpu": "..."}'"""


def refuse_unknown(text: str) -> None:
    """Refuse a target that TVM would refuse, before anything is started for it.

    Raises:
        CommandError: With the kinds that there are.
    """
    kind = _kind(text)
    if kind in KINDS or "/" in kind:  # a tag, as "nvidia/geforce-rtx-4090", is looked up by TVM
        return
    try:
        from tvm.target import Target
    except ImportError:
        return  # said where it is needed
    kinds = set(map(str, Target.list_kinds()))
    if kind not in kinds:
        raise CommandError(
            f"TVM has no target {text!r}",
            why="it has " + ", ".join([*KINDS, *sorted(kinds.difference(KINDS))]),
            remedy="name one of these kinds, a tag of TVM, or JSON",
        )


def _kind(text: str) -> str:
    if not text.lstrip().startswith("{"):
        if len(text.split()) != 1:
            raise CommandError(f"--target {text!r} is no kind of target", remedy=_AS_JSON)
        return text.strip()
    try:
        options = json.loads(text)
    except ValueError as error:
        raise CommandError("--target is no JSON", why=str(error), remedy=_AS_JSON) from None
    kind = options.get("kind", options.get("tag"))
    if not isinstance(kind, str):
        raise CommandError("--target says no kind", remedy=_AS_JSON)
    return kind if "kind" in options else f"/{kind}"
