"""The traces of the suite: `python -m tests.faults.carving FOLDER MODELS DTYPES`, a process because of torch."""

from __future__ import annotations

import sys
from pathlib import Path

MODELS = ("activations", "convolutions", "demo")
DTYPES = ("float32", "float16", "bfloat16")


def path_of(folder: Path, model: str, dtype: str) -> Path:
    """Where a trace lies."""
    return folder / f"{model}-{dtype}.trace"


def main() -> None:
    """Carve each model in each dtype; both lists are separated by commas."""
    import torch
    from transformers import logging

    from assets import demo_model
    from tapml_tui.carve import carve_workload
    from tests.faults import models

    logging.set_verbosity_error()
    torch.set_num_threads(1)
    folder, wanted, dtypes = sys.argv[1:]
    builders = {"activations": models.activations, "convolutions": models.convolutions, "demo": demo_model.build}
    for model in wanted.split(","):
        for dtype in dtypes.split(","):
            chosen = None if dtype == "float32" else getattr(torch, dtype)
            carve_workload(builders[model](), out=path_of(Path(folder), model, dtype), dtype=chosen)


if __name__ == "__main__":
    main()
