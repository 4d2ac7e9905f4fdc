"""Loads the spec and tries it: what fails one of its own tests is refused (article II)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from self_healing.config import Settings, load_spec
from self_healing.documents import Documents, Read, read_document
from self_healing.errors import ConfigError
from self_healing.spec import Spec
from self_healing.triggers.trying import try_boundaries

Overrides = Mapping[str, Mapping[str, Any]]
"""Changes made at run time, by trigger."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A spec that has passed its own tests.

    Args:
        spec: what is declared.
        documents: the files that it came of, as they were then.
    """

    spec: Spec
    documents: Documents = field(default_factory=Documents)


def load_tested(
    settings: Settings, overrides: Overrides, *, documents: Documents | None = None, looking: bool = False
) -> Loaded:
    """The spec whose own tests pass: the generated boundary tests, and those of ``triggers.tests``.

    Args:
        settings: the configuration.
        overrides: changes made at run time, by trigger.
        documents: files that were read already; read anew when left out.
        looking: the state is only looked at; nothing is done by this spec, so that a person's tests may wait, and
            functions need not be there.

    Raises:
        ConfigError: with every mistake, or all that fails.
    """
    documents = Documents() if documents is None else documents
    spec = load_spec(
        settings, {name: dict(changes) for name, changes in overrides.items()}, read=documents, looking=looking
    )
    try_spec(spec, () if looking else settings.triggers.tests, settings, overrides, read=documents)
    return Loaded(spec=spec, documents=documents)


def try_spec(
    spec: Spec, tests: Sequence[Path], settings: Settings, overrides: Overrides, *, read: Read = read_document
) -> None:
    """Try `spec` at its boundaries and in a person's `tests`.

    Args:
        tests: files of them.
        settings: the configuration that `spec` comes of.
        overrides: the changes made at run time that it comes of.
        read: how each file is read.

    Raises:
        ConfigError: with all that fails.
    """
    try_boundaries(spec, settings.triggers.files, overrides, read=read)
    if tests:
        # Only here: they run on the whole loop, which itself loads a spec.
        from self_healing.spec_tests.running import run_files
        from self_healing.spec_tests.telling import told

        failing = [line for ran in run_files(tests, settings, spec, read=read) for line in told(ran)]
        if failing:
            raise ConfigError(failing)
