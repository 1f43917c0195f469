"""What is found out about weights while torch.export works is true of them when they are written."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

pytestmark = pytest.mark.torch


def test_large_weights_are_hashed_and_measured_before_their_turn():
    import torch

    from tapml_tui.carve.ahead import Ahead

    module = torch.nn.Linear(512, 256)
    with Ahead(module) as ahead:
        recorded, known = ahead.weight(module.weight.detach())
        assert recorded.data_ptr() == module.weight.data_ptr()
        assert known.digest == hashlib.sha256(module.weight.detach().numpy().tobytes()).digest()
        assert known.size.elements == 512 * 256 and known.size.peak == module.weight.detach().abs().max().item()
        assert ahead.weight(module.bias.detach()) is None  # too small to be worth a thread
        assert ahead.weight(module.weight.detach().clone()) is None


def test_a_weight_that_was_written_to_since_is_looked_at_again(carved):
    import torch

    from tapml_tui.carve.ahead import Ahead

    module = torch.nn.Linear(512, 256)
    with Ahead(module) as ahead, torch.no_grad():
        module.weight.mul_(2)
        assert ahead.weight(module.weight.detach()) is None


def test_what_was_found_ahead_is_what_is_recorded(carved):
    import torch

    from trace_format import InputRef

    torch.manual_seed(0)
    module = torch.nn.Linear(512, 256).eval()
    module.same = torch.nn.Parameter(module.weight.detach().clone())  # equal bytes in another place: stored once
    trace = carved(module, (torch.randn(2, 512),))
    value = trace.value(0, InputRef(0))
    recorded = trace.array(value)
    assert np.array_equal(recorded, module.weight.detach().numpy())
    assert value.peak == np.abs(recorded).max() and value.rms == pytest.approx(np.sqrt(np.square(recorded).mean()))
