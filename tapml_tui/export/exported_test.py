"""A test of one kernel with its recorded inputs. It needs numpy, pytest and TVM; PyTorch too where TVM converts.

TITLE

Run it with `pytest FILE`. Without anything else the kernel is compiled for TVM_TARGET and runs in this process.

TVM_TARGET   what to compile for: llvm, opencl, or JSON
TVM_DEVICE   runtime of the device, where it is not named like the target's kind: cpu, cuda, opencl, ...
TVM_RPC      HOST:PORT of an RPC server (python -m tvm.exec.rpc_server); then the kernel runs there
TVM_TRACKER  HOST:PORT of an RPC tracker
TVM_KEY      what to ask the server or tracker for
LOWER        FILE.py with `lower(op)`, that converts the operator in place of TVM's importer and of what came along
LOAD         FILE.py that registers the operator with PyTorch, where it is none of PyTorch's own
SAVE         FOLDER: what the kernel gave is written there, as .npy
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

# Everything that is said about this one kernel. What was recorded is data: here if it is small, else in a file.
CASE: dict[str, Any] = {}

RUNTIMES = {"llvm": "cpu", "c": "cpu"}


def test_kernel() -> None:
    """The kernel gives what PyTorch gave, up to what healthy arithmetic may differ by."""
    specs = zip(CASE["inputs"], CASE["shapes"], strict=True)
    inputs = [recorded(f"input{i}", dtype, shape) for i, (dtype, shape) in enumerate(specs)]
    outputs = kernel(inputs)
    if os.environ.get("SAVE"):
        for i, output in enumerate(outputs):
            np.save(Path(os.environ["SAVE"], f"output{i}.npy"), output)
    assert len(outputs) == len(CASE["outputs"]), f"{len(outputs)} outputs, {len(CASE['outputs'])} were recorded"
    for i, (given, output) in enumerate(zip(outputs, CASE["outputs"], strict=True)):
        if not output["judged"]:
            continue
        expected = recorded(f"output{i}", output["dtype"], output["shape"])
        allowed = recorded(f"allowed{i}", "float64", output["shape"]) if output["allowed"] else None
        choice = CASE["choice"]
        if choice is not None and choice["output"] == i:
            reason = judge_choice(inputs[choice["values"]], expected, given, choice["dim"])
        else:
            reason = judge(expected, given, allowed, nan_too=CASE["nan_too"])
        several = f"output {output['index']}: " if len(CASE["outputs"]) > 1 else ""
        assert not reason, f"{several}{reason}{CASE['said']}"


def kernel(inputs: list[np.ndarray]) -> list[np.ndarray]:
    """What is tested: the operator, converted, compiled, and run on the device."""
    import tvm

    target = parse_target(os.environ.get("TVM_TARGET") or CASE["target"])
    faults = []
    for module in converted():
        try:
            with tvm.transform.PassContext(opt_level=2):
                executable = tvm.compile(module, target=target)
        except Exception as error:  # whatever TVM raises: another way of converting may do
            faults.append(error)
            continue
        return run(executable, inputs, target)
    operator = CASE["op"].removeprefix("aten.").removesuffix(".default")
    dtypes = ", ".join(dict.fromkeys(CASE["inputs"])) or "no tensor"
    reason = f"TVM cannot compile {operator} on {dtypes}: {cause(faults[-1]).rstrip(' :;')}"
    raise AssertionError("\n\n".join([reason, *map(repr, faults)]))


def cause(error: Exception) -> str:
    """The line of a message that says what happened: the last one that names an error, else the first."""
    lines = [line.strip() for line in f"{type(error).__name__}: {error}".splitlines() if line.strip()]
    return next((line for line in reversed(lines) if re.match(r"\w*(Error|Exception)\b", line)), lines[0])


def parse_target(text: str) -> Any:
    """A TVM target out of a kind or JSON, with a host where it needs one."""
    import tvm

    target = tvm.target.Target(json.loads(text) if text.lstrip().startswith("{") else text)
    if target.kind.name in RUNTIMES or target.host is not None:
        return target
    return tvm.target.Target(target, host="llvm")


def converted() -> Any:
    """The operator in Relax, in each way that there is, the first one first."""
    file = os.environ.get("LOWER") or beside(CASE["lower"])
    builder = user_builder(file) if file else None
    if builder is not None:
        yield built(builder)
        return
    import torch
    from tvm.relax.frontend.torch import from_exported_program

    for file in [os.environ["LOAD"]] if os.environ.get("LOAD") else map(beside, CASE["load"]):
        executed(file)
    namespace, name, overload = CASE["op"].split(".")
    operator = getattr(getattr(getattr(torch.ops, namespace), name), overload)
    assert isinstance(operator, torch._ops.OpOverload), f"{CASE['op']} is no operator"

    class Operator(torch.nn.Module):  # type: ignore[misc]
        def forward(self, *tensors: Any) -> Any:
            kwargs = {key: argument(torch, value, tensors) for key, value in CASE["kwargs"]}
            given = operator(*(argument(torch, value, tensors) for value in CASE["args"]), **kwargs)
            given = given if isinstance(given, tuple | list) else (given,)
            return tuple(given[output["index"]] for output in CASE["outputs"])

    examples = [torch.empty(s, dtype=getattr(torch, d)) for s, d in zip(CASE["shapes"], CASE["inputs"], strict=True)]
    program = torch.export.export(Operator().eval(), tuple(examples))
    faults = []
    for decomposed in (False, True):
        try:
            prepared = program.run_decompositions() if decomposed else program
            module = from_exported_program(prepared, run_ep_decomposition=False)
        except Exception as error:  # the importer refuses in many ways
            faults.append(cause(error))
            continue
        yield module
    if len(faults) == 2:
        said = faults[0] if faults[0] == faults[1] else "; decomposed by PyTorch: ".join(faults)
        raise AssertionError(f"TVM does not convert it (--lower FILE.py can). {said}\n\nHere: LOWER=FILE.py pytest ...")


def argument(torch: Any, value: Any, tensors: Any) -> Any:
    """A recorded argument: ["input", 0], ["dtype", "float32"], ["list", [...]], ["number", "-inf"], or itself."""
    if not isinstance(value, list):
        return value
    kind, body = value
    if kind == "input":
        return tensors[body]
    if kind == "list":
        return [argument(torch, item, tensors) for item in body]
    if kind == "number":
        return complex(body) if "j" in body else float(body)
    return torch.device("cpu") if kind == "device" else getattr(torch, body)


def beside(name: str) -> str:
    """A file that came with this test; "" where there is none."""
    return str(Path(__file__).parent / name) if name else ""


def user_builder(file: str) -> Any:
    """What the user's file has for this operator, or None."""
    return executed(file).lower(CASE["op"])


