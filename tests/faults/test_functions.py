"""The functions of benign kernels are as near to the truth as claimed: within 4 ULP, and some really that far off."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests import sampling
from tests.faults.arithmetic import NOT_THAT_GOOD, WAYS

pytestmark = [pytest.mark.tvm]

COUNT = 1 << 16
RANGES = {
    "exp": (-87.0, 88.0),
    "tanh": (-12.0, 12.0),
    "erf": (-4.0, 4.0),
    "sigmoid": (-80.0, 80.0),
    "rsqrt": (-60.0, 60.0),
}


def inputs(name: str) -> np.ndarray:
    """Of all sizes: half of them over the range, half of them near zero; of rsqrt the exponents."""
    random = np.random.default_rng(sampling.rng(f"functions {name}").randrange(1 << 32))
    low, high = RANGES[name]
    wide = random.uniform(low, high, COUNT // 2)
    if name == "rsqrt":
        return np.exp(np.concatenate([wide, wide / 60])).astype(np.float32)
    near = random.choice([-1.0, 1.0], COUNT // 2) * 10.0 ** random.uniform(-6, 0, COUNT // 2)
    return np.concatenate([wide, near]).astype(np.float32)


def truth(name: str, x: np.ndarray) -> np.ndarray:
    """In float64."""
    import torch

    return getattr(torch.special if name == "erf" else torch, name)(torch.from_numpy(x.astype(np.float64))).numpy()


def computed(name: str, ways: list[str], x: np.ndarray) -> list[np.ndarray]:
    """By a kernel for each way, compiled together."""
    import tvm
    from tvm import te

    from tests.faults.arithmetic import Arithmetic
    from tests.faults.kit import Kit

    def kernel(way: str) -> Any:
        kit, given = Kit(Arithmetic(functions={name: way})), te.placeholder(x.shape, "float32", name="x")
        result = te.compute(x.shape, lambda i: kit.function(name, given[i]), name="y")
        return te.create_prim_func([given, result]).with_attr("global_symbol", way)

    library = tvm.compile(tvm.IRModule({way: kernel(way) for way in ways}), target="llvm")
    outputs = []
    for way in ways:
        out = tvm.runtime.empty(x.shape, "float32")
        library[way](tvm.runtime.empty(x.shape, "float32").copyfrom(x), out)
        outputs.append(out.numpy())
    return outputs


def ulps(actual: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Distances in units in the last place of the float32 nearest to the truth."""
    unit = np.spacing(np.abs(exact.astype(np.float32))).astype(np.float64)
    return np.abs(actual.astype(np.float64) - exact) / unit


@pytest.mark.parametrize("name", list(RANGES))
def test_every_way_is_within_4_ulp(name: str) -> None:
    x = inputs(name)
    ways = ["double", *(way for way in WAYS if (name, way) not in NOT_THAT_GOOD)]
    exact = truth(name, x)
    worst = {way: float(ulps(got, exact).max()) for way, got in zip(ways, computed(name, ways, x), strict=True)}
    assert max(worst.values()) <= 4.0, worst
    assert worst["double"] <= 1.0 and min(worst["more"], worst["less"], worst["mixed"]) > 2.5, worst
