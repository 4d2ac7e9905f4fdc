"""Refuses a spec of which a boundary test fails, and says where the trigger was declared that it is of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from self_healing.declarations import Values
from self_healing.documents import Read
from self_healing.errors import ConfigError
from self_healing.spec import Spec
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
    failed = failures(spec)
    if failed:
        declared = read_triggers(files, overrides=overrides, read=read)  # only now: to find lines takes a while
        raise ConfigError([f"{declared.at(each.trigger, each.key)}: {each}" for each in failed])
