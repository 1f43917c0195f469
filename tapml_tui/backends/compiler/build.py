"""From Relax functions to libraries: many units are merged into one module, compiled and linked once."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tvm
from tvm import relax

from tapml_tui.backends.compiler.lower import Lowered

# GPU kinds need host code too, and the schedules of dlight, which TVM's default pipeline applies to them.
_HOST = "llvm"
_ON_HOST = {"llvm", "c"}
# Every kernel checks the shape, type and strides of each argument each time that it is called, which is more code than
# the kernel: nearly half of the time to compile. Relax has compared the same when it was compiled (a `call_tir` that
# does not fit its PrimFunc is refused), and checks the arguments of the whole unit when it is called.
_NO_CHECKS = "tirx.disable_assert"


def parse_target(text: str) -> tvm.target.Target:
    """A TVM target out of what the user wrote: a kind, a tag, or JSON.

    Raises:
        ValueError: (or another of TVM's errors) if there is no such target.
    """
    target = tvm.target.Target(json.loads(text) if text.lstrip().startswith("{") else text)
    if target.kind.name in _ON_HOST or target.host is not None:
        return target
    return tvm.target.Target(target, host=_HOST)


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


def build(units: Sequence[tuple[str, Lowered]], target: tvm.target.Target, library: Path) -> None:
    """Compile and link units into one library, which appears under its name when it is complete.

    Raises:
        Exception: Whatever TVM or the linker raises; one unit that does not compile fails all.
    """
    # Those that a user wrote into a kernel stay.
    needless = _NO_CHECKS in tvm.transform.PassContext.list_configs() and not any(one.by_user for _, one in units)
    with tvm.transform.PassContext(opt_level=2, config={_NO_CHECKS: True} if needless else {}):
        executable = tvm.compile(merge(units), target=target)
    with tempfile.TemporaryDirectory(dir=library.parent, prefix="build-") as folder:
        made = Path(folder, library.name)
        executable.export_library(str(made), fcompile=_link if library.suffix == ".so" else None, workspace_dir=folder)
        os.replace(made, library)


def _link(library: str, objects: Sequence[str], options: Sequence[str] = (), **_: object) -> None:
    """`cc -shared`, without what TVM's own wrapper adds."""
    command = [os.environ.get("CC", "cc"), "-shared", "-fPIC", "-o", library, *objects, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise RuntimeError(f"LinkError: {command[0]} failed\n{done.stderr}")


_link.object_format = "o"  # type: ignore[attr-defined]


def texts(lowered: Lowered, target: tvm.target.Target) -> list[tuple[str, str]]:
    """(title, text) of what a unit becomes: Relax as converted, then TensorIR as it is compiled."""
    sections = [("Relax", lowered.module.script(show_meta=False))]
    with target:
        passes = relax.backend.cpu_generic if target.kind.name in _ON_HOST else relax.backend.gpu_generic
        module = tvm.transform.Sequential(passes.library_dispatch_passes(target) + passes.legalize_passes(target))(
            lowered.module
        )
    sections.append(("TensorIR", module.script(show_meta=False)))
    return sections
