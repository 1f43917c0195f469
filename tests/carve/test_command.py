"""The carve command: a model file in, a trace or a sentence out, never a traceback."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from trace_format import open_trace

pytestmark = pytest.mark.torch

GOOD = """
import torch
from beside import SIZE

class Twice(torch.nn.Module):
    def forward(self, x):
        return x * 2

def build():
    return Twice(), (torch.ones(SIZE),)
"""


@pytest.fixture
def carve_file(tmp_path, monkeypatch, capsys):
    """Write a model file, carve a function of it; give back exit code, stderr and the trace's path."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.syspath_prepend(str(tmp_path))

    def run(text, function="build", **options):
        from tapml_tui.carve.command import run as command

        (tmp_path / "model.py").write_text(text)
        out = tmp_path / "out.trace"
        code = command(f"{tmp_path / 'model.py'}:{function}", str(out), **options)
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "Traceback" not in captured.err
        return code, captured.err, out

    return run


def test_a_model_is_carved(carve_file, tmp_path):
    (tmp_path / "beside.py").write_text("SIZE = 3")  # the model's own folder is on sys.path
    code, said, out = carve_file(GOOD)
    assert code == 0, said
    assert "will take up to" in said
    assert "one case" in said
    with open_trace(out) as trace:
        assert trace.provenance.model_file == "model.py"
        assert str(tmp_path) not in trace.provenance.command
        assert trace.graphs[0].node(0).source[0].text == "return x * 2"
        assert trace.graphs[0].node(0).source[0].file == "model.py"
    assert str(tmp_path).encode() not in out.read_bytes()


HEAD = "import torch\nfrom torch import nn\n"


@pytest.mark.parametrize(
    ("text", "function", "code", "said"),
    [
        (HEAD + "def biuld():\n    pass\n", "build", 2, ["no function build", "did you mean biuld"]),
        (HEAD + "def build():\n    return 3\n", "build", 2, ["returned a int", "(module, args)"]),
        (HEAD + "def build():\n    pass\n", "build", 2, ["returned None"]),
        (HEAD + "def build():\n    return nn.ReLU()\n", "build", 2, ["without arguments"]),
        (HEAD + "def build():\n    return nn.ReLU(), torch.ones(1)\n", "build", 2, ["(module, (x,))"]),
        (
            HEAD + "def build():\n    raise KeyError('config')\n",
            "build",
            1,
            ["raised KeyError", "line 4: raise KeyError"],
        ),
        (HEAD + "import no_such_module\n", "build", 1, ["No module named", "line 3"]),
        (HEAD + "def build(:\n", "build", 1, ["could not be executed", "line 3"]),
        (
            HEAD + "def build():\n    return nn.Linear(3, 3), (torch.ones(4),)\n",
            "build",
            1,
            ["torch.export", "the whole message is in"],
        ),
        (HEAD + "def build():\n    return nn.ReLU(), ()\n", "build", 1, ["torch.export"]),
        (
            HEAD + "class M(nn.Module):\n    def forward(self, x):\n        return x if x.sum() > 0 else -x\n"
            "def build():\n    return M(), (torch.ones(1),)\n",
            "build",
            1,
            ["torch.export could not trace M", "torch.where or torch.cond"],
        ),
    ],
)
def test_errors_are_words(carve_file, text, function, code, said):
    ended, err, out = carve_file(text, function)
    assert ended == code, err
    for words in said:
        assert words in err
    assert not out.exists()


def test_wrong_requests(carve_file, tmp_path, capsys):
    from tapml_tui.carve.command import run

    for function, said in (("nothing.py:build", "no file"), ("nothing.py", "FILE.py:FUNC"), ("nothing.py:a b", "FUNC")):
        assert run(function, str(tmp_path / "a.trace")) == 2
        assert said in capsys.readouterr().err
    (tmp_path / "beside.py").write_text("SIZE = 3")
    code, err, _ = carve_file(GOOD, include="no.such.path*")
    assert code == 2
    assert "nothing matches --include" in err
    assert run(f"{tmp_path / 'model.py'}:build", str(tmp_path / "no" / "folder.trace")) == 2
    assert "no folder" in capsys.readouterr().err


