"""Weights that lie in a .safetensors beside the trace are referred to, not copied."""

from __future__ import annotations

import numpy as np
import pytest

from trace_format import InputKind, InputRef

pytestmark = pytest.mark.torch


@pytest.fixture
def model():
    from tests import models

    return models.tiny()


def save(module, path, **changed):
    from safetensors.torch import save_file

    # Checkpoints name things their own way: what counts is the content.
    tensors = module.state_dict() | changed
    save_file({f"wrapped.{name}": tensor.contiguous() for name, tensor in tensors.items()}, path)


def parameters(trace):
    return {
        g.target: trace.array(trace.value(0, InputRef(i)))
        for i, g in enumerate(trace.graphs[0].inputs)
        if g.kind is InputKind.PARAMETER
    }


def test_weights_are_referred_to(carved, tmp_path):
    from tests import models

    workload = models.llama()
    save(workload.module, tmp_path / "llama.safetensors")
    trace = carved(workload, weights=tmp_path / "llama.safetensors", floors=False)
    copied = carved(models.llama(), name="copied.trace", floors=False)
    assert copied.size_bytes - trace.size_bytes > 19_000_000
    for name, data in parameters(copied).items():
        assert np.array_equal(parameters(trace)[name], data), name
    assert any("by reference" in note for note in trace.notes)


def test_a_weight_that_differs_is_copied_and_said(carved, tmp_path, model):
    import torch

    module, args = model
    save(module, tmp_path / "w.safetensors", **{"2.bias": torch.full((4,), 9.0)})
    trace = carved(module, args, weights=tmp_path / "w.safetensors")
    assert np.array_equal(parameters(trace)["2.bias"], module[2].bias.detach().numpy())
    (note,) = [note for note in trace.notes if "by reference" in note]
    assert "3 of 4" in note
    assert "2.bias" in note


def test_weights_elsewhere_are_refused(tmp_path, model):
    from tapml_tui.carve import CarveError, carve

    module, args = model
    (tmp_path / "other").mkdir()
    save(module, tmp_path / "other" / "w.safetensors")
    for wrong, said in (
        (tmp_path / "other" / "w.safetensors", "beside"),
        (tmp_path / "none.safetensors", "no weights"),
    ):
        with pytest.raises(CarveError, match=said):
            carve(module, args, out=tmp_path / "a.trace", weights=wrong)
    assert not (tmp_path / "a.trace").exists()
