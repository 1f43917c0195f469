"""From the target options of the command line, and profiles, to what the backends need."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tapml_tui.headless.exits import CommandError

if TYPE_CHECKING:
    from tapml_tui.backends.launch import TargetOptions
    from tapml_tui.backends.protocol import Deadlines
    from tapml_tui.profiles import Profile


def targets_of(args: argparse.Namespace) -> tuple[TargetOptions, ...]:
    """One per `--target` and `--profile`; the default one if there is neither.

    Several have a name each, which is a profile's, or the kind of the target.

    Raises:
        CommandError: If they contradict each other, or name what there is not.
    """
    trace = getattr(args, "trace", None)
    wanted: list[TargetOptions] = []
    if args.profile:
        from tapml_tui.profiles import profile

        wanted = [_options(args, profile(name, trace), None) for name in args.profile]
        if len(args.target) == 1:  # what one profile, or all, are compiled for
            wanted = [_checked(replace(options, target=args.target[0])) for options in wanted]
        elif args.target:
            raise CommandError("several --target with --profile", remedy="make a profile of each")
    else:
        wanted = [_options(args, None, target) for target in args.target or ["llvm"]]
    if len(wanted) == 1:
        return tuple(wanted)
    return tuple(replace(one, name=name) for one, name in zip(wanted, _names(wanted), strict=True))


def _names(wanted: Sequence[TargetOptions]) -> list[str]:
    from tapml_tui.backends.address import target_kind

    names: list[str] = []
    for options in wanted:
        base = options.name or target_kind(options.target)
        count = sum(name.partition("#")[0] == base for name in names)
        names.append(f"{base}#{count + 1}" if count else base)
    return names


def _options(args: argparse.Namespace, profile: Profile | None, target: str | None) -> TargetOptions:
    from tapml_tui.backends.launch import TargetOptions

    def said(word: str) -> str | None:
        """On the command line, else in the profile."""
        value: str | None = getattr(args, word)
        return value if value is not None or profile is None else getattr(profile, word)

    where = {"rpc": said("rpc"), "tracker": said("tracker")}
    if args.rpc or args.tracker:  # the command line moves a profile elsewhere
        where = {"rpc": args.rpc, "tracker": args.tracker}
    return _checked(
        TargetOptions(
            name=profile.name if profile else "",
            target=target if target is not None else (profile and profile.target) or "llvm",
            rpc=where["rpc"],
            tracker=where["tracker"],
            key=said("key"),
            device=said("device"),
            host=said("host") or "",
            cc=said("cc") or "",
            lower=said("lower"),
            lib=said("lib"),
            allow_ops=tuple(args.allow_ops),
            load=tuple(args.load),
            deadlines=_deadlines([*(profile.deadlines if profile else ()), *args.deadline]),
            jobs=getattr(args, "jobs", 1),
            relaunch=args.relaunch,
        )
    )


def _checked(options: TargetOptions) -> TargetOptions:
    from tapml_tui.backends.launch import address_of
    from tapml_tui.target_names import refuse_unknown

    refuse_unknown(options.target)
    if options.host:
        refuse_unknown(options.host, option="--host")
    for option, file in (("--lower", options.lower), *(("--load", one) for one in options.load)):
        if file is not None and not Path(file).is_file():
            raise CommandError(f"there is no file {file}", why=f"{option} names it", remedy="check the name")
    if options.tracker and options.rpc:
        raise CommandError("both a server and a tracker are named", remedy="give --rpc or --tracker")
    if options.tracker and not options.key:
        raise CommandError("--tracker needs --key", why="a tracker hands out devices by key", remedy="add --key K")
    if options.jobs > 1 and options.rpc:
        raise CommandError(
            "--jobs does not go with --rpc",
            why="a server takes one session at a time, and a proxy one of each key",
            remedy="register the devices at a tracker: --tracker HOST:PORT --key K",
        )
    if options.key and not (options.tracker or options.rpc):
        raise CommandError("--key needs --tracker or --rpc", remedy="add --tracker HOST:PORT")
    try:
        address_of(options)
    except ValueError as error:
        raise CommandError(str(error), remedy="for example 127.0.0.1:9090") from None
    return options


def _deadlines(said: Sequence[tuple[str, float]]) -> Deadlines:
    from tapml_tui.backends.protocol import Deadlines

    known = asdict(Deadlines())
    for action, seconds in said:
        if action not in known:
            raise CommandError(f"there is no deadline for {action!r}", remedy=f"there are {', '.join(known)}")
        known[action] = seconds
    return Deadlines(**known)
