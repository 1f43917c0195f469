"""Whether `--target` names something that TVM knows. TVM itself is only loaded for a name that is not a usual one."""

from __future__ import annotations

from tapml_tui.backends.address import parse_target_text
from tapml_tui.headless.exits import CommandError

KINDS = ("llvm", "c", "cuda", "rocm", "opencl", "vulkan", "metal", "webgpu", "nvptx", "hexagon")
"""The usual kinds; a build of TVM may have others."""
_AS_JSON = """write 'KIND -OPTION=VALUE ...', or JSON: {"kind": "llvm", "mcpu": "..."}"""


def refuse_unknown(text: str, *, option: str = "--target") -> None:
    """Refuse a target that TVM would refuse, before anything is started for it; `option` says where it was given.

    Raises:
        CommandError: With the kinds that there are.
    """
    kind = _kind(text, option)
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


def _kind(text: str, option: str) -> str:
    try:
        parsed = parse_target_text(text)
    except ValueError as error:
        raise CommandError(f"{option} {text!r} is no target", why=str(error), remedy=_AS_JSON) from None
    if isinstance(parsed, str):
        return parsed
    kind = parsed.get("kind", parsed.get("tag"))
    if not isinstance(kind, str):
        raise CommandError(f"{option} says no kind", remedy=_AS_JSON)
    return kind if "kind" in parsed else f"/{kind}"
