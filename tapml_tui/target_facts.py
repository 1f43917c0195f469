"""What others are told of targets: the ledger their names, exported tests what to compile for."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tapml_tui.backends.launch import TargetOptions, address_of, target_ids
from tapml_tui.engine.exhibits import Origin


def names_of(options: Sequence[TargetOptions]) -> dict[str, str]:
    """What a ledger calls each target, by its id: the same tomorrow."""
    return {id: f"{one.target} @{address_of(one).text}" for id, one in zip(target_ids(options), options, strict=True)}


def origins_of(options: Sequence[TargetOptions]) -> dict[str, Origin]:
    """What an exported test is told of each target, by its id."""

    def origin(one: TargetOptions) -> Origin:
        return Origin(
            one.target,
            one.device or "",
            os.path.abspath(one.lower) if one.lower else "",
            tuple(map(os.path.abspath, one.load)),
            one.allow_ops,
        )

    return {id: origin(one) for id, one in zip(target_ids(options), options, strict=True)}
