"""Backtest: a spec on history, in event time, at full speed.

It sees what the live engine would have seen and heals nothing: an incident ends when its series goes inactive, or after
a day without enough samples. Maintenance windows and inhibition mute as they do live. A person's silences and the
warm-up after a start do not: neither belongs to a spec on a history.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from self_healing.clock import DAY_US, HOUR_US, SECOND_US, from_us, to_us
from self_healing.errors import TelemetryError
from self_healing.forgetting import Forgetting
from self_healing.incidents.muting import Muting
from self_healing.lookahead import LookAhead
from self_healing.measures import Grouped, Ints, Measure
from self_healing.model import Event, Group, SeriesState, Transition
from self_healing.spec import Spec, TriggerSpec
from self_healing.telemetry.assembly import traced
from self_healing.telemetry.collector import collector_off
from self_healing.telemetry.columns import asked_attributes
from self_healing.telemetry.groups import NOBODY
from self_healing.telemetry.lines import native_asking
from self_healing.telemetry.native import Decoded, decode
from self_healing.telemetry.query.past import Past
from self_healing.telemetry.replayed import Replayed
from self_healing.telemetry.telemetry import Telemetry
from self_healing.triggers.framework import TriggerFramework

Tell = Callable[[float], None]
"""Hears how much of the history has been replayed, 0 to 1."""


def nobody(_share: float) -> None:
    """Nobody wants to hear."""


FAR_FUTURE_US = 9000 * 365 * DAY_US
"""History has no future: no event in it is quarantined for lying ahead of now."""

STRETCH_US = HOUR_US
"""So much of the history is folded ahead at once: what is known of silence is known to the hour."""

STRETCH_EVENTS = 50_000
"""No more events than this are folded ahead at once."""

TOLD_US = 60 * SECOND_US
"""How much of the history passes before somebody hears of it again."""


READING = 0.1
"""So much of it is done, more or less, once it is known how several files lie in time."""


@dataclass(slots=True)
class Found:
    """One incident that would have been.

    Args:
        opened_us, closed_us: microseconds; still open at the end of the history when None.
        peak: the worst value, in the signal's unit.
        suppressed: whether it was closed because a maintenance window began.
    """

    trigger: str
    group: Group
    opened_us: int
    peak: float | None
    closed_us: int | None = None
    suppressed: bool = False


ASKED_TIMES: Final = 32
"""In so many equal stretches stored events are looked at, and after each it is asked whether that is enough."""


@dataclass(slots=True)
class Replay:
    """A history in event time.

    Args:
        spec: what is tried.
        every_event: look at the instant of every event, and at the one before, even where nothing can change; to check
            the look-ahead by.
        by_step: go from event to event and see nothing ahead: for a history with traces, of which tasks are still made.
        first_us, last_us: the time of the first and the last event, microseconds.
    """

    spec: Spec
    every_event: bool = False
    by_step: bool = False
    telemetry: Telemetry = field(init=False)
    framework: TriggerFramework = field(init=False)
    transitions: list[Transition] = field(default_factory=list)
    incidents: list[Found] = field(default_factory=list)
    first_us: int = 0
    last_us: int = 0
    took_s: float = 0.0
    _t_us: int | None = None  # the newest instant that was evaluated
    _open: dict[tuple[str, Group], Found] = field(default_factory=dict)
    _muted: set[tuple[str, Group]] = field(default_factory=set)  # series that fire, and open nothing meanwhile
    _changed: set[tuple[str, Group]] = field(default_factory=set)  # series that are other than they were seen ahead
    _muting: Muting = field(init=False)
    _window_due_us: int = 0  # when a maintenance window begins or ends next
    _forgetting: Forgetting = field(init=False)
    _gone: dict[Grouped, set[Group]] = field(default_factory=dict)  # groups whose places others have, maybe
    _ahead: LookAhead | None = field(init=False)
    _heard_us: int = 0  # the end of the newest stretch with events
    _told_us: int = 0  # up to when somebody has heard of it

    def __post_init__(self) -> None:
        triggers, groups, grid_us = self.spec.triggers, self.spec.max_groups, self.spec.grid * SECOND_US
        by_step = self.every_event or self.by_step
        seen = None if by_step else Replayed(triggers, grid_us=grid_us, max_groups=groups)
        ahead = None if seen is None or not seen.tells_apart else seen
        self.telemetry = ahead or Telemetry(triggers, max_groups=groups)
        self._muting = Muting(self.spec)
        self.framework = TriggerFramework(self.spec, self.telemetry, self._muting.by)
        self._forgetting = Forgetting(self.telemetry, self.framework, self._forgotten)
        self._ahead = None if ahead is None else LookAhead(self.spec, self.framework, ahead, self._peak_of)

    def _forgotten(self, grouped: Grouped, groups: Iterable[Group]) -> None:
        self._gone.setdefault(grouped, set()).update(groups)

    def groups(self, trigger: TriggerSpec) -> int:
        """How many groups were seen by which a trigger groups, those that were forgotten as well."""
        grouped = Measure.of(trigger).grouped
        return len({*self.telemetry.groups(grouped), *self._gone.get(grouped, ())} - {NOBODY})

    @property
    def sees_ahead(self) -> bool:
        """Whether it looks only where something can happen; else it goes from event to event."""
        return self._ahead is not None

    def run(self, end_us: int, tell: Tell = nobody) -> None:
        """Step the grid up to `end_us`, at every instant at which something can change.

        Args:
            end_us: microseconds; all events up to there are queued.
            tell: hears now and then how much was replayed.
        """
        with collector_off():
            began = time.perf_counter()
            self._run(end_us, tell)
            self.took_s += time.perf_counter() - began

    def _run(self, end_us: int, tell: Tell) -> None:
        grid_us = self.spec.grid * SECOND_US
        end_us = end_us // grid_us * grid_us
        first_us = self.telemetry.next_queued_us()
        if self._t_us is None and first_us is None:
            return
        t_us = self._t_us if self._t_us is not None else (first_us or 0) // grid_us * grid_us - grid_us
        self._told_us = max(self._told_us, t_us)
        while (next_us := self._go_on(t_us, end_us, tell)) is not None:
            t_us = next_us
        self._t_us = t_us

    def _go_on(self, t_us: int, end_us: int, tell: Tell) -> int | None:
        """Go on from the instant that was looked at last; returns the one that now was, None at the end."""
        grid_us = self.spec.grid * SECOND_US
        if self._ahead is not None:
            until_us = self._stretch_us(self._ahead.telemetry, t_us, end_us)
            if until_us is not None:
                self._look_along(self._ahead, t_us, until_us, tell)
            return until_us
        next_us = self._next_us(t_us, grid_us)
        if next_us is None or next_us > end_us:
            return None
        self._look(next_us)
        self._tell(next_us, tell)
        return next_us

    def _stretch_us(self, history: Replayed, t_us: int, end_us: int) -> int | None:
        """Up to when to fold ahead at once from `t_us` on; None at the end of the history."""
        if t_us >= end_us:
            return None
        grid_us = self.spec.grid * SECOND_US
        queued_us = history.next_queued_us()
        hour_us = max((t_us // STRETCH_US + 1) * STRETCH_US // grid_us * grid_us, t_us + grid_us)
        if queued_us is None or queued_us > hour_us:
            # In silence twice as far each time, so that a wrong timestamp a thousand years off is soon come by.
            silent_us = max(t_us - self._heard_us, STRETCH_US) // grid_us * grid_us
            return min(t_us + silent_us, end_us if queued_us is None else queued_us // grid_us * grid_us, end_us)
        until_us = min(history.stretch_us(hour_us, STRETCH_EVENTS), end_us)
        if history.hangs_on_order(until_us):  # whoever speaks first is kept apart
            until_us = max((queued_us - 1) // grid_us * grid_us, t_us + grid_us)
        self._heard_us = until_us
        return until_us

    def _tell(self, t_us: int, tell: Tell) -> None:
        if t_us - self._told_us >= TOLD_US:
            tell((t_us - self.first_us) / max(self.last_us - self.first_us, 1))
            self._told_us = t_us

    def _look_along(self, ahead: LookAhead, t_us: int, until_us: int, tell: Tell) -> None:
        """Fold a stretch at once, and look at those of its instants at which something can happen, and at its end."""
        ahead.telemetry.gather(t_us, until_us)
        if until_us <= t_us + self.spec.grid * SECOND_US:  # nothing lies ahead
            self._look(until_us)
            self._tell(until_us, tell)
            return
        self._changed.clear()
        ahead.begin(t_us, until_us)
        while t_us < until_us:
            t_us, only = self._next_look(ahead, t_us, until_us)
            self._look(t_us, only)
            self._tell(t_us, tell)
            for key in self._changed:
                ahead.again(*key, t_us)
            self._changed.clear()

    def _next_look(self, ahead: LookAhead, t_us: int, until_us: int) -> tuple[int, Collection[str] | None]:
        """The next instant to look at after `t_us`, and the triggers to look at then; all of them when that is None."""
        grid_us = self.spec.grid * SECOND_US
        due_us = ahead.due_us(t_us)
        old = [found for found in self._open.values() if found.opened_us + DAY_US <= until_us]
        whole = [until_us, *map(self._silent_us, old)]
        if self._open or self._muted:
            whole += self._windows_due(t_us)
        if not self.framework.settled:
            whole.append(t_us + grid_us)
        for name, timer_us in self.framework.timers_us(t_us).items():
            due_us[name] = min(timer_us, due_us.get(name, timer_us))
        next_us = max(-(-min([*whole, *due_us.values()]) // grid_us) * grid_us, t_us + grid_us)
        every = any(each <= next_us for each in whole)
        return next_us, None if every else ahead.together([name for name, each in due_us.items() if each <= next_us])

    def _peak_of(self, trigger: str, place: int) -> float | None:
        groups = self.telemetry.groups(Measure.of(self.spec.trigger(trigger)).grouped)
        found = self._open.get((trigger, groups[place]))
        return None if found is None else found.peak

    def _look(self, t_us: int, only: Collection[str] | None = None) -> None:
        """Look at the instant `t_us`; at those triggers alone to which anything can happen, where that is known."""
        self.telemetry.fold(t_us)
        self.telemetry.give_up_lost(t_us)
        for transition in self.framework.evaluate(t_us, only=only):
            self._take(transition, t_us)
        if self._open or self._muted:
            self._tend(t_us, only)
        if self._ahead is None or not self._ahead.telemetry.ahead:  # else a group may be known that has nothing yet
            self._forgetting.look(t_us, self._open)

    def _next_us(self, t_us: int, grid_us: int) -> int | None:
        """The next instant at which something can happen, where nothing was folded ahead; None for none."""
        queued_us = self.telemetry.next_queued_us()
        if queued_us is not None and queued_us <= t_us + grid_us:
            return t_us + grid_us  # whatever else is due, nothing is sooner
        due_us = self.framework.next_due_us(t_us, grid_us)
        due = [] if due_us is None else [due_us]
        due += [self._silent_us(found) for found in self._open.values()]
        due += [told_us for told_us in (queued_us, self.telemetry.next_due_us()) if told_us is not None]
        if self._open or self._muted:
            due += self._windows_due(t_us)
        if not due:
            return None
        next_us = max(-(-min(due) // grid_us) * grid_us, t_us + grid_us)
        # An age that grows is largest right before something happens to it.
        return max(next_us - grid_us, t_us + grid_us) if self.every_event or self._open else next_us

    def _windows_due(self, t_us: int) -> list[int]:
        """When a maintenance window begins or ends next after `t_us`."""
        if not self.spec.maintenance:
            return []
        if self._window_due_us <= t_us:
            due = self._muting.next_due(from_us(t_us))
            self._window_due_us = 0 if due is None else to_us(due)
        return [self._window_due_us] if self._window_due_us else []

    def _silent_us(self, found: Found) -> int:
        """When an incident will have been without enough samples for a day, if no more come."""
        return max(self.framework.enough_at_us(found.trigger, found.group), found.opened_us) + DAY_US

    def _take(self, transition: Transition, t_us: int) -> None:
        self.transitions.append(transition)
        verdict = transition.verdict
        key = (verdict.trigger, verdict.group)
        self._muted.discard(key)
        self._changed.add(key)
        if transition.after is SeriesState.FIRING and key not in self._open:
            if self.framework.muted_by(*key, from_us(t_us)) is None:
                self._begin(key, verdict.value, t_us)
            else:
                self._muted.add(key)
        elif transition.after is SeriesState.INACTIVE and key in self._open:
            self._close(key, t_us)

    def _begin(self, key: tuple[str, Group], value: float | None, t_us: int) -> None:
        found = self._open[key] = Found(*key, t_us, value)
        self.incidents.append(found)
        self._changed.add(key)
        self.framework.leave_out(*key, t_us, None)

    def _tend(self, t_us: int, only: Collection[str] | None) -> None:
        at = from_us(t_us)
        for key, found in list(self._open.items()):
            value = self._met(key, t_us) if only is None or key[0] in only else None
            if value is not None:
                better = max if self.spec.trigger(key[0]).rising else min
                found.peak = value if found.peak is None else better(found.peak, value)
            muted = self.framework.muted_by(*key, at)
            if muted is not None and muted.suppresses:
                self._suppress(key, t_us)
            elif t_us >= found.opened_us + DAY_US and t_us >= self._silent_us(found):
                self._close(key, t_us)
        for key in list(self._muted):
            if self.framework.muted_by(*key, at) is None:
                self._muted.discard(key)
                self._begin(key, self.framework.verdict(*key, t_us).value, t_us)

    def _met(self, key: tuple[str, Group], t_us: int) -> float | None:
        """The value of a series that fires while its condition is met; None while it is not."""
        if self.framework.state_of(*key) is not SeriesState.FIRING:
            return None
        return self.framework.met(*key, t_us)

    def _close(self, key: tuple[str, Group], t_us: int) -> None:
        found = self._open.pop(key)
        found.closed_us = t_us
        self._changed.add(key)
        self.telemetry.restart(*key, t_us)
        self.framework.leave_out(*key, found.opened_us, t_us)
        self.framework.reset(*key, t_us)

    def _suppress(self, key: tuple[str, Group], t_us: int) -> None:
        """Close what a maintenance window mutes; its series goes on as it is, and may open another one after that."""
        found = self._open.pop(key)
        found.closed_us, found.suppressed = t_us, True
        self._changed.add(key)
        self.framework.leave_out(*key, found.opened_us, t_us)
        if self.framework.state_of(*key) is SeriesState.FIRING:
            self._muted.add(key)


def replay(spec: Spec, files: Sequence[Path], tell: Tell = nobody, *, every_event: bool = False) -> Replay:
    """`spec` on the history in `files`, from its first event to its last; arguments as for :func:`replays`."""
    return replays([spec], files, tell, every_event=every_event)[0]


def replays(
    specs: Sequence[Spec], files: Sequence[Path], tell: Tell = nobody, *, every_event: bool = False
) -> list[Replay]:
    """Each of `specs` on the history in `files`, from its first event to its last; the history is held once.

    Files are taken one after the other as far as they do not overlap in time, so a history of many days needs the
    memory of one; what overlaps is sorted together by the time of its events.

    Args:
        files: native JSONL, in any order.
        tell: hears how much has been replayed.
        every_event: as for :class:`Replay`.

    Raises:
        TelemetryError: a file cannot be read.
    """
    done = [Replay(spec, every_event=every_event) for spec in specs]
    with collector_off(aged=True):
        _replay_all(done, files, tell)  # which lets go of what was read
    return done


def _replay_all(done: Sequence[Replay], files: Sequence[Path], tell: Tell) -> None:
    asked = asked_attributes([trigger for each in done for trigger in each.spec.triggers])
    reading = READING if len(files) > 1 else 0.0
    parts = _parts(files, asked, (lambda share: tell(reading * share)) if reading else nobody)

    def goes_on(share: float) -> None:
        tell(reading + (1 - reading) * share)

    for each in done:
        each.first_us, each.last_us = parts.first_us, parts.last_us
    for number, (path, _) in enumerate(parts.files):
        decoded = parts.known or _decoded(path, asked)
        events, kind, ts = _in_time(decoded)
        for place, each in enumerate(done):
            each.telemetry.account(decoded.received, Counter(reason for _, reason in decoded.bad))
            each.telemetry.queue(events, kind, ts)
            # They take turns; the last one is the furthest behind.
            hears = goes_on if place == len(done) - 1 else nobody
            each.run(parts.until_us(number, each.spec.grid * SECOND_US), hears)


def replays_of(specs: Sequence[Spec], past: Past, enough: Callable[[], bool]) -> tuple[list[Replay], bool]:
    """Each of `specs` on stored events, whatever kind of file they are in; and whether that was all of them.

    Args:
        past: the events.
        enough: asked now and then; says that no more of them is to be looked at.
    """
    if not past.events:
        return [Replay(spec) for spec in specs], True
    by_step = traced(past.events, past.kind)
    done = [Replay(spec, by_step=by_step) for spec in specs]
    first_us, last_us = int(past.ts[0]), int(past.ts[-1])
    for each in done:
        each.first_us = each.last_us = first_us
        each.telemetry.account(len(past.events), Counter())
        each.telemetry.queue(past.events, past.kind, past.ts)
    for part in range(1, ASKED_TIMES + 1):
        until_us = first_us + (last_us - first_us) * part // ASKED_TIMES
        for each in done:
            grid_us = each.spec.grid * SECOND_US
            each.run(-(-until_us // grid_us) * grid_us)
            each.last_us = until_us
        if part < ASKED_TIMES and enough():
            return done, False
    return done, True


def _in_time(decoded: Decoded) -> tuple[list[Event], NDArray[np.uint8], Ints]:
    """The events of a file with their kinds and times, sorted by time."""
    if (decoded.ts[1:] >= decoded.ts[:-1]).all():
        return decoded.events, decoded.kind, decoded.ts
    order = np.argsort(decoded.ts, kind="stable")
    return [decoded.events[at] for at in order.tolist()], decoded.kind[order], decoded.ts[order]


@dataclass(slots=True)
class Parts:
    """A history in files.

    Args:
        files: in the order of their first event, with the time of that, microseconds.
        known: what is in the file, where there is a single one.
        first_us, last_us: the time of the first and the last event.
    """

    files: list[tuple[Path, int]]
    known: Decoded | None
    first_us: int
    last_us: int

    def until_us(self, number: int, grid_us: int) -> int:
        """The last instant of the grid up to which nothing can come that is not in the first `number` files."""
        if number + 1 < len(self.files):
            return (self.files[number + 1][1] - 1) // grid_us * grid_us
        return -(-self.last_us // grid_us) * grid_us


def _parts(files: Sequence[Path], asked: tuple[str, ...], tell: Tell) -> Parts:
    """How the files lie in time. Each but a single one is read once for that, and let go of: a year fits no memory."""
    spans: list[tuple[Path, int, int]] = []
    known = None
    for number, path in enumerate(files):
        tell(number / len(files))
        known = _decoded(path, asked)
        ts = known.ts
        spans.append((path, int(ts.min()), int(ts.max())) if len(ts) else (path, 0, 0))
    spans.sort(key=lambda span: span[1])
    told = [(first_us, last_us) for _, first_us, last_us in spans if last_us]
    first_us, last_us = min((first for first, _ in told), default=0), max((last for _, last in told), default=0)
    return Parts([(path, at) for path, at, _ in spans], known if len(files) == 1 else None, first_us, last_us)


def _decoded(path: Path, asked: tuple[str, ...]) -> Decoded:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise TelemetryError(f"cannot read {path}: {error.strerror}; give files of native JSON lines") from error
    return decoded_lines(text, asked)


def decoded_lines(text: bytes, asked: tuple[str, ...]) -> Decoded:
    """Native lines of any time, with the attributes that are asked for."""
    return decode(text, now_us=FAR_FUTURE_US, form=native_asking(asked))
