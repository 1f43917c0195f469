"""What a GPU's kernels must be before they are let near one: bound to its threads, and no larger than it is."""

from __future__ import annotations

import pytest

from tapml_tui.backends.protocol import Call, CallResult, TensorSpec, Unit, UnitInput

pytestmark = [pytest.mark.tvm]

F32 = TensorSpec("float32", (8, 64))
GPUS = ("opencl", "cuda", "webgpu", "vulkan")


def _module(body: object) -> object:
    """A Relax function that calls a TensorIR function, as a converter of the user's may give."""
    from tvm import relax

    block = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((8,), "float32"))
    with block.function("main", [x]):
        with block.dataflow():
            out = relax.TensorType((8,), "float32")
            made = block.emit_output(block.emit(relax.call_tir(block.add_func(body, "kernel"), [x], out)))
        block.emit_func_output(made)
    return block.get()


def _functions() -> dict[str, object]:
    from tvm.script import tirx as T

    @T.prim_func(s_tir=True)
    def serial(x: T.Buffer((8,), "float32"), y: T.Buffer((8,), "float32")):  # type: ignore[no-untyped-def]
        with T.sblock("opaque"):
            T.reads()
            T.writes()
            for i in range(8):
                y[i] = x[i] + T.float32(1)

    @T.prim_func(s_tir=True)
    def half_bound(x: T.Buffer((8,), "float32"), y: T.Buffer((8,), "float32")):  # type: ignore[no-untyped-def]
        with T.sblock("opaque"):
            T.reads()
            T.writes()
            with T.launch_thread("blockIdx.x", 8) as b:
                y[b] = x[b]
            for i in range(8):
                y[i] = y[i] + T.float32(1)

    @T.prim_func(s_tir=True)
    def bound(x: T.Buffer((8,), "float32"), y: T.Buffer((8,), "float32")):  # type: ignore[no-untyped-def]
        with T.sblock("opaque"):
            T.reads()
            T.writes()
            with T.launch_thread("threadIdx.x", 8) as t:
                y[t] = x[t]

    return {"serial": serial, "half_bound": half_bound, "bound": bound}


@pytest.mark.parametrize("name", ["serial", "half_bound"])
@pytest.mark.parametrize("kind", GPUS)
def test_a_kernel_that_would_run_on_the_host_is_refused(kind: str, name: str) -> None:
    from tapml_tui.backends.compiler import build, passes

    target = build.parse_target(kind)
    module = passes.scheduled(_module(_functions()[name]), target)
    with pytest.raises(passes.NotOnDevice, match=rf"kernel|{name}"):
        passes.refuse_unbound(module, target)


def test_threads_and_limits_of_the_device() -> None:
    from tapml_tui.backends.compiler import build, passes

    module = _module(_functions()["bound"])
    for threads, fits in ((8, True), (4, False)):
        target = build.parse_target("opencl", limits={"max_num_threads": threads})
        scheduled = passes.scheduled(module, target)
        passes.refuse_unbound(scheduled, target)
        if fits:
            passes.refuse_oversized(scheduled, target)
        else:
            with pytest.raises(passes.NotOnDevice, match="needs 8 threads in a block; on this device it has 4"):
                passes.refuse_oversized(scheduled, target)


@pytest.mark.parametrize("kind", GPUS)
@pytest.mark.parametrize("op", ["softmax.int", "cumsum.default", "sort.default", "relu.default", "matmul.default"])
def test_kernels_of_dlight_are_bound_and_fit(kind: str, op: str) -> None:
    from tapml_tui.backends.compiler import build, lower, passes

    outputs = (F32, TensorSpec("int64", F32.shape)) if op.startswith("sort") else (F32,)
    args = (UnitInput(0),) if op.startswith("relu") else (UnitInput(0), -1)
    if op.startswith("matmul"):  # its threads are bound once for the tile, and again for what they fetch together
        args, outputs = (UnitInput(0), UnitInput(1)), (TensorSpec("float32", (64, 64)),)
    results = tuple(CallResult(0, i) for i in range(len(outputs)))
    inputs = (F32,) if len(outputs[0].shape) != 2 or outputs[0] == F32 else (outputs[0], outputs[0])
    unit = Unit((Call(f"aten.{op}", args),), inputs, outputs, results)
    target = build.parse_target(kind)
    module = passes.scheduled(lower.lower_unit(unit, frozenset(), None).module, target)
    passes.refuse_unbound(module, target)
    passes.refuse_oversized(module, target)


def test_limits_of_the_device_only_tighten_what_tvm_assumes() -> None:
    from tapml_tui.backends.compiler import build

    small = build.parse_target("opencl", limits={"max_num_threads": 64, "max_shared_memory_per_block": 1 << 20})
    assert (small.attrs["max_num_threads"], small.attrs["max_shared_memory_per_block"]) == (64, 16384)
    said = build.parse_target("opencl -max_num_threads=128", limits={"max_num_threads": 64})
    assert said.attrs["max_num_threads"] == 128
    assert build.parse_target("cuda", limits={"arch": "sm_90"}).attrs["arch"] == "sm_90"
    phone = build.parse_target("opencl", "llvm -mtriple=aarch64-linux-android -mattr=+neon")
    assert phone.host.attrs["mtriple"] == "aarch64-linux-android"
    assert list(phone.host.attrs["mattr"]) == ["+neon"]


def _convolution() -> object:
    from tvm import relax

    block = relax.BlockBuilder()
    image = relax.Var("x", relax.TensorType((1, 8, 16, 16), "float32"))
    weight = relax.Var("w", relax.TensorType((8, 8, 3, 3), "float32"))
    with block.function("main", [image, weight]):
        block.emit_func_output(block.emit(relax.op.nn.conv2d(image, weight)))
    return block.get()


# Not "metal": TVM 0.27 crashes there in its own schedule for tensor cores; the passes are those of Vulkan.
@pytest.mark.parametrize("text", [*GPUS, "rocm", "opencl -device=adreno"])
def test_every_kind_of_gpu_has_its_passes_from_converted_to_executable(text: str) -> None:
    from tapml_tui.backends.compiler import build, passes

    target = build.parse_target(text)
    scheduled = passes.scheduled(_convolution(), target)
    passes.refuse_unbound(scheduled, target)
    with target:
        finished = passes.finishing(target)(scheduled)
    assert "R.nn.conv2d" not in finished.script() and "R.call_tir(" not in finished.script()


def test_two_may_be_lowered_at_a_time() -> None:
    import sys
    from concurrent.futures import ThreadPoolExecutor

    from tapml_tui.backends.compiler import build, passes

    module, target = _convolution(), build.parse_target("llvm")
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # TVM's tag of an operator is one global: without a lock one finds that of another
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: passes.lowered_for_host(module, target), range(24)))
    finally:
        sys.setswitchinterval(interval)
