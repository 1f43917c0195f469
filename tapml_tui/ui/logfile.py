"""The log file: everything that is too long, or too technical, for the screen."""

from __future__ import annotations

import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path

import platformdirs

LIMIT = 2 << 20  # bytes in one file; one older file is kept


def log_path() -> Path:
    """Where the log is."""
    return Path(platformdirs.user_log_dir("tapml-tui")) / "tapml-tui.log"


def open_log() -> None:
    """Log to the file; without a word where it cannot be written: a log is no reason to stop."""
    path = log_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handler = RotatingFileHandler(path, maxBytes=LIMIT, backupCount=1, encoding="utf-8", delay=True)
    except OSError:
        return
    handler.setFormatter(logging.Formatter("%(asctime)s %(process)d %(levelname)s %(name)s %(message)s"))
    logging.getLogger("tapml_tui").addHandler(handler)
    logging.getLogger("tapml_tui").setLevel(logging.INFO)
    logging.getLogger("tapml_tui").propagate = False
