"""What statuses and verdicts are called on the screen."""

from __future__ import annotations

from tapml_tui.compare.result import Status, Verdict

SENTENCES = {
    Verdict.CLEAN: "within the noise floor",
    Verdict.HEALED: "its inputs were off, its result is not",
    Verdict.INHERITED: "this kernel is right: its inputs were wrong already",
    Verdict.AMPLIFIED: "this kernel is right, but it made an inherited error much larger",
    Verdict.LOCAL: "this kernel is wrong",
}
WORDS = {
    Status.NOT_RUN: "not run",
    Status.PASSED: "passed",
    Status.FAILED: "failed",
    Status.ERROR: "error",
    Status.UNSUPPORTED: "unsupported",
}
STALE_SENTENCE = "~ stale: a side changed upstream; it is computed again when a step needs it"
BEFORE_SENTENCE = "~ of an earlier session; it is computed again when a step needs it, at the end with c"
