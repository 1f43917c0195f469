"""The command line: arguments in, exit code out. Everything heavy is imported when it is needed.

stdout is data, stderr is talk.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from tapml_tui.arguments import COMMANDS, debugger_parser
from tapml_tui.headless.exits import CommandError, Exit

if TYPE_CHECKING:
    from tapml_tui.backends.launch import TargetOptions
    from tapml_tui.backends.protocol import Backend


def main(argv: Sequence[str] | None = None) -> int:
    """Run `tapml-tui` with these arguments (without the program's name); return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that cannot show a letter gets its escape, not a crash
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, _terminated)
    try:
        code = _dispatch(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Who reads us (head, less) has seen enough. What is still buffered must not be tried again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # once more would be a traceback out of the interpreter's end
        print("tapml-tui: interrupted", file=sys.stderr)
        return Exit.INTERRUPTED
    except Exception as error:
        return _complain(error, debug="--debug" in arguments)


def _terminated(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _complain(error: Exception, *, debug: bool) -> int:
    from tapml_tui.headless.complaints import explain
    from trace_format.text import printable

    if debug:
        import traceback

        for line in "".join(traceback.format_exception(error)).splitlines():
            print(printable(line), file=sys.stderr)
    complaint = explain(error)
    for line in str(complaint).splitlines():
        print(f"tapml-tui: {printable(line)}", file=sys.stderr)
    return complaint.code


def _dispatch(arguments: list[str]) -> int:
    name = next((word for word in arguments if word != "--debug"), None)
    if name is None:
        debugger_parser().print_help(sys.stderr)
        return Exit.USAGE
    if name not in COMMANDS:
        return _debugger(debugger_parser().parse_args(arguments))
    arguments.remove(name)
    return HANDLERS[name](COMMANDS[name].parser(name).parse_args(arguments))


def _debugger(args: argparse.Namespace) -> int:
    _refuse_typo(args.trace)

    from tapml_tui.ui import run

    return run(args.trace, _target_options(args), session=args.session, mouse=not args.no_mouse)


def _refuse_typo(trace: str) -> None:
    if os.path.exists(trace):
        return
    from difflib import get_close_matches

    near = get_close_matches(trace, COMMANDS, n=1)
    remedy = f"did you mean `tapml-tui {near[0]}`?" if near else "check the name; `tapml-tui -h` lists the commands"
    raise CommandError(f"there is no file {trace}", remedy=remedy)


def _target_options(args: argparse.Namespace) -> TargetOptions:
    from tapml_tui.backends.launch import TargetOptions, address_of
    from tapml_tui.target_names import refuse_unknown

    refuse_unknown(args.target)
    if args.tracker and not args.key:
        raise CommandError("--tracker needs --key", why="a tracker hands out devices by key", remedy="add --key K")
    if args.key and not (args.tracker or args.rpc):
        raise CommandError("--key needs --tracker or --rpc", remedy="add --tracker HOST:PORT")
    options = TargetOptions(
        target=args.target,
        rpc=args.rpc,
        tracker=args.tracker,
        key=args.key,
        device=args.device,
        lower=args.lower,
        allow_ops=tuple(args.allow_ops),
    )
    try:
        address_of(options)
    except ValueError as error:
        raise CommandError(str(error), remedy="for example 127.0.0.1:9090") from None
    return options


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
    from importlib.util import find_spec

    from tapml_tui.backends.launch import make_backends
    from tapml_tui.headless.check import Request, check
    from tapml_tui.headless.complaints import missing_extra

    options = _target_options(args)

    def connect() -> tuple[Backend, Backend]:
        for package in ("tvm", "torch"):
            if find_spec(package) is None:
                raise missing_extra(package)
        return make_backends(options)

    request = Request(
        trace=args.trace,
        tvm_target=options.target,
        mode=args.mode,
        nodes=args.nodes,
        strict=args.strict,
        json=args.json,
        jsonl=args.jsonl,
        junit=args.junit,
        run=args.run,
    )
    return check(request, connect)


def _diff(args: argparse.Namespace) -> int:
    from tapml_tui.headless.diff import diff

    return diff(args.run_a, args.run_b, as_json=args.json)


def _doctor(args: argparse.Namespace) -> int:
    from tapml_tui.backends.launch import probe
    from tapml_tui.headless.doctor import doctor

    return doctor(probe(_target_options(args)), as_json=args.json)


HANDLERS: dict[str, Callable[[argparse.Namespace], int]] = {
    "carve": _carve,
    "info": _info,
    "verify": _verify,
    "recover": _recover,
    "check": _check,
    "diff": _diff,
    "doctor": _doctor,
}