def test_what_a_model_says_reaches_the_terminal_escaped(carve_file):
    code, err, _ = carve_file(HEAD + "def build():\n    raise ValueError('\\x1b]0;owned\\x07[red]')\n")
    assert code == 1
    assert "\x1b]" not in err
    assert "\x07" not in err
    assert "[red]" in err


@pytest.mark.parametrize(
    ("cases", "said"),
    [
        ("()", "at least one case"),
        ("(C('a', (x,)), C('a', (x,)))", "two cases"),
        ("(C('a', (H('b'),)), C('b', (x,)))", "does not come before"),
        ("(C('a', (x,)), C('b', (H('a', 7),)))", "no output 7"),
    ],
)
def test_workloads_that_contradict_themselves(carve_file, cases, said):
    text = (
        HEAD + "from tapml_tui.carve import Handed as H, Workload, WorkloadCase as C\nx = torch.ones(2)\n"
        f"def build():\n    return Workload(nn.ReLU(), {cases})\n"
    )
    code, err, _ = carve_file(text)
    assert code in (1, 2)
    assert said in err


def test_the_demo_trace_is_what_it_says():
    demo = Path(__file__).parents[2] / "assets" / "demo.trace"
    assert demo.stat().st_size <= 4 << 20
    with open_trace(demo) as trace:
        assert trace.complete
        assert trace.damage == ()
        assert len(trace.cases) == 3
        graph = trace.graphs[0]
        ops = {graph.op(i) for i in range(len(graph))}
        assert {"aten.embedding.default", "aten.softmax.int", "aten.layer_norm.default", "aten.cumsum.default"} <= ops
        scaled = [graph.node(i) for i in range(len(graph)) if graph.op(i) == "aten.add.Tensor"]
        assert any(dict(node.kwargs).get("alpha") == 0.5 for node in scaled)
        assert "/" not in trace.provenance.model_file


def test_the_demo_model_completes_its_prompts(monkeypatch):
    import importlib.util

    import torch

    path = Path(__file__).parents[2] / "assets" / "demo_model.py"
    spec = importlib.util.spec_from_file_location("demo_model", path)
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    model = demo.trained()
    with torch.no_grad():
        assert [demo.complete(model, prompt) in demo.PROVERBS for prompt in demo.PROMPTS] == [True] * len(demo.PROMPTS)


def test_what_is_left_after_a_full_disk_is_said_as_it_is(carve_file, tmp_path, monkeypatch):
    """The fault is made: a disk that fills up when the trace is finished keeps nothing of it."""

    def full(descriptor: int) -> None:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))

    (tmp_path / "beside.py").write_text("SIZE = 3")
    monkeypatch.setattr("trace_format.output.os.fsync", full)
    code, said, out = carve_file(GOOD)
    assert code == 1 and not out.exists()
    assert "could not be finished: File too large" in said
    assert "nothing is left" in said and "it holds" not in said


@pytest.mark.parametrize(
    ("layers", "named"),
    [
        ("nn.Linear(4, 4), nn.Dropout(0.5), nn.BatchNorm1d(4)", "(1, 2)"),
        ("nn.Linear(4, 4), nn.Dropout(0.0)", ""),
        ("nn.Linear(4, 4), nn.Dropout(0.5).eval()", ""),
    ],
)
def test_a_model_in_training_mode_is_noted(carve_file, layers, named):
    code, said, out = carve_file(HEAD + f"def build():\n    return nn.Sequential({layers}), (torch.ones(2, 4),)\n")
    assert code == 0, said
    assert ("note: the model is in training mode" in said) == bool(named)
    assert named in said
    with open_trace(out) as trace:
        assert any("training mode" in note for note in trace.notes) == bool(named)
