"""Operators done wrongly: what was read is known, so that the diagnosis can compute what a wrong kernel would give."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest

from tapml_tui.compare.diagnosis import Kind, diagnose
from tests import sampling

Floats = np.ndarray


@dataclass(frozen=True)
class Wrong:
    """A wrong kernel: its operator, what it reads, the right result and its own."""

    name: str
    operator: str
    inputs: tuple[np.ndarray, ...]
    right: Floats
    wrong: Floats
    kinds: tuple[Kind, ...]


def softmax(x: Floats, axis: int = -1) -> Floats:
    weights = np.exp(x - x.max(axis=axis, keepdims=True))
    return np.asarray(weights / weights.sum(axis=axis, keepdims=True))


def layer_norm(x: Floats, weight: Floats, bias: Floats, epsilon: float = 1e-5) -> Floats:
    centred = x - x.mean(axis=-1, keepdims=True)
    return np.asarray(centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon) * weight + bias)


def rms_norm(x: Floats, weight: Floats, epsilon: float = 1e-6) -> Floats:
    return np.asarray(x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + epsilon) * weight)


def silu(x: Floats) -> Floats:
    return np.asarray(x / (1.0 + np.exp(-x)))


def gelu(x: Floats, inner: Callable[[Floats], Floats]) -> Floats:
    return np.asarray(0.5 * x * (1.0 + inner(x)))


def erf(x: Floats) -> Floats:
    """Abramowitz and Stegun 7.1.26: 1.5e-7."""
    t = 1.0 / (1.0 + 0.3275911 * np.abs(x))
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.asarray(np.sign(x) * (1.0 - series * np.exp(-x * x)))


def wrong_kernels(random: np.random.Generator) -> Iterator[Wrong]:
    """One of each, over fresh numbers."""
    x, weight, bias = random.normal(size=(24, 64)), random.uniform(0.5, 2.0, 64), random.normal(size=64)
    matrix, offsets = random.normal(size=(48, 64)) / 8, random.normal(size=48)
    linear = x @ matrix.T + offsets

    def of_linear(name: str, wrong: Floats, kind: Kind) -> Wrong:
        return Wrong(name, "aten.linear.default", (x, matrix, offsets), linear, wrong, (kind,))

    yield of_linear("no bias", x @ matrix.T, Kind.BIAS)
    yield of_linear("last term", linear - np.outer(x[:, -1], matrix[:, -1]), Kind.MISSING_TERM)
    yield of_linear("last tile", linear - x[:, -8:] @ matrix[:, -8:].T, Kind.MISSING_TERM)
    square = random.normal(size=(64, 64)) / 8
    yield Wrong("other side", "aten.linear.default", (x, square), x @ square.T, x @ square, (Kind.TRANSPOSED,))

    scores = 2.0 * random.normal(size=(3, 20, 20))
    right = softmax(scores)
    yield Wrong("other axis", "aten.softmax.int", (scores,), right, softmax(scores, 1), (Kind.WRONG_AXIS,))
    total = np.exp(scores)[..., :-1].sum(axis=-1, keepdims=True)
    yield Wrong("sum without last", "aten.softmax.int", (scores,), right, np.exp(scores) / total, (Kind.MISSING_TERM,))

    sums = np.cumsum(x, 1)
    yield Wrong("down", "aten.cumsum.default", (x,), sums, np.cumsum(x, 0), (Kind.WRONG_AXIS,))
    yield Wrong("exclusive", "aten.cumsum.default", (x,), sums, sums - x, (Kind.MISSING_TERM, Kind.SHIFTED))

    cube = random.normal(size=(12, 12, 30))
    means = cube.mean(axis=1)
    yield Wrong("mean over rows", "aten.mean.dim", (cube,), means, cube.mean(axis=0), (Kind.WRONG_AXIS,))
    short = cube[:, :-1].sum(axis=1) / 12
    yield Wrong("mean without last", "aten.mean.dim", (cube,), means, short, (Kind.MISSING_TERM,))

    normed = layer_norm(x, weight, bias)
    for name, wrong, kind in (
        ("no bias", layer_norm(x, weight, 0.0 * bias), Kind.BIAS),
        ("no weight", layer_norm(x, 1.0 + 0.0 * weight, bias), Kind.SLICE_SCALE),
        ("epsilon", layer_norm(x, weight, bias, 1e-1), Kind.SLICE_SCALE),
        ("mean kept", rms_norm(x, weight, 1e-5) + bias, Kind.SLICE_OFFSET),
    ):
        yield Wrong(name, "aten.layer_norm.default", (x, weight, bias), normed, wrong, (kind,))
    yield Wrong(
        "epsilon",
        "aten.rms_norm.default",
        (x, weight),
        rms_norm(x, weight),
        rms_norm(x, weight, 1e-2),
        (Kind.SLICE_SCALE,),
    )

    query, key, value = (random.normal(size=(2, 4, 16, 8)) for _ in range(3))
    causal = np.tril(np.ones((16, 16), bool))
    plain = query @ np.swapaxes(key, -1, -2) / np.sqrt(8)
    masked = np.where(causal, plain, -np.inf)
    attended = softmax(masked) @ value
    for name, wrong_scores, kind in (
        ("no mask", plain, Kind.MASK),
        ("one too many", np.where(np.tril(causal, 1) | np.eye(16, k=1, dtype=bool), plain, -np.inf), Kind.MASK),
        ("no scale", masked * np.sqrt(8), Kind.SLICE_SCALE),
    ):
        operator = "aten.scaled_dot_product_attention.default"
        yield Wrong(name, operator, (query, key, value), attended, softmax(wrong_scores) @ value, (kind,))

    table, index = random.normal(size=(50, 32)), random.integers(0, 49, (2, 12))
    yield Wrong(
        "next row", "aten.embedding.default", (table, index), table[index], table[index + 1], (Kind.WRONG_INDEX,)
    )
    mask, other = random.random((24, 64)) < 0.4, random.normal(size=(24, 64))
    chosen = np.where(mask, x, other)
    yield Wrong("inverted", "aten.where.self", (mask, x, other), chosen, np.where(mask, other, x), (Kind.MASK,))
    yield Wrong("ignored", "aten.where.self", (mask, x, other), chosen, other, (Kind.MASK,))

    exact, cubic = gelu(x, lambda v: erf(v / np.sqrt(2))), x + 0.044715 * x**3
    rough = gelu(x, lambda v: np.tanh(np.sqrt(2 / np.pi) * cubic))
    yield Wrong("tanh form", "aten.gelu.default", (x,), exact, rough, (Kind.FORMULA,))
    yield Wrong("hard", "aten.silu.default", (x,), silu(x), x * np.clip(x / 6 + 0.5, 0, 1), (Kind.FORMULA,))

    angles = np.outer(np.arange(20), 1.0 / 10.0 ** np.linspace(0, 2, 8))
    cosines, sines = (np.concatenate([f(angles), f(angles)], -1) for f in (np.cos, np.sin))
    heads = random.normal(size=(2, 20, 16))
    turned = np.concatenate([-heads[..., 8:], heads[..., :8]], -1)
    rotated, late = heads * cosines + turned * sines, np.minimum(np.arange(20) + 1, 19)
    wrong = heads * cosines[late] + turned * sines[late]
    yield Wrong("late", "mine.rope.default", (heads, cosines, sines), rotated, wrong, (Kind.WRONG_INDEX,))

    image, filters = random.normal(size=(2, 3, 12, 12)), random.normal(size=(5, 3, 3, 3)) / 5

    def convolved(kernel: Floats) -> Floats:
        padded = np.pad(image, ((0, 0), (0, 0), (1, 1), (1, 1)))
        result = np.zeros((2, 5, 12, 12))
        for i, j in product(range(3), range(3)):
            result += np.einsum("ncij,oc->noij", padded[:, :, i : i + 12, j : j + 12], kernel[:, :, i, j])
        return result

    fewer = filters.copy()
    fewer[:, -1, -1, -1] = 0.0
    for name, kernel, kind in (
        ("flipped", filters[:, :, ::-1, ::-1], Kind.FORMULA),
        ("last tap", fewer, Kind.MISSING_TERM),
    ):
        yield Wrong(name, "aten.conv2d.default", (image, filters), convolved(filters), convolved(kernel), (kind,))


@pytest.mark.parametrize("strength", [1.0, 0.01])
def test_operators_done_wrongly_are_named(strength: float) -> None:
    random = np.random.default_rng(sampling.rng("operators").randrange(1 << 32))
    for _ in range(sampling.count(1, 40)):
        for wrong in wrong_kernels(random):
            scale = 1e-6 * float(np.sqrt(np.mean(wrong.right**2)))
            noise = np.clip(random.normal(size=wrong.right.shape), -4, 4) * scale
            actual = wrong.right + strength * (wrong.wrong - wrong.right) + noise
            if np.abs(actual - wrong.right).max() < 20.0 * scale:
                continue  # so little of it is no fault
            inputs = [array.astype(np.float32) if array.dtype == np.float64 else array for array in wrong.inputs]
            found = diagnose(
                wrong.right.astype(np.float32),
                actual.astype(np.float32),
                allowance=10.0 * scale,
                inputs=inputs,
                operator=wrong.operator,
            )
            assert found is not None and found.kind in wrong.kinds, (wrong.name, wrong.operator, found)


def test_an_operator_that_is_not_understood_is_left_alone() -> None:
    """Inputs that do not give the reference, or do not fit together, lead to no diagnosis and no error."""
    values = np.random.default_rng(0).normal(size=(12, 20)).astype(np.float32)
    actual = np.random.default_rng(1).normal(size=(12, 20)).astype(np.float32)
    odd = [np.zeros((3,), np.float32), np.zeros((2, 2, 2), np.float32), np.array(True), np.zeros((0, 4), np.int64)]
    for operator in ("softmax", "cumsum", "mean", "layer_norm", "batch_norm", "linear", "conv2d", "where", "embedding"):
        for inputs in ([], odd[:1], odd[1:], odd):
            found = diagnose(values, actual, allowance=1e-5, inputs=inputs, operator=f"aten.{operator}.default")
            assert found is None, (operator, found)


@pytest.mark.parametrize("operator", ["aten.sin.default", "aten.cos.default"])
def test_an_angle_that_is_reduced_coarsely_is_named(operator: str) -> None:
    """As a GPU's fast intrinsics: the angle times 1 / (2 pi) in float32, of which the whole part is dropped."""
    random = np.random.default_rng(sampling.rng(operator).getrandbits(64))
    angle = (np.arange(64)[:, None] * 1e4 ** -(np.arange(32) / 32) * random.uniform(0.9, 1.1)).astype(np.float32)
    function = np.sin if "sin" in operator else np.cos
    right = function(angle.astype(np.float64)).astype(np.float32)
    turns = angle * np.float32(1 / (2 * np.pi))
    fast = function((turns - np.floor(turns)).astype(np.float64) * 2 * np.pi).astype(np.float32)
    found = diagnose(right, fast, inputs=[angle], operator=operator, allowance=4e-7)
    assert found is not None and found.kind is Kind.LOW_PRECISION
    assert "grows with the size of the input" in found.sentence
    for wrong in (right * np.float32(1 + 1e-5), np.where(np.arange(64)[:, None] < 48, right, 0)):
        other = diagnose(right, wrong.astype(np.float32), inputs=[angle], operator=operator, allowance=4e-7)
        assert other is not None and other.kind is not Kind.LOW_PRECISION


