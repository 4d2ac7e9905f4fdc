"""The errors of the framework.

::

    SelfHealingError
    ├── ConfigError        a setting or a spec that cannot be used (file, key, value, what is allowed)
    ├── StateError         the state directory cannot be used
    │   ├── StateBusy      another process owns it
    │   └── StateCorrupt   what is stored is not what was written
    ├── StorageError       a write did not commit; nothing of it was acknowledged
    ├── TelemetryError     the telemetry directory cannot be read
    ├── EffectError        an effect could not be brought about
    └── NotFound           no record with that id

Expected outcomes (a denial, a quarantined line, a series without data) are values, never exceptions.
"""

from __future__ import annotations


class SelfHealingError(Exception):
    """Base of every error that the framework raises on purpose; its text says what happened and what to do next."""


class ConfigError(SelfHealingError):
    """A configuration or a spec was refused.

    Args:
        problems: one line for each mistake: file, key, value and what is allowed.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class StateError(SelfHealingError):
    """The state directory cannot be used."""


class StateBusy(StateError):
    """Another process owns the state directory."""


class StateCorrupt(StateError):
    """What is stored is not what was written: a torn record, a broken hash chain, an unknown schema version."""


class StorageError(SelfHealingError):
    """A transaction did not commit (disk full, database locked); nothing in it happened."""


class TelemetryError(SelfHealingError):
    """The telemetry directory cannot be read now; the framework keeps watching for it."""


class EffectError(SelfHealingError):
    """An effect could not be brought about (a channel refused, a file could not be written)."""


class NotFound(SelfHealingError):
    """No record with that id.

    Args:
        what: the kind of record, in the words of the documentation.
        id: what was asked for.
    """

    def __init__(self, what: str, id: str) -> None:
        super().__init__(f"no {what} {id!r}; list them to see which there are")
        self.what = what
        self.id = id
