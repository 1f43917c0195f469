"""The command line on good files, bad files and hostile names."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.engine.toys import mlp
from trace_format import (
    Case,
    Floor,
    GraphInput,
    GraphOutput,
    InputKind,
    InputRef,
    Node,
    NodeRef,
    OutputKind,
    Provenance,
    TraceWriter,
    Value,
)

NASTY = "evil\x1b]0;owned\x07\x1b[2J\u202egnp\r\n[red]mark[/up]"
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]")


def run(*arguments: str | Path, **more: object) -> subprocess.CompletedProcess[str]:
    """`tapml-tui` in a process of its own, as a user has it."""
    options: dict[str, object] = {"capture_output": True, "text": True, "timeout": 120, **more}
    return subprocess.run([sys.executable, "-m", "tapml_tui", *map(str, arguments)], check=False, **options)  # type: ignore[call-overload,no-any-return]


def write_trace(path: Path, name: str = "add") -> Path:
    """A trace of one addition; every text in it is `name`."""
    with TraceWriter(path, Provenance(created="2026-01-01", command=name, model_file=name, notes=(name,))) as writer:
        node = Node(f"{name}#0", name, "aten.add.Tensor", "", "", (InputRef(0), 1.0), (), 1)
        graph = writer.add_graph(
            name,
            [GraphInput(name, InputKind.USER)],
            [GraphOutput(name, OutputKind.USER, NodeRef(0))],
            [node],
        )
        case = writer.add_case(Case(name, graph, note=name))
        for ref, number in ((InputRef(0), 1.0), (NodeRef(0), 2.0)):
            tensor = writer.add_tensor(np.full(4, number, np.float32))
            value = Value("float32", (4,), (1,), tensor, reproducible=True, isolated=Floor(1e-8, 1e-9))
            writer.add_value(case, ref, value)
        writer.add_note(name)
    return path


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return write_trace(tmp_path / "small.trace")


def assert_explained(done: subprocess.CompletedProcess[str], code: int) -> None:
    """It ended with this code, said so on stderr in words, and printed no data."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("tapml-tui: ")
    assert "Traceback" not in done.stderr
    assert not RAW.search(done.stderr)


def test_info_says_what_is_in_a_trace(trace: Path) -> None:
    done = run("info", trace)
    assert done.returncode == 0
    assert done.stderr == ""
    for part in ("complete", "1 nodes", "aten.add.Tensor", "float32[4]", "noise floors recorded"):
        assert part in done.stdout
    facts = json.loads(run("info", trace, "--json").stdout)
    assert facts["graphs"][0]["operators"] == {"aten.add.Tensor": 1}
    assert facts["cases"][0]["inputs"] == [{"name": "add", "dtype": "float32", "shape": [4], "scalar": None}]
    assert facts["floors"] is True


@pytest.mark.slow
def test_verify_finds_damage_and_recover_says_what_is_lost(trace: Path, tmp_path: Path) -> None:
    assert run("verify", trace).returncode == 0
    assert json.loads(run("verify", trace, "--json").stdout)["intact"] is True
    whole = trace.read_bytes()
    broken = tmp_path / "broken.trace"
    broken.write_bytes(whole[: len(whole) * 2 // 3])
    done = run("verify", broken)
    assert done.returncode == 4
    assert "damaged" in done.stdout
    report = json.loads(run("verify", broken, "--json").stdout)
    assert report["intact"] is False
    assert report["findings"]
    saved = tmp_path / "saved.trace"
    done = run("recover", broken, "-o", saved)
    assert done.returncode == 4
    assert "lost" in done.stderr
    assert done.stdout == ""
    assert run("verify", saved).returncode == 0
    assert run("recover", trace, "-o", tmp_path / "again.trace").returncode == 0


GARBAGE = [b"", b"\x00", b"hello\n", b"\x89" * 4096, b"PK\x03\x04" + bytes(100)]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["info", "verify", "check"])
@pytest.mark.parametrize("content", GARBAGE, ids=range(len(GARBAGE)))
def test_what_is_no_trace_is_exit_code_4(command: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "garbage"
    path.write_bytes(content)
    done = run(command, path)
    assert done.returncode == 4
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("command", [(), ("info",), ("verify",), ("check",)])
def test_what_cannot_be_opened_is_exit_code_2(command: tuple[str, ...], tmp_path: Path) -> None:
    assert_explained(run(*command, tmp_path / "nothing"), 2)
    assert_explained(run(*command, tmp_path), 2)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_permission_denied_is_exit_code_2(trace: Path) -> None:
    trace.chmod(0)
    assert_explained(run("info", trace), 2)


@pytest.mark.slow
def test_a_folder_or_a_missing_folder_as_output(trace: Path, tmp_path: Path) -> None:
    assert_explained(run("recover", trace, "-o", tmp_path), 2)
    assert_explained(run("recover", trace, "-o", tmp_path / "no" / "such.trace"), 2)
    for option in ("--json", "--jsonl", "--junit"):
        assert_explained(run("check", trace, option, tmp_path), 2)


@pytest.mark.slow
def test_nothing_of_a_hostile_trace_reaches_the_terminal_raw(tmp_path: Path) -> None:
    trace = write_trace(tmp_path / "nasty.trace", NASTY)
    for done in (
        run("info", trace),
        run("info", trace, "--json"),
        run("verify", trace),
        run("verify", trace, "--json"),
    ):
        assert done.returncode == 0, done.stderr
        assert not RAW.search(done.stdout + done.stderr)
    assert json.loads(run("info", trace, "--json").stdout)["cases"][0]["name"] == NASTY


def test_hostile_file_names_are_shown_escaped(tmp_path: Path) -> None:
    path = write_trace(tmp_path / "evil\x1b[2J\u202e.trace")
    done = run("info", path)
    assert done.returncode == 0
    assert not RAW.search(done.stdout)
    done = run("info", tmp_path / "gone\x1b[2J\x07")
    assert_explained(done, 2)
    assert not RAW.search(run("chec\x1b[2J").stderr)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--no-such-option",),
        ("check",),
        ("info", "a", "b"),
        ("carve", "model.py:build"),
        ("carve", "model.py:build", "-o", "x", "--max-size", "many"),
        ("check", "a", "--rpc", "1.2.3.4:1", "--tracker", "1.2.3.4:2"),
        ("check", "a", "--mode", "sideways"),
    ],
)
def test_wrong_arguments_are_exit_code_2(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "usage: tapml-tui" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--rpc", "nowhere"), "HOST:PORT"),
        (("--rpc", "host:99999"), "HOST:PORT"),
        (("--tracker", "host:9190"), "--key"),
        (("--key", "phone"), "--tracker"),
        (("--target", "nonsense"), "vulkan"),
        (("--target", ""), "JSON"),
        (("--target", "llvm mcpu=apple-m1"), "JSON"),
        (("--target", '{"kind": "llvm"'), "JSON"),
        (("--target", '{"mcpu": "apple-m1"}'), "JSON"),
    ],
)
def test_wrong_target_options_say_what_to_write(options: tuple[str, ...], says: str, trace: Path) -> None:
    done = run("check", trace, *options)
    assert_explained(done, 2)
    assert says in done.stderr


