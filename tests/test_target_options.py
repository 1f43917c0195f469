"""Target options and profiles: what they come to, and what they must not say."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import pytest

from tapml_tui import profiles
from tapml_tui.arguments import COMMANDS
from tapml_tui.backends.address import parse_target_text, target_kind
from tapml_tui.headless.exits import CommandError
from tapml_tui.headless.tolerances import tolerances_for
from tapml_tui.target_options import targets_of

OWN = """
[pixel8]
target = "opencl"
host = "llvm -mtriple=aarch64-linux-android"
cc = "ndk-clang --target=aarch64"
tracker = "127.0.0.1:9190"
key = "pixel8"
deadlines = { run = 20, connect = 5.5 }

[board]
rpc = "board:9090"
"""


@pytest.fixture
def trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A trace in a folder of its own, and the user's own profiles elsewhere."""
    own = tmp_path / "config" / "profiles.toml"
    own.parent.mkdir()
    own.write_text(OWN)
    monkeypatch.setattr(profiles, "own_file", lambda: own)
    return str(tmp_path / "x.trace")


def _targets(trace: str, *arguments: str) -> Any:
    args: argparse.Namespace = COMMANDS["check"].parser("check").parse_args([trace, *arguments])
    return targets_of(args)


def test_without_options_it_is_llvm_on_loopback(trace: str) -> None:
    (options,) = _targets(trace)
    assert (options.target, options.rpc, options.tracker, options.name) == ("llvm", None, None, "")


def test_a_profile_says_everything_and_the_command_line_overrides_it(trace: str) -> None:
    (options,) = _targets(trace, "--profile", "pixel8", "--deadline", "run=3", "--key", "other", "--target", "vulkan")
    assert (options.target, options.key, options.tracker) == ("vulkan", "other", "127.0.0.1:9190")
    assert (options.host, options.cc) == ("llvm -mtriple=aarch64-linux-android", "ndk-clang --target=aarch64")
    assert (options.deadlines.run, options.deadlines.connect) == (3, 5.5)
    (moved,) = _targets(trace, "--profile", "pixel8", "--rpc", "127.0.0.1:1")
    assert (moved.rpc, moved.tracker) == ("127.0.0.1:1", None)


def test_several_have_names(trace: str) -> None:
    assert [o.name for o in _targets(trace, "--profile", "pixel8", "--profile", "board")] == ["pixel8", "board"]
    assert [o.name for o in _targets(trace, *(["--target", "llvm"] * 2), "--target", "c")] == ["llvm", "llvm#2", "c"]


def test_a_file_beside_a_trace_is_read_but_names_nothing_to_execute(trace: str) -> None:
    beside = Path(trace).with_name(profiles.BESIDE)
    beside.write_text('[board]\nrpc = "evil:1"\n[lab]\nrpc = "lab:9090"\n')
    assert _targets(trace, "--profile", "lab")[0].rpc == "lab:9090"
    assert _targets(trace, "--profile", "board")[0].rpc == "board:9090"  # the user's own goes first
    for word in ("cc", "lower", "lib"):
        beside.write_text(f'[lab]\n{word} = "/tmp/x"\n')
        with pytest.raises(CommandError, match="lab"):
            _targets(trace, "--profile", "lab")


def test_tolerances_and_profiles_share_the_file_beside_a_trace(trace: str) -> None:
    beside = Path(trace).with_name(profiles.BESIDE)
    beside.write_text('[lab]\nrpc = "lab:9090"\n[[tolerance]]\noperator = "aten.gelu.*"\ntimes = 4\n')
    assert _targets(trace, "--profile", "lab")[0].rpc == "lab:9090"
    overrides, file = tolerances_for(trace, None)
    assert [rule.times for rule in overrides.rules] == [4] and file == str(beside)
    beside.write_text('[lab]\nrpc = "lab:9090"\n')
    assert tolerances_for(trace, None)[1] == ""


@pytest.mark.parametrize(
    "text", ["[tolerence]\ntimes = 4", "[[tolerence]]\ntimes = 4", "[tolerance]\ntimes = 4", "a = 3"]
)
def test_what_is_neither_is_refused(trace: str, text: str) -> None:
    Path(trace).with_name(profiles.BESIDE).write_text(f'[lab]\nrpc = "lab:9090"\n{text}\n')
    with pytest.raises(CommandError):
        tolerances_for(trace, None)
    with pytest.raises(CommandError):
        _targets(trace, "--profile", "lab")


