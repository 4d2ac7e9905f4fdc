"""Replaying: one trigger on the stored events, with what is on record about its incidents, up to an instant.

Only transitions are stored, not every verdict. Between two transitions a series stays as it is, so the replay need not
look at every instant that the live engine looked at: it looks at those of the record, and four times a window. Within
the stretch that is shown it looks at each instant at which something can change.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from self_healing.clock import HOUR_US, SECOND_US, to_us
from self_healing.explaining.recorded import Opening, Recorded
from self_healing.incidents.muting import Muting
from self_healing.measures import COARSE_US, FINE_US, Measure
from self_healing.model import CloseReason, Group, Transition
from self_healing.spec import Absence, Baseline, Composite, RateOfChange, Spec, Threshold, TriggerSpec
from self_healing.telemetry.query.past import Past
from self_healing.telemetry.telemetry import Telemetry
from self_healing.triggers.framework import FORGET_US, TriggerFramework


def depends_on(spec: Spec, name: str) -> tuple[TriggerSpec, ...]:
    """A trigger, and all those that what it says depends on, in the spec's order."""
    found, left = set[str](), [name]
    known = {trigger.name: trigger for trigger in spec.triggers}
    while left:
        trigger = known.get(left.pop())
        if trigger is not None and trigger.name not in found:
            found.add(trigger.name)
            left += trigger.inhibited_by
            left += trigger.condition.members if isinstance(trigger.condition, Composite) else ()
    return tuple(trigger for trigger in spec.triggers if trigger.name in found)


