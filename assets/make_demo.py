"""Trains the demo's model and carves demo.trace: `python assets/make_demo.py [--carve-only]`.

About a minute on two cores. The same machine and torch give the same weights bit by bit; others
give weights of their own that know the proverbs as well, so the weights are kept beside the script.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import demo_model as demo  # noqa: E402

from tapml_tui.carve import carve_workload  # noqa: E402

TRACE = HERE / "demo.trace"
MAX_BYTES = 4 << 20
STEPS = 600


def train() -> nn.Module:
    """Learn every proverb, and where it ends."""
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(2)
    model = demo.Proverbs().train()
    lines = torch.cat([demo.encode(line) for line in demo.PROVERBS])
    following = torch.full_like(lines, demo.LETTERS.index("\n") + 1)
    following[:, :-1] = lines[:, 1:]
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=STEPS)
    for step in range(STEPS):
        loss = nn.functional.cross_entropy(model(lines)[lines != demo.PAD], following[lines != demo.PAD])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.3f}")
    return model.eval()


def main() -> None:
    """Train, check that it has learned, carve, check the size."""
    if "--carve-only" not in sys.argv:
        weights = {name: tensor.numpy() for name, tensor in train().state_dict().items()}
        np.savez(demo.WEIGHTS, **weights)
    model = demo.trained()
    with torch.no_grad():
        for prompt in demo.PROMPTS:
            completed = demo.complete(model, prompt)
            print(f"{prompt}|{completed[len(prompt) :]}")
            if completed not in demo.PROVERBS:
                raise SystemExit(f"{completed!r} is no proverb: it has not learned")
    report = carve_workload(
        demo.build(),
        out=TRACE,
        max_size=MAX_BYTES,
        command="python assets/make_demo.py",
        model_file=HERE / "demo_model.py",
    )
    print(f"{TRACE.name}: {report.size} bytes, {report.nodes} nodes, {report.cases} cases")


if __name__ == "__main__":
    main()
