"""The devices that the user can name, each with whether it answers."""

from __future__ import annotations

from tapml_tui.backends.address import Address
from tapml_tui.backends.launch import TargetOptions, address_of
from tapml_tui.backends.reach import openness, pool_words, reach, reach_all
from tapml_tui.headless.devices import Device
from tapml_tui.headless.exits import CommandError
from tapml_tui.profiles import Profile, profiles


def listed(trace: str | None, tracker: str | None) -> list[Device]:
    """The profiles, then what a tracker has.

    Args:
        trace: Whose folder may have profiles too.
        tracker: HOST:PORT of a tracker that is asked.

    Raises:
        CommandError: If a file of profiles is not usable, or the address is none.
    """
    known = list(profiles(trace).values())
    addresses = [_address(one) for one in known]
    found = [
        Device(
            one.name,
            one.target or "llvm",
            address.text,
            there.ok,
            there.words,
            warning=openness(address),
            file=one.file,
        )
        for one, address, there in zip(known, addresses, reach_all(addresses), strict=True)
    ]
    return found + (_of_tracker(tracker) if tracker else [])


def _address(profile: Profile) -> Address:
    options = TargetOptions(
        target=profile.target or "llvm",
        rpc=profile.rpc,
        tracker=profile.tracker,
        key=profile.key,
        device=profile.device,
    )
    try:
        return address_of(options)
    except ValueError as error:
        why = f"the profile {profile.name!r} in {profile.file}"
        raise CommandError(str(error), why=why, remedy="write HOST:PORT") from None


def _of_tracker(text: str) -> list[Device]:
    try:
        address = address_of(TargetOptions(tracker=text))
    except ValueError as error:
        raise CommandError(str(error), remedy="for example 127.0.0.1:9190") from None
    there = reach(address)
    warning = openness(address)
    if not there.pools:
        return [Device("tracker", "", address.text, there.ok, there.words, warning)]
    return [Device(pool.key, "", address.text, bool(pool.total), pool_words(pool), warning) for pool in there.pools]
