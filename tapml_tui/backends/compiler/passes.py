"""The passes that kernels go through, and the check that a GPU's run on the GPU, within its limits."""

from __future__ import annotations

import math
import threading
from typing import Any

import tvm
from tvm import relax, s_tir, tirx
from tvm.relax.backend import adreno, cpu_generic, cuda, gpu_generic, rocm

# Their kernels are loops that the processor itself runs; all other kinds need host code and thread bindings.
ON_HOST = {"llvm", "c", "hexagon"}

_NO_LIMIT = 1 << 31

_legalizing = threading.Lock()  # the tags that TVM gives operators meanwhile are one global: "nested op_tag"


class NotOnDevice(Exception):
    """A kernel that this kind of device cannot run as TVM schedules it."""


def lowered_for_host(module: tvm.IRModule, target: tvm.target.Target) -> tvm.IRModule:
    """What `tvm.compile` does by default to Relax that runs on a processor."""
    with _legalizing, target:
        return relax.get_pipeline("default")(module)


def scheduled(module: tvm.IRModule, target: tvm.target.Target) -> tvm.IRModule:
    """Relax with its TensorIR, scheduled for the target."""
    kind = _kind(target)
    with _legalizing, target:
        return tvm.transform.Sequential(kind.library_dispatch_passes(target) + kind.legalize_passes(target))(module)


def finishing(target: tvm.target.Target) -> tvm.transform.Pass:
    """What `tvm.compile` does by default after that."""
    kind = _kind(target)
    return tvm.transform.Sequential(kind.dataflow_lower_passes(target) + kind.finalize_passes(target))


def _kind(target: tvm.target.Target) -> Any:
    """TVM's module of passes, as `tvm.relax.get_default_pipeline` chooses it."""
    if target.kind.name in ON_HOST:
        return cpu_generic.pipeline
    if target.kind.name == "opencl" and "adreno" in target.keys:
        return adreno.pipeline
    return {"cuda": cuda.pipeline, "rocm": rocm.pipeline}.get(target.kind.name, gpu_generic.pipeline)


def refuse_oversized(module: tvm.IRModule, target: tvm.target.Target) -> None:
    """Refuse a kernel that needs more threads than a block has on the device.

    Of shared memory the device itself has to say: how much remains is known after later passes only.

    Raises:
        NotOnDevice: If there is one.
    """
    most = int(target.attrs.get("max_num_threads", _NO_LIMIT))
    for name, function in module.functions_items():
        if isinstance(function, tirx.PrimFunc) and (wanted := _threads(function.body)) > most:
            raise NotOnDevice(f"{name.name_hint} needs {wanted} threads in a block; on this device it has {most}")


def _threads(statement: Any) -> int:
    """The most threads that one launch takes in a block; 1 where extents are not constants."""
    if _binds(statement):
        return math.prod(_extents(statement).values())
    return max(map(_threads, _parts(statement)), default=1)


def _extents(statement: Any) -> dict[str, int]:
    """The extent of each thread axis in a launch; bound again further in, an axis is still the same one."""
    found: dict[str, int] = {}
    match statement:
        case tirx.For(kind=tirx.ForKind.THREAD_BINDING, extent=tirx.IntImm(value=extent), thread_binding=axis):
            found[axis.thread_tag] = int(extent)
        case tirx.AttrStmt(attr_key="thread_extent", value=tirx.IntImm(value=extent), node=axis):
            found[axis.thread_tag] = int(extent)
    for part in _parts(statement):
        for tag, extent in _extents(part).items():
            found[tag] = max(extent, found.get(tag, 1))
    return {tag: extent for tag, extent in found.items() if tag.startswith("threadIdx.")}


def refuse_unbound(module: tvm.IRModule, target: tvm.target.Target) -> None:
    """Refuse a kernel that writes outside of a thread: TVM compiles it without a word into host code.

    That code writes through a pointer of the device: garbage, then a crash.

    Raises:
        NotOnDevice: If there is one.
    """
    if target.kind.name in ON_HOST:
        return
    for name, function in module.functions_items():
        if isinstance(function, tirx.PrimFunc) and _writes_on_host(function.body):
            raise NotOnDevice(
                f"no schedule of TVM binds {name.name_hint} to the threads of {target.kind.name}: it would run on the "
                "host, through pointers of the device, so it is not run (--lower FILE.py can give a scheduled kernel)"
            )


def _writes_on_host(statement: Any) -> bool:
    """Whether a statement stores to a buffer outside of every thread binding."""
    if isinstance(statement, tirx.BufferStore):
        return True
    return not _binds(statement) and any(map(_writes_on_host, _parts(statement)))


def _binds(statement: Any) -> bool:
    match statement:
        case tirx.For(kind=tirx.ForKind.THREAD_BINDING) | tirx.AttrStmt(attr_key="thread_extent"):
            return True
    return False


def _parts(statement: Any) -> list[Any]:
    """The statements directly inside of one."""
    match statement:
        case tirx.SeqStmt(seq=parts):
            return list(parts)
        case tirx.IfThenElse(then_case=then, else_case=other):
            return [then] if other is None else [then, other]
        case s_tir.SBlockRealize(block=block):
            return [block.body] if block.init is None else [block.body, block.init]
        case tirx.For(body=body) | tirx.While(body=body) | tirx.AttrStmt(body=body):
            return [body]
    return []
