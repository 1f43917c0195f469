"""What the benchmarks compare with: the loops that an engineer would write by hand."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

Call = tuple[Any, tuple[Any, ...], dict[str, Any], Any]


def record_calls(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Call]:
    """Every operator call of the exported model: (target, args, kwargs, result) with real tensors."""
    import torch

    program = torch.export.export(module, args, kwargs, strict=False).run_decompositions({})
    calls: list[Call] = []

    class Recorder(torch.fx.Interpreter):
        def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
            result = super().call_function(target, args, kwargs)
            if isinstance(target, torch._ops.OpOverload):
                calls.append((target, args, kwargs, result))
            return result

    with torch.no_grad():
        Recorder(program.module()).run(*torch.utils._pytree.tree_leaves((args, kwargs)))
    return calls


def signature(call: Call) -> str:
    """Operator, static arguments, shapes and dtypes."""
    import torch

    target, args, kwargs, _ = call
    shape = lambda a: (a.dtype, tuple(a.shape)) if isinstance(a, torch.Tensor) else a  # noqa: E731
    return str((target, torch.utils._pytree.tree_map(shape, (args, kwargs))))


def healthy_loop(calls: list[Call]) -> tuple[float, int, int]:
    """Export, compile, link, upload and run each signature once; a new session never needed.

    Returns:
        (seconds from session ready to the last comparison, signatures run, signatures that broke)
    """
    import numpy as np
    import torch
    import tvm
    from tvm import relax, rpc
    from tvm.relax.frontend.torch import from_exported_program

    server = rpc.Server(host="127.0.0.1", port=9190, port_end=9290, no_fork=False)
    ran = broke = 0
    try:
        session = rpc.connect("127.0.0.1", server.port)
        device = session.cpu(0)
        started = time.perf_counter()
        seen: set[str] = set()
        with tempfile.TemporaryDirectory() as folder:
            for call in calls:
                key = signature(call)
                if key in seen:
                    continue
                seen.add(key)
                target, args, kwargs, result = call
                leaves, spec = torch.utils._pytree.tree_flatten((args, kwargs))
                tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]

                class One(torch.nn.Module):
                    def forward(self, *given: Any, _l: Any = leaves, _s: Any = spec, _t: Any = target) -> Any:
                        it = iter(given)
                        filled = [next(it) if isinstance(leaf, torch.Tensor) else leaf for leaf in _l]
                        a, k = torch.utils._pytree.tree_unflatten(filled, _s)
                        return _t(*a, **k)

                try:
                    exported = torch.export.export(One(), tuple(tensors), strict=False)
                    mod = from_exported_program(exported, run_ep_decomposition=False)
                    library = tvm.compile(mod, target="llvm")
                    path = Path(folder) / f"k{len(seen)}.so"
                    library.export_library(str(path))
                    session.upload(str(path))
                    vm = relax.VirtualMachine(session.load_module(path.name), device)
                    vm.set_input("main", *[tvm.runtime.tensor(t.detach().numpy(), device) for t in tensors])
                    vm.invoke_stateful("main")
                    got = vm.get_outputs("main")
                    got = got[0] if isinstance(got, (list, tuple)) or not hasattr(got, "numpy") else got
                    want = result[0] if isinstance(result, (list, tuple)) else result
                    np.allclose(got.numpy(), want.numpy(), 1e-3, 1e-3)
                    ran += 1
                except Exception:
                    broke += 1
        return time.perf_counter() - started, ran, broke
    finally:
        server.terminate()


def rpc_bandwidth(megabytes: int = 16) -> float:
    """Bytes per second over TVM RPC on loopback: the mean of up and down."""
    import numpy as np
    import tvm
    from tvm import rpc

    data = np.random.default_rng(0).standard_normal(megabytes << 18, np.float32)
    server = rpc.Server(host="127.0.0.1", port=9190, port_end=9290, no_fork=False)
    try:
        session = rpc.connect("127.0.0.1", server.port)
        tvm.runtime.tensor(data[:1024], session.cpu(0)).numpy()
        started = time.perf_counter()
        tvm.runtime.tensor(data, session.cpu(0)).numpy()
        return 2 * data.nbytes / (time.perf_counter() - started)
    finally:
        server.terminate()


def bare_call_seconds(nbytes: int) -> float:
    """One RPC call with an upload and a download of `nbytes` each, the function handle kept: a median."""
    import statistics

    import numpy as np
    import tvm
    from tvm import rpc

    data = np.zeros(nbytes // 4, np.float32)
    server = rpc.Server(host="127.0.0.1", port=9190, port_end=9290, no_fork=False)
    try:
        session = rpc.connect("127.0.0.1", server.port)
        call = session.get_function("tvm.rpc.server.workpath")
        tvm.runtime.tensor(data, session.cpu(0)).numpy()
        samples = []
        for _ in range(50):
            started = time.perf_counter()
            remote = tvm.runtime.tensor(data, session.cpu(0))
            call("x")
            remote.numpy()
            samples.append(time.perf_counter() - started)
        return statistics.median(samples)
    finally:
        server.terminate()
