"""What differs between two configurations: trigger by trigger, key by key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from self_healing.config import Settings
from self_healing.model import Record
from self_healing.problems import shown
from self_healing.spec import Spec

NEEDS_RESTART = ("environment", "telemetry", "storage", "server", "heartbeat")
"""What of the configuration is only read at the start: directories and ports are held open, and pages named."""

LIVE_SETTINGS = ("actions.mode", "actions.fallback", "actions.channels", "actions.fallback_channel")
"""Settings beside the spec that a running service follows."""


class Change(Record, frozen=True, kw_only=True):
    """One thing that differs."""

    what: str  # such as "trigger slow_tasks"; "limits" and "spec" for what is none of several
    key: str | None  # dotted; None where the whole is new or gone
    before: Any = None  # None where it is new
    after: Any = None  # None where it is gone

    def __str__(self) -> str:
        if self.key is None:
            return f"{self.what}: {'removed' if self.after is None else 'added'}"
        return f"{self.what}: {self.key}: {shown(self.before)} -> {shown(self.after)}"


class Reload(Record, frozen=True, kw_only=True):
    """A running service went on by another configuration."""

    at: datetime
    why: str  # what asked for it
    before: str  # spec version
    spec_version: str
    changes: tuple[Change, ...]
    restart: tuple[Change, ...]  # what differs from the start on, and takes a restart


def spec_changes(before: Spec, after: Spec) -> list[Change]:
    """What differs between two specs, in the order of the newer one; what is gone comes last of its kind."""
    old, new = (spec.model_dump(mode="json", by_alias=True) for spec in (before, after))
    found: list[Change] = []
    for kind in [kind for kind, value in new.items() if _named(value) or _named(old.get(kind))]:
        found += _declared(kind.removesuffix("s"), old.pop(kind), new.pop(kind))
    for part in [part for part, value in new.items() if isinstance(value, dict)]:
        found += _differing(part, old.pop(part), new.pop(part))
    return [*found, *_differing("spec", old, new)]


def setting_changes(before: Settings, after: Settings) -> list[Change]:
    """What differs of the settings that a running service follows."""
    followed = tuple(f"{key}." for key in LIVE_SETTINGS)
    return [each for each in _settings(before, after) if f"{each.key}.".startswith(followed)]


def restart_changes(before: Settings, after: Settings) -> list[Change]:
    """What differs of the settings that are only read at the start."""
    return [each for each in _settings(before, after) if str(each.key).partition(".")[0] in NEEDS_RESTART]


def _settings(before: Settings, after: Settings) -> list[Change]:
    old, new = (settings.model_dump(mode="json") for settings in (before, after))
    for secret, one, another in (("token", "one token", "another"), ("tokens", "some tokens", "others")):
        if old["server"][secret] != new["server"][secret]:  # a secret is never shown, nor its hash
            old["server"][secret], new["server"][secret] = one, another
    return list(_differing("settings", old, new))


def _named(value: Any) -> bool:
    """Whether a part of a spec is a list of what has names."""
    return isinstance(value, list) and bool(value) and all(isinstance(each, dict) and "name" in each for each in value)


def _declared(kind: str, before: list[dict[str, Any]], after: list[dict[str, Any]]) -> Iterator[Change]:
    old, new = ({each["name"]: each for each in listed} for listed in (before, after))
    for name, values in new.items():
        if name in old:
            yield from _differing(f"{kind} {name}", old[name], values)
        else:
            yield Change(what=f"{kind} {name}", key=None, after=values)
    for name in [name for name in old if name not in new]:
        yield Change(what=f"{kind} {name}", key=None, before=old[name])


def _differing(what: str, before: Mapping[str, Any], after: Mapping[str, Any], above: str = "") -> Iterator[Change]:
    for key in {**after, **before}:
        old, new = before.get(key), after.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differing(what, old, new, f"{above}{key}.")
        elif old != new:
            yield Change(what=what, key=f"{above}{key}", before=old, after=new)
