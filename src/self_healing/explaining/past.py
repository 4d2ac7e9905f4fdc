"""The past: what the loaded spec says of stored events at an instant, beside what is on record about that time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

import msgspec

from self_healing.clock import SECOND_US, from_us, to_us
from self_healing.config import Settings
from self_healing.errors import NotFound
from self_healing.explaining.recorded import recorded
from self_healing.explaining.replaying import Replay, depends_on, looks_back_us, reach_us
from self_healing.explaining.telling import (
    Json,
    about,
    beyond,
    declared,
    fits,
    in_order,
    off,
    refuse_foreign_keys,
    series,
    uninhibited,
)
from self_healing.filenames import SEGMENTS
from self_healing.model import OVERFLOW, UNKNOWN_VALUE, CloseReason, Incident, SeriesState, Verdict, group_label
from self_healing.problems import suggestion
from self_healing.spec import Composite, Spec
from self_healing.telemetry.columns import asked_attributes
from self_healing.telemetry.groups import BY_AGENT
from self_healing.telemetry.query.files import Places
from self_healing.telemetry.query.find import MOST_NAMES, looked
from self_healing.telemetry.query.past import past
from self_healing.telemetry.query.rows import Wanted
from self_healing.telemetry.signals import GROUP_COLUMNS, signal_of

POINTS: Final = 120
"""A stretch is shown by about so many values."""

FINE_S: Final = 7200
"""A stretch of up to two hours is looked at to the second, a longer one, and one that is only drawn, where it is on
record and at its points."""

NOTABLE: Final = frozenset(
    ("detected", "reopened", "acting", "would", "mitigated", "undone", "relapse", "escalated", *CloseReason)
)
"""The lines of a timeline that are marked."""


class Looking:
    """One look back.

    Args:
        settings: where telemetry and state are.
        spec: the loaded one.
        name: of the trigger.
        keys: what the groups have among their own; all series when empty.
        at: the instant.
        span_s: how long before it the stretch begins that is shown.
        drawn: whether of that only the values matter; see :class:`~self_healing.explaining.explain.Question`.

    Raises:
        NotFound: there is no such trigger.
        SelfHealingError: it does not group by one of the keys, or what is stored cannot be read.
    """

    def __init__(
        self,
        settings: Settings,
        spec: Spec,
        name: str,
        keys: Mapping[str, str],
        at: datetime,
        span_s: int,
        *,
        drawn: bool = False,
    ) -> None:
        self.spec, self.keys, self.at, self.span_s = spec, keys, at, span_s
        self._drawn = drawn
        self.trigger = declared(spec, name)
        refuse_foreign_keys(self.trigger, keys)
        self.places = Places(telemetry=settings.telemetry.dir, segments=settings.storage.state_dir / SEGMENTS)
        self.triggers = depends_on(spec, name)
        names = [each.name for each in self.triggers]
        self.recorded = recorded(settings.storage.state_dir, name, names, to_us(at))
        self.from_us = to_us(at) - span_s * SECOND_US
        self.needed_us = reach_us(self.triggers, self.recorded, self.from_us, remembered=not drawn)
        self.past = past(
            self.places,
            self.needed_us,
            to_us(at),
            agent=self._agent(),
            attributes=asked_attributes(self.triggers),
        )
        self.replay = Replay(spec, name, self.past, self.recorded, self.needed_us, drawn=drawn)

    def _agent(self) -> str | None:
        """The agent whose events are enough; None where all are needed, as to know which groups were there first."""
        alone = all(trigger.group_by == BY_AGENT and trigger.max_series is None for trigger in self.triggers)
        agent = self.keys.get("agent")
        if not alone or agent in (None, OVERFLOW, UNKNOWN_VALUE):
            return None
        stretch = Wanted(since_us=self.needed_us, until_us=to_us(self.at) + 1)
        agents = looked(self.places, stretch, lambda look: look.names("agent"))
        # Fewer, since the group of the events that name no agent may come on top.
        return agent if len(agents) < min(self.spec.max_groups, MOST_NAMES) else None

    def explain(self) -> Json:
        """The series at that instant, and the stretch before it where one series is asked for."""
        points = self._run()
        at_us, name = to_us(self.at), self.trigger.name
        verdicts = in_order(v for v in self.replay.framework.verdicts_of(name, at_us) if fits(v.group, self.keys))
        told = about(self.spec, self.trigger, self.at, "recomputed", [self._series(each) for each in verdicts])
        told["warnings"] = [*self.past.warnings, *self._doubts(verdicts), *uninhibited(self.replay.framework, verdicts)]
        if not verdicts:
            told["why_none"] = self._why_none()
        elif self.replay.telemetry.overflows(name):
            told["warnings"].append(beyond(self.trigger))
        if len(verdicts) == 1:
            told["history"] = self._history(verdicts[0], points)
        return told

    def _run(self) -> list[Verdict]:
        """Replay up to the instant; returns what is seen on the way of the one series that is asked for."""
        replay, name = self.replay, self.trigger.name
        replay.to(self.from_us, coarsely=True)
        found: list[Verdict] = []
        for at_us in self._points():
            replay.to(at_us, coarsely=self._drawn or self.span_s > FINE_S)
            seen = [each for each in replay.framework.verdicts_of(name, at_us) if fits(each.group, self.keys)]
            found += seen if len(seen) == 1 else []
        return found

    @property
    def step_s(self) -> int:
        """How far apart the values are that are shown."""
        return max(self.spec.grid, -(-self.span_s // POINTS))

    def _points(self) -> Iterator[int]:
        at_us, step_us = to_us(self.at), self.step_s * SECOND_US
        first_us = at_us - (at_us - self.from_us) // step_us * step_us
        yield from range(first_us, at_us + 1, step_us)

    def _series(self, verdict: Verdict) -> Json:
        name, group, at_us = self.trigger.name, verdict.group, to_us(self.at)
        opening = self.recorded.opening(group, self.at)
        verdict = msgspec.structs.replace(verdict, spec_version=self.spec.version)
        state, since, version = self._recorded(verdict)
        if verdict.since is None or (state, version) == (verdict.state, self.spec.version):
            # Since when it really is: the engine may have begun only then, and sees late events when they come.
            verdict = msgspec.structs.replace(verdict, since=since)
        told = series(
            self.trigger,
            verdict,
            self.replay.framework.grounds(name, group, at_us),
            None if opening is None else opening.incident,
        )
        state, since, version = self._recorded(verdict)
        if state is not None:
            told["recorded"] = {
                "state": state.name.lower(),
                "since": msgspec.to_builtins(since),
                "spec_version": version,
            }
        return told

    def _recorded(self, verdict: Verdict) -> tuple[SeriesState | None, datetime | None, str | None]:
        """State, since when, and spec version of a series at the instant, as they are on record."""
        last = self.recorded.last(verdict.group, self.at)
        anew = self.recorded.anew_at(verdict.group, self.at, self.spec.grid)
        if last is None:
            return None, None, None
        if anew is not None and anew >= last.verdict.at:
            return SeriesState.INACTIVE, anew, last.verdict.spec_version
        return last.after, last.verdict.at, last.verdict.spec_version

    # -- what is in doubt

    def _doubts(self, verdicts: list[Verdict]) -> Iterator[str]:
        """What anyone should know who relies on what was recomputed."""
        others = [each for each in sorted(self.recorded.versions - {self.spec.version}) if self._saw_otherwise(each)]
        if others:
            yield (
                f"the spec has changed: around then it was {', '.join(others)}, and now it is {self.spec.version};"
                " what is recomputed follows the one of now"
            )
        whole_us = to_us(self.at) - looks_back_us(self.triggers)
        if self.past.reaches_us is None:
            yield f"no event up to then is stored in {self.places.telemetry} and {self.places.segments}"
        elif self.past.reaches_us > whole_us:
            yield (
                f"stored history begins at {from_us(self.past.reaches_us):%Y-%m-%d %H:%M:%S}, but what"
                f" {self.trigger.name} says depends on what was from {from_us(whole_us):%Y-%m-%d %H:%M:%S} on"
            )
        for verdict in verdicts:
            state, since, _ = self._recorded(verdict)
            if state is not None and state is not verdict.state and since is not None:
                stood = f"on record it is {state.name.lower()} since {since:%Y-%m-%d %H:%M:%S}"
                found = f"recomputed it is {verdict.state.name.lower()}"
                why = "the spec was another, events came late, or no service took them in"
                yield f"{group_label(verdict.group)}: {stood}, and {found}: {why}"

    def _saw_otherwise(self, version: str) -> bool:
        """Whether the trigger may have seen something else under another spec; what nobody knows of one may be so."""
        then, now = self.recorded.prints.get(version), self.spec.prints
        return then is None or any(then.get(name) != now[name] for name in ("", *(each.name for each in self.triggers)))

    def _why_none(self) -> str:
        """Why there is no series at all. Raises NotFound for a group that never was."""
        name, trigger = self.trigger.name, self.trigger
        if not trigger.enabled:
            return off(trigger)
        for key, value in self.keys.items():
            known = self._values(key)
            if known is not None and value not in known:
                unheard = f" no event that is stored has {key} = {value};{suggestion(value, known)}"
                raise NotFound("series", f"{name} {key}={value}", unheard)
        signal, since = signal_of(trigger.signal), f"since {from_us(self.needed_us):%Y-%m-%d %H:%M:%S}"
        if not self.past.events:
            return f"no event came {since}"
        if self.keys and self.replay.telemetry.overflows(name):
            return beyond(trigger)
        if isinstance(trigger.condition, Composite):
            return f"none of {', '.join(trigger.condition.members)} has a series either"
        kind = None if signal is None else signal.kind
        if kind is not None and not (self.past.kind == kind).any():
            of = "".join(f" of {key}={value}" for key, value in self.keys.items())
            return f"{trigger.signal} is measured on {kind.name.lower()} events, and none{of} came {since}"
        where = "".join(f", with {key} = {value}" for key, value in trigger.where.items())
        of = " for that group" if self.keys else ""
        return f"no event that {trigger.signal} is measured on came {since}{of}{where}"

    def _values(self, key: str) -> list[str] | None:
        """What any stored event ever said in a column; None where that is not looked up."""
        if key not in GROUP_COLUMNS:
            return None
        return [*looked(self.places, Wanted(), lambda look: look.names(key)), UNKNOWN_VALUE, OVERFLOW]

    # -- the stretch

    def _history(self, verdict: Verdict, points: list[Verdict]) -> Json:
        from_at, group = from_us(self.from_us), verdict.group
        key = (self.trigger.name, group)
        shown = [each for each in self.recorded.changes(group) if each.verdict.at >= from_at]
        replayed = [each for each in self.replay.transitions if each.verdict.at >= from_at]
        mine = [each for each in replayed if (each.verdict.trigger, each.verdict.group) == key]
        return {
            "from": msgspec.to_builtins(from_at),
            "until": msgspec.to_builtins(self.at),
            "step_s": self.step_s,
            "points": [
                {
                    "at": msgspec.to_builtins(each.at),
                    "value": each.value,
                    "threshold": each.threshold,
                    "baseline": each.baseline,
                    "state": each.state.name.lower(),
                }
                for each in points
            ],
            "transitions": [
                {
                    "at": msgspec.to_builtins(each.verdict.at),
                    "from": each.before.name.lower(),
                    "to": each.after.name.lower(),
                    "spec_version": each.verdict.spec_version,
                }
                for each in shown
            ],
            "recomputed": [
                {
                    "at": msgspec.to_builtins(each.verdict.at),
                    "from": each.before.name.lower(),
                    "to": each.after.name.lower(),
                }
                for each in mine
            ],
            "marks": list(_marks(self.recorded.of(group), from_at, self.at)),
        }


def _marks(incidents: Iterable[Incident], since: datetime, at: datetime) -> Iterator[Json]:
    """What happened to incidents in a stretch of time, oldest first."""
    notes = [(note, incident.id) for incident in incidents for note in incident.notes]
    for note, id in sorted(notes, key=lambda pair: pair[0].at):
        if note.what in NOTABLE and since <= note.at <= at:
            yield {"at": msgspec.to_builtins(note.at), "what": note.what, "text": note.text, "incident": id}


def look_back(
    settings: Settings,
    spec: Spec,
    name: str,
    keys: Mapping[str, str],
    at: datetime,
    span: timedelta,
    *,
    drawn: bool = False,
) -> Json:
    """What the loaded spec says of the stored events at `at`, and of the stretch of `span` before it.

    Raises as :class:`Looking` does.
    """
    trigger = declared(spec, name)
    if trigger not in spec.triggers:
        return about(spec, trigger, at, "recomputed", []) | {"why_none": off(trigger)}
    return Looking(settings, spec, name, keys, at, round(span.total_seconds()), drawn=drawn).explain()
