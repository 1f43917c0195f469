"""The noise floors: right where they can be calculated by hand, sound where they cannot."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trace_format import NodeRef

pytestmark = pytest.mark.torch


def values(trace, case=0):
    """(node, value) of every output."""
    graph = trace.graphs[trace.cases[case].graph]
    for i in range(len(graph)):
        node = graph.node(i)
        for o in range(node.outputs):
            yield node, trace.value(case, NodeRef(i, o))


def last(trace):
    return trace.value(0, trace.graphs[0].outputs[0].value)


@pytest.mark.parametrize("name", ["llama", "resnet", "mixtral", "awkward"])
def test_a_healthy_model_has_healthy_floors(carved, name):
    from tests import models

    trace = carved(getattr(models, name)())
    moving, computing = 0, 0
    for node, value in values(trace):
        if value.tensor is None or "uninitialised" in value.note:
            assert value.isolated is None
            continue
        if value.dtype.startswith(("int", "bool")):
            assert (value.isolated.origin, value.isolated.max_abs) == ("exact", 0.0)
            continue
        for floor in (value.isolated, value.chained):
            assert math.isfinite(floor.max_abs)
            assert 0 <= floor.rms <= floor.max_abs * (1 + 1e-12)
            assert floor.origin in ("exact", "float64"), node.id
        moving += value.isolated.origin == "exact"
        computing += value.isolated.origin == "float64"
        data = trace.array(value)
        if data.size and data.dtype == np.float32:
            # A sum of thousands of float32 products loses a few units of the largest term, not more.
            assert value.isolated.max_abs <= 1e-5 * max(1.0, float(np.abs(data).max())), node.id
    assert moving
    assert computing


def test_floors_are_the_distance_to_double_precision(carved):
    import torch

    torch.manual_seed(1)
    module = torch.nn.Sequential(torch.nn.Linear(300, 50), torch.nn.Tanh(), torch.nn.Linear(50, 7)).eval()
    x = torch.randn(5, 300)
    trace = carved(module, (x,))
    recorded = [torch.from_numpy(trace.array(trace.value(0, NodeRef(i))).astype(np.float64)) for i in range(3)]
    double = torch.nn.Sequential(
        *(type(m)(m.in_features, m.out_features) if hasattr(m, "weight") else m for m in module)
    )
    double.load_state_dict(module.state_dict())
    double = double.double()
    chained = x.double()
    for i, layer in enumerate(double):
        before = x.double() if i == 0 else recorded[i - 1]
        chained = layer(chained).detach()
        value = trace.value(0, NodeRef(i))
        for floor, replayed in ((value.isolated, layer(before).detach()), (value.chained, chained)):
            difference = (recorded[i] - replayed).abs()
            assert floor.max_abs == pytest.approx(difference.max().item(), rel=1e-6, abs=1e-18)
            assert floor.rms == pytest.approx(difference.square().mean().sqrt().item(), rel=1e-6, abs=1e-18)
            assert floor.origin == "float64"
    assert value.chained.max_abs > value.isolated.max_abs > 0


@pytest.mark.parametrize(
    ("call", "exact"),
    [
        (lambda x: x.transpose(0, 1), True),
        (lambda x: x.reshape(-1)[3:9], True),
        (lambda x: x.repeat(2, 1), True),
        (lambda x: x.tril(), True),
        (lambda x: x.double(), True),
        (lambda x: x.bfloat16(), False),
        (lambda x: x * 1.0, False),  # exact by luck is not exact
        (lambda x: x + 0, False),
        (lambda x: x.double().float(), False),
    ],
)
def test_only_what_moves_data_is_exact(carved, call, exact):
    import torch

    class Call(torch.nn.Module):
        def forward(self, x):
            return call(x.sin())

    value = last(carved(Call(), (torch.randn(4, 4),)))
    assert value.isolated.origin == ("exact" if exact else "float64")
    assert value.chained.origin == "float64"  # sin was not exact
    assert value.chained.max_abs > 0


def test_what_moves_inputs_and_weights_is_exact_chained_too(carved):
    import torch

    module = torch.nn.Embedding(10, 4)
    value = last(carved(module, (torch.tensor([3, 1]),)))
    assert (value.isolated.origin, value.chained.origin) == ("exact", "exact")


def test_integers_are_taken_from_the_recording(carved):
    """A near tie goes one way in float32 and the other in float64: the replay follows float32."""
    import torch

    class Route(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.experts = torch.nn.Parameter(torch.tensor([[1.0], [1000.0]]))

        def forward(self, x):
            scores = torch.stack([x[0] * 3, x[1]])
            return self.experts[scores.argmax()] * x[0]

    x = torch.tensor([0.1, 0.3])
    third, direct = x[0] * 3, x[1]
    wide = x.double()
    assert int(torch.stack([third, direct]).argmax()) != int(torch.stack([wide[0] * 3, wide[1]]).argmax())
    value = last(carved(Route(), (x,)))
    assert value.chained.max_abs < 1e-4


def test_nan_and_infinity_do_not_make_a_floor_infinite(carved):
    import torch

    class Extreme(torch.nn.Module):
        def forward(self, x):
            return (x.exp() * x.sin()).log()

    trace = carved(Extreme(), (torch.tensor([1.0, 100.0, -1.0, float("inf"), float("nan")]),))
    assert not np.isfinite(trace.array(last(trace))).all()
    for _, value in values(trace):
        assert math.isfinite(value.isolated.max_abs)
        assert math.isfinite(value.chained.max_abs)
        assert value.reproducible  # NaN equals itself


def test_an_operator_without_double_precision_gets_the_bound(carved):
    import torch

    @torch.library.custom_op("tapml_test::single_only", mutates_args=(), schema="(Tensor x) -> Tensor")
    def single_only(x):
        if x.dtype != torch.float32:
            raise NotImplementedError("float32 only")
        return x.exp()

    @single_only.register_fake
    def _(x):
        return torch.empty_like(x)

    class Custom(torch.nn.Module):
        def forward(self, x):
            return single_only(x.sin()) * 2

    trace = carved(Custom(), (torch.randn(100),))
    found = {node.op: value for node, value in values(trace)}
    custom = found["tapml_test.single_only.default"]
    largest = float(np.abs(trace.array(custom)).max())
    assert custom.isolated.origin == custom.chained.origin == "bound"
    assert custom.isolated.max_abs == pytest.approx(16 * 2**-23 * largest)
    assert custom.chained.max_abs >= custom.isolated.max_abs
    assert 0 < custom.isolated.rms < custom.isolated.max_abs
    assert found["aten.mul.Tensor"].chained.origin == "float64"


def test_floors_can_be_left_out(carved):
    from tests import models

    for _, value in values(carved(models.resnet(), floors=False)):
        assert value.isolated is None
        assert value.chained is None
        assert value.reproducible


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_cast_model_keeps_floors_in_double_precision(carved, dtype):
    import torch

    from tests import models

    module, args = models.tiny()
    trace = carved(module, args, dtype=getattr(torch, dtype))
    assert module[0].weight.dtype == torch.float32
    single = carved(module, args, name="single.trace")
    assert trace.provenance.dtype == dtype
    for (_, value), (_, precise) in zip(values(trace), values(single), strict=True):
        assert value.dtype == dtype
        assert value.chained.origin == "float64"
        assert value.chained.max_abs > 20 * precise.chained.max_abs
    epsilon = torch.finfo(getattr(torch, dtype)).eps
    assert last(trace).chained.max_abs < 8 * epsilon


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_attention_is_random_only_if_it_drops_something(carved, dropout):
    import torch

    class Attention(torch.nn.Module):
        def forward(self, x):
            return torch.nn.functional.scaled_dot_product_attention(x, x, x, dropout_p=dropout)

    trace = carved(Attention().eval(), (torch.randn(1, 2, 8, 4),))
    assert (last(trace).isolated is None) == (dropout > 0)


def test_the_error_of_a_case_comes_along_with_the_state_that_it_hands_on(carved):
    """Chained floors are those of all cases in one run: as if the second case had followed in one graph."""
    import torch

    from tapml_tui.carve import Handed, Workload, WorkloadCase

    class Step(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(64, 64)

        def forward(self, x):
            return torch.tanh(self.linear(x))

    class Twice(torch.nn.Module):
        def __init__(self, step):
            super().__init__()
            self.step = step

        def forward(self, x):
            return self.step(self.step(x))

    torch.manual_seed(4)
    step, x = Step().eval(), torch.randn(16, 64)
    cases = (WorkloadCase("first", (x,)), WorkloadCase("second", (Handed("first"),)))
    two = carved(Workload(step, cases), name="two.trace")
    one = carved(Twice(step).eval(), (x,), name="one.trace")
    out = two.graphs[0].outputs[0].value
    handed, whole = two.value(1, out), one.value(0, one.graphs[0].outputs[0].value)
    assert handed.tensor == whole.tensor
    assert handed.chained == whole.chained
    assert handed.isolated == whole.isolated
    assert handed.chained != handed.isolated


def test_small_elements_are_held_to_their_own_units(carved):
    import torch

    class Sum(torch.nn.Module):
        def forward(self, x):
            return x.exp()

    value = last(carved(Sum(), (torch.tensor([-30.0, 8.0, 0.3]),)))
    assert value.isolated.ulps < 2  # of each element, though exp(8) is 3e16 times exp(-30)
    assert value.peak == pytest.approx(math.exp(8)) and value.rms == pytest.approx(math.exp(8) / math.sqrt(3), rel=1e-3)


def test_every_recorded_floating_value_has_a_size(carved):
    from tests import models
    from trace_format import InputRef

    for floors in (True, False):
        trace = carved(models.awkward(), floors=floors)
        refs = [InputRef(i) for i in range(len(trace.graphs[0].inputs))]
        described = [trace.value(0, ref) for ref in refs] + [value for _, value in values(trace)]
        for value in described:
            data = trace.array(value) if value is not None and value.tensor is not None else None
            if data is None:
                continue
            finite = data[np.isfinite(data)].astype(complex) if data.dtype.kind in "fcV" else np.zeros(0)
            assert (value.peak is not None) == bool(finite.size)
            if finite.size:
                assert value.peak == pytest.approx(np.abs(finite).max())
                assert value.rms == pytest.approx(np.sqrt(np.square(np.abs(finite)).mean()))


def test_a_view_has_the_floors_of_what_it_views(carved):
    import torch

    class Views(torch.nn.Module):
        def forward(self, x):
            made = x.sin()
            return made.reshape(-1), made.reshape(2, 8).t().reshape(4, 4)

    trace = carved(Views(), (torch.randn(4, 4),))
    found = {node.name: value for node, value in values(trace)}
    made = found["sin"].chained
    assert made.max_abs > 0
    for name, value in found.items():
        if name != "sin":  # the same numbers in another order have the same largest error
            assert value.isolated.origin == "exact"
            assert (value.chained.max_abs, value.chained.ulps) == (made.max_abs, made.ulps), name
            assert value.chained.rms == pytest.approx(made.rms)
