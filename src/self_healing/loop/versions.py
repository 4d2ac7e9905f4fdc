"""Versions: an incident goes on by the spec under which it was opened, whatever is loaded meanwhile.

Every spec that is loaded is kept in the state, as the fact ``spec/<version>``, with its entry on the audit log: it was
loaded, and its own tests had passed. It stays while an open incident has that version. So the gate takes nobody's word
for what an incident may go on by: its text has to be what its version is the hash of, and the log has to know it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from pydantic import ValidationError

from self_healing.constitution.audit import Audit
from self_healing.measures import Measure
from self_healing.model import Incident, IncidentState
from self_healing.spec import Composite, Spec, TriggerSpec, judged_by
from self_healing.storage import schema
from self_healing.storage.store import Store

ENTRY = "spec"
"""The kind of entry on the audit log that says which spec was loaded."""

_PREFIX = "spec/"

PRINTS = "prints"
"""The fact that keeps :attr:`Spec.prints` of the newest specs, which stay when the specs themselves are let go."""

Prints = dict[str, dict[str, str]]

MOST_PRINTS = 20
"""As many as reloads that ``history`` shows."""


class Kept(msgspec.Struct, frozen=True):
    """A spec that was loaded.

    Args:
        text: its canonical JSON.
        entry: the number of its entry on the audit log.
    """

    text: str
    entry: int


def keep(store: Store, audit: Audit, spec: Spec, at: datetime) -> None:
    """Keep a spec that is loaded and has passed its tests, for as long as an incident may go on by it."""
    with store.joined():
        if _recorded(store, audit, spec.version) is None:
            entry = audit.append(ENTRY, {"version": spec.version, "tests": "passed"}, at)
            store.put_fact(_PREFIX + spec.version, Kept(spec.text, entry.seq))
        known = store.fact(PRINTS, Prints) or {}
        if spec.version not in known:
            store.put_fact(PRINTS, dict([*known.items(), (spec.version, spec.prints)][-MOST_PRINTS:]))


def renew(store: Store, audit: Audit, before: int, at: datetime) -> None:
    """Say anew on the audit log that specs are kept whose entries are older; in the transaction that is open.

    Args:
        store: the state.
        audit: its log, which those entries are to leave.
        before: the number of the first entry that stays.
        at: now.
    """
    name = schema.facts.c.name
    for row in store.rows(sa.select(name).where(name.startswith(_PREFIX, autoescape=True))):
        version = str(row.name).removeprefix(_PREFIX)
        if _recorded(store, audit, version) is None:
            continue
        kept = store.fact(row.name, Kept)
        if kept.entry < before:
            entry = audit.append(ENTRY, {"version": version, "tests": "passed"}, at)
            store.put_fact(row.name, Kept(kept.text, entry.seq))


def _recorded(store: Store, audit: Audit, version: str) -> Spec | None:
    """The spec of that version, if it was loaded, as the records say; None where they don't, or it is read no more."""
    try:
        kept = store.fact(_PREFIX + version, Kept)
    except msgspec.DecodeError:
        return None
    entry = None if kept is None else audit.entry(kept.entry)
    if kept is None or entry is None or (entry.kind, entry.payload.get("version")) != (ENTRY, version):
        return None
    try:
        spec = Spec.model_validate_json(kept.text)
    except ValidationError:
        return None
    # Of another release of this package the same text may say something else, and have another hash.
    return spec if spec.version == version else None


class Versions:
    """The specs that incidents go on by.

    Args:
        store: the state.
        audit: the audit log.
        loaded: the loaded spec.
    """

    def __init__(self, store: Store, audit: Audit, loaded: Spec) -> None:
        self._store = store
        self._loaded = loaded
        name = schema.facts.c.name
        rows = store.rows(sa.select(name).where(name.startswith(_PREFIX, autoescape=True)))
        self._stored = {str(row[0]).removeprefix(_PREFIX) for row in rows} - {loaded.version}
        states = [state.value for state in IncidentState if state is not IncidentState.CLOSED]
        opened = store.select(Incident, state=states) if self._stored else []
        specs = {version: _recorded(store, audit, version) for version in _versions(opened) & self._stored}
        self.kept: Mapping[tuple[str, str], Spec] = {
            (version, trigger.name): spec
            for version, spec in specs.items()
            if spec is not None
            for trigger in spec.triggers
            if _measured_alike(trigger, spec, loaded)
        }
        """The specs that are not loaded any more, by their version and each trigger that may go on by them."""

    def of(self, incident: Incident) -> Spec:
        """The spec that an incident goes on by.

        That is its own, unless nobody knows that any more, or its trigger now measures something else: no sample that
        comes is one that its own could judge.
        """
        return self.kept.get((incident.spec_version, incident.trigger), self._loaded)

    def tidy(self, incidents: Iterable[Incident]) -> None:
        """Let go of what none of these open incidents goes on by; in the transaction that is open."""
        gone = self._stored - _versions(incidents) if self._stored else set()
        if gone:
            names = [_PREFIX + version for version in gone]
            with self._store.transaction() as connection:
                connection.execute(sa.delete(schema.facts).where(schema.facts.c.name.in_(names)))
            self._stored -= gone


def _versions(incidents: Iterable[Incident]) -> set[str]:
    return {incident.spec_version for incident in incidents}


def _measured_alike(trigger: TriggerSpec, spec: Spec, loaded: Spec) -> bool:
    """Whether the loaded spec measures for a trigger of `spec`, and for its actions, what that itself measures."""
    now = {each.name: each for each in loaded.measured}
    declared = {each.name: each for each in loaded.triggers}.get(trigger.name)
    if declared is None or not declared.enabled:
        return False
    judging = [judged_by(trigger, action) for action in spec.actions if action.name in trigger.actions]
    if not all(each.name in now and _measured(now[each.name]) == _measured(each) for each in (trigger, *judging)):
        return False
    members = trigger.condition.members if isinstance(trigger.condition, Composite) else ()
    return all(_measured_alike(spec.trigger(name), spec, loaded) for name in members)


def _measured(trigger: TriggerSpec) -> tuple[Any, ...]:
    return (Measure.of(trigger).unlimited, trigger.aggregate, trigger.condition.kind)