def executed(file: str) -> Any:
    """A file of the user's, as a module; it may import what lies beside it."""
    sys.path.insert(0, str(Path(file).parent))
    spec = importlib.util.spec_from_file_location(f"user_{Path(file).stem}", file)
    assert spec is not None, f"{file} is no Python file"
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def built(builder: Any) -> Any:
    """Relax out of the user's converter: build(block, args, kwargs) gives an expression, several, or a PrimFunc."""
    import tvm
    from tvm import relax

    def value(given: Any) -> Any:
        if not isinstance(given, list):
            return given
        kind, body = given
        if kind == "input":
            return inputs[body]
        if kind == "list":
            return [value(item) for item in body]
        return (complex(body) if "j" in body else float(body)) if kind == "number" else body

    block = relax.BlockBuilder()
    specs = zip(CASE["shapes"], CASE["inputs"], strict=True)
    inputs = [relax.Var(f"x{i}", relax.TensorType(shape, dtype)) for i, (shape, dtype) in enumerate(specs)]
    with block.function("main", inputs):
        with block.dataflow():
            args = [value(given) for given in CASE["args"]]
            made = builder(block, args, {key: value(given) for key, given in CASE["kwargs"]})
            if isinstance(made, tvm.tirx.PrimFunc):
                gives = [relax.TensorType(output["shape"], output["dtype"]) for output in CASE["outputs"]]
                tensors = [item for item in args if isinstance(item, relax.Expr)]
                made = block.emit(relax.call_tir(block.add_func(made, "kernel"), tensors, gives))
                made = [made] if len(gives) == 1 else [made[i] for i in range(len(gives))]
            made = [block.emit(item) for item in (made if isinstance(made, list | tuple) else [made])]
            result = block.emit_output(relax.Tuple(made))
        block.emit_func_output(result)
    return block.get()


