"""Handoffs to a function of yours."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from self_healing.errors import EffectError, EffectRefused, EffectUntold
from self_healing.handoffs.channel import Receipt
from self_healing.handoffs.cleaning import clean_text
from self_healing.handoffs.declared import PythonDeclared
from self_healing.model import Handoff

GROUP = "self_healing.channels"
"""The group of entry points that functions are found in."""


class FunctionChannel:
    """Calls a function with the nine keys of each handoff.

    Returning says that it was delivered; a text that it returns is kept with the handoff. `EffectError` says that
    nothing was delivered, so that it may be tried again, `EffectRefused` that it never will be. With any other
    exception nobody can tell.

    Args:
        name: what people call it.
        declared: its settings.
    """

    def __init__(self, name: str, declared: PythonDeclared) -> None:
        self.name = name
        self._declared = declared

    def deliver(self, handoff: Handoff) -> Receipt | None:
        """As the port says."""
        about = f"channel {self.name}: {self._declared.function} of handoff {handoff.id}"
        function = self._function()
        try:
            said = function(dict(handoff.message))
        except EffectError:
            raise
        except Exception as error:  # whatever somebody else's code raises, it costs its own handoff only
            raise EffectUntold(f"{about} raised {clean_text(repr(error))}") from error
        return Receipt(said=clean_text(said)) if isinstance(said, str) and said else None

    def probe(self, handoff: Handoff) -> bool | None:
        """Nobody can tell what a function did."""
        return None

    def _function(self) -> Callable[[dict[str, Any]], object]:
        wanted = self._declared.function
        try:
            found = [each.load() for each in entry_points(group=GROUP, name=wanted)] or [_imported(wanted)]
        except Exception as error:  # somebody else's module may raise anything while it is imported
            raise EffectRefused(
                f"channel {self.name}: {wanted} cannot be imported: {clean_text(repr(error))}"
            ) from error
        if not callable(found[0]):
            raise EffectRefused(f"channel {self.name}: {wanted} is no function")
        called: Callable[[dict[str, Any]], object] = found[0]
        return called


def _imported(wanted: str) -> Any:
    module, _, function = wanted.partition(":")
    return getattr(import_module(module), function)
