"""Loads the spec and tries it: what fails one of its own tests is refused (article II)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from self_healing.config import Settings, load_spec
from self_healing.errors import ConfigError
from self_healing.spec import Spec
from self_healing.triggers.selftest import failures


def load_tested_spec(settings: Settings, overrides: Mapping[str, Mapping[str, Any]], *, looking: bool = False) -> Spec:
    """The spec whose own tests pass: the generated boundary tests, and those of ``triggers.tests``.

    Args:
        settings: the configuration.
        overrides: changes made at run time, by trigger.
        looking: the state is only looked at; nothing is done by this spec, and a person's tests may wait.

    Raises:
        ConfigError: with every mistake, or all that fails.
    """
    spec = load_spec(settings, {name: dict(changes) for name, changes in overrides.items()})
    try_spec(spec, () if looking else settings.triggers.tests, settings)
    return spec


def try_spec(spec: Spec, tests: Sequence[Path], settings: Settings) -> None:
    """Try `spec` at its boundaries and in a person's `tests`. Raises ConfigError with all that fails."""
    failed = failures(spec)
    if failed:
        raise ConfigError(failed)
    if tests:
        # Only here: they run on the whole loop, which itself loads a spec.
        from self_healing.spec_tests.running import run_files
        from self_healing.spec_tests.telling import told

        failing = [line for ran in run_files(tests, settings, spec) for line in told(ran)]
        if failing:
            raise ConfigError(failing)
