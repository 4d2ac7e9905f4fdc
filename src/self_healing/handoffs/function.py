"""Handoffs to a function of yours."""

from __future__ import annotations

from self_healing import plugins
from self_healing.errors import EffectError, EffectRefused, EffectUntold
from self_healing.handoffs.channel import Receipt
from self_healing.handoffs.cleaning import clean_text
from self_healing.handoffs.declared import FUNCTIONS, PythonDeclared
from self_healing.model import Handoff


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
        try:
            function = plugins.function(FUNCTIONS, self._declared.function)
        except ValueError as error:
            raise EffectRefused(f"channel {self.name}: {clean_text(str(error))}") from error
        try:
            said = function(dict(handoff.message))
        except (EffectError, KeyboardInterrupt):
            raise
        except BaseException as error:  # sys.exit() and a cancelled task, too, cost their own handoff and no service
            raise EffectUntold(f"{about} raised {clean_text(repr(error))}") from error
        return Receipt(said=clean_text(said)) if isinstance(said, str) and said else None

    def probe(self, handoff: Handoff) -> bool | None:
        """Nobody can tell what a function did."""
        return None
