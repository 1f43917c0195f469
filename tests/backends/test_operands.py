"""What a worker holds, and lets go of."""

from __future__ import annotations

from tapml_tui.backends.operands import TensorStore


def test_results_go_and_weights_stay() -> None:
    store: TensorStore[str] = TensorStore(budget=100, persistent_budget=100)
    store.put("weight", "w", 60, persistent=True)
    store.put("a", "a", 60)
    store.put("b", "b", 60)
    assert (store.get("weight"), store.get("a"), store.get("b")) == ("w", None, "b")
    assert store.drop_results()
    assert (store.get("weight"), store.get("b")) == ("w", None)
    assert not store.drop_results()
    store.put("c", "c", 100)
    assert store.get("c") == "c"
