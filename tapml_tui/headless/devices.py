"""`tapml-tui devices`: the profiles there are, what trackers have, what is free, what answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from tapml_tui.headless import strict_json
from tapml_tui.headless.exits import Exit
from trace_format.text import printable


@dataclass(frozen=True, slots=True)
class Device:
    """A line of the list.

    Attributes:
        name: Of the profile, or the key at the tracker.
        target: What is compiled for; "" for what a tracker has.
        place: Where it is.
        answers: Whether somebody is there.
        words: What was found.
        warning: Who else can reach it, "" if nobody.
        file: Where the profile is written, "" for what a tracker has.
    """

    name: str
    target: str
    place: str
    answers: bool
    words: str
    warning: str = ""
    file: str = ""


def devices(found: Sequence[Device], *, profiles_file: str, as_json: bool) -> int:
    """Print the list.

    Returns:
        0 if all of them answer, or there are none; 3 if one does not.
    """
    if as_json:
        print(strict_json.dumps({"schema": 1, "devices": [asdict(device) for device in found]}, indent=2))
    elif not found:
        print(f"no profiles: describe your devices in {printable(profiles_file)}, see docs/devices.md")
    else:
        width = max(len(printable(device.name, limit=30)) for device in found)
        for device in found:
            name = f"{printable(device.name, limit=30):{width}}"
            what = " ".join(filter(None, [device.target, f"@{device.place}"]))
            state = "answers" if device.answers else "SILENT"
            print(f"{state:7}  {name}  {printable(what, limit=120)}  {printable(device.words, limit=200)}")
            if device.warning:
                print(f"{'':7}  {'':{width}}  open: {printable(device.warning, limit=200)}")
    return Exit.OK if all(device.answers for device in found) else Exit.DEVICE
