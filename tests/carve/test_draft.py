"""Weights are written while torch.export works, and nothing of it is left where they turn out not to be wanted."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from trace_format import InputRef, open_trace

pytestmark = pytest.mark.torch


def model(unread: int = 0):
    """A linear layer of 512 KiB, beside a weight that no operator reads of so many bytes."""
    import torch

    torch.manual_seed(0)
    module = torch.nn.Linear(512, 256).eval()
    if unread:
        module.unread = torch.nn.Parameter(torch.randn(unread // 4))
    return module, (torch.randn(2, 512),)


def parts(folder):
    return [path for path in folder.iterdir() if path.name.endswith(".partial")]


@pytest.fixture
def exported(monkeypatch, tmp_path):
    """Bytes of the file when torch.export is through, and all that was begun on the other thread is done."""
    from tapml_tui.carve import carving

    begun, found, whole = [], [], carving.prepare

    class Ahead(carving.Ahead):
        def __init__(self, module):
            super().__init__(module)
            begun.append(self)

    def prepare(workload, **options):
        prepared = whole(workload, **options)
        begun[-1].then(lambda: None).result(60)
        found.append(sum(path.stat().st_size for path in parts(tmp_path)))
        return prepared

    monkeypatch.setattr(carving, "Ahead", Ahead)
    monkeypatch.setattr(carving, "prepare", prepare)
    return found


def test_weights_are_on_the_disk_when_torch_export_is_through(tmp_path, exported):
    from tapml_tui.carve import carve

    module, args = model()
    carve(module, args, out=tmp_path / "a.trace")
    assert exported[0] > module.weight.nbytes
    with open_trace(tmp_path / "a.trace") as trace:
        assert np.array_equal(trace.array(trace.value(0, InputRef(0))), module.weight.detach().numpy())
    assert parts(tmp_path) == []


@pytest.mark.parametrize("options", [{"include": "*linear*"}, {"max_size": 600_000}])
def test_they_are_not_where_not_all_are_wanted_or_there_may_be_no_room(tmp_path, exported, options):
    from tapml_tui.carve import carve

    module, args = model(unread=1 << 20)
    carve(module, args, out=tmp_path / "a.trace", **options)
    assert exported == [0]


def test_what_no_operator_reads_is_not_in_the_trace(tmp_path, exported):
    from tapml_tui.carve import carve

    module, args = model(unread=1 << 20)
    report = carve(module, args, out=tmp_path / "a.trace")
    assert exported[0] > 1 << 20  # it was written, and begun anew without it
    assert report.size < 1 << 20
    assert parts(tmp_path) == []


def test_a_weight_that_changed_meanwhile_is_recorded_as_it_is(tmp_path, monkeypatch):
    import torch

    from tapml_tui.carve import carve, carving

    module, args = model()
    whole = carving.prepare

    def prepare(workload, **options):
        prepared = whole(workload, **options)
        with torch.no_grad():
            module.weight.mul_(2)
        return prepared

    monkeypatch.setattr(carving, "prepare", prepare)
    report = carve(module, args, out=tmp_path / "a.trace")
    assert report.size < 2 * module.weight.nbytes, "what it was before is there too"
    with open_trace(tmp_path / "a.trace") as trace:
        assert np.array_equal(trace.array(trace.value(0, InputRef(0))), module.weight.detach().numpy())


def test_a_model_that_cannot_be_exported_leaves_nothing(tmp_path):
    import torch

    from tapml_tui.carve import CarveError, carve

    class Decides(torch.nn.Linear):
        def forward(self, x):
            return x if x.sum() > 0 else super().forward(x)

    with pytest.raises(CarveError):
        carve(Decides(512, 256), (torch.randn(2, 512),), out=tmp_path / "a.trace")
    assert list(tmp_path.iterdir()) == []
    assert not [t for t in threading.enumerate() if t.name.startswith("carve-")]


def test_a_disk_that_fills_up_meanwhile_ends_in_a_readable_trace(tmp_path, monkeypatch):
    """The weights find no room; with the graph first, what is left can be read."""
    from tapml_tui.carve import carving
    from trace_format import DiskFull
    from trace_format.output import Output

    written = Output._write_out

    def full(self, data):
        if len(data) >= 1 << 19:
            raise OSError(28, "No space left on device")
        written(self, data)

    monkeypatch.setattr(Output, "_write_out", full)
    module, args = model()
    with pytest.raises(DiskFull) as stopped:
        carving.carve(module, args, out=tmp_path / "a.trace")
    assert stopped.value.readable
    with open_trace(tmp_path / "a.trace") as trace:
        assert len(trace.graphs[0]) == 1
    assert parts(tmp_path) == []


def test_python_is_left_as_it_was(tmp_path):
    import gc
    import sys

    from tapml_tui.carve import carve

    before = sys.getswitchinterval(), gc.get_freeze_count()
    module, args = model()
    carve(module, args, out=tmp_path / "a.trace")
    assert (sys.getswitchinterval(), gc.get_freeze_count()) == before
