"""What is compiled for, and how."""

from __future__ import annotations

from dataclasses import dataclass

from tapml_tui.backends.kernel_cache import versions


@dataclass(frozen=True)
class CompilerSettings:
    """What the compiler needs to know of the target options, and of the device.

    Attributes:
        target: TVM target: a kind, a tag, "KIND -OPTION=VALUE ...", or JSON.
        lower: FILE.py with converters of the user's.
        allow: Operators outside of aten and prims.
        host: TVM target of the code around a GPU's kernels; "" is this machine.
        linker: The command that links a library; "" is cc.
        limits: What the device says of itself.
        load: FILE.pys with operators of the user's.
        users: What these files say (`user_code.UserFiles`).
    """

    target: str
    lower: str | None
    allow: tuple[str, ...]
    host: str = ""
    linker: str = ""
    limits: tuple[tuple[str, int | str], ...] = ()
    load: tuple[str, ...] = ()
    users: str = ""

    @property
    def suffix(self) -> str:
        """Of a library. One for another machine is linked there, unless we were told how to link for it."""
        cross = "mtriple" in self.target + self.host
        return ".tar" if cross and not self.linker else ".so"

    @property
    def context(self) -> str:
        """Everything besides the signature that a kernel depends on."""
        ours = versions(self.target, self.users, self.allow)
        return "\n".join([ours, self.host, self.linker, *(f"{name} {limit}" for name, limit in self.limits)])