def coarsely_us(triggers: Iterable[TriggerSpec]) -> int:
    """How far apart the instants are that are looked at where nothing is shown, microseconds.

    Each sample is seen in some window, and what holds as long as a window hardly misses one: a quarter of it, in panes.
    """
    lengths_s = [_length_s(trigger) for trigger in triggers if not isinstance(trigger.condition, Composite)]
    return max(min(lengths_s) * SECOND_US // 4 // FINE_US * FINE_US, FINE_US)


def _length_s(trigger: TriggerSpec) -> int:
    return trigger.condition.silent_for if isinstance(trigger.condition, Absence) else trigger.window


def reach_us(triggers: Sequence[TriggerSpec], recorded: Recorded, from_us: int, *, remembered: bool = True) -> int:
    """From when on events are needed to say what held from `from_us` on, microseconds.

    That is as long as a silent series is remembered, or as the window and its baseline reach back, from where the
    incident began that was open then: its baseline is frozen since.

    Args:
        remembered: whether it matters that there is a series of which nothing was heard lately, and that one flaps.
    """
    open_since = [to_us(each.opened_at) for each in recorded.openings if _spans(each, from_us)]
    flaps_us = max(trigger.flap_window for trigger in triggers) * SECOND_US
    reach = looks_back_us(triggers) + 2 * COARSE_US
    if remembered:
        reach = max(reach, flaps_us, FORGET_US + HOUR_US)
    return min([from_us, *open_since]) - reach


def looks_back_us(triggers: Sequence[TriggerSpec]) -> int:
    """How far back events count for what triggers say at an instant, microseconds."""
    return max(_looks_back_s(trigger) + trigger.for_s + trigger.keep_firing_for for trigger in triggers) * SECOND_US


def _looks_back_s(trigger: TriggerSpec) -> int:
    match trigger.condition:
        case Baseline(over=over):
            return trigger.window + over
        case RateOfChange():
            return 2 * trigger.window
        case Absence(silent_for=silent_for):
            return silent_for
        case Threshold() | Composite():
            return trigger.window


def _spans(opening: Opening, t_us: int) -> bool:
    return to_us(opening.opened_at) <= t_us and (opening.closed_at is None or to_us(opening.closed_at) >= t_us)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something on record that the replay repeats.

    Args:
        at_us: after that instant was looked at.
        verification: under which name tasks are gathered.
    """

    at_us: int
    opening: Opening
    verification: str
    what: str  # gather, open or close


class Replay:
    """One trigger on the stored events; :meth:`to` takes it further.

    Args:
        spec: the loaded one.
        trigger: its name.
        past: the events.
        recorded: what the state says.
        from_us: from when on events were looked for, microseconds; without any it begins there.
        drawn: whether only values matter; then it looks coarsely no more often than panes need it.
    """

    def __init__(
        self, spec: Spec, trigger: str, past: Past, recorded: Recorded, from_us: int, *, drawn: bool = False
    ) -> None:
        self.spec = spec.model_copy(update={"triggers": depends_on(spec, trigger)})
        self.trigger = self.spec.trigger(trigger)
        self.telemetry = Telemetry(self.spec.triggers, max_groups=spec.max_groups)
        self.telemetry.queue(past.events, past.kind, past.ts)
        self.framework = TriggerFramework(self.spec, self.telemetry, Muting(spec, recorded.silence).by)
        self.transitions: list[Transition] = []
        self._grid_us = spec.grid * SECOND_US
        self._coarsely_us = COARSE_US if drawn else coarsely_us(self.spec.triggers)
        self.t_us = (int(past.ts[0]) if len(past.ts) else from_us) // self._coarsely_us * self._coarsely_us
        if drawn:
            self.t_us -= self._coarsely_us  # a single instant is looked at too
        self._steps = sorted(self._on_record(recorded), key=lambda step: step.at_us)
        exact = {to_us(each.verdict.at) for each in recorded.transitions}
        exact |= {step.at_us // self._grid_us * self._grid_us for step in self._steps} | {s.at_us for s in self._steps}
        self._exact = sorted(exact)

    def _on_record(self, recorded: Recorded) -> Iterator[Step]:
        for number, opening in enumerate(recorded.openings):
            name = f"{opening.incident.id}/{number}"
            yield Step(at_us=to_us(opening.opened_at), opening=opening, verification=name, what="open")
            if opening.effect_at is not None:
                # Before anything that happened after it is folded.
                effect_us = to_us(opening.effect_at) // self._grid_us * self._grid_us
                yield Step(at_us=effect_us, opening=opening, verification=name, what="gather")
            if opening.closed_at is not None:
                closed_us = to_us(opening.closed_at)
                yield Step(at_us=closed_us, opening=opening, verification=name, what="close")

    def to(self, until_us: int, *, coarsely: bool) -> None:
        """Go on up to `until_us`, and look at that instant.

        Args:
            coarsely: look four times a window only, and at what is on record.
        """
        while self.t_us < until_us:
            self._look(min(self._next_us(self._coarsely_us if coarsely else self._grid_us), until_us))

    def _next_us(self, grid_us: int) -> int:
        told = (
            self.framework.next_due_us(self.t_us, self._grid_us),
            self.telemetry.next_queued_us(),
            self.telemetry.next_due_us(),
        )
        due_us = min((each for each in told if each is not None), default=self.t_us + HOUR_US)
        next_us = max(-(-due_us // grid_us) * grid_us, (self.t_us // grid_us + 1) * grid_us)
        place = bisect_right(self._exact, self.t_us)
        return min(next_us, self._exact[place]) if place < len(self._exact) else next_us

    def _look(self, t_us: int) -> None:
        self.telemetry.fold(t_us, evaluated_us=self.t_us)
        self.telemetry.give_up_lost(t_us)
        self.transitions += self.framework.evaluate(t_us)
        self.t_us = t_us
        while self._steps and self._steps[0].at_us <= t_us:
            self._repeat(self._steps.pop(0), t_us)

    def _repeat(self, step: Step, t_us: int) -> None:
        opening = step.opening
        key: tuple[str, Group] = (opening.incident.trigger, opening.incident.group)
        opened_us = to_us(opening.opened_at)
        if step.what == "open":
            self.framework.leave_out(*key, opened_us, None)
        elif step.what == "gather" and opening.effect_at is not None:
            measure = Measure.of(self.spec.trigger(opening.incident.trigger))  # which may be what mutes it
            if self.telemetry.place(measure.grouped, opening.incident.group) is not None:
                self.telemetry.watch(step.verification, *key, to_us(opening.effect_at))
        elif step.what == "close":
            dismissed = opening.reason is CloseReason.DISMISSED
            # A person dismisses at any moment; the series begins anew as of the last instant that was judged.
            anew_us = t_us // self._grid_us * self._grid_us if dismissed else t_us
            if opening.reason is not CloseReason.SUPPRESSED:
                self.telemetry.restart(*key, anew_us, self.telemetry.unwatch(step.verification))
                self.framework.reset(*key, anew_us)
            if dismissed:
                self.framework.readmit(*key, to_us(opening.incident.first_opened_at))
            else:
                self.framework.leave_out(*key, opened_us, anew_us)