@pytest.mark.parametrize("spread", [8.0, 30.0])
def test_an_exponential_of_a_rounded_argument_is_named_and_is_no_memory_that_was_never_written(spread: float) -> None:
    """As CUDA's __expf: ex2.approx of x * log2(e), which is rounded to float32. Results are of every size."""
    x = np.clip(spread * np.random.default_rng(1).standard_normal((8, 1024)), -80, 80).astype(np.float32)
    right = np.exp(x.astype(np.float64)).astype(np.float32)
    fast = np.exp2((x * np.float32(np.log2(np.e))).astype(np.float64)).astype(np.float32)
    found = diagnose(right, fast, inputs=[x], operator="aten.exp.default", allowance=lambda size: 9e-7 * size + 1e-38)
    assert found is not None and found.kind is Kind.LOW_PRECISION
    assert "grows with the size of the input" in found.sentence


@pytest.mark.parametrize("operator", ["sum", "mean", "cumsum", "softmax", "layer_norm", "linear", "conv2d", "gather"])
@pytest.mark.parametrize("empty", [(0,), (0, 5), (3, 0), (0, 0, 4)])
def test_inputs_without_elements_end_nothing(operator: str, empty: tuple[int, ...]) -> None:
    inputs = [np.zeros(empty, np.float32), np.ones(3, np.float32), np.zeros(0, np.int64)]
    for right in (np.zeros((), np.float32), np.zeros(4, np.float32)):
        diagnose(right, right + 1, allowance=1e-5, inputs=inputs, operator=f"aten.{operator}.default")
