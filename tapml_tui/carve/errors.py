"""What carving says when it cannot go on."""

from __future__ import annotations


class CarveError(Exception):
    """A model that could not be carved, in words for its owner.

    Attributes:
        what: What happened.
        why: The cause.
        remedy: What to do next.
        usage: Whether the request was wrong, not the model.
    """

    def __init__(self, what: str, *, why: str = "", remedy: str = "", usage: bool = False) -> None:
        self.what, self.why, self.remedy, self.usage = what, why, remedy, usage
        super().__init__("\n  ".join(line for line in (what, why, remedy) if line))