@pytest.mark.parametrize(
    ("package", "command"),
    [("tvm", ["check", "small.trace"]), ("torch", ["check", "small.trace"]), ("torch", ["carve", "m.py:f", "-o", "x"])],
)
def test_a_missing_extra_is_exit_code_2_with_the_command(package: str, command: list[str], trace: Path) -> None:
    script = (
        f"import sys; sys.modules[{package!r}] = None\n"  # as if it were not installed
        f"from tapml_tui.cli import main\nsys.exit(main({command!r}))"
    )
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=trace.parent, env=environment, check=False
    )
    assert_explained(done, 2)
    assert f"pip install 'tapml-tui[{package}]'" in done.stderr


def test_a_mistyped_command_is_understood(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    done = run("chekc", cwd=tmp_path, env=environment)
    assert_explained(done, 2)
    assert "unknown command chekc" in done.stderr
    assert "did you mean `tapml-tui check`" in done.stderr
    assert_explained(run("chekc", "model.trace", "--json", "-", cwd=tmp_path, env=environment), 2)


@pytest.mark.parametrize("module", ["argparse", "tapml_tui.headless.exits", "tapml_tui.headless.info"])
def test_an_interrupt_while_the_program_loads_is_no_traceback(module: str) -> None:
    script = (
        "import sys\n"
        "class Impatient:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {module!r}: raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Impatient())\n"
        "from tapml_tui.cli import main\n"
        "sys.exit(main(['info', 'x']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "tapml-tui: interrupted\n")


@pytest.mark.parametrize(
    "command", ["", "carve", "info", "verify", "recover", "check", "diff", "doctor", "export", "migrate"]
)
def test_every_help_has_an_example(command: str) -> None:
    done = run(*filter(None, [command]), "-h")
    assert done.returncode == 0
    assert f"example:\n  tapml-tui {command or 'carve'}" in done.stdout
    assert all(len(line) <= 88 for line in done.stdout.splitlines())


def test_a_reader_that_goes_away_is_no_error(trace: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tapml_tui", "info", str(trace)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 141
    assert errors == b""


def test_an_ascii_terminal_gets_escapes(tmp_path: Path) -> None:
    trace = write_trace(tmp_path / "unicode.trace", "gewöhnlich")
    done = run("info", trace, env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert done.returncode == 0
    assert "gew\\xf6hnlich" in done.stdout


def test_a_full_disk_on_stdout_is_explained(trace: Path) -> None:
    with open("/dev/full", "w") as full:
        done = run("info", trace, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_fault_of_ours_names_the_log_and_debug_shows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = (
        "import sys, tapml_tui.headless.info as info\n"
        "def broken(path, *, as_json): raise RuntimeError('a fault\\x1b[2J of ours')\n"
        "info.info = broken\n"
        "from tapml_tui.cli import main\n"
        "sys.exit(main(['info', 'x', *sys.argv[1:]]))"
    )
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}
    environment.pop("XDG_CACHE_HOME", None)
    for options in ((), ("--debug",)):
        done = subprocess.run(
            [sys.executable, "-c", script, *options], capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == 1
        assert "a fault\\e[2J of ours" in done.stderr
        assert ("Traceback" in done.stderr) == bool(options)
        log = re.search(r"traceback is in (\S+)", done.stderr)
        assert log is not None
        assert "RuntimeError" in Path(log[1]).read_text()
        assert not RAW.search(done.stderr)


def test_info_counts_operators_as_they_are(tmp_path: Path) -> None:
    from collections import Counter

    with mlp(layers=5).write(tmp_path / "toy.trace") as trace:
        graph = trace.graphs[0]
        expected = Counter(graph.op(i) for i in range(len(graph)))
    facts = json.loads(run("info", tmp_path / "toy.trace", "--json").stdout)
    assert facts["graphs"][0]["operators"] == expected
    assert facts["graphs"][0]["inputs"] == {"user": 1, "parameter": 1}
