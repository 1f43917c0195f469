"""What each command of the command line does with its arguments. Everything heavy is imported when it is needed."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from tapml_tui.arguments import COMMANDS, debugger_parser
from tapml_tui.headless.exits import CommandError, Exit

if TYPE_CHECKING:
    from tapml_tui.backends.launch import TargetOptions
    from tapml_tui.backends.protocol import Backend
    from tapml_tui.engine import Engine
    from tapml_tui.engine.events import Event
    from trace_format import Trace


def dispatch(arguments: list[str]) -> int:
    """Carry out the command that these arguments name; its exit code.

    Raises:
        SystemExit: Help was asked for, or the arguments are wrong: argparse has said so.
        CommandError: It cannot be done, and why.
    """
    name = next((word for word in arguments if word != "--debug"), None)
    if name is None:
        debugger_parser().print_help(sys.stderr)
        return Exit.USAGE
    if name not in COMMANDS:
        _refuse_typo(name)  # before its arguments are: those of a mistyped command would be unknown
        return _debugger(debugger_parser().parse_args(arguments))
    arguments.remove(name)
    return HANDLERS[name](COMMANDS[name].parser(name).parse_args(arguments))


def _debugger(args: argparse.Namespace) -> int:
    if args.script is not None:
        return _replay(args)

    from tapml_tui.ui import run

    return run(
        args.trace,
        _targets(args),
        session=args.session,
        mouse=not args.no_mouse,
        tolerances=args.tolerances,
        fetch_limit=args.fetch_limit,
    )


def _replay(args: argparse.Namespace) -> int:
    from pathlib import Path

    from tapml_tui.engine import Engine
    from tapml_tui.headless.script import replay
    from tapml_tui.headless.tolerances import tolerances_for
    from tapml_tui.target_facts import names_of, origins_of

    options = _targets(args)

    def engine(trace: Trace, on_event: Callable[[Event], None]) -> Engine:
        return Engine(
            trace,
            _connect(options),
            on_event=on_event,
            run_path=Path(args.session) if args.session is not None else None,
            names=names_of(options),
            origins=origins_of(options),
            overrides=tolerances_for(args.trace, args.tolerances)[0],
            fetch_limit=args.fetch_limit,
        )

    return replay(args.trace, args.script, engine)


def _refuse_typo(name: str) -> None:
    if name.startswith("-") or os.path.exists(name):
        return
    from difflib import get_close_matches

    near = get_close_matches(name, COMMANDS, n=1)
    if near:
        raise CommandError(f"unknown command {name}", remedy=f"did you mean `tapml-tui {near[0]}`?")
    raise CommandError(f"there is no file {name}", remedy="check the name; `tapml-tui -h` lists the commands")


def _targets(args: argparse.Namespace) -> tuple[TargetOptions, ...]:
    from tapml_tui.target_options import targets_of

    return targets_of(args)


def _target_options(args: argparse.Namespace) -> TargetOptions:
    first, *others = _targets(args)
    if others:
        raise CommandError("this command works on one target at a time", remedy="name one --target or --profile")
    return first


def _carve(args: argparse.Namespace) -> int:
    from tapml_tui.carve.command import run

    return run(
        args.function,
        args.output,
        floors=not args.no_floors,
        max_size=args.max_size,
        include=args.include,
        dtype=args.dtype,
        weights=args.weights,
        strict=args.strict,
    )


def _info(args: argparse.Namespace) -> int:
    from tapml_tui.headless.info import info

    return info(args.trace, as_json=args.json)


def _verify(args: argparse.Namespace) -> int:
    from tapml_tui.headless.verify import verify

    return verify(args.trace, as_json=args.json)


def _recover(args: argparse.Namespace) -> int:
    from tapml_tui.headless.verify import recover

    return recover(args.trace, args.output)


def _check(args: argparse.Namespace) -> int:
    from tapml_tui.backends.launch import target_ids
    from tapml_tui.headless.check import Request, check

    options = _targets(args)
    request = Request(
        trace=args.trace,
        targets={id: one.target for id, one in zip(target_ids(options), options, strict=True)},
        mode="chained" if args.blame or args.verdict == "end-to-end" else args.mode,
        blame=args.blame,
        jobs=args.jobs,
        answer_only=args.verdict == "end-to-end",
        fetch_limit=args.fetch_limit,
        nodes=args.nodes,
        strict=args.strict,
        json=args.json,
        jsonl=args.jsonl,
        junit=args.junit,
        run=args.run,
        tolerances=args.tolerances,
    )
    return check(request, lambda: _connect(options))


def _connect(options: TargetOptions | tuple[TargetOptions, ...]) -> tuple[Backend, ...]:
    from importlib.util import find_spec

    from tapml_tui.backends.launch import make_backends
    from tapml_tui.headless.complaints import missing_extra

    for package in ("tvm", "torch"):
        if find_spec(package) is None:
            raise missing_extra(package)
    return make_backends(options)


def _export(args: argparse.Namespace) -> int:
    from tapml_tui.headless.export import ExportRequest, export
    from tapml_tui.headless.tolerances import tolerances_for
    from tapml_tui.target_facts import origins_of

    options = _target_options(args)
    if (args.node is None) != args.all_failing:
        raise CommandError("name one node, or give --all-failing", remedy="`tapml-tui check TRACE` lists what fails")
    request = ExportRequest(
        trace=args.trace,
        node=args.node,
        output=args.output,
        mode=args.mode,
        case=args.case,
        shrink=args.shrink,
        origin=origins_of([options])["target"],
        overrides=tolerances_for(args.trace, args.tolerances)[0],
    )
    return export(request, lambda: _connect(options))


def _migrate(args: argparse.Namespace) -> int:
    from tapml_tui.headless.migrate import MigrateRequest, migrate
    from tapml_tui.headless.tolerances import tolerances_for
    from tapml_tui.target_facts import names_of

    options = _target_options(args)
    request = MigrateRequest(
        trace=args.trace,
        json=args.json,
        again=args.again,
        run=args.run,
        names=names_of([options]),
        overrides=tolerances_for(args.trace, args.tolerances)[0],
    )
    return migrate(request, lambda: _connect(options))


def _diff(args: argparse.Namespace) -> int:
    from tapml_tui.headless.diff import diff

    return diff(args.run_a, args.run_b, as_json=args.json)


def _devices(args: argparse.Namespace) -> int:
    from tapml_tui.headless.devices import devices
    from tapml_tui.listing import listed
    from tapml_tui.profiles import own_file

    return devices(listed(args.trace, args.tracker), profiles_file=str(own_file()), as_json=args.json)


def _doctor(args: argparse.Namespace) -> int:
    from tapml_tui.backends.launch import probe
    from tapml_tui.headless.doctor import doctor

    options = _target_options(args)
    return doctor(lambda trying: probe(options, trying=trying), as_json=args.json)


HANDLERS: dict[str, Callable[[argparse.Namespace], int]] = {
    "carve": _carve,
    "info": _info,
    "verify": _verify,
    "recover": _recover,
    "check": _check,
    "devices": _devices,
    "diff": _diff,
    "doctor": _doctor,
    "export": _export,
    "migrate": _migrate,
}
