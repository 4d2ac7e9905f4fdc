"""Functions of a person's own, by the name of an entry point or by where they are."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any


def function(group: str, wanted: str) -> Callable[..., object]:
    """The function of that name.

    Args:
        group: of the entry points.
        wanted: the name of one of them, or ``module:function``.

    Raises:
        ValueError: there is none, with why; whatever its module raised is the cause.
    """
    try:
        found: list[Any] = [each.load() for each in entry_points(group=group, name=wanted)] or [_imported(wanted)]
    except (Exception, SystemExit) as error:  # somebody else's module may raise anything while it is imported
        raise ValueError(f"{wanted} cannot be imported: {error!r}") from error
    if not callable(found[0]):
        raise ValueError(f"{wanted} is no function")
    called: Callable[..., object] = found[0]
    return called


def _imported(wanted: str) -> Any:
    module, _, name = wanted.partition(":")
    return getattr(import_module(module), name)
