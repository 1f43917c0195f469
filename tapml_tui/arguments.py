"""Every argument of the command line, with its help. No heavy import: `-h` answers at once."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

MAX_JOBS = 64
"""Each is a process here, and a session there."""
FOR_EVER = 1e9
"""Seconds that nothing may be given: no clock waits for so long."""


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand as it is explained: its line in the list, its arguments, an example."""

    summary: str
    arguments: Callable[[argparse.ArgumentParser], None]
    example: str

    def parser(self, name: str) -> argparse.ArgumentParser:
        """The parser of `tapml-tui NAME`."""
        summary = self.summary[0].upper() + self.summary[1:] + "."
        parser = _parser(f"tapml-tui {name}", summary, self.example)
        self.arguments(parser)
        return parser


def debugger_parser() -> argparse.ArgumentParser:
    """The parser of `tapml-tui TRACE`, whose help also lists the subcommands."""
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:{width}}  {command.summary}" for name, command in COMMANDS.items())
    parser = _parser(
        "tapml-tui",
        "Step through a model, operator by operator, on a source and a target platform, and\n"
        "find the kernel that is wrong. Without a target option the target is TVM's LLVM\n"
        "backend on this machine.\n\n"
        f"other commands (tapml-tui COMMAND -h explains one):\n{commands}",
        "tapml-tui carve model.py:build -o model.trace     record a PyTorch model\n"
        "  tapml-tui model.trace                             step through it on this machine\n"
        "  tapml-tui model.trace --target opencl --rpc 127.0.0.1:9090",
    )
    parser.usage = (
        "tapml-tui TRACE [target options] [--session FILE] [--script FILE] [--no-mouse]\n       tapml-tui COMMAND ..."
    )
    parser.add_argument(
        "trace", metavar="TRACE", help="made by `tapml-tui carve`; write ./NAME if it is named like a command"
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    parser.add_argument(
        "--session",
        metavar="FILE",
        help="keep the results in FILE, and use those that are in it already; without, in TRACE.runs/",
    )
    parser.add_argument("--script", metavar="FILE", help="replay recorded commands without a screen, in a new session")
    _fetch_limit(parser, 64 << 20, "64M if nothing is said")
    parser.add_argument("--no-mouse", action="store_true", help="leave the mouse to the terminal")
    _tolerances(parser)
    _target(parser)
    return parser


class _Version(argparse.Action):
    """Prints the version; looks it up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"tapml-tui {version('tapml-tui')}")
        except PackageNotFoundError:
            print("tapml-tui, out of a source tree that is not installed")
        parser.exit()


def _parser(prog: str, description: str, example: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--debug", action="store_true", help="on an error, show the whole traceback")
    return parser


def _target(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("target options")
    where = group.add_mutually_exclusive_group()
    group.add_argument(
        "--target",
        action="append",
        default=[],
        metavar="TVM_TARGET",
        help="what TVM compiles for: llvm (default), opencl, vulkan, 'llvm -mcpu=...', JSON; may be given again",
    )
    group.add_argument(
        "--profile",
        action="append",
        default=[],
        metavar="NAME",
        help="a device of your profiles: `tapml-tui devices` lists them; may be given again",
    )
    where.add_argument(
        "--rpc",
        metavar="HOST:PORT",
        help="a running server or proxy (python -m tvm.exec.rpc_server); without, one of our own on loopback",
    )
    where.add_argument("--tracker", metavar="HOST:PORT", help="a TVM RPC tracker; needs --key")
    group.add_argument("--key", metavar="K", help="of the server, or which device to ask the tracker or proxy for")
    group.add_argument(
        "--device",
        metavar="KIND",
        help="runtime of the device (cpu, cuda, opencl, metal, vulkan, webgpu, rocm, hexagon, ext_dev); without, it "
        "follows from --target",
    )
    group.add_argument(
        "--host", metavar="TVM_TARGET", help="the device's processor: 'llvm -mtriple=aarch64-linux-android'"
    )
    group.add_argument("--cc", metavar="COMMAND", help="links libraries for it; without, the server does")
    group.add_argument(
        "--lib",
        metavar="FILE",
        help="a prebuilt library whose functions carry the kernels' names, instead of compiling",
    )
    group.add_argument(
        "--deadline",
        metavar="ACTION=SECONDS",
        type=_deadline,
        action="append",
        default=[],
        help="how long start, connect, convert, compile, run, transfer or reconnect may take; may be given again",
    )
    group.add_argument(
        "--lower", metavar="FILE.py", help="converters of your own, for operators that TVM does not convert"
    )
    group.add_argument(
        "--allow-ops",
        metavar="NAME",
        action="append",
        default=[],
        help="also run operators outside of aten and prims: a namespace or a full name; may be given again",
    )
    group.add_argument(
        "--load",
        metavar="FILE.py",
        action="append",
        default=[],
        help="Python of yours that registers such operators, executed where they run; may be given again",
    )
    group.add_argument(
        "--relaunch",
        action="store_true",
        help="launch kernels again that took the device with them, or were running when all was killed",
    )


def _jobs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--jobs",
        metavar="N",
        type=_count,
        default=1,
        help="use so many devices of the tracker, or servers of our own, at a time; default 1",
    )


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= MAX_JOBS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of devices between 1 and {MAX_JOBS}")
    return int(text)


def _fetch_limit(parser: argparse.ArgumentParser, default: int, otherwise: str) -> None:
    parser.add_argument(
        "--fetch-limit",
        metavar="BYTES",
        type=_size,
        default=default,
        help=f"an output that is larger (500M) is judged on a sample of its rows; {otherwise}",
    )


def _deadline(text: str) -> tuple[str, float]:
    action, _, seconds = text.partition("=")
    try:
        if 0 < (value := float(seconds)) < FOR_EVER:
            return action, value
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is no deadline; write run=20")


def _tolerances(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tolerances",
        metavar="FILE.toml",
        help="what you allow instead of the noise floors, by node, operator and dtype; without, TRACE.toml or "
        "tapml-tui.toml beside the trace, if there is one",
    )


def _carve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "function",
        metavar="FILE.py:FUNC",
        help="FUNC() returns (module, args), (module, args, kwargs), or a Workload with several named cases",
    )
    _output(parser, "where to write the trace")
    parser.add_argument(
        "--no-floors",
        action="store_true",
        help="leave out the float64 noise floors: faster, but results are judged by general bounds",
    )
    parser.add_argument("--max-size", metavar="BYTES", type=_size, help="refuse to write a larger trace (500M, 8G)")
    parser.add_argument("--include", metavar="GLOB", help="record only operators whose path matches, as 'layers.0.*'")
    parser.add_argument("--dtype", choices=("float16", "bfloat16"), help="cast the model; the floors stay float64")
    parser.add_argument(
        "--weights",
        metavar="FILE.safetensors",
        help="refer to the weights in this file, in the trace's folder, instead of copying them",
    )
    parser.add_argument("--strict", action="store_true", help="fail if something could not be recorded")


def _size(text: str) -> int:
    units = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
    number, unit = (text[:-1], text[-1].upper()) if text[-1:].isalpha() else (text, "")
    if unit not in units or not number.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write 500M or 8G")
    return int(number) * units[unit]


def _look(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", metavar="TRACE", help="the file")
    _json_flag(parser)


def _recover(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", metavar="BROKEN", help="the damaged file; it is not changed")
    _output(parser, "where to write what is whole")


def _check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", metavar="TRACE", help="made by `tapml-tui carve`")
    parser.add_argument(
        "--mode",
        choices=("isolated", "chained"),
        default="isolated",
        help="isolated (default): every operator gets its recorded inputs; chained: it gets what the operators "
        "before it really computed on the target",
    )
    parser.add_argument(
        "--blame",
        action="store_true",
        help="where the model's answer is wrong, find a minimal set of operators that breaks it, by runs; chained",
    )
    parser.add_argument(
        "--verdict",
        choices=("all", "end-to-end"),
        default="all",
        help="end-to-end: judge what the model answers alone, for which little has to come back; chained",
    )
    _fetch_limit(parser, 1 << 62, "without, all of it is fetched")
    parser.add_argument("--nodes", metavar="GLOB", help="only operators whose id matches, as '*softmax*'")
    parser.add_argument("--strict", action="store_true", help="an unsupported operator counts as a failure")
    parser.add_argument("--json", metavar="FILE", help="write the report as JSON; - is stdout")
    parser.add_argument("--jsonl", metavar="FILE", help="write a line of JSON for each operator at once; - is stdout")
    parser.add_argument("--junit", metavar="FILE", help="write the report as JUnit XML, for a CI server; - is stdout")
    parser.add_argument("--run", metavar="FILE", help="keep the computed values in FILE, for `tapml-tui diff`")
    _jobs(parser)
    _tolerances(parser)
    _target(parser)


def _export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", metavar="TRACE", help="made by `tapml-tui carve`")
    parser.add_argument("node", metavar="NODE", nargs="?", help="id of the node, as `check` names it")
    parser.add_argument("--all-failing", action="store_true", help="a test of each node that fails, into a folder")
    parser.add_argument(
        "-o", "--output", metavar="test_NAME.py", required=True, help="the test; with --all-failing the folder"
    )
    parser.add_argument(
        "--mode",
        choices=("isolated", "chained"),
        default="isolated",
        help="chained: also what is wrong on the inputs of a run on the target alone",
    )
    parser.add_argument("--shrink", action="store_true", help="cut the data as long as it fails in the same way")
    parser.add_argument("--case", metavar="NAME", help="with the inputs of this case; without, of the first that fails")
    _tolerances(parser)
    _target(parser)


def _migrate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", metavar="TRACE", help="made by `tapml-tui carve`")
    parser.add_argument("--again", action="store_true", help="try also what the ledger in TRACE.runs/ knows already")
    parser.add_argument("--json", metavar="FILE", help="write the ledger and the answers as JSON; - is stdout")
    parser.add_argument("--run", metavar="FILE", help="keep values and ledger beside FILE; without, in TRACE.runs/")
    _jobs(parser)
    _tolerances(parser)
    _target(parser)


def _diff(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_a", metavar="RUN_A", help="a run: a file of TRACE.runs/, or made by `check --run`")
    parser.add_argument("run_b", metavar="RUN_B", help="another run of the same trace")
    _json_flag(parser)


def _doctor(parser: argparse.ArgumentParser) -> None:
    _json_flag(parser)
    _target(parser)


def _devices(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", metavar="TRACE", nargs="?", help="also list the profiles beside this trace")
    parser.add_argument("--tracker", metavar="HOST:PORT", help="also list what this tracker has")
    _json_flag(parser)


def _output(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("-o", "--output", metavar="TRACE", required=True, help=text)


def _json_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, for a program to read")


COMMANDS = {
    "carve": Command(
        "record a PyTorch model as it runs, operator by operator",
        _carve,
        "tapml-tui carve model.py:build -o model.trace",
    ),
    "info": Command("say what is in a trace", _look, "tapml-tui info model.trace"),
    "verify": Command("find out whether a trace is intact", _look, "tapml-tui verify model.trace"),
    "recover": Command(
        "save what is whole of a damaged trace", _recover, "tapml-tui recover broken.trace -o saved.trace"
    ),
    "check": Command(
        "run every operator on the target and judge it, without a screen",
        _check,
        "tapml-tui check model.trace --mode chained --json report.json",
    ),
    "diff": Command("compare two runs of a trace, value by value", _diff, "tapml-tui diff monday.run tuesday.run"),
    "devices": Command(
        "list your profiles and what trackers have, and say what answers",
        _devices,
        "tapml-tui devices --tracker 127.0.0.1:9190",
    ),
    "migrate": Command(
        "move operators to the target while the answer holds",
        _migrate,
        "tapml-tui migrate model.trace --target opencl --rpc 127.0.0.1:9090",
    ),
    "export": Command(
        "write a kernel out as a test that runs without this program",
        _export,
        "tapml-tui export model.trace 'layers.0.mlp/aten.gelu.default#0' -o test_gelu.py",
    ),
    "doctor": Command(
        "try every link from the compiler to a first kernel on the device",
        _doctor,
        "tapml-tui doctor --rpc 127.0.0.1:9090 --target opencl",
    ),
}
