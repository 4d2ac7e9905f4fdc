"""Refuses a spec of which a boundary test fails, and says where the trigger was declared that it is of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from self_healing.declarations import Declarations, Values
from self_healing.documents import Read
from self_healing.errors import ConfigError
from self_healing.spec import Spec, TriggerSpec
from self_healing.triggers.declared import read_triggers
from self_healing.triggers.selftest import failures


def try_boundaries(spec: Spec, files: Sequence[Path], overrides: Mapping[str, Values], *, read: Read) -> None:
    """Try each trigger at its boundaries.

    Args:
        files, overrides: what the triggers were read from.
        read: how each of the files is read.

    Raises:
        ConfigError: with all that fails.
    """
    if failures(spec):
        # Only now: to find lines takes a while.
        raise ConfigError(failing(read_triggers(files, overrides=overrides, read=read)))


def failing(declared: Declarations[TriggerSpec]) -> list[str]:
    """What fails at the boundaries of the triggers that are valid in themselves, each with where it was declared."""
    tried = Spec(triggers=declared.specs, actions=())
    return [f"{declared.at(each.trigger, each.key)}: {each}" for each in failures(tried)]
