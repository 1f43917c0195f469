"""From Relax functions to libraries: many units are merged into one module, compiled and linked once."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import tvm
from tvm import relax

from tapml_tui.backends.address import parse_target_text
from tapml_tui.backends.compiler.lower import Lowered
from tapml_tui.backends.compiler.passes import (
    ON_HOST,
    finishing,
    lowered_for_host,
    refuse_oversized,
    refuse_unbound,
    scheduled,
)

_HOST = "llvm"
# Every kernel checks the shape, type and strides of each argument each time that it is called, which is more code than
# the kernel: nearly half of the time to compile. Relax has compared the same when it was compiled (a `call_tir` that
# does not fit its PrimFunc is refused), and checks the arguments of the whole unit when it is called.
_NO_CHECKS = "tirx.disable_assert"


def parse_target(
    text: str, host: str = "", limits: Mapping[str, int | str] = MappingProxyType({})
) -> tvm.target.Target:
    """A TVM target out of what the user wrote: a kind, a tag, "KIND -OPTION=VALUE ...", or JSON.

    Args:
        text: What kernels are compiled for.
        host: What the code around them is compiled for; "" is this machine.
        limits: What the device says of itself (`worker_device`): threads and shared memory of a block, at
            most; the architecture, where there is one.

    Raises:
        ValueError: (or another of TVM's errors) if there is no such target.
    """
    wanted = parse_target_text(text)
    target = tvm.target.Target(wanted)
    if target.kind.name in ON_HOST:
        return target
    said = wanted if isinstance(wanted, dict) else {}
    known = {name: limit for name, limit in limits.items() if name not in said and name in target.attrs}
    if known:
        config = dict(target.export())
        for name, limit in known.items():
            # TVM's own numbers are those that its schedules were made for; the device may have less.
            config[name] = min(limit, int(config.get(name, limit))) if isinstance(limit, int) else limit
        target = tvm.target.Target(config)
    if target.host is not None:
        return target
    return tvm.target.Target(target, host=tvm.target.Target(parse_target_text(host) if host else _HOST))


def merge(units: Sequence[tuple[str, Lowered]]) -> tvm.IRModule:
    """One module of many: the "main" of each under the name given, its PrimFuncs under names of their own."""
    functions: dict[tvm.ir.GlobalVar, Any] = {}
    for name, lowered in units:
        renamed = {}
        for var, function in lowered.module.functions_items():
            if var.name_hint != "main":
                renamed[var] = _renamed(var, f"{name}_{var.name_hint}")
                functions[renamed[var]] = function.with_attr("global_symbol", renamed[var].name_hint)
        main = lowered.module["main"]
        if renamed:
            main = _Rename(renamed).visit_expr(main)
        functions[tvm.ir.GlobalVar(name)] = main.with_attr("global_symbol", name)
    return tvm.IRModule(functions)


def _renamed(var: Any, name: str) -> Any:
    new = tvm.ir.GlobalVar(name)
    relax.expr._update_type(new, var.ty)
    return new


@relax.expr_functor.mutator
class _Rename(relax.PyExprMutator):  # type: ignore[misc]
    """Replaces global variables."""

    def __init__(self, names: dict[Any, Any]) -> None:
        super().__init__()
        self._names = names

    def visit_global_var_(self, op: Any) -> Any:
        return self._names.get(op, op)


def build(units: Sequence[tuple[str, Lowered]], target: tvm.target.Target, library: Path, *, linker: str = "") -> None:
    """Compile and link units into one library, which appears under its name when it is complete.

    Args:
        units: (name of the function, what it computes).
        target: From `parse_target`.
        library: A ".so" is linked here, a ".tar" by the server that it is sent to.
        linker: The command that links, as "clang --target=aarch64-linux-android"; "" is cc.

    Raises:
        Exception: Whatever TVM or the linker raises; one unit that does not compile fails all.
    """
    # Those that a user wrote into a kernel stay.
    needless = _NO_CHECKS in tvm.transform.PassContext.list_configs() and not any(one.by_user for _, one in units)
    with tvm.transform.PassContext(opt_level=2, config={_NO_CHECKS: True} if needless else {}):
        executable = _compile(merge(units), target)
    with tempfile.TemporaryDirectory(dir=library.parent, prefix="build-") as folder:
        made = Path(folder, library.name)
        link = _linker(linker) if library.suffix == ".so" else None
        executable.export_library(str(made), fcompile=link, workspace_dir=folder)
        os.replace(made, library)


def _compile(module: tvm.IRModule, target: tvm.target.Target) -> Any:
    if target.kind.name in ON_HOST:
        return tvm.compile(lowered_for_host(module, target), target=target, relax_pipeline=None)
    module = scheduled(module, target)
    refuse_unbound(module, target)
    refuse_oversized(module, target)
    return tvm.compile(module, target=target, relax_pipeline=finishing(target))


def _linker(command: str) -> Callable[..., None]:
    """`cc -shared`, without what TVM's own wrapper adds."""
    words = shlex.split(command) or [os.environ.get("CC", "cc")]

    def link(library: str, objects: Sequence[str], options: Sequence[str] = (), **_: object) -> None:
        arguments = [*words, "-shared", "-fPIC", "-o", library, *objects, *options]
        try:
            done = subprocess.run(arguments, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        except OSError as error:
            raise RuntimeError(f"LinkError: {words[0]} cannot be started: {error.strerror} (--cc, or CC)") from None
        if done.returncode:
            raise RuntimeError(f"LinkError: {words[0]} failed\n{done.stderr}")

    link.object_format = "o"  # type: ignore[attr-defined]
    return link


def texts(lowered: Lowered, target: tvm.target.Target) -> list[tuple[str, str]]:
    """(title, text) of what a unit becomes: Relax as converted, then TensorIR as it is compiled."""
    sections = [("Relax", lowered.module.script(show_meta=False))]
    module = scheduled(lowered.module, target)
    sections.append(("TensorIR", module.script(show_meta=False)))
    return sections
