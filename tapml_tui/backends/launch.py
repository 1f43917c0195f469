"""From the options of the command line to the two backends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from tapml_tui.backends.address import Address, target_kind
from tapml_tui.backends.late import LateBackend
from tapml_tui.backends.protocol import Backend, Deadlines

if TYPE_CHECKING:
    from tapml_tui.backends.probe import Probe

# The runtime that executes what a kind of target compiles to, where it is not named like the kind.
_RUNTIMES = {"llvm": "cpu", "c": "cpu"}


@dataclass(frozen=True, slots=True)
class TargetOptions:
    """Where the target is and what is compiled for it.

    Attributes:
        target: TVM target: a kind, or JSON.
        rpc: HOST:PORT of a running server; without it and `tracker`, one of our own on loopback.
        tracker: HOST:PORT of a tracker; needs `key`.
        key: Of the server, or of the device at the tracker.
        device: Runtime of the device; without, it follows from `target`.
        host: TVM target of the code around a GPU's kernels; "" is this machine.
        cc: The command that links libraries; "" is cc.
        lib: A prebuilt library that is used instead of compiling.
        name: Of this target among several; "" if it is the only one.
        deadlines: How long what may take.
        jobs: How many devices of the tracker are used at a time, or servers of our own.
        lower: FILE.py with converters of the user's (`backends.compiler.lower.load_user_lowering`).
        allow_ops: Operators outside of aten and prims that may run: names or namespaces.
        load: FILE.pys that register operators of the user's.
        relaunch: Launch kernels again that took a device with them in an earlier session.
    """

    target: str = "llvm"
    rpc: str | None = None
    tracker: str | None = None
    key: str | None = None
    device: str | None = None
    host: str = ""
    cc: str = ""
    lower: str | None = None
    allow_ops: tuple[str, ...] = ()
    load: tuple[str, ...] = ()
    lib: str | None = None
    name: str = ""
    deadlines: Deadlines = field(default_factory=Deadlines)
    jobs: int = 1
    relaunch: bool = False


def make_backends(
    options: TargetOptions | Sequence[TargetOptions],
    *,
    deadlines: Deadlines | None = None,
    cache_dir: Path | None = None,
    state_dir: Path | None = None,
) -> tuple[Backend, ...]:
    """The source and the target, or the source and several targets "target:NAME"; nothing is started.

    Args:
        options: Of the command line; of several targets each has a name of its own.
        deadlines: How long what may take, in place of those of the options.
        cache_dir: Of compiled kernels; by default that of the user.
        state_dir: Of what is remembered of devices; by default that of the user.

    Raises:
        ValueError: If an address is none, or two targets have one name.
    """
    from tapml_tui.backends.settings import CompilerSettings
    from tapml_tui.backends.source import SourceBackend
    from tapml_tui.backends.target import TargetBackend

    several = _several(options)
    allowed = sorted({op for one in several for op in one.allow_ops})
    targets = [
        TargetBackend(
            address_of(one),
            CompilerSettings(
                target=one.target,
                lower=_resolved(one.lower) if one.lower else None,
                allow=tuple(sorted(one.allow_ops)),
                load=tuple(map(_resolved, one.load)),
                host=one.host,
                linker=one.cc,
            ),
            cache_folder=cache_dir or default_cache(),
            state_folder=state_dir or platformdirs.user_state_path("tapml-tui"),
            library=_resolved(one.lib) if one.lib else "",
            name=one.name if len(several) > 1 else "",
            deadlines=deadlines or one.deadlines,
            jobs=one.jobs,
            relaunch=one.relaunch,
        )
        for one in several
    ]
    source = SourceBackend(
        allow_ops=allowed,
        load=list(dict.fromkeys(_resolved(file) for one in several for file in one.load)),
        deadlines=deadlines or several[0].deadlines,
    )
    return source, *targets


def _resolved(file: str) -> str:
    """As the worker finds it, wherever it is."""
    return str(Path(file).resolve())


def _several(options: TargetOptions | Sequence[TargetOptions]) -> Sequence[TargetOptions]:
    several = [options] if isinstance(options, TargetOptions) else list(options)
    names = {one.name for one in several}
    if not several or (len(several) > 1 and (len(names) < len(several) or "" in names)):
        raise ValueError("several targets need a name each")
    return several


def target_ids(options: Sequence[TargetOptions]) -> list[str]:
    """The ids of the target backends: "target", or of several "target:NAME"."""
    return [f"target:{one.name}" if len(options) > 1 else "target" for one in options]


def late_backends(options: TargetOptions | Sequence[TargetOptions]) -> tuple[Backend, ...]:
    """As `make_backends`, but importing nothing before one of them is started.

    Raises:
        ValueError: If an address is none, or two targets have one name.
    """
    several = _several(options)
    for one in several:
        address_of(one)
    made = cache(lambda: make_backends(options))
    ids = ["source", *target_ids(several)]

    def maker(number: int) -> Callable[[], Backend]:
        return lambda: made()[number]

    return tuple(LateBackend(id, maker(number)) for number, id in enumerate(ids))


def probe(
    options: TargetOptions,
    *,
    deadlines: Deadlines | None = None,
    cache_dir: Path | None = None,
    trying: Callable[[str], None] = lambda link: None,
) -> Iterator[Probe]:
    """Try the chain from here to a first result on the device, link by link: see `probe.Probe`.

    `trying` is told what is tried next, where that may take seconds.

    Raises:
        ValueError: If an address is none.
    """
    from tapml_tui.backends.probe import probe_chain

    source, target = make_backends(options, deadlines=deadlines, cache_dir=cache_dir)
    return probe_chain(
        source,
        target,
        address=address_of(options),
        tvm_target=options.target,
        linker=options.cc,
        cache_folder=cache_dir or default_cache(),
        deadlines=deadlines or options.deadlines,
        trying=trying,
    )


def default_cache() -> Path:
    """Where compiled kernels are kept."""
    return platformdirs.user_cache_path("tapml-tui") / "kernels"


def address_of(options: TargetOptions) -> Address:
    """Where the device is.

    Raises:
        ValueError: If an address is no HOST:PORT.
    """
    kind = target_kind(options.target)
    return Address(
        device=options.device or _RUNTIMES.get(kind, kind),
        server=_host_port(options.rpc),
        tracker=_host_port(options.tracker),
        key=options.key or "",
    )


def _host_port(text: str | None) -> tuple[str, int] | None:
    if text is None:
        return None
    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError(f"{text} is no address: write HOST:PORT")
    return host.strip("[]"), int(port)