def run(executable: Any, inputs: list[np.ndarray], target: Any) -> list[np.ndarray]:
    """The outputs of one run, in this process or on a device behind RPC."""
    import tempfile

    import tvm
    from tvm.runtime import vm

    kind = os.environ.get("TVM_DEVICE") or CASE["device"] or RUNTIMES.get(target.kind.name, target.kind.name)
    remote = connected()
    if remote is None:
        device = tvm.device(kind, 0)
        machine = vm.VirtualMachine(executable, device)
    else:
        device = remote.device(kind, 0)
        suffix = ".tar" if "mtriple" in str(target) else ".so"
        with tempfile.TemporaryDirectory() as folder:
            library = Path(folder, f"kernel{os.getpid()}_{time.monotonic_ns()}{suffix}")  # a name of its own
            executable.export_library(str(library))
            remote.upload(str(library))
        machine = vm.VirtualMachine(remote.load_module(library.name), device)
    tensors = []
    for array, dtype in zip(inputs, CASE["inputs"], strict=True):
        tensors.append(tvm.runtime.empty(array.shape, dtype, device))
        tensors[-1].copyfrom(array)
    machine.set_input("main", *tensors)
    machine.invoke_stateful("main")
    given = machine.get_outputs("main")
    return [output.numpy() for output in ([given] if hasattr(given, "numpy") else list(given))]


def connected() -> Any:
    """The session that the environment names, or None."""
    from tvm import rpc

    key = os.environ.get("TVM_KEY", "")
    if os.environ.get("TVM_TRACKER"):
        host, _, port = os.environ["TVM_TRACKER"].rpartition(":")
        return rpc.connect_tracker(host, int(port)).request(key)
    if os.environ.get("TVM_RPC"):
        host, _, port = os.environ["TVM_RPC"].rpartition(":")
        return rpc.connect(host, int(port), key=key)
    return None


def recorded(name: str, dtype: str, shape: list[int]) -> np.ndarray:
    """An array: a small one is in CASE, others are in the file beside this one."""
    try:
        kind = np.dtype(dtype)
    except TypeError:  # what numpy does not have was written as integers
        import ml_dtypes

        kind = np.dtype(getattr(ml_dtypes, dtype))
    if name in CASE["arrays"]:
        return np.array(CASE["arrays"][name], kind).reshape(shape)
    with np.load(Path(__file__).with_name(CASE["data"]), allow_pickle=False) as data:
        array: np.ndarray = data[name]
    return array.view(kind)


# The rule. It agrees with tapml-tui's own on whether a result passes, and on what is wrong with it.


