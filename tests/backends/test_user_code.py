"""A file of the user's may raise anything: what it was is told, and whose file it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapml_tui.backends import messages, user_code

MUTE = """
class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no")
raise Mute
"""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("raise SystemExit", "SystemExit"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise ValueError('a word')", "ValueError: a word"),
        (MUTE, "Mute: its own message raises RuntimeError"),
    ],
)
def test_whatever_a_file_raises_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, says: str) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))  # what is put on sys.path goes with the test
    file = tmp_path / "mine.py"
    file.write_text(text)
    with pytest.raises(user_code.NotExecuted) as raised:
        user_code.execute(str(file), "--load")
    assert raised.value.reason == f"the --load file mine.py: {says}"


def test_a_message_is_never_empty() -> None:
    assert messages.of_exception(KeyError()) == ("KeyError", "KeyError")
