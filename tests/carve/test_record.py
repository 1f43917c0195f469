"""What is recorded is what the model computed: every value, at the time of the call."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from trace_format import InputKind, InputRef, NodeRef, OutputKind
from trace_format.model import Named

pytestmark = pytest.mark.torch


def nodes(graph):
    return [graph.node(i) for i in range(len(graph))]


def find(graph, op):
    return next(i for i in range(len(graph)) if graph.op(i) == op)


def references(argument):
    if isinstance(argument, (NodeRef, InputRef)):
        return [argument]
    if isinstance(argument, tuple) and not isinstance(argument, Named):
        return [ref for item in argument for ref in references(item)]
    return []


def execute(trace, case, graph, index):
    """One node from the bytes in the trace alone, the way that the source worker does."""
    from tapml_tui.backends.protocol import Call, CallResult, NamedConstant, TensorSpec, Unit, UnitInput
    from tapml_tui.operators import call_unit, from_numpy

    node = graph.node(index)
    refs = list(dict.fromkeys(references((node.args, tuple(v for _, v in node.kwargs)))))

    def place(argument):
        if isinstance(argument, (NodeRef, InputRef)):
            value = trace.value(case, argument)
            return UnitInput(refs.index(argument)) if value.scalar is None else value.scalar
        if isinstance(argument, Named):
            return NamedConstant(*argument)
        return tuple(place(a) for a in argument) if isinstance(argument, tuple) else argument

    values = [trace.value(case, ref) for ref in refs]
    unit = Unit(
        (Call(node.op, place(node.args), tuple((k, place(v)) for k, v in node.kwargs)),),
        tuple(TensorSpec(v.dtype, v.shape) for v in values),
        (),
        tuple(CallResult(0, o) for o in range(node.outputs)),
    )
    tensors = [from_numpy(trace.array(v)) for v in values]
    return call_unit(unit, tensors, allow={"transformers"}, max_output_bytes=1 << 30)


def assert_reproducible(trace):
    """Every node marked as reproducible gives the recorded bits, out of the file, in this process."""
    from tapml_tui.operators import to_numpy

    count = 0
    for number, case in enumerate(trace.cases):
        graph = trace.graphs[case.graph]
        for index, node in enumerate(nodes(graph)):
            values = [trace.value(number, NodeRef(index, o)) for o in range(node.outputs)]
            if not values or not all(v.reproducible and v.tensor is not None for v in values):
                continue
            count += 1
            for value, tensor in zip(values, execute(trace, number, graph, index), strict=True):
                assert to_numpy(tensor).tobytes() == trace.array(value).tobytes(), node.id
                assert tuple(tensor.shape) == value.shape
    return count


@pytest.mark.parametrize("name", ["resnet", "llama", "awkward"])
def test_every_node_gives_the_same_bits_again_from_the_file(carved, name):
    from tests import models

    trace = carved(getattr(models, name)(), floors=False)
    calls = sum(node.outputs > 0 for case in trace.cases for node in nodes(trace.graphs[case.graph]))
    assert assert_reproducible(trace) == calls


def test_mixtral_says_what_it_cannot_reproduce(carved):
    from tests import models

    trace = carved(models.mixtral(), floors=False)
    assert assert_reproducible(trace) > 200
    unlike = {}
    for i, node in enumerate(nodes(trace.graphs[0])):
        for o in range(node.outputs):
            value = trace.value(0, NodeRef(i, o))
            if not value.reproducible:
                unlike[node.op] = value.note
    assert "uninitialised" in unlike.pop("aten.empty_like.default")
    assert set(unlike) <= {"transformers.grouped_mm_fallback.default"}


def test_values_are_those_of_the_model(carved):
    from tests import models

    workload = models.resnet()
    trace = carved(workload, floors=False)
    graph = trace.graphs[0]
    expected = workload.module(*workload.cases[0].args)
    (output,) = graph.outputs
    assert np.array_equal(trace.array(trace.value(0, output.value)), expected.detach().numpy())
    assert [g.target for g in graph.inputs if g.kind is InputKind.PARAMETER] == [
        n for n, _ in workload.module.named_parameters()
    ]
    weight = next(i for i, g in enumerate(graph.inputs) if g.target == "9.weight")
    stored = trace.array(trace.value(0, InputRef(weight)))
    assert np.array_equal(stored, workload.module[9].weight.detach().numpy())


def test_bytes_are_those_before_a_change_in_place(carved):
    import torch

    class InPlace(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("total", torch.ones(3))

        def forward(self, x):
            y = x * 2
            z = y.exp()
            y.div_(4)  # z must be recorded as exp of what y was
            self.total.add_(y)
            x.zero_()
            return z + y

    x = torch.tensor([1.0, 2.0, 3.0])
    module = InPlace()
    trace = carved(module, (x,))
    assert assert_reproducible(trace) == len(trace.graphs[0])
    assert x.tolist() == [1, 2, 3]
    assert module.total.tolist() == [1, 1, 1]
    graph = trace.graphs[0]
    kinds = {o.kind: o for o in graph.outputs}
    assert set(kinds) == {OutputKind.USER, OutputKind.BUFFER, OutputKind.INPUT}
    assert kinds[OutputKind.BUFFER].target == "total"
    updated = trace.array(trace.value(0, kinds[OutputKind.BUFFER].value))
    assert updated.tolist() == [1.5, 2.0, 2.5]
    exp = graph.node(find(graph, "aten.exp.default"))
    assert trace.array(trace.value(0, exp.args[0])).tolist() == [2.0, 4.0, 6.0]


def test_shapes_types_and_outputs_of_every_kind(carved):
    from tests import models

    trace = carved(models.awkward())
    graph = trace.graphs[0]
    seen = {}
    for i, node in enumerate(nodes(graph)):
        for o in range(node.outputs):
            value = trace.value(0, NodeRef(i, o))
            seen.setdefault(value.dtype, set()).add(value.shape)
            assert trace.array(value).shape == value.shape
    assert {"bool", "int64", "bfloat16", "complex64", "float32"} <= set(seen)
    assert () in seen["int64"]
    assert () in seen["float32"]
    assert (0, 8) in seen["float32"]
    split = find(graph, "aten.split.Tensor")
    assert graph.node(split).outputs == 2
    assert trace.value(0, NodeRef(split, 1)).strides == (8, 1)
    assert not any("getitem" in node.op for node in nodes(graph))
    checks = [node for node in nodes(graph) if node.op.startswith("aten._assert")]
    assert checks
    assert all(node.outputs == 0 and "no value" in node.note for node in checks)


def test_cases_share_a_graph_where_their_shapes_agree_and_hand_state_on(carved):
    from tests import models

    trace = carved(models.awkward(), floors=False)
    assert [case.graph for case in trace.cases] == [0, 1, 0]
    assert [case.name for case in trace.cases] == ["five rows", "three rows", "five again"]
    assert trace.cases[0].handed_on == ()
    for number in (1, 2):
        ((index, (earlier, output)),) = trace.cases[number].handed_on
        assert earlier == number - 1
        graph, before = trace.graphs[trace.cases[number].graph], trace.graphs[trace.cases[earlier].graph]
        assert graph.inputs[index].kind is InputKind.STATE
        assert before.outputs[output].kind is OutputKind.STATE
        taken = trace.value(number, InputRef(index))
        given = trace.value(earlier, before.outputs[output].value)
        assert taken.tensor == given.tensor is not None


def test_ids_and_bytes_survive_a_new_carving(carved):
    from tests import models

    first, second = (carved(models.llama(), name=f"{i}.trace", floors=False) for i in range(2))
    ids = [first.graphs[0].node_id(i) for i in range(len(first.graphs[0]))]
    assert len(set(ids)) == len(ids)
    assert "model.model.layers.3.mlp.gate_proj/aten.linear.default#0" in ids
    assert "model.model.layers.0.self_attn/aten.matmul.default#1" in ids
    assert ids == [second.graphs[0].node_id(i) for i in range(len(second.graphs[0]))]
    assert not any("_unsafe_view" in i for i in ids)
    for i, node in enumerate(nodes(first.graphs[0])):
        for o in range(node.outputs):
            ref = NodeRef(i, o)
            assert first.value(0, ref).tensor == second.value(0, ref).tensor


def test_source_lines_name_the_model_first_and_no_machine(carved):
    from tests import models

    trace = carved(models.llama(), floors=False)
    graph = trace.graphs[0]
    node = graph.node(graph.find_id("model.model.layers.1.mlp.up_proj/aten.linear.default#0"))
    assert node.source[0].file.startswith("transformers/models/llama/")
    assert "self.up_proj(x)" in node.source[0].text
    assert node.source[-1].file == "torch/nn/modules/linear.py"
    files = {line.file for n in nodes(graph) for line in n.source}
    assert not any(file.startswith("/") for file in files)
    assert any(line.file == "models.py" for line in node.source)


def test_keyword_arguments_reach_the_right_inputs(carved):
    import torch

    from tapml_tui.carve import Workload, WorkloadCase

    class Named(torch.nn.Module):
        def forward(self, x, *, minus, times):
            return (x - minus) * times

    x, minus, times = torch.tensor([5.0]), torch.tensor([2.0]), torch.tensor([7.0])
    cases = (
        WorkloadCase("as declared", (x,), {"minus": minus, "times": times}),
        WorkloadCase("the other way", (x,), {"times": times, "minus": minus}),
    )
    trace = carved(Workload(Named(), cases))
    for number, case in enumerate(trace.cases):
        (output,) = trace.graphs[case.graph].outputs
        assert trace.array(trace.value(number, output.value)).tolist() == [21.0]


def test_numbers_and_python_arithmetic_are_accounted_for(carved):
    import torch

    class Sizes(torch.nn.Module):
        def forward(self, x, scale, flag):
            n = x.argmax().item()
            torch._check(n >= 0)
            return x * scale * n if flag else x

    trace = carved(Sizes(), (torch.tensor([1.0, 5.0, 2.0]), 2, True))
    graph = trace.graphs[0]
    scalars = [
        trace.value(0, NodeRef(i, o)).scalar
        for i, node in enumerate(nodes(graph))
        for o in range(node.outputs)
        if trace.value(0, NodeRef(i, o)).tensor is None
    ]
    assert 1 in scalars
    (output,) = graph.outputs
    assert trace.array(trace.value(0, output.value)).tolist() == [2.0, 10.0, 4.0]


def test_a_higher_order_operator_is_recorded_and_said(carved):
    import torch

    class Either(torch.nn.Module):
        def forward(self, x):
            return torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: x - 1, (x,)) * 2

    trace = carved(Either(), (torch.ones(3),))
    graph = trace.graphs[0]
    index = find(graph, "higher_order.cond.default")
    assert "cannot be executed alone" in graph.node(index).note
    assert any("higher_order.cond" in note for note in trace.notes)
    assert trace.array(trace.value(0, NodeRef(index, 0))).tolist() == [2, 2, 2]
    assert trace.array(trace.value(0, graph.outputs[0].value)).tolist() == [4, 4, 4]


def test_random_operators_are_not_called_reproducible(carved):
    import torch

    class Noise(torch.nn.Module):
        def forward(self, x):
            return x + torch.rand_like(x)

    trace = carved(Noise(), (torch.zeros(64),))
    graph = trace.graphs[0]
    random = trace.value(0, NodeRef(0))
    assert random.reproducible is False
    assert "random" in random.note
    assert random.isolated is None
    assert trace.value(0, NodeRef(find(graph, "aten.add.Tensor"))).reproducible is True


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_what_sums_in_another_order_on_other_strides_is_judged_all_the_same(carved, dtype):
    import torch

    class Turned(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution, self.linear = torch.nn.Conv2d(8, 16, 3), torch.nn.Linear(64, 200)

        def forward(self, image, rows):
            turned = rows.transpose(1, 2)
            return self.convolution(image.permute(0, 3, 1, 2)), self.linear(turned), turned.mean(-1), turned.sum(1)

    torch.manual_seed(0)
    kind = getattr(torch, dtype)
    inputs = torch.randn(1, 14, 14, 8, dtype=kind), torch.randn(2, 64, 100, dtype=kind)
    trace = carved(Turned().eval().to(kind), inputs)
    graph = trace.graphs[0]
    values = {node.op: trace.value(0, NodeRef(i, 0)) for i, node in enumerate(nodes(graph))}
    assert False not in {value.reproducible for value in values.values()}
    assert all(value.isolated is not None for value in values.values())


def test_what_gives_other_bits_each_time_is_not_judged(carved):
    import torch

    calls = itertools.count()

    @torch.library.custom_op("tapml_test::drifting", mutates_args=(), schema="(Tensor x) -> Tensor")
    def drifting(x):
        return x + next(calls)

    drifting.register_fake(torch.empty_like)

    class Drift(torch.nn.Module):
        def forward(self, x):
            return torch.ops.tapml_test.drifting(x)

    trace = carved(Drift(), (torch.zeros(4),))
    assert trace.value(0, NodeRef(0)).reproducible is False


def test_a_part_can_be_carved_with_what_it_needs(carved):
    from tests import models

    whole = carved(models.llama(), floors=False)
    part = carved(models.llama(), name="part.trace", include="model.model.layers.1*")
    assert part.size_bytes < whole.size_bytes / 2
    graph = part.graphs[0]
    recorded = set()
    for i, node in enumerate(nodes(graph)):
        inside = node.path.startswith("model.model.layers.1")
        for o in range(node.outputs):
            value = part.value(0, NodeRef(i, o))
            if inside:
                assert value.tensor is not None
                assert value.isolated is not None
                assert value.reproducible
            elif value.tensor is None:
                assert "--include" in value.note
        if inside:
            recorded.add(node.path)
            for ref in references(node.args):
                assert part.value(0, ref).tensor is not None or part.value(0, ref).scalar is not None
    assert recorded
    assert any("left out by --include" in note for note in part.notes)
    assert assert_reproducible(part)


def test_what_would_overflow_in_half_precision_is_said_before_any_device_is_touched(carved):
    import torch

    class Loud(torch.nn.Module):
        def forward(self, x):
            return (x * 1000).square().mean(-1) / 1e6

    trace = carved(Loud(), (torch.full((2, 300), 2.0),))
    (half,) = [note for note in trace.notes if "float16" in note and "bfloat16" not in note]
    assert half.startswith("2 of 4 nodes would overflow in float16: square (4e+06), mean (1.2e+09 in the sum")
    assert any("float8_e4m3fn: mul (2e+03), " in note for note in trace.notes)
    assert not any("bfloat16" in note for note in trace.notes)


def test_a_model_with_room_says_how_much(carved):
    import torch

    trace = carved(torch.nn.ReLU(), (torch.tensor([8.0, -1.0]),))
    assert trace.notes == ("no node would overflow in float16: relu (8) fits 8,188 times",)
    narrow = carved(torch.nn.ReLU(), (torch.tensor([8.0], dtype=torch.float16),), name="narrow.trace")
    assert narrow.notes == ()