def judge(expected: np.ndarray, given: np.ndarray, allowed: np.ndarray | None, *, nan_too: bool = False) -> str:
    """What is wrong with a result, "" if nothing.

    Args:
        expected: What was recorded.
        given: What the kernel gave.
        allowed: How far each element may be off; None: bits must agree.
        nan_too: Whether a NaN in both is fine.
    """
    if expected.shape != given.shape:
        return f"wrong shape: {list(given.shape)} instead of {list(expected.shape)}"
    if expected.dtype != given.dtype:
        return f"wrong dtype: {given.dtype} instead of {expected.dtype}"
    if expected.size == 0:
        return "nothing to compare: it has no elements"
    left, right = expected.reshape(-1), given.reshape(-1)
    if expected.dtype.kind in "biu" and allowed is None:
        factor = np.where(left != right, np.inf, 0.0)
        error = np.abs(right.astype(np.float64) - left.astype(np.float64))
        return told(expected, given, factor, error, exact=True)
    wide = np.complex128 if expected.dtype.kind == "c" else np.float64
    a, b = left.astype(wide), right.astype(wide)
    nan_a, nan_b, either = np.isnan(a), np.isnan(b), np.isnan(a) | np.isnan(b)
    new, lost, both = int((nan_b & ~nan_a).sum()), int((nan_a & ~nan_b).sum()), int((nan_a & nan_b).sum())
    if new:
        return f"NaN in {new} of {a.size} elements where the reference has none"
    if lost:
        return f"no NaN in {lost} elements where the reference has one"
    if both and not nan_too:
        return f"NaN in both, in {both} of {a.size} elements: nothing vouches for them"
    infinite = np.isinf(a) | np.isinf(b)
    with np.errstate(invalid="ignore", over="ignore"):
        differs = int((infinite & ~either & (a != b)).sum())
        if differs:
            return f"Inf on one side only, or of the other sign, in {differs} of {a.size} elements"
        error = np.where(infinite | either, 0.0, np.abs(b - a))
        if allowed is None:
            width = expected.dtype.itemsize
            bits = [np.ascontiguousarray(x).view(np.uint8).reshape(-1, width) for x in (left, right)]
            factor = np.where((bits[0] != bits[1]).any(axis=1), np.inf, 0.0)
        else:
            factor = np.where(error == 0.0, 0.0, error / allowed.reshape(-1))
    factor[infinite | either] = 0.0
    return told(expected, given, factor, error, exact=allowed is None)


def told(expected: np.ndarray, given: np.ndarray, factor: np.ndarray, error: np.ndarray, *, exact: bool) -> str:
    """The sentence about elements that are outside, "" if there are none."""
    outside = int((factor > 1.0).sum())
    if not outside:
        return ""
    worst = np.flatnonzero(factor >= factor.max() * (1 - 2.0**-20))  # equally bad: the first; if all are, the farthest
    flat = int(worst[int(error[worst].argmax()) if exact else 0])
    values = [plain(array.reshape(-1)[flat]) for array in (expected, given)]
    short = [repr(value) if isinstance(value, int) else f"{value:.6g}" for value in values]
    was, now = short if short[0] != short[1] else map(repr, values)
    index = ", ".join(str(int(i)) for i in np.unravel_index(flat, expected.shape))
    place = f"worst at [{index}]: {was} expected, {now} computed"
    if exact:
        return f"{outside} of {factor.size} elements are not equal, and must be; {place}"
    return f"{factor[flat]:.3g} x the floor in {outside} of {factor.size} elements; {place}"


def plain(element: Any) -> Any:
    """A Python number."""
    array = np.asarray(element)
    kinds: dict[str, Any] = {"b": bool, "i": int, "u": int, "c": complex}
    return kinds.get(array.dtype.kind, float)(array)


def judge_choice(values: np.ndarray, expected: np.ndarray, given: np.ndarray, dim: int | None) -> str:
    """Indices are judged by what they point to: among equals, more than one choice is right."""
    reason = judge(expected, given, None)
    if not reason or expected.shape != given.shape or expected.dtype != given.dtype:
        return reason
    pointed = [pointed_to(values, indices, dim) for indices in (expected, given)]
    if pointed[0] is None or pointed[1] is None or repeats(values, given, dim):
        return reason
    return reason if judge(pointed[0], pointed[1], None) else ""


def pointed_to(values: np.ndarray, indices: np.ndarray, dim: int | None) -> np.ndarray | None:
    """The elements at `indices`, or None if they point outside."""
    if dim is None:
        values, indices, dim = values.reshape(-1), indices.reshape(-1), 0
    if not -values.ndim <= dim < max(values.ndim, 1) or values.ndim == 0:
        return None
    if indices.ndim == values.ndim - 1:
        indices = np.expand_dims(indices, dim)
    if indices.ndim != values.ndim or indices.min() < 0 or indices.max() >= values.shape[dim]:
        return None
    return np.take_along_axis(values, indices, dim)


def repeats(values: np.ndarray, indices: np.ndarray, dim: int | None) -> bool:
    """Whether an index occurs twice where each may occur once."""
    if dim is None or indices.ndim != values.ndim:
        return False
    return not bool(np.diff(np.sort(indices, axis=dim), axis=dim).all())
