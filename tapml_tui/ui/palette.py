"""The command palette: every action by name, from the action table."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

from textual.command import CommandPalette, DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from tapml_tui.ui.actions import ACTIONS, SCREEN, Action, keys
from tapml_tui.ui.screens.modal import LeavesOnce

_TITLE = 1000.0  # more than a match has by itself


class Palette(LeavesOnce, CommandPalette):
    """Textual's palette, which takes keys also while it comes and goes."""

    def _action_command_list(self, action: str) -> None:
        # Between "there are options" and "they have lines" its list looks for a line that is not there.
        with suppress(LookupError):
            super()._action_command_list(action)


class ActionProvider(Provider):
    """Finds the actions that work everywhere."""

    async def discover(self) -> Hits:
        """All of them, before anything is typed."""
        for action in _offered():
            yield DiscoveryHit(_name(action), partial(self.screen.run_action, action.name), help=action.about)

    async def search(self, query: str) -> Hits:
        """Those whose title begins so, then those whose title matches, then those of which something so is said."""
        matcher = self.matcher(query)
        for action in _offered():
            score = matcher.match(f"{action.title} {action.about}")
            if score > 0:
                begins = action.title.lower().startswith(query.lower())
                score += _TITLE * (begins + (matcher.match(action.title) > 0))
                yield Hit(score, _name(action), partial(self.screen.run_action, action.name), help=action.about)


def _offered() -> list[Action]:
    return [action for action in ACTIONS if action.scope == SCREEN and action.name != "palette"]


def _name(action: Action) -> Content:
    return Content(f"{action.title}   {keys(action)}" if action.keys else action.title)
