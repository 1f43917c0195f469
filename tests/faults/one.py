"""One wrong kernel to look at on the screen, as a file for `--lower`.

    python -m tests.faults.one aten.softmax tail_columns > wrong.py
    tapml-tui assets/demo.trace --lower wrong.py

Every node of that operator gets it. Kinds are those of `faults.py`; another seed draws other rows, factors, tiles.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.arithmetic import FREEDOM
from tests.faults.faults import KINDS

_FILE = """\
import sys

sys.path.insert(0, {root!r})

from tests.faults.one import only

lower = only({operator!r}, {kind!r}, {strength!r}, {seed!r})
"""


def only(operator: str, kind: str, strength: float, seed: int) -> Callable[[str], Callable[..., Any] | None]:
    """The `lower` of a file: a wrong kernel for one operator. A level is twice the mean size of a normal result."""

    def lower(op: str) -> Callable[..., Any] | None:
        if op.rpartition(".")[0] != operator:
            return None

        def build(block: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
            import numpy as np
            from tvm import relax

            from tests.faults.kernels import prim_func

            wrong = f"{operator}.fault_{kind}_{seed}"
            *_, given = prim_func(f"{operator}.benign_plain", args, kwargs)
            numbers = relax.const(np.array([strength, 1.0, 1.6, 0.01], np.float32))
            memory = relax.const(np.zeros([int(size) for size in given.shape], str(given.dtype)))
            function, tensors, given = prim_func(wrong, [*args, numbers, memory], kwargs)
            return relax.call_tir(block.add_func(function, "kernel"), tensors, [given])

        return build

    return lower


def main() -> None:
    """Print the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("operator", choices=sorted(FREEDOM))
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.add_argument("--strength", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    root = str(Path(__file__).parents[2])
    print(_FILE.format(root=root, **vars(parser.parse_args())), end="")


if __name__ == "__main__":
    main()