def test_the_file_of_one_trace_holds_tolerances_alone(trace: str) -> None:
    own = Path(trace).with_name("x.trace.toml")
    own.write_text('[lab]\nrpc = "lab:9090"\n')
    with pytest.raises(CommandError, match="lab"):
        tolerances_for(trace, None)


@pytest.mark.parametrize(
    "text",
    [
        "no toml",
        "[a]\nwhat = 1",
        "[a]\nrpc = 9090",
        "a = 3",
        "[a.deadlines]\nrun = -1",
        "[a.deadlines]\nrun = true",
        f"[a.deadlines]\nrun = {'9' * 400}",
        f"[a.deadlines]\nrun = {'9' * 5000}",
        "[a.deadlines]\nrun = inf",
        f"x = {'[' * 3000}{']' * 3000}",
    ],
)
def test_files_that_are_not_usable_say_so(trace: str, text: str) -> None:
    profiles.own_file().write_text(text)
    with pytest.raises(CommandError) as complaint:
        _targets(trace, "--profile", "a")
    assert "profiles.toml" in str(complaint.value)


@pytest.mark.parametrize("target", ["pipe", "/dev/zero"])
def test_a_file_beside_a_trace_that_is_no_file_is_not_waited_for(trace: str, target: str) -> None:
    beside = Path(trace).with_name(profiles.BESIDE)
    os.mkfifo(beside.with_name("pipe"))
    beside.symlink_to(target)
    with pytest.raises(CommandError, match="cannot be read") as complaint:
        _targets(trace, "--profile", "pixel8")
    assert complaint.value.why == "it is no regular file"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--profile", "nothing"), "pixel8"),
        (("--deadline", "sleep=3"), "connect"),
        (("--tracker", "host:9190"), "--key"),
        (("--profile", "pixel8", "--target", "llvm", "--target", "c"), "profile"),
        (("--host", "nonsense"), "llvm"),
        (("--host", "llvm mcpu"), "--host"),
    ],
)
def test_contradictions(trace: str, arguments: tuple[str, ...], says: str) -> None:
    with pytest.raises(CommandError) as complaint:
        _targets(trace, *arguments)
    assert says in str(complaint.value)


def test_deadlines_are_numbers() -> None:
    for text in ("run", "run=", "run=soon", "run=-1"):
        with pytest.raises(SystemExit):
            COMMANDS["check"].parser("check").parse_args(["x", "--deadline", text])


def test_targets_as_they_are_written() -> None:
    assert parse_target_text("opencl") == "opencl"
    assert parse_target_text("nvidia/nvidia-a100") == "nvidia/nvidia-a100"
    assert parse_target_text('{"kind": "c"}') == {"kind": "c"}
    wanted = {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mattr": ["+neon", "+fp16"], "num-cores": 4}
    assert parse_target_text("llvm -mtriple=aarch64-linux-gnu -mattr=+neon,+fp16 -num-cores=4") == wanted
    assert [target_kind(text) for text in ("llvm -mcpu=x", '{"kind": "cuda"}', "llvm x", "{")] == [
        "llvm",
        "cuda",
        "?",
        "?",
    ]
    for text in ("", "llvm mcpu", "llvm -mcpu", "[1]", "{"):
        with pytest.raises(ValueError):
            parse_target_text(text) if text != "[1]" else parse_target_text("{} {}")


def test_jobs_are_for_trackers_and_for_servers_of_our_own(trace: str) -> None:
    assert _targets(trace)[0].jobs == 1
    assert _targets(trace, "--jobs", "3")[0].jobs == 3
    assert _targets(trace, "--jobs", "3", "--tracker", "127.0.0.1:1", "--key", "k")[0].jobs == 3
    with pytest.raises(CommandError, match="--jobs"):
        _targets(trace, "--jobs", "3", "--rpc", "127.0.0.1:1")
    for wrong in ("0", "-1", "65", "many"):
        with pytest.raises(SystemExit):
            _targets(trace, "--jobs", wrong)
